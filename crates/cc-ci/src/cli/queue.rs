//! `cc-ci queue`: what a server runs and what waits there; and from the shell what its pages have buttons for.
//!
//! It speaks to the server over HTTP and touches neither its database nor the engine, so it works from any machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};
use url::Url;

use crate::config::{Layers, server_access};
use crate::redact::SecretValue;
use crate::remote::{Brief, Done, Queue, Remote, RemoteError, Wish};
use crate::results::sanitise;

use super::{Context, Failure, Outcome};

/// Longest text in a cell.
const CELL: usize = 40;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
    cc-ci queue                                          what runs, what waits, and for how long\n  \
    cc-ci queue add custom-html --ref main               test a branch\n  \
    cc-ci queue cancel 12\n  \
    cc-ci queue --server https://ci.example.org --json\n\n\
    Exit codes: 0 done, 2 usage or refused, 3 the server does not answer."
)]
pub(super) struct QueueArgs {
    #[command(subcommand)]
    wish: Option<QueueCommand>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Args)]
struct ServerArgs {
    /// Address of the server; of this machine's configuration unless given
    #[arg(long, value_name = "URL", env = "CC_CI_SERVER", global = true, value_hint = ValueHint::Url)]
    server: Option<Url>,
    /// File with a token that may act; the first of web.act_token_files unless given
    #[arg(long, value_name = "FILE", env = "CC_CI_SERVER_TOKEN_FILE", global = true, value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
    /// Configuration of the server, for its address and token; /etc/cc-ci/cc-ci.toml if it is there
    #[arg(long, value_name = "FILE", env = "CC_CI_CONFIG", global = true, value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// Test a recipe that the server serves
    Add {
        /// The recipe, or owner/name of its repository
        #[arg(value_name = "RECIPE")]
        recipe: String,
        /// Branch, tag or commit; the default branch unless given
        #[arg(long = "ref", value_name = "REF")]
        reference: Option<String>,
        /// The head of this pull request
        #[arg(long, value_name = "PR", conflicts_with = "reference")]
        pull: Option<i64>,
    },
    /// Stop a run that waits or runs; what it deployed is removed
    Cancel {
        /// Number of the run
        #[arg(value_name = "RUN")]
        run: i64,
    },
    /// Test the same commit once more
    Rerun {
        /// Number of the run
        #[arg(value_name = "RUN")]
        run: i64,
    },
}

impl From<QueueCommand> for Wish {
    fn from(command: QueueCommand) -> Self {
        match command {
            QueueCommand::Add { recipe, reference, pull } => Wish::Add { recipe, reference, pull },
            QueueCommand::Cancel { run } => Wish::Cancel(run),
            QueueCommand::Rerun { run } => Wish::Rerun(run),
        }
    }
}

pub(super) async fn run(args: QueueArgs, context: Context) -> Outcome {
    let remote = args.server.connect()?;
    match args.wish {
        None => {
            let (raw, queue) = remote.queue().await.map_err(failed)?;
            let text = if args.json { format!("{raw:#}\n") } else { table(&queue, context) };
            super::tools::print(text.as_bytes())
        }
        Some(wish) => {
            let done = remote.ask(&wish.into()).await.map_err(failed)?;
            super::tools::print(told(&done, args.json).as_bytes())
        }
    }
}

impl ServerArgs {
    fn connect(&self) -> Result<Remote, Failure> {
        let usage = |error: crate::config::ConfigError| Failure::usage(error.to_string());
        let layers = Layers::read(self.config.as_deref()).map_err(usage)?;
        let (listen, token_file) = server_access(&layers).map_err(usage)?;
        let base = match &self.server {
            Some(url) if matches!(url.scheme(), "http" | "https") => url.clone(),
            Some(url) => return Err(Failure::usage(format!("--server {url}: write http://… or https://…"))),
            None => {
                let host = reachable(listen.ip());
                let text = format!("http://{}", std::net::SocketAddr::new(host, listen.port()));
                Url::parse(&text).map_err(|error| Failure::usage(format!("{text}: {error}")))?
            }
        };
        // A token of this machine's own server is not sent to another one.
        let configured = token_file.filter(|_| self.server.is_none());
        let token = self.token_file.clone().or(configured).map(|file| token(&file)).transpose()?;
        Remote::new(base, token).map_err(failed)
    }
}

/// Where a server that listens at this address can be asked from the same machine.
fn reachable(listen: IpAddr) -> IpAddr {
    match listen {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

fn token(file: &Path) -> Result<SecretValue, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("the token in {} cannot be read: {error}", file.display())))?;
    Ok(SecretValue::new(text.trim()))
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn failed(error: RemoteError) -> Failure {
    let clean = sanitise::line(&error.to_string(), 400);
    match error {
        RemoteError::Down { .. } => {
            Failure::error(clean).remedy("start it with `cc-ci serve`, or name another with --server or CC_CI_SERVER")
        }
        RemoteError::NotAllowed { .. } => {
            Failure::usage(clean).remedy("name a file with a token of web.act_token_files by --token-file")
        }
        RemoteError::Declined(_) => Failure::usage(clean),
        RemoteError::Strange { .. } => Failure::error(clean).remedy("is the address that of `cc-ci serve`?"),
    }
}

