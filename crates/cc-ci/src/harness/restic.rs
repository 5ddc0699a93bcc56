//! A restic repository for the backup of a run (H3, H4).
//!
//! The real tool that Co-op Cloud's backup bot uses, so that what a backup is worth is judged by what an operator would
//! have. The repository is the run's own; its password is random and handed over by environment, never as an argument.
//!
//! Output is read tolerantly: restic 0.14 (Debian 12) and newer ones differ in fields, not in those that are used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::process::{Command, Output, ProcessError, Status};
use crate::redact::SecretValue;

/// Most time for one restic command.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Largest file that is read out of a snapshot, and largest listing, in bytes.
const MAX_OUTPUT: usize = 256 << 20;
/// Exit code of `restic backup` when a part could not be read.
const INCOMPLETE: i32 = 3;

/// A restic repository in a folder.
#[derive(Debug)]
pub struct Repo {
    dir: PathBuf,
    password: SecretValue,
    cancel: CancellationToken,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Id, in full.
    pub id: String,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Dir,
    /// Symbolic link, socket, device …
    Other,
}

/// Something in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Absolute path, as it was saved.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes; 0 for what is not a file.
    pub size: u64,
}

/// Why restic could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ResticError {
    /// restic is missing, or could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// restic failed.
    #[error("restic {action} failed: {message}")]
    Failed {
        /// Which command.
        action: String,
        /// Its own words.
        message: String,
    },
    /// A path is not in the snapshot.
    #[error("{path} is not in the snapshot")]
    NotInSnapshot {
        /// Path.
        path: String,
    },
    /// The caller was cancelled.
    #[error("restic {0} was interrupted")]
    Cancelled(String),
}

impl Repo {
    /// Makes a repository in `dir`, which must be empty or missing.
    ///
    /// # Errors
    /// [`ResticError`].
    pub async fn init(dir: &Path, password: SecretValue, cancel: &CancellationToken) -> Result<Self, ResticError> {
        let repo = Self { dir: dir.to_path_buf(), password, cancel: cancel.clone() };
        repo.run("init", |restic| restic).await?;
        Ok(repo)
    }

    /// Saves `paths`, each with everything below it.
    ///
    /// # Errors
    /// [`ResticError`]; a path that is missing or cannot be read is one, since such a backup looks good and is not.
    pub async fn backup(&self, paths: &[PathBuf], tags: &[String]) -> Result<Snapshot, ResticError> {
        let failed = |message: String| ResticError::Failed { action: "backup".to_owned(), message };
        if paths.is_empty() {
            return Err(failed("there is nothing to save".to_owned()));
        }
        // Older versions only warn of a missing path when another one is there.
        if let Some(missing) = paths.iter().find(|path| path.symlink_metadata().is_err()) {
            return Err(failed(format!("{} does not exist", missing.display())));
        }
        let output = self
            .run("backup", |restic| {
                let restic = restic.args(["--json", "--host", "cc-ci"]);
                let restic = tags.iter().fold(restic, |restic, tag| restic.args(["--tag", tag]));
                restic.arg("--").args(paths)
            })
            .await?;
        let summary: Summary = messages(&output.stdout.bytes)
            .find(|summary: &Summary| summary.message_type == "summary" && !summary.snapshot_id.is_empty())
            .ok_or_else(|| failed("it did not say which snapshot it made".to_owned()))?;
        let id = self.full_id(&summary.snapshot_id).await?;
        Ok(Snapshot { id, files: summary.total_files_processed, bytes: summary.total_bytes_processed })
    }

    /// What is in a snapshot, folders above the saved paths included.
    ///
    /// # Errors
    /// [`ResticError`].
    pub async fn ls(&self, snapshot: &str) -> Result<Vec<Entry>, ResticError> {
        let output = self.run("ls", |restic| restic.args(["--json", "--", snapshot])).await?;
        if output.stdout.cut > 0 {
            let message = format!("the listing has more than {} MiB", MAX_OUTPUT >> 20);
            return Err(ResticError::Failed { action: "ls".to_owned(), message });
        }
        // Restic 0.14 lists nothing, without an error, for a snapshot that it does not know.
        if !messages(&output.stdout.bytes).any(|head: Head| head.struct_type == "snapshot") {
            let message = format!("there is no snapshot {snapshot}: {}", output.stderr.text().trim());
            return Err(ResticError::Failed { action: "ls".to_owned(), message });
        }
        Ok(listing(&output.stdout.bytes))
    }

    /// Writes a snapshot below `target` (absolute paths go below it; `/` restores in place); only `includes`, unless
    /// that is empty. What lies there and is not in the snapshot stays.
    ///
    /// # Errors
    /// [`ResticError`].
    pub async fn restore(&self, snapshot: &str, target: &Path, includes: &[PathBuf]) -> Result<(), ResticError> {
        self.run("restore", |restic| {
            let restic = restic.arg("--target").arg(target);
            let restic = includes.iter().fold(restic, |restic, path| restic.arg("--include").arg(literally(path)));
            restic.args(["--", snapshot])
        })
        .await
        .map(drop)
    }

