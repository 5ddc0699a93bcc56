//! The forge's JSON, and how it becomes [`super::model`].
//!
//! Tolerant where versions and families differ: unknown keys are passed over, absent keys and `null` are the empty value.
//! Strict where a wrong guess would do harm: without an id, a commit or a time there is no object.

mod answers;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::model::{self, Person, PullState, RepoId};

pub(crate) use answers::{
    Branch, Combined, Entry, File, Hook, Limits, PermissionOf, Reaction, Reference, Status, Tag, Team, Version,
    Written, state, word,
};

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

#[cfg(test)]
mod tests;
