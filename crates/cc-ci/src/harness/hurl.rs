//! Runs Hurl files (H5, H6) with the `hurl` program.
//!
//! A Hurl file is run on the host, so it must not be a way to the host: every connection of it, redirects and other
//! names included, is led to the app's own address; options that open another way (sockets, proxies, files outside the
//! suite) are refused before it starts. Secrets go by file, since arguments can be seen by every user of the machine.
//!
//! The rule to know: a file that asserts nothing has proved nothing and is an error. A status line such as `HTTP 200`
//! is an assertion; `HTTP *` is none.

mod report;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::git::Files;
use crate::process::{Command, Output, ProcessError, Status, look_up, path_folders};
use crate::redact::SecretValue;

/// Oldest version whose options and report are known to fit.
const OLDEST: (u64, u64) = (5, 0);
/// Largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;
/// Where the file and what it may send are put.
const FILE: &str = "test.hurl";

/// What a request may set in `[Options]`. The rest leads out of the app, out of the suite, or hides a failure.
const OPTIONS: [&str; 22] = [
    "compressed",
    "delay",
    "header",
    "http1.0",
    "http1.1",
    "http2",
    "http3",
    "insecure",
    "ipv4",
    "ipv6",
    "limit-rate",
    "location",
    "max-redirs",
    "max-time",
    "connect-timeout",
    "path-as-is",
    "repeat",
    "retry",
    "retry-interval",
    "user",
    "variable",
    "verbose",
];

/// The `hurl` program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hurl {
    /// Where it is.
    pub program: PathBuf,
    /// Its version, as `8.0.1`.
    pub version: String,
}

/// One run of one file.
#[derive(Debug, Clone)]
pub struct HurlJob<'a> {
    /// Name of the file, for messages.
    pub name: &'a str,
    /// Its text.
    pub content: &'a str,
    /// Files that it may send, by path below the suite.
    pub files: &'a Files,
    /// The app's domain. The file sees it as `{{domain}}`, and `http://<domain>` as `{{base_url}}`.
    pub domain: &'a str,
    /// Where each host of the app is reached. The first is also where every other name leads, so that no request
    /// leaves the app. Must not be empty.
    pub routes: Vec<(String, SocketAddr)>,
    /// Variables for `{{name}}`.
    pub variables: BTreeMap<String, String>,
    /// The same, masked by hurl in what it prints.
    pub secrets: BTreeMap<String, SecretValue>,
    /// Most time for the file.
    pub timeout: Duration,
    /// Ends it.
    pub cancel: CancellationToken,
}

/// What came of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HurlOutcome {
    /// Every assertion held.
    pub passed: bool,
    /// How many assertions were checked.
    pub assertions: u32,
    /// How many requests were made.
    pub entries: u32,
    /// What did not hold, with line and found value.
    pub failures: Vec<String>,
    /// True if the app could not be asked (connection refused, time-out), rather than answered otherwise.
    pub unreachable: bool,
    /// How long it took.
    pub duration: Duration,
    /// What hurl printed.
    pub log: String,
}

/// Why a file could not be run.
#[derive(Debug, thiserror::Error)]
pub enum HurlError {
    /// There is no hurl, or an old one.
    #[error("{0}")]
    Missing(String),
    /// The file cannot be used: it does not parse, asserts nothing, or asks for what is not allowed.
    #[error("{name}: {why}")]
    Invalid {
        /// Which file.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The caller was cancelled.
    #[error("{0} was interrupted")]
    Cancelled(String),
    /// Hurl could not be run or its report not be read.
    #[error("hurl failed on {name}: {why}")]
    Failed {
        /// Which file.
        name: String,
        /// What happened.
        why: String,
    },
}

impl Hurl {
    /// Looks through `folders` and then `PATH`, and asks for the version.
    ///
    /// # Errors
    /// [`HurlError::Missing`] with a remedy.
    pub async fn find(folders: &[PathBuf]) -> Result<Self, HurlError> {
        let remedy = "run `make setup`, or install it from https://hurl.dev and put it on PATH";
        let path = path_folders();
        let program = look_up("hurl", folders.iter().chain(&path).map(PathBuf::as_path))
            .ok_or_else(|| HurlError::Missing(format!("`hurl` was not found: {remedy}")))?;
        let asked = Command::new(&program).arg("--version").timeout(Duration::from_secs(20)).run_ok().await;
        let asked = asked.map_err(|error| HurlError::Missing(format!("{}: {error}; {remedy}", program.display())))?;
        let text = asked.stdout.text();
        let version = text.split_ascii_whitespace().nth(1).unwrap_or_default().to_owned();
        if version_of(&version).is_none_or(|version| version < OLDEST) {
            let (major, minor) = OLDEST;
            let place = program.display();
            return Err(HurlError::Missing(format!(
                "{place} is hurl {version:?}, at least {major}.{minor} is needed: {remedy}"
            )));
        }
        Ok(Self { program, version })
    }

