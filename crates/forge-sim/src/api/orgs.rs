//! Organisations, their members, repositories, teams and hooks.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::admin::valid_name;
use crate::api::{Cx, hooks, repos, teams, unknown};
use crate::perm::{Mode, user_visible};
use crate::render::{View, org, repo_for, user};
use crate::reply::{Answer, Reply};
use crate::world::{HookTarget, Id, Repo, Team, User, Visibility, World};

/// Adds an organisation with its Owners team.
pub(crate) fn create_org(world: &mut World, name: &str, visibility: Visibility, owner: Id) -> Id {
    let id = world.next("user");
    let created = world.now();
    let account = User {
        id,
        login: name.to_owned(),
        is_org: true,
        full_name: String::new(),
        email: String::new(),
        hide_email: false,
        password: None,
        admin: false,
        restricted: false,
        active: false,
        prohibit_login: false,
        must_change_password: false,
        visibility,
        created,
        last_login: 0,
        description: String::new(),
        website: String::new(),
        location: String::new(),
        blocked: BTreeSet::new(),
    };
    world.users.insert(id, account);
    let team = world.next("team");
    let owners = Team {
        id: team,
        org: id,
        name: "Owners".to_owned(),
        description: String::new(),
        mode: Mode::Owner,
        units: BTreeMap::new(),
        all_repos: true,
        can_create: true,
        members: BTreeSet::from([owner]),
        repos: BTreeSet::new(),
    };
    world.teams.insert(team, owners);
    id
}

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, path: &[&str]) -> Answer {
    match (method, path) {
        ("GET", []) => {
            let seen = |u: &&User| u.is_org && user_visible(cx.w, u, cx.account());
            let all: Vec<User> = cx.w.users.values().filter(seen).cloned().collect();
            Ok(cx.paged(&all, true, |o| org(cx.w, o)))
        }
        ("POST", []) => create(cx),
        (_, [name, rest @ ..]) => {
            let found = cx.org(name)?;
            in_org(cx, method, &found, rest)
        }
        _ => Err(unknown(cx, method)),
    }
}

fn create(cx: &mut Cx<'_>) -> Answer {
    let me = cx.signed_in()?;
    let name = cx.required("username", "UserName")?;
    if !valid_name(&name) || cx.w.user_by_name(&name).is_some() {
        return Err(cx.fail(422, format!("user already exists [name: {name}]")));
    }
    let visibility = Visibility::parse(&cx.text("visibility")?.unwrap_or_default());
    let Some(visibility) = visibility else { return Err(cx.fail(422, "[Visibility]: In")) };
    let (full_name, description) = (cx.text("full_name")?, cx.text("description")?);
    let id = create_org(cx.w, &name, visibility, me);
    let Some(made) = cx.w.users.get_mut(&id) else { return Err(cx.internal("organization vanished")) };
    made.full_name = full_name.unwrap_or_default();
    made.description = description.unwrap_or_default();
    let made = made.clone();
    Ok(Reply::json(201, org(cx.w, &made)))
}

/// Site administrators and owners.
pub(crate) fn need_owner(cx: &Cx<'_>, of: Id) -> Result<Id, Reply> {
    let me = cx.signed_in()?;
    if cx.is_site_admin() || cx.w.is_org_owner(of, me) {
        Ok(me)
    } else {
        Err(cx.fail(403, "Must be an organization owner"))
    }
}

/// Site administrators and members of any team.
pub(crate) fn need_member(cx: &Cx<'_>, of: Id) -> Result<Id, Reply> {
    let me = cx.signed_in()?;
    if cx.is_site_admin() || cx.w.is_org_member(of, me) {
        Ok(me)
    } else {
        Err(cx.fail(403, "Must be an organization member"))
    }
}

fn in_org(cx: &mut Cx<'_>, method: &str, of: &User, path: &[&str]) -> Answer {
    let insider = cx.is_site_admin() || cx.me().is_some_and(|me| cx.w.is_org_member(of.id, me));
    match (method, path) {
        ("GET", []) => Ok(Reply::json(200, org(cx.w, of))),
        ("GET", ["members"]) => {
            // Strangers see public members only, and nobody has made himself public here.
            let all: BTreeSet<Id> =
                cx.w.teams
                    .values()
                    .filter(|t| insider && t.org == of.id)
                    .flat_map(|t| t.members.iter().copied())
                    .collect();
            let all: Vec<Id> = all.into_iter().collect();
            Ok(cx.paged(&all, true, |id| user(cx.w, *id, View::of(cx.me()))))
        }
        ("GET", ["members", login]) => {
            cx.signed_in()?;
            let subject = cx.visible_user(login)?;
            if !insider && cx.me() != Some(subject.id) {
                let to = format!("{}api/v1/orgs/{}/public_members/{login}", cx.w.root_url, of.login);
                return Ok(Reply::redirect(303, to));
            }
            if cx.w.is_org_member(of.id, subject.id) { Ok(Reply::empty(204)) } else { Err(cx.not_found()) }
        }
        ("GET", ["public_members", _]) => Err(cx.not_found()),
        ("DELETE", ["members", login]) => {
            need_owner(cx, of.id)?;
            let Some(subject) = cx.any_user(login) else { return Err(cx.not_found()) };
            for team in cx.w.teams.values_mut().filter(|t| t.org == of.id) {
                team.members.remove(&subject.id);
            }
            Ok(Reply::empty(204))
        }
        ("GET", ["repos"]) => {
            let me = cx.me();
            let shown: Vec<Repo> = repos::visible(cx.w, me).filter(|r| r.owner == of.id).cloned().collect();
            Ok(cx.paged(&shown, true, |r| repo_for(cx.w, r, me)))
        }
        ("POST", ["repos"]) => {
            let me = cx.signed_in()?;
            let may = cx.is_site_admin()
                || cx
                    .w
                    .teams
                    .values()
                    .any(|t| t.org == of.id && t.members.contains(&me) && (t.can_create || t.mode == Mode::Owner));
            if !may {
                return Err(cx.fail(403, "Given user is not allowed to create repository in organization."));
            }
            repos::create(cx, of.id)
        }
        ("GET", ["teams"]) => {
            need_member(cx, of.id)?;
            let mut all: Vec<&Team> = cx.w.teams.values().filter(|t| t.org == of.id).collect();
            all.sort_by_key(|t| t.name.to_lowercase());
            let all: Vec<Id> = all.into_iter().map(|t| t.id).collect();
            Ok(cx.paged(&all, true, |id| teams::json(cx, *id, false)))
        }
        ("GET", ["teams", "search"]) => {
            need_member(cx, of.id)?;
            let wanted = cx.arg("q").unwrap_or_default().to_lowercase();
            let hit = |t: &&Team| t.org == of.id && t.name.to_lowercase().contains(&wanted);
            let all: Vec<Id> = cx.w.teams.values().filter(hit).map(|t| t.id).collect();
            let mut reply = cx.paged(&all, true, |id| teams::json(cx, *id, false));
            if let crate::reply::Content::Json(list) = reply.content {
                reply.content = crate::reply::Content::Json(serde_json::json!({ "data": list, "ok": true }));
            }
            Ok(reply)
        }
        ("POST", ["teams"]) => {
            need_owner(cx, of.id)?;
            teams::create(cx, of)
        }
        (_, ["hooks", rest @ ..]) => {
            need_owner(cx, of.id)?;
            hooks::route(cx, method, HookTarget::Org(of.id), rest)
        }
        _ => Err(unknown(cx, method)),
    }
}
