//! The simulator's own model of a forge: plain data and look-ups, no HTTP and no rights.
//!
//! Everything is behind one lock, and every request is handled under it from beginning to end, so
//! a request is atomic the way a database transaction is. The model never shares a type with a
//! client: whoever talks to the simulator sees rendered JSON only.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::{Flavour, Switches};
use crate::faults::Faults;
use crate::git::DiffStat;
use crate::hook_events::HookEvent;
use crate::perm::{Mode, Unit};
use crate::webhook::Outbox;

/// A row's number. Ghost is -1, the actions bot -2.
pub(crate) type Id = i64;

/// Who may see an account or organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    Public,
    Limited,
    Private,
}

impl Visibility {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Limited => "limited",
            Self::Private => "private",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "public" | "" => Some(Self::Public),
            "limited" => Some(Self::Limited),
            "private" => Some(Self::Private),
            _ => None,
        }
    }
}

/// A user, a bot, or (with `is_org`) an organisation: they share one name space and one counter.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub id: Id,
    pub login: String,
    pub is_org: bool,
    pub full_name: String,
    pub email: String,
    pub hide_email: bool,
    pub password: Option<String>,
    pub admin: bool,
    pub restricted: bool,
    pub active: bool,
    pub prohibit_login: bool,
    pub must_change_password: bool,
    pub visibility: Visibility,
    pub created: i64,
    pub last_login: i64,
    pub description: String,
    pub website: String,
    pub location: String,
    /// Users this one has blocked.
    pub blocked: BTreeSet<Id>,
}

/// A team of an organisation.
#[derive(Debug, Clone)]
pub(crate) struct Team {
    pub id: Id,
    pub org: Id,
    pub name: String,
    pub description: String,
    /// `Owner` for the Owners team, `Admin` for administrator teams, else `None`: the units count.
    pub mode: Mode,
    pub units: BTreeMap<Unit, Mode>,
    pub all_repos: bool,
    pub can_create: bool,
    pub members: BTreeSet<Id>,
    pub repos: BTreeSet<Id>,
}

/// A rule that protects branches whose name matches `name` (exact, or a glob with `*`).
#[derive(Debug, Clone)]
pub(crate) struct Protection {
    pub name: String,
    pub enable_push: bool,
    pub push_whitelist: bool,
    pub push_users: BTreeSet<String>,
    pub enable_status_check: bool,
    pub contexts: Vec<String>,
    pub required_approvals: i64,
    pub block_admin_override: bool,
    pub created: i64,
    pub updated: i64,
}

/// A repository; its git data is the bare repository [`World::git_dir`] names.
#[derive(Debug, Clone)]
pub(crate) struct Repo {
    pub id: Id,
    pub owner: Id,
    pub name: String,
    pub description: String,
    pub website: String,
    pub private: bool,
    pub template: bool,
    pub archived: bool,
    pub archived_at: i64,
    pub fork_of: Option<Id>,
    pub mirror: Option<String>,
    pub original_url: String,
    pub default_branch: String,
    pub has_issues: bool,
    pub has_pulls: bool,
    pub has_wiki: bool,
    pub created: i64,
    pub updated: i64,
    pub next_index: i64,
    pub collaborators: BTreeMap<Id, Mode>,
    pub protections: Vec<Protection>,
    pub labels: Vec<Label>,
    pub releases: Vec<Release>,
    /// Which merge styles are allowed: merge, rebase, rebase-merge, squash, fast-forward-only, manual.
    pub merge_styles: BTreeSet<String>,
}

/// A label of a repository.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub id: Id,
    pub name: String,
    pub color: String,
    pub description: String,
    pub exclusive: bool,
    pub archived: bool,
}

/// A release; it hangs on a tag.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub id: Id,
    pub tag: String,
    pub target: String,
    pub name: String,
    pub body: String,
    pub draft: bool,
    pub prerelease: bool,
    pub created: i64,
    pub author: Id,
}

