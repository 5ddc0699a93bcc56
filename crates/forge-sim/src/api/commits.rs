//! Commits, refs, trees, blobs, comparisons. Reading only.

use base64::Engine;
use serde_json::{Value, json};

use crate::api::{At, Cx, unknown};
use crate::git;
use crate::perm::Unit;
use crate::render_git::{commit, reference};
use crate::render_issue::{Shape, pull as pull_json};
use crate::reply::{Answer, Content, Reply};

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    if !at.perm.can_read(Unit::Code) {
        return Err(cx.not_found());
    }
    if method != "GET" {
        return Err(unknown(cx, method));
    }
    match path {
        ["commits"] => list(cx, at),
        ["commits", sha, "pull"] => by_merge(cx, at, sha),
        ["git", "commits", sha] => one(cx, at, sha),
        ["git", "refs", prefix @ ..] => refs(cx, at, &prefix.join("/")),
        ["git", "trees", sha] => tree(cx, at, sha),
        ["git", "blobs", sha] => blob(cx, at, sha),
        ["git", "tags", sha] => annotated(cx, at, sha),
        ["compare", basehead @ ..] => compare(cx, at, &basehead.join("/")),
        ["archive", name @ ..] => archive(cx, at, &name.join("/")),
        _ => Err(unknown(cx, method)),
    }
}

fn list(cx: &Cx<'_>, at: &At) -> Answer {
    let dir = cx.w.git_dir(at.repo.id);
    if git::branches_empty(&dir) {
        return Err(cx.fail(409, "Git Repository is empty."));
    }
    let start = cx.arg("sha").filter(|s| !s.is_empty()).unwrap_or(&at.repo.default_branch);
    let Some(sha) = git::resolve(&dir, start) else { return Err(cx.not_found()) };
    let path = cx.arg("path").filter(|p| !p.is_empty());
    let all = match path {
        Some(path) => git::commits(&dir, &[&sha, "--", path]),
        None => git::commits(&dir, &[&sha]),
    };
    let extras = cx.arg("stat") != Some("false");
    let reply = cx.paged(&all, true, |c| commit(cx.w, &at.repo, c, extras));
    Ok(cx.page_headers(reply, all.len()))
}

fn one(cx: &Cx<'_>, at: &At, sha: &str) -> Answer {
    let dir = cx.w.git_dir(at.repo.id);
    if sha.is_empty() || sha.contains("..") {
        return Err(cx.fail(422, format!("no valid ref or sha: {sha}")));
    }
    let found = git::resolve(&dir, sha).and_then(|full| git::commit(&dir, &full));
    let Some(found) = found else { return Err(cx.not_found()) };
    Ok(Reply::json(200, commit(cx.w, &at.repo, &found, true)))
}

fn by_merge(cx: &Cx<'_>, at: &At, sha: &str) -> Answer {
    let merged = |i: &&crate::world::Issue| {
        i.repo == at.repo.id && i.pull.as_ref().and_then(|p| p.merged.as_ref()).is_some_and(|m| m.sha == sha)
    };
    match cx.w.issues.values().find(merged) {
        Some(found) => Ok(Reply::json(200, pull_json(cx.w, found, cx.me(), Shape::Single))),
        None => Err(cx.not_found()),
    }
}

/// Always an array: everything whose name starts so.
fn refs(cx: &Cx<'_>, at: &At, prefix: &str) -> Answer {
    let dir = cx.w.git_dir(at.repo.id);
    let wanted = format!("refs/{prefix}");
    let all: Vec<Value> = git::refs(&dir, "refs/")
        .into_iter()
        .filter(|(name, _)| name.starts_with(&wanted))
        .map(|(name, sha)| reference(cx.w, &at.repo, &name, &sha))
        .collect();
    if all.is_empty() { Err(cx.not_found()) } else { Ok(Reply::json(200, Value::Array(all))) }
}

