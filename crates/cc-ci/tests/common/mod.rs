//! What the end-to-end tests share: they run the real program, read what it wrote, and look at the engine afterwards.
//!
//! Never use another state folder than the machine's own: the locks in it tell `cc-ci reap`, of whoever calls it, which runs are alive.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the tests are the user: they start the program, in the user's environment"
)]

pub mod sentinel;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use cc_ci::domain::RunId;
use cc_ci::swarm::{Engine, Object, Scope};
use serde_json::Value;

/// The program under test.
pub const CC_CI: &str = env!("CARGO_BIN_EXE_cc-ci");
/// Runs that may be under way at once in one process; the machine that must bear it has two cores.
const AT_ONCE: usize = 4;
/// No wait of a test is longer.
const PATIENCE: Duration = Duration::from_secs(180);

/// The folder of the repository.
pub fn repo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

/// The folder where `make setup` puts registry, tools and recipes.
pub fn home() -> PathBuf {
    std::env::var_os("CC_CI_HOME").map_or_else(|| PathBuf::from("/var/lib/cc-ci"), PathBuf::from)
}

/// The git repository of a fixture.
pub fn fixture(name: &str) -> PathBuf {
    home().join("fixtures").join(name)
}

/// The git repository of an example recipe.
pub fn example(name: &str) -> PathBuf {
    home().join("recipes").join(name)
}

/// Whether tests that need Docker are to run. Without an engine they fail, unless somebody said that there is none.
pub fn docker() -> bool {
    if std::env::var_os("CC_CI_TEST_NO_DOCKER").is_some_and(|value| value == "1") {
        eprintln!("skipped: CC_CI_TEST_NO_DOCKER=1");
        return false;
    }
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        look(None, |engine| async move { engine.require_swarm_manager().await }).map_err(|error| error.to_string())?;
        let healthy = fixture("healthy").join(".git");
        if healthy.exists() { Ok(()) } else { Err(format!("{} is not there", healthy.display())) }
    });
    if let Err(why) = ready {
        panic!(
            "this test needs Docker in swarm mode, the registry and the recipes: {why}\nrun `make setup` (or set CC_CI_TEST_NO_DOCKER=1)"
        );
    }
    true
}

/// Leave for one run. Held while it lasts.
pub struct Turn;

static UNDER_WAY: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Turn {
    /// Waits until fewer than [`AT_ONCE`] runs are under way.
    pub fn wait() -> Self {
        let (count, freed) = &UNDER_WAY;
        let mut count =
            freed.wait_while(lock(count), |count| *count >= AT_ONCE).unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&UNDER_WAY.0) -= 1;
        UNDER_WAY.1.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks an engine; none means the machine's own.
pub fn look<T, F: Future<Output = T>>(host: Option<&str>, question: impl FnOnce(Engine) -> F) -> T {
    let engine = Engine::connect(host.map(str::to_owned).or_else(|| std::env::var("DOCKER_HOST").ok()).as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { question(engine.expect("an address of an engine")).await })
}

/// What an engine has of a run.
pub fn inventory(host: Option<&str>, run: &str) -> Vec<Object> {
    let run: RunId = run.parse().expect("a run id");
    look(host, |engine| async move { engine.inventory(&Scope::Run(run)).await }).expect("the engine answers")
}

/// Waits for a condition, bounded.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(came(condition), "waited {} s for: {what}", PATIENCE.as_secs());
}

/// Waits for a condition, bounded; says whether it came.
pub fn came(mut condition: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begun.elapsed() >= PATIENCE {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Said {
        exit: code(output.status),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// The exit code; of a process that a signal ended, the signal's number below zero.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| -signal)).expect("ended")
}

/// `cc-ci` with these arguments.
pub fn cc_ci<'a>(args: impl IntoIterator<Item = &'a str>) -> Said {
    let said = run(Command::new(CC_CI).args(args).current_dir(repo()));
    no_panic(&said.err);
    said
}

/// Nobody is ever shown a panic or a backtrace.
pub fn no_panic(text: &str) {
    for word in ["panicked at", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!text.contains(word), "{text}");
    }
}

/// A run of `cc-ci test` that has ended.
pub struct Ended {
    pub exit: i32,
    pub err: String,
    pub folder: PathBuf,
    pub results: Value,
    _place: tempfile::TempDir,
}

/// `cc-ci test RECIPE ARGS…` to its end, on the machine's engine, with everything checked that holds for every run.
pub fn test(recipe: &Path, args: &[&str]) -> Ended {
    Going::start(recipe, args).end()
}

/// A run of `cc-ci test` that is under way.
pub struct Going {
    child: Child,
    lines: Arc<(Mutex<Lines>, Condvar)>,
    out: Option<std::thread::JoinHandle<String>>,
    place: tempfile::TempDir,
    host: Option<String>,
    _turn: Turn,
}

#[derive(Default)]
struct Lines {
    text: Vec<String>,
    ended: bool,
}

impl Going {
    /// On the machine's engine, without what only costs time, and with a verdict that does not hang on who else uses the machine.
    pub fn start(recipe: &Path, args: &[&str]) -> Self {
        Self::start_by(Command::new(CC_CI), None, recipe, &[&["--no-screenshot", "--ignore-load"], args].concat())
    }

