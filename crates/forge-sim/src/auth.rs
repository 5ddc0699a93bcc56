//! Who is asking, with what kind of credential, and what that credential covers.
//!
//! The rule to know: a wrong token is 401 on every call, also on public ones; a token without the
//! scope is 403 even for public data.

use axum::http::HeaderMap;
use base64::Engine;

use crate::reply::{Reply, fail};
use crate::world::{Id, User, World};

/// What a credential may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scopes {
    /// A password, or a login over OAuth2.
    Unlimited,
    /// A personal access token.
    Token(Vec<String>),
}

/// The party behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    pub user: Option<Id>,
    pub scopes: Scopes,
    /// Basic authentication with the real password: the only way to make tokens.
    pub by_password: bool,
    /// The token came in the URL.
    pub in_query: bool,
}

impl Actor {
    pub(crate) fn anonymous() -> Self {
        Self { user: None, scopes: Scopes::Unlimited, by_password: false, in_query: false }
    }

    /// Somebody acting with all his rights, as through the web page.
    pub(crate) fn in_person(user: Id) -> Self {
        Self { user: Some(user), scopes: Scopes::Unlimited, by_password: true, in_query: false }
    }

    pub(crate) fn public_only(&self) -> bool {
        matches!(&self.scopes, Scopes::Token(list) if list.iter().any(|s| s == "public-only"))
    }
}

/// A group of API calls a token scope can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Admin,
    Issue,
    Notification,
    Organization,
    Repository,
    User,
}

impl Category {
    fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Issue => "issue",
            Self::Notification => "notification",
            Self::Organization => "organization",
            Self::Repository => "repository",
            Self::User => "user",
        }
    }
}

/// The categories a path below `/api/v1/` belongs to. A call in two needs both.
pub(crate) fn categories(path: &[&str]) -> &'static [Category] {
    use Category::{Admin, Issue, Notification, Organization, Repository, User};
    match path {
        ["user", "orgs" | "teams"] | ["users", _, "orgs", ..] => &[User, Organization],
        ["user", "repos"] | ["users", _, "repos"] => &[User, Repository],
        ["user" | "users", ..] => &[User],
        ["orgs" | "teams", ..] => &[Organization],
        ["admin", ..] => &[Admin],
        ["notifications", ..] | ["repos", _, _, "notifications", ..] => &[Notification],
        ["repos", _, _, "issues" | "labels" | "milestones", ..] => &[Issue],
        ["repos" | "repositories", ..] => &[Repository],
        _ => &[],
    }
}

/// Whether the scopes of a token cover reading or writing a category.
pub(crate) fn covers(scopes: &[String], category: Category, write: bool) -> bool {
    scopes.iter().any(|scope| {
        scope == "all"
            || scope.split_once(':').is_some_and(|(level, name)| {
                name == category.as_str() && (level == "write" || (level == "read" && !write))
            })
    })
}

/// Whether a text is a scope a token can have.
pub(crate) fn is_scope(text: &str) -> bool {
    const NAMES: [&str; 9] =
        ["activitypub", "admin", "issue", "misc", "notification", "organization", "package", "repository", "user"];
    text == "all"
        || text == "public-only"
        || text.split_once(':').is_some_and(|(l, n)| (l == "read" || l == "write") && NAMES.contains(&n))
}

/// Refuses a token that lacks a scope for this call.
pub(crate) fn check_scopes(world: &World, actor: &Actor, path: &[&str], write: bool) -> Result<(), Reply> {
    let Scopes::Token(scopes) = &actor.scopes else { return Ok(()) };
    for category in categories(path) {
        if !covers(scopes, *category, write) {
            let level = if write { "write" } else { "read" };
            let message = format!(
                "token does not have at least one of required scope(s), required=[{level}:{}], token scope={}",
                category.as_str(),
                scopes.join(",")
            );
            return Err(fail(world, 403, message));
        }
    }
    Ok(())
}

/// A credential as it was sent.
enum Sent {
    Nothing,
    Token(String, bool),
    Basic(String, String),
    Garbage,
}

fn sent(headers: &HeaderMap, query: &[(String, String)]) -> Sent {
    if let Some((_, value)) = query.iter().find(|(k, _)| k == "token" || k == "access_token") {
        return Sent::Token(value.clone(), true);
    }
    let Some(header) = headers.get("authorization").and_then(|v| v.to_str().ok()) else { return Sent::Nothing };
    let words: Vec<&str> = header.split(' ').collect();
    let &[scheme, value] = words.as_slice() else { return Sent::Nothing };
    match scheme.to_ascii_lowercase().as_str() {
        "token" | "bearer" => Sent::Token(value.to_owned(), false),
        "basic" => decode_basic(value).map_or(Sent::Garbage, |(u, p)| Sent::Basic(u, p)),
        _ => Sent::Nothing,
    }
}

