//! Child processes: the one place that starts programs.
//!
//! A child starts with an empty environment, its own process group, and an empty standard input unless one is given.
//! It ends in one of four ways ([`Status`]); whichever it is, and also when the future is dropped, its whole group is
//! ended before control returns. If we are killed, the kernel ends the program with us (`setpriv --pdeathsig`, where that
//! is installed), so that nothing goes on deploying or writing behind the back of the next start. It must never hand the caller's environment on: what a program needs is named with
//! [`Command::env`] or [`Command::inherit`].
//!
//! The one race: a group id may only be signalled while its leader has not been reaped, or while a member is known to
//! hold one of our pipes. [`Group`] keeps that rule.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, SystemClock};

/// How much of each stream is kept unless [`Command::capture_limit`] says otherwise: 4 MiB.
pub const DEFAULT_CAPTURE: usize = 4 << 20;
/// Longest line given to a callback in one piece; longer ones come in pieces. In bytes.
const LINE_LIMIT: usize = 64 << 10;
/// How long a group may take between TERM and KILL.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// How long the pipes may stay open after the program itself has ended.
const PIPE_GRACE: Duration = Duration::from_secs(2);

/// A program to be run once.
#[derive(Clone)]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    cwd: Option<PathBuf>,
    stdin: Vec<u8>,
    timeout: Option<Duration>,
    cancel: CancellationToken,
    capture: usize,
    remedy: String,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this exit code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// It was ended because its time was over.
    TimedOut,
    /// It was ended because the caller asked for it.
    Cancelled,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Exited(code) => write!(f, "exit code {code}"),
            Status::Signalled(signal) => write!(f, "signal {signal}"),
            Status::TimedOut => f.write_str("time-out"),
            Status::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// What was kept of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    /// The bytes, up to the limit.
    pub bytes: Vec<u8>,
    /// How many bytes beyond the limit were dropped.
    pub cut: u64,
}

impl Captured {
    /// As text, with what is not UTF-8 replaced and a last line that says if something was cut.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.cut > 0 {
            text.push_str(&format!("\n[cut: {} more bytes]\n", self.cut));
        }
        text
    }
}

/// What a program did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// What it wrote to standard output.
    pub stdout: Captured,
    /// What it wrote to standard error.
    pub stderr: Captured,
    /// From start to end.
    pub duration: Duration,
}

impl Output {
    /// True for exit code 0 only.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == Status::Exited(0)
    }

    /// True if it was ended because its time was over.
    #[must_use]
    pub fn timed_out(&self) -> bool {
        self.status == Status::TimedOut
    }

    /// The last lines of standard error, or of standard output if that is empty: at most 2,000 characters.
    #[must_use]
    pub fn tail(&self) -> String {
        let text = if self.stderr.bytes.is_empty() { self.stdout.text() } else { self.stderr.text() };
        let text = text.trim_end();
        let skip = text.chars().count().saturating_sub(2000);
        text.chars().skip(skip).collect()
    }
}

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Why there is no [`Output`], or, from [`Command::run_ok`], why it is not a good one.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program is not there.
    #[error("`{program}` was not found: {remedy}")]
    NotFound {
        /// Program that was looked for.
        program: String,
        /// How to get it.
        remedy: String,
    },
    /// The program is there and could not be started, or its pipes failed.
    #[error("`{program}` could not be run: {source}")]
    Io {
        /// Program.
        program: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// It did not end with exit code 0.
    #[error("`{program}` ended with {}: {}", output.status, output.tail())]
    Failed {
        /// Program.
        program: String,
        /// All of what it did.
        output: Box<Output>,
    },
}

impl ProcessError {
    /// True if the program was ended because its caller was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, ProcessError::Failed { output, .. } if output.status == Status::Cancelled)
    }
}

