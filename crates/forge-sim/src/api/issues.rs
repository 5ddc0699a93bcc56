//! Issues, and pull requests seen as issues (issue scope).

use serde_json::json;

use crate::api::{At, Cx, unknown};
use crate::hook_events::HookEvent;
use crate::payload;
use crate::perm::{Unit, is_blocked};
use crate::refs::set_closed;
use crate::render_issue::{can_moderate, issue as issue_json};
use crate::reply::{Answer, Reply};
use crate::world::{EntryKind, Id, Issue, World};

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    match (method, path) {
        ("GET", []) => list(cx, at),
        ("POST", []) => create(cx, at),
        ("GET", [index]) => {
            let found = cx.issue(at, index)?;
            Ok(Reply::json(200, issue_json(cx.w, &found, cx.me())))
        }
        ("PATCH", [index]) => {
            let found = cx.issue(at, index)?;
            edit(cx, &found)?;
            let now = cx.issue(at, index)?;
            Ok(Reply::json(201, issue_json(cx.w, &now, cx.me())))
        }
        ("PUT" | "DELETE", [index, "lock"]) => lock(cx, at, index, method == "PUT"),
        _ => Err(unknown(cx, method)),
    }
}

fn list(cx: &Cx<'_>, at: &At) -> Answer {
    let state = cx.arg("state").unwrap_or("open");
    let kind = cx.arg("type").unwrap_or_default();
    let (since, before) = (cx.when("since")?, cx.when("before")?);
    let mut all: Vec<Issue> =
        cx.w.issues
            .values()
            .filter(|i| i.repo == at.repo.id)
            .filter(|i| at.perm.can_read(if i.pull.is_some() { Unit::Pulls } else { Unit::Issues }))
            .filter(|i| match state {
                "all" => true,
                "closed" => i.closed,
                _ => !i.closed,
            })
            .filter(|i| match kind {
                "pulls" => i.pull.is_some(),
                "issues" => i.pull.is_none(),
                _ => true,
            })
            .filter(|i| since.is_none_or(|s| i.updated >= s) && before.is_none_or(|b| i.updated <= b))
            .cloned()
            .collect();
    all.sort_by_key(|i| -i.index);
    Ok(cx.paged(&all, true, |i| issue_json(cx.w, i, cx.me())))
}

/// Adds an issue or pull request row under the repository's next index.
pub(crate) fn add_issue(world: &mut World, repo: Id, poster: Id, title: &str, body: &str) -> Issue {
    let (id, now) = (world.next("issue"), world.now());
    let index = world.repos.get_mut(&repo).map_or(1, |r| {
        let index = r.next_index;
        r.next_index += 1;
        index
    });
    let new = Issue {
        id,
        repo,
        index,
        poster,
        title: title.to_owned(),
        body: body.to_owned(),
        closed: false,
        locked: false,
        created: now,
        updated: now,
        closed_at: None,
        labels: Vec::new(),
        reactions: Vec::new(),
        pull: None,
    };
    world.issues.insert(id, new.clone());
    new
}

fn create(cx: &mut Cx<'_>, at: &At) -> Answer {
    let me = cx.signed_in()?;
    let title = cx.required("title", "Title")?;
    let body = cx.text("body")?.unwrap_or_default();
    cx.not_archived(at)?;
    if !at.repo.has_issues || !at.perm.can_read(Unit::Issues) {
        return Err(cx.not_found());
    }
    if is_blocked(cx.w, at.repo.owner, me) && !at.perm.is_admin() {
        return Err(cx.fail(403, "user is blocked by the repository owner"));
    }
    let new = add_issue(cx.w, at.repo.id, me, &title, &body);
    payload::issue(cx.w, &new, "opened", None, me);
    Ok(Reply::json(201, issue_json(cx.w, &new, Some(me))))
}

/// Whether the caller may change title, body and state; 403 without a body if not.
pub(crate) fn need_author_or_writer(cx: &Cx<'_>, issue: &Issue) -> Result<Id, Reply> {
    let me = cx.signed_in()?;
    if me == issue.poster || can_moderate(cx.w, issue, me) { Ok(me) } else { Err(Reply::empty(403)) }
}

/// Changes title, body and target first and the state last, with one event each; in archived repositories too.
pub(crate) fn edit(cx: &mut Cx<'_>, issue: &Issue) -> Result<(), Reply> {
    let me = need_author_or_writer(cx, issue)?;
    let title = cx.text("title")?.filter(|t| !t.is_empty() && *t != issue.title);
    let body = cx.text("body")?.filter(|b| *b != issue.body);
    let state = cx.text("state")?.filter(|s| !s.is_empty());
    let mut changes = json!({});
    if let Some(title) = &title {
        changes["title"] = json!({ "from": issue.title });
        let kind = EntryKind::ChangeTitle { old: issue.title.clone(), new: title.clone() };
        cx.w.add_entry(issue.id, me, kind, "");
    }
    if body.is_some() {
        changes["body"] = json!({ "from": issue.body });
    }
    let now = cx.w.now();
    if let Some(kept) = cx.w.issues.get_mut(&issue.id).filter(|_| title.is_some() || body.is_some()) {
        kept.title = title.unwrap_or_else(|| issue.title.clone());
        kept.body = body.unwrap_or_else(|| issue.body.clone());
        kept.updated = now;
        changes["added_labels"] = json!(null);
        changes["removed_labels"] = json!(null);
        announce_edit(cx.w, issue.id, changes, me);
    }
    match state.as_deref() {
        None => Ok(()),
        Some(text @ ("open" | "closed")) => {
            let merged = issue.pull.as_ref().is_some_and(|p| p.merged.is_some());
            if merged {
                return Err(cx.fail(412, "cannot change state of this pull request, it was already merged"));
            }
            set_closed(cx.w, issue.id, text == "closed", me);
            Ok(())
        }
        Some(text) => Err(cx.fail(412, format!("unknown state: {text}"))),
    }
}

/// Sends `edited` with what it was before.
pub(crate) fn announce_edit(world: &mut World, issue: Id, changes: serde_json::Value, doer: Id) {
    let Some(now) = world.issues.get(&issue).cloned() else { return };
    if now.pull.is_some() {
        payload::pull(world, issue, HookEvent::PullRequest, "edited", Some(changes), doer);
    } else {
        payload::issue(world, &now, "edited", Some(changes), doer);
    }
}

fn lock(cx: &mut Cx<'_>, at: &At, index: &str, locked: bool) -> Answer {
    let found = cx.issue(at, index)?;
    let me = cx.signed_in()?;
    if !can_moderate(cx.w, &found, me) {
        return Err(cx.fail(403, "no permission to lock this issue"));
    }
    if found.locked != locked {
        if let Some(kept) = cx.w.issues.get_mut(&found.id) {
            kept.locked = locked;
        }
        cx.w.add_entry(found.id, me, if locked { EntryKind::Lock } else { EntryKind::Unlock }, "");
    }
    Ok(Reply::empty(204))
}
