//! JSON of issues, pull requests, comments, timeline entries and statuses, keys in Gitea's order.
//!
//! The one rule to know: a single pull request reads its head from the head branch, live; the list
//! reads it from `refs/pull/N/head` of the base repository, which may lag behind.

use serde_json::{Value, json};

use crate::config::Flavour;
use crate::git;
use crate::perm::{Unit, repo_perm};
use crate::render::{View, merge, permission, repo, repo_for, repo_meta, user};
use crate::world::{Comment, EntryKind, Id, Issue, Label, Pull, Reaction, Repo, Status, World, time, time_or_null};

/// Where a pull request is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Alone: with line counts, head read live.
    Single,
    /// In a list: without counts, head from the base repository's ref.
    List,
}

/// Both ends of a pull request as they are now.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    pub base_sha: String,
    pub head_sha: String,
    /// Branch name, or `refs/pull/N/head` when the branch is gone.
    pub head_ref: String,
    pub merge_base: String,
}

/// The ref of the base repository that holds a pull request's head.
pub(crate) fn pull_ref(index: i64) -> String {
    format!("refs/pull/{index}/head")
}

/// Reads both ends of a pull request.
pub(crate) fn ends(world: &World, issue: &Issue, pull: &Pull, shape: Shape) -> Ends {
    let base_dir = world.git_dir(issue.repo);
    let stored = git::ref_sha(&base_dir, &pull_ref(issue.index)).unwrap_or_default();
    let live = pull.head_repo.and_then(|id| git::branch_sha(&world.git_dir(id), &pull.head_branch));
    let (head_sha, head_ref) = match (shape, live) {
        (Shape::Single, Some(sha)) => (sha, pull.head_branch.clone()),
        (Shape::List, Some(_)) => (stored.clone(), pull.head_branch.clone()),
        (_, None) => (stored.clone(), pull_ref(issue.index)),
    };
    let base_sha = git::branch_sha(&base_dir, &pull.base_branch).unwrap_or_default();
    let merge_base = pull.merge_base.clone().unwrap_or_else(|| world.diff(issue.repo, &base_sha, &stored).merge_base);
    Ends { base_sha, head_sha, head_ref, merge_base }
}

/// Whether a pull request could be merged, as far as git is concerned.
pub(crate) fn has_conflict(world: &World, issue: &Issue, pull: &Pull) -> bool {
    let dir = world.git_dir(issue.repo);
    let base = git::branch_sha(&dir, &pull.base_branch).unwrap_or_default();
    let head = git::ref_sha(&dir, &pull_ref(issue.index)).unwrap_or_default();
    world.diff(issue.repo, &base, &head).conflict
}

/// `Label`.
pub(crate) fn label(world: &World, of_repo: &Repo, of: &Label) -> Value {
    json!({
        "id": of.id,
        "name": of.name,
        "exclusive": of.exclusive,
        "is_archived": of.archived,
        "color": of.color,
        "description": of.description,
        "url": format!("{}api/v1/repos/{}/labels/{}", world.root_url, world.full_name(of_repo), of.id),
    })
}

fn labels(world: &World, of_repo: &Repo, issue: &Issue) -> Vec<Value> {
    of_repo.labels.iter().filter(|l| issue.labels.contains(&l.id)).map(|l| label(world, of_repo, l)).collect()
}

/// The page of an issue or pull request.
pub(crate) fn issue_html_url(world: &World, of_repo: &Repo, issue: &Issue) -> String {
    let kind = if issue.pull.is_some() { "pulls" } else { "issues" };
    format!("{}{}/{kind}/{}", world.root_url, world.full_name(of_repo), issue.index)
}

fn state(issue: &Issue) -> &'static str {
    if issue.closed { "closed" } else { "open" }
}

/// `Issue`, also for pull requests; the poster is shown as `viewer` sees him.
pub(crate) fn issue(world: &World, of: &Issue, viewer: Option<Id>) -> Value {
    let Some(of_repo) = world.repos.get(&of.repo) else { return Value::Null };
    let html_url = issue_html_url(world, of_repo, of);
    let pull = of.pull.as_ref().map_or(Value::Null, |p| {
        json!({
            "merged": p.merged.is_some(),
            "merged_at": time_or_null(p.merged.as_ref().map(|m| m.at)),
            "draft": of.is_draft(),
            "html_url": html_url,
        })
    });
    let mut out = json!({
        "id": of.id,
        "url": format!("{}api/v1/repos/{}/issues/{}", world.root_url, world.full_name(of_repo), of.index),
        "html_url": html_url,
        "number": of.index,
        "user": user(world, of.poster, View::of(viewer)),
        "original_author": "",
        "original_author_id": 0,
        "title": of.title,
        "body": of.body,
        "ref": "",
        "assets": [],
        "labels": labels(world, of_repo, of),
        "milestone": null,
        "assignee": null,
        "assignees": null,
        "state": state(of),
        "is_locked": of.locked,
        "comments": world.comments_of(of.id).count(),
        "created_at": time(of.created),
        "updated_at": time(of.updated),
        "closed_at": time_or_null(of.closed_at),
        "due_date": null,
        "time_estimate": 0,
        "pull_request": pull,
        "repository": repo_meta(world, of_repo),
        "pin_order": 0,
    });
    if world.flavour.is_current() {
        out["content_version"] = json!(0);
    }
    out
}

