//! Tags and releases. A tag with a release cannot be deleted.

use serde_json::Value;

use crate::api::contents::signature;
use crate::api::{At, Cx, unknown};
use crate::git;
use crate::perm::Unit;
use crate::refs::{RefUpdate, moved};
use crate::render_git::{release as release_json, tag as tag_json};
use crate::reply::{Answer, Reply};
use crate::world::{Id, Release};

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    if !at.perm.can_read(Unit::Releases) && !at.perm.can_read(Unit::Code) {
        return Err(cx.not_found());
    }
    match (method, path) {
        ("GET", ["tags"]) => {
            let found = git::refs(&cx.w.git_dir(at.repo.id), "refs/tags/");
            let names: Vec<String> =
                found.iter().filter_map(|(n, _)| n.strip_prefix("refs/tags/")).map(str::to_owned).rev().collect();
            Ok(cx.paged(&names, false, |n| tag_json(cx.w, &at.repo, n)))
        }
        ("POST", ["tags"]) => create_tag(cx, at),
        ("GET", ["tags", name @ ..]) => match tag_json(cx.w, &at.repo, &name.join("/")) {
            Value::Null => Err(cx.not_found()),
            found => Ok(Reply::json(200, found)),
        },
        ("DELETE", ["tags", name @ ..]) => delete_tag(cx, at, &name.join("/")),
        ("GET", ["releases"]) => {
            let writer = at.perm.can_write(Unit::Releases);
            let all: Vec<Release> = at.repo.releases.iter().rev().filter(|r| writer || !r.draft).cloned().collect();
            Ok(cx.paged(&all, true, |r| release_json(cx.w, &at.repo, r)))
        }
        ("POST", ["releases"]) => create(cx, at),
        ("GET", ["releases", "latest"]) => {
            let latest = at.repo.releases.iter().rev().find(|r| !r.draft && !r.prerelease).cloned();
            one(cx, method, at, latest)
        }
        (_, ["releases", "tags", tag @ ..]) => {
            let name = tag.join("/");
            let found = at.repo.releases.iter().find(|r| r.tag == name).cloned();
            one(cx, method, at, found)
        }
        (_, ["releases", id]) => {
            let id: Option<Id> = id.parse().ok();
            let found = at.repo.releases.iter().find(|r| Some(r.id) == id).cloned();
            one(cx, method, at, found)
        }
        _ => Err(unknown(cx, method)),
    }
}

fn create_tag(cx: &mut Cx<'_>, at: &At) -> Answer {
    let me = cx.need_push(at)?;
    cx.not_archived(at)?;
    let name = cx.required("tag_name", "TagName")?;
    let target = cx.text("target")?.filter(|t| !t.is_empty()).unwrap_or_else(|| at.repo.default_branch.clone());
    let message = cx.text("message")?.unwrap_or_default();
    make_tag(cx, at, me, &name, &target, &message)?;
    // The schema says 200; the handler answers 201.
    Ok(Reply::json(201, tag_json(cx.w, &at.repo, &name)))
}

fn make_tag(cx: &mut Cx<'_>, at: &At, me: Id, name: &str, target: &str, message: &str) -> Result<(), Reply> {
    let dir = cx.w.git_dir(at.repo.id);
    let Some(sha) = git::resolve(&dir, target) else { return Err(cx.fail(404, "target not found")) };
    let full = format!("refs/tags/{name}");
    if git::ref_sha(&dir, &full).is_some() {
        return Err(cx.fail(409, "tag exists"));
    }
    if !git::valid_branch(&dir, name) {
        return Err(cx.fail(422, "[TagName]: GitRefName"));
    }
    let done = if message.is_empty() {
        git::update_ref(&dir, &full, Some(&sha))
    } else {
        git::annotated_tag(&dir, name, &sha, message, &signature(cx.w, me))
    };
    done.map_err(|e| cx.internal(&e.to_string()))?;
    let new = git::ref_sha(&dir, &full);
    moved(cx.w, at.repo.id, me, &[RefUpdate { name: full, old: None, new }]);
    Ok(())
}

