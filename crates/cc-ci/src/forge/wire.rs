//! The forge's JSON, and how it becomes [`super::model`].
//!
//! Tolerant where versions and families differ: unknown keys are passed over, absent keys and `null` are the empty value.
//! Strict where a wrong guess would do harm: without an id, a commit or a time there is no object.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::model::{self, Person, PullState, RepoId};

/// What an answer lacks, for the error's text.
pub(crate) type Lacks = &'static str;

/// A value that may be absent or `null`, which are its default.
#[derive(Debug, Default, Clone)]
pub(crate) struct Lax<T>(pub(crate) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Lax<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<T>::deserialize(deserializer)?.unwrap_or_default()))
    }
}

/// What turns into an object of the model.
pub(crate) trait Wire: for<'de> Deserialize<'de> {
    /// The object.
    type Model;

    /// # Errors
    /// What is missing or cannot be read.
    fn model(self) -> Result<Self::Model, Lacks>;
}

/// Turns all of a list.
pub(crate) fn all<W: Wire>(list: Vec<W>) -> Result<Vec<W::Model>, Lacks> {
    list.into_iter().map(W::model).collect()
}

/// A time that must be there.
pub(crate) fn time(text: &str, lacks: Lacks) -> Result<Timestamp, Lacks> {
    text.parse().map_err(|_| lacks)
}

