//! What the forge has, in our words. Times are the forge's clock and have whole seconds.
//!
//! Ids decide, names are for texts and addresses: logins and repository names are given away again.

use std::collections::BTreeSet;

use jiff::Timestamp;

pub use super::nouns::{Permission, Person, PullState};

/// A repository's numeric id. It stays when the repository or its owner is renamed, so calls take it and no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoId(pub i64);

/// Which family of server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Gitea.
    Gitea,
    /// Forgejo.
    Forgejo,
}

/// What the server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its family.
    pub flavour: Flavour,
    /// As it says it, such as `1.25.1` or `11.0.3+gitea-1.22.0`.
    pub text: String,
    /// Its own major and minor number, if they can be read.
    pub number: Option<(u32, u32)>,
    /// The Gitea major and minor number that its API follows; its own for a Gitea.
    pub gitea: Option<(u32, u32)>,
}

/// The server's limits on answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most entries on a page; larger pages are cut to this without a word.
    pub max_response_items: u32,
    /// Entries on a page if nothing is asked for.
    pub default_paging: u32,
}

/// An account as the caller may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Id and login.
    pub person: Person,
    /// Site administrator. Only real when one looks at oneself or is a site administrator.
    pub is_admin: bool,
    /// Activated. Only real under the same condition.
    pub active: bool,
    /// May not sign in. Only real under the same condition.
    pub prohibit_login: bool,
    /// Sees only what it was given.
    pub restricted: bool,
}

/// A permission by name, with the id it belongs to: the login asked for may be somebody else's by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionOf {
    /// The flat access mode, which hides what teams may do with code.
    pub permission: Permission,
    /// Whose it is.
    pub person: Person,
}

/// How far the token reaches in one group of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Not at all.
    Nothing,
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// What the token may be used for, as found by trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes {
    /// Repositories: branches, contents, pull requests, statuses, hooks.
    pub repository: Reach,
    /// Comments and reactions, also on pull requests.
    pub issue: Reach,
    /// Teams and organisations. Only reading is tried.
    pub organization: Reach,
    /// Accounts. Only reading is tried.
    pub user: Reach,
}

impl Scopes {
    /// Scopes that cc-ci needs and the token lacks.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        [
            (self.repository < Reach::Write, "write:repository"),
            (self.issue < Reach::Write, "write:issue"),
            (self.organization < Reach::Read, "read:organization"),
            (self.user < Reach::Read, "read:user"),
        ]
        .into_iter()
        .filter_map(|(lacks, scope)| lacks.then_some(scope))
        .collect()
    }
}

/// What the caller may do in a repository, with the rights of all teams counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnRights {
    /// Administer it: hooks, other people's permissions.
    pub admin: bool,
    /// Write code: branches, statuses.
    pub push: bool,
    /// Read code.
    pub pull: bool,
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// Id.
    pub id: RepoId,
    /// Its owner, a person or an organisation.
    pub owner: Person,
    /// Name below the owner.
    pub name: String,
    /// `owner/name`.
    pub full_name: String,
    /// Default branch.
    pub default_branch: String,
    /// Only visible to some.
    pub private: bool,
    /// A fork of another repository.
    pub fork: bool,
    /// Read-only for good.
    pub archived: bool,
    /// Without a commit.
    pub empty: bool,
    /// A pull mirror: read-only, and without pull requests.
    pub mirror: bool,
    /// What the caller may do; absent if nobody is signed in.
    pub rights: Option<OwnRights>,
    /// Where git fetches it, by the server's own address.
    pub clone_url: String,
    /// Its page.
    pub html_url: String,
}

/// One side of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// Branch name, or `refs/pull/N/head` if the branch is gone.
    pub reference: String,
    /// Commit. In [`Pull`]s got by number the head's is read live from its branch; in lists it is what
    /// `refs/pull/N/head` pointed to, which may lag by seconds.
    pub sha: String,
    /// Its repository; absent if the fork is gone.
    pub repo: Option<RepoId>,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// Number.
    pub number: i64,
    /// Who opened it; id -1 if the account is gone.
    pub author: Person,
    /// Title. Foreign text.
    pub title: String,
    /// Description. Foreign text.
    pub body: String,
    /// Open, closed or merged.
    pub state: PullState,
    /// Marked as unfinished.
    pub draft: bool,
    /// The conversation is locked.
    pub locked: bool,
    /// The forge believes it can be merged. `false` also means that it has not looked yet.
    pub mergeable: bool,
    /// What is proposed.
    pub head: Side,
    /// Into what.
    pub base: Side,
    /// Opened.
    pub created: Timestamp,
    /// Last changed.
    pub updated: Timestamp,
    /// Its page.
    pub html_url: String,
}

