//! What the gate is told: the comment, the person, the pull request as it is now, and the settings. Plain data.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::rights::Rights;
pub use crate::forge::model::{Person, PullState};
pub use crate::store::deliveries::{Action, Arrival};
pub use crate::store::hints::HintHistory;

/// A comment that may ask for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// How it came.
    pub arrival: Arrival,
    /// What happened.
    pub action: Action,
    /// The repository's numeric id.
    pub repo_id: i64,
    /// Number of the issue or pull request.
    pub number: i64,
    /// Whether it is a pull request.
    pub is_pull: bool,
    /// The comment's numeric id.
    pub comment_id: i64,
    /// The comment's text as it came.
    pub body: String,
    /// Who wrote the comment.
    pub author: Person,
    /// Who caused the event; on an edit that is the editor. For polled comments the same as the author.
    pub sender: Person,
    /// When it was written, by the forge's clock.
    pub created: Timestamp,
    /// When it was last changed, by the forge's clock.
    pub updated: Timestamp,
    /// When it reached us.
    pub received: Timestamp,
    /// `pull_request.head.sha` of the signed delivery, if it was there.
    pub signed_head: Option<String>,
}

/// When the head was last pushed, by the forge's timeline (never by commit dates, which the author chooses).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastPush {
    /// At this time; for a head that never changed, when the pull request was opened.
    At(Timestamp),
    /// The newest push that the timeline tells of led to another commit than the head is now: it lags behind.
    NotYetTold,
    /// The forge does not say.
    Unknown,
}

/// The pull request, as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullFacts {
    /// Open, closed or merged.
    pub state: PullState,
    /// `head.sha`: read live from the head's branch, wherever that is.
    pub live_head: String,
    /// What `refs/pull/N/head` of the base repository points to; absent if it could not be read.
    pub pull_ref: Option<String>,
    /// Last push to the head.
    pub last_push: LastPush,
    /// Whether the pull request's author may write code; then a push just before the comment harms nothing new.
    pub author_may_write: MayWriteKnown,
}

/// A yes that is known, or anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MayWriteKnown {
    /// Known to have write access.
    Yes,
    /// Known not to have it, or not known.
    NoOrUnknown,
}

/// The comment, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommentNow {
    /// Same text as delivered.
    Unchanged,
    /// Another text.
    Changed,
    /// No longer there.
    Gone,
    /// Not looked at, or the forge did not say.
    Unknown,
}

/// All that the gate needs to know, gathered before it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The commenter's rights.
    pub rights: Rights,
    /// The pull request; absent if the forge has none of that number.
    pub pull: Option<PullFacts>,
    /// The comment now.
    pub comment: CommentNow,
    /// A later comment on the same pull request has been obeyed that asked to cancel.
    pub cancelled_since: bool,
    /// Hints given lately.
    pub hints: HintHistory,
}

/// A repository that cc-ci serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Name of the recipe in it.
    pub recipe: String,
    /// Name of the suite that tests it.
    pub suite: String,
}

/// The gate's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateConfig {
    /// Served repositories by numeric id; a renamed one stays served, a new one under an old name does not.
    pub repositories: BTreeMap<i64, Enrolled>,
    /// The bot's own user id.
    pub own_id: i64,
    /// Other accounts that are bots, by the operator's word: no API of the forge tells.
    pub bots: BTreeSet<i64>,
    /// Delivered comments older than this are refused: a replay.
    pub stale_after: SignedDuration,
    /// Polled comments older than this are left alone.
    pub catch_up: SignedDuration,
    /// A push within this time before the comment, by an author without write access, needs an explicit commit.
    pub fresh_push: SignedDuration,
    /// How long to wait until the forge's two views of the head agree.
    pub settle: SignedDuration,
    /// How long the signed delivery of a polled comment may still come, which says more than the poll.
    pub delivery: SignedDuration,
    /// At most one hint per person and pull request in this time.
    pub hint_every: SignedDuration,
    /// At most so many hints per pull request and hour.
    pub hints_per_hour: u32,
    /// At most so many reactions per person and hour.
    pub reactions_per_hour: u32,
}

impl GateConfig {
    /// The usual limits: 24 hours, 7 days, 120 seconds, 2 minutes, 10 seconds, one hint per hour, six hints and ten
    /// reactions.
    #[must_use]
    pub fn new(own_id: i64, repositories: BTreeMap<i64, Enrolled>) -> Self {
        Self {
            repositories,
            own_id,
            bots: BTreeSet::new(),
            stale_after: SignedDuration::from_hours(24),
            catch_up: SignedDuration::from_hours(7 * 24),
            fresh_push: SignedDuration::from_secs(120),
            settle: SignedDuration::from_secs(120),
            delivery: SignedDuration::from_secs(10),
            hint_every: SignedDuration::from_hours(1),
            hints_per_hour: 6,
            reactions_per_hour: 10,
        }
    }
}
