//! Pull requests. The traps: without `state` the list has all of them, a PATCH answers 201, and
//! the same head and base twice is a 409.

use serde_json::{Value, json};

use crate::api::issues::{add_issue, edit as edit_issue, need_author_or_writer};
use crate::api::{At, Cx, unknown};
use crate::git;
use crate::hook_events::HookEvent;
use crate::payload;
use crate::perm::{Unit, is_blocked, repo_perm};
use crate::render_git::commit as commit_json;
use crate::render_issue::{Shape, ends, pull as pull_json, pull_ref};
use crate::reply::{Answer, Content, Reply};
use crate::world::{EntryKind, Id, Issue, Pull, Repo, World};

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    if !at.perm.can_read(Unit::Pulls) || !at.repo.has_pulls || at.repo.mirror.is_some() {
        return Err(cx.not_found());
    }
    match (method, path) {
        ("GET", []) => list(cx, at),
        ("POST", []) => create(cx, at),
        ("GET", [index]) if index.ends_with(".diff") || index.ends_with(".patch") => diff(cx, at, index),
        ("GET", [index]) => {
            let found = cx.pull(at, index)?;
            Ok(Reply::json(200, pull_json(cx.w, &found, cx.me(), Shape::Single)))
        }
        ("PATCH", [index]) => edit(cx, at, index),
        ("GET", [index, "files"]) => files(cx, at, index),
        ("GET", [index, "commits"]) => commits(cx, at, index),
        ("GET", [index, "reviews"]) => {
            cx.pull(at, index)?;
            Ok(cx.paged::<Value>(&[], false, Value::clone))
        }
        ("GET", [base, head @ ..]) if !head.is_empty() => by_branches(cx, at, base, &head.join("/")),
        _ => Err(unknown(cx, method)),
    }
}

fn list(cx: &Cx<'_>, at: &At) -> Answer {
    let state = cx.arg("state").unwrap_or("all");
    let (base, poster) = (cx.arg("base_branch").filter(|b| !b.is_empty()), cx.arg("poster").filter(|p| !p.is_empty()));
    let mut all: Vec<Issue> =
        cx.w.issues
            .values()
            .filter(|i| i.repo == at.repo.id && i.pull.is_some())
            .filter(|i| match state {
                "open" => !i.closed,
                "closed" => i.closed,
                _ => true,
            })
            .filter(|i| base.is_none_or(|b| i.pull.as_ref().is_some_and(|p| p.base_branch == b)))
            .filter(|i| poster.is_none_or(|p| cx.w.login(i.poster) == p))
            .cloned()
            .collect();
    match cx.arg("sort") {
        Some("oldest") => {}
        Some("recentupdate") => all.sort_by_key(|i| -i.updated),
        Some("leastupdate") => all.sort_by_key(|i| i.updated),
        _ => all.reverse(),
    }
    Ok(cx.paged(&all, true, |i| pull_json(cx.w, i, cx.me(), Shape::List)))
}

/// The head repository and branch a `head` text names.
fn head_of(cx: &Cx<'_>, at: &At, head: &str) -> Result<(Repo, String), Reply> {
    let Some((owner, branch)) = head.split_once(':') else { return Ok((at.repo.clone(), head.to_owned())) };
    let Some(owner) = cx.w.user_by_name(owner) else { return Err(cx.not_found()) };
    if owner.id == at.repo.owner {
        return Ok((at.repo.clone(), branch.to_owned()));
    }
    let fork = |r: &&Repo| r.owner == owner.id && (r.fork_of == Some(at.repo.id) || at.repo.fork_of == Some(r.id));
    match cx.w.repos.values().find(fork) {
        Some(found) => Ok((found.clone(), branch.to_owned())),
        None if cx.w.flavour.is_current() => {
            Err(cx.fail(400, format!("the user {} does not have a fork of the base repository", owner.login)))
        }
        None => Err(cx.not_found()),
    }
}

