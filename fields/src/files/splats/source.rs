//! What a format reads from: a file or bytes in memory, whose length is known, and the files beside it.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What can be read from anywhere in it.
pub trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// A file of known length.
pub struct Source<'a> {
    file: Box<dyn ReadSeek + 'a>,
    bytes: u64,
    path: Option<PathBuf>,
}

impl Source<'static> {
    /// The file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |e: std::io::Error| Error::io(path, &e);
        let file = std::fs::File::open(path).map_err(io)?;
        let about = file.metadata().map_err(io)?;
        if !about.is_file() {
            return Err(Error::new("not a file").file(path).remedy("name a file"));
        }
        Ok(Self { file: Box::new(file), bytes: about.len(), path: Some(path.to_path_buf()) })
    }
}

impl<'a> Source<'a> {
    /// Bytes in memory.
    pub fn memory(bytes: &'a [u8]) -> Self {
        Self { file: Box::new(std::io::Cursor::new(bytes)), bytes: bytes.len() as u64, path: None }
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its path, where it is a file.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The first bytes, at most `most`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn head(&mut self, most: usize) -> Result<Vec<u8>> {
        let mut head = Vec::new();
        self.seek(0)?;
        self.file.by_ref().take(most as u64).read_to_end(&mut head).map_err(|e| self.io(&e))?;
        self.seek(0)?;
        Ok(head)
    }

    /// Goes to a byte.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn seek(&mut self, at: u64) -> Result<()> {
        self.file.seek(SeekFrom::Start(at)).map(drop).map_err(|e| self.io(&e))
    }

    /// Everything, from the beginning.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn all(&mut self) -> Result<Vec<u8>> {
        self.seek(0)?;
        self.exactly(self.bytes)
    }

    /// The next `n` bytes; refused before memory is taken where the file is shorter than that.
    ///
    /// # Errors
    /// When it is cut short or cannot be read.
    pub fn exactly(&mut self, n: u64) -> Result<Vec<u8>> {
        if n > self.bytes {
            return Err(short());
        }
        let mut bytes = vec![0; n as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Fills `buffer` with the next bytes.
    ///
    /// # Errors
    /// When it is cut short or cannot be read.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact(buffer).map_err(|e| self.io(&e))
    }

    /// The file as a reader, for libraries.
    pub fn reader(&mut self) -> &mut (dyn ReadSeek + 'a) {
        &mut *self.file
    }

    /// A file in the same folder, at most `most` bytes long.
    ///
    /// # Errors
    /// When the source is no file, `name` leads elsewhere, or it cannot be read.
    pub fn beside(&self, name: &str, most: u64) -> Result<Vec<u8>> {
        let folder = self.path.as_deref().and_then(Path::parent);
        let plain = !name.is_empty() && !name.contains(['/', '\\', ':']) && name != "..";
        let path = folder.filter(|_| plain).map(|folder| folder.join(name));
        let path =
            path.ok_or_else(|| Error::new(format!("it names another file, \"{name}\", that is not beside it")))?;
        let mut other = Source::open(&path)?;
        if other.bytes > most {
            return Err(Error::new("the file is larger than what belongs there").file(&path).remedy("export it again"));
        }
        other.all().map_err(|e| e.file(&path))
    }

    fn io(&self, error: &std::io::Error) -> Error {
        match &self.path {
            Some(path) => Error::io(path, error),
            None if error.kind() == std::io::ErrorKind::UnexpectedEof => short(),
            None => Error::new(error.to_string()),
        }
    }
}

/// The error of a file that ends too soon.
pub fn short() -> Error {
    Error::new("the file is cut short").remedy("copy or download it again")
}

/// `count` as a number of things of `each` bytes that lie in `have` bytes.
///
/// # Errors
/// When there is not room for so many, or for none.
pub fn counted(count: u64, each: u64, have: u64) -> Result<usize> {
    if count == 0 {
        return Err(Error::new("it holds no Gaussians").remedy("export it again"));
    }
    match count.checked_mul(each) {
        Some(need) if need <= have => Ok(count as usize),
        _ => Err(Error::new(format!("it says that it holds {count} Gaussians, and is too short for them"))
            .remedy("the file is cut short or damaged: copy or download it again")),
    }
}
