//! The search at the end.
use std::path::PathBuf;

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanReport {
    /// How many files were read.
    pub files: usize,
    /// Where a secret is.
    pub hits: Vec<ScanHit>,
}

/// A secret in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScanHit {
    /// Name of the secret.
    pub secret: String,
    /// Encoding it was found in, as `base64`.
    pub encoding: String,
    /// File, relative to the scanned folder.
    pub file: PathBuf,
}