/// Which pull requests a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullFilter {
    /// Open ones.
    Open,
    /// Closed and merged ones.
    Closed,
    /// All.
    All,
}

/// A pull request to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPull {
    /// `branch`, or `owner:branch` for a fork's.
    pub head: String,
    /// Branch to go into.
    pub base: String,
    /// Title.
    pub title: String,
    /// Description.
    pub body: String,
}

/// What to change on a pull request. What is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullChange {
    /// New title; an empty one is ignored by the forge.
    pub title: Option<String>,
    /// New description.
    pub body: Option<String>,
    /// Open (`true`) or close it.
    pub open: Option<bool>,
}

/// State of a commit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitState {
    /// Not over.
    Pending,
    /// Well.
    Success,
    /// No verdict.
    Error,
    /// Not well.
    Failure,
    /// Well, with something to look at.
    Warning,
    /// Not done.
    Skipped,
    /// Anything else: the forge stores any word.
    Other(String),
}

/// A commit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus {
    /// Counts per commit, from 1; the newest of a context is the one with the highest.
    pub id: i64,
    /// State.
    pub state: CommitState,
    /// What it is about.
    pub context: String,
    /// One line.
    pub description: String,
    /// Link, as stored: may be relative.
    pub target_url: String,
    /// Who posted it, if the account is still there.
    pub creator: Option<Person>,
    /// When it was posted.
    pub created: Timestamp,
}

/// A commit status to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStatus {
    /// State.
    pub state: CommitState,
    /// What it is about.
    pub context: String,
    /// One line.
    pub description: String,
    /// Link.
    pub target_url: String,
}

/// All contexts of a commit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CombinedStatus {
    /// What they come to by the server's rule, which differs between versions; absent without any status.
    pub state: Option<CommitState>,
    /// The newest status of each context.
    pub statuses: Vec<CommitStatus>,
}

/// A comment on an issue or a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Id.
    pub id: i64,
    /// Who wrote it; id -1 if the account is gone. Somebody else may have edited it.
    pub author: Person,
    /// Text as stored, with whatever line ends it came with. Foreign text.
    pub body: String,
    /// Written.
    pub created: Timestamp,
    /// Last changed.
    pub updated: Timestamp,
    /// Number of the issue or pull request, if the answer says it.
    pub number: Option<i64>,
    /// Whether that is a pull request.
    pub is_pull: bool,
    /// Its place on the page.
    pub html_url: String,
}

/// A reaction to a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reacted {
    /// Whose.
    pub person: Person,
    /// Name, such as `eyes`.
    pub content: String,
}

/// A team with access to a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// Id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Whether it administers the repository. The flat access mode of its members shows that.
    pub administers: bool,
    /// Whether it may write code, by its units or because it administers.
    pub writes_code: bool,
}

/// Whether somebody belongs to something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Yes.
    Member,
    /// No.
    NotMember,
    /// The forge does not tell us.
    Withheld,
}

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Name; may hold slashes.
    pub name: String,
    /// Its newest commit.
    pub sha: String,
    /// Protected by a rule.
    pub protected: bool,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Name.
    pub name: String,
    /// The commit it stands for.
    pub sha: String,
}

/// A file at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path below the root.
    pub path: String,
    /// Hash of the content, which an update must name.
    pub blob: String,
    /// The content.
    pub content: Vec<u8>,
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Path below the root.
    pub path: String,
    /// The content.
    pub content: Vec<u8>,
    /// Branch to write to.
    pub branch: String,
    /// Commit message.
    pub message: String,
    /// Hash of the content that is replaced; absent for a file that must not exist.
    pub replaces: Option<String>,
}

/// What writing a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The new commit.
    pub commit: String,
    /// Hash of the content.
    pub blob: String,
}

/// A webhook. Its secret is never shown by the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Id.
    pub id: i64,
    /// Whether it delivers.
    pub active: bool,
    /// Where to.
    pub url: String,
    /// `json` or `form`.
    pub content_type: String,
    /// Its events, spelt out by the forge.
    pub events: BTreeSet<String>,
    /// Branches whose pushes it tells of; empty for all.
    pub branch_filter: String,
}

/// What kind of thing happened in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// A comment.
    Comment,
    /// A push to the head. The opening is the first one.
    Push {
        /// Not a descendant of what was there.
        forced: bool,
        /// What the head was afterwards; absent if the entry cannot be read.
        head: Option<String>,
    },
    /// Closed.
    Close,
    /// Opened again.
    Reopen,
    /// Merged.
    Merge,
    /// Anything else, by the forge's name for it.
    Other(String),
}

/// An entry of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Id.
    pub id: i64,
    /// What.
    pub happened: Happened,
    /// By whom.
    pub person: Person,
    /// When, by the server's clock.
    pub created: Timestamp,
}
