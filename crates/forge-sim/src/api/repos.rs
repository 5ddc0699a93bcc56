//! Repositories: create, read, change, fork, migrate, delete.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::api::admin::valid_name;
use crate::api::{At, Cx, teams, unknown};
use crate::git::{self, Change};
use crate::payload;
use crate::perm::{Mode, repo_perm};
use crate::refs::{RefUpdate, moved};
use crate::render::repo_for;
use crate::reply::{Answer, Reply};
use crate::webhook::is_local;
use crate::world::{Id, Repo, World, remove_dir};

/// All repositories this user sees.
pub(crate) fn visible(world: &World, viewer: Option<Id>) -> impl Iterator<Item = &Repo> {
    world.repos.values().filter(move |r| repo_perm(world, r, viewer).any())
}

/// Whether a user has a repository through a team.
pub(crate) fn by_team(world: &World, repo: &Repo, user: Id) -> bool {
    let has = |t: &crate::world::Team| t.all_repos || t.repos.contains(&repo.id);
    world.teams.values().any(|t| t.org == repo.owner && t.members.contains(&user) && has(t))
}

/// A repository row with Gitea's defaults. The number is given when it is added.
pub(crate) fn blank(owner: Id, name: &str, now: i64) -> Repo {
    let styles = ["merge", "rebase", "rebase-merge", "squash", "fast-forward-only"];
    Repo {
        id: 0,
        owner,
        name: name.to_owned(),
        description: String::new(),
        website: String::new(),
        private: false,
        template: false,
        archived: false,
        archived_at: 0,
        fork_of: None,
        mirror: None,
        original_url: String::new(),
        default_branch: "main".to_owned(),
        has_issues: true,
        has_pulls: true,
        has_wiki: true,
        created: now,
        updated: now,
        next_index: 1,
        collaborators: BTreeMap::new(),
        protections: Vec::new(),
        labels: Vec::new(),
        releases: Vec::new(),
        merge_styles: styles.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(),
    }
}

/// Adds a row and makes its empty bare repository.
///
/// # Errors
/// When git cannot create it.
pub(crate) fn add(world: &mut World, mut new: Repo) -> Result<Repo, git::GitError> {
    new.id = world.next("repo");
    git::init(&world.git_dir(new.id), &new.default_branch, &world.hooks_dir())?;
    world.repos.insert(new.id, new.clone());
    Ok(new)
}

/// `POST /user/repos` and `POST /orgs/{org}/repos`.
pub(crate) fn create(cx: &mut Cx<'_>, owner: Id) -> Answer {
    let me = cx.signed_in()?;
    let name = cx.required("name", "Name")?;
    if !valid_name(&name) {
        return Err(cx.fail(422, "[Name]: AlphaDashDot"));
    }
    taken(cx, owner, &name)?;
    let mut new = blank(owner, &name, cx.w.now());
    new.description = cx.text("description")?.unwrap_or_default();
    new.private = cx.flag("private")?.unwrap_or(false);
    new.template = cx.flag("template")?.unwrap_or(false);
    if let Some(branch) = cx.text("default_branch")?.filter(|b| !b.is_empty()) {
        new.default_branch = branch;
    }
    let init = cx.flag("auto_init")?.unwrap_or(false);
    let new = add(cx.w, new).map_err(|e| cx.internal(&e.to_string()))?;
    if init {
        let readme = format!("# {name}\n").into_bytes();
        let change = Change { path: "README.md".to_owned(), content: Some(readme) };
        let sign = crate::api::contents::signature(cx.w, me);
        let dir = cx.w.git_dir(new.id);
        let made = git::commit_changes(&dir, None, &[change], "Initial commit\n", &sign);
        let made =
            made.and_then(|sha| git::update_ref(&dir, &format!("refs/heads/{}", new.default_branch), Some(&sha)));
        made.map_err(|e| cx.internal(&e.to_string()))?;
    }
    payload::repository(cx.w, &new, "created", me);
    Ok(Reply::json(201, repo_for(cx.w, &new, Some(me))))
}

