//! Branches and the rules that protect them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::{At, Cx, unknown};
use crate::git;
use crate::perm::Unit;
use crate::refs::{RefUpdate, moved};
use crate::render_git::{branch, branch_protection, may_push, protection};
use crate::reply::{Answer, Reply};
use crate::world::Protection;

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    if !at.perm.can_read(Unit::Code) {
        return Err(cx.not_found());
    }
    match (method, path) {
        ("GET", ["branches"]) => {
            let all = git::branches(&cx.w.git_dir(at.repo.id));
            Ok(cx.paged(&all, true, |name| branch(cx.w, &at.repo, name, cx.me())))
        }
        ("POST", ["branches"]) => create(cx, at),
        ("GET", ["branches", name @ ..]) => match branch(cx.w, &at.repo, &name.join("/"), cx.me()) {
            Value::Null => Err(cx.not_found()),
            found => Ok(Reply::json(200, found)),
        },
        ("DELETE", ["branches", name @ ..]) => delete(cx, at, &name.join("/")),
        ("PATCH", ["branches", name @ ..]) => rename(cx, at, &name.join("/")),
        (_, ["branch_protections", rest @ ..]) => protections(cx, method, at, rest),
        _ => Err(unknown(cx, method)),
    }
}

fn not_mirror(cx: &Cx<'_>, at: &At) -> Result<(), Reply> {
    if at.repo.mirror.is_some() { Err(cx.fail(403, "Git Repository is a mirror.")) } else { Ok(()) }
}

fn create(cx: &mut Cx<'_>, at: &At) -> Answer {
    let me = cx.need_push(at)?;
    let name = cx.required("new_branch_name", "BranchName")?;
    cx.not_archived(at)?;
    not_mirror(cx, at)?;
    let dir = cx.w.git_dir(at.repo.id);
    if git::branches_empty(&dir) {
        return Err(cx.fail(404, "Git Repository is empty."));
    }
    let old_ref = cx.text("old_ref_name")?.filter(|r| !r.is_empty());
    let old_branch = cx.text("old_branch_name")?.filter(|b| !b.is_empty());
    let start = match (&old_ref, &old_branch) {
        (Some(name), _) => {
            git::resolve(&dir, name).ok_or_else(|| cx.internal(&format!("object does not exist [id: {name}]")))?
        }
        (None, Some(name)) => {
            git::branch_sha(&dir, name).ok_or_else(|| cx.fail(404, "The old branch does not exist"))?
        }
        (None, None) => git::branch_sha(&dir, &at.repo.default_branch)
            .ok_or_else(|| cx.fail(404, "The old branch does not exist"))?,
    };
    if !git::valid_branch(&dir, &name) {
        return Err(cx.fail(422, "[BranchName]: GitRefName"));
    }
    if git::branch_sha(&dir, &name).is_some() {
        return Err(cx.fail(409, "The branch already exists."));
    }
    if git::ref_sha(&dir, &format!("refs/tags/{name}")).is_some() {
        return Err(cx.fail(409, "The branch with the same tag already exists."));
    }
    if git::update_ref(&dir, &format!("refs/heads/{name}"), Some(&start)).is_err() {
        return Err(cx.fail(409, "The branch with the same name already exists."));
    }
    moved(cx.w, at.repo.id, me, &[RefUpdate::branch(&name, None, Some(start))]);
    Ok(Reply::json(201, branch(cx.w, &at.repo, &name, Some(me))))
}

fn delete(cx: &mut Cx<'_>, at: &At, name: &str) -> Answer {
    let me = cx.need_push(at)?;
    cx.not_archived(at)?;
    let dir = cx.w.git_dir(at.repo.id);
    let Some(old) = git::branch_sha(&dir, name) else { return Err(cx.not_found()) };
    not_mirror(cx, at)?;
    if name == at.repo.default_branch {
        return Err(cx.fail(403, "can not delete default or pull request target branch"));
    }
    if protection(&at.repo, name).is_some() {
        return Err(cx.fail(403, "branch protected"));
    }
    git::update_ref(&dir, &format!("refs/heads/{name}"), None).map_err(|e| cx.internal(&e.to_string()))?;
    moved(cx.w, at.repo.id, me, &[RefUpdate::branch(name, Some(old), None)]);
    Ok(Reply::empty(204))
}

