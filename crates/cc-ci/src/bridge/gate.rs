//! Who may start what: one pure decision about one comment.
//!
//! Everything that makes a run start passes here, whether a webhook or the poll brought it. The gate asks nobody: its
//! callers gather [`Facts`] first. The race to know: between what the author of the comment saw and what is decided now,
//! somebody may have pushed. So a run is pinned to one commit, and where the forge cannot say which commit the author
//! saw, the answer is a refusal that asks for `!testme <commit>`, never a guess.
//!
//! Order matters: what is not addressed to us is ignored silently before rights are looked at; strangers are refused
//! before they are told anything else about the pull request.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::commands::{Command, CommitPrefix, OWN_MARKER, Understood, is_plain_command, understand};
use super::facts::{
    Action, Arrival, CommentNow, Facts, GateConfig, LastPush, MayWriteKnown, PullFacts, PullState, Trigger,
};
use super::rights::MayWrite;

/// A test that may start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// The repository.
    pub repo_id: i64,
    /// The pull request.
    pub pull: i64,
    /// The pinned commit, in full, lower case.
    pub commit: String,
    /// The recipe.
    pub recipe: String,
    /// The suite.
    pub suite: String,
}

/// What to do about a comment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// Queue a run.
    Start(Job),
    /// Queue a run of the same commit once more.
    Retest(Job),
    /// Cancel what is queued or running for the pull request.
    Cancel {
        /// The repository.
        repo_id: i64,
        /// The pull request.
        pull: i64,
    },
    /// Ask again soon with fresh facts: the forge has not settled.
    Wait {
        /// What is awaited.
        why: String,
    },
    /// Say no, visibly.
    Refuse {
        /// Why.
        why: Refusal,
        /// What the person gets to see.
        visible: Visible,
    },
    /// Not for us; nobody sees anything.
    Ignore {
        /// Why.
        why: Ignored,
    },
}

/// What a refused person gets to see. Both may be absent when the limits are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Visible {
    /// A reaction to the comment.
    pub reaction: Option<Reaction>,
    /// One short text, to be written as a comment.
    pub hint: Option<String>,
}

/// Reactions that cc-ci uses; all are in the forge's default set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reaction {
    /// Seen, working on it.
    #[serde(rename = "eyes")]
    Eyes,
    /// No.
    #[serde(rename = "-1")]
    No,
    /// Not understood.
    #[serde(rename = "confused")]
    Confused,
}

impl Reaction {
    /// The forge's name for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reaction::Eyes => "eyes",
            Reaction::No => "-1",
            Reaction::Confused => "confused",
        }
    }
}

/// Why a comment is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "refusal", rename_all = "snake_case")]
pub enum Refusal {
    /// The person may not write code.
    NoWriteAccess,
    /// The forge would not say whether the person may write code.
    RightsUnknown,
    /// Nearly a command.
    NearMiss {
        /// What to write.
        hint: String,
    },
    /// Commands that cannot be obeyed together.
    Unclear {
        /// Why.
        why: String,
    },
    /// The comment was changed after it was written.
    Edited,
    /// The pull request is closed or merged.
    NotOpen,
    /// The delivery is too old.
    Stale,
    /// The commit named is not the head.
    NotTheHead {
        /// The head.
        head: String,
    },
    /// Somebody pushed after the comment was written.
    PushedSince {
        /// The head now.
        head: String,
    },
    /// An author without write access pushed just before the comment.
    PushedJustBefore {
        /// The head now.
        head: String,
    },
    /// It cannot be known which commit the commenter saw.
    NameTheCommit {
        /// The head now.
        head: String,
    },
    /// The forge's two views of the head do not agree.
    HeadUnsettled,
    /// A later comment that asked to cancel was obeyed before this one came to us.
    CancelledSince,
}

/// Why a comment is none of our business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ignored {
    /// The repository is not served.
    OtherRepository,
    /// An issue, or no such pull request.
    NotAPullRequest,
    /// Edited or deleted: only new comments count.
    NotCreated,
    /// cc-ci's own, and not one plain command.
    Own,
    /// A bot's.
    Bot,
    /// A deleted account's, or the forge's own.
    Nobody,
    /// Somebody else caused the event.
    SenderIsNotAuthor,
    /// No command in it.
    NoCommand,
    /// The comment is gone.
    Gone,
    /// Older than the catch-up looks back.
    TooOld,
}

