//! Accounts as their owners and others see them, and their tokens.

use std::collections::BTreeSet;

use serde_json::json;

use crate::api::{Cx, hooks, repos, teams, unknown};
use crate::auth::is_scope;
use crate::perm::{Mode, user_visible};
use crate::render::{View, org, repo_for, token, user};
use crate::reply::{Answer, Reply};
use crate::world::{HookTarget, Id, Repo, Token, User, Visibility, World};

/// What an account needs at least.
pub(crate) struct NewUser {
    pub login: String,
    pub email: String,
    /// Bots have none.
    pub password: Option<String>,
    pub admin: bool,
}

/// Adds an account and returns its number.
pub(crate) fn create_user(world: &mut World, new: NewUser) -> Id {
    let id = world.next("user");
    let now = world.now();
    let account = User {
        id,
        login: new.login,
        is_org: false,
        full_name: String::new(),
        email: new.email,
        hide_email: false,
        password: new.password,
        admin: new.admin,
        restricted: false,
        active: true,
        prohibit_login: false,
        must_change_password: false,
        visibility: Visibility::Public,
        created: now,
        last_login: 0,
        description: String::new(),
        website: String::new(),
        location: String::new(),
        blocked: BTreeSet::new(),
    };
    world.users.insert(id, account);
    id
}

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, path: &[&str]) -> Answer {
    match (method, path) {
        ("GET", ["user"]) => {
            let me = cx.signed_in()?;
            Ok(Reply::json(200, user(cx.w, me, View::As(me))))
        }
        ("GET", ["user", "orgs"]) => {
            let me = cx.signed_in()?;
            Ok(orgs_of(cx, me))
        }
        ("GET", ["user", "teams"]) => {
            let me = cx.signed_in()?;
            let mine: Vec<Id> = cx.w.teams.values().filter(|t| t.members.contains(&me)).map(|t| t.id).collect();
            Ok(cx.paged(&mine, true, |id| teams::json(cx, *id, true)))
        }
        ("GET", ["user", "repos"]) => {
            let me = cx.signed_in()?;
            let mine: Vec<Repo> =
                cx.w.repos
                    .values()
                    .filter(|r| r.owner == me || r.collaborators.contains_key(&me) || repos::by_team(cx.w, r, me))
                    .cloned()
                    .collect();
            Ok(cx.paged(&mine, true, |r| repo_for(cx.w, r, Some(me))))
        }
        ("POST", ["user", "repos"]) => {
            let me = cx.signed_in()?;
            repos::create(cx, me)
        }
        (_, ["user", "hooks", rest @ ..]) => {
            let me = cx.signed_in()?;
            hooks::route(cx, method, HookTarget::User(me), rest)
        }
        ("GET", ["users", login]) => {
            let found = cx.visible_user(login)?;
            Ok(Reply::json(200, user(cx.w, found.id, View::of(cx.me()))))
        }
        ("GET", ["users", login, "orgs"]) => {
            let found = cx.visible_user(login)?;
            Ok(orgs_of(cx, found.id))
        }
        ("GET", ["users", login, "orgs", name, "permissions"]) => org_permissions(cx, login, name),
        ("GET", ["users", login, "repos"]) => {
            let owner = cx.visible_user(login)?;
            let me = cx.me();
            let shown: Vec<Repo> = repos::visible(cx.w, me).filter(|r| r.owner == owner.id).cloned().collect();
            Ok(cx.paged(&shown, true, |r| repo_for(cx.w, r, me)))
        }
        (_, ["users", login, "tokens", rest @ ..]) => tokens(cx, method, login, rest),
        _ => Err(unknown(cx, method)),
    }
}

fn orgs_of(cx: &Cx<'_>, of: Id) -> Reply {
    let member = |u: &&User| u.is_org && cx.w.is_org_member(u.id, of) && user_visible(cx.w, u, cx.account());
    let all: Vec<User> = cx.w.users.values().filter(member).cloned().collect();
    cx.paged(&all, true, |o| org(cx.w, o))
}

/// The flat rights on an organisation: ordinary teams count for nothing on a current server.
fn org_permissions(cx: &Cx<'_>, login: &str, name: &str) -> Answer {
    let me = cx.signed_in()?;
    let subject = cx.visible_user(login)?;
    let found = cx.org(name)?;
    if me != subject.id && !cx.is_site_admin() && !cx.w.is_org_owner(found.id, me) {
        return Err(cx.fail(403, "must be the user, an owner of the organization, or a site admin"));
    }
    let teams = cx.w.teams.values().filter(|t| t.org == found.id && t.members.contains(&subject.id));
    let (mut best, mut create) = (Mode::None, false);
    for team in teams {
        best = best.max(crate::perm::team_flat(cx.w, team));
        create |= team.can_create || team.mode == Mode::Owner;
    }
    if subject.admin {
        best = Mode::Owner;
    }
    Ok(Reply::json(
        200,
        json!({
            "is_owner": best >= Mode::Owner,
            "is_admin": best >= Mode::Admin,
            "can_write": best >= Mode::Write,
            "can_read": best >= Mode::Read,
            "can_create_repository": create || best >= Mode::Owner,
        }),
    ))
}

fn tokens(cx: &mut Cx<'_>, method: &str, login: &str, rest: &[&str]) -> Answer {
    let me = cx.signed_in()?;
    if !cx.actor.by_password {
        return Err(cx.fail(401, "auth required"));
    }
    let owner = cx.visible_user(login)?;
    if owner.id != me && !cx.is_site_admin() {
        return Err(cx.fail(403, "Only the user or a site administrator may manage these tokens."));
    }
    match (method, rest) {
        ("GET", []) => {
            let all: Vec<Token> = cx.w.tokens.iter().filter(|t| t.user == owner.id && !t.oauth).cloned().collect();
            Ok(cx.paged(&all, true, |t| token(t, false)))
        }
        ("POST", []) => create_token(cx, owner.id),
        ("DELETE", [which]) => {
            let number: Option<Id> = which.parse().ok();
            let before = cx.w.tokens.len();
            cx.w.tokens.retain(|t| t.oauth || t.user != owner.id || (t.name != *which && Some(t.id) != number));
            if cx.w.tokens.len() == before { Err(cx.not_found()) } else { Ok(Reply::empty(204)) }
        }
        _ => Err(unknown(cx, method)),
    }
}

fn create_token(cx: &mut Cx<'_>, owner: Id) -> Answer {
    let name = cx.required("name", "Name")?;
    let scopes = cx.texts("scopes")?.unwrap_or_default();
    if cx.w.tokens.iter().any(|t| t.user == owner && !t.oauth && t.name == name) {
        return Err(cx.fail(400, "access token name has been used already"));
    }
    if let Some(bad) = scopes.iter().find(|s| !is_scope(s)) {
        return Err(cx.fail(400, format!("invalid access token scope provided: {bad}")));
    }
    if scopes.is_empty() {
        return Err(cx.fail(400, "access token must have a scope"));
    }
    let new = new_token(cx.w, owner, &name, scopes);
    Ok(Reply::json(201, token(&new, true)))
}

/// Adds a personal access token: 40 hex digits.
pub(crate) fn new_token(world: &mut World, user: Id, name: &str, scopes: Vec<String>) -> Token {
    let mut secret = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    secret.truncate(40);
    let (id, created) = (world.next("token"), world.now());
    let new = Token { id, user, name: name.to_owned(), secret, scopes, oauth: false, created, used: created };
    world.tokens.push(new.clone());
    new
}