fn taken(cx: &Cx<'_>, owner: Id, name: &str) -> Result<(), Reply> {
    if cx.w.repos.values().any(|r| r.owner == owner && r.name.eq_ignore_ascii_case(name)) {
        return Err(cx.fail(409, "The repository with the same name already exists."));
    }
    Ok(())
}

pub(crate) fn by_id(cx: &mut Cx<'_>, id: &str) -> Answer {
    let found = id.parse().ok().and_then(|n: Id| cx.w.repos.get(&n)).cloned();
    let Some(found) = found else { return Err(cx.not_found()) };
    let at = cx.at(found)?;
    Ok(Reply::json(200, repo_for(cx.w, &at.repo, cx.me())))
}

pub(crate) fn search(cx: &mut Cx<'_>) -> Answer {
    let (me, wanted) = (cx.me(), cx.arg("q").unwrap_or_default().to_lowercase());
    let uid: Option<Id> = cx.arg("uid").and_then(|v| v.parse().ok());
    let hit = |r: &&Repo| r.name.to_lowercase().contains(&wanted) && uid.is_none_or(|u| u == 0 || u == r.owner);
    let all: Vec<Repo> = visible(cx.w, me).filter(hit).cloned().collect();
    let mut reply = cx.paged(&all, true, |r| repo_for(cx.w, r, me));
    if let crate::reply::Content::Json(list) = reply.content {
        reply.content = crate::reply::Content::Json(json!({ "ok": true, "data": list }));
    }
    Ok(reply)
}

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    match (method, path) {
        ("GET", []) => Ok(Reply::json(200, repo_for(cx.w, &at.repo, cx.me()))),
        ("PATCH", []) => edit(cx, at),
        ("DELETE", []) => {
            let me = cx.signed_in()?;
            if at.perm.flat < Mode::Owner {
                return Err(cx.fail(403, "user should be the owner of the repo"));
            }
            delete(cx.w, &at.repo, me);
            Ok(Reply::empty(204))
        }
        ("GET", ["forks"]) => {
            let me = cx.me();
            let all: Vec<Repo> = visible(cx.w, me).filter(|r| r.fork_of == Some(at.repo.id)).cloned().collect();
            Ok(cx.paged(&all, true, |r| repo_for(cx.w, r, me)))
        }
        ("POST", ["forks"]) => fork(cx, at),
        ("POST", ["mirror-sync"]) => mirror_sync(cx, at),
        ("GET", ["teams", ..]) | ("PUT" | "DELETE", ["teams", _]) => repo_teams(cx, method, at, &path[1..]),
        ("GET", ["topics"]) => Ok(Reply::json(200, json!({ "topics": [] }))),
        ("GET", ["languages"]) => Ok(Reply::json(200, json!({}))),
        _ => Err(unknown(cx, method)),
    }
}

