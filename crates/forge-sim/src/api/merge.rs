//! Merging. A CI robot never does it; it is here so that tests can see that it did not, and so
//! that a token that could is found out.

use crate::api::contents::signature;
use crate::api::statuses::{combine, latest};
use crate::api::{At, Cx, unknown};
use crate::git::{self, GitError};
use crate::hook_events::{HookEvent, glob};
use crate::payload;
use crate::perm::Unit;
use crate::refs::{RefUpdate, moved};
use crate::render_git::protection;
use crate::render_issue::{Shape, ends, has_conflict};
use crate::reply::{Answer, Reply};
use crate::world::{EntryKind, Issue, Merged, Pull, Status};

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    let &[index, what] = path else { return Err(unknown(cx, method)) };
    let issue = cx.pull(at, index)?;
    let Some(details) = issue.pull.clone() else { return Err(cx.not_found()) };
    match (method, what) {
        ("GET", "merge") => {
            if details.merged.is_some() {
                Ok(Reply::empty(204))
            } else {
                Err(cx.not_found())
            }
        }
        ("POST", "merge") => merge(cx, at, &issue, &details),
        ("DELETE", "merge") => Err(cx.not_found()),
        ("POST", "update") => update(cx, at, &issue, &details),
        _ => Err(unknown(cx, method)),
    }
}

/// Whether the checks a protection asks for are all there and good.
fn checks_pass(cx: &Cx<'_>, at: &At, branch: &str, head: &str) -> bool {
    let Some(rule) = protection(&at.repo, branch).filter(|r| r.enable_status_check) else { return true };
    let all: Vec<Status> = cx.w.statuses.iter().filter(|s| s.repo == at.repo.id && s.sha == head).cloned().collect();
    let newest = latest(&all);
    let all_there = rule.contexts.iter().all(|p| newest.iter().any(|s| glob(p, &s.context)));
    let matched: Vec<&str> = newest
        .iter()
        .filter(|s| rule.contexts.is_empty() || rule.contexts.iter().any(|p| glob(p, &s.context)))
        .map(|s| s.state.as_str())
        .collect();
    all_there && combine(&matched, cx.w.flavour.new_combined_rule()) == "success"
}

fn merge(cx: &mut Cx<'_>, at: &At, issue: &Issue, details: &Pull) -> Answer {
    let me = cx.signed_in()?;
    cx.not_archived(at)?;
    let style = cx.required("Do", "Do")?;
    if issue.closed && details.merged.is_none() {
        return Err(cx.not_found());
    }
    if !at.perm.can_write(Unit::Code) {
        return Err(cx.fail(405, "User not allowed to merge PR"));
    }
    if details.merged.is_some() {
        return Err(cx.fail(405, "The PR is already merged"));
    }
    if issue.is_draft() {
        return Err(cx.fail(405, "Work in progress PRs cannot be merged"));
    }
    if cx.w.switches.mergeable_checking {
        return Err(cx.fail(405, "Please try again later"));
    }
    let now = ends(cx.w, issue, details, Shape::List);
    let forced = cx.flag("force_merge")?.unwrap_or(false)
        && at.perm.is_admin()
        && !protection(&at.repo, &details.base_branch).is_some_and(|r| r.block_admin_override);
    if !checks_pass(cx, at, &details.base_branch, &now.head_sha) && !forced {
        return Err(cx.fail(405, "Not all required status checks successful"));
    }
    if let Some(wanted) = cx.text("head_commit_id")?.filter(|s| !s.is_empty() && *s != now.head_sha) {
        return Err(cx.fail(409, format!("head out of date [expected: {wanted}, is: {}]", now.head_sha)));
    }
    if has_conflict(cx.w, issue, details) {
        return Err(cx.fail(409, "Please try again later: merge conflict"));
    }
    if !at.repo.merge_styles.contains(&style) {
        return Err(cx.fail(405, "Invalid merge style"));
    }
    let sha = combined(cx, at, issue, &style, &now.base_sha, &now.head_sha).map_err(|e| cx.fail(409, e.message))?;
    let dir = cx.w.git_dir(at.repo.id);
    let base_ref = format!("refs/heads/{}", details.base_branch);
    git::update_ref(&dir, &base_ref, Some(&sha)).map_err(|e| cx.internal(&e.to_string()))?;
    let at_time = cx.w.now();
    if let Some(kept) = cx.w.issues.get_mut(&issue.id) {
        (kept.closed, kept.closed_at, kept.updated) = (true, Some(at_time), at_time);
        if let Some(pull) = kept.pull.as_mut() {
            pull.merged = Some(Merged { at: at_time, by: me, sha: sha.clone() });
            pull.merge_base = Some(now.merge_base);
        }
    }
    cx.w.add_entry(issue.id, me, EntryKind::Merge { sha: sha.clone() }, "");
    let base = RefUpdate::branch(&details.base_branch, Some(now.base_sha), Some(sha));
    moved(cx.w, at.repo.id, me, &[base]);
    payload::pull(cx.w, issue.id, HookEvent::PullRequest, "closed", None, me);
    if cx.flag("delete_branch_after_merge")?.unwrap_or(false) && details.head_repo == Some(at.repo.id) {
        let name = format!("refs/heads/{}", details.head_branch);
        git::update_ref(&dir, &name, None).map_err(|e| cx.internal(&e.to_string()))?;
        moved(cx.w, at.repo.id, me, &[RefUpdate::branch(&details.head_branch, Some(now.head_sha), None)]);
    }
    Ok(Reply::empty(200))
}

