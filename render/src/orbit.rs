//! The camera that a person moves.