/// User name and password of a Basic value.
pub(crate) fn decode_basic(value: &str) -> Option<(String, String)> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Finds out who is asking.
///
/// # Errors
/// 401 for a wrong credential, 403 for an account that may not sign in.
pub(crate) fn authenticate(world: &mut World, headers: &HeaderMap, query: &[(String, String)]) -> Result<Actor, Reply> {
    let actor = match sent(headers, query) {
        Sent::Nothing => return Ok(Actor::anonymous()),
        Sent::Garbage => return Err(wrong_password(world)),
        Sent::Token(secret, in_query) => {
            let found = by_token(world, &secret);
            let Some(actor) = found else {
                if world.flavour.is_current() {
                    return Err(wrong_password(world));
                }
                return Err(fail(world, 401, "user does not exist [uid: 0, name: ]"));
            };
            Actor { in_query, ..actor }
        }
        Sent::Basic(user, password) => {
            let key = if password.is_empty() || password == "x-oauth-basic" { &user } else { &password };
            match by_token(world, key).or_else(|| by_password(world, &user, &password)) {
                Some(actor) => actor,
                None => return Err(wrong_password(world)),
            }
        }
    };
    if let Some(user) = actor.user.and_then(|id| world.users.get(&id)) {
        check_account(user)?;
    }
    Ok(actor)
}

fn wrong_password(world: &World) -> Reply {
    fail(world, 401, "invalid username, password or token")
}

/// Refuses accounts that may not act.
pub(crate) fn check_account(user: &User) -> Result<(), Reply> {
    if user.prohibit_login || !user.active {
        let text = "This account is prohibited from signing in, please contact your site administrator.";
        return Err(Reply::bare(403, text));
    }
    if user.must_change_password {
        return Err(Reply::bare(403, "You must change your password. Change it at: /user/change_password"));
    }
    Ok(())
}

fn by_token(world: &mut World, secret: &str) -> Option<Actor> {
    let now = world.now();
    let token = world.tokens.iter_mut().find(|t| !secret.is_empty() && t.secret == secret)?;
    token.used = now;
    let scopes = if token.oauth { Scopes::Unlimited } else { Scopes::Token(token.scopes.clone()) };
    Some(Actor { user: Some(token.user), scopes, by_password: false, in_query: false })
}

/// Checks a real password. Bots have none.
pub(crate) fn by_password(world: &mut World, login: &str, password: &str) -> Option<Actor> {
    let now = world.now();
    let user = world.user_by_name(login)?;
    if user.is_org || user.password.as_deref() != Some(password) {
        return None;
    }
    let id = user.id;
    if let Some(user) = world.users.get_mut(&id) {
        user.last_login = now;
    }
    Some(Actor::in_person(id))
}

/// Applies the `Sudo` header or query parameter.
pub(crate) fn sudo(
    world: &World,
    mut actor: Actor,
    headers: &HeaderMap,
    query: &[(String, String)],
) -> Result<Actor, Reply> {
    let asked = query.iter().find(|(k, _)| k == "sudo").map(|(_, v)| v.clone());
    let asked = asked.or_else(|| headers.get("sudo").and_then(|v| v.to_str().ok()).map(str::to_owned));
    let Some(login) = asked.filter(|l| !l.is_empty()) else { return Ok(actor) };
    let admin = actor.user.and_then(|id| world.users.get(&id)).is_some_and(|u| u.admin);
    if !admin {
        return Err(Reply::bare(403, "Only administrators allowed to sudo."));
    }
    let Some(user) = world.user_by_name(&login) else { return Err(crate::reply::not_found(world)) };
    actor.user = Some(user.id);
    Ok(actor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(scopes: &[&str]) -> Vec<String> {
        scopes.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn write_implies_read_but_not_another_category() {
        assert!(covers(&list(&["write:issue"]), Category::Issue, false));
        assert!(!covers(&list(&["read:issue"]), Category::Issue, true));
        assert!(!covers(&list(&["write:repository"]), Category::Issue, false));
        assert!(covers(&list(&["all"]), Category::Admin, true));
        assert!(!covers(&list(&["public-only"]), Category::User, false));
    }

    #[test]
    fn comments_of_pull_requests_are_issue_calls() {
        assert_eq!(categories(&["repos", "o", "r", "issues", "1", "comments"]), [Category::Issue]);
        assert_eq!(categories(&["repos", "o", "r", "pulls", "1"]), [Category::Repository]);
        assert_eq!(categories(&["user", "repos"]), [Category::User, Category::Repository]);
        assert_eq!(categories(&["version"]), []);
    }

    #[test]
    fn scope_names() {
        for (text, good) in
            [("read:user", true), ("all", true), ("repo", false), ("admin:user", false), ("write:", false)]
        {
            assert_eq!(is_scope(text), good, "{text}");
        }
    }
}
