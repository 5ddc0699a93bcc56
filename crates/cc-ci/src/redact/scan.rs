//! The search at the end: is a secret in any file of the run's folder?
//!
//! Each file is read twice over in one pass: as it is, and with terminal control sequences taken out, because a colour
//! code between the letters of a secret hides it from a plain search and not from a reader.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::mask::Matcher;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanReport {
    /// How many files were read.
    pub files: usize,
    /// Where a secret is: sorted, each once.
    pub hits: Vec<ScanHit>,
}

/// A secret in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScanHit {
    /// Name of the secret.
    pub secret: String,
    /// Encoding it was found in, as `base64`; with ` behind colour codes` or ` in the file name` where that is so.
    pub encoding: String,
    /// File, relative to the scanned folder.
    pub file: PathBuf,
}

pub(super) fn scan_dir(matcher: &Matcher, dir: &Path) -> io::Result<ScanReport> {
    let mut hits = BTreeSet::new();
    let mut files = 0;
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| at(&folder, &error))? {
            let entry = entry.map_err(|error| at(&folder, &error))?;
            let path = entry.path();
            let file = path.strip_prefix(dir).unwrap_or(&path).to_path_buf();
            let kind = entry.file_type().map_err(|error| at(&path, &error))?;
            let mut note = |secret: &str, encoding: &str, how: &str| {
                let (secret, encoding) = (secret.to_owned(), format!("{encoding}{how}"));
                hits.insert(ScanHit { secret, encoding, file: file.clone() });
            };
            for (_, _, secret, encoding) in matcher.find(file.as_os_str().as_encoded_bytes()) {
                note(secret, encoding.as_str(), " in the file name");
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                files += 1;
                scan_file(matcher, &path, &mut note).map_err(|error| at(&path, &error))?;
            }
        }
    }
    Ok(ScanReport { files, hits: hits.into_iter().collect() })
}

fn scan_file(matcher: &Matcher, path: &Path, note: &mut impl FnMut(&str, &str, &str)) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK];
    let (mut plain, mut bare) = (Window::default(), Window::default());
    let (mut in_plain, mut in_bare) = (BTreeSet::new(), BTreeSet::new());
    let (mut escapes, mut stripped) = (Escapes::default(), Vec::new());
    loop {
        let n = file.read(&mut chunk)?;
        if n == 0 {
            break;
        }
        plain.push(matcher, &chunk[..n], &mut in_plain);
        stripped.clear();
        escapes.strip(&chunk[..n], &mut stripped);
        bare.push(matcher, &stripped, &mut in_bare);
    }
    in_plain.iter().for_each(|(secret, encoding)| note(secret, encoding, ""));
    in_bare.difference(&in_plain).for_each(|(secret, encoding)| note(secret, encoding, " behind colour codes"));
    Ok(())
}

/// The last bytes of a stream: as many as a needle could have begun in.
#[derive(Default)]
struct Window {
    held: Vec<u8>,
}

impl Window {
    fn push<'a>(&mut self, matcher: &'a Matcher, bytes: &[u8], found: &mut BTreeSet<(&'a str, &'static str)>) {
        self.held.extend_from_slice(bytes);
        found.extend(matcher.find(&self.held).map(|(_, _, secret, encoding)| (secret, encoding.as_str())));
        let keep = matcher.longest().saturating_sub(1).min(self.held.len());
        self.held.drain(..self.held.len() - keep);
    }
}

/// Takes terminal control sequences (ECMA-48: CSI, OSC and the short ones) and zero bytes out of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Escapes {
    #[default]
    Text,
    Escape,
    Csi,
    Osc,
}

impl Escapes {
    fn strip(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            *self = match (*self, byte) {
                (Escapes::Text, 0x1b) => Escapes::Escape,
                (Escapes::Text, 0) => Escapes::Text,
                (Escapes::Text, other) => {
                    out.push(*other);
                    Escapes::Text
                }
                (Escapes::Escape, b'[') => Escapes::Csi,
                (Escapes::Escape, b']' | b'P' | b'_' | b'^') => Escapes::Osc,
                (Escapes::Escape, 0x20..=0x2f) => Escapes::Escape,
                (Escapes::Escape, _) => Escapes::Text,
                (Escapes::Csi, 0x40..=0x7e) => Escapes::Text,
                (Escapes::Csi, _) => Escapes::Csi,
                (Escapes::Osc, 0x07 | b'\n') => Escapes::Text,
                (Escapes::Osc, 0x1b) => Escapes::Escape,
                (Escapes::Osc, _) => Escapes::Osc,
            };
        }
    }
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::{Redactor, SecretValue};
    use super::*;

    const VALUE: &str = "correct-horse-battery";

    fn scan(files: &[(&str, &[u8])]) -> ScanReport {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Redactor::new(vec![("db_password".to_owned(), SecretValue::new(VALUE))]).scan_dir(dir.path()).unwrap()
    }

    fn encodings(report: &ScanReport) -> Vec<&str> {
        report.hits.iter().map(|hit| hit.encoding.as_str()).collect()
    }

    #[test]
    fn finds_plain_and_encoded_in_text_and_binary() {
        let report = scan(&[
            ("a.log", b"pw correct-horse-battery"),
            ("deep/er/b.bin", &[&[0xff, 0, 1][..], hex::encode(VALUE).as_bytes(), &[0xfe]].concat()),
            ("clean.log", b"nothing"),
        ]);
        assert_eq!((report.files, encodings(&report)), (3, vec!["hex", "plain"]));
        assert_eq!(report.hits[0].file, Path::new("deep/er/b.bin"));
        assert_eq!(report.hits[1].secret, "db_password");
    }

    #[test]
    fn finds_a_secret_with_colours_in_it() {
        let report = scan(&[("a.log", b"\x1b[1mcorrect\x1b[0m-horse-\x1b]8;;http://x\x07bat\x1b(Btery")]);
        assert_eq!(encodings(&report), ["plain behind colour codes"]);
    }

    #[test]
    fn finds_across_read_borders() {
        for shift in [1, 5, VALUE.len() - 1] {
            let text = [&vec![b'.'; CHUNK - shift][..], VALUE.as_bytes()].concat();
            assert_eq!(encodings(&scan(&[("a", &text)])), ["plain"], "{shift}");
        }
    }

    #[test]
    fn finds_file_names_and_reports_unreadable_folders() {
        assert_eq!(encodings(&scan(&[("correct-horse-battery.txt", b"")])), ["plain in the file name"]);
        let error = Redactor::default().scan_dir(Path::new("/no/such/folder")).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
        assert_eq!(Redactor::default().scan_dir(dir.path()).unwrap(), ScanReport::default());
    }
}
