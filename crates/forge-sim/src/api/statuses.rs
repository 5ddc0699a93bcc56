//! Commit statuses. Rows are never changed: every POST adds one, and the newest per context counts.
//!
//! The traps: an unknown commit is a 500, the state is not validated, `GET /statuses/{sha}` takes
//! the full sha literally, and the combined state covers only the page asked for.

use serde_json::{Value, json};

use crate::api::{At, Cx, unknown};
use crate::git;
use crate::payload;
use crate::perm::Unit;
use crate::render::repo_for;
use crate::render_issue::status as status_json;
use crate::reply::{Answer, Reply};
use crate::world::Status;

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    if !at.perm.can_read(Unit::Code) {
        return Err(cx.not_found());
    }
    match (method, path) {
        ("POST", ["statuses", sha]) => create(cx, at, sha),
        ("GET", ["statuses", sha]) => list(cx, at, sha),
        ("GET", ["commits", name, "statuses"]) => {
            let sha = resolve(cx, at, name)?;
            list(cx, at, &sha)
        }
        ("GET", ["commits", name, "status"]) => {
            let sha = resolve(cx, at, name)?;
            Ok(combined(cx, at, &sha))
        }
        _ => Err(unknown(cx, method)),
    }
}

fn resolve(cx: &Cx<'_>, at: &At, name: &str) -> Result<String, Reply> {
    git::resolve(&cx.w.git_dir(at.repo.id), name).ok_or_else(|| cx.not_found())
}

fn create(cx: &mut Cx<'_>, at: &At, name: &str) -> Answer {
    let me = cx.need_push(at)?;
    let dir = cx.w.git_dir(at.repo.id);
    let text = |key: &str| cx.text(key).map(|t| t.unwrap_or_default().trim().to_owned());
    let (state, target_url) = (text("state")?, text("target_url")?);
    let (description, context) = (text("description")?, text("context")?);
    let Some(sha) = git::resolve(&dir, name) else {
        return Err(cx.internal(&format!("object does not exist [id: {name}, rel_path: ]")));
    };
    let repo = at.repo.id;
    let index = cx.w.statuses.iter().filter(|s| s.repo == repo && s.sha == sha).count() as i64 + 1;
    let (row, created) = (cx.w.next("status"), cx.w.now());
    let new = Status { row, repo, sha, index, state, target_url, description, context, creator: me, created };
    cx.w.statuses.push(new.clone());
    if cx.w.flavour.has_status_event() {
        payload::status(cx.w, &new);
    }
    // The server looks at the default branch only after it has stored the row.
    if git::branch_sha(&dir, &at.repo.default_branch).is_none() {
        return Err(cx.internal(&format!("branch does not exist [name: {}]", at.repo.default_branch)));
    }
    Ok(Reply::json(201, status_json(cx.w, &new)))
}

fn list(cx: &Cx<'_>, at: &At, sha: &str) -> Answer {
    let state = cx.arg("state").filter(|s| !s.is_empty());
    let mut all: Vec<Status> =
        cx.w.statuses
            .iter()
            .filter(|s| s.repo == at.repo.id && s.sha == sha && state.is_none_or(|wanted| s.state == wanted))
            .cloned()
            .collect();
    match cx.arg("sort") {
        // The names say the opposite of what they do.
        Some("leastindex") => all.sort_by_key(|s| -s.index),
        Some("highestindex") => all.sort_by_key(|s| s.index),
        Some("oldest") => all.sort_by_key(|s| s.created),
        _ => all.sort_by_key(|s| -s.created),
    }
    Ok(cx.paged(&all, true, |s| status_json(cx.w, s)))
}

/// The newest row of each context, by context name.
pub(crate) fn latest(all: &[Status]) -> Vec<Status> {
    let mut newest: std::collections::BTreeMap<&str, &Status> = std::collections::BTreeMap::new();
    for status in all {
        let kept = newest.entry(&status.context).or_insert(status);
        if status.index > kept.index {
            *kept = status;
        }
    }
    newest.into_values().cloned().collect()
}

/// The combined state of some statuses.
pub(crate) fn combine(states: &[&str], new_rule: bool) -> &'static str {
    let has = |wanted: &[&str]| states.iter().any(|s| wanted.contains(s));
    if new_rule {
        let fine = states.iter().filter(|s| matches!(**s, "success" | "skipped")).count();
        if has(&["error", "failure", "warning"]) {
            "failure"
        } else if fine > 0 && fine == states.len() {
            "success"
        } else {
            "pending"
        }
    } else if states.is_empty() {
        ""
    } else if has(&["error", "failure"]) {
        "failure"
    } else if has(&["warning"]) {
        "warning"
    } else if states.iter().all(|s| *s == "success") {
        "success"
    } else {
        "pending"
    }
}

fn combined(cx: &Cx<'_>, at: &At, sha: &str) -> Reply {
    let all: Vec<Status> = cx.w.statuses.iter().filter(|s| s.repo == at.repo.id && s.sha == sha).cloned().collect();
    let newest = latest(&all);
    let (page, limit) = cx.page();
    let shown: Vec<&Status> = newest.iter().skip((page - 1).saturating_mul(limit)).take(limit).collect();
    let states: Vec<&str> = shown.iter().map(|s| s.state.as_str()).collect();
    let new_rule = cx.w.flavour.new_combined_rule();
    if shown.is_empty() && !new_rule {
        return Reply::json(
            200,
            json!({
                "state": "", "sha": "", "total_count": 0, "statuses": null,
                "repository": null, "commit_url": "", "url": "",
            }),
        );
    }
    let full = cx.w.full_name(&at.repo);
    let api = format!("{}api/v1/repos/{full}", cx.w.root_url);
    let statuses = if shown.is_empty() { Value::Null } else { shown.iter().map(|s| status_json(cx.w, s)).collect() };
    let body = json!({
        "state": combine(&states, new_rule),
        "sha": sha,
        "total_count": shown.len(),
        "statuses": statuses,
        "repository": repo_for(cx.w, &at.repo, cx.me()),
        "commit_url": format!("{api}/commits/{sha}"),
        "url": format!("{api}/commits/{sha}/status"),
    });
    Reply::json(200, body).with("X-Total-Count", newest.len().to_string())
}

#[cfg(test)]
mod tests {
    use super::combine;

    #[test]
    fn combined_state_new_and_old() {
        for (states, new, old) in [
            (&[] as &[&str], "pending", ""),
            (&["success"], "success", "success"),
            (&["success", "warning"], "failure", "warning"),
            (&["success", "pending"], "pending", "pending"),
            (&["pending", "error"], "failure", "failure"),
            (&["failure", "warning"], "failure", "failure"),
            (&["warning", "pending"], "failure", "warning"),
            (&["success", "skipped"], "success", "pending"),
        ] {
            assert_eq!(combine(states, true), new, "{states:?} by the new rule");
            assert_eq!(combine(states, false), old, "{states:?} by the old rule");
        }
    }
}
