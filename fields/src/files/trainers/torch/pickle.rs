//! Python's pickle, protocols 2 to 5 (PEP 307, PEP 3154), without the part that runs anything: a stack machine of some
//! forty instructions that make lists, dictionaries, texts and numbers, and call what is on the list in [`known`].
//!
//! Every instruction makes at most one value, so memory is bounded by the pickle's length; a length that it states is
//! compared with what is left before anything is copied.

use std::collections::HashMap;

use super::known;
use super::value::{Id, Node, Tree};
use crate::error::{Error, Result};

/// Reads the pickle that `text` begins with: its values, the number of the one that it is, and its length in bytes.
///
/// # Errors
/// When it is cut short, damaged, or asks for what is not on the list.
pub(super) fn read(text: &[u8]) -> Result<(Tree, Id, usize)> {
    let tree = Tree::new(text.len());
    let mut machine = Machine { text, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), tree };
    let root = machine.run()?;
    Ok((machine.tree, root, machine.at))
}

struct Machine<'a> {
    text: &'a [u8],
    at: usize,
    stack: Vec<Id>,
    /// Heights of the stack at which marks stand.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    tree: Tree,
}

fn damaged(what: &str) -> Error {
    Error::new(format!("its pickle is damaged: {what}")).remedy("copy or download it again")
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id> {
        if self.text.first() != Some(&0x80) {
            return Err(Error::new("its pickle is of protocol 0 or 1, or none at all")
                .remedy("load it with Python and save it again with torch.save"));
        }
        loop {
            let instruction = self.byte()?;
            if instruction == b'.' {
                return self.pop();
            }
            let done = self.constant(instruction)?
                || self.container(instruction)?
                || self.arrange(instruction)?
                || self.object(instruction)?;
            if !done {
                let what = format!("its pickle has the instruction {instruction:#04x}, which checkpoints do not need");
                return Err(Error::new(what).remedy("save the model's state_dict alone, with torch.save"));
            }
        }
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8]> {
        let left = &self.text[self.at..];
        let taken = usize::try_from(n).ok().and_then(|n| left.get(..n)).ok_or_else(|| damaged("it ends too soon"))?;
        self.at += taken.len();
        Ok(taken)
    }

    /// A number without sign of `N` bytes.
    fn word<const N: usize>(&mut self) -> Result<u64> {
        Ok(self.take(N as u64)?.iter().rev().fold(0, |word, b| word << 8 | u64::from(*b)))
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.word::<1>()? as u8)
    }

    /// What comes before the next line break.
    fn line(&mut self) -> Result<&'a str> {
        let left = &self.text[self.at..];
        let end = left.iter().position(|b| *b == b'\n').ok_or_else(|| damaged("it ends too soon"))?;
        self.at += end + 1;
        std::str::from_utf8(&left[..end]).map_err(|_| damaged("a name that is not UTF-8"))
    }

    fn push(&mut self, node: Node) -> Result<()> {
        let id = self.tree.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id> {
        let above = self.stack.get(self.floor()..).and_then(<[Id]>::last);
        above.copied().ok_or_else(|| damaged("it takes what is not there"))
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// What stands above the last mark, which is taken away.
    fn since_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| damaged("a mark is missing"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn text(&mut self, length: u64) -> Result<()> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| damaged("a text that is not UTF-8"))?;
        self.push(Node::Str(text.to_string()))
    }

    fn bytes(&mut self, length: u64) -> Result<()> {
        let bytes = self.take(length)?.to_vec();
        self.push(Node::Bytes(bytes))
    }

    /// A text of Python 2, which did not tell texts and bytes apart.
    fn old_text(&mut self, length: u64) -> Result<()> {
        let bytes = self.take(length)?;
        self.push(std::str::from_utf8(bytes).map_or_else(|_| Node::Bytes(bytes.to_vec()), |t| Node::Str(t.to_string())))
    }

    /// A whole number of any length; beyond 64 bits it becomes a fraction.
    fn long(&mut self, length: u64) -> Result<()> {
        let bytes = self.take(length)?;
        let negative = bytes.last().is_some_and(|b| *b >= 128);
        let fill = if negative { u64::MAX } else { 0 };
        self.push(if bytes.len() <= 8 {
            Node::Int(bytes.iter().rev().fold(fill, |word, b| word << 8 | u64::from(*b)) as i64)
        } else {
            let size = bytes.iter().rev().fold(0.0, |value, b| value * 256.0 + f64::from(*b));
            Node::Float(if negative { size - 256_f64.powi(bytes.len().min(999) as i32) } else { size })
        })
    }

    /// Texts, numbers and the three names.
    fn constant(&mut self, instruction: u8) -> Result<bool> {
        match instruction {
            b'N' => self.push(Node::None)?,
            0x88 | 0x89 => self.push(Node::Bool(instruction == 0x88))?,
            b'K' => {
                let value = self.word::<1>()?;
                self.push(Node::Int(value as i64))?;
            }
            b'M' => {
                let value = self.word::<2>()?;
                self.push(Node::Int(value as i64))?;
            }
            b'J' => {
                let value = self.word::<4>()? as u32 as i32;
                self.push(Node::Int(i64::from(value)))?;
            }
            0x8a => {
                let length = self.word::<1>()?;
                self.long(length)?;
            }
            0x8b => {
                let length = self.word::<4>()?;
                self.long(length)?;
            }
            b'G' => {
                let value = f64::from_bits(self.word::<8>()?.swap_bytes());
                self.push(Node::Float(value))?;
            }
            b'X' | 0x8c | 0x8d => {
                let length = self.length(instruction, [0x8c, b'X', 0x8d])?;
                self.text(length)?;
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let length = self.length(instruction, [b'C', b'B', 0x8e])?;
                self.bytes(length)?;
            }
            b'T' | b'U' => {
                let length = self.length(instruction, [b'U', b'T', 0])?;
                self.old_text(length)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A length of one byte, of four, or of eight, which the instruction says.
    fn length(&mut self, instruction: u8, [short, middle, _]: [u8; 3]) -> Result<u64> {
        match instruction {
            i if i == short => self.word::<1>(),
            i if i == middle => self.word::<4>(),
            _ => self.word::<8>(),
        }
    }

    /// Lists, tuples, dictionaries; sets become lists.
    fn container(&mut self, instruction: u8) -> Result<bool> {
        match instruction {
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push(Node::Tuple(Vec::new()))?,
            b']' | 0x8f => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b't' | 0x91 => {
                let items = self.since_mark()?;
                self.push(if instruction == b't' { Node::Tuple(items) } else { Node::List(items) })?;
            }
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..instruction {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Node::Tuple(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.insert(&items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        let list = self.top()?;
        let Node::List(all) = self.tree.node_mut(list) else { return Err(damaged("it appends to no list")) };
        all.extend(items);
        Ok(())
    }

    fn insert(&mut self, items: &[Id]) -> Result<()> {
        let dictionary = self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else { return Err(damaged("a key without a value")) };
        let Node::Dict(all) = self.tree.node_mut(dictionary) else { return Err(damaged("it fills no dictionary")) };
        all.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    /// The stack itself, and the shelf where values are put for later.
    fn arrange(&mut self, instruction: u8) -> Result<bool> {
        match instruction {
            0x80 => {
                let protocol = self.byte()?;
                if !(2..=5).contains(&protocol) {
                    let what = format!("its pickle is of protocol {protocol}");
                    return Err(Error::new(what).remedy("save it with torch.save and the usual protocol"));
                }
            }
            // The length of what follows: needed by who reads from a pipe.
            0x95 => drop(self.take(8)?),
            b'0' => {
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'q' | b'r' | 0x94 => {
                let name = match instruction {
                    b'q' => self.word::<1>()? as u32,
                    b'r' => self.word::<4>()? as u32,
                    _ => self.memo.len() as u32,
                };
                let top = self.top()?;
                self.memo.insert(name, top);
            }
            b'h' | b'j' => {
                let name = if instruction == b'h' { self.word::<1>()? } else { self.word::<4>()? } as u32;
                let id = self.memo.get(&name).ok_or_else(|| damaged("it recalls what was not put away"))?;
                self.stack.push(*id);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Names, calls and storages.
    fn object(&mut self, instruction: u8) -> Result<bool> {
        match instruction {
            b'c' | b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                let known = known::named(module, name)?;
                if instruction == b'i' {
                    return Err(known::refused(module, name));
                }
                self.push(Node::Known(known))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(module), Some(name)) = (self.tree.str(module), self.tree.str(name)) else {
                    return Err(damaged("a name that is no text"));
                };
                let known = known::named(module, name)?;
                self.push(Node::Known(known))?;
            }
            b'R' | 0x81 => {
                let (args, callee) = (self.pop()?, self.pop()?);
                let made = known::called(&mut self.tree, callee, args)?;
                self.push(made)?;
            }
            b'b' => {
                let (state, object) = (self.pop()?, self.top()?);
                known::set_state(&mut self.tree, object, state)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = known::persistent(&mut self.tree, id)?;
                self.push(storage)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
