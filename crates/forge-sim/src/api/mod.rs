//! The API below `/api/v1/`: one table of routes, and what all handlers share.
//!
//! Every handler runs to its end under the world's lock. A path the simulator does not know is
//! answered 501, so that a test cannot mistake "not simulated" for "not found".

mod admin;
mod branches;
mod comments;
mod commits;
mod contents;
mod hooks;
mod issues;
mod labels;
mod merge;
mod misc;
mod orgs;
mod permissions;
mod pulls;
mod releases;
mod repos;
mod statuses;
mod teams;
mod users;

use serde_json::Value;

use crate::auth::Actor;
use crate::perm::{Perm, Unit, repo_perm, user_visible};
use crate::reply::{Answer, Reply, fail, internal, not_found};
use crate::world::{Id, Issue, Repo, User, World};

pub(crate) use users::{NewUser, create_user, new_token};

/// One API call while it is handled.
pub(crate) struct Cx<'w> {
    pub w: &'w mut World,
    pub actor: Actor,
    pub query: Vec<(String, String)>,
    pub body: Value,
    /// The path below `/api/v1/` as it was asked for, for redirects.
    pub path: String,
}

/// A repository the caller can see, with his rights.
pub(crate) struct At {
    pub repo: Repo,
    pub perm: Perm,
}

