//! Webhook payloads: which event carries what, keys in the order Gitea sends them.
//!
//! The one rule to know: only in comment payloads are `repository.permissions` those of the sender;
//! push, status and synchronisation payloads always show the owner's.

use serde_json::{Value, json};

use crate::git::{self, ZERO};
use crate::hook_events::HookEvent;
use crate::render::{View, merge, permission, repo, repo_as_owner, repo_for, user};
use crate::render_git::payload_commit;
use crate::render_issue::{Shape, comment as comment_json, issue as issue_json, pull as pull_json};
use crate::webhook::fire;
use crate::world::{Comment, Id, Issue, Repo, Status, World, time};

/// Commits shown in a push payload (`FEED_MAX_COMMIT_NUM`).
const FEED_MAX_COMMITS: usize = 5;

/// A comment was created, edited (`old` = the former text) or deleted by `doer`.
pub(crate) fn comment(world: &mut World, it: &Comment, action: &str, old: Option<&str>, doer: Id) {
    let Some(issue) = world.issues.get(&it.issue).cloned() else { return };
    let Some(of_repo) = world.repos.get(&issue.repo).cloned() else { return };
    let is_pull = issue.pull.is_some();
    let mut out = json!({ "action": action, "issue": issue_json(world, &issue, Some(doer)) });
    let old_server = world.flavour == crate::config::Flavour::OldGitea;
    if is_pull && !world.switches.omit_pull_request && !old_server {
        out["pull_request"] = pull_json(world, &issue, Some(doer), Shape::Single);
    }
    out["comment"] = comment_json(world, it);
    if let Some(old) = old {
        out["changes"] = json!({ "body": { "from": old }, "added_labels": null, "removed_labels": null });
    }
    merge(
        &mut out,
        json!({
            "repository": repo_for(world, &of_repo, Some(doer)),
            "sender": user(world, doer, View::Anonymous),
            "is_pull": is_pull,
        }),
    );
    let event = if is_pull { HookEvent::PullRequestComment } else { HookEvent::IssueComment };
    fire(world, of_repo.id, event, None, &out);
}

/// Something about a pull request other than its comments.
pub(crate) fn pull(world: &mut World, issue: Id, event: HookEvent, action: &str, changes: Option<Value>, doer: Id) {
    let Some(issue) = world.issues.get(&issue).cloned() else { return };
    let Some(of_repo) = world.repos.get(&issue.repo).cloned() else { return };
    let shown = pull_json(world, &issue, Some(doer), Shape::Single);
    let sync = event == HookEvent::PullRequestSync;
    let mut out = json!({ "action": action, "number": issue.index });
    if let Some(changes) = changes {
        out["changes"] = changes;
    }
    let repository = if sync {
        repo_as_owner(world, &of_repo)
    } else {
        let poster = crate::perm::repo_perm(world, &of_repo, Some(issue.poster));
        repo(world, &of_repo, &permission(&poster))
    };
    merge(
        &mut out,
        json!({
            "pull_request": shown,
            "requested_reviewer": null,
            "repository": repository,
            "sender": user(world, doer, View::Anonymous),
            "commit_id": "",
            "review": null,
        }),
    );
    fire(world, of_repo.id, event, None, &out);
}

/// Something about a plain issue other than its comments.
pub(crate) fn issue(world: &mut World, issue: &Issue, action: &str, changes: Option<Value>, doer: Id) {
    let Some(of_repo) = world.repos.get(&issue.repo).cloned() else { return };
    let mut out = json!({ "action": action, "number": issue.index });
    if let Some(changes) = changes {
        out["changes"] = changes;
    }
    merge(
        &mut out,
        json!({
            "issue": issue_json(world, issue, Some(doer)),
            "repository": repo_for(world, &of_repo, Some(doer)),
            "sender": user(world, doer, View::Anonymous),
            "commit_id": "",
        }),
    );
    fire(world, of_repo.id, HookEvent::Issues, None, &out);
}