fn edit(cx: &mut Cx<'_>, at: &At) -> Answer {
    cx.need_admin(at)?;
    let mut it = at.repo.clone();
    if it.archived && cx.flag("archived")? != Some(false) {
        cx.not_archived(at)?;
    }
    if let Some(name) = cx.text("name")?.filter(|n| !n.is_empty() && *n != it.name) {
        if !valid_name(&name) {
            return Err(cx.fail(422, "[Name]: AlphaDashDot"));
        }
        taken(cx, it.owner, &name)?;
        let old = cx.w.full_name(&it).to_lowercase();
        cx.w.renamed.insert(old, it.id);
        it.name = name;
    }
    it.description = cx.text("description")?.unwrap_or(it.description);
    it.website = cx.text("website")?.unwrap_or(it.website);
    it.private = cx.flag("private")?.unwrap_or(it.private);
    it.template = cx.flag("template")?.unwrap_or(it.template);
    it.has_issues = cx.flag("has_issues")?.unwrap_or(it.has_issues);
    it.has_pulls = cx.flag("has_pull_requests")?.unwrap_or(it.has_pulls);
    it.has_wiki = cx.flag("has_wiki")?.unwrap_or(it.has_wiki);
    for (key, style) in [
        ("allow_merge_commits", "merge"),
        ("allow_rebase", "rebase"),
        ("allow_rebase_explicit", "rebase-merge"),
        ("allow_squash_merge", "squash"),
        ("allow_fast_forward_only_merge", "fast-forward-only"),
        ("allow_manual_merge", "manually-merged"),
    ] {
        match cx.flag(key)? {
            Some(true) => drop(it.merge_styles.insert(style.to_owned())),
            Some(false) => drop(it.merge_styles.remove(style)),
            None => {}
        }
    }
    if let Some(branch) = cx.text("default_branch")?.filter(|b| !b.is_empty()) {
        let dir = cx.w.git_dir(it.id);
        if git::branch_sha(&dir, &branch).is_some() {
            let head = format!("refs/heads/{branch}");
            git::run(&dir, &["symbolic-ref", "HEAD", &head]).map_err(|e| cx.internal(&e.to_string()))?;
            it.default_branch = branch;
        }
    }
    if let Some(archived) = cx.flag("archived")? {
        it.archived = archived;
        it.archived_at = if archived { cx.w.now() } else { 0 };
    }
    it.updated = cx.w.now();
    let id = it.id;
    cx.w.repos.insert(id, it.clone());
    Ok(Reply::json(200, repo_for(cx.w, &it, cx.me())))
}

/// Deletes a repository. Pull requests from it to others are closed and lose their head repository.
pub(crate) fn delete(world: &mut World, it: &Repo, doer: Id) {
    let id = it.id;
    let from_here = |i: &&crate::world::Issue| i.repo != id && i.pull.as_ref().is_some_and(|p| p.head_repo == Some(id));
    let elsewhere: Vec<Id> = world.issues.values().filter(from_here).map(|i| i.id).collect();
    for issue in elsewhere {
        crate::refs::set_closed(world, issue, true, doer);
    }
    payload::repository(world, it, "deleted", doer);
    let issues: BTreeSet<Id> = world.issues.values().filter(|i| i.repo == id).map(|i| i.id).collect();
    world.comments.retain(|_, c| !issues.contains(&c.issue));
    world.issues.retain(|_, i| i.repo != id);
    world.statuses.retain(|s| s.repo != id);
    world.hooks.retain(|_, h| h.target != crate::world::HookTarget::Repo(id));
    for issue in world.issues.values_mut() {
        if let Some(pull) = issue.pull.as_mut().filter(|p| p.head_repo == Some(id)) {
            pull.head_repo = None;
        }
    }
    for team in world.teams.values_mut() {
        team.repos.remove(&id);
    }
    for fork in world.repos.values_mut().filter(|r| r.fork_of == Some(id)) {
        fork.fork_of = None;
    }
    world.renamed.retain(|_, to| *to != id);
    world.repos.remove(&id);
    // Left-over files hurt nobody: numbers are never given out twice.
    drop(remove_dir(&world.git_dir(id)));
}

fn fork(cx: &mut Cx<'_>, at: &At) -> Answer {
    let me = cx.signed_in()?;
    let owner = match cx.text("organization")?.filter(|o| !o.is_empty()) {
        None => me,
        Some(name) => {
            let org = cx.org(&name).map_err(|_| cx.fail(422, format!("organization does not exist [{name}]")))?;
            let may = cx.is_site_admin()
                || cx
                    .w
                    .teams
                    .values()
                    .any(|t| t.org == org.id && t.members.contains(&me) && (t.can_create || t.mode == Mode::Owner));
            if !may {
                return Err(cx.fail(403, "User is not an owner of this organization."));
            }
            org.id
        }
    };
    if crate::perm::is_blocked(cx.w, at.repo.owner, me) {
        return Err(cx.fail(403, "user is blocked by the repository owner"));
    }
    let name = cx.text("name")?.filter(|n| !n.is_empty()).unwrap_or_else(|| at.repo.name.clone());
    let again = cx.w.repos.values().any(|r| r.owner == owner && r.fork_of == Some(at.repo.id));
    if again || owner == at.repo.owner {
        return Err(cx.fail(409, "repository is already forked by user"));
    }
    taken(cx, owner, &name)?;
    let made = make_fork(cx.w, &at.repo, owner, &name, me).map_err(|e| cx.internal(&e.to_string()))?;
    Ok(Reply::json(202, repo_for(cx.w, &made, Some(me))))
}