/// What a pull request has beyond an issue.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    pub id: Id,
    pub base_branch: String,
    /// The head repository, `None` once it is deleted.
    pub head_repo: Option<Id>,
    pub head_branch: String,
    pub merged: Option<Merged>,
    pub allow_maintainer_edit: bool,
    /// Frozen at the merge; otherwise the base is compared live.
    pub merge_base: Option<String>,
}

/// Facts of a merge.
#[derive(Debug, Clone)]
pub(crate) struct Merged {
    pub at: i64,
    pub by: Id,
    pub sha: String,
}

/// An issue or, with `pull`, a pull request.
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub id: Id,
    pub repo: Id,
    pub index: i64,
    pub poster: Id,
    pub title: String,
    pub body: String,
    pub closed: bool,
    pub locked: bool,
    pub created: i64,
    pub updated: i64,
    pub closed_at: Option<i64>,
    pub labels: Vec<Id>,
    pub reactions: Vec<Reaction>,
    pub pull: Option<Pull>,
}

impl Issue {
    /// A title prefix makes a draft; case does not matter.
    pub(crate) fn is_draft(&self) -> bool {
        let title = self.title.trim_start().to_ascii_uppercase();
        self.pull.is_some() && (title.starts_with("WIP:") || title.starts_with("[WIP]"))
    }
}

/// What a row of an issue's timeline is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Comment,
    Close,
    Reopen,
    Merge {
        sha: String,
    },
    Lock,
    Unlock,
    ChangeTitle {
        old: String,
        new: String,
    },
    ChangeTarget {
        old: String,
        new: String,
    },
    DeleteBranch {
        name: String,
    },
    /// A push to the head branch; the row's body is the JSON the server stores.
    Push,
    Label {
        label: Id,
        added: bool,
    },
}

/// A comment or another timeline entry. All share one counter.
#[derive(Debug, Clone)]
pub(crate) struct Comment {
    pub id: Id,
    pub issue: Id,
    pub poster: Id,
    pub kind: EntryKind,
    pub body: String,
    pub created: i64,
    pub updated: i64,
    pub reactions: Vec<Reaction>,
}

/// One reaction of one user.
#[derive(Debug, Clone)]
pub(crate) struct Reaction {
    pub user: Id,
    pub content: String,
    pub created: i64,
}

/// One posted commit status. Rows are never changed.
#[derive(Debug, Clone)]
pub(crate) struct Status {
    /// Database number, seen in webhooks only.
    pub row: Id,
    pub repo: Id,
    pub sha: String,
    /// Counter per commit, the `id` of the API.
    pub index: i64,
    pub state: String,
    pub target_url: String,
    pub description: String,
    pub context: String,
    pub creator: Id,
    pub created: i64,
}

/// Where a hook hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookTarget {
    Repo(Id),
    Org(Id),
    User(Id),
}

/// A webhook.
#[derive(Debug, Clone)]
pub(crate) struct Hook {
    pub id: Id,
    pub target: HookTarget,
    pub kind: String,
    pub url: String,
    pub content_type: String,
    pub secret: String,
    pub events: BTreeSet<HookEvent>,
    pub branch_filter: String,
    pub authorization: String,
    pub active: bool,
    pub created: i64,
    pub updated: i64,
}

/// A personal access token or an access token given out by the OAuth2 provider.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub id: Id,
    pub user: Id,
    pub name: String,
    pub secret: String,
    /// Empty for OAuth2 tokens, which are not limited.
    pub scopes: Vec<String>,
    pub oauth: bool,
    pub created: i64,
    pub used: i64,
}

/// An OAuth2 application.
#[derive(Debug, Clone)]
pub(crate) struct OauthApp {
    pub client_id: String,
    pub client_secret: String,
    pub redirect_uris: Vec<String>,
    pub confidential: bool,
}

/// An OAuth2 code or refresh token waiting to be exchanged once.
#[derive(Debug, Clone)]
pub(crate) struct OauthGrant {
    pub client_id: String,
    pub user: Id,
    pub redirect_uri: String,
    pub challenge: Option<(String, String)>,
    pub expires: i64,
    pub refresh: bool,
}

