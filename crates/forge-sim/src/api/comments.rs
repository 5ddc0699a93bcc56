//! Comments, reactions and the timeline.
//!
//! The traps: an unknown issue number is a 500, a comment of another repository a 404 without a
//! body, a comment that is none a 204; saving an unchanged text tells nobody.

use serde_json::Value;

use crate::api::{At, Cx, unknown};
use crate::payload;
use crate::perm::{Unit, is_blocked};
use crate::render_issue::{can_moderate, comment as comment_json, reaction as reaction_json, timeline};
use crate::reply::{Answer, Reply};
use crate::world::{Comment, EntryKind, Id, Issue, Reaction};

/// The reactions allowed by default.
const REACTIONS: [&str; 8] = ["+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes"];

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    match (method, path) {
        ("GET", ["issues", "comments"]) => in_repo(cx, at),
        ("GET", ["issues", "comments", id]) => {
            let it = find(cx, at, id)?;
            if it.kind != EntryKind::Comment {
                return Ok(Reply::empty(204));
            }
            Ok(Reply::json(200, comment_json(cx.w, &it)))
        }
        ("PATCH", ["issues", "comments", id]) => edit(cx, at, id),
        ("DELETE", ["issues", "comments", id]) => delete(cx, at, id),
        (_, ["issues", "comments", id, "reactions"]) => {
            let it = find(cx, at, id)?;
            reactions(cx, method, Subject::Comment(it))
        }
        ("GET", ["issues", index, "comments"]) => of_issue(cx, at, index),
        ("POST", ["issues", index, "comments"]) => create(cx, at, index),
        ("GET", ["issues", index, "timeline"]) => {
            let issue = cx.issue(at, index)?;
            let range = Range::of(cx)?;
            let all: Vec<Comment> =
                cx.w.comments.values().filter(|c| c.issue == issue.id && range.has(c)).cloned().collect();
            Ok(timeline_page(cx, &all))
        }
        (_, ["issues", index, "reactions"]) => {
            let issue = cx.issue(at, index)?;
            reactions(cx, method, Subject::Issue(issue))
        }
        _ => Err(unknown(cx, method)),
    }
}

/// A page of the timeline. The trap: its total counts the entries of this page only.
fn timeline_page(cx: &Cx<'_>, all: &[Comment]) -> Reply {
    let (page, limit) = cx.page();
    let shown: Vec<Value> =
        all.iter().skip((page - 1).saturating_mul(limit)).take(limit).map(|c| timeline(cx.w, c)).collect();
    let total = shown.len().to_string();
    let shown = if shown.is_empty() { Value::Null } else { Value::Array(shown) };
    Reply::json(200, shown).with("X-Total-Count", total)
}

/// `since` and `before`, both inclusive, on the time of the last change.
struct Range {
    since: Option<i64>,
    before: Option<i64>,
}

impl Range {
    fn of(cx: &Cx<'_>) -> Result<Self, Reply> {
        Ok(Self { since: cx.when("since")?, before: cx.when("before")? })
    }

    fn has(&self, comment: &Comment) -> bool {
        self.since.is_none_or(|s| comment.updated >= s) && self.before.is_none_or(|b| comment.updated <= b)
    }
}

fn readable(at: &At, issue: &Issue) -> bool {
    at.perm.can_read(if issue.pull.is_some() { Unit::Pulls } else { Unit::Issues })
}

fn in_repo(cx: &Cx<'_>, at: &At) -> Answer {
    let range = Range::of(cx)?;
    let here = |c: &&Comment| {
        c.kind == EntryKind::Comment
            && range.has(c)
            && cx.w.issues.get(&c.issue).is_some_and(|i| i.repo == at.repo.id && readable(at, i))
    };
    let all: Vec<Comment> = cx.w.comments.values().filter(here).cloned().collect();
    Ok(cx.paged(&all, false, |c| comment_json(cx.w, c)))
}

/// The issue of a comment call; an unknown number is a 500 here.
fn commented(cx: &Cx<'_>, at: &At, index: &str) -> Result<Issue, Reply> {
    let found = index.parse().ok().and_then(|n| cx.w.issue_by_index(at.repo.id, n)).cloned();
    let Some(issue) = found else {
        return Err(cx.internal(&format!("issue does not exist [id: 0, repo_id: {}, index: {index}]", at.repo.id)));
    };
    if readable(at, &issue) { Ok(issue) } else { Err(cx.not_found()) }
}

/// All at once, oldest first.
fn of_issue(cx: &Cx<'_>, at: &At, index: &str) -> Answer {
    let issue = commented(cx, at, index)?;
    let range = Range::of(cx)?;
    let all: Vec<Value> = cx.w.comments_of(issue.id).filter(|c| range.has(c)).map(|c| comment_json(cx.w, c)).collect();
    let total = all.len().to_string();
    Ok(Reply::json(200, Value::Array(all)).with("X-Total-Count", total))
}

/// Refuses people blocked by the owner or the poster, and non-writers of locked conversations.
fn may_talk(cx: &Cx<'_>, at: &At, issue: &Issue, me: Id) -> Result<(), Reply> {
    if issue.locked && !can_moderate(cx.w, issue, me) && !cx.is_site_admin() {
        return Err(cx.fail(403, "You cannot comment on a locked issue."));
    }
    let blocked = is_blocked(cx.w, at.repo.owner, me) || is_blocked(cx.w, issue.poster, me);
    if blocked && !at.perm.is_admin() {
        return Err(cx.fail(403, "user is blocked by the repository owner or the issue poster"));
    }
    Ok(())
}

