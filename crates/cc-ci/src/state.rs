//! Where cc-ci keeps things on this host, and which runs are alive.
//!
//! A run holds a lock on a file of its own for as long as its process lives; the kernel lets go of it however the process ends.
//! That is how `cc-ci reap` tells a run that is going on from one that was killed: by trying the lock, not by asking a pid.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::domain::RunId;
use crate::env;

/// The folders of this host.
#[derive(Debug, Clone)]
pub struct State {
    root: PathBuf,
}

impl State {
    /// `$CC_CI_STATE`, else `/var/lib/cc-ci` for root, else `$XDG_STATE_HOME/cc-ci`, else `~/.local/state/cc-ci`.
    #[must_use]
    pub fn locate() -> Self {
        let root = env::var("CC_CI_STATE")
            .map(PathBuf::from)
            .or_else(|| rustix::process::geteuid().is_root().then(|| PathBuf::from("/var/lib/cc-ci")))
            .or_else(|| env::var("XDG_STATE_HOME").map(|dir| Path::new(&dir).join("cc-ci")))
            .or_else(|| env::var("HOME").map(|dir| Path::new(&dir).join(".local/state/cc-ci")))
            .unwrap_or_else(|| PathBuf::from(".cc-ci"));
        Self { root }
    }

    /// A state kept below `root`, for tests.
    #[must_use]
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a run's evidence goes unless `--out` says otherwise.
    #[must_use]
    pub fn run_dir(&self, run: &RunId) -> PathBuf {
        self.root.join("runs").join(run.as_str())
    }

    /// Bare repositories that were fetched.
    #[must_use]
    pub fn git_cache(&self) -> PathBuf {
        self.root.join("git")
    }

    /// A folder for what a run needs while it goes and is no evidence. Named after the run, so that it can be found if the run is killed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn work_dir(&self, run: &RunId) -> io::Result<tempfile::TempDir> {
        let root = self.root.join("work");
        std::fs::create_dir_all(&root)?;
        tempfile::Builder::new().prefix(&format!("{run}-")).tempdir_in(root)
    }

    /// Removes the work folders of runs that are no longer alive.
    pub fn sweep_work(&self) {
        let Ok(entries) = std::fs::read_dir(self.root.join("work")) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let run =
                name.to_str().and_then(|name| name.split_once('-')).and_then(|(run, _)| run.parse::<RunId>().ok());
            if run.is_some_and(|run| !self.is_live(&run)) {
                // What cannot be removed now is tried again the next time.
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// Takes the lock of a run. It is given back when the value is dropped or the process ends.
    ///
    /// # Errors
    /// The lock file cannot be made, or another process holds it.
    pub fn lock(&self, run: &RunId) -> io::Result<RunLock> {
        std::fs::create_dir_all(self.locks())?;
        let path = self.locks().join(run.as_str());
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: file, path }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other(format!("run {run} is going on in another process"))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether a process of this host holds the run's lock. What cannot be read counts as alive: better to leave than to break.
    #[must_use]
    pub fn is_live(&self, run: &RunId) -> bool {
        match File::options().write(true).open(self.locks().join(run.as_str())) {
            Ok(file) => file.try_lock().is_err(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Which of these runs are alive. Each comes with the state folder that one of its objects names, if it does; the lock is looked for
    /// there and here.
    #[must_use]
    pub fn live_among<'a>(&self, claims: impl IntoIterator<Item = (&'a RunId, Option<&'a str>)>) -> BTreeSet<RunId> {
        let alive = claims
            .into_iter()
            .filter(|(run, elsewhere)| self.is_live(run) || elsewhere.is_some_and(|root| Self::at(root).is_live(run)));
        alive.map(|(run, _)| run.clone()).collect()
    }

    /// Forgets the lock file of a run that is dead and whose leftovers are gone.
    pub fn forget(&self, run: &RunId) {
        if !self.is_live(run) {
            // A file that is gone already is what was wanted.
            let _ = std::fs::remove_file(self.locks().join(run.as_str()));
        }
    }
}

/// Says that a run is alive for as long as it is held.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
    path: PathBuf,
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Unlinked while still locked, so nobody can see it unlocked and then be surprised by a new one.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_another_state_folder_is_alive_too() {
        let (here, there) = (tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir"));
        let (ours, theirs) = (State::at(here.path()), State::at(there.path()));
        let (alive, dead) = (RunId::new(1_795_000_000, 1), RunId::new(1_795_000_000, 2));
        let root = there.path().to_str().expect("UTF-8");
        let lock = theirs.lock(&alive).expect("free");
        let claims = [(&alive, None), (&alive, Some(root)), (&dead, Some(root)), (&dead, None)];
        assert_eq!(ours.live_among(claims), [alive.clone()].into());
        drop(lock);
        assert!(ours.live_among(claims).is_empty());
    }

    #[test]
    fn a_lock_is_live_while_it_is_held() {
        let dir = tempfile::tempdir().expect("tempdir");
        let state = State::at(dir.path());
        let run = RunId::new(1_795_000_000, 1);
        assert!(!state.is_live(&run));
        let lock = state.lock(&run).expect("free");
        assert!(state.is_live(&run));
        assert!(state.lock(&run).is_err());
        drop(lock);
        assert!(!state.is_live(&run));
        // What a killed process leaves behind: the file without the lock.
        std::fs::write(dir.path().join("locks").join(run.as_str()), "").expect("write");
        assert!(!state.is_live(&run));
        let kept = state.work_dir(&run).expect("work").keep();
        assert!(kept.exists());
        state.sweep_work();
        assert!(!kept.exists());
        state.forget(&run);
        assert!(!dir.path().join("locks").join(run.as_str()).exists());
    }
}