/// Renames a branch; pull requests from and to it follow.
fn rename(cx: &mut Cx<'_>, at: &At, name: &str) -> Answer {
    cx.need_push(at)?;
    cx.not_archived(at)?;
    let new = cx.required("name", "Name")?;
    let dir = cx.w.git_dir(at.repo.id);
    let Some(sha) = git::branch_sha(&dir, name) else { return Err(cx.not_found()) };
    if !may_push(cx.w, &at.repo, name, cx.me()) {
        return Err(cx.fail(403, "User must be a repo or site admin to rename default or protected branches."));
    }
    if git::branch_sha(&dir, &new).is_some() || !git::valid_branch(&dir, &new) {
        return Err(
            cx.fail(422, "Cannot rename a branch using the same name or rename to a branch that already exists.")
        );
    }
    let set = git::update_ref(&dir, &format!("refs/heads/{new}"), Some(&sha));
    set.and_then(|()| git::update_ref(&dir, &format!("refs/heads/{name}"), None))
        .map_err(|e| cx.internal(&e.to_string()))?;
    let id = at.repo.id;
    if name == at.repo.default_branch
        && let Some(repo) = cx.w.repos.get_mut(&id)
    {
        repo.default_branch.clone_from(&new);
    }
    for issue in cx.w.issues.values_mut() {
        let base_here = issue.repo == id;
        let Some(pull) = issue.pull.as_mut() else { continue };
        if base_here && pull.base_branch == name {
            pull.base_branch.clone_from(&new);
        }
        if pull.head_repo == Some(id) && pull.head_branch == name {
            pull.head_branch.clone_from(&new);
        }
    }
    Ok(Reply::empty(204))
}

fn protections(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    cx.need_admin(at)?;
    match (method, path) {
        ("GET", []) => {
            let all: Vec<Value> = at.repo.protections.iter().map(branch_protection).collect();
            Ok(Reply::json(200, Value::Array(all)))
        }
        ("POST", []) => {
            cx.not_archived(at)?;
            let name = cx.text("rule_name")?.filter(|n| !n.is_empty()).or(cx.text("branch_name")?);
            let Some(name) = name.filter(|n| !n.is_empty()) else {
                return Err(cx.fail(422, "[RuleName]: Required"));
            };
            if at.repo.protections.iter().any(|p| p.name == name) {
                return Err(cx.fail(403, "Branch protection already exist"));
            }
            let now = cx.w.now();
            let blank = Protection {
                name,
                enable_push: false,
                push_whitelist: false,
                push_users: BTreeSet::new(),
                enable_status_check: false,
                contexts: Vec::new(),
                required_approvals: 0,
                block_admin_override: false,
                created: now,
                updated: now,
            };
            let rule = filled(cx, blank)?;
            let shown = branch_protection(&rule);
            if let Some(repo) = cx.w.repos.get_mut(&at.repo.id) {
                repo.protections.push(rule);
            }
            Ok(Reply::json(201, shown))
        }
        (_, name) => {
            let name = name.join("/");
            let Some(rule) = at.repo.protections.iter().find(|p| p.name == name).cloned() else {
                return Err(cx.not_found());
            };
            one_protection(cx, method, at, rule)
        }
    }
}

fn one_protection(cx: &mut Cx<'_>, method: &str, at: &At, rule: Protection) -> Answer {
    match method {
        "GET" => Ok(Reply::json(200, branch_protection(&rule))),
        "PATCH" => {
            let rule = filled(cx, rule)?;
            let shown = branch_protection(&rule);
            let repo = cx.w.repos.get_mut(&at.repo.id);
            if let Some(kept) = repo.and_then(|r| r.protections.iter_mut().find(|p| p.name == rule.name)) {
                *kept = rule;
            }
            Ok(Reply::json(200, shown))
        }
        "DELETE" => {
            if let Some(repo) = cx.w.repos.get_mut(&at.repo.id) {
                repo.protections.retain(|p| p.name != rule.name);
            }
            Ok(Reply::empty(204))
        }
        _ => Err(unknown(cx, method)),
    }
}

fn filled(cx: &Cx<'_>, mut rule: Protection) -> Result<Protection, Reply> {
    rule.enable_push = cx.flag("enable_push")?.unwrap_or(rule.enable_push);
    rule.push_whitelist = cx.flag("enable_push_whitelist")?.unwrap_or(rule.push_whitelist);
    if let Some(users) = cx.texts("push_whitelist_usernames")? {
        rule.push_users = users.into_iter().collect();
    }
    rule.enable_status_check = cx.flag("enable_status_check")?.unwrap_or(rule.enable_status_check);
    rule.contexts = cx.texts("status_check_contexts")?.unwrap_or(rule.contexts);
    if let Some(number) = cx.body.get("required_approvals").and_then(Value::as_i64) {
        rule.required_approvals = number;
    }
    rule.block_admin_override = cx.flag("block_admin_merge_override")?.unwrap_or(rule.block_admin_override);
    rule.updated = cx.w.now();
    Ok(rule)
}