fn create(cx: &mut Cx<'_>, at: &At) -> Answer {
    let me = cx.signed_in()?;
    cx.not_archived(at)?;
    let text = |key: &str| cx.text(key).map(Option::unwrap_or_default);
    let (head, base, title, body) = (text("head")?, text("base")?, text("title")?, text("body")?);
    if head == base {
        return Err(cx.fail(422, "Invalid PullRequest: There are no changes between the head and the base"));
    }
    let (head_repo, head_branch) = head_of(cx, at, &head)?;
    let base_dir = cx.w.git_dir(at.repo.id);
    let head_sha = git::branch_sha(&cx.w.git_dir(head_repo.id), &head_branch);
    let (Some(head_sha), Some(_)) = (head_sha, git::branch_sha(&base_dir, &base)) else {
        return Err(cx.not_found());
    };
    if head_repo.id == at.repo.id && head_branch == base {
        return Err(cx.fail(422, "Invalid PullRequest: head and base are the same"));
    }
    if !repo_perm(cx.w, &head_repo, Some(me)).can_read(Unit::Code) {
        return Err(cx.not_found());
    }
    if title.is_empty() {
        return Err(cx.fail(422, "[Title]: Required"));
    }
    let same = |i: &&Issue| {
        i.repo == at.repo.id
            && !i.closed
            && i.pull.as_ref().is_some_and(|p| {
                p.head_repo == Some(head_repo.id) && p.head_branch == head_branch && p.base_branch == base
            })
    };
    if let Some(old) = cx.w.issues.values().find(same) {
        let message =
            format!("pull request already exists for these targets [id: {}, issue_id: {}]", old.index, old.id);
        return Err(cx.fail(409, message));
    }
    let insider = at.repo.owner == me
        || cx.is_site_admin()
        || at.repo.collaborators.contains_key(&me)
        || crate::api::repos::by_team(cx.w, &at.repo, me);
    if !insider && !repo_perm(cx.w, &head_repo, Some(me)).can_write(Unit::Code) {
        return Err(cx.fail(403, "user is not allowed to create pull requests from this head"));
    }
    if is_blocked(cx.w, at.repo.owner, me) && !at.perm.is_admin() {
        return Err(cx.fail(403, "user is blocked by the repository owner"));
    }
    let labels = cx.numbers("labels")?.unwrap_or_default();
    let labels = labels.into_iter().filter(|id| at.repo.labels.iter().any(|l| l.id == *id)).collect();
    let new = Pull {
        id: cx.w.next("pull"),
        base_branch: base,
        head_repo: Some(head_repo.id),
        head_branch,
        merged: None,
        allow_maintainer_edit: false,
        merge_base: None,
    };
    let issue =
        open(cx.w, at.repo.id, me, (&title, &body), labels, new, &head_sha).map_err(|e| cx.internal(&e.to_string()))?;
    Ok(Reply::json(201, pull_json(cx.w, &issue, Some(me), Shape::Single)))
}

/// Adds the rows, copies the head into the base repository and tells the hooks.
fn open(
    world: &mut World,
    repo: Id,
    poster: Id,
    (title, body): (&str, &str),
    labels: Vec<Id>,
    details: Pull,
    head_sha: &str,
) -> Result<Issue, git::GitError> {
    let issue = add_issue(world, repo, poster, title, body);
    let from = details.head_repo.map(|id| world.git_dir(id)).unwrap_or_default();
    git::copy_commit(&world.git_dir(repo), &from, head_sha, &pull_ref(issue.index))?;
    if let Some(kept) = world.issues.get_mut(&issue.id) {
        kept.pull = Some(details);
        kept.labels = labels;
    }
    crate::refs::opened(world, issue.id, poster, head_sha);
    payload::pull(world, issue.id, HookEvent::PullRequest, "opened", None, poster);
    Ok(world.issues.get(&issue.id).cloned().unwrap_or(issue))
}