/// What to do about a comment. Pure: same input, same answer.
#[must_use]
pub fn decide(trigger: &Trigger, facts: &Facts, config: &GateConfig, now: Timestamp) -> Decision {
    if let Some(why) = passed_over(trigger, config) {
        return Decision::Ignore { why };
    }
    let Some(enrolled) = config.repositories.get(&trigger.repo_id) else {
        return Decision::Ignore { why: Ignored::OtherRepository };
    };
    let Some(pull) = &facts.pull else { return Decision::Ignore { why: Ignored::NotAPullRequest } };
    let refuse = |why: Refusal| Decision::Refuse { visible: visible(&why, facts, config, now), why };
    let may_write = facts.rights.may_write();
    let command = match (understand(&trigger.body), may_write) {
        (Understood::None, _) | (Understood::NearMiss { .. }, MayWrite::No(_) | MayWrite::Unknown) => {
            return Decision::Ignore { why: Ignored::NoCommand };
        }
        (Understood::NearMiss { hint }, MayWrite::Yes(_)) => return refuse(Refusal::NearMiss { hint }),
        (_, MayWrite::No(_)) => return refuse(Refusal::NoWriteAccess),
        (Understood::Refused { why }, _) => return refuse(Refusal::Unclear { why }),
        (Understood::Command(command), _) => command,
    };
    let age = now.duration_since(trigger.created);
    if trigger.arrival == Arrival::Poll && age > config.catch_up {
        return Decision::Ignore { why: Ignored::TooOld };
    }
    if facts.comment == CommentNow::Gone {
        return Decision::Ignore { why: Ignored::Gone };
    }
    if facts.comment == CommentNow::Changed || (trigger.arrival == Arrival::Poll && trigger.updated > trigger.created) {
        return refuse(Refusal::Edited);
    }
    if trigger.arrival == Arrival::Webhook && age > config.stale_after {
        return refuse(Refusal::Stale);
    }
    // The delivery of a comment that the poll was quicker to find is signed, and tells more of its author and of the head.
    let delivery_may_come = trigger.arrival == Arrival::Poll && now.duration_since(trigger.received) < config.delivery;
    let wait_for_delivery = || Decision::Wait { why: "the delivery of this comment, which says more".to_owned() };
    if may_write == MayWrite::Unknown {
        return if delivery_may_come { wait_for_delivery() } else { refuse(Refusal::RightsUnknown) };
    }
    let (commit, again) = match command {
        Command::Cancel => return Decision::Cancel { repo_id: trigger.repo_id, pull: trigger.number },
        Command::Test { commit } => (commit, false),
        Command::Retest => (None, true),
    };
    if pull.state != PullState::Open {
        return refuse(Refusal::NotOpen);
    }
    if facts.cancelled_since {
        return refuse(Refusal::CancelledSince);
    }
    match pin(trigger, pull, commit.as_ref(), config, now) {
        Pin::Commit(commit) => {
            let job = Job {
                repo_id: trigger.repo_id,
                pull: trigger.number,
                commit,
                recipe: enrolled.recipe.clone(),
                suite: enrolled.suite.clone(),
            };
            if again { Decision::Retest(job) } else { Decision::Start(job) }
        }
        Pin::Wait(why) => Decision::Wait { why },
        Pin::Refuse(Refusal::NameTheCommit { .. } | Refusal::PushedSince { .. }) if delivery_may_come => {
            wait_for_delivery()
        }
        Pin::Refuse(why) => refuse(why),
    }
}

/// Why a comment is passed over by what it says itself, before anybody is asked. Most comments are just comments.
#[must_use]
pub fn passed_over(trigger: &Trigger, config: &GateConfig) -> Option<Ignored> {
    if !config.repositories.contains_key(&trigger.repo_id) {
        return Some(Ignored::OtherRepository);
    }
    if !trigger.is_pull {
        return Some(Ignored::NotAPullRequest);
    }
    match trigger.action {
        Action::Created => {}
        Action::Edited | Action::Deleted => return Some(Ignored::NotCreated),
    }
    let (author, sender) = (trigger.author.id, trigger.sender.id);
    if trigger.body.trim_start().starts_with(OWN_MARKER) {
        return Some(Ignored::Own);
    }
    // What cc-ci publishes begins with its marker, so a bare command of its account was written by somebody who works
    // through that account: a person with its token, or the upgrade robot. Anything else of it is never looked into.
    if (author == config.own_id || sender == config.own_id) && !(author == sender && is_plain_command(&trigger.body)) {
        return Some(Ignored::Own);
    }
    if author <= 0 || sender <= 0 {
        return Some(Ignored::Nobody);
    }
    if author != sender {
        return Some(Ignored::SenderIsNotAuthor);
    }
    if config.bots.contains(&author) {
        return Some(Ignored::Bot);
    }
    match understand(&trigger.body) {
        Understood::None => Some(Ignored::NoCommand),
        Understood::Command(_) | Understood::NearMiss { .. } | Understood::Refused { .. } => None,
    }
}