fn create(cx: &mut Cx<'_>, at: &At, index: &str) -> Answer {
    let me = cx.signed_in()?;
    let body = cx.required("body", "Body")?;
    cx.not_archived(at)?;
    let issue = commented(cx, at, index)?;
    may_talk(cx, at, &issue, me)?;
    let id = cx.w.add_entry(issue.id, me, EntryKind::Comment, &body);
    let Some(new) = cx.w.comments.get(&id).cloned() else { return Err(cx.internal("comment vanished")) };
    payload::comment(cx.w, &new, "created", None, me);
    Ok(Reply::json(201, comment_json(cx.w, &new)))
}

fn find(cx: &Cx<'_>, at: &At, id: &str) -> Result<Comment, Reply> {
    let found = id.parse().ok().and_then(|n: Id| cx.w.comments.get(&n)).cloned();
    let Some(comment) = found else { return Err(cx.not_found()) };
    let Some(issue) = cx.w.issues.get(&comment.issue) else { return Err(cx.not_found()) };
    if issue.repo != at.repo.id {
        return Err(Reply::empty(404));
    }
    if readable(at, issue) { Ok(comment) } else { Err(cx.not_found()) }
}

/// The author, or somebody who may write to the conversation; 403 without a body otherwise.
fn may_change(cx: &Cx<'_>, comment: &Comment) -> Result<Id, Reply> {
    let me = cx.signed_in()?;
    let writer = cx.w.issues.get(&comment.issue).is_some_and(|i| can_moderate(cx.w, i, me));
    if me == comment.poster || writer { Ok(me) } else { Err(Reply::empty(403)) }
}

fn edit(cx: &mut Cx<'_>, at: &At, id: &str) -> Answer {
    cx.signed_in()?;
    let body = cx.required("body", "Body")?;
    cx.not_archived(at)?;
    let mut it = find(cx, at, id)?;
    let me = may_change(cx, &it)?;
    if it.kind != EntryKind::Comment {
        return Ok(Reply::empty(204));
    }
    let unchanged = body == it.body;
    if !unchanged {
        let old = std::mem::replace(&mut it.body, body);
        it.updated = cx.w.now();
        cx.w.comments.insert(it.id, it.clone());
        payload::comment(cx.w, &it, "edited", Some(&old), me);
    }
    let mut shown = comment_json(cx.w, &it);
    // Nobody has been looked up when there was nothing to write.
    if unchanged && cx.w.flavour.is_current() {
        shown["user"] = Value::Null;
    }
    Ok(Reply::json(200, shown))
}

fn delete(cx: &mut Cx<'_>, at: &At, id: &str) -> Answer {
    cx.signed_in()?;
    let it = find(cx, at, id)?;
    let me = may_change(cx, &it)?;
    if it.kind != EntryKind::Comment {
        return Ok(Reply::empty(204));
    }
    cx.w.comments.remove(&it.id);
    payload::comment(cx.w, &it, "deleted", None, me);
    Ok(Reply::empty(204))
}

/// What can be reacted to.
enum Subject {
    Comment(Comment),
    Issue(Issue),
}

fn reactions(cx: &mut Cx<'_>, method: &str, subject: Subject) -> Answer {
    let (list, issue) = match &subject {
        Subject::Comment(c) => (c.reactions.clone(), cx.w.issues.get(&c.issue).cloned()),
        Subject::Issue(i) => (i.reactions.clone(), Some(i.clone())),
    };
    if method == "GET" {
        // Neither a total nor, without any reaction, a list.
        let (page, limit) = cx.page();
        let shown = list.iter().skip((page - 1).saturating_mul(limit)).take(limit);
        let shown: Vec<Value> = shown.map(|r| reaction_json(cx.w, r, cx.me())).collect();
        return Ok(Reply::json(200, if shown.is_empty() { Value::Null } else { Value::Array(shown) }));
    }
    let me = cx.signed_in()?;
    let Some(issue) = issue else { return Err(cx.not_found()) };
    let content = cx.text("content")?.unwrap_or_default();
    let repo = cx.w.repos.get(&issue.repo).cloned().ok_or_else(|| cx.not_found())?;
    let at = cx.at(repo)?;
    let mut next = list.clone();
    let reply = match method {
        "POST" => {
            may_talk(cx, &at, &issue, me)?;
            if !REACTIONS.contains(&content.as_str()) {
                return Err(cx.fail(403, format!("'{content}' is not an allowed reaction")));
            }
            if let Some(old) = list.iter().find(|r| r.user == me && r.content == content) {
                return Ok(Reply::json(200, reaction_json(cx.w, old, Some(me))));
            }
            let new = Reaction { user: me, content, created: cx.w.now() };
            next.push(new.clone());
            Reply::json(201, reaction_json(cx.w, &new, Some(me)))
        }
        "DELETE" => {
            next.retain(|r| r.user != me || r.content != content);
            Reply::empty(if cx.w.flavour.is_current() { 204 } else { 200 })
        }
        _ => return Err(unknown(cx, method)),
    };
    match subject {
        Subject::Comment(c) => {
            if let Some(kept) = cx.w.comments.get_mut(&c.id) {
                kept.reactions = next;
            }
        }
        Subject::Issue(i) => {
            if let Some(kept) = cx.w.issues.get_mut(&i.id) {
                kept.reactions = next;
            }
        }
    }
    Ok(reply)
}
