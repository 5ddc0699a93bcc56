//! Masking as text streams by.
use std::io::{self, Write};
use super::SecretValue;

/// Knows the secrets of a run. Cheap to clone; clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {}

impl Redactor {
    /// Knows these secrets: name and value.
    #[must_use]
    pub fn new(secrets: Vec<(String, SecretValue)>) -> Self { let _ = secrets; unimplemented!() }
    /// One more secret; false if it is too short to be masked (its name is then in [`Redactor::skipped`]).
    pub fn add(&self, name: &str, value: &SecretValue) -> bool { let _ = (name, value); unimplemented!() }
    /// Names of secrets that are too short to be masked.
    #[must_use]
    pub fn skipped(&self) -> Vec<String> { unimplemented!() }
    /// How many secrets are known.
    #[must_use]
    pub fn secrets(&self) -> usize { unimplemented!() }
    /// How many encodings of each secret are looked for.
    #[must_use]
    pub fn encodings(&self) -> usize { unimplemented!() }
    /// How many times a secret was masked so far, by all clones and writers.
    #[must_use]
    pub fn masked(&self) -> u64 { unimplemented!() }
    /// The text with every secret replaced by `***`.
    #[must_use]
    pub fn mask_str(&self, text: &str) -> String { let _ = text; unimplemented!() }
    /// The bytes with every secret replaced by `***`.
    #[must_use]
    pub fn mask_bytes(&self, bytes: &[u8]) -> Vec<u8> { let _ = bytes; unimplemented!() }
    /// A writer that masks on the way to `inner`.
    pub fn writer<W: Write>(&self, inner: W) -> MaskingWriter<W> { let _ = inner; unimplemented!() }
    /// Reads every file below `dir` and tells where a secret is, in any encoding, also inside colour codes.
    /// # Errors
    /// When a file or folder cannot be read.
    pub fn scan_dir(&self, dir: &std::path::Path) -> io::Result<super::ScanReport> { let _ = dir; unimplemented!() }
}

/// Masks what is written to it. Call [`MaskingWriter::finish`] at the end: the last bytes are held back until then.
pub struct MaskingWriter<W: Write> { inner: W }

impl<W: Write> MaskingWriter<W> {
    /// Writes what was held back and gives the inner writer.
    /// # Errors
    /// Those of the inner writer.
    pub fn finish(self) -> io::Result<W> { Ok(self.inner) }
}

impl<W: Write> Write for MaskingWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> { self.inner.write(buf) }
    fn flush(&mut self) -> io::Result<()> { self.inner.flush() }
}
