//! JSON of commits, branches, tags, refs and releases, keys in Gitea's order.

use serde_json::{Value, json};

use crate::git::{self, CommitInfo, Person};
use crate::hook_events::glob;
use crate::perm::{Mode, Unit, repo_perm};
use crate::render::{View, user};
use crate::world::{Id, Protection, Release, Repo, World, time, time_text};

fn api(world: &World, of: &Repo) -> String {
    format!("{}api/v1/repos/{}", world.root_url, world.full_name(of))
}

fn html(world: &World, of: &Repo) -> String {
    format!("{}{}", world.root_url, world.full_name(of))
}

fn by_email(world: &World, person: &Person) -> Option<Id> {
    world.users.values().find(|u| !u.is_org && u.email.eq_ignore_ascii_case(&person.email)).map(|u| u.id)
}

fn payload_user(world: &World, person: &Person) -> Value {
    let username = by_email(world, person).map(|id| world.login(id)).unwrap_or_default();
    json!({ "name": person.name, "email": person.email, "username": username })
}

fn commit_user(person: &Person, seconds: i64) -> Value {
    json!({ "name": person.name, "email": person.email, "date": time_text(seconds) })
}

/// `CommitMeta`.
pub(crate) fn commit_meta(world: &World, of: &Repo, sha: &str, seconds: i64) -> Value {
    json!({ "url": format!("{}/git/commits/{sha}", api(world, of)), "sha": sha, "created": time(seconds) })
}

fn unsigned() -> Value {
    json!({ "verified": false, "reason": "gpg.error.not_signed_commit", "signature": "", "signer": null, "payload": "" })
}

/// `PayloadCommit`: in push payloads (with files) and in `Branch`.
pub(crate) fn payload_commit(world: &World, of: &Repo, commit: &CommitInfo, with_files: bool) -> Value {
    let (mut added, mut removed, mut modified) = (Value::Null, Value::Null, Value::Null);
    if with_files {
        let dir = world.git_dir(of.id);
        let empty = git::empty_tree(&dir);
        let from = commit.parents.first().cloned().unwrap_or(empty);
        let files = git::changed_files(&dir, &from, &commit.sha);
        let named = |wanted: &[&str]| -> Value {
            files.iter().filter(|f| wanted.contains(&f.status)).map(|f| f.path.clone()).collect::<Vec<_>>().into()
        };
        (added, removed, modified) = (named(&["added"]), named(&["deleted"]), named(&["changed", "renamed"]));
    }
    json!({
        "id": commit.sha,
        "message": commit.message,
        "url": format!("{}/commit/{}", html(world, of), commit.sha),
        "author": payload_user(world, &commit.author),
        "committer": payload_user(world, &commit.committer),
        "verification": if with_files { Value::Null } else { unsigned() },
        "timestamp": time_text(commit.commit_time),
        "added": added,
        "removed": removed,
        "modified": modified,
    })
}

/// `Commit` as the API lists it.
pub(crate) fn commit(world: &World, of: &Repo, info: &CommitInfo, extras: bool) -> Value {
    let api = api(world, of);
    let url = format!("{api}/git/commits/{}", info.sha);
    let account = |p: &Person| by_email(world, p).map_or(Value::Null, |id| user(world, id, View::Anonymous));
    let parents: Vec<Value> = info.parents.iter().map(|p| commit_meta(world, of, p, 0)).collect();
    let (mut files, mut stats) = (Value::Null, Value::Null);
    if extras {
        let dir = world.git_dir(of.id);
        let from = info.parents.first().cloned().unwrap_or_else(|| git::empty_tree(&dir));
        let changed = git::changed_files(&dir, &from, &info.sha);
        let (plus, minus): (i64, i64) = changed.iter().fold((0, 0), |(a, d), f| (a + f.additions, d + f.deletions));
        files = changed.iter().map(|f| json!({ "filename": f.path, "status": affected(f.status) })).collect();
        stats = json!({ "total": plus + minus, "additions": plus, "deletions": minus });
    }
    json!({
        "url": url,
        "sha": info.sha,
        "created": time(info.commit_time),
        "html_url": format!("{}/commit/{}", html(world, of), info.sha),
        "commit": {
            "url": url,
            "author": commit_user(&info.author, info.author_time),
            "committer": commit_user(&info.committer, info.commit_time),
            "message": info.message,
            "tree": {
                "url": format!("{api}/git/trees/{}", info.tree),
                "sha": info.tree,
                "created": time(info.commit_time),
            },
            "verification": unsigned(),
        },
        "author": account(&info.author),
        "committer": account(&info.committer),
        "parents": parents,
        "files": files,
        "stats": stats,
    })
}

fn affected(status: &str) -> &'static str {
    match status {
        "added" => "added",
        "deleted" => "removed",
        _ => "modified",
    }
}

/// The first rule that protects a branch: an exact name before a glob.
pub(crate) fn protection<'r>(of: &'r Repo, branch: &str) -> Option<&'r Protection> {
    let exact = of.protections.iter().find(|p| p.name == branch);
    exact.or_else(|| of.protections.iter().find(|p| glob(&p.name, branch)))
}