impl Cx<'_> {
    /// The caller, if signed in.
    pub(crate) fn me(&self) -> Option<Id> {
        self.actor.user
    }

    /// The caller, or 401.
    pub(crate) fn signed_in(&self) -> Result<Id, Reply> {
        self.actor.user.ok_or_else(|| fail(self.w, 401, "token is required"))
    }

    pub(crate) fn is_site_admin(&self) -> bool {
        self.account().is_some_and(|u| u.admin)
    }

    pub(crate) fn account(&self) -> Option<&User> {
        self.actor.user.and_then(|id| self.w.users.get(&id))
    }

    pub(crate) fn fail(&self, status: u16, message: impl Into<String>) -> Reply {
        fail(self.w, status, message)
    }

    pub(crate) fn not_found(&self) -> Reply {
        not_found(self.w)
    }

    pub(crate) fn internal(&self, message: &str) -> Reply {
        internal(self.w, self.is_site_admin(), message)
    }

    /// A user or organisation by name, as far as visible.
    pub(crate) fn visible_user(&self, login: &str) -> Result<User, Reply> {
        let found = self.w.user_by_name(login).filter(|u| user_visible(self.w, u, self.account()));
        found.cloned().ok_or_else(|| self.not_found())
    }

    /// An account by name, whoever may see it.
    pub(crate) fn any_user(&self, login: &str) -> Option<User> {
        self.w.user_by_name(login).filter(|u| !u.is_org).cloned()
    }

    /// An organisation by name, as far as visible.
    pub(crate) fn org(&self, name: &str) -> Result<User, Reply> {
        let org = self.visible_user(name)?;
        if org.is_org { Ok(org) } else { Err(self.not_found()) }
    }

    /// A repository by name. A renamed one is a 301, an invisible one a 404.
    pub(crate) fn repo(&self, owner: &str, name: &str) -> Result<At, Reply> {
        let Some(found) = self.w.repo_by_name(owner, name) else {
            let old = format!("{owner}/{name}").to_lowercase();
            let moved = self.w.renamed.get(&old).and_then(|id| self.w.repos.get(id));
            let Some(now) = moved else { return Err(self.not_found()) };
            let rest = self.path.splitn(4, '/').nth(3).map(|r| format!("/{r}")).unwrap_or_default();
            let to = format!("{}api/v1/repos/{}{rest}", self.w.root_url, self.w.full_name(now));
            return Err(Reply::redirect(301, to));
        };
        self.at(found.clone())
    }

    /// The caller's view of a repository, 404 when he has none.
    pub(crate) fn at(&self, repo: Repo) -> Result<At, Reply> {
        let perm = repo_perm(self.w, &repo, self.me());
        if !perm.any() {
            return Err(self.not_found());
        }
        if repo.private && self.actor.public_only() {
            return Err(self.fail(403, "token scope is limited to public repos"));
        }
        Ok(At { repo, perm })
    }

    /// An issue or pull request whose kind the caller may read.
    pub(crate) fn issue(&self, at: &At, index: &str) -> Result<Issue, Reply> {
        let found = index.parse().ok().and_then(|n| self.w.issue_by_index(at.repo.id, n)).cloned();
        let issue = found.ok_or_else(|| self.not_found())?;
        let unit = if issue.pull.is_some() { Unit::Pulls } else { Unit::Issues };
        if at.perm.can_read(unit) { Ok(issue) } else { Err(self.not_found()) }
    }

    /// The same, pull requests only.
    pub(crate) fn pull(&self, at: &At, index: &str) -> Result<Issue, Reply> {
        let issue = self.issue(at, index)?;
        if issue.pull.is_some() && at.repo.has_pulls && at.repo.mirror.is_none() {
            Ok(issue)
        } else {
            Err(self.not_found())
        }
    }

    /// Refuses writing to an archived repository.
    pub(crate) fn not_archived(&self, at: &At) -> Result<(), Reply> {
        if at.repo.archived {
            let name = self.w.full_name(&at.repo);
            let message = if self.w.flavour.is_current() {
                format!("{name} is archived")
            } else {
                format!("Repo {name} is archived.")
            };
            return Err(self.fail(423, message));
        }
        Ok(())
    }

    /// Refuses callers without code write.
    pub(crate) fn need_push(&self, at: &At) -> Result<Id, Reply> {
        let me = self.signed_in()?;
        if at.perm.can_write(Unit::Code) {
            Ok(me)
        } else {
            Err(self.fail(403, "user should have a permission to write to a repo"))
        }
    }

    /// Refuses callers who do not administer the repository.
    pub(crate) fn need_admin(&self, at: &At) -> Result<Id, Reply> {
        let me = self.signed_in()?;
        if at.perm.is_admin() {
            Ok(me)
        } else {
            Err(self.fail(403, "user should be an owner or a collaborator with admin write of a repository"))
        }
    }

    pub(crate) fn arg(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.arg(name).and_then(|v| v.parse().ok())
    }

    /// Start and end of the asked-for page; the limit is clamped without a word.
    pub(crate) fn page(&self) -> (usize, usize) {
        let page = self.number("page").unwrap_or(1).max(1);
        let asked = self.number("limit").filter(|n| *n > 0).unwrap_or(self.w.switches.default_paging);
        (page, asked.min(self.w.switches.max_items))
    }

    /// One page of a list with `X-Total-Count`, and `Link` where the server sends it.
    pub(crate) fn paged<T>(&self, all: &[T], link: bool, render: impl Fn(&T) -> Value) -> Reply {
        let (page, limit) = self.page();
        let shown: Vec<Value> = all.iter().skip((page - 1).saturating_mul(limit)).take(limit).map(render).collect();
        let reply = Reply::json(200, Value::Array(shown)).with("X-Total-Count", all.len().to_string());
        match self.links(all.len()) {
            Some(links) if link => reply.with("Link", links),
            _ => reply,
        }
    }

    /// The extra paging headers of commit lists.
    pub(crate) fn page_headers(&self, reply: Reply, total: usize) -> Reply {
        let (page, limit) = self.page();
        let pages = total.div_ceil(limit);
        reply
            .with("X-Page", page.to_string())
            .with("X-PerPage", limit.to_string())
            .with("X-Total", total.to_string())
            .with("X-PageCount", pages.to_string())
            .with("X-HasMore", (page < pages).to_string())
    }

    fn links(&self, total: usize) -> Option<String> {
        let (page, limit) = self.page();
        let last = total.div_ceil(limit).max(1);
        let to = |n: usize, rel: &str| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            for (key, value) in self.query.iter().filter(|(k, _)| k != "page") {
                query.append_pair(key, value);
            }
            query.append_pair("page", &n.to_string());
            format!("<{}api/v1/{}?{}>; rel=\"{rel}\"", self.w.root_url, self.path, query.finish())
        };
        let mut out = Vec::new();
        if page < last {
            out.extend([to(page + 1, "next"), to(last, "last")]);
        }
        if page > 1 {
            out.extend([to(1, "first"), to(page - 1, "prev")]);
        }
        (!out.is_empty()).then(|| out.join(","))
    }

    fn mistyped(&self, name: &str, wanted: &str) -> Reply {
        self.fail(422, format!("json: cannot unmarshal field {name} into Go value of type {wanted}"))
    }

    /// A text of the body; 422 when it is something else.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Reply> {
        match self.body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.mistyped(name, "string")),
        }
    }

    /// A text that must not be empty; the error names the field as the server does.
    pub(crate) fn required(&self, name: &str, field: &str) -> Result<String, Reply> {
        let text = self.text(name)?.unwrap_or_default();
        if text.is_empty() { Err(self.fail(422, format!("[{field}]: Required"))) } else { Ok(text) }
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Reply> {
        match self.body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            // Form-encoded bodies carry texts only.
            Some(Value::String(text)) if matches!(text.as_str(), "true" | "on" | "1") => Ok(Some(true)),
            Some(Value::String(text)) if matches!(text.as_str(), "false" | "off" | "0") => Ok(Some(false)),
            Some(_) => Err(self.mistyped(name, "bool")),
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Reply> {
        match self.body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => {
                let all: Option<Vec<String>> = items.iter().map(|i| i.as_str().map(str::to_owned)).collect();
                all.map(Some).ok_or_else(|| self.mistyped(name, "[]string"))
            }
            Some(_) => Err(self.mistyped(name, "[]string")),
        }
    }

    pub(crate) fn numbers(&self, name: &str) -> Result<Option<Vec<Id>>, Reply> {
        match self.body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => {
                let all: Option<Vec<Id>> = items.iter().map(Value::as_i64).collect();
                all.map(Some).ok_or_else(|| self.mistyped(name, "[]int64"))
            }
            Some(_) => Err(self.mistyped(name, "[]int64")),
        }
    }

    /// A time in the query, in Unix seconds; 422 when it cannot be read.
    pub(crate) fn when(&self, name: &str) -> Result<Option<i64>, Reply> {
        let Some(text) = self.arg(name).filter(|t| !t.is_empty()) else { return Ok(None) };
        match text.parse::<jiff::Timestamp>() {
            Ok(at) => Ok(Some(at.as_second())),
            Err(error) => Err(self.fail(422, format!("{name}: {error}"))),
        }
    }
}

