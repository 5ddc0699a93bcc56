//! Git over HTTP, by git's own backend; this part decides who may, and tells the model what moved.
//!
//! The rule to know: what a push asked for is read from its own command list, and counts only if
//! the ref really is at the new commit afterwards.

use std::process::Stdio;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::io::ReaderStream;

use crate::auth::{Actor, Category, Scopes, authenticate, covers};
use crate::git::{self, ZERO};
use crate::perm::{Mode, Unit, repo_perm};
use crate::refs::{RefUpdate, moved};
use crate::render_git::{may_push, protection};
use crate::reply::Reply;
use crate::server::{Asked, Shared, simple};
use crate::world::{Id, Repo, World};

/// The hook every bare repository runs before refs move. It refuses what the server named.
pub(crate) const PRE_RECEIVE: &str = r#"#!/bin/sh
# Names in FORGE_SIM_DENY may not move; names in FORGE_SIM_FORWARD only forwards.
listed() {
    printf '%s\n' "$1" | grep -Fxq -- "$2"
}
while read -r old new ref; do
    if listed "$FORGE_SIM_DENY" "$ref"; then
        echo "Gitea: Not allowed to push to protected branch ${ref#refs/heads/}" >&2
        exit 1
    fi
    if listed "$FORGE_SIM_FORWARD" "$ref" && ! git merge-base --is-ancestor "$old" "$new" 2>/dev/null; then
        echo "Gitea: branch ${ref#refs/heads/} is protected from force push" >&2
        exit 1
    fi
done
exit 0
"#;

/// What a request has been let through for.
struct Pass {
    repo: Repo,
    user: Option<Id>,
    login: String,
    push: bool,
}

pub(crate) async fn handle(shared: &Arc<Shared>, asked: Asked) -> Response<Body> {
    let pass = {
        let mut world = shared.world();
        admit(&mut world, &asked)
    };
    let pass = match pass {
        Ok(pass) => pass,
        Err(reply) => return simple(shared, &reply),
    };
    match backend(shared, &pass, &asked).await {
        Ok(response) => response,
        Err(error) => simple(shared, &Reply::text(500, format!("git http-backend: {error}\n"))),
    }
}

fn ask_password() -> Reply {
    Reply::text(401, "Unauthorized\n").with("WWW-Authenticate", "Basic realm=\"Gitea\"")
}

/// Decides whether this request may talk to the backend.
fn admit(world: &mut World, asked: &Asked) -> Result<Pass, Reply> {
    let service = match asked.path.last().map(String::as_str) {
        Some("refs") => asked.query.iter().find(|(k, _)| k == "service").map_or("", |(_, v)| v.as_str()),
        Some(other) => other,
        None => "",
    };
    let push = match service {
        "git-upload-pack" => false,
        "git-receive-pack" => true,
        _ => return Err(Reply::text(404, "Not found\n")),
    };
    let actor = match authenticate(world, &asked.headers, &[]) {
        Ok(actor) => actor,
        Err(reply) if reply.status == 403 => return Err(Reply::text(403, "Your account is disabled.")),
        Err(_) => return Err(ask_password()),
    };
    let (owner, name) = (&asked.path[0], asked.path[1].trim_end_matches(".git"));
    let Some(repo) = world.repo_by_name(owner, name).cloned() else {
        return Err(missing(world, &actor, asked, owner, name));
    };
    let public = !push && !repo.private && repo_perm(world, &repo, None).can_read(Unit::Code);
    if actor.user.is_none() && (!public || world.switches.require_signin) {
        return Err(ask_password());
    }
    token_covers(asked, &actor, &repo, push)?;
    let perm = repo_perm(world, &repo, actor.user);
    let wanted = if push { Mode::Write } else { Mode::Read };
    if perm.unit(Unit::Code) < wanted {
        return Err(Reply::text(404, "Repository not found"));
    }
    if push && repo.archived {
        let text =
            "This repo is archived. You can view files and clone it, but cannot push or open issues/pull-requests.";
        return Err(Reply::text(403, text));
    }
    if push && repo.mirror.is_some() {
        return Err(Reply::text(403, "mirror repository is read-only"));
    }
    let login = actor.user.map(|id| world.login(id)).unwrap_or_default();
    Ok(Pass { repo, user: actor.user, login, push })
}

fn missing(world: &World, actor: &Actor, asked: &Asked, owner: &str, name: &str) -> Reply {
    let moved_to = world.renamed.get(&format!("{owner}/{name}").to_lowercase());
    if let Some(repo) = moved_to.and_then(|id| world.repos.get(id)) {
        let rest = asked.path[2..].join("/");
        let query = if asked.raw_query.is_empty() { String::new() } else { format!("?{}", asked.raw_query) };
        return Reply::redirect(301, format!("{}{}.git/{rest}{query}", world.root_url, world.full_name(repo)));
    }
    if actor.user.is_none() { ask_password() } else { Reply::text(404, "Repository not found") }
}

/// A token used as a Basic password is checked for its scopes; one in a token header is not.
fn token_covers(asked: &Asked, actor: &Actor, repo: &Repo, push: bool) -> Result<(), Reply> {
    let basic = asked.header("authorization").to_ascii_lowercase().starts_with("basic ");
    let Scopes::Token(scopes) = &actor.scopes else { return Ok(()) };
    if !basic {
        return Ok(());
    }
    if !covers(scopes, Category::Repository, push) || (repo.private && actor.public_only()) {
        return Err(Reply::text(403, "token does not have the scope for this repository"));
    }
    Ok(())
}

