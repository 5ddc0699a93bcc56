//! The `docker` program as a child process: the only place that starts it.
//!
//! Of our environment it sees `PATH` and `HOME` and nothing else, because `docker stack deploy` would put any variable it finds into
//! the compose file. The rule to know: its exit code says that a wish was noted, not that it came true.

use std::ffi::OsString;
use std::time::Duration;

use super::Engine;
use crate::process::{Command, ProcessError, Status};

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
    #[error("`docker {command}` could not be run: {message}")]
    NotStarted {
        /// First words of the command line.
        command: String,
        /// The operating system's word.
        message: String,
    },
    /// It ran past its limit and was ended with everything it had started.
    #[error("`docker {command}` did not end within {} s and was ended; the engine may hang", .after.as_secs())]
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
    pub(super) async fn docker_cli<A: Into<OsString>>(
        &self,
        args: impl IntoIterator<Item = A>,
        limit: Duration,
    ) -> Result<CliOutput, CliError> {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        // The first two words say what it was; later ones may be values.
        let command = args.iter().take(2).map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let mut docker = Command::new("docker")
            .args(args)
            .inherit("PATH")
            .inherit("HOME")
            .env("DOCKER_HOST", self.address())
            .timeout(limit)
            .capture_limit(1024 * 1024);
        if let Some(folder) = self.docker_config() {
            docker = docker.env("DOCKER_CONFIG", folder);
        }
        match docker.run().await {
            Ok(output) => {
                let code = match output.status {
                    Status::Exited(code) => Some(code),
                    Status::Signalled(_) => None,
                    Status::TimedOut | Status::Cancelled => return Err(CliError::TimedOut { command, after: limit }),
                };
                Ok(CliOutput { code, stdout: output.stdout.text(), stderr: output.stderr.text() })
            }
            Err(ProcessError::NotFound { .. }) => Err(CliError::NotInstalled),
            Err(error) => Err(CliError::NotStarted { command, message: error.to_string() }),
        }
    }
}
