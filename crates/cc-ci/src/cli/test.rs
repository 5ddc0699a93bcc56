//! `cc-ci test`: one recipe through the stages.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use tokio_util::sync::CancellationToken;

use crate::domain::{ReasonCode, Run, RunId, Stage, Verdict};
use crate::git::Source;
use crate::harness::{self, Host, Prepared, Reporter, Request};
use crate::results::terminal;
use crate::state::State;
use crate::swarm::Engine;

use super::{Context, Exit, Failure, Outcome, policy, progress};

/// Where recipes named without path or URL are looked for.
const CATALOGUE: &str = "https://git.coopcloud.tech/coop-cloud";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cc-ci test ./custom-html                           the commit that HEAD points to\n  \
    cc-ci test ./custom-html --tests ./tests-repo      with the suite tests/custom-html/ from there\n  \
    cc-ci test custom-html --ref my-branch             by name, from the catalogue\n  \
    cc-ci test ./custom-html --base 1.2.0+1.26.0       upgrade from that release\n  \
    cc-ci test ./custom-html --stage install,custom    only these stages\n\n\
    Exit codes: 0 GREEN, 1 RED, 2 usage or configuration, 3 ERROR (could not judge), 130 interrupted.")]
pub(super) struct TestArgs {
    /// The recipe: a folder that is a git repository, a git URL, or a name from the catalogue
    #[arg(value_name = "RECIPE", value_hint = ValueHint::AnyPath)]
    recipe: String,
    /// Branch, tag or commit to test; HEAD unless given. Uncommitted changes are never tested
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// What to upgrade from: branch, tag, commit, or `none`. Unless given: the newest release before the commit under test
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// Tests repository: a folder or git URL that has tests/<recipe>/
    #[arg(long, value_name = "PATH|URL", env = "CC_CI_TESTS", value_hint = ValueHint::AnyPath)]
    tests: Option<String>,
    /// Branch, tag or commit of the tests repository; a local folder is read as it stands unless given
    #[arg(long, value_name = "REF", requires = "tests")]
    tests_ref: Option<String>,
    /// Only these stages, and what they need: restore needs backup, custom needs install; may be given several times or as a list
    #[arg(long, value_name = "STAGE", value_delimiter = ',', value_enum)]
    stage: Vec<Stage>,
    /// Leave the apps deployed, to look into them; `cc-ci reap` removes them
    #[arg(long)]
    keep: bool,
    /// Folder for the evidence; must be empty or new
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
    /// Print results.json instead of the table
    #[arg(long)]
    json: bool,
    /// Most time for the whole run, teardown not counted: seconds, or as in 90s, 15m, 1h30m
    #[arg(long, value_name = "TIME", default_value = "60m", value_parser = duration)]
    timeout: Duration,
    /// One lane after the other, even if the host has room for both
    #[arg(long)]
    sequential: bool,
    /// Hold time-outs against the recipe even if the host is overloaded, where they would end as ERROR
    #[arg(long)]
    ignore_load: bool,
    /// Make no screenshot
    #[arg(long)]
    no_screenshot: bool,
    /// Name of the recipe, if it is not the last part of path or URL
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    policy: policy::PolicyFile,
    #[command(flatten)]
    catalogue: Catalogue,
}

/// Where a recipe name leads.
#[derive(Debug, Args)]
pub(super) struct Catalogue {
    /// Where recipes named without path or URL are: a git URL or folder that the name is put behind
    #[arg(long, value_name = "URL", env = "CC_CI_CATALOGUE", default_value = CATALOGUE)]
    catalogue: String,
}

impl Catalogue {
    /// The source that a text names.
    pub(super) fn source(&self, text: &str) -> Result<Source, Failure> {
        let source = Source::parse(text).map_err(|error| Failure::usage(error.to_string()))?;
        match source {
            Source::Name(name) if std::path::Path::new(&self.catalogue).is_dir() => {
                Ok(Source::Local(std::path::Path::new(&self.catalogue).join(name)))
            }
            source => Ok(source.in_catalogue(&self.catalogue)),
        }
    }
}

pub(super) async fn run(args: TestArgs, context: Context) -> Outcome {
    let state = State::locate();
    let request = request(&args, &state)?;
    let cancel = CancellationToken::new();
    let signals = tokio::spawn(signals(cancel.clone(), context.quiet));
    let engine = connect()?;
    let facts = engine.require_swarm_manager().await.map_err(|error| Failure::error(error.to_string()))?;
    let prepared = prepare(&request, &state, &cancel).await?;
    let id = RunId::new(crate::clock::now().as_second().unsigned_abs(), rand::random());
    let _lock = state.lock(&id).map_err(|error| {
        Failure::usage(format!("the lock of the run cannot be taken: {error}"))
            .remedy("set CC_CI_STATE to a folder you can write")
    })?;
    let (reporter, events) = Reporter::channel();
    let view = tokio::spawn(progress::show(events, context.err, context.quiet));
    let host = Host { id, engine, facts, state, reporter, cancel };
    let finished = harness::run(&request, prepared, host).await;
    // The reporter is gone with the run, so the view ends by itself.
    let _ = view.await;
    signals.abort();
    let finished = finished.map_err(|error| Failure::usage(error.to_string()))?;
    print(&args, &finished.run, &finished.dir, context)?;
    Ok(exit(&finished.run))
}

