//! Collaborators and the permission question, with every trap of the real server.
//!
//! What is reported is the flat mode, which is sufficient but not necessary for the right to push.

use serde_json::json;

use crate::api::{At, Cx, unknown};
use crate::config::Flavour;
use crate::perm::{Mode, Unit, is_blocked, repo_perm};
use crate::render::{View, user};
use crate::reply::{Answer, Reply};
use crate::world::Id;

/// The refusal of the permission endpoint.
const ONLY_ADMINS: &str = "Only admins can query all permissions, repo admins can query all repo permissions, collaborators can query only their own";

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    match (method, path) {
        ("GET", ["collaborators"]) => {
            cx.signed_in()?;
            let all: Vec<Id> = at.repo.collaborators.keys().copied().collect();
            Ok(cx.paged(&all, false, |id| user(cx.w, *id, View::of(cx.me()))))
        }
        ("GET", ["collaborators", login]) => {
            cx.signed_in()?;
            let Some(found) = cx.any_user(login) else { return Err(cx.fail(422, user_missing(login))) };
            if at.repo.collaborators.contains_key(&found.id) { Ok(Reply::empty(204)) } else { Err(cx.not_found()) }
        }
        ("PUT", ["collaborators", login]) => put(cx, at, login),
        ("DELETE", ["collaborators", login]) => {
            cx.need_admin(at)?;
            let Some(found) = cx.any_user(login) else { return Err(cx.fail(422, user_missing(login))) };
            if let Some(repo) = cx.w.repos.get_mut(&at.repo.id) {
                repo.collaborators.remove(&found.id);
            }
            Ok(Reply::empty(204))
        }
        ("GET", ["collaborators", login, "permission"]) => permission(cx, at, login),
        ("GET", ["assignees" | "reviewers"]) => {
            cx.signed_in()?;
            let able = |id: &Id| {
                let perm = repo_perm(cx.w, &at.repo, Some(*id));
                Unit::ALL.into_iter().any(|u| perm.can_write(u))
            };
            let all: Vec<Id> = cx.w.users.values().filter(|u| !u.is_org).map(|u| u.id).filter(able).collect();
            Ok(cx.paged(&all, false, |id| user(cx.w, *id, View::of(cx.me()))))
        }
        _ => Err(unknown(cx, method)),
    }
}

fn user_missing(login: &str) -> String {
    format!("user does not exist [uid: 0, name: {login}]")
}

fn put(cx: &mut Cx<'_>, at: &At, login: &str) -> Answer {
    cx.need_admin(at)?;
    let Some(found) = cx.any_user(login) else { return Err(cx.fail(422, user_missing(login))) };
    let mode = match cx.text("permission")?.as_deref() {
        None | Some("") => Mode::Write,
        Some(text @ ("read" | "write" | "admin")) => Mode::parse(text).unwrap_or(Mode::Write),
        Some(_) if cx.w.flavour.is_current() => return Err(cx.internal("Invalid access mode")),
        Some(_) => return Err(cx.fail(422, "[Permission]: In")),
    };
    if !found.active {
        return Err(cx.internal("user is inactive"));
    }
    if is_blocked(cx.w, at.repo.owner, found.id) || is_blocked(cx.w, found.id, at.repo.owner) {
        return Err(cx.fail(403, "user is blocked by the repository owner"));
    }
    if let Some(repo) = cx.w.repos.get_mut(&at.repo.id) {
        repo.collaborators.insert(found.id, mode);
    }
    Ok(Reply::empty(204))
}

fn permission(cx: &Cx<'_>, at: &At, login: &str) -> Answer {
    let me = cx.signed_in()?;
    // Older servers compare with the login name of the account's source, which is empty for local
    // accounts: nobody is "himself" there.
    let himself = cx.w.flavour == Flavour::Gitea
        && cx.account().is_some_and(|u| u.id == me && u.login.eq_ignore_ascii_case(login));
    if !himself && !cx.is_site_admin() && !at.perm.is_admin() {
        return Err(cx.fail(403, ONLY_ADMINS));
    }
    let Some(found) = cx.any_user(login) else { return Err(cx.not_found()) };
    let flat = repo_perm(cx.w, &at.repo, Some(found.id)).flat.as_str();
    let shown = user(cx.w, found.id, View::As(at.repo.owner));
    Ok(Reply::json(200, json!({ "permission": flat, "role_name": flat, "user": shown })))
}