    /// By a command that the program's own arguments are put behind, on an engine at `host`.
    pub fn start_by(mut command: Command, host: Option<String>, recipe: &Path, args: &[&str]) -> Self {
        let turn = Turn::wait();
        let place = tempfile::tempdir().expect("a folder");
        command.arg("test").arg(recipe).args(args).args(["--json", "--out"]).arg(place.path().join("evidence"));
        command.current_dir(repo()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = Arc::new((Mutex::new(Lines::default()), Condvar::new()));
        let (stderr, told) = (child.stderr.take().expect("piped"), lines.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lock(&told.0).text.push(line);
                told.1.notify_all();
            }
            lock(&told.0).ended = true;
            told.1.notify_all();
        });
        let mut stdout = child.stdout.take().expect("piped");
        let out = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text).expect("UTF-8")
        });
        Self { child, lines, out: Some(out), place, host, _turn: turn }
    }

    /// The first line on standard error that fits, as soon as it is there.
    pub fn line(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let (lines, told) = &*self.lines;
        let missing = |lines: &mut Lines| !lines.ended && !lines.text.iter().any(|line| fits(line));
        let (lines, _) =
            told.wait_timeout_while(lock(lines), PATIENCE, missing).unwrap_or_else(PoisonError::into_inner);
        let found = lines.text.iter().find(|line| fits(line)).cloned();
        found.unwrap_or_else(|| panic!("no line says: {what}\n{}", lines.text.join("\n")))
    }

    /// The run's id.
    pub fn run(&self) -> String {
        let line = self.line("the run's id", |line| line.starts_with("run "));
        line.trim_start_matches("run ").split(':').next().unwrap_or_default().to_owned()
    }

    /// Waits until a stage has begun.
    pub fn stage(&self, stage: &str) {
        self.line(&format!("{stage} has begun"), |line| line == format!("{stage}: started"));
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let said = run(Command::new("kill").args(["-s", name, &self.child.id().to_string()]));
        assert_eq!(said.exit, 0, "{}", said.err);
    }

    /// SIGKILL, and its end.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Waits for the end, and checks what holds for every run, however it ended.
    pub fn end(self) -> Ended {
        let host = self.host.clone();
        let ended = self.end_unchecked();
        let results = &ended.results;
        assert_eq!(results["clean_teardown"], true, "{results:#}");
        let left = inventory(host.as_deref(), results["run"].as_str().expect("an id"));
        assert!(left.is_empty(), "left over: {left:#?}");
        ended
    }

    /// Waits for the end; what is left on the engine is the caller's to look at.
    pub fn end_unchecked(mut self) -> Ended {
        let status = self.child.wait().expect("it ends");
        self.line("its end", |_| true);
        let out = self.out.take().expect("once").join().expect("read");
        let (lines, told) = &*self.lines;
        let err =
            told.wait_while(lock(lines), |lines| !lines.ended).unwrap_or_else(PoisonError::into_inner).text.join("\n");
        no_panic(&err);
        assert!(!err.contains('\x1b') && !out.contains('\x1b'), "colours without a terminal:\n{err}");
        let folder = self.place.path().join("evidence");
        let text = std::fs::read_to_string(folder.join("results.json"))
            .unwrap_or_else(|error| panic!("results.json: {error}\n{err}"));
        let results: Value = serde_json::from_str(&text).expect("JSON");
        valid(&results);
        assert_eq!(serde_json::from_str::<Value>(&out).ok().as_ref(), Some(&results), "--json prints results.json");
        Ended { exit: code(status), err, folder, results, _place: self.place }
    }
}

/// The record is what the published schema says.
fn valid(results: &Value) {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| {
        let text = std::fs::read_to_string(repo().join("docs/results.schema.json")).expect("the schema");
        let schema = serde_json::from_str(&text).expect("JSON");
        jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema")
    });
    let problems: Vec<String> =
        schema.iter_errors(results).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?}");
}

impl Ended {
    /// A stage's entry.
    pub fn stage(&self, stage: &str) -> &Value {
        let stages = self.results["stages"].as_array().expect("stages");
        stages.iter().find(|entry| entry["stage"] == stage).unwrap_or_else(|| panic!("no stage {stage}"))
    }

    /// What the stages came to, in order.
    pub fn statuses(&self) -> Vec<&str> {
        let stages = self.results["stages"].as_array().expect("stages");
        stages.iter().map(|entry| entry["status"].as_str().expect("a status")).collect()
    }

    /// Message and evidence of a stage's reason, one text.
    pub fn evidence(&self, stage: &str) -> String {
        let reason = &self.stage(stage)["reason"];
        let lines = reason["evidence"].as_array().into_iter().flatten().filter_map(Value::as_str);
        std::iter::once(reason["message"].as_str().unwrap_or_default()).chain(lines).collect::<Vec<_>>().join("\n")
    }

    /// A file of the evidence.
    pub fn file(&self, name: &str) -> String {
        let path = self.folder.join(name);
        String::from_utf8_lossy(&std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"))).into_owned()
    }

    /// Every file of the evidence, by path below the folder.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let (mut found, mut folders) = (Vec::new(), vec![self.folder.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                if entry.is_dir() {
                    folders.push(entry);
                } else {
                    let name = entry.strip_prefix(&self.folder).expect("below").display().to_string();
                    found.push((name, std::fs::read(&entry).expect("a file")));
                }
            }
        }
        found.sort();
        found
    }
}

/// The docker client, the one on the path.
pub fn docker_cli() -> Command {
    Command::new("docker")
}
