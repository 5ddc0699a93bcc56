//! What is particular to a repository that lies on this machine.

use std::path::{Path, PathBuf};

use super::fetch::Room;
use super::{GitError, Tree};

/// The folder if it is the root of a repository, bare or not.
pub(super) fn root_of(path: &Path) -> Result<PathBuf, GitError> {
    let shown = || path.display().to_string();
    let full = path.canonicalize().map_err(|error| GitError::NoFolder { path: shown(), why: error.to_string() })?;
    let is_bare = |dir: &Path| dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir();
    if full.join(".git").exists() || is_bare(&full) {
        return Ok(full);
    }
    match full.ancestors().skip(1).find(|dir| dir.join(".git").exists()) {
        Some(root) => Err(GitError::NotTheRoot { path: shown(), root: root.display().to_string() }),
        None => Err(GitError::NotARepository(shown())),
    }
}

/// True if the work tree differs from `tree`, the commit that is checked out in it, or holds files that git neither
/// knows nor ignores.
///
/// Files are compared byte by byte by ourselves: git would run the filters that the repository's own configuration
/// names. A filter that changes line ends can therefore make a clean work tree look changed; that costs a warning.
pub(super) async fn is_dirty(path: &Path, tree: &Tree, room: &Room) -> Result<bool, GitError> {
    if !path.join(".git").exists() {
        return Ok(false);
    }
    let same = tree.files.iter().all(|(name, content)| {
        let file = path.join(name);
        let meta = file.symlink_metadata();
        meta.is_ok_and(|meta| meta.is_file() && meta.len() == content.len() as u64)
            && std::fs::read(&file).is_ok_and(|found| found == *content)
    });
    if !same {
        return Ok(true);
    }
    let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let git = room.git().args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]);
    let git = git.args(["ls-files", "--others", "--exclude-standard", "-z"]).cwd(full).capture_limit(1);
    Ok(!room.ok(git).await?.stdout.bytes.is_empty())
}