impl Command {
    /// A program by path, or by name: names are looked up in the `PATH` given with [`Command::env`] or
    /// [`Command::inherit`], and in the system's usual folders if none was given.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            stdin: Vec::new(),
            timeout: None,
            cancel: CancellationToken::new(),
            capture: DEFAULT_CAPTURE,
            remedy: "install it, or check PATH".to_owned(),
        }
    }

    /// What to try if the program is not there.
    #[must_use]
    pub fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = text.into();
        self
    }

    /// One more argument. Arguments are visible to every user of the machine: never a secret.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the child.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets many variables of the child.
    #[must_use]
    pub fn envs<K: Into<OsString>, V: Into<OsString>>(mut self, vars: impl IntoIterator<Item = (K, V)>) -> Self {
        self.env.extend(vars.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Hands one of our own variables on, if it is set.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the only way by which our environment reaches a child, by name")]
    pub fn inherit(mut self, name: &str) -> Self {
        if let Some(value) = std::env::var_os(name) {
            self.env.insert(name.into(), value);
        }
        self
    }

    /// The folder to run in.
    #[must_use]
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.cwd = Some(dir.as_ref().to_path_buf());
        self
    }

    /// What the program reads from standard input. A program that does not read it is no error.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Ends the program's group after this time.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Ends the program's group when `token` is cancelled.
    #[must_use]
    pub fn cancel(mut self, token: &CancellationToken) -> Self {
        self.cancel = token.clone();
        self
    }

    /// How many bytes of each stream are kept; the rest is read, counted and dropped.
    #[must_use]
    pub fn capture_limit(mut self, bytes: usize) -> Self {
        self.capture = bytes;
        self
    }

    /// The program's name, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        Path::new(&self.program).file_name().unwrap_or(&self.program).to_string_lossy().into_owned()
    }

    /// Runs the program and keeps what it writes.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`] or [`ProcessError::Io`]; every way to end is in [`Output::status`].
    pub async fn run(self) -> Result<Output, ProcessError> {
        self.run_lines(|_, _| {}).await
    }

    /// Like [`Command::run`], and everything but exit code 0 is an error.
    ///
    /// # Errors
    /// Those of [`Command::run`], and [`ProcessError::Failed`].
    pub async fn run_ok(self) -> Result<Output, ProcessError> {
        let program = self.name();
        let output = self.run().await?;
        if output.success() { Ok(output) } else { Err(ProcessError::Failed { program, output: Box::new(output) }) }
    }

    /// Runs the program, gives each line to `on_line` as it comes (without its line end, at most 64 KiB a piece), and
    /// keeps what it writes as well.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`] or [`ProcessError::Io`]; every way to end is in [`Output::status`].
    pub async fn run_lines(self, mut on_line: impl FnMut(Stream, &str)) -> Result<Output, ProcessError> {
        let clock = SystemClock;
        let started = clock.monotonic();
        let program = self.name();
        let failed = |source| ProcessError::Io { program: program.clone(), source };
        let mut child = self.spawn()?;
        let mut group = Group::of(&child);
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        let mut stdout = Sink::new(Stream::Stdout, self.capture);
        let mut stderr = Sink::new(Stream::Stderr, self.capture);
        let (mut out_buffer, mut err_buffer) = (vec![0; 32 << 10], vec![0; 32 << 10]);
        let feed = feed(child.stdin.take(), &self.stdin);
        tokio::pin!(feed);
        let mut fed = false;

        let mut ending = None;
        let mut exit = None;
        let mut timer = std::pin::pin!(tokio::time::sleep(self.timeout.unwrap_or(FOREVER)));
        while exit.is_none() || out.is_some() || err.is_some() {
            tokio::select! {
                read = read_some(&mut out, &mut out_buffer), if out.is_some() => match read.map_err(failed)? {
                    0 => out = None,
                    n => stdout.take(&out_buffer[..n], &mut on_line),
                },
                read = read_some(&mut err, &mut err_buffer), if err.is_some() => match read.map_err(failed)? {
                    0 => err = None,
                    n => stderr.take(&err_buffer[..n], &mut on_line),
                },
                () = &mut feed, if !fed => fed = true,
                ended = child.wait(), if exit.is_none() => {
                    exit = Some(ended.map_err(failed)?);
                    group.leader_ended(ending.is_some());
                    timer.as_mut().reset(tokio::time::Instant::now() + PIPE_GRACE);
                }
                () = self.cancel.cancelled(), if exit.is_none() && ending.is_none() => {
                    ending = Some(Status::Cancelled);
                    group.signal(Signal::TERM);
                    timer.as_mut().reset(tokio::time::Instant::now() + TERM_GRACE);
                }
                () = &mut timer => {
                    let next = match (exit.is_some(), ending) {
                        (false, None) => {
                            ending = Some(Status::TimedOut);
                            group.signal(Signal::TERM);
                            TERM_GRACE
                        }
                        (false, Some(_)) => {
                            group.signal(Signal::KILL);
                            TERM_GRACE
                        }
                        (true, _) if group.is_armed() => {
                            // Somebody of the group still holds a pipe, so the group exists and its id is ours.
                            group.signal(Signal::KILL);
                            group.disarm();
                            PIPE_GRACE
                        }
                        // The pipe was handed to a group of its own. It is not ours to end, nor to wait for.
                        (true, _) => break,
                    };
                    timer.as_mut().reset(tokio::time::Instant::now() + next);
                }
            }
        }
        group.disarm();
        stdout.finish(&mut on_line);
        stderr.finish(&mut on_line);
        let status = ending.unwrap_or_else(|| status_of(exit));
        Ok(Output { status, stdout: stdout.captured, stderr: stderr.captured, duration: clock.since(started) })
    }

    #[expect(clippy::disallowed_methods, reason = "the wrapper that everything else uses")]
    fn spawn(&self) -> Result<Child, ProcessError> {
        let mut command = match bound_to_us(&self.program, self.env.get("PATH".as_ref() as &std::ffi::OsStr)) {
            Some(bound) => bound,
            None => tokio::process::Command::new(&self.program),
        };
        command.args(&self.args).env_clear().envs(&self.env).process_group(0).kill_on_drop(true);
        command.stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command.spawn().map_err(|source| {
            let program = self.program.to_string_lossy().into_owned();
            let missing_dir = self.cwd.as_ref().is_some_and(|dir| !dir.is_dir());
            if source.kind() == io::ErrorKind::NotFound && !missing_dir {
                ProcessError::NotFound { program, remedy: self.remedy.clone() }
            } else if missing_dir {
                let dir = self.cwd.as_deref().unwrap_or(Path::new("")).display();
                ProcessError::Io { program, source: io::Error::other(format!("{dir} is not a folder")) }
            } else {
                ProcessError::Io { program, source }
            }
        })
    }
}