/// A full commit hash, lower case.
pub(crate) fn commit(text: &str) -> Option<String> {
    let whole = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then(|| text.to_ascii_lowercase())
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct User {
    pub(crate) id: Lax<i64>,
    pub(crate) login: Lax<String>,
    is_admin: Lax<bool>,
    active: Lax<bool>,
    prohibit_login: Lax<bool>,
    restricted: Lax<bool>,
}

impl User {
    /// Somebody; id 0 is nobody.
    pub(crate) fn person(self) -> Person {
        Person { id: self.id.0, login: self.login.0 }
    }
}

/// The person, or nobody.
pub(crate) fn person(user: Option<User>) -> Person {
    user.unwrap_or_default().person()
}

impl Wire for User {
    type Model = model::User;

    fn model(self) -> Result<model::User, Lacks> {
        let (is_admin, active, prohibit_login, restricted) =
            (self.is_admin.0, self.active.0, self.prohibit_login.0, self.restricted.0);
        let person = self.person();
        if person.id == 0 || person.login.is_empty() {
            return Err("an account's id or login");
        }
        Ok(model::User { person, is_admin, active, prohibit_login, restricted })
    }
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Rights {
    admin: Lax<bool>,
    pub(crate) push: Lax<bool>,
    pull: Lax<bool>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Repo {
    pub(crate) id: Lax<i64>,
    owner: Option<User>,
    name: Lax<String>,
    pub(crate) full_name: Lax<String>,
    default_branch: Lax<String>,
    private: Lax<bool>,
    fork: Lax<bool>,
    archived: Lax<bool>,
    empty: Lax<bool>,
    mirror: Lax<bool>,
    pub(crate) permissions: Option<Rights>,
    clone_url: Lax<String>,
    html_url: Lax<String>,
}

impl Wire for Repo {
    type Model = model::Repo;

    fn model(self) -> Result<model::Repo, Lacks> {
        if self.id.0 <= 0 || !self.full_name.0.contains('/') {
            return Err("a repository's id or name");
        }
        Ok(model::Repo {
            id: RepoId(self.id.0),
            owner: person(self.owner),
            name: self.name.0,
            full_name: self.full_name.0,
            default_branch: self.default_branch.0,
            private: self.private.0,
            fork: self.fork.0,
            archived: self.archived.0,
            empty: self.empty.0,
            mirror: self.mirror.0,
            rights: self.permissions.map(|p| model::OwnRights { admin: p.admin.0, push: p.push.0, pull: p.pull.0 }),
            clone_url: self.clone_url.0,
            html_url: self.html_url.0,
        })
    }
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Side {
    #[serde(rename = "ref")]
    pub(crate) reference: Lax<String>,
    pub(crate) sha: Lax<String>,
    repo_id: Lax<i64>,
}

impl Side {
    fn model(self) -> Result<model::Side, Lacks> {
        Ok(model::Side {
            reference: self.reference.0,
            sha: commit(&self.sha.0).ok_or("a pull request's commit")?,
            repo: (self.repo_id.0 > 0).then_some(RepoId(self.repo_id.0)),
        })
    }
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Pull {
    pub(crate) number: Lax<i64>,
    user: Option<User>,
    title: Lax<String>,
    body: Lax<String>,
    state: Lax<String>,
    draft: Lax<bool>,
    is_locked: Lax<bool>,
    mergeable: Lax<bool>,
    pub(crate) merged: Lax<bool>,
    pub(crate) head: Option<Side>,
    pub(crate) base: Option<Side>,
    created_at: Lax<String>,
    updated_at: Lax<String>,
    html_url: Lax<String>,
}

impl Wire for Pull {
    type Model = model::Pull;

    fn model(self) -> Result<model::Pull, Lacks> {
        if self.number.0 <= 0 {
            return Err("a pull request's number");
        }
        let state = match (self.merged.0, self.state.0.as_str()) {
            (true, _) => PullState::Merged,
            (false, "open") => PullState::Open,
            (false, "closed") => PullState::Closed,
            (false, _) => return Err("a pull request's state"),
        };
        Ok(model::Pull {
            number: self.number.0,
            author: person(self.user),
            title: self.title.0,
            body: self.body.0,
            state,
            draft: self.draft.0,
            locked: self.is_locked.0,
            mergeable: self.mergeable.0,
            head: self.head.ok_or("a pull request's head")?.model()?,
            base: self.base.ok_or("a pull request's base")?.model()?,
            created: time(&self.created_at.0, "when a pull request was opened")?,
            updated: time(&self.updated_at.0, "when a pull request was changed")?,
            html_url: self.html_url.0,
        })
    }
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Comment {
    pub(crate) id: Lax<i64>,
    pub(crate) user: Option<User>,
    pub(crate) body: Lax<String>,
    pub(crate) created_at: Lax<String>,
    pub(crate) updated_at: Lax<String>,
    issue_url: Lax<String>,
    pull_request_url: Lax<String>,
    html_url: Lax<String>,
}

impl Wire for Comment {
    type Model = model::Comment;

    fn model(self) -> Result<model::Comment, Lacks> {
        if self.id.0 <= 0 {
            return Err("a comment's id");
        }
        let is_pull = !self.pull_request_url.0.is_empty();
        let of = if is_pull { &self.pull_request_url.0 } else { &self.issue_url.0 };
        let number = of.rsplit('/').next().and_then(|last| last.parse().ok());
        Ok(model::Comment {
            id: self.id.0,
            author: person(self.user),
            body: self.body.0,
            created: time(&self.created_at.0, "when a comment was written")?,
            updated: time(&self.updated_at.0, "when a comment was changed")?,
            number,
            is_pull,
            html_url: self.html_url.0,
        })
    }
}

/// State by its word. The words are the forge's.
pub(crate) fn state(word: &str) -> model::CommitState {
    match word {
        "pending" => model::CommitState::Pending,
        "success" => model::CommitState::Success,
        "error" => model::CommitState::Error,
        "failure" => model::CommitState::Failure,
        "warning" => model::CommitState::Warning,
        "skipped" => model::CommitState::Skipped,
        other => model::CommitState::Other(other.to_owned()),
    }
}

/// The forge's word for a state.
pub(crate) fn word(state: &model::CommitState) -> &str {
    match state {
        model::CommitState::Pending => "pending",
        model::CommitState::Success => "success",
        model::CommitState::Error => "error",
        model::CommitState::Failure => "failure",
        model::CommitState::Warning => "warning",
        model::CommitState::Skipped => "skipped",
        model::CommitState::Other(word) => word,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    id: Lax<i64>,
    status: Lax<String>,
    context: Lax<String>,
    description: Lax<String>,
    target_url: Lax<String>,
    creator: Option<User>,
    created_at: Lax<String>,
}

impl Wire for Status {
    type Model = model::CommitStatus;

    fn model(self) -> Result<model::CommitStatus, Lacks> {
        if self.id.0 <= 0 {
            return Err("a status's id");
        }
        Ok(model::CommitStatus {
            id: self.id.0,
            state: state(&self.status.0),
            context: self.context.0,
            description: self.description.0,
            target_url: self.target_url.0,
            creator: self.creator.map(User::person),
            created: time(&self.created_at.0, "when a status was posted")?,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Combined {
    pub(crate) state: Lax<String>,
    pub(crate) statuses: Lax<Vec<Status>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reaction {
    user: Option<User>,
    content: Lax<String>,
}

impl Wire for Reaction {
    type Model = model::Reacted;

    fn model(self) -> Result<model::Reacted, Lacks> {
        Ok(model::Reacted { person: person(self.user), content: self.content.0 })
    }
}

/// The flat access mode by its word.
pub(crate) fn permission(word: &str) -> Result<model::Permission, Lacks> {
    match word {
        "none" | "" => Ok(model::Permission::None),
        "read" => Ok(model::Permission::Read),
        "write" => Ok(model::Permission::Write),
        "admin" => Ok(model::Permission::Admin),
        "owner" => Ok(model::Permission::Owner),
        _ => Err("a permission that is known"),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PermissionOf {
    permission: Lax<String>,
    user: Option<User>,
}

impl Wire for PermissionOf {
    type Model = model::PermissionOf;

    fn model(self) -> Result<model::PermissionOf, Lacks> {
        Ok(model::PermissionOf { permission: permission(&self.permission.0)?, person: person(self.user) })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Team {
    id: Lax<i64>,
    name: Lax<String>,
    permission: Lax<String>,
    units_map: Lax<std::collections::BTreeMap<String, Lax<String>>>,
}

impl Wire for Team {
    type Model = model::Team;

    fn model(self) -> Result<model::Team, Lacks> {
        if self.id.0 <= 0 {
            return Err("a team's id");
        }
        // An ordinary team's own permission reads `none` whatever it may do; only the units tell.
        let by_unit = self.units_map.0.get("repo.code").map_or("", |unit| unit.0.as_str());
        let administers = matches!(self.permission.0.as_str(), "admin" | "owner");
        let writes_code = administers || matches!(by_unit, "write" | "admin" | "owner");
        Ok(model::Team { id: self.id.0, name: self.name.0, administers, writes_code })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Branch {
    name: Lax<String>,
    commit: Option<CommitId>,
    protected: Lax<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CommitId {
    id: Lax<String>,
    sha: Lax<String>,
}

impl CommitId {
    fn hash(&self) -> Option<String> {
        commit(&self.id.0).or_else(|| commit(&self.sha.0))
    }
}

impl Wire for Branch {
    type Model = model::Branch;

    fn model(self) -> Result<model::Branch, Lacks> {
        Ok(model::Branch {
            sha: self.commit.and_then(|c| c.hash()).ok_or("a branch's commit")?,
            name: self.name.0,
            protected: self.protected.0,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tag {
    name: Lax<String>,
    commit: Option<CommitId>,
}

impl Wire for Tag {
    type Model = model::Tag;

    fn model(self) -> Result<model::Tag, Lacks> {
        let sha = self.commit.and_then(|c| c.hash()).ok_or("a tag's commit")?;
        Ok(model::Tag { name: self.name.0, sha })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Reference {
    #[serde(rename = "ref")]
    pub(crate) name: Lax<String>,
    object: Option<CommitId>,
}

impl Reference {
    pub(crate) fn hash(&self) -> Option<String> {
        self.object.as_ref().and_then(CommitId::hash)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct File {
    #[serde(rename = "type")]
    kind: Lax<String>,
    path: Lax<String>,
    sha: Lax<String>,
    encoding: Lax<String>,
    content: Lax<String>,
}

impl Wire for File {
    type Model = model::File;

    fn model(self) -> Result<model::File, Lacks> {
        use base64::Engine as _;
        if self.kind.0 != "file" || self.encoding.0 != "base64" {
            return Err("a file's content (is it a folder, or too large?)");
        }
        let plain: String = self.content.0.split_ascii_whitespace().collect();
        let content = base64::engine::general_purpose::STANDARD.decode(plain).map_err(|_| "content in base64")?;
        Ok(model::File { path: self.path.0, blob: self.sha.0, content })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Written {
    content: Option<File>,
    commit: Option<CommitId>,
}

impl Wire for Written {
    type Model = model::Written;

    fn model(self) -> Result<model::Written, Lacks> {
        Ok(model::Written {
            commit: self.commit.and_then(|c| c.hash()).ok_or("the new commit")?,
            blob: self.content.ok_or("the new content")?.sha.0,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HookConfig {
    url: Lax<String>,
    content_type: Lax<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Hook {
    id: Lax<i64>,
    active: Lax<bool>,
    config: Lax<HookConfig>,
    events: Lax<Vec<String>>,
    branch_filter: Lax<String>,
}

impl Wire for Hook {
    type Model = model::Hook;

    fn model(self) -> Result<model::Hook, Lacks> {
        if self.id.0 <= 0 {
            return Err("a hook's id");
        }
        Ok(model::Hook {
            id: self.id.0,
            active: self.active.0,
            url: self.config.0.url.0,
            content_type: self.config.0.content_type.0,
            events: self.events.0.into_iter().collect(),
            branch_filter: self.branch_filter.0,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Entry {
    id: Lax<i64>,
    #[serde(rename = "type")]
    kind: Lax<String>,
    body: Lax<String>,
    user: Option<User>,
    created_at: Lax<String>,
}

/// What the text of a push entry holds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PushText {
    is_force_push: Lax<bool>,
}

impl Wire for Entry {
    type Model = model::TimelineEntry;

    fn model(self) -> Result<model::TimelineEntry, Lacks> {
        use model::Happened;
        let happened = match self.kind.0.as_str() {
            "comment" => Happened::Comment,
            "pull_push" => Happened::Push {
                forced: serde_json::from_str::<PushText>(&self.body.0).is_ok_and(|text| text.is_force_push.0),
            },
            "close" => Happened::Close,
            "reopen" => Happened::Reopen,
            "merge_pull" => Happened::Merge,
            _ => Happened::Other(self.kind.0),
        };
        Ok(model::TimelineEntry {
            id: self.id.0,
            happened,
            person: person(self.user),
            created: time(&self.created_at.0, "when something happened")?,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    max_response_items: Lax<u32>,
    default_paging_num: Lax<u32>,
}

impl Wire for Limits {
    type Model = model::Limits;

    fn model(self) -> Result<model::Limits, Lacks> {
        if self.max_response_items.0 == 0 {
            return Err("the largest page");
        }
        Ok(model::Limits { max_response_items: self.max_response_items.0, default_paging: self.default_paging_num.0 })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Version {
    version: Lax<String>,
}

impl Wire for Version {
    type Model = model::Version;

    fn model(self) -> Result<model::Version, Lacks> {
        let text = self.version.0;
        if text.is_empty() {
            return Err("the version");
        }
        let number = major_minor(&text);
        Ok(match text.split_once("+gitea-") {
            Some((_, gitea)) => {
                model::Version { flavour: model::Flavour::Forgejo, number, gitea: major_minor(gitea), text }
            }
            None => model::Version { flavour: model::Flavour::Gitea, number, gitea: number, text },
        })
    }
}

fn major_minor(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(['.', '+', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<W: Wire>(text: &str) -> Result<W::Model, Lacks> {
        serde_json::from_str::<W>(text).unwrap().model()
    }

    #[test]
    fn versions_of_both_families() {
        let of = |text: &str| read::<Version>(&format!(r#"{{"version":"{text}"}}"#)).unwrap();
        let forgejo = of("11.0.3+gitea-1.22.0");
        assert_eq!(
            (forgejo.flavour, forgejo.number, forgejo.gitea),
            (model::Flavour::Forgejo, Some((11, 0)), Some((1, 22)))
        );
        assert_eq!(of("1.26.0+dev-5-g87d670c96b").gitea, Some((1, 26)));
        assert_eq!(of("development").number, None);
        assert!(read::<Version>("{}").is_err());
    }

    #[test]
    fn nulls_and_ghosts_do_not_hurt_but_missing_ids_do() {
        let ghost = r#"{"id":7,"user":null,"body":null,"created_at":"2026-01-01T00:00:00+02:00","updated_at":"2026-01-01T00:00:00+02:00","issue_url":"","pull_request_url":"https://f.test/a/b/pulls/12","new_key":{}}"#;
        let comment = read::<Comment>(ghost).unwrap();
        assert_eq!((comment.author.id, comment.number, comment.is_pull), (0, Some(12), true));
        assert_eq!(comment.created.to_string(), "2025-12-31T22:00:00Z");
        assert!(read::<Comment>(r#"{"body":"x","created_at":"2026-01-01T00:00:00Z"}"#).is_err());
        assert!(read::<Comment>(r#"{"id":7,"created_at":""}"#).is_err());
    }

    #[test]
    fn a_pull_request_whose_fork_is_gone() {
        let text = |head: &str| {
            format!(
                r#"{{"number":3,"state":"closed","merged":true,"head":{head},
                "base":{{"ref":"main","sha":"{}","repo_id":5}},"user":{{"id":-1,"login":"Ghost"}},
                "created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"}}"#,
                "B".repeat(40)
            )
        };
        let gone = format!(r#"{{"ref":"refs/pull/3/head","sha":"{}","repo_id":-1,"repo":null}}"#, "a".repeat(40));
        let pull = read::<Pull>(&text(&gone)).unwrap();
        assert_eq!((pull.state, pull.head.repo, pull.base.repo), (PullState::Merged, None, Some(RepoId(5))));
        assert_eq!((pull.author.id, pull.base.sha), (-1, "b".repeat(40)));
        assert!(read::<Pull>(&text("null")).is_err());
        assert!(read::<Pull>(&text(r#"{"ref":"x","sha":"main","repo_id":1}"#)).is_err(), "a branch is no commit");
    }

    #[test]
    fn only_a_teams_units_tell_what_it_may_do() {
        let writes = |permission: &str, code: &str| {
            read::<Team>(&format!(
                r#"{{"id":1,"permission":"{permission}","units_map":{{"repo.code":"{code}","repo.wiki":null}}}}"#
            ))
            .unwrap()
            .writes_code
        };
        assert!(writes("none", "write") && writes("read", "admin") && writes("owner", "none") && writes("admin", ""));
        assert!(!writes("write", "read") && !writes("none", "none"));
        assert!(!read::<Team>(r#"{"id":1,"permission":"write","units_map":null}"#).unwrap().writes_code);
    }

    #[test]
    fn states_survive_a_round_trip() {
        for word_ in ["pending", "success", "error", "failure", "warning", "skipped", "", "typo"] {
            assert_eq!(word(&state(word_)), word_);
        }
    }

    #[test]
    fn unknown_permissions_are_no_permission() {
        assert!(permission("maintain").is_err());
        assert!(permission("write").unwrap() > permission("read").unwrap());
    }
}