    /// Runs one file.
    ///
    /// # Errors
    /// [`HurlError`]; an assertion that does not hold is an outcome, and so is an app that cannot be reached.
    pub async fn run(&self, job: &HurlJob<'_>) -> Result<HurlOutcome, HurlError> {
        let failed = |why: String| HurlError::Failed { name: job.name.to_owned(), why };
        let invalid = |why: String| HurlError::Invalid { name: job.name.to_owned(), why };
        check(job.content).map_err(invalid)?;
        let dir = tempfile::tempdir().map_err(|error| failed(error.to_string()))?;
        let suite = dir.path().join("suite");
        let report = dir.path().join("report");
        lay_out(&suite, job).map_err(|error| failed(error.to_string()))?;
        let variables = lines(job.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let secrets = lines(job.secrets.iter().map(|(name, value)| (name.as_str(), value.expose())));
        let given = dir.path().join("variables");
        let hidden = dir.path().join("secrets");
        for (file, text) in [(&given, variables.map_err(invalid)?), (&hidden, secrets.map_err(invalid)?)] {
            std::fs::write(file, text).map_err(|error| failed(error.to_string()))?;
        }
        let output = self.command(job, &suite, &report, &given, &hidden).map_err(invalid)?.run().await;
        let output = output.map_err(|error| match error {
            ProcessError::NotFound { .. } => HurlError::Missing(error.to_string()),
            ProcessError::Io { .. } | ProcessError::Failed { .. } => failed(error.to_string()),
        })?;
        let text = std::fs::read_to_string(report.join("report.json")).unwrap_or_default();
        judge(job, &output, &text)
    }

    fn command(
        &self,
        job: &HurlJob<'_>,
        suite: &Path,
        report: &Path,
        variables: &Path,
        secrets: &Path,
    ) -> Result<Command, String> {
        let (_, first) = job.routes.first().ok_or("the app has no address to ask")?;
        let mut command = Command::new(&self.program)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", suite)
            .cwd(suite)
            .timeout(job.timeout)
            .cancel(&job.cancel)
            .args(["--no-output", "--no-color", "--error-format", "long", "--continue-on-error", "--no-proxy", "*"])
            .arg("--max-time")
            .arg(job.timeout.as_secs().max(1).to_string())
            .arg("--max-filesize")
            .arg(MAX_ANSWER.to_string())
            .arg("--file-root")
            .arg(suite)
            .arg("--report-json")
            .arg(report)
            .arg("--variables-file")
            .arg(variables)
            .arg("--secrets-file")
            .arg(secrets)
            .args(["--variable", &format!("base_url=http://{}", job.domain)])
            .args(["--variable", &format!("domain={}", job.domain)]);
        for (host, address) in &job.routes {
            command = command.args(["--connect-to", &format!("{host}:80:{address}")]);
        }
        // An empty host and port stand for all of them; the first rule that fits is used.
        Ok(command.args(["--connect-to", &format!("::{first}")]).arg(FILE))
    }
}

/// What came of it, from exit code and report.
fn judge(job: &HurlJob<'_>, output: &Output, text: &str) -> Result<HurlOutcome, HurlError> {
    let name = job.name.to_owned();
    let log = format!("{}{}", output.stdout.text(), output.stderr.text());
    let read = report::read(text, job.content);
    let (entries, assertions) = read.as_ref().map_or((0, 0), |read| (read.entries, read.assertions));
    let outcome = |passed, unreachable, failures| HurlOutcome {
        passed,
        assertions,
        entries,
        failures,
        unreachable,
        duration: output.duration,
        log: log.clone(),
    };
    let said = || {
        let errors = report::errors(&output.stderr.text());
        if errors.is_empty() { vec![output.tail()] } else { errors }
    };
    match output.status {
        Status::Cancelled => Err(HurlError::Cancelled(name)),
        Status::TimedOut => Ok(outcome(false, true, vec![format!("not finished after {} s", job.timeout.as_secs())])),
        Status::Exited(0) => match read {
            Some(read) if read.entries == 0 => Err(HurlError::Invalid { name, why: "it holds no request".to_owned() }),
            Some(read) if read.assertions == 0 => {
                let why = "it asserts nothing: add a status line such as `HTTP 200`, or an [Asserts] section";
                Err(HurlError::Invalid { name, why: why.to_owned() })
            }
            Some(read) if read.failed > 0 => Ok(outcome(false, false, said())),
            Some(_) => Ok(outcome(true, false, Vec::new())),
            None => Err(HurlError::Failed { name, why: "it left no report that can be read".to_owned() }),
        },
        Status::Exited(1) => Err(HurlError::Failed { name, why: format!("it refused its options: {}", output.tail()) }),
        Status::Exited(2) => Err(HurlError::Invalid { name, why: format!("it does not parse: {}", output.tail()) }),
        // A runtime error: no connection, or a capture, a body or a variable that is not there.
        Status::Exited(3) => Ok(outcome(false, log.contains("HTTP connection"), said())),
        Status::Exited(4) => Ok(outcome(false, false, said())),
        Status::Exited(_) | Status::Signalled(_) => {
            Err(HurlError::Failed { name, why: format!("{}: {}", output.status, output.tail()) })
        }
    }
}

/// The file and what it may send, in a folder of their own: `file,` cannot leave it.
fn lay_out(suite: &Path, job: &HurlJob<'_>) -> io::Result<()> {
    std::fs::create_dir_all(suite)?;
    for (path, content) in job.files {
        let plain = path.split('/').all(|part| !matches!(part, "" | "." | "..")) && path != FILE;
        if !plain {
            return Err(io::Error::other(format!("{path} is not a path below the suite")));
        }
        let target = suite.join(path);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(target, content)?;
    }
    std::fs::write(suite.join(FILE), job.content)
}

/// Hurl's variables file: one `name=value` a line.
fn lines<'a>(variables: impl Iterator<Item = (&'a str, &'a str)>) -> Result<String, String> {
    let mut text = String::new();
    for (name, value) in variables {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if name.is_empty() || !plain {
            return Err(format!("`{name}` is not a name for a variable"));
        }
        if value.contains(['\n', '\r']) {
            return Err(format!("the variable {name} has more than one line, which hurl cannot be given"));
        }
        text.push_str(&format!("{name}={value}\n"));
    }
    Ok(text)
}

/// Refuses options that are not in [`OPTIONS`].
///
/// Read by line, as Hurl itself does: a section begins with its name in brackets on a line of its own and ends with the
/// next section, the response or the next request. Inside a body an innocent text may look like a section; then it is
/// refused for nothing, and can be moved to `files/`.
fn check(content: &str) -> Result<(), String> {
    let mut inside = false;
    for (number, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line.starts_with("[Options]");
            continue;
        }
        let Some((key, _)) = line.split_once(':').filter(|_| inside && !line.starts_with('#')) else { continue };
        let key = key.trim();
        let looks_like_one = key.chars().all(|c| c.is_ascii_alphanumeric() || "-._\\{}".contains(c));
        if looks_like_one && !OPTIONS.contains(&key) {
            let hint = crate::suggest::hint(key, OPTIONS);
            return Err(format!(
                "line {}: the option `{key}` is not allowed in a suite{hint}; allowed: {}",
                number + 1,
                OPTIONS.join(", ")
            ));
        }
    }
    Ok(())
}

fn version_of(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests;
