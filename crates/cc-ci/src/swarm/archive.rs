//! Putting one small file into a container and reading one back, for images that have no shell.
//!
//! Only plain tar is sent: the engine would unpack a compressed archive with programs of its own, as root. The rule to know: what comes back is a
//! tar made of a stranger's file system; only a regular file within the cap is taken, and nothing is ever unpacked to disk.

use std::io::Read;

use bollard::query_parameters::{DownloadFromContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use futures_util::StreamExt;

use super::exec::short;
use super::{Engine, EngineError};

/// Largest file that is put or read, in bytes.
const FILE_CAP: usize = 1024 * 1024;

/// A file read from a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallFile {
    /// Content.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
}

/// Why a file could not be put or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// There is no such file, folder or container.
    #[error("{path} does not exist in the container: {message}")]
    Missing {
        /// The path.
        path: String,
        /// The engine's word.
        message: String,
    },
    /// Larger than a file of this kind may be.
    #[error("{path} has more than {FILE_CAP} bytes")]
    TooLarge {
        /// The path.
        path: String,
    },
    /// Not a regular file, or not a path to one.
    #[error("{path} is not a regular file with an absolute path")]
    NotAFile {
        /// The path.
        path: String,
    },
    /// The engine's archive cannot be read.
    #[error("the archive of {path} cannot be read: {message}")]
    Unreadable {
        /// The path.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The engine said no.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Engine {
    /// Writes `content` to the absolute `path`, replacing what is there. The folder must exist. Works through volume mounts.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub async fn put_file(
        &self,
        container_id: &str,
        path: &str,
        content: &[u8],
        mode: u32,
    ) -> Result<(), ArchiveError> {
        let (folder, name) = split(path)?;
        if content.len() > FILE_CAP {
            return Err(ArchiveError::TooLarge { path: path.to_owned() });
        }
        let tar = pack(name, content, mode).map_err(|error| unreadable(path, &error))?;
        let options = UploadToContainerOptionsBuilder::new().path(folder).no_overwrite_dir_non_dir("true").build();
        let sent = self.docker.upload_to_container(container_id, Some(options), bollard::body_full(tar.into())).await;
        sent.map_err(self.error(format!("{path} in container {}", short(container_id)))).map_err(|e| missing(path, e))
    }

    /// Reads the regular file at the absolute `path`. Works through volume mounts and in stopped containers.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub async fn get_file(&self, container_id: &str, path: &str) -> Result<SmallFile, ArchiveError> {
        split(path)?;
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let mut stream = std::pin::pin!(self.docker.download_from_container(container_id, Some(options)));
        let mut tar = Vec::new();
        while let Some(part) = stream.next().await {
            let part = part.map_err(self.error(format!("{path} in container {}", short(container_id))));
            tar.extend_from_slice(&part.map_err(|e| missing(path, e))?);
            // Headers and padding come on top of the content.
            if tar.len() > FILE_CAP + 8192 {
                return Err(ArchiveError::TooLarge { path: path.to_owned() });
            }
        }
        unpack(path, &tar)
    }
}

impl Engine {
    /// Puts everything below the host's `folder` into the container's absolute folder `path`, with owners, modes and links as they are.
    /// The engine resolves `path` inside the container, so a link that the app put in the way leads nowhere else.
    ///
    /// # Errors
    /// See [`ArchiveError`]; also if the folder cannot be read.
    pub async fn put_folder(
        &self,
        container_id: &str,
        path: &str,
        folder: &std::path::Path,
    ) -> Result<(), ArchiveError> {
        let source = folder.to_owned();
        let packed = tokio::task::spawn_blocking(move || pack_folder(&source)).await;
        let file = packed
            .map_err(|panic| unreadable(path, &std::io::Error::other(panic)))?
            .map_err(|error| unreadable(path, &error))?;
        let body = tokio_util::io::ReaderStream::new(tokio::fs::File::from_std(file));
        let options = UploadToContainerOptionsBuilder::new().path(path).build();
        let sent = self.docker.upload_to_container(container_id, Some(options), bollard::body_try_stream(body)).await;
        sent.map_err(self.error(format!("{path} in container {}", short(container_id)))).map_err(|e| missing(path, e))
    }
}