/// Copies a repository with branches and tags for another owner.
pub(crate) fn make_fork(world: &mut World, of: &Repo, owner: Id, name: &str, doer: Id) -> Result<Repo, git::GitError> {
    let mut new = blank(owner, name, world.now());
    new.fork_of = Some(of.id);
    new.private = of.private;
    new.description.clone_from(&of.description);
    new.default_branch.clone_from(&of.default_branch);
    new.has_issues = false;
    new.has_wiki = false;
    let source = world.git_dir(of.id).to_string_lossy().into_owned();
    let new = add(world, new)?;
    git::fetch_all(&world.git_dir(new.id), &source)?;
    payload::fork(world, of, &new, doer);
    Ok(new)
}

/// A plain clone of a remote repository, done when the answer comes.
pub(crate) fn migrate(cx: &mut Cx<'_>) -> Answer {
    let me = cx.signed_in()?;
    let (addr, name) = (cx.required("clone_addr", "CloneAddr")?, cx.required("repo_name", "RepoName")?);
    let owner = match cx.text("repo_owner")?.filter(|o| !o.is_empty()) {
        None => me,
        Some(login) => cx.visible_user(&login).map_err(|_| cx.fail(422, "repo_owner does not exist"))?.id,
    };
    if owner != me && !cx.is_site_admin() && !cx.w.is_org_owner(owner, me) {
        return Err(cx.fail(403, "Given user is not an owner of organization."));
    }
    taken(cx, owner, &name)?;
    let http = addr.starts_with("http://") || addr.starts_with("https://") || addr.starts_with("git://");
    if !http || (is_local(&addr) && !cx.w.switches.local_migrations) {
        return Err(cx.fail(422, "You can not import from disallowed hosts."));
    }
    let mut source = url::Url::parse(&addr).map_err(|e| cx.fail(422, format!("Invalid clone address: {e}")))?;
    let secret = match cx.text("auth_token")?.filter(|t| !t.is_empty()) {
        Some(token) => Some(("oauth2".to_owned(), token)),
        None => cx.text("auth_username")?.filter(|u| !u.is_empty()).zip(cx.text("auth_password")?),
    };
    if let Some((user, password)) = secret {
        let set = source.set_username(&user).and_then(|()| source.set_password(Some(&password)));
        set.map_err(|()| cx.fail(422, "Invalid clone address"))?;
    }
    let mut new = blank(owner, &name, cx.w.now());
    new.private = cx.flag("private")?.unwrap_or(false);
    new.description = cx.text("description")?.unwrap_or_default();
    new.original_url.clone_from(&addr);
    new.mirror = cx.flag("mirror")?.unwrap_or(false).then(|| source.to_string());
    clone_into(cx, new, source.as_str())
}

/// Where git reads a remote address from. Our own addresses are read from disk: asking ourselves
/// over HTTP would wait for the lock this request holds.
fn readable_source(cx: &Cx<'_>, source: &str) -> Result<String, Reply> {
    let (Ok(wanted), Ok(own)) = (url::Url::parse(source), url::Url::parse(&cx.w.root_url)) else {
        return Ok(source.to_owned());
    };
    if wanted.origin() != own.origin() {
        return Ok(source.to_owned());
    }
    let path = wanted.path().trim_matches('/').trim_end_matches(".git").to_owned();
    let found = path.split_once('/').and_then(|(owner, name)| cx.w.repo_by_name(owner, name));
    let found = found.filter(|r| repo_perm(cx.w, r, cx.me()).can_read(crate::perm::Unit::Code));
    match found {
        Some(repo) => Ok(cx.w.git_dir(repo.id).to_string_lossy().into_owned()),
        None => Err(cx.fail(422, "Migration failed: fatal: Authentication failed.")),
    }
}

