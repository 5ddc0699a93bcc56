//! Teams. The trap: on a current server an ordinary team reads back permission `none`, whatever it
//! was created with; its rights are in `units_map`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::api::orgs::need_owner;
use crate::api::{Cx, unknown};
use crate::perm::{Mode, Unit, repo_perm};
use crate::render::{View, repo_for, team, user};
use crate::reply::{Answer, Reply};
use crate::world::{Id, Repo, Team, User, World};

/// A team as JSON, `Null` for an unknown number.
pub(crate) fn json(cx: &Cx<'_>, id: Id, with_org: bool) -> Value {
    cx.w.teams.get(&id).map_or(Value::Null, |t| team(cx.w, t, with_org))
}

/// A team's mode and, for ordinary ones, its units.
type Rights = (Mode, BTreeMap<Unit, Mode>);

/// Mode and units a request asks for; `None` when it names no unit at all.
fn asked(cx: &Cx<'_>) -> Result<Option<Rights>, Reply> {
    let level = match cx.text("permission")?.as_deref() {
        None | Some("") => Mode::Read,
        Some(text @ ("read" | "write" | "admin")) => Mode::parse(text).unwrap_or(Mode::Read),
        Some(_) => return Err(cx.fail(422, "[Permission]: In")),
    };
    if level == Mode::Admin {
        return Ok(Some((Mode::Admin, BTreeMap::new())));
    }
    let mut units = BTreeMap::new();
    if let Some(Value::Object(map)) = cx.body.get("units_map") {
        for (key, value) in map {
            let mode = value.as_str().and_then(Mode::parse).unwrap_or(Mode::None);
            if let Some(unit) = Unit::parse(key) {
                units.insert(unit, mode.min(Mode::Admin));
            }
        }
    } else {
        for key in cx.texts("units")?.unwrap_or_default() {
            if let Some(unit) = Unit::parse(&key) {
                units.insert(unit, level);
            }
        }
    }
    Ok((!units.is_empty()).then_some((Mode::None, units)))
}

pub(crate) fn create(cx: &mut Cx<'_>, org: &User) -> Answer {
    let name = cx.required("name", "Name")?;
    let Some((mode, units)) = asked(cx)? else {
        return Err(cx.internal("units permission should not be empty"));
    };
    if cx.w.teams.values().any(|t| t.org == org.id && t.name.eq_ignore_ascii_case(&name)) {
        return Err(cx.fail(422, format!("team already exists [org_id: {}, name: {name}]", org.id)));
    }
    let new = Team {
        id: 0,
        org: org.id,
        name,
        description: cx.text("description")?.unwrap_or_default(),
        mode,
        units,
        all_repos: cx.flag("includes_all_repositories")?.unwrap_or(false),
        can_create: cx.flag("can_create_org_repo")?.unwrap_or(false),
        members: BTreeSet::new(),
        repos: BTreeSet::new(),
    };
    let id = add_team(cx.w, new);
    Ok(Reply::json(201, json(cx, id, true)))
}

/// Adds a team under the next number.
pub(crate) fn add_team(world: &mut World, mut new: Team) -> Id {
    new.id = world.next("team");
    let id = new.id;
    world.teams.insert(id, new);
    id
}

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, id: &str, path: &[&str]) -> Answer {
    let me = cx.signed_in()?;
    let found = id.parse().ok().and_then(|n: Id| cx.w.teams.get(&n)).cloned();
    let Some(it) = found else { return Err(cx.not_found()) };
    let owner = cx.is_site_admin() || cx.w.is_org_owner(it.org, me);
    if !owner && !it.members.contains(&me) {
        // Members of the organisation outside the team are told so; others learn nothing.
        if cx.w.is_org_member(it.org, me) {
            return Err(cx.fail(403, "Must be a team member"));
        }
        return Err(cx.not_found());
    }
    if method != "GET" {
        need_owner(cx, it.org)?;
    }
    match (method, path) {
        ("GET", []) => Ok(Reply::json(200, team(cx.w, &it, true))),
        ("PATCH", []) => edit(cx, it),
        ("DELETE", []) => {
            if it.mode == Mode::Owner {
                return Err(cx.fail(422, "the Owners team cannot be deleted"));
            }
            cx.w.teams.remove(&it.id);
            Ok(Reply::empty(204))
        }
        ("GET", ["members"]) => {
            let all: Vec<Id> = it.members.iter().copied().collect();
            Ok(cx.paged(&all, true, |id| user(cx.w, *id, View::of(Some(me)))))
        }
        (_, ["members", login]) => member(cx, method, &it, login),
        ("GET", ["repos"]) => {
            let all: Vec<Repo> =
                cx.w.repos
                    .values()
                    .filter(|r| r.owner == it.org && (it.all_repos || it.repos.contains(&r.id)))
                    .cloned()
                    .collect();
            Ok(cx.paged(&all, true, |r| repo_for(cx.w, r, Some(me))))
        }
        (_, ["repos", owner, name]) => repo(cx, method, &it, owner, name),
        _ => Err(unknown(cx, method)),
    }
}

fn edit(cx: &mut Cx<'_>, mut it: Team) -> Answer {
    it.name = cx.required("name", "Name")?;
    it.description = cx.text("description")?.unwrap_or(it.description);
    if it.mode != Mode::Owner
        && let Some((mode, units)) = asked(cx)?
    {
        (it.mode, it.units) = (mode, units);
    }
    it.all_repos = cx.flag("includes_all_repositories")?.unwrap_or(it.all_repos);
    it.can_create = cx.flag("can_create_org_repo")?.unwrap_or(it.can_create);
    let id = it.id;
    cx.w.teams.insert(id, it);
    Ok(Reply::json(200, json(cx, id, true)))
}

fn member(cx: &mut Cx<'_>, method: &str, it: &Team, login: &str) -> Answer {
    let Some(subject) = cx.any_user(login) else { return Err(cx.not_found()) };
    match method {
        "GET" if it.members.contains(&subject.id) => Ok(Reply::json(200, user(cx.w, subject.id, View::of(cx.me())))),
        "GET" => Err(cx.not_found()),
        "PUT" | "DELETE" => {
            if method == "DELETE" && it.mode == Mode::Owner && it.members.len() == 1 {
                return Err(cx.internal("user is the last member of the Owners team"));
            }
            if let Some(team) = cx.w.teams.get_mut(&it.id) {
                if method == "PUT" {
                    team.members.insert(subject.id);
                } else {
                    team.members.remove(&subject.id);
                }
            }
            Ok(Reply::empty(204))
        }
        _ => Err(unknown(cx, method)),
    }
}

fn repo(cx: &mut Cx<'_>, method: &str, it: &Team, owner: &str, name: &str) -> Answer {
    let found = cx.w.repo_by_name(owner, name).filter(|r| r.owner == it.org).cloned();
    let Some(found) = found else { return Err(cx.not_found()) };
    let has = it.all_repos || it.repos.contains(&found.id);
    match method {
        "GET" if has => Ok(Reply::json(200, repo_for(cx.w, &found, cx.me()))),
        "GET" => Err(cx.not_found()),
        "PUT" | "DELETE" => {
            if !repo_perm(cx.w, &found, cx.me()).is_admin() {
                return Err(cx.fail(403, "Must have admin-level access to the repository"));
            }
            if let Some(team) = cx.w.teams.get_mut(&it.id) {
                if method == "PUT" {
                    team.repos.insert(found.id);
                } else {
                    team.repos.remove(&found.id);
                }
            }
            Ok(Reply::empty(204))
        }
        _ => Err(unknown(cx, method)),
    }
}