/// A command that runs `program` so that it dies with the thread that starts it, and so with this process: the threads of
/// a runtime end with it. None if there is no `setpriv`, or the program is not there, which its own start tells best.
#[expect(clippy::disallowed_methods, reason = "the wrapper that everything else uses")]
fn bound_to_us(program: &OsString, path: Option<&OsString>) -> Option<tokio::process::Command> {
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    // By its real name: that of busybox does not know the option.
    let find = || {
        let found = look_up("setpriv", USUAL_FOLDERS.map(Path::new))?;
        found.canonicalize().ok().filter(|real| real.ends_with("setpriv"))
    };
    let setpriv = SETPRIV.get_or_init(find).as_ref()?;
    let usual = || USUAL_FOLDERS.map(PathBuf::from).to_vec();
    let folders = path.map_or_else(usual, |path| std::env::split_paths(path).collect());
    // An absolute path stays what it is when it is put behind a folder; others with a slash depend on the child's folder.
    let name = program.to_str().filter(|name| name.starts_with('/') || !name.contains('/'))?;
    let program = look_up(name, folders.iter().map(PathBuf::as_path))?;
    let mut command = tokio::process::Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    Some(command)
}

/// Where programs are if nobody says otherwise.
const USUAL_FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

impl fmt::Debug for Command {
    /// Shows names of variables, never their values or what goes to standard input.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &self.env.keys().collect::<Vec<&OsString>>())
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}

/// Where a program of this name is, looking through `folders` in order.
#[must_use]
pub fn look_up<'a>(name: &str, folders: impl IntoIterator<Item = &'a Path>) -> Option<PathBuf> {
    folders.into_iter().map(|dir| dir.join(name)).find(|path| is_program(path))
}