fn request(args: &TestArgs, state: &State) -> Result<Request, Failure> {
    let tests = match &args.tests {
        Some(text) => match Source::parse(text).map_err(|error| Failure::usage(error.to_string()))? {
            Source::Name(name) => {
                return Err(Failure::usage(format!("--tests {name}: there is no such folder, and it is no git URL")));
            }
            source => Some(source),
        },
        None => None,
    };
    let stages = with_needs(&args.stage);
    Ok(Request {
        recipe: args.catalogue.source(&args.recipe)?,
        name: args.name.clone(),
        reference: args.reference.clone(),
        base: args.base.clone(),
        last_green: None,
        tests,
        tests_reference: args.tests_ref.clone(),
        stages,
        keep: args.keep,
        sequential: args.sequential,
        ignore_load: args.ignore_load,
        timeout: args.timeout,
        policy: args.policy.read()?,
        http_hosts: Vec::new(),
        out: args.out.clone(),
        screenshot: !args.no_screenshot,
        tools: super::doctor::tool_folders(state),
    })
}

/// The stages that were asked for and those that they need: custom tests need an installed app, a restore needs a backup. All if none was named.
fn with_needs(asked: &[Stage]) -> Vec<Stage> {
    let needed = |stage: Stage| {
        asked.is_empty()
            || asked.contains(&stage)
            || match stage {
                Stage::Install => asked.contains(&Stage::Custom),
                Stage::Backup => asked.contains(&Stage::Restore),
                Stage::Upgrade | Stage::Restore | Stage::Custom => false,
            }
    };
    Stage::ALL.into_iter().filter(|stage| needed(*stage)).collect()
}

/// The engine that `DOCKER_HOST` names, or the default socket.
pub(super) fn connect() -> Result<Engine, Failure> {
    let engine = Engine::connect(crate::env::var("DOCKER_HOST").as_deref())
        .map_err(|error| Failure::error(error.to_string()))?;
    Ok(match crate::env::var("DOCKER_CONFIG") {
        Some(folder) => engine.with_docker_config(folder),
        None => engine,
    })
}

async fn prepare(request: &Request, state: &State, cancel: &CancellationToken) -> Result<Prepared, Failure> {
    harness::prepare(request, &state.git_cache(), cancel).await.map_err(|error| {
        if cancel.is_cancelled() {
            Failure { exit: Exit::Interrupted, message: "interrupted".to_owned(), remedy: Vec::new() }
        } else {
            Failure::usage(error.to_string())
        }
    })
}

/// Ctrl-C and SIGTERM end the run with its teardown; a second one within it is answered with what to do.
async fn signals(cancel: CancellationToken, quiet: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if !quiet {
            let text = if cancel.is_cancelled() {
                "still removing what was deployed; kill -9 leaves it, and `cc-ci reap` then removes it"
            } else {
                "stopping: what was deployed is being removed"
            };
            eprintln!("\n{text}");
        }
        cancel.cancel();
    }
}

fn print(args: &TestArgs, run: &Run, dir: &std::path::Path, context: Context) -> Result<(), Failure> {
    if args.json {
        let json = serde_json::to_string_pretty(run).map_err(|error| Failure::error(error.to_string()))?;
        return super::tools::print(format!("{json}\n").as_bytes()).map(|_| ());
    }
    let view = terminal::View { colour: context.out.is_on(), width: super::width(), folder: dir.to_owned() };
    super::tools::print(terminal::stage_table(run, &view).as_bytes()).map(|_| ())
}

fn exit(run: &Run) -> Exit {
    let interrupted = run
        .stages
        .iter()
        .filter_map(|result| result.reason.as_ref())
        .any(|reason| reason.code == ReasonCode::Interrupted);
    match run.verdict {
        Verdict::Green => Exit::Green,
        _ if interrupted => Exit::Interrupted,
        Verdict::Red => Exit::Red,
        Verdict::Error | Verdict::Pending => Exit::Error,
    }
}

/// Seconds, or a duration as Docker and Go write it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return if seconds > 0 {
            Ok(Duration::from_secs(seconds))
        } else {
            Err("it must be more than nothing".to_owned())
        };
    }
    recipe::duration::parse(text).map_err(|_| format!("`{text}` is no time: write seconds, or as in 90s, 15m, 1h30m"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Stage::{Backup, Custom, Install, Restore, Upgrade};

    #[test]
    fn stages_bring_what_they_need() {
        for (asked, want) in [
            (&[][..], &Stage::ALL[..]),
            (&[Install], &[Install]),
            (&[Custom], &[Install, Custom]),
            (&[Restore], &[Backup, Restore]),
            (&[Custom, Upgrade], &[Install, Upgrade, Custom]),
        ] {
            assert_eq!(with_needs(asked), want, "{asked:?}");
        }
    }

    #[test]
    fn times() {
        for (text, want) in [
            ("90", Some(90)),
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("1h30m", Some(5400)),
            ("0", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(duration(text).ok().map(|time| time.as_secs()), want, "{text}");
        }
    }
}
