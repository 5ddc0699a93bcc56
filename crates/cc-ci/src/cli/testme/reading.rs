//! What a pull request says about a test of its head: who asked for one, and what the bot answered.
//!
//! The traps: anybody can write `!testme`, so a wish that the bot refused for want of rights is nobody's; anybody can write
//! what looks like an answer, so only whoever set commit statuses is believed, or may set them; and a newer wish of somebody
//! who may have one never inherits the verdict of an older one, even if it was refused or has yet to be answered.

use std::collections::BTreeSet;

use crate::bridge::commands::{Command, Understood, understand};
use crate::bridge::gate::{Reaction, Refusal};
use crate::domain::Verdict;
use crate::forge::model::{Comment, Permission, Person, RepoId};
use crate::forge::{Client, Error};
use crate::publish::answers::Answer;
use crate::publish::{CONTEXT, hint_marker};
use crate::results::sanitise;

/// Newest requests that are looked at.
const REQUESTS: usize = 20;

/// What the pull request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) verdict: Verdict,
    /// Page of the run, if there is one.
    pub(super) build: String,
    /// For people; empty if there is nothing to add.
    pub(super) why: String,
}

/// How a request for a test stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// The bot named its run, and perhaps the verdict; with the run's page.
    Answered(Answer, String),
    /// The bot has seen it and will answer.
    Accepted,
    /// The bot said no, with its words if it had any.
    Refused(String),
    /// The bot said no because the person has no rights.
    Stranger(String),
    /// Nobody said anything, and the comment was changed since it was written: the bot passes such ones over.
    Edited,
    /// Nobody said anything yet.
    Silent,
}

/// Where to look, and for what.
pub(super) struct Look<'c> {
    pub(super) client: &'c Client,
    pub(super) repo: RepoId,
    pub(super) number: i64,
    /// The comment whose answer is wanted; else the newest that asks for a test of the head.
    pub(super) posted: Option<i64>,
}

