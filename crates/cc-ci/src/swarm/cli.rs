//! The `docker` program as a child process: the only place that starts it.
//!
//! Its environment is empty except for a short list, because `docker stack deploy` would put any variable it finds
//! into the compose file. The rule to know: the child leads its own process group, and the whole group dies with the time limit or
//! with the future.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::Engine;

/// The only variables of ours that the child may see.
const PASSED_ON: [&str; 2] = ["PATH", "HOME"];

/// Most that is kept of either output stream, in bytes.
const OUTPUT_CAP: usize = 1024 * 1024;

/// What the program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliOutput {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The program could not be run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CliError {
    /// It is not installed.
    #[error("the program `docker` is not in PATH; install the Docker client (Debian: `apt install docker.io`)")]
    NotInstalled,
    /// It could not be started.
    #[error("`docker {command}` could not be started: {message}")]
    NotStarted {
        /// First words of the command line.
        command: String,
        /// The operating system's word.
        message: String,
    },
    /// It ran past its limit and was killed with everything it had started.
    #[error("`docker {command}` did not end within {} s and was killed", .after.as_secs())]
    TimedOut {
        /// First words of the command line.
        command: String,
        /// The limit.
        after: Duration,
    },
}

impl Engine {
    /// Runs `docker ARGS` against this engine and waits for its end.
    ///
    /// # Errors
    /// If it cannot be started or runs past `limit`. A non-zero exit code is not an error here.
    pub(super) async fn docker_cli<I, S>(&self, args: I, limit: Duration) -> Result<CliOutput, CliError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new("docker");
        command.args(args).env_clear().envs(allowed(std::env::vars_os()));
        command.env("DOCKER_HOST", self.address());
        if let Some(folder) = self.docker_config() {
            command.env("DOCKER_CONFIG", folder);
        }
        run(command, limit).await
    }
}

fn allowed(vars: impl Iterator<Item = (OsString, OsString)>) -> impl Iterator<Item = (OsString, OsString)> {
    vars.filter(|(name, _)| PASSED_ON.iter().any(|passed| name == passed))
}

/// Kills the process group when dropped, unless the group's leader was waited for.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It may have ended a moment ago; then there is nothing to kill.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn run(mut command: Command, limit: Duration) -> Result<CliOutput, CliError> {
    let shown = shown(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CliError::NotInstalled,
        _ => CliError::NotStarted { command: shown.clone(), message: error.to_string() },
    })?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let all = async { tokio::join!(child.wait(), capped(stdout), capped(stderr)) };
    match tokio::time::timeout(limit, all).await {
        Ok((Ok(status), stdout, stderr)) => {
            group.0 = None;
            Ok(CliOutput { code: status.code(), stdout, stderr })
        }
        Ok((Err(error), ..)) => Err(CliError::NotStarted { command: shown, message: error.to_string() }),
        Err(_) => Err(CliError::TimedOut { command: shown, after: limit }),
    }
}

/// The first two words after `docker`: enough to know what it was, and never an argument with a value.
fn shown(command: &Command) -> String {
    let words: Vec<_> = command.as_std().get_args().take(2).map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// Reads to the end and keeps the first [`OUTPUT_CAP`] bytes, so that a talkative child neither blocks nor fills the memory.
async fn capped(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        let mut part = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut part).await {
            let room = OUTPUT_CAP.saturating_sub(kept.len()).min(count);
            kept.extend_from_slice(&part[..room]);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn only_the_listed_variables_pass() {
        let given = [("PATH", "/bin"), ("HOME", "/root"), ("DOMAIN", "evil"), ("DOCKER_TLS", "1"), ("path", "x")];
        let kept: Vec<_> = allowed(given.iter().map(|(k, v)| ((*k).into(), (*v).into()))).map(|(k, _)| k).collect();
        assert_eq!(kept, ["PATH", "HOME"]);
    }

    #[tokio::test]
    async fn output_and_code_come_back() {
        let out = run(sh("echo out; echo err >&2; exit 3"), Duration::from_secs(10)).await.expect("runs");
        assert_eq!(out, CliOutput { code: Some(3), stdout: "out\n".into(), stderr: "err\n".into() });
    }

    #[tokio::test]
    async fn the_whole_tree_dies_at_the_limit() {
        let folder = tempfile::tempdir().expect("folder");
        let fifo = folder.path().join("alive");
        // The grandchild holds the pipe open for as long as it lives; its end is what the second read waits for.
        let script = format!("mkfifo {0}; sleep 60 > {0} & echo; wait", fifo.display());
        let started = std::time::Instant::now();
        let reader = fifo.clone();
        let error = run(sh(&script), Duration::from_millis(300)).await.expect_err("limit");
        assert!(matches!(error, CliError::TimedOut { .. }), "{error}");
        if reader.exists() {
            let opened = tokio::fs::OpenOptions::new().read(true).write(true).open(&reader).await;
            assert!(opened.is_ok());
        }
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn a_missing_program_is_told() {
        let error = run(Command::new("/nowhere/docker"), Duration::from_secs(1)).await.expect_err("missing");
        assert_eq!(error, CliError::NotInstalled);
    }
}