/// `PullRequest`; `Null` when the issue is none.
pub(crate) fn pull(world: &World, of: &Issue, viewer: Option<Id>, shape: Shape) -> Value {
    let (Some(of_repo), Some(details)) = (world.repos.get(&of.repo), of.pull.as_ref()) else {
        return Value::Null;
    };
    let html_url = issue_html_url(world, of_repo, of);
    let api_url = format!("{}api/v1/repos/{}/pulls/{}", world.root_url, world.full_name(of_repo), of.index);
    let ends = ends(world, of, details, shape);
    let none = if shape == Shape::List && world.flavour.is_current() { Value::Null } else { json!([]) };
    let mut out = json!({
        "id": details.id,
        "url": if world.flavour == Flavour::Forgejo { &api_url } else { &html_url },
        "number": of.index,
        "user": user(world, of.poster, View::of(viewer)),
        "title": of.title,
        "body": of.body,
        "labels": labels(world, of_repo, of),
        "milestone": null,
        "assignee": null,
        "assignees": none,
        "requested_reviewers": none,
        "requested_reviewers_teams": none,
        "state": state(of),
        "draft": of.is_draft(),
        "is_locked": of.locked,
        "comments": world.comments_of(of.id).count(),
    });
    // Without the fork there is nothing to count lines in.
    if shape == Shape::Single && details.head_repo.is_some() {
        let stat = world.diff(of.repo, &ends.merge_base, &ends_stored(world, of));
        out["additions"] = json!(stat.additions());
        out["deletions"] = json!(stat.deletions());
        out["changed_files"] = json!(stat.files.len());
    }
    let checking = world.switches.mergeable_checking && !of.closed;
    let mergeable = !checking && !of.is_draft() && (details.merged.is_some() || !has_conflict(world, of, details));
    let merged = details.merged.as_ref();
    merge(
        &mut out,
        json!({
            "html_url": html_url,
            "diff_url": format!("{html_url}.diff"),
            "patch_url": format!("{html_url}.patch"),
            "mergeable": mergeable,
            "merged": merged.is_some(),
            "merged_at": time_or_null(merged.map(|m| m.at)),
            "merge_commit_sha": merged.map(|m| m.sha.clone()),
            "merged_by": merged.map_or(Value::Null, |m| user(world, m.by, View::Anonymous)),
            "allow_maintainer_edit": details.allow_maintainer_edit,
            "base": {
                "label": details.base_branch,
                "ref": details.base_branch,
                "sha": ends.base_sha,
                "repo_id": of_repo.id,
                "repo": repo_for(world, of_repo, viewer),
            },
            "head": head(world, details, &ends, viewer),
            "merge_base": ends.merge_base,
            "due_date": null,
            "created_at": time(of.created),
            "updated_at": time(of.updated),
            "closed_at": time_or_null(of.closed_at),
            "pin_order": 0,
        }),
    );
    if world.flavour.is_current() {
        out["content_version"] = json!(0);
    }
    out
}

fn ends_stored(world: &World, of: &Issue) -> String {
    git::ref_sha(&world.git_dir(of.repo), &pull_ref(of.index)).unwrap_or_default()
}

/// The head side. A head repository the viewer may not read is shown all the same, without rights.
fn head(world: &World, details: &Pull, ends: &Ends, viewer: Option<Id>) -> Value {
    let found = details.head_repo.and_then(|id| world.repos.get(&id));
    let shown = found.map_or(Value::Null, |r| repo(world, r, &permission(&repo_perm(world, r, viewer))));
    json!({
        "label": details.head_branch,
        "ref": ends.head_ref,
        "sha": ends.head_sha,
        "repo_id": found.map_or(-1, |r| r.id),
        "repo": shown,
    })
}

/// `Comment`. Its author is always the anonymous view.
pub(crate) fn comment(world: &World, of: &Comment) -> Value {
    let links = links(world, of);
    json!({
        "id": of.id,
        "html_url": links.html_url,
        "pull_request_url": links.pull_request_url,
        "issue_url": links.issue_url,
        "user": user(world, of.poster, View::Anonymous),
        "original_author": "",
        "original_author_id": 0,
        "body": of.body,
        "assets": [],
        "created_at": time(of.created),
        "updated_at": time(of.updated),
    })
}