fn edit(cx: &mut Cx<'_>, at: &At, index: &str) -> Answer {
    let found = cx.pull(at, index)?;
    let me = need_author_or_writer(cx, &found)?;
    let base = cx.text("base")?.filter(|b| !b.is_empty());
    let old = found.pull.as_ref().map(|p| p.base_branch.clone()).unwrap_or_default();
    if let Some(base) = base.filter(|b| *b != old) {
        if found.closed {
            return Err(cx.fail(409, "pull request is closed"));
        }
        if git::branch_sha(&cx.w.git_dir(at.repo.id), &base).is_none() {
            return Err(cx.not_found());
        }
        if let Some(pull) = cx.w.issues.get_mut(&found.id).and_then(|i| i.pull.as_mut()) {
            pull.base_branch.clone_from(&base);
        }
        let kind = EntryKind::ChangeTarget { old: old.clone(), new: base };
        cx.w.add_entry(found.id, me, kind, "");
        let changes = json!({ "ref": { "from": old }, "added_labels": null, "removed_labels": null });
        crate::api::issues::announce_edit(cx.w, found.id, changes, me);
    }
    if let Some(allow) = cx.flag("allow_maintainer_edit")?
        && let Some(pull) = cx.w.issues.get_mut(&found.id).and_then(|i| i.pull.as_mut())
    {
        pull.allow_maintainer_edit = allow;
    }
    edit_issue(cx, &found)?;
    let now = cx.pull(at, index)?;
    Ok(Reply::json(201, pull_json(cx.w, &now, Some(me), Shape::Single)))
}

/// The commits a pull request spans, from merge base to the stored head.
fn span(cx: &Cx<'_>, issue: &Issue) -> (String, String) {
    let head = git::ref_sha(&cx.w.git_dir(issue.repo), &pull_ref(issue.index)).unwrap_or_default();
    let base = issue.pull.as_ref().map(|p| ends(cx.w, issue, p, Shape::List).merge_base).unwrap_or_default();
    (base, head)
}

fn files(cx: &Cx<'_>, at: &At, index: &str) -> Answer {
    let issue = cx.pull(at, index)?;
    let (base, head) = span(cx, &issue);
    let all = git::changed_files(&cx.w.git_dir(at.repo.id), &base, &head);
    let full = cx.w.full_name(&at.repo);
    let root = &cx.w.root_url;
    let reply = cx.paged(&all, true, |f| {
        let mut out = json!({ "filename": f.path });
        if let Some(previous) = &f.previous {
            out["previous_filename"] = json!(previous);
        }
        crate::render::merge(
            &mut out,
            json!({
                "status": f.status,
                "additions": f.additions,
                "deletions": f.deletions,
                "changes": f.additions + f.deletions,
                "html_url": format!("{root}{full}/src/commit/{head}/{}", f.path),
                "contents_url": format!("{root}api/v1/repos/{full}/contents/{}?ref={head}", f.path),
                "raw_url": format!("{root}{full}/raw/commit/{head}/{}", f.path),
            }),
        );
        out
    });
    Ok(cx.page_headers(reply, all.len()))
}

fn commits(cx: &Cx<'_>, at: &At, index: &str) -> Answer {
    let issue = cx.pull(at, index)?;
    let (base, head) = span(cx, &issue);
    let all = git::commits(&cx.w.git_dir(at.repo.id), &[&format!("{base}..{head}")]);
    let reply = cx.paged(&all, true, |c| commit_json(cx.w, &at.repo, c, cx.arg("files") != Some("false")));
    Ok(cx.page_headers(reply, all.len()))
}

fn diff(cx: &Cx<'_>, at: &At, name: &str) -> Answer {
    let (index, patch) = match name.strip_suffix(".diff") {
        Some(index) => (index, false),
        None => (name.strip_suffix(".patch").unwrap_or(name), true),
    };
    let issue = cx.pull(at, index)?;
    let (base, head) = span(cx, &issue);
    let dir = cx.w.git_dir(at.repo.id);
    let bytes = if patch {
        git::run_raw(&dir, &["format-patch", "--stdout", &format!("{base}..{head}")])
    } else {
        git::run_raw(&dir, &["diff", &base, &head])
    };
    let bytes = bytes.map_err(|e| cx.internal(&e.to_string()))?;
    Ok(Reply { status: 200, headers: Vec::new(), content: Content::Bytes(bytes, "text/plain; charset=utf-8") })
}

fn by_branches(cx: &Cx<'_>, at: &At, base: &str, head: &str) -> Answer {
    let (head_repo, branch) = head_of(cx, at, head)?;
    let hit = |i: &&Issue| {
        i.repo == at.repo.id
            && i.pull
                .as_ref()
                .is_some_and(|p| p.base_branch == base && p.head_branch == branch && p.head_repo == Some(head_repo.id))
    };
    match cx.w.issues.values().rev().find(hit) {
        Some(found) => Ok(Reply::json(200, pull_json(cx.w, found, cx.me(), Shape::Single))),
        None => Err(cx.not_found()),
    }
}