/// The folders of our own `PATH`.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "PATH is where programs are looked up; the wrapper for that")]
pub fn path_folders() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Longer than any program runs.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The process group of a child. Killed when dropped while armed.
struct Group {
    id: Option<Pid>,
}

impl Group {
    fn of(child: &Child) -> Self {
        Self { id: child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) }
    }

    fn is_armed(&self) -> bool {
        self.id.is_some()
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            // A group that has just ended is what was wanted.
            let _ = kill_process_group(id, signal);
        }
    }

    /// The leader has just been reaped. If it was ended by us, its group goes with it at once: a process id is not
    /// given out again within that instant.
    fn leader_ended(&mut self, by_us: bool) {
        if by_us {
            self.signal(Signal::KILL);
            self.id = None;
        }
    }

    fn disarm(&mut self) {
        self.id = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Keeps a stream up to a limit and cuts it into lines.
struct Sink {
    stream: Stream,
    captured: Captured,
    limit: usize,
    line: Vec<u8>,
}

impl Sink {
    fn new(stream: Stream, limit: usize) -> Self {
        Self { stream, captured: Captured::default(), limit, line: Vec::new() }
    }

    fn take(&mut self, bytes: &[u8], on_line: &mut impl FnMut(Stream, &str)) {
        let room = self.limit.saturating_sub(self.captured.bytes.len()).min(bytes.len());
        self.captured.bytes.extend_from_slice(&bytes[..room]);
        self.captured.cut += (bytes.len() - room) as u64;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= LINE_LIMIT {
                self.finish(on_line);
            }
        }
    }

    fn finish(&mut self, on_line: &mut impl FnMut(Stream, &str)) {
        if self.line.is_empty() {
            return;
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        on_line(self.stream, &String::from_utf8_lossy(line));
        self.line.clear();
    }
}

async fn feed(pipe: Option<tokio::process::ChildStdin>, bytes: &[u8]) {
    if let Some(mut pipe) = pipe {
        // A program may end without reading everything; that is its own business.
        let _ = pipe.write_all(bytes).await;
    }
}

async fn read_some(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> io::Result<usize> {
    match pipe {
        Some(pipe) => pipe.read(buffer).await,
        None => Ok(0),
    }
}

fn status_of(exit: Option<std::process::ExitStatus>) -> Status {
    use std::os::unix::process::ExitStatusExt;
    match exit.map(|exit| (exit.code(), exit.signal())) {
        Some((Some(code), _)) => Status::Exited(code),
        Some((None, Some(signal))) => Status::Signalled(signal),
        Some((None, None)) | None => Status::Signalled(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        Command::new("/bin/sh").args(["-c", script]).env("PATH", "/usr/bin:/bin")
    }

    /// True once no process has this id, or only one that waits to be reaped. Follows `/proc`, so it is Linux only.
    async fn is_gone(pid: &str) -> bool {
        let wait = async {
            loop {
                let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                if state.is_empty() || state.contains(") Z ") {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.is_ok()
    }

    #[tokio::test]
    async fn a_child_sees_only_what_it_was_given() {
        let output = Command::new("/usr/bin/env").env("ONLY", "this").run_ok().await.unwrap();
        assert_eq!(output.stdout.text(), "ONLY=this\n");
        let output = Command::new("/usr/bin/env").inherit("PATH").inherit("CC_CI_NOT_SET").run_ok().await.unwrap();
        assert!(output.stdout.text().starts_with("PATH=") && output.stdout.text().lines().count() == 1);
    }

    /// A thread stands for the process here: it is what the kernel watches.
    #[test]
    fn a_child_dies_with_whoever_started_it() {
        let started = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let child = runtime.block_on(async {
                let mut child = sh("echo up; sleep 30; exit 3").spawn().unwrap();
                // From its first word on it is bound to us.
                child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).await.unwrap();
                child
            });
            let id = child.id().unwrap();
            // Neither awaited nor dropped, as in a crash.
            std::mem::forget(child);
            id
        });
        let id = Pid::from_raw(i32::try_from(started.join().unwrap()).unwrap());
        let ended = rustix::process::waitpid(id, rustix::process::WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(ended.1.terminating_signal(), Some(Signal::KILL.as_raw()));
    }

    #[tokio::test]
    async fn input_output_and_codes() {
        let output = sh("cat; echo oops >&2; exit 3").stdin("in").run().await.unwrap();
        assert_eq!((output.status, output.success()), (Status::Exited(3), false));
        assert_eq!((output.stdout.text().as_str(), output.stderr.text().as_str()), ("in", "oops\n"));
        let error = sh("echo oops >&2; exit 3").run_ok().await.unwrap_err();
        assert_eq!(error.to_string(), "`sh` ended with exit code 3: oops");
        assert_eq!(sh("kill -9 $$").run().await.unwrap().status, Status::Signalled(9));
        // Far more input than a pipe holds, and nobody reads it.
        assert!(sh("true").stdin(vec![b'x'; 1 << 20]).run().await.unwrap().success());
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_with_a_remedy() {
        let error = Command::new("cc-ci-no-such-program").remedy("install it").run().await.unwrap_err();
        assert_eq!(error.to_string(), "`cc-ci-no-such-program` was not found: install it");
        let error = sh("true").cwd("/no/such/dir").run().await.unwrap_err();
        assert!(error.to_string().contains("/no/such/dir is not a folder"), "{error}");
    }

    #[tokio::test]
    async fn long_output_is_cut_and_says_so() {
        let output = sh("head -c 100000 /dev/zero | tr '\\0' a").capture_limit(1000).run().await.unwrap();
        assert_eq!((output.stdout.bytes.len(), output.stdout.cut), (1000, 99_000));
        assert!(output.stdout.text().ends_with("[cut: 99000 more bytes]\n"));
    }

    #[tokio::test]
    async fn lines_come_as_they_are_written() {
        let mut lines = Vec::new();
        let script = "printf 'a\\nb\\r\\n'; printf 'e\\n' >&2; printf 'no end'";
        sh(script).run_lines(|stream, line| lines.push((stream, line.to_owned()))).await.unwrap();
        lines.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
        let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(lines, ["a", "b", "no end", "e"]);
    }

    #[tokio::test]
    async fn time_out_ends_the_whole_group() {
        let limit = Duration::from_millis(300);
        let output = sh("sleep 600 & echo $!; wait").timeout(limit).run().await.unwrap();
        assert!(output.timed_out() && output.duration < Duration::from_secs(4), "{output:?}");
        assert!(is_gone(output.stdout.text().trim()).await);
    }

    #[tokio::test]
    async fn who_ignores_term_is_killed() {
        let (cancel, mut pid) = (CancellationToken::new(), String::new());
        let command =
            sh("trap '' TERM; sh -c 'echo $PPID; trap \"\" TERM; while :; do sleep 0.05; done'").cancel(&cancel);
        let output = command
            .run_lines(|_, line| {
                pid = line.to_owned();
                cancel.cancel();
            })
            .await
            .unwrap();
        assert_eq!(output.status, Status::Cancelled);
        assert!(is_gone(&pid).await);
    }

    #[tokio::test]
    async fn a_dropped_run_takes_its_group_along() {
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut tell = Some(tell);
        let run = sh("sleep 600 & echo $!; wait").run_lines(move |_, line| {
            if let Some(tell) = tell.take() {
                let _ = tell.send(line.to_owned());
            }
        });
        let task = tokio::spawn(run);
        let pid = told.await.unwrap();
        task.abort();
        let _ = task.await;
        assert!(is_gone(&pid).await);
    }

    #[tokio::test]
    async fn a_child_left_behind_with_our_pipe_does_not_hold_us_up() {
        let output = sh("sleep 600 & echo $!").run().await.unwrap();
        assert!(output.success() && output.duration < Duration::from_secs(30), "{output:?}");
        assert!(is_gone(output.stdout.text().trim()).await);
    }

    #[test]
    fn debug_shows_no_values() {
        let text = format!("{:?}", sh("true").env("TOKEN", "hunter22").stdin("hunter22"));
        assert!(text.contains("TOKEN") && !text.contains("hunter22"), "{text}");
    }
}