/// One delivery of one hook.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub uuid: String,
    pub hook: Id,
    pub url: String,
    pub event: String,
    pub event_type: String,
    pub headers: Vec<(String, String)>,
    /// The bytes sent.
    pub body: Vec<u8>,
    /// The JSON the signature covers.
    pub payload: String,
    pub queued: i64,
    pub result: Option<DeliveryResult>,
    pub fault: Option<String>,
    /// How often the bytes were put on the wire.
    pub sent: u32,
}

/// How a delivery ended.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryResult {
    pub status: Option<u16>,
    pub response: String,
    pub error: Option<String>,
}

/// One request as the log keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub at: i64,
    pub method: String,
    pub path: String,
    pub query: String,
    pub actor: Option<String>,
    pub body: String,
    pub status: Option<u16>,
    pub fault: Option<String>,
}

/// A push to a pull request's head that the base repository and the timeline still have to hear of.
#[derive(Debug, Clone)]
pub(crate) struct HeadMoved {
    pub issue: Id,
    pub head_repo: Id,
    pub pusher: Id,
    /// What the head was before, as the base repository knew it.
    pub old: String,
    pub sha: String,
}

/// Everything the simulated server knows.
pub(crate) struct World {
    pub flavour: Flavour,
    pub switches: Switches,
    /// Ends in `/`.
    pub root_url: String,
    pub data: PathBuf,
    /// Seconds added to the real clock.
    pub clock_offset: i64,
    pub users: BTreeMap<Id, User>,
    pub teams: BTreeMap<Id, Team>,
    pub repos: BTreeMap<Id, Repo>,
    /// Old full names (lower case) of renamed repositories.
    pub renamed: HashMap<String, Id>,
    pub issues: BTreeMap<Id, Issue>,
    pub comments: BTreeMap<Id, Comment>,
    pub statuses: Vec<Status>,
    pub hooks: BTreeMap<Id, Hook>,
    pub deliveries: Vec<Delivery>,
    pub tokens: Vec<Token>,
    pub oauth_apps: Vec<OauthApp>,
    pub oauth_grants: HashMap<String, OauthGrant>,
    pub requests: Vec<Logged>,
    pub faults: Faults,
    pub late_pull_refs: Vec<HeadMoved>,
    /// Pushes whose ref has moved and whose entry is held back.
    pub late_push_entries: Vec<HeadMoved>,
    /// Differences between commits never change, so they are worked out once.
    pub diff_cache: RefCell<HashMap<(Id, String, String), DiffStat>>,
    pub outbox: Outbox,
    counters: HashMap<&'static str, Id>,
}

impl World {
    pub(crate) fn new(flavour: Flavour, switches: Switches, root_url: String, data: PathBuf, outbox: Outbox) -> Self {
        Self {
            flavour,
            switches,
            root_url,
            data,
            clock_offset: 0,
            users: BTreeMap::new(),
            teams: BTreeMap::new(),
            repos: BTreeMap::new(),
            renamed: HashMap::new(),
            issues: BTreeMap::new(),
            comments: BTreeMap::new(),
            statuses: Vec::new(),
            hooks: BTreeMap::new(),
            deliveries: Vec::new(),
            tokens: Vec::new(),
            oauth_apps: Vec::new(),
            oauth_grants: HashMap::new(),
            requests: Vec::new(),
            faults: Faults::default(),
            late_pull_refs: Vec::new(),
            late_push_entries: Vec::new(),
            diff_cache: RefCell::new(HashMap::new()),
            outbox,
            counters: HashMap::new(),
        }
    }

    /// The only clock: Unix seconds.
    #[expect(clippy::disallowed_methods, reason = "this is the wrapper; the offset moves it")]
    pub(crate) fn now(&self) -> i64 {
        jiff::Timestamp::now().as_second() + self.clock_offset
    }