fn told(done: &Done, json: bool) -> String {
    if json {
        return format!("{:#}\n", serde_json::json!({ "run": done.run, "message": done.message }));
    }
    format!("{}\n", sanitise::line(&done.message, 400))
}

/// The queue for people.
fn table(queue: &Queue, context: Context) -> String {
    if queue.running.is_empty() && queue.waiting.is_empty() {
        return if context.quiet { String::new() } else { "Nothing runs and nothing waits.\n".to_owned() };
    }
    let mut rows = vec![["RUN", "RECIPE", "PR", "COMMIT", "BY", "STATE", "STARTS", "VERDICT"].map(str::to_owned)];
    for running in &queue.running {
        let attempt = running.run.attempt;
        let again = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
        let progress = Some(running.run.progress.as_str()).filter(|text| !text.is_empty()).unwrap_or("running");
        let state = format!("{}{again}", sanitise::line(progress, CELL));
        rows.push(row(&running.run, state, String::new(), about(Some(running.expected_seconds))));
    }
    for waiting in &queue.waiting {
        let state = match waiting.position {
            Some(position) => format!("waits, {position} in line"),
            None => sanitise::line(&format!("waits: {}", waiting.run.why), CELL),
        };
        let (start, verdict) = (about(waiting.until_start_seconds), about(waiting.until_verdict_seconds));
        rows.push(row(&waiting.run, state, start, verdict));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let line = cells.join("  ");
        let line = line.trim_end();
        out.push_str(&if index == 0 { context.out.bold(line) } else { line.to_owned() });
        out.push('\n');
    }
    if !context.quiet {
        let (running, slots, waiting) = (queue.running.len(), queue.slots, queue.waiting.len());
        let line = format!("{running} of {slots} slots in use, {waiting} waiting");
        out.push_str(&format!("{}\n", context.out.dim(&line)));
    }
    out
}

fn row(run: &Brief, state: String, starts: String, verdict: String) -> [String; 8] {
    [
        run.number.to_string(),
        sanitise::line(&run.recipe, CELL),
        run.pull.map_or_else(String::new, |pull| format!("#{pull}")),
        sanitise::line(&run.commit, CELL).chars().take(8).collect(),
        sanitise::line(&run.person, CELL),
        state,
        starts,
        verdict,
    ]
}

/// A guess in seconds, in words that do not promise more than a guess.
fn about(guess: Option<i64>) -> String {
    match guess {
        None => String::new(),
        Some(..=0) => "soon".to_owned(),
        Some(seconds @ 1..=90) => format!("in ~{seconds} s"),
        Some(seconds) => format!("in ~{} min", seconds.saturating_add(30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Colour;
    use crate::remote::{Running, Waiting};

    const PLAIN: Context = Context { out: Colour(false), err: Colour(false), quiet: false };

    fn brief(number: i64, recipe: &str) -> Brief {
        Brief {
            number,
            recipe: recipe.to_owned(),
            pull: (number != 13).then_some(7),
            commit: "5ec8c4376d58a1".repeat(3),
            why: "no room: memory".to_owned(),
            progress: "upgrade".to_owned(),
            person: "ana".to_owned(),
            attempt: number - 11,
        }
    }

    #[test]
    fn the_queue_for_people() {
        let waiting = |number, position, start, verdict| Waiting {
            run: brief(number, "notes"),
            position,
            until_start_seconds: start,
            until_verdict_seconds: verdict,
        };
        let queue = Queue {
            running: vec![Running { run: brief(12, "custom-html"), expected_seconds: 25 }],
            waiting: vec![waiting(13, Some(1), Some(0), Some(145)), waiting(14, None, None, None)],
            slots: 2,
        };
        let want = "\
RUN  RECIPE       PR  COMMIT    BY   STATE                   STARTS  VERDICT
12   custom-html  #7  5ec8c437  ana  upgrade                         in ~25 s
13   notes            5ec8c437  ana  waits, 1 in line        soon    in ~2 min
14   notes        #7  5ec8c437  ana  waits: no room: memory
1 of 2 slots in use, 2 waiting
";
        assert_eq!(table(&queue, PLAIN), want);
        let again = Queue { running: vec![Running { run: brief(13, "notes"), expected_seconds: 0 }], ..queue };
        assert!(table(&again, PLAIN).contains("upgrade (attempt 2)"));
    }

    #[test]
    fn what_the_server_sends_cannot_write_to_the_terminal() {
        let run = Brief { recipe: "evil\u{1b}[2J\nrow".to_owned(), ..brief(12, "") };
        let queue = Queue { running: vec![Running { run, expected_seconds: 1 }], waiting: Vec::new(), slots: 1 };
        let text = table(&queue, PLAIN);
        assert!(!text.contains('\u{1b}') && text.lines().count() == 3, "{text:?}");
    }

    #[test]
    fn a_server_that_listens_everywhere_is_asked_at_home() {
        let table = [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.7", "192.0.2.7")];
        for (listens, want) in table {
            assert_eq!(reachable(listens.parse().expect("an address")).to_string(), want);
        }
    }
}