impl Refusal {
    /// What the person is told, in a sentence or two of Markdown. Holds no live command line.
    #[must_use]
    pub fn text(&self) -> String {
        let name_it = |head: &str| format!("To test what is there now, comment `!testme {}`.", short(head));
        match self {
            Refusal::NoWriteAccess => "Only people who may write to this repository can give commands here.".to_owned(),
            Refusal::RightsUnknown => "The forge does not tell whether you may write to this repository. \
                Please write the command again as a new comment."
                .to_owned(),
            Refusal::NearMiss { hint } => format!("Nothing was started: {hint}."),
            Refusal::Unclear { why } => format!("Nothing was started: {why}."),
            Refusal::Edited => {
                "An edited comment starts nothing. Please write the command as a new comment.".to_owned()
            }
            Refusal::NotOpen => "This pull request is not open, so nothing was started.".to_owned(),
            Refusal::Stale => "This comment is too old to start anything. Please write a new one.".to_owned(),
            Refusal::NotTheHead { head } => {
                format!("That is not the head of this pull request, which is {}. {}", short(head), name_it(head))
            }
            Refusal::PushedSince { head } => {
                format!("There was a push after your comment, so nothing was started. {}", name_it(head))
            }
            Refusal::PushedJustBefore { head } => {
                format!("There was a push just before your comment, perhaps one you have not seen. {}", name_it(head))
            }
            Refusal::NameTheCommit { head } => {
                format!("It cannot be told which commit you saw when you commented. {}", name_it(head))
            }
            Refusal::HeadUnsettled => {
                "The forge does not agree with itself on the head of this pull request. Please try again later."
                    .to_owned()
            }
            Refusal::CancelledSince => {
                "A later comment asked to cancel, so nothing was started. To test after all, write the command again."
                    .to_owned()
            }
        }
    }

    fn reaction(&self) -> Reaction {
        match self {
            Refusal::NoWriteAccess | Refusal::RightsUnknown => Reaction::No,
            Refusal::NearMiss { .. }
            | Refusal::Unclear { .. }
            | Refusal::Edited
            | Refusal::NotOpen
            | Refusal::Stale
            | Refusal::NotTheHead { .. }
            | Refusal::PushedSince { .. }
            | Refusal::PushedJustBefore { .. }
            | Refusal::NameTheCommit { .. }
            | Refusal::HeadUnsettled
            | Refusal::CancelledSince => Reaction::Confused,
        }
    }
}

/// What came of looking for the commit.
enum Pin {
    Commit(String),
    Wait(String),
    Refuse(Refusal),
}

/// The one commit that the comment can only have meant, or why there is none.
fn pin(trigger: &Trigger, pull: &PullFacts, named: Option<&CommitPrefix>, config: &GateConfig, now: Timestamp) -> Pin {
    let head = pull.live_head.to_ascii_lowercase();
    if !is_commit(&head) {
        return Pin::Refuse(Refusal::HeadUnsettled);
    }
    let settled = pull.pull_ref.as_deref().is_some_and(|pull_ref| pull_ref.eq_ignore_ascii_case(&head));
    if !settled {
        // The base repository gets a pushed head some seconds after the fork has it.
        return if now.duration_since(trigger.received) < config.settle {
            Pin::Wait(format!("refs/pull/{}/head to become {}", trigger.number, short(&head)))
        } else {
            Pin::Refuse(Refusal::HeadUnsettled)
        };
    }
    if let Some(prefix) = named {
        // Whoever names the commit has said what he means; later and earlier pushes do not matter.
        return if prefix.names(&head) { Pin::Commit(head) } else { Pin::Refuse(Refusal::NotTheHead { head }) };
    }
    match (&trigger.signed_head, pull.last_push) {
        (Some(signed), _) if !signed.eq_ignore_ascii_case(&head) => return Pin::Refuse(Refusal::PushedSince { head }),
        (Some(_), _) => {}
        // The forge's times have whole seconds: a push in the same second may have come after the comment.
        (None, LastPush::At(at)) if at >= trigger.created => return Pin::Refuse(Refusal::PushedSince { head }),
        (None, LastPush::At(_)) => {}
        (None, LastPush::NotYetTold) => return until_told(trigger, head, config, now),
        (None, LastPush::Unknown) => return Pin::Refuse(Refusal::NameTheCommit { head }),
    }
    match (pull.author_may_write, pull.last_push) {
        (MayWriteKnown::Yes, _) => Pin::Commit(head),
        (MayWriteKnown::NoOrUnknown, LastPush::NotYetTold) => until_told(trigger, head, config, now),
        (MayWriteKnown::NoOrUnknown, LastPush::Unknown) => Pin::Refuse(Refusal::NameTheCommit { head }),
        (MayWriteKnown::NoOrUnknown, LastPush::At(at)) => {
            if trigger.created.duration_since(at) < config.fresh_push {
                Pin::Refuse(Refusal::PushedJustBefore { head })
            } else {
                Pin::Commit(head)
            }
        }
    }
}

/// The forge writes down a push some moments after the head has moved. What it never tells has to be named.
fn until_told(trigger: &Trigger, head: String, config: &GateConfig, now: Timestamp) -> Pin {
    if now.duration_since(trigger.received) < config.settle {
        Pin::Wait(format!("the timeline of #{} to tell of the push of {}", trigger.number, short(&head)))
    } else {
        Pin::Refuse(Refusal::NameTheCommit { head })
    }
}

fn visible(why: &Refusal, facts: &Facts, config: &GateConfig, now: Timestamp) -> Visible {
    let hints = &facts.hints;
    let person_had_one = hints.last_to_person.is_some_and(|at| now.duration_since(at) < config.hint_every);
    let pull_had_enough = hints.on_pull_last_hour >= config.hints_per_hour;
    let may_hint = !person_had_one && !pull_had_enough;
    let may_react = hints.reactions_last_hour < config.reactions_per_hour;
    Visible { reaction: may_react.then(|| why.reaction()), hint: may_hint.then(|| why.text()) }
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
