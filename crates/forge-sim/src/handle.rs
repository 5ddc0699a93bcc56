//! The Rust side of a running simulator: a vocabulary for tests and for setting a stage.
//!
//! What people do here goes through the same handlers as the HTTP API, so nobody can do in a test
//! what the forge would refuse; a refusal is a [`SimError::Refused`]. These calls are not in the
//! request log, which is for the program under test.

use std::sync::{Arc, MutexGuard};

use axum::http::HeaderMap;
use base64::Engine;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::api::{Cx, NewUser, create_user, dispatch};
use crate::auth::Actor;
use crate::config::{Config, Switches};
use crate::faults::Fault;
use crate::git::GitError;
use crate::logs::{DeliveryLog, RequestLog};
use crate::reply::Content;
use crate::server::Shared;
use crate::stage::RepoHandle;
use crate::webhook::{Job, redeliver};
use crate::world::{Id, World};

/// Why the stage could not be set, or the simulator not be started.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The forge refuses this, as the real one would.
    #[error("the forge answers {status} to {what}: {message}")]
    Refused {
        /// Method and path.
        what: String,
        /// HTTP status.
        status: u16,
        /// The body of the answer.
        message: String,
    },
    /// No account has this login; create it with [`Sim::user`].
    #[error("no account is called {0:?}; create it first")]
    NoAccount(String),
    /// Git did not work out.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The simulator listens on loopback only.
    #[error("{0} is not a loopback address; forge-sim has no protection and must not be reachable")]
    NotLoopback(std::net::SocketAddr),
    /// Files or sockets failed.
    #[error("forge-sim: {0}")]
    Io(#[from] std::io::Error),
    /// The HTTP client for deliveries could not be made.
    #[error("forge-sim: {0}")]
    Http(#[from] reqwest::Error),
}

/// A pull request, by repository and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrRef {
    /// `owner/name` of the base repository.
    pub repo: String,
    /// The number shown on its page.
    pub number: i64,
}

/// A running simulator. Dropping it ends it.
#[derive(Debug)]
pub struct Sim {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    pub(crate) root_url: String,
    pub(crate) admin: String,
    /// Removed with the simulator, if it was not given.
    pub(crate) data: Option<tempfile::TempDir>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        drop(self.data.take());
    }
}

impl Sim {
    /// Starts a simulator of a current Gitea with nothing but its site administrator in it.
    ///
    /// # Errors
    /// When no port or directory can be had.
    pub async fn start() -> Result<Self, SimError> {
        crate::serve(Config::default()).await
    }