    /// The content of one file.
    ///
    /// # Errors
    /// [`ResticError::NotInSnapshot`]; [`ResticError::Failed`] also for a file of more than 256 MiB.
    pub async fn dump(&self, snapshot: &str, path: &str) -> Result<Vec<u8>, ResticError> {
        match self.run("dump", |restic| restic.args(["--", snapshot, path])).await {
            Ok(output) if output.stdout.cut > 0 => {
                let message = format!("{path} has more than {} MiB", MAX_OUTPUT >> 20);
                Err(ResticError::Failed { action: "dump".to_owned(), message })
            }
            Ok(output) => Ok(output.stdout.bytes),
            Err(ResticError::Failed { message, .. }) if message.contains("not found in snapshot") => {
                Err(ResticError::NotInSnapshot { path: path.to_owned() })
            }
            Err(other) => Err(other),
        }
    }

    /// restic's version, as `0.14.0`.
    ///
    /// # Errors
    /// [`ResticError`].
    pub async fn version() -> Result<String, ResticError> {
        let output = program().arg("version").timeout(Duration::from_secs(20)).run_ok().await?;
        Ok(output.stdout.text().split_ascii_whitespace().nth(1).unwrap_or_default().to_owned())
    }

    /// Older versions give only the first letters of a new snapshot's id.
    async fn full_id(&self, id: &str) -> Result<String, ResticError> {
        let output = self.run("snapshots", |restic| restic.args(["--json", "--", id])).await?;
        let known: Vec<Known> = serde_json::from_slice(&output.stdout.bytes).unwrap_or_default();
        known.into_iter().map(|known| known.id).find(|full| full.starts_with(id)).ok_or_else(|| ResticError::Failed {
            action: "snapshots".to_owned(),
            message: format!("the snapshot {id} that was just made is not listed"),
        })
    }

    async fn run(&self, action: &str, with: impl FnOnce(Command) -> Command) -> Result<Output, ResticError> {
        let restic = program()
            .env("RESTIC_REPOSITORY", &self.dir)
            .env("RESTIC_PASSWORD", self.password.expose())
            .env("RESTIC_PROGRESS_FPS", "0.1")
            .env("HOME", &self.dir)
            .inherit("TMPDIR")
            .capture_limit(MAX_OUTPUT)
            .timeout(TIMEOUT)
            .cancel(&self.cancel)
            .args(["--no-cache", action]);
        let output = with(restic).run().await?;
        let failed = |message: String| Err(ResticError::Failed { action: action.to_owned(), message });
        match output.status {
            Status::Exited(0) => Ok(output),
            Status::Cancelled => Err(ResticError::Cancelled(action.to_owned())),
            Status::TimedOut => failed(format!("not finished after {} minutes", TIMEOUT.as_secs() / 60)),
            Status::Exited(INCOMPLETE) if action == "backup" => {
                failed(format!("a part could not be read: {}", output.tail()))
            }
            Status::Exited(_) | Status::Signalled(_) => failed(format!("{}: {}", output.status, output.tail())),
        }
    }
}

fn program() -> Command {
    Command::new("restic").remedy("install it, as in `apt-get install restic`").inherit("PATH").env("LC_ALL", "C.UTF-8")
}

#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    message_type: String,
    #[serde(default)]
    snapshot_id: String,
    #[serde(default)]
    total_files_processed: u64,
    #[serde(default)]
    total_bytes_processed: u64,
}

#[derive(Deserialize)]
struct Known {
    id: String,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    struct_type: String,
}

/// An entry of `restic ls --json`. The first line describes the snapshot and has no `type`.
#[derive(Deserialize)]
struct Node {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    size: u64,
}

/// One JSON message a line; other lines and other messages are passed over.
fn messages<'a, T: Deserialize<'a> + 'a>(output: &'a [u8]) -> impl Iterator<Item = T> + 'a {
    output.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}

fn listing(output: &[u8]) -> Vec<Entry> {
    messages(output)
        .map(|node: Node| {
            let kind = match node.kind.as_str() {
                "file" => EntryKind::File,
                "dir" => EntryKind::Dir,
                _ => EntryKind::Other,
            };
            Entry { path: node.path, kind, size: if kind == EntryKind::File { node.size } else { 0 } }
        })
        .collect()
}