fn tree(cx: &Cx<'_>, at: &At, sha: &str) -> Answer {
    let dir = cx.w.git_dir(at.repo.id);
    let root = git::resolve(&dir, sha).or_else(|| git::is_sha(sha).then(|| sha.to_owned()));
    let recursive = cx.arg("recursive").is_some_and(|r| r == "1" || r == "true");
    let entries = root.as_deref().and_then(|r| git::tree(&dir, r, "", recursive));
    let (Some(root), Some(entries)) = (root, entries) else { return Err(cx.fail(400, "object does not exist")) };
    let full = cx.w.full_name(&at.repo);
    let api = format!("{}api/v1/repos/{full}/git", cx.w.root_url);
    let tree_sha = git::run(&dir, &["rev-parse", &format!("{root}^{{tree}}")]).unwrap_or(root);
    let listed: Vec<Value> = entries
        .iter()
        .map(|e| {
            json!({
                "path": e.path,
                "mode": e.mode,
                "type": e.kind,
                "size": e.size,
                "sha": e.sha,
                "url": format!("{api}/{}s/{}", e.kind, e.sha),
            })
        })
        .collect();
    Ok(Reply::json(
        200,
        json!({
            "sha": tree_sha,
            "url": format!("{api}/trees/{tree_sha}"),
            "tree": listed,
            "truncated": false,
            "page": 1,
            "total_count": entries.len(),
        }),
    ))
}

fn blob(cx: &Cx<'_>, at: &At, sha: &str) -> Answer {
    let Some(bytes) = git::blob(&cx.w.git_dir(at.repo.id), sha) else {
        return Err(cx.fail(400, "object does not exist"));
    };
    let full = cx.w.full_name(&at.repo);
    Ok(Reply::json(
        200,
        json!({
            "content": base64::engine::general_purpose::STANDARD.encode(&bytes),
            "encoding": "base64",
            "url": format!("{}api/v1/repos/{full}/git/blobs/{sha}", cx.w.root_url),
            "sha": sha,
            "size": bytes.len(),
        }),
    ))
}

fn annotated(cx: &Cx<'_>, at: &At, sha: &str) -> Answer {
    let dir = cx.w.git_dir(at.repo.id);
    let text = git::is_sha(sha).then(|| git::run(&dir, &["cat-file", "tag", sha]).ok()).flatten();
    let Some(text) = text else { return Err(cx.fail(400, "object does not exist")) };
    let (head, message) = text.split_once("\n\n").unwrap_or((text.as_str(), ""));
    let field = |key: &str| head.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default().to_owned();
    let (object, kind, name, tagger) = (field("object "), field("type "), field("tag "), field("tagger "));
    let (who, rest) = tagger.split_once(" <").unwrap_or((tagger.as_str(), ""));
    let (email, when) = rest.split_once("> ").unwrap_or((rest, ""));
    let seconds = when.split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0);
    let api = format!("{}api/v1/repos/{}/git", cx.w.root_url, cx.w.full_name(&at.repo));
    Ok(Reply::json(
        200,
        json!({
            "tag": name,
            "sha": sha,
            "url": format!("{api}/tags/{sha}"),
            "message": message,
            "tagger": { "name": who, "email": email, "date": crate::world::time_text(seconds) },
            "object": { "type": kind, "url": format!("{api}/{kind}s/{object}"), "sha": object },
            "verification": {
                "verified": false, "reason": "gpg.error.not_signed_commit",
                "signature": "", "signer": null, "payload": "",
            },
        }),
    ))
}

fn compare(cx: &Cx<'_>, at: &At, basehead: &str) -> Answer {
    let dir = cx.w.git_dir(at.repo.id);
    let Some((base, head)) = basehead.split_once("...").or_else(|| basehead.split_once("..")) else {
        return Err(cx.not_found());
    };
    let (Some(base), Some(head)) = (git::resolve(&dir, base), git::resolve(&dir, head)) else {
        return Err(cx.not_found());
    };
    let all = git::commits(&dir, &[&format!("{base}..{head}")]);
    let shown: Vec<Value> = all.iter().map(|c| commit(cx.w, &at.repo, c, true)).collect();
    Ok(Reply::json(200, json!({ "total_commits": all.len(), "commits": shown })))
}

fn archive(cx: &Cx<'_>, at: &At, name: &str) -> Answer {
    let (stem, format, kind) = match (name.strip_suffix(".tar.gz"), name.strip_suffix(".zip")) {
        (Some(stem), _) => (stem, "tar.gz", "application/gzip"),
        (None, Some(stem)) => (stem, "zip", "application/zip"),
        (None, None) => return Err(cx.not_found()),
    };
    let dir = cx.w.git_dir(at.repo.id);
    let Some(sha) = git::resolve(&dir, stem) else { return Err(cx.not_found()) };
    let prefix = format!("--prefix={}/", at.repo.name.to_lowercase());
    let made = git::run_raw(&dir, &["archive", &format!("--format={format}"), &prefix, &sha]);
    let bytes = made.map_err(|e| cx.internal(&e.to_string()))?;
    Ok(Reply { status: 200, headers: Vec::new(), content: Content::Bytes(bytes, kind) })
}