/// The commit the base branch will point at.
fn combined(cx: &Cx<'_>, at: &At, issue: &Issue, style: &str, base: &str, head: &str) -> Result<String, GitError> {
    let dir = cx.w.git_dir(at.repo.id);
    let ahead = git::is_ancestor(&dir, base, head);
    if style == "fast-forward-only" || (style == "rebase" && ahead) {
        if ahead {
            return Ok(head.to_owned());
        }
        let message = "not possible to fast-forward".to_owned();
        return Err(GitError { command: "merge".to_owned(), message });
    }
    let tree = git::run(&dir, &["merge-tree", "--write-tree", base, head])?;
    let tree = tree.lines().next().unwrap_or_default().to_owned();
    let title = cx.body.get("MergeTitleField").and_then(|t| t.as_str()).filter(|t| !t.is_empty());
    let title = title.map_or_else(|| format!("{} (#{})", issue.title, issue.index), str::to_owned);
    let sign = signature(cx.w, cx.me().unwrap_or(-1));
    // A rebase of several commits onto a moved base ends in the same tree; its history is not
    // told apart from a squash here.
    let parents: &[&str] = if matches!(style, "squash" | "rebase") { &[base] } else { &[base, head] };
    git::commit_tree(&dir, &tree, parents, &format!("{title}\n"), &sign)
}

/// Brings the base into the head branch.
fn update(cx: &mut Cx<'_>, at: &At, issue: &Issue, details: &Pull) -> Answer {
    let me = cx.signed_in()?;
    if issue.closed {
        return Err(cx.fail(422, "pull request is closed"));
    }
    let head_repo = details.head_repo.and_then(|id| cx.w.repos.get(&id)).cloned();
    let Some(head_repo) = head_repo else { return Err(cx.fail(422, "head repository is gone")) };
    if !crate::render_git::may_push(cx.w, &head_repo, &details.head_branch, Some(me)) {
        return Err(cx.fail(403, "User is not allowed to push to the head branch"));
    }
    let now = ends(cx.w, issue, details, Shape::Single);
    let base_dir = cx.w.git_dir(at.repo.id);
    if git::is_ancestor(&base_dir, &now.base_sha, &now.head_sha) {
        return Ok(Reply::empty(200));
    }
    if has_conflict(cx.w, issue, details) {
        return Err(cx.fail(409, "merge failed because of conflict"));
    }
    let tree = git::run(&base_dir, &["merge-tree", "--write-tree", &now.head_sha, &now.base_sha])
        .map_err(|e| cx.fail(409, e.message))?;
    let message = format!("Merge branch '{}' into {}\n", details.base_branch, details.head_branch);
    let sign = signature(cx.w, me);
    let parents = [now.head_sha.as_str(), now.base_sha.as_str()];
    let made = git::commit_tree(&base_dir, tree.lines().next().unwrap_or_default(), &parents, &message, &sign);
    let sha = made.map_err(|e| cx.internal(&e.to_string()))?;
    let head_dir = cx.w.git_dir(head_repo.id);
    let name = format!("refs/heads/{}", details.head_branch);
    git::copy_commit(&head_dir, &base_dir, &sha, &name).map_err(|e| cx.internal(&e.to_string()))?;
    moved(cx.w, head_repo.id, me, &[RefUpdate::branch(&details.head_branch, Some(now.head_sha), Some(sha))]);
    Ok(Reply::empty(200))
}
