//! `cc-ci testme`: asks for a test on a pull request, or only reads its verdict, from any machine.
//!
//! Everything is read from the pull request, through the forge's API. A verdict belongs to the comment that asked for it
//! and to the commit that was pinned for it: a newer commit, or a newer comment on the same commit, never inherits one.
//! How that is read, and who is believed, is in [`reading`].

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueHint};

use crate::clock::SystemClock;
use crate::config::{Layers, forge_access};
use crate::domain::Verdict;
use crate::forge::model::{Comment, RepoId};
use crate::forge::{Client, Error, Settings};

use super::{Context, Exit, Failure, Outcome};
use reading::Look;

mod reading;

/// For one call.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = "Prints VERDICT=GREEN|RED|PENDING|ERROR and BUILD=<url>.\n\n\
    Examples:\n  \
    cc-ci testme recipes/custom-html 12                  read the verdict\n  \
    POST=1 cc-ci testme recipes/custom-html 12 --wait    ask, and wait for it\n\n\
    Exit codes: 0 GREEN, 1 RED, 2 usage or configuration, 3 ERROR or the forge does not answer, 4 PENDING.")]
pub(super) struct TestmeArgs {
    /// The repository, as owner/name
    #[arg(value_name = "OWNER/REPO")]
    repository: String,
    /// Number of the pull request
    #[arg(value_name = "PR")]
    number: i64,
    /// Post one `!testme` first. POST=1 and POST=0 in the environment say the same
    #[arg(long, env = "POST", value_parser = FalseyValueParser::new())]
    post: bool,
    /// Wait until there is a verdict, at most this long: seconds, or as in 90s, 15m, 2h
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2h", value_parser = super::test::duration)]
    wait: Option<Duration>,
    /// Configuration with forge.url and forge.token_file; CC_CI_FORGE_URL and CC_CI_FORGE_TOKEN_FILE do as well
    #[arg(long, value_name = "FILE", env = "CC_CI_CONFIG", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
}

pub(super) async fn run(args: TestmeArgs, context: Context) -> Outcome {
    let usage = |error: crate::config::ConfigError| Failure::usage(error.to_string());
    let layers = Layers::read(args.config.as_deref()).map_err(usage)?;
    let (url, token) = forge_access(&layers).map_err(usage)?;
    let settings = Settings { base_url: url, token, timeout: TIMEOUT, clock: SystemClock::shared() };
    let client = Client::new(settings).map_err(|error| Failure::usage(format!("forge.url: {error}")))?;
    let down = |error: Error| Failure::error(error.to_string());
    let (owner, name) = args
        .repository
        .split_once('/')
        .ok_or_else(|| Failure::usage(format!("`{}` is not of the form owner/name", args.repository)))?;
    let repo = client.repo_by_name(owner, name).await.map_err(down)?.id;
    let posted = if args.post { Some(post(&client, repo, args.number).await.map_err(down)?) } else { None };
    let look = Look { client: &client, repo, number: args.number, posted };
    let begun = tokio::time::Instant::now();
    let mut said = String::new();
    let reading = loop {
        let reading = look.read().await;
        match (&reading, args.wait) {
            (Ok(found), Some(limit)) if found.verdict == Verdict::Pending && begun.elapsed() < limit => {
                if !context.quiet && found.why != said {
                    said.clone_from(&found.why);
                    eprintln!("waiting: {said}");
                }
            }
            // The forge may be back before the time is up.
            (Err(error), Some(limit)) if error.is_transient() && begun.elapsed() < limit => {}
            _ => break reading.map_err(down)?,
        }
        tokio::time::sleep(LOOK).await;
    };
    if !context.quiet && !reading.why.is_empty() {
        eprintln!("{}", reading.why);
    }
    super::tools::print(format!("VERDICT={}\nBUILD={}\n", reading.verdict, reading.build).as_bytes())?;
    Ok(match reading.verdict {
        Verdict::Green => Exit::Green,
        Verdict::Red => Exit::Red,
        Verdict::Error => Exit::Error,
        Verdict::Pending => Exit::Pending,
    })
}

/// Posts one `!testme`, and never a second: if the forge failed, it is looked whether it had written it all the same.
async fn post(client: &Client, repo: RepoId, number: i64) -> Result<i64, Error> {
    let before = client.comments(repo, number).await?.iter().map(|comment| comment.id).max().unwrap_or(0);
    match client.create_comment(repo, number, "!testme").await {
        Ok(comment) => Ok(comment.id),
        Err(error) if error.is_transient() => {
            let own = client.whoami().await?.person.id;
            let comments = client.comments(repo, number).await?;
            let ours = |comment: &&Comment| {
                comment.id > before && comment.author.id == own && comment.body.trim() == "!testme"
            };
            comments.iter().find(ours).map(|comment| comment.id).ok_or(error)
        }
        Err(error) => Err(error),
    }
}
