//! Site administration: accounts.

use crate::api::users::{NewUser, create_user};
use crate::api::{Cx, unknown};
use crate::render::{View, user};
use crate::reply::{Answer, Reply};
use crate::world::Visibility;

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, path: &[&str]) -> Answer {
    cx.signed_in()?;
    if !cx.is_site_admin() {
        return Err(cx.fail(403, "user should be the site admin"));
    }
    match (method, path) {
        ("GET", ["users"]) => {
            let all: Vec<i64> = cx.w.users.values().filter(|u| !u.is_org).map(|u| u.id).collect();
            Ok(cx.paged(&all, true, |id| user(cx.w, *id, View::of(cx.me()))))
        }
        ("POST", ["users"]) => create(cx),
        ("PATCH", ["users", login]) => edit(cx, login),
        ("DELETE", ["users", login]) => delete(cx, login),
        _ => Err(unknown(cx, method)),
    }
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let login = cx.required("username", "Username")?;
    let email = cx.required("email", "Email")?;
    let must_change = cx.flag("must_change_password")?.unwrap_or(true);
    let Some(password) = cx.text("password")?.filter(|p| p.len() >= 8) else {
        return Err(cx.fail(400, "PasswordTooShort"));
    };
    if cx.w.user_by_name(&login).is_some() {
        return Err(cx.fail(422, format!("user already exists [name: {login}]")));
    }
    if cx.w.users.values().any(|u| u.email.eq_ignore_ascii_case(&email)) {
        return Err(cx.fail(422, format!("e-mail already in use [email: {email}]")));
    }
    if !valid_name(&login) {
        return Err(cx.fail(
            422,
            format!("name is invalid [{login}]: must be valid alpha or numeric or dash(-_) or dot characters"),
        ));
    }
    let visibility = Visibility::parse(&cx.text("visibility")?.unwrap_or_default());
    let Some(visibility) = visibility else { return Err(cx.fail(422, "[Visibility]: In")) };
    let id = create_user(cx.w, NewUser { login, email, password: Some(password), admin: false });
    let (full_name, restricted) = (cx.text("full_name")?, cx.flag("restricted")?);
    if let Some(new) = cx.w.users.get_mut(&id) {
        new.visibility = visibility;
        new.must_change_password = must_change;
        new.full_name = full_name.unwrap_or_default();
        new.restricted = restricted.unwrap_or(false);
    }
    Ok(Reply::json(201, user(cx.w, id, View::of(cx.me()))))
}

/// Names the server accepts for accounts and repositories.
pub(crate) fn valid_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 40 && name.chars().all(plain) && edge(name.chars().next()) && edge(name.chars().last())
}

fn edit(cx: &mut Cx<'_>, login: &str) -> Answer {
    let Some(mut account) = cx.any_user(login) else { return Err(cx.not_found()) };
    // The login source is part of every edit; forgetting it is a common mistake.
    if cx.text("login_name")?.is_none() {
        return Err(cx.fail(422, "[LoginName]: Required"));
    }
    if cx.body.get("source_id").is_none() {
        return Err(cx.fail(422, "[SourceID]: Required"));
    }
    if let Some(password) = cx.text("password")?.filter(|p| !p.is_empty()) {
        account.password = Some(password);
    }
    let Some(visibility) = Visibility::parse(&cx.text("visibility")?.unwrap_or_default()) else {
        return Err(cx.fail(422, "[Visibility]: In"));
    };
    if cx.text("visibility")?.is_some() {
        account.visibility = visibility;
    }
    account.email = cx.text("email")?.filter(|e| !e.is_empty()).unwrap_or(account.email);
    account.full_name = cx.text("full_name")?.unwrap_or(account.full_name);
    account.admin = cx.flag("admin")?.unwrap_or(account.admin);
    account.active = cx.flag("active")?.unwrap_or(account.active);
    account.prohibit_login = cx.flag("prohibit_login")?.unwrap_or(account.prohibit_login);
    account.restricted = cx.flag("restricted")?.unwrap_or(account.restricted);
    account.must_change_password = cx.flag("must_change_password")?.unwrap_or(account.must_change_password);
    let id = account.id;
    cx.w.users.insert(id, account);
    Ok(Reply::json(200, user(cx.w, id, View::of(cx.me()))))
}

/// Deletes an account. What he wrote stays and is by `Ghost` from now on.
fn delete(cx: &mut Cx<'_>, login: &str) -> Answer {
    let Some(account) = cx.any_user(login) else { return Err(cx.not_found()) };
    let id = account.id;
    if cx.me() == Some(id) {
        return Err(cx.fail(422, "you cannot delete yourself"));
    }
    if cx.w.repos.values().any(|r| r.owner == id) {
        return Err(cx.fail(422, format!("user still has ownership of repositories [uid: {id}]")));
    }
    if cx.w.teams.values().any(|t| t.members.contains(&id)) {
        return Err(cx.fail(422, format!("user still has membership of organizations [uid: {id}]")));
    }
    for repo in cx.w.repos.values_mut() {
        repo.collaborators.remove(&id);
    }
    cx.w.tokens.retain(|t| t.user != id);
    cx.w.users.remove(&id);
    Ok(Reply::empty(204))
}
