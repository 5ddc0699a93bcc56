//! `cc-ci testme`: asks for a test on a pull request, or only reads its verdict, from any machine.
//!
//! Everything is read from the pull request, through the forge's API. A verdict belongs to the comment that asked for it
//! and to the commit that was pinned for it: a newer commit, or a newer comment on the same commit, never inherits one.
//! The rule to know: anybody can write what looks like an answer, so only a bot's counts that may set commit statuses.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueHint};

use crate::bridge::commands::{Command, Understood, understand};
use crate::clock::SystemClock;
use crate::config::{Layers, forge_access};
use crate::domain::Verdict;
use crate::forge::model::{Comment, Permission, RepoId};
use crate::forge::{Client, Error, Settings};
use crate::publish::answers::Answer;
use crate::publish::{CONTEXT, hint_marker};

use super::{Context, Exit, Failure, Outcome};

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

/// What the pull request says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reading {
    verdict: Verdict,
    /// Page of the run, if there is one.
    build: String,
    /// For people; empty if there is nothing to add.
    why: String,
}

impl Reading {
    fn pending(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Pending, build: String::new(), why: why.into() }
    }
}

struct Look<'c> {
    client: &'c Client,
    repo: RepoId,
    number: i64,
    posted: Option<i64>,
}

impl Look<'_> {
    async fn read(&self) -> Result<Reading, Error> {
        let pull = self.client.pull(self.repo, self.number).await?;
        let comments = self.client.comments(self.repo, self.number).await?;
        let head = pull.head.sha.to_ascii_lowercase();
        let Some(asked) = self.posted.or_else(|| newest_request(&comments, &head)) else {
            return Ok(Reading::pending("nobody has asked for a test of this commit yet"));
        };
        let mut believed = Vec::new();
        for comment in &comments {
            let speaks = Answer::read_all(&comment.body).iter().any(|answer| answer.comment == asked)
                || comment.body.trim_start().starts_with(&hint_marker(asked));
            if speaks && self.is_bot(comment, &head).await? {
                believed.push(comment);
            }
        }
        Ok(judge(asked, &head, &believed))
    }

    /// Whether somebody who may set commit statuses wrote this.
    async fn is_bot(&self, comment: &Comment, head: &str) -> Result<bool, Error> {
        let author = comment.author.id;
        if author <= 0 {
            return Ok(false);
        }
        let statuses = self.client.statuses(self.repo, head).await?;
        let ours = |status: &crate::forge::model::CommitStatus| {
            status.context == CONTEXT && status.creator.as_ref().is_some_and(|creator| creator.id == author)
        };
        if statuses.iter().any(ours) || self.client.whoami().await?.person.id == author {
            return Ok(true);
        }
        match self.client.permission(self.repo, &comment.author.login).await {
            Ok(found) => Ok(found.person.id == author && found.permission >= Permission::Write),
            Err(error) if error.is_withheld() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The newest comment that asks for a test of this commit.
fn newest_request(comments: &[Comment], head: &str) -> Option<i64> {
    let asks = |comment: &&Comment| match understand(&comment.body) {
        Understood::Command(Command::Test { commit }) => commit.is_none_or(|commit| commit.names(head)),
        Understood::Command(Command::Retest) => true,
        Understood::Command(Command::Cancel)
        | Understood::None
        | Understood::NearMiss { .. }
        | Understood::Refused { .. } => false,
    };
    comments.iter().filter(asks).map(|comment| comment.id).max()
}

/// What the bot's comments say to whoever asked. Pure.
fn judge(asked: i64, head: &str, believed: &[&Comment]) -> Reading {
    for comment in believed {
        let Some(answer) = Answer::read_all(&comment.body).into_iter().find(|answer| answer.comment == asked) else {
            continue;
        };
        let build = page_of(&comment.body, answer.run);
        if !answer.commit.eq_ignore_ascii_case(head) {
            let why = format!("run {} was for commit {}, the head is {head}; ask again", answer.run, answer.commit);
            return Reading { build, ..Reading::pending(why) };
        }
        let why = match answer.verdict {
            Verdict::Pending => format!("run {} is not over", answer.run),
            Verdict::Green | Verdict::Red | Verdict::Error => String::new(),
        };
        return Reading { verdict: answer.verdict, build, why };
    }
    let marker = hint_marker(asked);
    match believed.iter().find_map(|comment| comment.body.trim_start().strip_prefix(&marker)) {
        Some(hint) => {
            let why = crate::results::sanitise::line(hint.trim(), 300);
            Reading { verdict: Verdict::Error, build: String::new(), why: format!("refused: {why}") }
        }
        None => Reading::pending("asked for, not yet answered"),
    }
}

/// The link to a run's page.
fn page_of(body: &str, run: i64) -> String {
    let link = format!("[Run {run}](");
    let found = body.split_once(&link).and_then(|(_, rest)| rest.split_once(')')).map(|(url, _)| url);
    found.filter(|url| url.starts_with("http") && !url.contains(char::is_whitespace)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::facts::Person;

    fn comment(id: i64, body: &str) -> Comment {
        Comment {
            id,
            author: Person { id: 9, login: "ccci".into() },
            body: body.to_owned(),
            created: jiff::Timestamp::UNIX_EPOCH,
            updated: jiff::Timestamp::UNIX_EPOCH,
            number: Some(1),
            is_pull: true,
            html_url: String::new(),
        }
    }

    fn answer(asked: i64, commit: &str, run: i64, verdict: Verdict) -> String {
        let line = Answer { comment: asked, commit: commit.to_owned(), run, verdict };
        format!("<!-- cc-ci:pull:1:1 -->\n{line}\n\n[Run {run}](https://ci.test/runs/{run})\n")
    }

    #[test]
    fn a_verdict_belongs_to_its_trigger_and_its_commit() {
        let (old, new) = ("a".repeat(40), "b".repeat(40));
        let two = format!("{}{}", answer(5, &old, 2, Verdict::Pending), answer(3, &old, 1, Verdict::Green));
        let both = comment(9, &two);
        let table = [
            ("the newer request does not inherit", 5, &old, Verdict::Pending),
            ("the older keeps its own", 3, &old, Verdict::Green),
            ("a newer commit does not inherit", 3, &new, Verdict::Pending),
            ("not answered yet", 7, &old, Verdict::Pending),
        ];
        for (name, asked, head, want) in table {
            assert_eq!(judge(asked, head, &[&both]).verdict, want, "{name}");
        }
        assert_eq!(judge(3, &old, &[&both]).build, "https://ci.test/runs/1");
        assert_eq!(judge(3, &old, &[]).verdict, Verdict::Pending);
    }

    #[test]
    fn a_refusal_is_an_answer_too() {
        let hint = comment(4, "<!-- cc-ci:hint:3 -->\n`bob`: Only people who may write.");
        let reading = judge(3, "a", &[&hint]);
        assert_eq!(
            (reading.verdict, reading.why.as_str()),
            (Verdict::Error, "refused: `bob`: Only people who may write.")
        );
        assert_eq!(judge(4, "a", &[&hint]).verdict, Verdict::Pending);
    }

    #[test]
    fn the_newest_request_for_the_head_counts() {
        let head = "0123456789abcdef0123456789abcdef01234567";
        let comments = [
            comment(1, "!testme"),
            comment(2, "!testme 0123456789"),
            comment(3, "!testme ffffffffff"),
            comment(4, "> !testme"),
            comment(5, "!cancel"),
        ];
        assert_eq!(newest_request(&comments, head), Some(2));
        assert_eq!(newest_request(&comments[3..], head), None);
    }
}