struct Links {
    html_url: String,
    pull_request_url: String,
    issue_url: String,
}

fn links(world: &World, of: &Comment) -> Links {
    let none = Links { html_url: String::new(), pull_request_url: String::new(), issue_url: String::new() };
    let Some(issue) = world.issues.get(&of.issue) else { return none };
    let Some(of_repo) = world.repos.get(&issue.repo) else { return none };
    let page = issue_html_url(world, of_repo, issue);
    let html_url = format!("{page}#issuecomment-{}", of.id);
    match issue.pull {
        Some(_) => Links { html_url, pull_request_url: page, issue_url: String::new() },
        None => Links { html_url, pull_request_url: String::new(), issue_url: page },
    }
}

/// `TimelineComment`.
pub(crate) fn timeline(world: &World, of: &Comment) -> Value {
    let links = links(world, of);
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let (mut old_title, mut new_title, mut old_ref, mut new_ref) = (None, None, None, None);
    let (mut merge_sha, mut shown_label, mut body) = (None, Value::Null, of.body.clone());
    let kind = match &of.kind {
        EntryKind::Comment => "comment",
        EntryKind::Close => "close",
        EntryKind::Reopen => "reopen",
        EntryKind::Lock => "lock",
        EntryKind::Unlock => "unlock",
        EntryKind::Push => "pull_push",
        EntryKind::Merge { sha } => {
            merge_sha = Some(sha.as_str());
            "merge_pull"
        }
        EntryKind::ChangeTitle { old, new } => {
            (old_title, new_title) = (Some(old.as_str()), Some(new.as_str()));
            "change_title"
        }
        EntryKind::ChangeTarget { old, new } => {
            (old_ref, new_ref) = (Some(old.as_str()), Some(new.as_str()));
            "change_target_branch"
        }
        EntryKind::DeleteBranch { name } => {
            old_ref = Some(name.as_str());
            "delete_branch"
        }
        EntryKind::Label { label: id, added } => {
            let of_repo = world.issues.get(&of.issue).and_then(|i| world.repos.get(&i.repo));
            shown_label = of_repo
                .and_then(|r| r.labels.iter().find(|l| l.id == *id).map(|l| label(world, r, l)))
                .unwrap_or(Value::Null);
            body = if *added { "1".to_owned() } else { String::new() };
            "label"
        }
    };
    json!({
        "id": of.id,
        "type": kind,
        "html_url": links.html_url,
        "pull_request_url": links.pull_request_url,
        "issue_url": links.issue_url,
        "user": user(world, of.poster, View::Anonymous),
        "body": body,
        "created_at": time(of.created),
        "updated_at": time(of.updated),
        "old_project_id": 0,
        "project_id": 0,
        "old_milestone": null,
        "milestone": null,
        "tracked_time": null,
        "old_title": text(old_title),
        "new_title": text(new_title),
        "old_ref": text(old_ref),
        "new_ref": text(new_ref),
        "ref_issue": null,
        "ref_comment": null,
        "ref_action": "",
        "ref_commit_sha": text(merge_sha),
        "review_id": 0,
        "label": shown_label,
        "assignee": null,
        "assignee_team": null,
        "removed_assignee": false,
        "resolve_doer": null,
        "dependent_issue": null,
    })
}

/// `Reaction`.
pub(crate) fn reaction(world: &World, of: &Reaction, viewer: Option<Id>) -> Value {
    json!({
        "user": user(world, of.user, View::of(viewer)),
        "content": of.content,
        "created_at": time(of.created),
    })
}

/// `CommitStatus`. The state's key is `status` here and `state` in the combined answer.
pub(crate) fn status(world: &World, of: &Status) -> Value {
    let full = world.repos.get(&of.repo).map(|r| world.full_name(r)).unwrap_or_default();
    json!({
        "id": of.index,
        "status": of.state,
        "target_url": of.target_url,
        "description": of.description,
        "url": format!("{}api/v1/repos/{full}/statuses/{}", world.root_url, of.sha),
        "context": of.context,
        "creator": user(world, of.creator, View::Anonymous),
        "created_at": time(of.created),
        "updated_at": time(of.created),
    })
}

/// Whether somebody may write to the conversation of this issue or pull request as a maintainer.
pub(crate) fn can_moderate(world: &World, issue: &Issue, who: Id) -> bool {
    let unit = if issue.pull.is_some() { Unit::Pulls } else { Unit::Issues };
    world.repos.get(&issue.repo).is_some_and(|r| repo_perm(world, r, Some(who)).can_write(unit))
}
