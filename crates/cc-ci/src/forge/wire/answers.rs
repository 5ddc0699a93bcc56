//! Answers that only single calls give.

use serde::Deserialize;

use super::{Lacks, Lax, User, Wire, commit, person, time};
use crate::forge::model;

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
    /// Oldest first; of a forced push the former and the new head.
    commit_ids: Lax<Vec<String>>,
}

impl Wire for Entry {
    type Model = model::TimelineEntry;

    fn model(self) -> Result<model::TimelineEntry, Lacks> {
        use model::Happened;
        let happened = match self.kind.0.as_str() {
            "comment" => Happened::Comment,
            "pull_push" => {
                let text: PushText = serde_json::from_str(&self.body.0).unwrap_or_default();
                let head = text.commit_ids.0.last().and_then(|id| super::commit(id));
                Happened::Push { forced: text.is_force_push.0, head }
            }
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