async fn backend(shared: &Arc<Shared>, pass: &Pass, asked: &Asked) -> std::io::Result<Response<Body>> {
    let commands = if pass.push && asked.method == "POST" { commands(&asked.body) } else { Vec::new() };
    let mut child = spawn(shared, pass, asked, &commands)?;
    let mut stdin = child.stdin.take().ok_or_else(|| std::io::Error::other("no input"))?;
    let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("no output"))?;
    let body = asked.body.clone();
    tokio::spawn(async move {
        // The backend may answer without reading everything.
        drop(stdin.write_all(&body).await);
    });
    let mut reader = BufReader::new(stdout);
    let (status, headers) = cgi_head(&mut reader).await?;
    let body = if pass.push {
        let mut out = Vec::new();
        reader.read_to_end(&mut out).await?;
        child.wait().await?;
        pushed(shared, pass, &commands).await;
        Body::from(out)
    } else {
        tokio::spawn(async move { child.wait().await });
        Body::from_stream(ReaderStream::new(reader))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

fn spawn(shared: &Shared, pass: &Pass, asked: &Asked, commands: &[RefUpdate]) -> std::io::Result<Child> {
    let (root, deny, forward) = {
        let world = shared.world();
        let (deny, forward) = guarded(&world, pass, commands);
        (world.data.join("repos"), deny, forward)
    };
    Command::from(git::program())
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{}.git/{}", pass.repo.id, asked.path[2..].join("/")))
        .env("REQUEST_METHOD", &asked.method)
        .env("QUERY_STRING", &asked.raw_query)
        .env("CONTENT_TYPE", asked.header("content-type"))
        .env("CONTENT_LENGTH", asked.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", asked.header("content-encoding"))
        .env("GIT_PROTOCOL", asked.header("git-protocol"))
        .env("REMOTE_USER", &pass.login)
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("FORGE_SIM_DENY", deny.join("\n"))
        .env("FORGE_SIM_FORWARD", forward.join("\n"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

/// Refs of a push that may not move at all, and those that may only move forwards.
fn guarded(world: &World, pass: &Pass, commands: &[RefUpdate]) -> (Vec<String>, Vec<String>) {
    let (mut deny, mut forward) = (Vec::new(), Vec::new());
    for command in commands {
        let Some(branch) = command.name.strip_prefix("refs/heads/") else {
            if !command.name.starts_with("refs/tags/") {
                deny.push(command.name.clone());
            }
            continue;
        };
        let protected = protection(&pass.repo, branch).is_some();
        if !may_push(world, &pass.repo, branch, pass.user) || (protected && command.new.is_none()) {
            deny.push(command.name.clone());
        } else if protected && command.old.is_some() {
            forward.push(command.name.clone());
        }
    }
    (deny, forward)
}

async fn cgi_head(
    reader: &mut (impl tokio::io::AsyncBufRead + Unpin),
) -> std::io::Result<(StatusCode, Vec<(HeaderName, HeaderValue)>)> {
    let (mut status, mut headers) = (StatusCode::OK, Vec::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Err(std::io::Error::other("ended before its headers did"));
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let Some((name, value)) = line.split_once(": ") else { continue };
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|c| c.parse().ok());
            status = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        } else if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.push((name, value));
        }
    }
}

/// The command list at the head of a push: packets of `old new ref`, up to the flush.
pub(crate) fn commands(body: &[u8]) -> Vec<RefUpdate> {
    let mut out = Vec::new();
    let mut rest = body;
    while let Some(length) = rest.get(..4).and_then(|b| std::str::from_utf8(b).ok()) {
        let Ok(length) = usize::from_str_radix(length, 16) else { break };
        let Some(packet) = rest.get(4..length.max(4)).filter(|_| length > 4) else { break };
        rest = &rest[length..];
        let text = String::from_utf8_lossy(packet);
        let line = text.split('\0').next().unwrap_or_default().trim_end_matches('\n');
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let &[old, new, name] = words.as_slice() else { continue };
        if !git::is_sha(old) || !git::is_sha(new) {
            continue;
        }
        let sha = |s: &str| (s != ZERO).then(|| s.to_owned());
        out.push(RefUpdate { name: name.to_owned(), old: sha(old), new: sha(new) });
    }
    out
}

/// Tells the model about the commands that took effect.
async fn pushed(shared: &Arc<Shared>, pass: &Pass, commands: &[RefUpdate]) {
    let (Some(user), false) = (pass.user, commands.is_empty()) else { return };
    let (shared, repo, commands) = (Arc::clone(shared), pass.repo.id, commands.to_vec());
    let told = tokio::task::spawn_blocking(move || {
        let mut world = shared.world();
        let dir = world.git_dir(repo);
        let done: Vec<RefUpdate> = commands.into_iter().filter(|c| git::ref_sha(&dir, &c.name) == c.new).collect();
        moved(&mut world, repo, user, &done);
    });
    drop(told.await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_list_is_read_up_to_the_flush() {
        let sha = "1".repeat(40);
        let line = format!("{ZERO} {sha} refs/heads/main\0 report-status side-band-64k");
        let second = format!("{sha} {ZERO} refs/heads/old\n");
        let body = format!("{:04x}{line}{:04x}{second}0000PACK…", line.len() + 4, second.len() + 4);
        let found = commands(body.as_bytes());
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], RefUpdate { name: "refs/heads/main".into(), old: None, new: Some(sha.clone()) });
        assert_eq!(found[1], RefUpdate { name: "refs/heads/old".into(), old: Some(sha), new: None });
        assert!(commands(b"0000").is_empty());
        assert!(commands(b"zzzz").is_empty());
        assert!(commands(b"00ff short").is_empty());
    }
}