fn clone_into(cx: &mut Cx<'_>, new: Repo, source: &str) -> Answer {
    let source = &readable_source(cx, source)?;
    let new = add(cx.w, new).map_err(|e| cx.internal(&e.to_string()))?;
    let dir = cx.w.git_dir(new.id);
    if let Err(error) = git::fetch_all(&dir, source) {
        cx.w.repos.remove(&new.id);
        drop(remove_dir(&dir));
        return Err(cx.fail(422, format!("Migration failed: {}.", error.message)));
    }
    let head = git::remote_head(&dir, source).unwrap_or_else(|| new.default_branch.clone());
    git::run(&dir, &["symbolic-ref", "HEAD", &format!("refs/heads/{head}")])
        .map_err(|e| cx.internal(&e.to_string()))?;
    if let Some(it) = cx.w.repos.get_mut(&new.id) {
        it.default_branch = head;
    }
    let Some(it) = cx.w.repos.get(&new.id).cloned() else { return Err(cx.not_found()) };
    if let Some(me) = cx.me() {
        payload::repository(cx.w, &it, "created", me);
    }
    Ok(Reply::json(201, repo_for(cx.w, &it, cx.me())))
}

fn mirror_sync(cx: &mut Cx<'_>, at: &At) -> Answer {
    let me = cx.need_push(at)?;
    let Some(source) = at.repo.mirror.clone() else { return Err(cx.fail(400, "Repository is not a mirror")) };
    let source = readable_source(cx, &source)?;
    let dir = cx.w.git_dir(at.repo.id);
    let before: BTreeMap<String, String> = git::refs(&dir, "refs/").into_iter().collect();
    if git::fetch_all(&dir, &source).is_ok() {
        let after: BTreeMap<String, String> = git::refs(&dir, "refs/").into_iter().collect();
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let updates: Vec<RefUpdate> = names
            .into_iter()
            .map(|n| RefUpdate { name: n.clone(), old: before.get(n).cloned(), new: after.get(n).cloned() })
            .collect();
        moved(cx.w, at.repo.id, me, &updates);
    }
    Ok(Reply::empty(200))
}

/// Teams that have this repository; 405 when the owner is no organisation.
fn repo_teams(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    if !cx.w.users.get(&at.repo.owner).is_some_and(|o| o.is_org) {
        return Err(cx.fail(405, "repo is not owned by an organization"));
    }
    cx.signed_in()?;
    let of_org: Vec<(Id, String, bool)> =
        cx.w.teams
            .values()
            .filter(|t| t.org == at.repo.owner)
            .map(|t| (t.id, t.name.clone(), t.all_repos || t.repos.contains(&at.repo.id)))
            .collect();
    let [name] = path else {
        let all: Vec<Value> = of_org.iter().filter(|t| t.2).map(|t| teams::json(cx, t.0, false)).collect();
        return Ok(Reply::json(200, Value::Array(all)));
    };
    let found = of_org.iter().find(|t| t.1.eq_ignore_ascii_case(name));
    match (method, found) {
        ("GET", Some((id, _, true))) => Ok(Reply::json(200, teams::json(cx, *id, false))),
        ("GET", _) | (_, None) => Err(cx.not_found()),
        (_, Some((id, _, has))) => {
            cx.need_admin(at)?;
            if *has == (method == "PUT") {
                return Err(cx.fail(422, "team already has, or never had, this repository"));
            }
            if let Some(team) = cx.w.teams.get_mut(id) {
                if method == "PUT" {
                    team.repos.insert(at.repo.id);
                } else {
                    team.repos.remove(&at.repo.id);
                }
            }
            Ok(Reply::empty(204))
        }
    }
}