fn delete_tag(cx: &mut Cx<'_>, at: &At, name: &str) -> Answer {
    let me = cx.need_push(at)?;
    cx.not_archived(at)?;
    let dir = cx.w.git_dir(at.repo.id);
    let full = format!("refs/tags/{name}");
    let Some(old) = git::ref_sha(&dir, &full) else { return Err(cx.not_found()) };
    if at.repo.releases.iter().any(|r| r.tag == name && !r.draft) {
        return Err(cx.fail(409, "a tag attached to a release cannot be deleted directly"));
    }
    git::update_ref(&dir, &full, None).map_err(|e| cx.internal(&e.to_string()))?;
    moved(cx.w, at.repo.id, me, &[RefUpdate { name: full, old: Some(old), new: None }]);
    Ok(Reply::empty(204))
}

fn need_release_write(cx: &Cx<'_>, at: &At) -> Result<Id, Reply> {
    let me = cx.signed_in()?;
    if at.perm.can_write(Unit::Releases) {
        Ok(me)
    } else {
        Err(cx.fail(403, "user should have a permission to write to a repo"))
    }
}

fn create(cx: &mut Cx<'_>, at: &At) -> Answer {
    let me = need_release_write(cx, at)?;
    cx.not_archived(at)?;
    let tag = cx.required("tag_name", "TagName")?;
    if at.repo.releases.iter().any(|r| r.tag == tag) {
        return Err(cx.fail(409, "release already exists"));
    }
    let target =
        cx.text("target_commitish")?.filter(|t| !t.is_empty()).unwrap_or_else(|| at.repo.default_branch.clone());
    let draft = cx.flag("draft")?.unwrap_or(false);
    let exists = git::ref_sha(&cx.w.git_dir(at.repo.id), &format!("refs/tags/{tag}")).is_some();
    if !exists && !draft {
        let message = cx.text("tag_message")?.unwrap_or_default();
        make_tag(cx, at, me, &tag, &target, &message)?;
    }
    let new = Release {
        id: cx.w.next("release"),
        name: cx.text("name")?.filter(|n| !n.is_empty()).unwrap_or_else(|| tag.clone()),
        body: cx.text("body")?.unwrap_or_default(),
        tag,
        target,
        draft,
        prerelease: cx.flag("prerelease")?.unwrap_or(false),
        created: cx.w.now(),
        author: me,
    };
    if let Some(repo) = cx.w.repos.get_mut(&at.repo.id) {
        repo.releases.push(new.clone());
    }
    Ok(Reply::json(201, release_json(cx.w, &at.repo, &new)))
}

fn one(cx: &mut Cx<'_>, method: &str, at: &At, found: Option<Release>) -> Answer {
    let Some(mut it) = found.filter(|r| !r.draft || at.perm.can_write(Unit::Releases)) else {
        return Err(cx.not_found());
    };
    match method {
        "GET" => Ok(Reply::json(200, release_json(cx.w, &at.repo, &it))),
        "PATCH" => {
            need_release_write(cx, at)?;
            it.name = cx.text("name")?.unwrap_or(it.name);
            it.body = cx.text("body")?.unwrap_or(it.body);
            it.draft = cx.flag("draft")?.unwrap_or(it.draft);
            it.prerelease = cx.flag("prerelease")?.unwrap_or(it.prerelease);
            let repo = cx.w.repos.get_mut(&at.repo.id);
            if let Some(kept) = repo.and_then(|r| r.releases.iter_mut().find(|r| r.id == it.id)) {
                *kept = it.clone();
            }
            Ok(Reply::json(200, release_json(cx.w, &at.repo, &it)))
        }
        "DELETE" => {
            need_release_write(cx, at)?;
            if let Some(repo) = cx.w.repos.get_mut(&at.repo.id) {
                repo.releases.retain(|r| r.id != it.id);
            }
            Ok(Reply::empty(204))
        }
        _ => Err(unknown(cx, method)),
    }
}