/// A path as a pattern that matches itself alone.
fn literally(path: &Path) -> std::ffi::OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut out = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'*' | b'?' | b'[' | b']' | b'\\' => out.extend([b'\\', *byte]),
            other => out.push(*other),
        }
    }
    std::ffi::OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        dir: tempfile::TempDir,
        data: PathBuf,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let data = dir.path().join("volumes/app_data/_data");
            std::fs::create_dir_all(data.join("sub")).unwrap();
            std::fs::write(data.join("a.txt"), "hello").unwrap();
            std::fs::write(data.join("sub/b [1].bin"), [0, 255, 10]).unwrap();
            std::os::unix::fs::symlink("a.txt", data.join("link")).unwrap();
            Self { dir, data }
        }

        async fn repo(&self) -> Repo {
            let password = SecretValue::new("hunter2hunter2");
            Repo::init(&self.dir.path().join("repo"), password, &CancellationToken::new()).await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_is_saved_is_listed_read_and_brought_back() {
        let place = Place::new();
        let repo = place.repo().await;
        let snapshot = repo.backup(std::slice::from_ref(&place.data), &["run".to_owned()]).await.unwrap();
        assert_eq!((snapshot.id.len(), snapshot.files, snapshot.bytes), (64, 2, 8));

        let base = place.data.display();
        let entries = repo.ls(&snapshot.id).await.unwrap();
        let find = |path: String| entries.iter().find(|entry| entry.path == path).map(|entry| (entry.kind, entry.size));
        assert_eq!(find(format!("{base}/a.txt")), Some((EntryKind::File, 5)));
        assert_eq!(find(format!("{base}/sub")), Some((EntryKind::Dir, 0)));
        assert_eq!(find(format!("{base}/link")), Some((EntryKind::Other, 0)));

        assert_eq!(repo.dump(&snapshot.id, &format!("{base}/sub/b [1].bin")).await.unwrap(), [0, 255, 10]);
        let missing = repo.dump(&snapshot.id, &format!("{base}/nope")).await.unwrap_err();
        assert!(matches!(missing, ResticError::NotInSnapshot { .. }), "{missing}");

        std::fs::remove_dir_all(&place.data).unwrap();
        std::fs::create_dir_all(&place.data).unwrap();
        std::fs::write(place.data.join("later.txt"), "x").unwrap();
        repo.restore(&snapshot.id, Path::new("/"), std::slice::from_ref(&place.data)).await.unwrap();
        assert_eq!(std::fs::read(place.data.join("a.txt")).unwrap(), b"hello");
        assert!(place.data.join("later.txt").exists());

        let elsewhere = place.dir.path().join("out");
        repo.restore(&snapshot.id, &elsewhere, &[place.data.join("sub/b [1].bin")]).await.unwrap();
        let below = elsewhere.join(place.data.strip_prefix("/").unwrap());
        assert!(below.join("sub/b [1].bin").exists() && !below.join("a.txt").exists());
    }

    #[tokio::test]
    async fn failures_are_told() {
        let place = Place::new();
        let repo = place.repo().await;
        let error = repo.backup(&[place.data.clone(), "/no/such/volume".into()], &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "restic backup failed: /no/such/volume does not exist");
        assert!(repo.backup(&[], &[]).await.is_err());
        let error = repo.ls("0123456789abcdef").await.unwrap_err();
        assert!(matches!(error, ResticError::Failed { .. }), "{error}");

        let other = Repo { password: SecretValue::new("wrong-password"), ..repo };
        let error = other.ls("latest").await.unwrap_err().to_string();
        assert!(error.contains("password") && !error.contains("wrong-password"), "{error}");
        other.cancel.cancel();
        assert!(matches!(other.ls("latest").await, Err(ResticError::Cancelled(_))));
        let again = Repo::init(&place.dir.path().join("repo"), SecretValue::new("x"), &CancellationToken::new()).await;
        assert!(again.is_err());
    }

    #[tokio::test]
    async fn the_version_is_a_number() {
        let version = Repo::version().await.unwrap();
        assert!(version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.'), "{version}");
    }

    #[test]
    fn messages_of_old_and_new_versions_are_read() {
        let old = br#"{"time":"2026-01-01T00:00:00Z","tree":"x","paths":["/a"],"id":"1","short_id":"1","struct_type":"snapshot"}
{"name":"a","type":"dir","path":"/a","uid":0,"struct_type":"node"}
{"name":"b","type":"file","path":"/a/b","size":7,"struct_type":"node"}"#;
        let new = br#"{"message_type":"snapshot","id":"1","struct_type":"snapshot"}
not json
{"message_type":"node","name":"a","type":"dir","path":"/a","struct_type":"node"}
{"message_type":"node","name":"b","type":"file","path":"/a/b","size":7,"inode":3}"#;
        assert_eq!(listing(old), listing(new));
        assert_eq!(listing(old).iter().map(|entry| entry.size).collect::<Vec<_>>(), [0, 7]);
    }

    #[test]
    fn patterns_match_only_themselves() {
        assert_eq!(literally(Path::new("/a/b [1]*?.x")), "/a/b \\[1\\]\\*\\?.x");
    }
}
