//! What follows from branches and tags having moved, whoever moved them: push events, timeline
//! entries, pull requests that synchronise or close, and the late `refs/pull/N/head`.

use serde_json::json;

use crate::config::PullRefs;
use crate::git;
use crate::hook_events::HookEvent;
use crate::payload;
use crate::render_issue::pull_ref;
use crate::webhook::Job;
use crate::world::{EntryKind, HeadMoved, Id, World};

/// One ref that has moved. `None` means "no commit".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefUpdate {
    pub name: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

impl RefUpdate {
    pub(crate) fn branch(name: &str, old: Option<String>, new: Option<String>) -> Self {
        Self { name: format!("refs/heads/{name}"), old, new }
    }
}

/// Tells everybody about refs that have moved in `repo` because of `pusher`.
pub(crate) fn moved(world: &mut World, repo: Id, pusher: Id, updates: &[RefUpdate]) {
    for update in updates.iter().filter(|u| u.old != u.new) {
        let now = world.now();
        let first = adopt_default_branch(world, repo, update);
        if let Some(it) = world.repos.get_mut(&repo) {
            it.updated = now;
            if let Some(name) = first {
                it.default_branch = name;
            }
        }
        let Some(it) = world.repos.get(&repo).cloned() else { return };
        let tag = update.name.starts_with("refs/tags/");
        if let (None, Some(new)) = (&update.old, &update.new) {
            payload::create(world, &it, &update.name, new, pusher);
        }
        if tag || update.new.is_some() {
            payload::push(world, &it, &update.name, update.old.as_deref(), update.new.as_deref(), pusher);
        }
        if update.new.is_none() {
            payload::delete(world, &it, &update.name, pusher);
        }
        if let Some(branch) = update.name.strip_prefix("refs/heads/") {
            pulls_follow(world, repo, branch, update.new.as_deref(), pusher);
        }
    }
}

/// The first branch of an empty repository becomes its default branch.
fn adopt_default_branch(world: &World, repo: Id, update: &RefUpdate) -> Option<String> {
    let branch = update.name.strip_prefix("refs/heads/")?;
    let it = world.repos.get(&repo)?;
    let dir = world.git_dir(repo);
    if update.old.is_some() || branch == it.default_branch || git::branch_sha(&dir, &it.default_branch).is_some() {
        return None;
    }
    let only = git::branches(&dir) == [branch];
    let head = format!("refs/heads/{branch}");
    (only && git::run(&dir, &["symbolic-ref", "HEAD", &head]).is_ok()).then(|| branch.to_owned())
}

/// Open pull requests from this branch synchronise, or close when it is gone.
fn pulls_follow(world: &mut World, repo: Id, branch: &str, new: Option<&str>, pusher: Id) {
    let affected: Vec<Id> = world
        .issues
        .values()
        .filter(|i| !i.closed)
        .filter(|i| i.pull.as_ref().is_some_and(|p| p.head_repo == Some(repo) && p.head_branch == branch))
        .map(|i| i.id)
        .collect();
    for issue in affected {
        match new {
            Some(sha) => synchronise(world, issue, repo, sha, pusher),
            None => {
                set_closed(world, issue, true, pusher);
                world.add_entry(issue, pusher, EntryKind::DeleteBranch { name: branch.to_owned() }, "");
            }
        }
    }
}

fn synchronise(world: &mut World, issue: Id, head_repo: Id, sha: &str, pusher: Id) {
    let Some(it) = world.issues.get(&issue) else { return };
    let (base, index) = (it.repo, it.index);
    let old = git::ref_sha(&world.git_dir(base), &pull_ref(index)).unwrap_or_default();
    if old == sha {
        return;
    }
    let moved = HeadMoved { issue, head_repo, pusher, old, sha: sha.to_owned() };
    match world.switches.pull_refs {
        PullRefs::Immediate => follow(world, moved),
        PullRefs::AfterMillis(millis) => world.outbox.push(Job::PullRef { moved, millis }),
        PullRefs::Held => world.late_pull_refs.push(moved),
    }
    payload::pull(world, issue, HookEvent::PullRequestSync, "synchronized", None, pusher);
}

/// Moves `refs/pull/N/head`, then writes the entry of the timeline: in this order, with a moment in between.
pub(crate) fn follow(world: &mut World, moved: HeadMoved) {
    follow_pull_ref(world, moved.issue, &moved.sha);
    if world.switches.late_push_entries {
        world.late_push_entries.push(moved);
    } else {
        tell_push(world, &moved);
    }
}