/// A tar of everything below the folder, in a file that has no name and goes away by itself.
fn pack_folder(folder: &std::path::Path) -> std::io::Result<std::fs::File> {
    use std::io::Seek;
    let mut builder = tar::Builder::new(tempfile::tempfile()?);
    builder.follow_symlinks(false);
    builder.append_dir_all(".", folder)?;
    let mut file = builder.into_inner()?;
    file.rewind()?;
    Ok(file)
}

fn split(path: &str) -> Result<(&str, &str), ArchiveError> {
    let parts = path.rsplit_once('/').filter(|(_, name)| !name.is_empty() && *name != "." && *name != "..");
    match parts {
        Some((folder, name)) if path.starts_with('/') => Ok((if folder.is_empty() { "/" } else { folder }, name)),
        _ => Err(ArchiveError::NotAFile { path: path.to_owned() }),
    }
}

fn pack(name: &str, content: &[u8], mode: u32) -> std::io::Result<Vec<u8>> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode & 0o777);
    header.set_entry_type(tar::EntryType::Regular);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, name, content)?;
    builder.into_inner()
}

fn unpack(path: &str, tar: &[u8]) -> Result<SmallFile, ArchiveError> {
    let mut archive = tar::Archive::new(tar);
    let mut entries = archive.entries().map_err(|error| unreadable(path, &error))?;
    let Some(entry) = entries.next() else { return Err(ArchiveError::NotAFile { path: path.to_owned() }) };
    let mut entry = entry.map_err(|error| unreadable(path, &error))?;
    let header = entry.header();
    if header.entry_type() != tar::EntryType::Regular {
        return Err(ArchiveError::NotAFile { path: path.to_owned() });
    }
    let number = |n: std::io::Result<u64>| n.unwrap_or(0);
    let (mode, uid, gid) = (header.mode().unwrap_or(0), number(header.uid()), number(header.gid()));
    let mut content = Vec::new();
    entry.by_ref().take(FILE_CAP as u64 + 1).read_to_end(&mut content).map_err(|error| unreadable(path, &error))?;
    if content.len() > FILE_CAP {
        return Err(ArchiveError::TooLarge { path: path.to_owned() });
    }
    Ok(SmallFile { content, mode: mode & 0o7777, uid, gid })
}

fn unreadable(path: &str, error: &std::io::Error) -> ArchiveError {
    ArchiveError::Unreadable { path: path.to_owned(), message: error.to_string() }
}

fn missing(path: &str, error: EngineError) -> ArchiveError {
    match error {
        EngineError::NotFound { message, .. } => ArchiveError::Missing { path: path.to_owned(), message },
        other => ArchiveError::Engine(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_of_files() {
        assert_eq!(split("/data/x"), Ok(("/data", "x")));
        assert_eq!(split("/x"), Ok(("/", "x")));
        for path in ["", "x", "data/x", "/", "/data/", "/data/..", "/data/."] {
            assert!(split(path).is_err(), "{path}");
        }
    }

    #[test]
    fn a_file_goes_there_and_back() {
        let tar = pack("x", b"hello", 0o640).expect("packs");
        let file = unpack("/data/x", &tar).expect("unpacks");
        assert_eq!((file.content.as_slice(), file.mode), (b"hello".as_slice(), 0o640));
    }

    #[test]
    fn anything_but_a_regular_file_is_refused() {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "x", "/etc/shadow").expect("link");
        let link = builder.into_inner().expect("tar");
        assert!(matches!(unpack("/x", &link), Err(ArchiveError::NotAFile { .. })));
        assert!(matches!(unpack("/x", &[0; 1024]), Err(ArchiveError::NotAFile { .. })));
        assert!(unpack("/x", b"nonsense").is_err());
        let large = pack("x", &vec![0; FILE_CAP + 1], 0o600).expect("packs");
        assert!(matches!(unpack("/x", &large), Err(ArchiveError::TooLarge { .. })));
    }
}
