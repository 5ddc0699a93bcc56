//! Running a command inside a container: hooks, suite scripts.
//!
//! Never inherits anything of ours: command, environment, user and input are exactly what the request says. The rule to know: the
//! engine cannot kill an exec, so after the time limit the process may live on until its container goes.

use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::{Engine, EngineError};

/// Most that is kept of each output stream, in bytes.
pub(super) const OUTPUT_CAP: usize = 8 * 1024 * 1024;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments; no shell is put in between.
    pub cmd: Vec<String>,
    /// Variables in addition to the container's own.
    pub env: Vec<(String, String)>,
    /// User, as `user`, `uid` or `uid:gid`; `None` is the container's own.
    pub user: Option<String>,
    /// What the program reads from its standard input; `None` closes it at once.
    pub stdin: Option<Vec<u8>>,
    /// How long to wait.
    pub timeout: Duration,
}

impl ExecRequest {
    /// A command with the container's own user and environment.
    #[must_use]
    pub fn new<S: Into<String>>(cmd: impl IntoIterator<Item = S>, timeout: Duration) -> Self {
        Self { cmd: cmd.into_iter().map(Into::into).collect(), env: Vec::new(), user: None, stdin: None, timeout }
    }

    /// A script for the container's `/bin/sh`.
    #[must_use]
    pub fn shell(script: impl Into<String>, timeout: Duration) -> Self {
        Self::new(["/bin/sh".to_owned(), "-c".to_owned(), script.into()], timeout)
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecOutput {
    /// Exit code; `None` if it ran past its limit or the engine does not know.
    pub exit_code: Option<i64>,
    /// Standard output, at the most 8 MiB.
    pub stdout: Vec<u8>,
    /// Standard error, at the most 8 MiB.
    pub stderr: Vec<u8>,
    /// True if it ran past its limit.
    pub timed_out: bool,
    /// True if output was cut off at the cap.
    pub cut: bool,
}

impl ExecOutput {
    /// Ended by itself with exit code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.exit_code == Some(0) && !self.timed_out
    }

    /// Both streams as text, output first, with a line that says so if something was cut.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&self.stderr));
        if self.cut {
            text.push_str("\n[output cut at 8 MiB]\n");
        }
        text
    }

    fn keep(&mut self, part: &LogOutput) {
        let (stream, bytes) = match part {
            LogOutput::StdErr { message } => (&mut self.stderr, message),
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                (&mut self.stdout, message)
            }
        };
        let room = OUTPUT_CAP.saturating_sub(stream.len()).min(bytes.len());
        stream.extend_from_slice(&bytes[..room]);
        self.cut |= room < bytes.len();
    }
}

impl Engine {
    /// Runs the command in the container and waits for its end or its limit.
    ///
    /// # Errors
    /// If the container is gone or the engine refuses. A non-zero exit code is not an error here; a program that does
    /// not exist is exit code 126 or 127, as in a shell.
    pub async fn exec(&self, container_id: &str, request: &ExecRequest) -> Result<ExecOutput, EngineError> {
        let what = format!("exec in container {}", short(container_id));
        let options = CreateExecOptions {
            attach_stdin: Some(request.stdin.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(false),
            env: Some(request.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            cmd: Some(request.cmd.clone()),
            user: request.user.clone(),
            ..Default::default()
        };
        let id = self.docker.create_exec(container_id, options).await.map_err(self.error(what.clone()))?.id;
        let mut output = ExecOutput::default();
        let talk = self.talk(&id, &what, request.stdin.as_deref(), &mut output);
        match tokio::time::timeout(request.timeout, talk).await {
            Ok(done) => done?,
            Err(_) => {
                output.timed_out = true;
                return Ok(output);
            }
        }
        let state = self.docker.inspect_exec(&id).await.map_err(self.error(what))?;
        output.exit_code = state.exit_code;
        Ok(output)
    }

    async fn talk(&self, id: &str, what: &str, stdin: Option<&[u8]>, kept: &mut ExecOutput) -> Result<(), EngineError> {
        let started = self.docker.start_exec(id, None).await.map_err(self.error(what))?;
        let StartExecResults::Attached { mut output, mut input } = started else { return Ok(()) };
        // Both directions at once: a program may write more than a socket holds before it reads.
        let write = async {
            if let Some(bytes) = stdin {
                // A program that ends without reading its input closes the pipe; its exit code tells the rest.
                let _ = input.write_all(bytes).await;
                let _ = input.shutdown().await;
            }
        };
        let read = async {
            while let Some(part) = output.next().await {
                kept.keep(&part.map_err(self.error(what))?);
            }
            Ok(())
        };
        let ((), read) = tokio::join!(write, read);
        read
    }
}

/// The first twelve characters of an id, as the engine prints them.
pub(super) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_at_the_cap_and_says_so() {
        let mut output = ExecOutput::default();
        let part = |n: usize| LogOutput::StdOut { message: vec![b'x'; n].into() };
        output.keep(&part(OUTPUT_CAP - 1));
        assert!(!output.cut);
        output.keep(&part(2));
        output.keep(&LogOutput::StdErr { message: "e".into() });
        assert_eq!((output.stdout.len(), output.stderr.len(), output.cut), (OUTPUT_CAP, 1, true));
        assert!(output.text().ends_with("[output cut at 8 MiB]\n"));
    }
}
