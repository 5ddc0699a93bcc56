//! Files by the API: reading, and committing changes without a work tree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::{At, Cx, unknown};
use crate::git::{self, Change, CommitInfo, Person, Signature, TreeEntry};
use crate::perm::Unit;
use crate::refs::{RefUpdate, moved};
use crate::render::domain;
use crate::render_git::{commit_meta, may_push};
use crate::reply::{Answer, Content, Reply};
use crate::world::{Id, World, time, time_text};

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, at: &At, path: &[&str]) -> Answer {
    if !at.perm.can_read(Unit::Code) {
        return Err(cx.not_found());
    }
    match (method, path) {
        ("GET", ["contents", rest @ ..]) => get(cx, at, &rest.join("/")),
        ("GET", ["raw", rest @ ..]) => raw(cx, at, &rest.join("/")),
        ("POST", ["contents", rest @ ..]) if !rest.is_empty() => one(cx, at, &rest.join("/"), Kind::Create),
        ("PUT", ["contents", rest @ ..]) if !rest.is_empty() => one(cx, at, &rest.join("/"), Kind::Update),
        ("DELETE", ["contents", rest @ ..]) if !rest.is_empty() => one(cx, at, &rest.join("/"), Kind::Delete),
        ("POST", ["contents"]) => many(cx, at),
        _ => Err(unknown(cx, method)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Create,
    Update,
    Delete,
}

/// One wanted change with what it presupposes.
struct Wanted {
    kind: Kind,
    path: String,
    content: Option<Vec<u8>>,
    sha: Option<String>,
}

/// Author and committer of what a user does on the server.
pub(crate) fn signature(world: &World, who: Id) -> Signature {
    let (name, email) = world.users.get(&who).map_or_else(
        || ("Ghost".to_owned(), format!("ghost@noreply.{}", domain(world))),
        |u| (if u.full_name.is_empty() { u.login.clone() } else { u.full_name.clone() }, u.email.clone()),
    );
    let person = Person { name, email };
    Signature { author: person.clone(), committer: person, seconds: world.now() }
}

fn links(cx: &Cx<'_>, at: &At, reference: &str, entry: &TreeEntry) -> (String, String, String) {
    let full = cx.w.full_name(&at.repo);
    let root = &cx.w.root_url;
    (
        format!("{root}api/v1/repos/{full}/contents/{}?ref={reference}", entry.path),
        format!("{root}{full}/src/branch/{reference}/{}", entry.path),
        format!("{root}api/v1/repos/{full}/git/{}s/{}", entry.kind, entry.sha),
    )
}

/// `ContentsResponse`. `content` only for a file asked for by its path.
fn entry_json(cx: &Cx<'_>, at: &At, reference: &str, commit: &CommitInfo, entry: &TreeEntry, full: bool) -> Value {
    let (url, html_url, git_url) = links(cx, at, reference, entry);
    let name = entry.path.rsplit('/').next().unwrap_or_default();
    let dir = cx.w.git_dir(at.repo.id);
    let kind = match (entry.kind.as_str(), entry.mode.as_str()) {
        ("tree", _) => "dir",
        ("commit", _) => "submodule",
        (_, "120000") => "symlink",
        _ => "file",
    };
    let bytes = (full && entry.kind == "blob").then(|| git::blob(&dir, &entry.sha)).flatten();
    let download = format!("{}{}/raw/branch/{reference}/{}", cx.w.root_url, cx.w.full_name(&at.repo), entry.path);
    let last = git::commits(&dir, &["-1", &commit.sha, "--", &entry.path]);
    let last = last.first().unwrap_or(commit);
    json!({
        "name": name,
        "path": entry.path,
        "sha": entry.sha,
        "last_commit_sha": last.sha,
        "last_committer_date": time_text(last.commit_time),
        "last_author_date": time_text(last.author_time),
        "type": kind,
        "size": entry.size,
        "encoding": bytes.as_ref().map(|_| "base64"),
        "content": bytes.map(|b| STANDARD.encode(b)),
        "target": null,
        "url": url,
        "html_url": html_url,
        "git_url": git_url,
        "download_url": if kind == "file" { json!(download) } else { Value::Null },
        "submodule_git_url": null,
        "_links": { "self": url, "git": git_url, "html": html_url },
    })
}

fn get(cx: &Cx<'_>, at: &At, path: &str) -> Answer {
    let reference = cx.arg("ref").filter(|r| !r.is_empty()).unwrap_or(&at.repo.default_branch).to_owned();
    let dir = cx.w.git_dir(at.repo.id);
    let commit = git::resolve(&dir, &reference).and_then(|sha| git::commit(&dir, &sha));
    let Some(commit) = commit else { return Err(cx.not_found()) };
    let path = path.trim_matches('/');
    if !path.is_empty() {
        let Some(entry) = git::entry(&dir, &commit.sha, path) else { return Err(cx.not_found()) };
        if entry.kind != "tree" {
            return Ok(Reply::json(200, entry_json(cx, at, &reference, &commit, &entry, true)));
        }
    }
    let Some(entries) = git::tree(&dir, &commit.sha, path, false) else { return Err(cx.not_found()) };
    let listed = entries.into_iter().map(|mut e| {
        if !path.is_empty() {
            e.path = format!("{path}/{}", e.path);
        }
        entry_json(cx, at, &reference, &commit, &e, false)
    });
    Ok(Reply::json(200, listed.collect()))
}

fn raw(cx: &Cx<'_>, at: &At, path: &str) -> Answer {
    let reference = cx.arg("ref").filter(|r| !r.is_empty()).unwrap_or(&at.repo.default_branch);
    let dir = cx.w.git_dir(at.repo.id);
    let found = git::resolve(&dir, reference).and_then(|sha| git::entry(&dir, &sha, path));
    let bytes = found.filter(|e| e.kind == "blob").and_then(|e| git::blob(&dir, &e.sha));
    let Some(bytes) = bytes else { return Err(cx.not_found()) };
    let content = Content::Bytes(bytes, "text/plain; charset=utf-8");
    Ok(Reply { status: 200, headers: Vec::new(), content })
}

fn decoded(cx: &Cx<'_>, text: Option<String>) -> Result<Vec<u8>, Reply> {
    STANDARD.decode(text.unwrap_or_default()).map_err(|e| cx.fail(422, e.to_string()))
}

fn one(cx: &mut Cx<'_>, at: &At, path: &str, kind: Kind) -> Answer {
    let sha = cx.text("sha")?.filter(|s| !s.is_empty());
    let kind = match (kind, &sha) {
        (Kind::Update, None) => Kind::Create,
        (Kind::Delete, None) => return Err(cx.fail(422, "[SHA]: Required")),
        (other, _) => other,
    };
    let content = match kind {
        Kind::Delete => None,
        // An empty file is `""`; a missing key is refused.
        Kind::Create | Kind::Update => match cx.text("content")? {
            None => return Err(cx.fail(422, "[ContentBase64]: Required")),
            text => Some(decoded(cx, text)?),
        },
    };
    let wanted = Wanted { kind, path: path.trim_matches('/').to_owned(), content, sha };
    let verb = match kind {
        Kind::Create => "Add",
        Kind::Update => "Update",
        Kind::Delete => "Delete",
    };
    let default = format!("{verb} {}\n", wanted.path);
    let (commit, branch) = apply(cx, at, std::slice::from_ref(&wanted), &default)?;
    let dir = cx.w.git_dir(at.repo.id);
    let content = git::entry(&dir, &commit.sha, &wanted.path)
        .map_or(Value::Null, |e| entry_json(cx, at, &branch, &commit, &e, true));
    let body = json!({ "content": content, "commit": file_commit(cx, at, &commit), "verification": verification() });
    Ok(Reply::json(if kind == Kind::Create { 201 } else { 200 }, body))
}

fn many(cx: &mut Cx<'_>, at: &At) -> Answer {
    let Some(Value::Array(files)) = cx.body.get("files").cloned() else {
        return Err(cx.fail(422, "[Files]: Required"));
    };
    let mut wanted = Vec::new();
    for file in &files {
        let text = |key: &str| file.get(key).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned);
        let Some(path) = text("path") else { return Err(cx.fail(422, "[Path]: Required")) };
        let kind = match file.get("operation").and_then(Value::as_str) {
            Some("create") => Kind::Create,
            Some("update") => Kind::Update,
            Some("delete") => Kind::Delete,
            _ => return Err(cx.fail(422, "[Operation]: Required")),
        };
        let content = match kind {
            Kind::Delete => None,
            Kind::Create | Kind::Update => Some(decoded(cx, text("content"))?),
        };
        wanted.push(Wanted { kind, path, content, sha: text("sha") });
    }
    let (commit, branch) = apply(cx, at, &wanted, "Change files\n")?;
    let dir = cx.w.git_dir(at.repo.id);
    let shown: Vec<Value> = wanted
        .iter()
        .map(|w| {
            git::entry(&dir, &commit.sha, &w.path)
                .map_or(Value::Null, |e| entry_json(cx, at, &branch, &commit, &e, true))
        })
        .collect();
    let body = json!({ "files": shown, "commit": file_commit(cx, at, &commit), "verification": verification() });
    Ok(Reply::json(201, body))
}

fn verification() -> Value {
    json!({ "verified": false, "reason": "gpg.error.not_signed_commit", "signature": "", "signer": null, "payload": "" })
}

/// `FileCommitResponse`.
fn file_commit(cx: &Cx<'_>, at: &At, it: &CommitInfo) -> Value {
    let full = cx.w.full_name(&at.repo);
    let root = &cx.w.root_url;
    let person = |p: &Person, t: i64| json!({ "name": p.name, "email": p.email, "date": time_text(t) });
    let parents: Vec<Value> = it.parents.iter().map(|p| commit_meta(cx.w, &at.repo, p, 0)).collect();
    json!({
        "url": format!("{root}api/v1/repos/{full}/git/commits/{}", it.sha),
        "sha": it.sha,
        "created": time(it.commit_time),
        "html_url": format!("{root}{full}/commit/{}", it.sha),
        "author": person(&it.author, it.author_time),
        "committer": person(&it.committer, it.commit_time),
        "parents": parents,
        "message": it.message,
        "tree": {
            "url": format!("{root}api/v1/repos/{full}/git/trees/{}", it.tree),
            "sha": it.tree,
            "created": time(it.commit_time),
        },
    })
}

fn unsafe_path(path: &str) -> bool {
    path.is_empty() || path.split('/').any(|p| p.is_empty() || p == "." || p == ".." || p.eq_ignore_ascii_case(".git"))
}

/// Checks and commits changes on a branch, or on a new one; returns the commit and its branch.
fn apply(cx: &mut Cx<'_>, at: &At, wanted: &[Wanted], default_message: &str) -> Result<(CommitInfo, String), Reply> {
    let me = cx.signed_in()?;
    cx.not_archived(at)?;
    if at.repo.mirror.is_some() {
        return Err(cx.fail(423, "Repo is a mirror."));
    }
    let dir = cx.w.git_dir(at.repo.id);
    let branch = cx.text("branch")?.filter(|b| !b.is_empty()).unwrap_or_else(|| at.repo.default_branch.clone());
    let target = cx.text("new_branch")?.filter(|b| !b.is_empty()).unwrap_or_else(|| branch.clone());
    if !at.perm.can_write(Unit::Code) || !may_push(cx.w, &at.repo, &target, Some(me)) {
        return Err(cx.fail(403, "user should have a permission to write to the target branch"));
    }
    let empty = git::branches_empty(&dir);
    let parent = git::branch_sha(&dir, &branch);
    if parent.is_none() && !empty {
        return Err(cx.fail(404, format!("branch does not exist [name: {branch}]")));
    }
    if target != branch && git::branch_sha(&dir, &target).is_some() {
        return Err(cx.fail(422, format!("branch already exists [name: {target}]")));
    }
    if !git::valid_branch(&dir, &target) {
        return Err(cx.fail(422, format!("branch name is not valid [{target}]")));
    }
    let mut changes = Vec::new();
    for want in wanted {
        check(cx, &dir, parent.as_deref(), want)?;
        changes.push(Change { path: want.path.clone(), content: want.content.clone() });
    }
    let message = cx.text("message")?.filter(|m| !m.trim().is_empty()).unwrap_or_else(|| default_message.to_owned());
    let sign = asked_signature(cx, me);
    let sha =
        git::commit_changes(&dir, parent.as_deref(), &changes, &message, &sign).map_err(|e| cx.fail(422, e.message))?;
    let old = git::branch_sha(&dir, &target);
    git::update_ref(&dir, &format!("refs/heads/{target}"), Some(&sha)).map_err(|e| cx.internal(&e.to_string()))?;
    moved(cx.w, at.repo.id, me, &[RefUpdate::branch(&target, old, Some(sha.clone()))]);
    let commit = git::commit(&dir, &sha).ok_or_else(|| cx.internal("commit vanished"))?;
    Ok((commit, target))
}

fn check(cx: &Cx<'_>, dir: &std::path::Path, parent: Option<&str>, want: &Wanted) -> Result<(), Reply> {
    if unsafe_path(&want.path) {
        return Err(cx.fail(422, format!("path contains a malformed path component [path: {}]", want.path)));
    }
    let found = parent.and_then(|p| git::entry(dir, p, &want.path));
    match (want.kind, found) {
        (Kind::Create, Some(_)) => Err(cx.fail(422, format!("repository file already exists [path: {}]", want.path))),
        (Kind::Create, None) => Ok(()),
        (Kind::Update | Kind::Delete, None) => {
            Err(cx.fail(404, format!("repository file does not exist [path: {}]", want.path)))
        }
        (Kind::Update | Kind::Delete, Some(entry)) => match &want.sha {
            Some(sha) if *sha == entry.sha => Ok(()),
            given => {
                let given = given.clone().unwrap_or_default();
                Err(cx.fail(422, format!("sha does not match [given: {given}, expected: {}]", entry.sha)))
            }
        },
    }
}

fn asked_signature(cx: &Cx<'_>, me: Id) -> Signature {
    let mut sign = signature(cx.w, me);
    let person = |key: &str| {
        let text = |field: &str| cx.body.get(key)?.get(field)?.as_str().map(str::to_owned);
        Some(Person { name: text("name")?, email: text("email")? })
    };
    if let Some(author) = person("author") {
        sign.author = author;
    }
    if let Some(committer) = person("committer") {
        sign.committer = committer;
    }
    sign
}
