//! Webhooks. The traps: `active` defaults to false, `events` to push only; a PATCH without
//! `events` resets them, without `branch_filter` or `authorization_header` clears those; the secret
//! can only be set when the hook is created.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::{At, Cx, unknown};
use crate::config::Flavour;
use crate::git;
use crate::hook_events::{HookEvent, expand};
use crate::render::{View, hook as hook_json, repo_as_owner, user};
use crate::render_git::payload_commit;
use crate::reply::{Answer, Reply};
use crate::webhook::{body_text, queue};
use crate::world::{Hook, HookTarget, Id};

/// Hooks of a repository, for its administrators.
pub(crate) fn in_repo(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    if cx.w.switches.webhooks_disabled {
        return Err(cx.fail(403, "webhooks disabled by administrator"));
    }
    cx.need_admin(at)?;
    if let ("POST", [id, "tests"]) = (method, path) {
        return test(cx, at, id);
    }
    route(cx, method, HookTarget::Repo(at.repo.id), path)
}

/// Hooks of one target whose rights have been checked.
pub(crate) fn route(cx: &mut Cx<'_>, method: &str, target: HookTarget, path: &[&str]) -> Answer {
    if cx.w.switches.webhooks_disabled {
        return Err(cx.fail(403, "webhooks disabled by administrator"));
    }
    match (method, path) {
        ("GET", []) => {
            let all: Vec<Hook> = cx.w.hooks.values().filter(|h| h.target == target).cloned().collect();
            Ok(cx.paged(&all, false, |h| hook_json(cx.w, h)))
        }
        ("POST", []) => create(cx, target),
        (_, [id]) => {
            let found = find(cx, target, id)?;
            match method {
                "GET" => Ok(Reply::json(200, hook_json(cx.w, &found))),
                "PATCH" => edit(cx, found),
                "DELETE" => {
                    cx.w.hooks.remove(&found.id);
                    Ok(Reply::empty(204))
                }
                _ => Err(unknown(cx, method)),
            }
        }
        _ => Err(unknown(cx, method)),
    }
}

fn find(cx: &Cx<'_>, target: HookTarget, id: &str) -> Result<Hook, Reply> {
    let found = id.parse().ok().and_then(|n: Id| cx.w.hooks.get(&n)).filter(|h| h.target == target);
    found.cloned().ok_or_else(|| cx.not_found())
}

fn config(cx: &Cx<'_>, key: &str) -> Option<String> {
    cx.body.get("config")?.get(key)?.as_str().map(str::to_owned)
}

fn checked_url(cx: &Cx<'_>, url: &str) -> Result<(), Reply> {
    let good = url::Url::parse(url).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some());
    if good { Ok(()) } else { Err(cx.fail(422, format!("Invalid url: {url}"))) }
}

fn checked_content_type(cx: &Cx<'_>, kind: &str) -> Result<(), Reply> {
    if matches!(kind, "json" | "form") { Ok(()) } else { Err(cx.fail(422, "Invalid content type")) }
}

fn events(cx: &Cx<'_>) -> Result<BTreeSet<HookEvent>, Reply> {
    let asked = cx.texts("events")?.filter(|e| !e.is_empty()).unwrap_or_else(|| vec!["push".to_owned()]);
    Ok(expand(&asked, cx.w.flavour.has_status_event()))
}

fn create(cx: &mut Cx<'_>, target: HookTarget) -> Answer {
    const OTHERS: [&str; 8] =
        ["dingtalk", "discord", "msteams", "slack", "telegram", "feishu", "wechatwork", "packagist"];
    let kind = cx.required("type", "Type")?;
    match cx.body.get("config") {
        None | Some(Value::Null) => return Err(cx.fail(422, "[Config]: Required")),
        Some(Value::Object(map)) if map.values().all(Value::is_string) => {}
        Some(_) => {
            return Err(cx.fail(422, "json: cannot unmarshal field config into Go value of type map[string]string"));
        }
    }
    let own = matches!(kind.as_str(), "gitea" | "gogs") || (kind == "forgejo" && cx.w.flavour == Flavour::Forgejo);
    if !own && !OTHERS.contains(&kind.as_str()) {
        return Err(cx.fail(422, format!("Invalid hook type: {kind}")));
    }
    let Some(url) = config(cx, "url") else { return Err(cx.fail(422, "Missing config option: url")) };
    let Some(content_type) = config(cx, "content_type") else {
        return Err(cx.fail(422, "Missing config option: content_type"));
    };
    checked_content_type(cx, &content_type)?;
    checked_url(cx, &url)?;
    let (id, now) = (cx.w.next("hook"), cx.w.now());
    let new = Hook {
        id,
        target,
        kind,
        url,
        content_type,
        secret: config(cx, "secret").unwrap_or_default(),
        events: events(cx)?,
        branch_filter: cx.text("branch_filter")?.unwrap_or_default(),
        authorization: cx.text("authorization_header")?.unwrap_or_default(),
        active: cx.flag("active")?.unwrap_or(false),
        created: now,
        updated: now,
    };
    cx.w.hooks.insert(id, new.clone());
    Ok(Reply::json(201, hook_json(cx.w, &new)))
}

fn edit(cx: &mut Cx<'_>, mut it: Hook) -> Answer {
    if let Some(url) = config(cx, "url") {
        checked_url(cx, &url)?;
        it.url = url;
    }
    if let Some(kind) = config(cx, "content_type") {
        checked_content_type(cx, &kind)?;
        it.content_type = kind;
    }
    it.events = events(cx)?;
    it.branch_filter = cx.text("branch_filter")?.unwrap_or_default();
    it.authorization = cx.text("authorization_header")?.unwrap_or_default();
    it.active = cx.flag("active")?.unwrap_or(it.active);
    it.updated = cx.w.now();
    cx.w.hooks.insert(it.id, it.clone());
    Ok(Reply::json(200, hook_json(cx.w, &it)))
}

/// A made-up push. Always 204, also when nothing is sent.
fn test(cx: &mut Cx<'_>, at: &At, id: &str) -> Answer {
    let it = find(cx, HookTarget::Repo(at.repo.id), id)?;
    let me = cx.signed_in()?;
    let dir = cx.w.git_dir(at.repo.id);
    let branch = cx.arg("ref").filter(|r| !r.is_empty()).unwrap_or(&at.repo.default_branch).to_owned();
    let head = git::resolve(&dir, &branch).and_then(|sha| git::commit(&dir, &sha));
    let Some(head) = head.filter(|_| it.active && it.events.contains(&HookEvent::Push)) else {
        return Ok(Reply::empty(204));
    };
    let commit = payload_commit(cx.w, &at.repo, &head, true);
    let who = user(cx.w, me, View::Anonymous);
    let body = json!({
        "ref": format!("refs/heads/{branch}"),
        "before": head.sha,
        "after": head.sha,
        "compare_url": "",
        "commits": [commit],
        "total_commits": 1,
        "head_commit": commit,
        "repository": repo_as_owner(cx.w, &at.repo),
        "pusher": who,
        "sender": who,
    });
    let text = body_text(&body, cx.w.switches.html_escape);
    queue(cx.w, &it, HookEvent::Push, &text);
    Ok(Reply::empty(204))
}