    /// `http://127.0.0.1:port`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        self.root_url.trim_end_matches('/')
    }

    /// Login of the site administrator.
    #[must_use]
    pub fn admin(&self) -> &str {
        &self.admin
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// Runs until it is ended from outside: for a command that only serves.
    pub async fn wait(mut self) {
        if let Some(task) = self.tasks.pop() {
            drop(task.await);
        }
    }

    /// Makes one API call as somebody, with all his rights, and returns status and body.
    ///
    /// # Errors
    /// [`SimError::NoAccount`] for an unknown login.
    pub fn call(&self, login: &str, method: &str, path: &str, body: Value) -> Result<(u16, Value), SimError> {
        let mut world = self.world();
        let Some(user) = world.user_by_name(login).map(|u| u.id) else {
            return Err(SimError::NoAccount(login.to_owned()));
        };
        let actor = Actor::in_person(user);
        let raw = path.trim_start_matches('/');
        let (raw, query) = raw.split_once('?').unwrap_or((raw, ""));
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let decoded: Vec<String> = raw
            .split('/')
            .filter(|s| !s.is_empty())
            .map(|s| percent_encoding::percent_decode_str(s).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let refused = world.users.get(&user).map(crate::auth::check_account);
        if let Some(Err(reply)) = refused {
            return Ok((reply.status, content(reply.content)));
        }
        let mut cx = Cx { w: &mut world, actor, query, body, path: raw.to_owned() };
        let reply = dispatch(&mut cx, method, &segments);
        Ok((reply.status, content(reply.content)))
    }

    pub(crate) fn must(&self, login: &str, method: &str, path: &str, body: Value) -> Result<Value, SimError> {
        let (status, answer) = self.call(login, method, path, body)?;
        if status < 300 {
            return Ok(answer);
        }
        Err(SimError::Refused { what: format!("{method} {path}"), status, message: answer.to_string() })
    }

    /// Makes sure an account exists. Its password is `<login>-password`.
    ///
    /// # Errors
    /// When the name is taken by an organisation.
    pub fn user(&self, login: &str) -> Result<(), SimError> {
        let mut world = self.world();
        match world.user_by_name(login) {
            Some(found) if found.is_org => Err(SimError::NoAccount(login.to_owned())),
            Some(_) => Ok(()),
            None => {
                let password = Some(format!("{login}-password"));
                let email = format!("{login}@example.test");
                create_user(&mut world, NewUser { login: login.to_owned(), email, password, admin: false });
                Ok(())
            }
        }
    }

    /// Adds a bot account, which has no password.
    pub fn bot(&self, login: &str) {
        let mut world = self.world();
        if world.user_by_name(login).is_none() {
            let email = format!("{login}@example.test");
            create_user(&mut world, NewUser { login: login.to_owned(), email, password: None, admin: false });
        }
    }

    /// Sets an account's state: `restricted`, `active`, `prohibit_login`, `admin`, `visibility`, ….
    ///
    /// # Errors
    /// As the admin API has them.
    pub fn edit_user(&self, login: &str, mut changes: Value) -> Result<(), SimError> {
        crate::render::merge(&mut changes, json!({ "login_name": "", "source_id": 0 }));
        self.must(&self.admin, "PATCH", &format!("admin/users/{login}"), changes).map(drop)
    }

    /// `by` blocks `blocked`.
    ///
    /// # Errors
    /// [`SimError::NoAccount`].
    pub fn block(&self, by: &str, blocked: &str) -> Result<(), SimError> {
        let mut world = self.world();
        let id = |world: &World, login: &str| {
            world.user_by_name(login).map(|u| u.id).ok_or_else(|| SimError::NoAccount(login.to_owned()))
        };
        let (by, blocked) = (id(&world, by)?, id(&world, blocked)?);
        if let Some(user) = world.users.get_mut(&by) {
            user.blocked.insert(blocked);
        }
        Ok(())
    }

    /// A new token of an account.
    ///
    /// # Errors
    /// [`SimError::NoAccount`].
    pub fn token(&self, login: &str, scopes: &[&str]) -> Result<String, SimError> {
        let mut world = self.world();
        let Some(user) = world.user_by_name(login).map(|u| u.id) else {
            return Err(SimError::NoAccount(login.to_owned()));
        };
        let scopes = scopes.iter().map(|s| (*s).to_owned()).collect();
        let name = format!("token-{}", world.tokens.len() + 1);
        Ok(crate::api::new_token(&mut world, user, &name, scopes).secret)
    }

    /// Makes sure an organisation exists, owned by the site administrator.
    ///
    /// # Errors
    /// As the API has them.
    pub fn org(&self, name: &str) -> Result<(), SimError> {
        if self.world().user_by_name(name).is_some_and(|u| u.is_org) {
            return Ok(());
        }
        self.must(&self.admin, "POST", "orgs", json!({ "username": name })).map(drop)
    }

    /// Adds a team with these unit rights (`repo.code` → `write`), members and all repositories.
    ///
    /// # Errors
    /// As the API has them.
    pub fn team(&self, org: &str, name: &str, units: &[(&str, &str)], members: &[&str]) -> Result<i64, SimError> {
        let map: serde_json::Map<String, Value> =
            units.iter().map(|(unit, mode)| ((*unit).to_owned(), json!(mode))).collect();
        let body = json!({ "name": name, "units_map": map, "includes_all_repositories": true });
        let id = self.must(&self.admin, "POST", &format!("orgs/{org}/teams"), body)?["id"].as_i64().unwrap_or(0);
        for member in members {
            self.must(&self.admin, "PUT", &format!("teams/{id}/members/{member}"), json!({}))?;
        }
        Ok(id)
    }

    /// Makes sure a repository `owner/name` exists, with a first commit on `main`.
    ///
    /// # Errors
    /// As the API has them.
    pub fn repo(&self, full_name: &str) -> Result<RepoHandle<'_>, SimError> {
        let (owner, name) = full_name.split_once('/').unwrap_or((full_name, ""));
        let (known, is_org) = {
            let world = self.world();
            (world.repo_by_name(owner, name).is_some(), world.user_by_name(owner).is_some_and(|u| u.is_org))
        };
        if !known {
            let body = json!({ "name": name, "auto_init": true, "default_branch": "main" });
            if is_org {
                self.must(&self.admin, "POST", &format!("orgs/{owner}/repos"), body)?;
            } else {
                self.must(owner, "POST", "user/repos", body)?;
            }
        }
        Ok(RepoHandle { sim: self, full_name: full_name.to_owned() })
    }

    /// Opens a pull request as somebody; `head` is `branch` or `owner:branch`.
    ///
    /// # Errors
    /// As the API has them.
    pub fn open_pr(&self, login: &str, repo: &str, head: &str, title: &str) -> Result<PrRef, SimError> {
        let base = self.must(login, "GET", &format!("repos/{repo}"), json!({}))?["default_branch"].clone();
        let body = json!({ "head": head, "base": base, "title": title });
        let made = self.must(login, "POST", &format!("repos/{repo}/pulls"), body)?;
        Ok(PrRef { repo: repo.to_owned(), number: made["number"].as_i64().unwrap_or(0) })
    }

    /// Comments as somebody. The text is stored as given. Returns the comment's number.
    ///
    /// # Errors
    /// As the API has them.
    pub fn comment_as(&self, login: &str, pr: &PrRef, text: &str) -> Result<i64, SimError> {
        let path = format!("repos/{}/issues/{}/comments", pr.repo, pr.number);
        Ok(self.must(login, "POST", &path, json!({ "body": text }))?["id"].as_i64().unwrap_or(0))
    }

    /// Edits a comment as somebody, who need not be its author.
    ///
    /// # Errors
    /// As the API has them.
    pub fn edit_comment_as(&self, login: &str, repo: &str, comment: i64, text: &str) -> Result<(), SimError> {
        let path = format!("repos/{repo}/issues/comments/{comment}");
        self.must(login, "PATCH", &path, json!({ "body": text })).map(drop)
    }

    /// Deletes a comment as somebody.
    ///
    /// # Errors
    /// As the API has them.
    pub fn delete_comment_as(&self, login: &str, repo: &str, comment: i64) -> Result<(), SimError> {
        self.must(login, "DELETE", &format!("repos/{repo}/issues/comments/{comment}"), json!({})).map(drop)
    }

    /// Pushes one commit with these files (path, text) to a branch, which is made from the default
    /// branch if need be. Returns the commit.
    ///
    /// # Errors
    /// As the API has them.
    pub fn push_as(&self, login: &str, repo: &str, branch: &str, files: &[(&str, &str)]) -> Result<String, SimError> {
        let exists = self.call(login, "GET", &format!("repos/{repo}/branches/{branch}"), json!({}))?.0 == 200;
        if !exists {
            let body = json!({ "new_branch_name": branch });
            self.must(login, "POST", &format!("repos/{repo}/branches"), body)?;
        }
        let mut changes = Vec::new();
        for (path, text) in files {
            let at = format!("repos/{repo}/contents/{path}?ref={branch}");
            let (status, old) = self.call(login, "GET", &at, json!({}))?;
            let content = base64::engine::general_purpose::STANDARD.encode(text);
            changes.push(if status == 200 {
                json!({ "operation": "update", "path": path, "content": content, "sha": old["sha"] })
            } else {
                json!({ "operation": "create", "path": path, "content": content })
            });
        }
        let body = json!({ "branch": branch, "files": changes, "message": "Change files\n" });
        let made = self.must(login, "POST", &format!("repos/{repo}/contents"), body)?;
        Ok(made["commit"]["sha"].as_str().unwrap_or_default().to_owned())
    }

    /// Adds a hook (created active) and returns its number.
    ///
    /// # Errors
    /// As the API has them.
    pub fn hook(&self, repo: &str, url: &str, secret: &str, events: &[&str]) -> Result<i64, SimError> {
        let body = json!({
            "type": "gitea",
            "active": true,
            "events": events,
            "config": { "url": url, "content_type": "json", "secret": secret },
        });
        Ok(self.must(&self.admin, "POST", &format!("repos/{repo}/hooks"), body)?["id"].as_i64().unwrap_or(0))
    }

    /// Adds a fault behind those already waiting.
    pub fn fault(&self, fault: Fault) {
        self.world().faults.waiting.push(fault);
    }

    /// Faults not yet used up.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.world().faults.waiting.clone()
    }

    /// Changes the switches.
    pub fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.world().switches);
    }

    /// Moves the forge's clock; it never runs apart from the real one otherwise.
    pub fn advance_clock(&self, seconds: i64) {
        self.world().clock_offset += seconds;
    }

    /// Lets held `refs/pull/N/head` follow their branches; returns how many did.
    pub fn release_pull_refs(&self) -> usize {
        crate::control::release_pull_refs(&mut self.world())
    }

    /// Sends the deliveries held back for reordering that nothing came after.
    pub fn release_deliveries(&self) {
        self.world().outbox.push(Job::ReleaseHeld);
    }

    /// Waits until no delivery and no late ref is under way.
    pub async fn settle(&self) {
        let mut pending = self.world().outbox.watch();
        drop(pending.wait_for(|n| *n == 0).await);
    }

    /// All deliveries, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<DeliveryLog> {
        self.world().deliveries.iter().map(DeliveryLog::from).collect()
    }

    /// Sends a delivery again under a new id, which is returned.
    #[must_use]
    pub fn redeliver(&self, uuid: &str) -> Option<String> {
        redeliver(&mut self.world(), uuid)
    }

    /// All requests that came over HTTP, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestLog> {
        self.world().requests.iter().map(RequestLog::from).collect()
    }

    /// Comments of a pull request, oldest first, as (author, text).
    #[must_use]
    pub fn comments(&self, pr: &PrRef) -> Vec<(String, String)> {
        let world = self.world();
        let found = self.issue_id(&world, pr);
        let Some(issue) = found else { return Vec::new() };
        world.comments_of(issue).map(|c| (world.login(c.poster), c.body.clone())).collect()
    }

    fn issue_id(&self, world: &World, pr: &PrRef) -> Option<Id> {
        let (owner, name) = pr.repo.split_once('/')?;
        let repo = world.repo_by_name(owner, name)?.id;
        world.issue_by_index(repo, pr.number).map(|i| i.id)
    }

    /// All statuses of a commit in the order they were posted, as (context, state, description).
    #[must_use]
    pub fn statuses(&self, sha: &str) -> Vec<(String, String, String)> {
        let world = self.world();
        let of = world.statuses.iter().filter(|s| s.sha == sha);
        of.map(|s| (s.context.clone(), s.state.clone(), s.description.clone())).collect()
    }

    /// Registers an OAuth2 application; returns its client id and secret.
    #[must_use]
    pub fn oauth_app(&self, redirect_uris: &[&str], confidential: bool) -> (String, String) {
        let uris = redirect_uris.iter().map(|u| (*u).to_owned()).collect();
        let app = crate::oauth::register(&mut self.world(), uris, confidential);
        (app.client_id, app.client_secret)
    }

    /// Who is asking, for a header as a client would send it. For tests of credentials.
    #[must_use]
    pub fn whoami(&self, authorization: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization.parse().ok()?);
        let mut world = self.world();
        let actor = crate::auth::authenticate(&mut world, &headers, &[]).ok()?;
        actor.user.map(|id| world.login(id))
    }
}

fn content(content: Content) -> Value {
    match content {
        Content::Json(value) => value,
        Content::Empty => Value::Null,
        Content::Text(text) | Content::Html(text) => Value::from(text),
        Content::Bytes(bytes, _) => Value::from(String::from_utf8_lossy(&bytes).into_owned()),
    }
}