    /// The next number of a table, from 1.
    pub(crate) fn next(&mut self, table: &'static str) -> Id {
        let counter = self.counters.entry(table).or_insert(0);
        *counter += 1;
        *counter
    }

    /// Where a repository's git data is. Named by number, so that a rename moves nothing.
    pub(crate) fn git_dir(&self, repo: Id) -> PathBuf {
        self.data.join("repos").join(format!("{repo}.git"))
    }

    pub(crate) fn hooks_dir(&self) -> PathBuf {
        self.data.join("git-hooks")
    }

    pub(crate) fn user_by_name(&self, login: &str) -> Option<&User> {
        self.users.values().find(|u| u.login.eq_ignore_ascii_case(login))
    }

    pub(crate) fn repo_by_name(&self, owner: &str, name: &str) -> Option<&Repo> {
        let owner = self.user_by_name(owner)?.id;
        self.repos.values().find(|r| r.owner == owner && r.name.eq_ignore_ascii_case(name))
    }

    pub(crate) fn login(&self, user: Id) -> String {
        self.users.get(&user).map_or_else(|| "Ghost".to_owned(), |u| u.login.clone())
    }

    pub(crate) fn full_name(&self, repo: &Repo) -> String {
        format!("{}/{}", self.login(repo.owner), repo.name)
    }

    pub(crate) fn issue_by_index(&self, repo: Id, index: i64) -> Option<&Issue> {
        self.issues.values().find(|i| i.repo == repo && i.index == index)
    }

    /// Plain comments of an issue, oldest first.
    pub(crate) fn comments_of(&self, issue: Id) -> impl Iterator<Item = &Comment> {
        self.comments.values().filter(move |c| c.issue == issue && c.kind == EntryKind::Comment)
    }

    /// The organisation's team that owns it.
    pub(crate) fn owners_team(&self, org: Id) -> Option<&Team> {
        self.teams.values().find(|t| t.org == org && t.mode == Mode::Owner)
    }

    pub(crate) fn is_org_member(&self, org: Id, user: Id) -> bool {
        self.teams.values().any(|t| t.org == org && t.members.contains(&user))
    }

    pub(crate) fn is_org_owner(&self, org: Id, user: Id) -> bool {
        self.owners_team(org).is_some_and(|t| t.members.contains(&user))
    }

    /// Adds a timeline entry and counts as activity of the issue.
    pub(crate) fn add_entry(&mut self, issue: Id, poster: Id, kind: EntryKind, body: &str) -> Id {
        let now = self.now();
        let id = self.next("comment");
        let body = body.to_owned();
        let comment = Comment { id, issue, poster, kind, body, created: now, updated: now, reactions: Vec::new() };
        self.comments.insert(id, comment);
        if let Some(issue) = self.issues.get_mut(&issue) {
            issue.updated = now;
        }
        id
    }

    /// What lies between two commits of a repository.
    pub(crate) fn diff(&self, repo: Id, base: &str, head: &str) -> DiffStat {
        let key = (repo, base.to_owned(), head.to_owned());
        if let Some(known) = self.diff_cache.borrow().get(&key) {
            return known.clone();
        }
        let stat = crate::git::diff_stat(&self.git_dir(repo), base, head);
        if !stat.merge_base.is_empty() {
            self.diff_cache.borrow_mut().insert(key, stat.clone());
        }
        stat
    }
}

/// RFC 3339 with second precision, `0001-01-01T00:00:00Z` for the zero time.
pub(crate) fn time(seconds: i64) -> Value {
    if seconds == 0 {
        return Value::from("0001-01-01T00:00:00Z");
    }
    Value::from(time_text(seconds))
}

/// RFC 3339 with second precision; zero is 1970.
pub(crate) fn time_text(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |t| t.to_string())
}

/// `null` or a time.
pub(crate) fn time_or_null(seconds: Option<i64>) -> Value {
    seconds.map_or(Value::Null, time)
}

/// Removes a repository's files; a missing directory is no error.
pub(crate) fn remove_dir(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
