//! Teaching fields: training from photos, progressive volume distillation, score distillation from text,
//! schedules, presets, checkpoints, jobs.

pub mod active;
pub mod convert;
pub mod evaluate;
mod gallery;
pub mod generate;
pub mod guidance;
pub mod job;
pub mod loss;
mod neighbours;
mod optimiser;
mod own_space;
pub mod pairs;
pub mod preset;
pub mod prior;
mod run;
pub mod schedule;
pub mod soap;
pub mod task;
pub mod train;
pub mod views;

pub use run::RunOptions;