/// Handles one call whose caller is known and whose token covers it.
pub(crate) fn dispatch(cx: &mut Cx<'_>, method: &str, path: &[&str]) -> Reply {
    if cx.w.switches.require_signin && cx.me().is_none() {
        return fail(cx.w, 403, "Only signed in user is allowed to call APIs.");
    }
    let in_query = cx.actor.in_query;
    let reply = route(cx, method, path).unwrap_or_else(|error| error);
    if in_query {
        return reply.with("X-Gitea-Warning", "token and access_token API authentication is deprecated and will be removed in gitea 1.23. Please use AuthorizationTokenHeader instead. Existing queries will continue to work but without authorization.");
    }
    reply
}

fn route(cx: &mut Cx<'_>, method: &str, path: &[&str]) -> Answer {
    // HEAD answers as GET does; the server leaves the body out.
    let method = if method == "HEAD" { "GET" } else { method };
    match path {
        ["version"] | ["settings", ..] | ["notifications", ..] => misc::route(cx, method, path),
        ["admin", rest @ ..] => admin::route(cx, method, rest),
        ["user" | "users", ..] => users::route(cx, method, path),
        ["orgs", rest @ ..] => orgs::route(cx, method, rest),
        ["teams", id, rest @ ..] => teams::route(cx, method, id, rest),
        ["repositories", id] if method == "GET" => repos::by_id(cx, id),
        ["repos", "migrate"] if method == "POST" => repos::migrate(cx),
        ["repos", "search"] if method == "GET" => repos::search(cx),
        ["repos", owner, name, rest @ ..] => {
            let at = cx.repo(owner, name)?;
            in_repo(cx, method, &at, rest)
        }
        _ => Err(unknown(cx, method)),
    }
}

fn in_repo(cx: &mut Cx<'_>, method: &str, at: &At, rest: &[&str]) -> Answer {
    match rest {
        [] | ["forks" | "mirror-sync" | "teams" | "topics" | "languages", ..] => repos::route(cx, method, at, rest),
        ["collaborators" | "assignees" | "reviewers", ..] => permissions::route(cx, method, at, rest),
        ["branches" | "branch_protections", ..] => branches::route(cx, method, at, rest),
        ["commits", _, "status" | "statuses"] | ["statuses", ..] => statuses::route(cx, method, at, rest),
        ["commits" | "git" | "compare" | "archive", ..] => commits::route(cx, method, at, rest),
        ["contents" | "raw", ..] => contents::route(cx, method, at, rest),
        ["tags" | "releases", ..] => releases::route(cx, method, at, rest),
        ["hooks", ..] => hooks::in_repo(cx, method, at, &rest[1..]),
        ["labels", ..] | ["issues", _, "labels", ..] => labels::route(cx, method, at, rest),
        ["issues", "comments", ..] | ["issues", _, "comments" | "reactions" | "timeline"] => {
            comments::route(cx, method, at, rest)
        }
        ["issues", ..] => issues::route(cx, method, at, &rest[1..]),
        ["pulls", _, "merge" | "update"] => merge::route(cx, method, at, &rest[1..]),
        ["pulls", ..] => pulls::route(cx, method, at, &rest[1..]),
        _ => Err(unknown(cx, method)),
    }
}

/// The answer to what is not simulated.
pub(crate) fn unknown(cx: &Cx<'_>, method: &str) -> Reply {
    cx.fail(501, format!("forge-sim does not simulate {method} /api/v1/{}", cx.path))
}

/// Reads a request body: JSON or a form. An empty one is an empty object.
pub(crate) fn parse_body(content_type: &str, bytes: &[u8]) -> Result<Value, String> {
    if content_type.starts_with("application/x-www-form-urlencoded") {
        let pairs = url::form_urlencoded::parse(bytes);
        return Ok(Value::Object(pairs.map(|(k, v)| (k.into_owned(), Value::from(v.into_owned()))).collect()));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    match serde_json::from_slice(bytes) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(Value::Null) => Ok(Value::Object(serde_json::Map::new())),
        Ok(_) => Err("json: cannot unmarshal into Go value: not an object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