impl Look<'_> {
    /// Reads the pull request once.
    pub(super) async fn read(&self) -> Result<Reading, Error> {
        let pull = self.client.pull(self.repo, self.number).await?;
        let comments = self.client.comments(self.repo, self.number).await?;
        let head = pull.head.sha.to_ascii_lowercase();
        let wanted = |comment: &&Comment| match self.posted {
            Some(posted) => comment.id == posted,
            None => asks_for(&comment.body, &head),
        };
        let mut requests: Vec<&Comment> = comments.iter().filter(wanted).collect();
        requests.sort_by_key(|comment| std::cmp::Reverse(comment.id));
        requests.truncate(REQUESTS);
        let mut bots = self.bots(&head).await?;
        let mut stands = Vec::with_capacity(requests.len());
        for request in requests {
            let standing = self.standing(request, &comments, &mut bots).await?;
            let settles = matches!(standing, Standing::Answered(..) | Standing::Accepted | Standing::Refused(_));
            stands.push((request.author.id, standing));
            if settles && stands.iter().all(|(_, standing)| *standing != Standing::Silent) {
                break;
            }
        }
        Ok(judge(&stands, &head, self.posted.is_some()))
    }

    async fn standing(&self, request: &Comment, comments: &[Comment], bots: &mut Bots) -> Result<Standing, Error> {
        let marker = hint_marker(request.id);
        let mut hint = None;
        for comment in comments.iter().filter(|comment| comment.id != request.id) {
            let answer = Answer::read_all(&comment.body).into_iter().find(|answer| answer.comment == request.id);
            if let Some(answer) = answer
                && self.believes(bots, &comment.author, Saying::Verdict).await?
            {
                let page = page_of(&comment.body, answer.run);
                return Ok(Standing::Answered(answer, page));
            }
            if let Some(text) = comment.body.trim_start().strip_prefix(&marker)
                && self.believes(bots, &comment.author, Saying::Refusal).await?
            {
                hint = Some(text.trim());
            }
        }
        if let Some(text) = hint {
            let stranger = text.ends_with(&Refusal::NoWriteAccess.text());
            let why = format!("refused: {}", sanitise::line(text, 300));
            return Ok(if stranger { Standing::Stranger(why) } else { Standing::Refused(why) });
        }
        for reacted in self.client.reactions(self.repo, request.id).await? {
            let kinds = [Reaction::Eyes, Reaction::No, Reaction::Confused];
            let Some(kind) = kinds.into_iter().find(|kind| kind.as_str() == reacted.content) else { continue };
            if self.believes(bots, &reacted.person, Saying::Refusal).await? {
                return Ok(match kind {
                    Reaction::Eyes => Standing::Accepted,
                    Reaction::No => Standing::Stranger("refused: no right to give commands here".to_owned()),
                    Reaction::Confused => Standing::Refused("refused; see the pull request".to_owned()),
                });
            }
        }
        Ok(if request.updated > request.created { Standing::Edited } else { Standing::Silent })
    }

    async fn bots(&self, head: &str) -> Result<Bots, Error> {
        let statuses = self.client.statuses(self.repo, head).await?;
        let ours = statuses.into_iter().filter(|status| status.context == CONTEXT);
        let speakers: BTreeSet<i64> =
            ours.filter_map(|status| status.creator).map(|creator| creator.id).filter(|id| *id > 0).collect();
        Ok(Bots { speakers, looked: Vec::new() })
    }

    /// Whether somebody speaks for cc-ci. Once there are statuses of ours it is who set them. Before that no verdict can be
    /// hidden by a wrong refusal, so for one it is enough to be among those whom work can be given to.
    async fn believes(&self, bots: &mut Bots, person: &Person, saying: Saying) -> Result<bool, Error> {
        if person.id <= 0 || !bots.speakers.is_empty() {
            return Ok(bots.speakers.contains(&person.id));
        }
        if let Some((_, _, known)) = bots.looked.iter().find(|(id, what, _)| (*id, *what) == (person.id, saying)) {
            return Ok(*known);
        }
        let known = self.may_speak(person, saying).await?;
        bots.looked.push((person.id, saying, known));
        Ok(known)
    }

    async fn may_speak(&self, person: &Person, saying: Saying) -> Result<bool, Error> {
        if self.client.whoami().await?.person.id == person.id {
            return Ok(true);
        }
        match self.client.permission(self.repo, &person.login).await {
            Ok(found) => return Ok(found.person.id == person.id && found.permission >= Permission::Write),
            Err(error) if error.is_withheld() => {}
            Err(error) => return Err(error),
        }
        match saying {
            Saying::Verdict => Ok(false),
            Saying::Refusal => match self.client.assignees(self.repo).await {
                Ok(people) => Ok(people.iter().any(|other| other.id == person.id)),
                Err(error) if error.is_withheld() => Ok(false),
                Err(error) => Err(error),
            },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saying {
    Verdict,
    Refusal,
}

/// Who speaks for cc-ci, as far as is known.
struct Bots {
    /// Who set statuses of ours on the head.
    speakers: BTreeSet<i64>,
    looked: Vec<(i64, Saying, bool)>,
}

/// Whether a comment asks for a test of this commit.
fn asks_for(body: &str, head: &str) -> bool {
    match understand(body) {
        Understood::Command(Command::Test { commit }) => commit.is_none_or(|commit| commit.names(head)),
        Understood::Command(Command::Retest) => true,
        Understood::Command(Command::Cancel)
        | Understood::None
        | Understood::NearMiss { .. }
        | Understood::Refused { .. } => false,
    }
}

/// What requests, newest first, come to. `named` if there is only the one that was asked about. Pure.
fn judge(stands: &[(i64, Standing)], head: &str, named: bool) -> Reading {
    let reading = |verdict, build: &str, why: &str| Reading { verdict, build: build.to_owned(), why: why.to_owned() };
    let is_stranger = |person: i64| {
        stands.iter().any(|(other, standing)| *other == person && matches!(standing, Standing::Stranger(_)))
    };
    for (person, standing) in stands {
        match standing {
            Standing::Answered(answer, build) => {
                let run = answer.run;
                if !answer.commit.eq_ignore_ascii_case(head) {
                    let why = format!("run {run} was for commit {}, the head is {head}; ask again", answer.commit);
                    return reading(Verdict::Pending, build, &why);
                }
                let why = match answer.verdict {
                    Verdict::Pending => format!("run {run} is not over"),
                    Verdict::Green | Verdict::Red | Verdict::Error => String::new(),
                };
                return reading(answer.verdict, build, &why);
            }
            Standing::Accepted => return reading(Verdict::Pending, "", "asked for, accepted"),
            Standing::Refused(why) => return reading(Verdict::Error, "", why),
            Standing::Stranger(why) if named => return reading(Verdict::Error, "", why),
            Standing::Silent if named || !is_stranger(*person) => {
                return reading(Verdict::Pending, "", "asked for, not yet answered");
            }
            Standing::Stranger(_) | Standing::Silent | Standing::Edited => {}
        }
    }
    let why = if named { "the comment was changed" } else { "nobody who may has asked for a test of this commit yet" };
    reading(Verdict::Pending, "", why)
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

    const HEAD: &str = "0123456789abcdef0123456789abcdef01234567";

    fn answered(verdict: Verdict, commit: &str) -> Standing {
        let answer = Answer { comment: 1, commit: commit.to_owned(), run: 7, verdict };
        Standing::Answered(answer, "https://ci.test/runs/7".to_owned())
    }

    #[test]
    fn a_verdict_belongs_to_its_request_and_its_commit() {
        use Standing::{Accepted, Edited, Refused, Silent, Stranger};
        use Verdict::{Error, Green, Pending, Red};
        let (green, old) = (answered(Green, HEAD), answered(Green, &"f".repeat(40)));
        let (no, unclear) = (|| Stranger("no".into()), || Refused("unclear".into()));
        let (anna, bob) = (7, 8);
        type Stands = Vec<(i64, Standing)>;
        let table: Vec<(&str, Stands, Verdict)> = vec![
            ("nobody asked", vec![], Pending),
            ("green", vec![(anna, green.clone())], Green),
            ("red", vec![(anna, answered(Red, HEAD))], Red),
            ("the newer one is not over", vec![(anna, answered(Pending, HEAD)), (anna, green.clone())], Pending),
            ("the newer one is accepted", vec![(anna, Accepted), (anna, green.clone())], Pending),
            ("the newer one waits for the bot", vec![(anna, Silent), (anna, green.clone())], Pending),
            ("the newer one is refused", vec![(anna, unclear()), (anna, green.clone())], Error),
            ("for another commit", vec![(anna, old)], Pending),
            ("a stranger's wish is none", vec![(bob, no()), (anna, green.clone())], Green),
            ("nor are his further ones", vec![(bob, Silent), (bob, no()), (anna, green.clone())], Green),
            ("nor if he was refused before", vec![(bob, Silent), (anna, green.clone()), (bob, no())], Green),
            ("but another's are", vec![(anna, Silent), (bob, no()), (anna, green.clone())], Pending),
            ("an edited comment asks nothing", vec![(bob, Edited), (anna, green)], Green),
            ("only strangers", vec![(bob, no())], Pending),
        ];
        for (name, stands, want) in table {
            assert_eq!(judge(&stands, HEAD, false).verdict, want, "{name}");
        }
    }

    #[test]
    fn the_one_that_was_asked_about_is_told_its_own_end() {
        let told = |standing| {
            let reading = judge(&[(8, standing)], HEAD, true);
            (reading.verdict, reading.why)
        };
        assert_eq!(told(Standing::Stranger("refused: no".into())), (Verdict::Error, "refused: no".into()));
        assert_eq!(told(Standing::Silent).0, Verdict::Pending);
        assert_eq!(told(Standing::Edited).0, Verdict::Pending);
        assert_eq!(judge(&[(8, answered(Verdict::Green, HEAD))], HEAD, true).build, "https://ci.test/runs/7");
    }

    #[test]
    fn which_comments_ask_for_the_head() {
        for (body, want) in [
            ("!testme", true),
            ("!retest", true),
            ("!testme 0123456789", true),
            ("!testme ffffffffff", false),
            ("> !testme", false),
            ("!cancel", false),
        ] {
            assert_eq!(asks_for(body, HEAD), want, "{body}");
        }
    }

    #[test]
    fn the_page_is_the_runs_own() {
        let body = "[Run 1](https://ci.test/runs/1) [Run 11](https://ci.test/runs/11) [Run 2](javascript:x)";
        assert_eq!(page_of(body, 11), "https://ci.test/runs/11");
        assert_eq!((page_of(body, 2), page_of(body, 3)), (String::new(), String::new()));
    }
}