/// Whether this user may push to a branch, protection included.
pub(crate) fn may_push(world: &World, of: &Repo, branch: &str, who: Option<Id>) -> bool {
    if !repo_perm(world, of, who).can_write(Unit::Code) {
        return false;
    }
    let Some(rule) = protection(of, branch) else { return true };
    let listed = who.is_some_and(|id| rule.push_users.contains(&world.login(id)));
    rule.enable_push && (!rule.push_whitelist || listed)
}

/// `Branch`; `Null` when it does not exist.
pub(crate) fn branch(world: &World, of: &Repo, name: &str, viewer: Option<Id>) -> Value {
    let dir = world.git_dir(of.id);
    let Some(info) = git::branch_sha(&dir, name).and_then(|sha| git::commit(&dir, &sha)) else { return Value::Null };
    let rule = protection(of, name);
    let can_write = repo_perm(world, of, viewer).unit(Unit::Code) >= Mode::Write;
    json!({
        "name": name,
        "commit": payload_commit(world, of, &info, false),
        "protected": rule.is_some(),
        "required_approvals": rule.map_or(0, |r| r.required_approvals),
        "enable_status_check": rule.is_some_and(|r| r.enable_status_check),
        "status_check_contexts": rule.map_or_else(Vec::new, |r| r.contexts.clone()),
        "user_can_push": may_push(world, of, name, viewer),
        "user_can_merge": can_write,
        "effective_branch_protection_name": rule.map_or("", |r| r.name.as_str()),
    })
}

/// `BranchProtection`.
pub(crate) fn branch_protection(of: &Protection) -> Value {
    json!({
        "branch_name": if of.name.contains('*') { "" } else { &of.name },
        "rule_name": of.name,
        "priority": 0,
        "enable_push": of.enable_push,
        "enable_push_whitelist": of.push_whitelist,
        "push_whitelist_usernames": of.push_users,
        "push_whitelist_teams": [],
        "push_whitelist_deploy_keys": false,
        "enable_force_push": false,
        "enable_force_push_allowlist": false,
        "force_push_allowlist_usernames": [],
        "force_push_allowlist_teams": [],
        "force_push_allowlist_deploy_keys": false,
        "enable_merge_whitelist": false,
        "merge_whitelist_usernames": [],
        "merge_whitelist_teams": [],
        "enable_status_check": of.enable_status_check,
        "status_check_contexts": of.contexts,
        "required_approvals": of.required_approvals,
        "enable_approvals_whitelist": false,
        "approvals_whitelist_username": [],
        "approvals_whitelist_teams": [],
        "block_on_rejected_reviews": false,
        "block_on_official_review_requests": false,
        "block_on_outdated_branch": false,
        "dismiss_stale_approvals": false,
        "ignore_stale_approvals": false,
        "require_signed_commits": false,
        "protected_file_patterns": "",
        "unprotected_file_patterns": "",
        "block_admin_merge_override": of.block_admin_override,
        "created_at": time(of.created),
        "updated_at": time(of.updated),
    })
}

/// `Tag`; `Null` when it does not exist.
pub(crate) fn tag(world: &World, of: &Repo, name: &str) -> Value {
    let dir = world.git_dir(of.id);
    let full = format!("refs/tags/{name}");
    let (Some(object), Some(target)) = (git::ref_sha(&dir, &full), git::resolve(&dir, &full)) else {
        return Value::Null;
    };
    let message = git::run(&dir, &["for-each-ref", "--format=%(contents)", &full]).unwrap_or_default();
    let seconds = git::commit(&dir, &target).map_or(0, |c| c.commit_time);
    json!({
        "name": name,
        "message": message,
        "id": object,
        "commit": commit_meta(world, of, &target, seconds),
        "zipball_url": format!("{}/archive/{name}.zip", html(world, of)),
        "tarball_url": format!("{}/archive/{name}.tar.gz", html(world, of)),
    })
}

/// `Reference`.
pub(crate) fn reference(world: &World, of: &Repo, name: &str, sha: &str) -> Value {
    let api = api(world, of);
    let kind = git::run(&world.git_dir(of.id), &["cat-file", "-t", sha]).unwrap_or_default();
    json!({
        "ref": name,
        "url": format!("{api}/git/{name}"),
        "object": { "type": kind, "sha": sha, "url": format!("{api}/git/{kind}s/{sha}") },
    })
}

/// `Release`.
pub(crate) fn release(world: &World, of: &Repo, it: &Release) -> Value {
    let html = html(world, of);
    let url = format!("{}/releases/{}", api(world, of), it.id);
    json!({
        "id": it.id,
        "tag_name": it.tag,
        "target_commitish": it.target,
        "name": it.name,
        "body": it.body,
        "url": url,
        "html_url": format!("{html}/releases/tag/{}", it.tag),
        "tarball_url": format!("{html}/archive/{}.tar.gz", it.tag),
        "zipball_url": format!("{html}/archive/{}.zip", it.tag),
        "upload_url": format!("{url}/assets"),
        "draft": it.draft,
        "prerelease": it.prerelease,
        "created_at": time(it.created),
        "published_at": time(it.created),
        "author": user(world, it.author, View::Anonymous),
        "assets": [],
    })
}