/// A branch or tag moved. `old`/`new` are `None` for "no commit".
pub(crate) fn push(world: &mut World, of_repo: &Repo, name: &str, old: Option<&str>, new: Option<&str>, doer: Id) {
    let dir = world.git_dir(of_repo.id);
    let branch = name.strip_prefix("refs/heads/");
    let listed = match (branch, old, new) {
        (Some(_), Some(old), Some(new)) => git::commits(&dir, &[&format!("{old}..{new}")]),
        (Some(_), None, Some(new)) => git::commits(&dir, &["-10", new]),
        _ => Vec::new(),
    };
    let shown: Vec<Value> =
        listed.iter().take(FEED_MAX_COMMITS).map(|c| payload_commit(world, of_repo, c, true)).collect();
    let head = new.and_then(|sha| git::resolve(&dir, sha)).and_then(|sha| git::commit(&dir, &sha));
    let (before, after) = (old.unwrap_or(ZERO), new.unwrap_or(ZERO));
    let full = world.full_name(of_repo);
    let out = json!({
        "ref": name,
        "before": before,
        "after": after,
        "compare_url": format!("{}{full}/compare/{before}...{after}", world.root_url),
        "commits": shown,
        "total_commits": listed.len(),
        "head_commit": head.map_or(Value::Null, |c| payload_commit(world, of_repo, &c, true)),
        "repository": repo_as_owner(world, of_repo),
        "pusher": user(world, doer, View::Anonymous),
        "sender": user(world, doer, View::Anonymous),
    });
    fire(world, of_repo.id, HookEvent::Push, branch, &out);
}

fn short_name(name: &str) -> (String, &'static str) {
    let (short, kind) = match name.strip_prefix("refs/tags/") {
        Some(tag) => (tag, "tag"),
        None => (name.strip_prefix("refs/heads/").unwrap_or(name), "branch"),
    };
    (short.to_owned(), kind)
}

/// A branch or tag appeared. The name in the payload is the short one.
pub(crate) fn create(world: &mut World, of_repo: &Repo, name: &str, sha: &str, doer: Id) {
    let (short, kind) = short_name(name);
    let out = json!({
        "sha": sha,
        "ref": short,
        "ref_type": kind,
        "repository": repo_as_owner(world, of_repo),
        "sender": user(world, doer, View::Anonymous),
    });
    fire(world, of_repo.id, HookEvent::Create, (kind == "branch").then_some(short.as_str()), &out);
}

/// A branch or tag is gone.
pub(crate) fn delete(world: &mut World, of_repo: &Repo, name: &str, doer: Id) {
    let (short, kind) = short_name(name);
    let out = json!({
        "ref": short,
        "ref_type": kind,
        "pusher_type": "user",
        "repository": repo_as_owner(world, of_repo),
        "sender": user(world, doer, View::Anonymous),
    });
    fire(world, of_repo.id, HookEvent::Delete, (kind == "branch").then_some(short.as_str()), &out);
}

/// A repository was forked: `forkee` is the original one.
pub(crate) fn fork(world: &mut World, original: &Repo, fork: &Repo, doer: Id) {
    let out = json!({
        "forkee": repo_for(world, original, Some(doer)),
        "repository": repo_for(world, fork, Some(doer)),
        "sender": user(world, doer, View::Anonymous),
    });
    fire(world, original.id, HookEvent::Fork, None, &out);
}

/// A repository was created or deleted: seen by hooks of its organisation.
pub(crate) fn repository(world: &mut World, of_repo: &Repo, action: &str, doer: Id) {
    let organization = user(world, of_repo.owner, View::Signed);
    let out = json!({
        "action": action,
        "repository": repo_as_owner(world, of_repo),
        "organization": organization,
        "sender": user(world, doer, View::Anonymous),
    });
    fire(world, of_repo.id, HookEvent::Repository, None, &out);
}

/// A commit status was posted. `id` is the row number here, not the API's per-commit one.
pub(crate) fn status(world: &mut World, it: &Status) {
    let Some(of_repo) = world.repos.get(&it.repo).cloned() else { return };
    let commit = git::commit(&world.git_dir(of_repo.id), &it.sha);
    let target_url = match url::Url::parse(&it.target_url) {
        Err(_) if !it.target_url.is_empty() => {
            format!("{}{}", world.root_url, it.target_url.trim_start_matches('/'))
        }
        _ => it.target_url.clone(),
    };
    let out = json!({
        "commit": commit.map_or(Value::Null, |c| payload_commit(world, &of_repo, &c, true)),
        "context": it.context,
        "created_at": time(it.created),
        "description": it.description,
        "id": it.row,
        "repository": repo_as_owner(world, &of_repo),
        "sender": user(world, it.creator, View::Anonymous),
        "sha": it.sha,
        "state": it.state,
        "target_url": target_url,
        "updated_at": null,
    });
    fire(world, of_repo.id, HookEvent::Status, None, &out);
}
