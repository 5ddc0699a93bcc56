//! The command line: one file a command. Commands resolve what was typed, call one function of a room, and print.
//!
//! Standard output carries the answer and nothing else, so it can be piped; progress and warnings go to standard error.

mod doctor;
mod explain;
mod forge_sim;
mod pages;
mod policy;
mod progress;
mod queue;
mod reap;
mod serve;
mod test;
mod testme;
mod tools;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// Exit codes, a stable promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// GREEN, or the command did what it was asked.
    Green = 0,
    /// RED: the recipe or a test is at fault; or the policy refuses.
    Red = 1,
    /// Usage or configuration.
    Usage = 2,
    /// ERROR: could not judge.
    Error = 3,
    /// PENDING: asked for, and not over.
    Pending = 4,
    /// Interrupted by a signal.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// The CI and upgrade robot for Co-op Cloud recipes.
#[derive(Debug, Parser)]
#[command(name = "cc-ci", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 GREEN, 1 RED, 2 usage or configuration, 3 ERROR (could not judge), 130 interrupted.\n\
    Begin with `cc-ci policy ./my-recipe`, which needs no Docker, and then `cc-ci test ./my-recipe`."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", env = "CC_CI_COLOR")]
    color: When,
    /// Say more: -v what is done, -vv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say nothing but the answer
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Test a recipe for real on Docker Swarm: install, upgrade, backup, restore, custom
    Test(Box<test::TestArgs>),
    /// Show what a recipe asks for, what is refused and why, and the file that would be deployed; needs no Docker
    Policy(Box<policy::PolicyArgs>),
    /// Remove what killed runs left on the swarm
    Reap(reap::ReapArgs),
    /// Look at everything a run needs, and say what to do about what is missing
    Doctor(doctor::DoctorArgs),
    /// Serve: answer `!testme` on pull requests, run the queue, show the pages
    Serve(serve::ServeArgs),
    /// Ask for a test on a pull request, or read its verdict there
    Testme(testme::TestmeArgs),
    /// Show what a server runs and what waits there; add, cancel, rerun
    Queue(queue::QueueArgs),
    /// Say what cc-ci would understand of something, and why
    #[command(subcommand)]
    Explain(explain::ExplainCommand),
    /// Print completions for a shell
    Completions(tools::CompletionsArgs),
    /// Print the manual page
    Man(tools::ManArgs),
    /// Tools for people who work on cc-ci itself
    #[command(hide = true, subcommand)]
    Dev(tools::DevCommand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

/// Paints text, or leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(bool);

impl Colour {
    fn choose(when: When, terminal: bool) -> Self {
        Self(match when {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                terminal && crate::env::var("NO_COLOR").is_none() && crate::env::var("TERM").as_deref() != Some("dumb")
            }
        })
    }

    /// Whether text is painted.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.0
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }
    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
    fn red(self, text: &str) -> String {
        self.paint("31", text)
    }
    fn green(self, text: &str) -> String {
        self.paint("32", text)
    }
    fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }
}

/// What every command gets.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// Colours for standard output.
    pub out: Colour,
    /// Colours for standard error.
    pub err: Colour,
    /// Say nothing but the answer.
    pub quiet: bool,
}

/// Reads the command line, runs the command, prints what went wrong.
pub async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; the rest is usage. A closed pipe is no reason to fail.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Green.into() };
        }
    };
    // A server that says nothing cannot be operated; its journal is its standard error.
    let serves = matches!(cli.command, Command::Serve(_)) && !cli.quiet;
    logging(cli.verbose.max(u8::from(serves)));
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        eprintln!("cc-ci made a mistake{place}; please report it, with the folder of the run");
        tracing::debug!("{info}\n{}", std::backtrace::Backtrace::force_capture());
    }));
    let context = Context {
        out: Colour::choose(cli.color, std::io::stdout().is_terminal()),
        err: Colour::choose(cli.color, std::io::stderr().is_terminal()),
        quiet: cli.quiet,
    };
    let result = match cli.command {
        Command::Test(args) => test::run(*args, context).await,
        Command::Policy(args) => policy::run(*args, context).await,
        Command::Reap(args) => reap::run(args, context).await,
        Command::Doctor(args) => doctor::run(args, context).await,
        Command::Serve(args) => serve::run(args, context).await,
        Command::Testme(args) => testme::run(args, context).await,
        Command::Queue(args) => queue::run(args, context).await,
        Command::Explain(command) => explain::run(&command),
        Command::Completions(args) => tools::completions(&args),
        Command::Man(args) => tools::man(&args),
        Command::Dev(command) => tools::dev(command, context).await,
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{} {}", context.err.red("error:"), failure.message);
            for line in &failure.remedy {
                eprintln!("  {} {line}", context.err.dim("try:"));
            }
            failure.exit.into()
        }
    }
}

/// What a command ends with when it cannot do its work: one clear line, and what to try.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    remedy: Vec<String>,
}

impl Failure {
    /// Usage or configuration.
    fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), remedy: Vec::new() }
    }

    /// The host is in the way.
    fn error(message: impl Into<String>) -> Self {
        Self { exit: Exit::Error, message: message.into(), remedy: Vec::new() }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        let remedy = remedy.into();
        if !remedy.is_empty() {
            self.remedy.push(remedy);
        }
        self
    }
}

type Outcome = Result<Exit, Failure>;

/// Comes with the first Ctrl-C or SIGTERM from now on.
///
/// # Errors
/// If signals cannot be waited for.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn logging(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "cc_ci=info,warn",
        _ => "cc_ci=debug,bollard=debug,info",
    };
    let filter = crate::env::var("CC_CI_LOG").unwrap_or_else(|| level.to_owned());
    let filter = tracing_subscriber::EnvFilter::try_new(filter).unwrap_or_else(|_| "warn".into());
    // The only error is that a test has installed one already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}

/// Milliseconds for people: `3.2 s`, `1:05`.
fn seconds(ms: u64) -> String {
    if ms < 60_000 {
        format!("{}.{} s", ms / 1000, ms % 1000 / 100)
    } else {
        format!("{}:{:02}", ms / 60_000, ms / 1000 % 60)
    }
}

/// Columns of the terminal; 100 where there is none.
fn width() -> usize {
    terminal_size::terminal_size().map_or(100, |(terminal_size::Width(columns), _)| usize::from(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn times_for_people() {
        for (ms, want) in [(0, "0.0 s"), (1_340, "1.3 s"), (59_999, "59.9 s"), (60_000, "1:00"), (3_725_000, "62:05")] {
            assert_eq!(seconds(ms), want);
        }
    }
}
