//! Labels of repositories and issues, as little as a bot needs.

use serde_json::Value;

use crate::api::{At, Cx, unknown};
use crate::perm::Unit;
use crate::render_issue::label as label_json;
use crate::reply::{Answer, Reply};
use crate::world::{EntryKind, Id, Issue, Label};

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    match (method, path) {
        ("GET", ["labels"]) => Ok(cx.paged(&at.repo.labels, false, |l| label_json(cx.w, &at.repo, l))),
        ("POST", ["labels"]) => create(cx, at),
        (_, ["labels", id]) => {
            let id: Option<Id> = id.parse().ok();
            let found = at.repo.labels.iter().find(|l| Some(l.id) == id).cloned();
            let Some(found) = found else { return Err(cx.not_found()) };
            one(cx, method, at, found)
        }
        (_, ["issues", index, "labels", rest @ ..]) => {
            let issue = cx.issue(at, index)?;
            of_issue(cx, method, at, &issue, rest)
        }
        _ => Err(unknown(cx, method)),
    }
}

fn need_write(cx: &Cx<'_>, at: &At) -> Result<Id, Reply> {
    let me = cx.signed_in()?;
    if at.perm.can_write(Unit::Issues) || at.perm.can_write(Unit::Pulls) {
        Ok(me)
    } else {
        Err(cx.fail(403, "user should have a permission to write to issues or pull requests"))
    }
}

fn create(cx: &mut Cx<'_>, at: &At) -> Answer {
    need_write(cx, at)?;
    let (name, color) = (cx.required("name", "Name")?, cx.required("color", "Color")?);
    let color = color.trim_start_matches('#').to_lowercase();
    if color.len() != 6 || !color.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(cx.fail(422, format!("bad color code: #{color}")));
    }
    let new = Label {
        id: cx.w.next("label"),
        name,
        color,
        description: cx.text("description")?.unwrap_or_default(),
        exclusive: cx.flag("exclusive")?.unwrap_or(false),
        archived: cx.flag("is_archived")?.unwrap_or(false),
    };
    if let Some(repo) = cx.w.repos.get_mut(&at.repo.id) {
        repo.labels.push(new.clone());
    }
    Ok(Reply::json(201, label_json(cx.w, &at.repo, &new)))
}

fn one(cx: &mut Cx<'_>, method: &str, at: &At, mut it: Label) -> Answer {
    if method == "GET" {
        return Ok(Reply::json(200, label_json(cx.w, &at.repo, &it)));
    }
    need_write(cx, at)?;
    it.name = cx.text("name")?.unwrap_or(it.name);
    it.description = cx.text("description")?.unwrap_or(it.description);
    let Some(repo) = cx.w.repos.get_mut(&at.repo.id) else { return Err(cx.not_found()) };
    match method {
        "PATCH" => {
            if let Some(kept) = repo.labels.iter_mut().find(|l| l.id == it.id) {
                *kept = it.clone();
            }
            Ok(Reply::json(200, label_json(cx.w, &at.repo, &it)))
        }
        "DELETE" => {
            repo.labels.retain(|l| l.id != it.id);
            for issue in cx.w.issues.values_mut() {
                issue.labels.retain(|l| *l != it.id);
            }
            Ok(Reply::empty(204))
        }
        _ => Err(unknown(cx, method)),
    }
}

fn listed(cx: &Cx<'_>, at: &At, issue: Id) -> Reply {
    let set = cx.w.issues.get(&issue).map(|i| i.labels.clone()).unwrap_or_default();
    let shown: Vec<Value> =
        at.repo.labels.iter().filter(|l| set.contains(&l.id)).map(|l| label_json(cx.w, &at.repo, l)).collect();
    Reply::json(200, Value::Array(shown))
}

/// Names and numbers may be mixed; unknown ones are ignored.
fn asked(cx: &Cx<'_>, at: &At) -> Vec<Id> {
    let items = cx.body.get("labels").and_then(Value::as_array).cloned().unwrap_or_default();
    let known = |item: &Value| {
        let hit = |l: &&Label| item.as_i64() == Some(l.id) || item.as_str() == Some(l.name.as_str());
        at.repo.labels.iter().find(hit).map(|l| l.id)
    };
    items.iter().filter_map(known).collect()
}

fn of_issue(cx: &mut Cx<'_>, method: &str, at: &At, issue: &Issue, path: &[&str]) -> Answer {
    if method == "GET" && path.is_empty() {
        return Ok(listed(cx, at, issue.id));
    }
    let me = need_write(cx, at)?;
    let (next, removed_one): (Vec<Id>, bool) = match (method, path) {
        ("POST", []) => {
            let mut next = issue.labels.clone();
            next.extend(asked(cx, at).into_iter().filter(|id| !issue.labels.contains(id)));
            (next, false)
        }
        ("PUT", []) => (asked(cx, at), false),
        ("DELETE", []) => (Vec::new(), true),
        ("DELETE", [id]) => {
            let hit = |l: &&Label| l.name == *id || id.parse() == Ok(l.id);
            let Some(found) = at.repo.labels.iter().find(hit).map(|l| l.id) else {
                return Err(cx.fail(422, "label does not exist"));
            };
            (issue.labels.iter().copied().filter(|l| *l != found).collect(), true)
        }
        _ => return Err(unknown(cx, method)),
    };
    for (label, added) in issue
        .labels
        .iter()
        .filter(|l| !next.contains(l))
        .map(|l| (*l, false))
        .chain(next.iter().filter(|l| !issue.labels.contains(l)).map(|l| (*l, true)))
        .collect::<Vec<_>>()
    {
        cx.w.add_entry(issue.id, me, EntryKind::Label { label, added }, "");
    }
    if let Some(kept) = cx.w.issues.get_mut(&issue.id) {
        kept.labels = next;
    }
    if removed_one { Ok(Reply::empty(204)) } else { Ok(listed(cx, at, issue.id)) }
}