/// Writes the entry of a push.
pub(crate) fn tell_push(world: &mut World, moved: &HeadMoved) {
    let HeadMoved { issue, head_repo, pusher, old, sha } = moved;
    let (issue, head_repo, pusher) = (*issue, *head_repo, *pusher);
    let dir = world.git_dir(head_repo);
    let force = !git::is_ancestor(&dir, old, sha);
    if force && world.flavour.is_current() {
        // Entries of commits that are no longer there go; the new head has one of its own.
        world.comments.retain(|_, c| c.issue != issue || c.kind != EntryKind::Push || is_forced(&c.body));
        let ids = proposed(world, issue, head_repo, sha);
        push_entry(world, issue, pusher, false, &ids);
    }
    let ids = if force { vec![old.clone(), sha.clone()] } else { commit_ids(&dir, old, sha) };
    push_entry(world, issue, pusher, force, &ids);
}

/// The first push of a pull request: its opening.
pub(crate) fn opened(world: &mut World, issue: Id, doer: Id, sha: &str) {
    let Some(head_repo) = world.issues.get(&issue).and_then(|i| i.pull.as_ref()).and_then(|p| p.head_repo) else {
        return;
    };
    let ids = proposed(world, issue, head_repo, sha);
    push_entry(world, issue, doer, false, &ids);
}

/// Commits of the head that the base branch does not have, oldest first.
fn proposed(world: &World, issue: Id, head_repo: Id, sha: &str) -> Vec<String> {
    let Some(it) = world.issues.get(&issue) else { return Vec::new() };
    let (base_dir, head_dir) = (world.git_dir(it.repo), world.git_dir(head_repo));
    let Some(base) = it.pull.as_ref().and_then(|p| git::branch_sha(&base_dir, &p.base_branch)) else {
        return Vec::new();
    };
    // One of them has both ends: the base once it has the head, the head's if it is not behind.
    let has_head = git::resolve(&base_dir, sha).is_some();
    commit_ids(if has_head { &base_dir } else { &head_dir }, &base, sha)
}

fn commit_ids(dir: &std::path::Path, from: &str, to: &str) -> Vec<String> {
    git::commits(dir, &[&format!("{from}..{to}")]).into_iter().rev().map(|c| c.sha).collect()
}

fn is_forced(body: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(body).is_ok_and(|text| text["is_force_push"] == json!(true))
}

/// No commits, no entry.
fn push_entry(world: &mut World, issue: Id, doer: Id, force: bool, ids: &[String]) {
    if !ids.is_empty() {
        let body = json!({ "is_force_push": force, "commit_ids": ids }).to_string();
        world.add_entry(issue, doer, EntryKind::Push, &body);
    }
}

/// Points `refs/pull/N/head` of the base repository at a commit of the head repository.
fn follow_pull_ref(world: &mut World, issue: Id, sha: &str) {
    let Some(it) = world.issues.get(&issue) else { return };
    let Some(head_repo) = it.pull.as_ref().and_then(|p| p.head_repo) else { return };
    if it.closed {
        return;
    }
    let (base, from, name) = (world.git_dir(it.repo), world.git_dir(head_repo), pull_ref(it.index));
    // A commit that is gone from the head repository by now leaves the ref where it was.
    drop(git::copy_commit(&base, &from, sha, &name));
}

/// Closes or reopens an issue or pull request with its timeline entry and event. Doing what is
/// already so changes nothing.
pub(crate) fn set_closed(world: &mut World, issue: Id, closed: bool, doer: Id) {
    let now = world.now();
    let Some(it) = world.issues.get_mut(&issue) else { return };
    if it.closed == closed {
        return;
    }
    it.closed = closed;
    it.updated = now;
    it.closed_at = closed.then_some(now);
    let is_pull = it.pull.is_some();
    let kind = if closed { EntryKind::Close } else { EntryKind::Reopen };
    world.add_entry(issue, doer, kind, "");
    announce_state(world, issue, is_pull, closed, doer);
}

/// Sends `closed` or `reopened`.
pub(crate) fn announce_state(world: &mut World, issue: Id, is_pull: bool, closed: bool, doer: Id) {
    let action = if closed { "closed" } else { "reopened" };
    if is_pull {
        payload::pull(world, issue, HookEvent::PullRequest, action, None, doer);
    } else if let Some(it) = world.issues.get(&issue).cloned() {
        payload::issue(world, &it, action, None, doer);
    }
}
