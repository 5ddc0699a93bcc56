//! Badges, logs and the files of a run.
//!
//! A file is named by its path in the record of the run, and only what the record lists is served; nothing is joined
//! from the address. The folder is opened first and the file inside it (cap-std), so that a link in the folder leads
//! nowhere else. Only text and pictures that cc-ci made are shown; the rest is handed over as a download. Nothing of it
//! can run as a page: `nosniff`, and a sandbox without scripts or origin.

use std::path::Path as FsPath;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use sha2::{Digest, Sha256};
use tokio_util::io::ReaderStream;

use crate::domain::{Run, RunId, Stage, Verdict};
use crate::results::badge::{self, BadgeKind};
use crate::results::sanitise;
use crate::store::runs::{self, Outcome, RunRow, RunState};
use crate::store::{attempts, results, views};

use super::error::WebError;
use super::guard::CSP_FILE;
use super::pages::run::may_show_log;
use super::pages::run_number;
use super::session::Viewer;
use super::state::WebState;
use super::view;

/// Largest log that is read into memory to be cleaned; the harness writes none that is larger.
const LOG_MAX: u64 = 17 * 1024 * 1024;

/// `/runs/{id}/badge.svg`
pub(super) async fn run_badge(
    State(state): State<WebState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let number = run_number(&state, &id).await?;
    let run = runs::get(&mut *state.store.read().await?, number).await?;
    Ok(badge_answer(run.as_ref().map_or(BadgeKind::Unknown, kind_of), &headers))
}

/// `/recipes/{name}/badge.svg`
pub(super) async fn recipe_badge(
    State(state): State<WebState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    // The trend is not needed; one run tells the level.
    let recipe = views::recipe(&mut *state.store.read().await?, &name, 1).await?;
    let kind = recipe.as_ref().and_then(views::RecipeView::telling).map_or(BadgeKind::Unknown, kind_of);
    let mut response = badge_answer(kind, &headers);
    if recipe.is_none() && response.status() == StatusCode::OK {
        // The picture says it too, but whoever asks for a badge of nothing should know.
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

fn kind_of(run: &RunRow) -> BadgeKind {
    let verdict = run.verdict.unwrap_or(Verdict::Error);
    match (run.state, run.outcome) {
        (RunState::Queued | RunState::Running, _) => BadgeKind::Verdict(Verdict::Pending),
        (RunState::Finished, Some(Outcome::Judged)) => match run.level.and_then(|level| u8::try_from(level).ok()) {
            Some(level) => BadgeKind::Level(level, verdict),
            None => BadgeKind::Verdict(verdict),
        },
        (RunState::Finished, _) => BadgeKind::Verdict(Verdict::Error),
    }
}

fn badge_answer(kind: BadgeKind, headers: &HeaderMap) -> Response {
    let svg = badge::svg(kind, "cc-ci");
    // Weak, since the same picture goes out compressed too.
    let tag = format!("W/\"{}\"", hex::encode(&Sha256::digest(svg.as_bytes())[..8]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|list| {
        let plain = tag.trim_start_matches("W/");
        list.split(',').any(|known| known.trim().trim_start_matches("W/") == plain || known.trim() == "*")
    });
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response()
    };
    let fixed = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fixed.insert(header::ETAG, tag);
    }
    fixed.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60, must-revalidate"));
    fixed.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP_FILE));
    response
}

/// `/runs/{id}/logs/{stage}`: the whole log of a stage, cleaned of what could fool a terminal or an eye.
pub(super) async fn stage_log(
    State(state): State<WebState>,
    Extension(_viewer): Extension<Viewer>,
    Path((id, stage)): Path<(String, String)>,
) -> Result<Response, WebError> {
    let missing = || WebError::NotFound("this log".into());
    let number = run_number(&state, &id).await?;
    let stage = Stage::ALL.into_iter().find(|known| known.as_str() == stage).ok_or_else(missing)?;
    let mut connection = state.store.read().await?;
    let run = runs::get(&mut connection, number).await?.ok_or_else(missing)?;
    let record = results::get(&mut connection, number).await?;
    let attempt = attempts::of_run(&mut connection, number).await?.pop().ok_or_else(missing)?;
    drop(connection);
    if !may_show_log(record.as_ref(), run.state, stage) {
        return Err(missing());
    }
    let bytes = read_all(&state.runs_dir, &attempt.run_id, format!("logs/{stage}.log")).await.ok_or_else(missing)?;
    let text = sanitise::text(&String::from_utf8_lossy(&bytes));
    Ok(file_answer("text/plain; charset=utf-8", None, Body::from(text)))
}

/// `/runs/{id}/files/{*path}`
pub(super) async fn artifact(
    State(state): State<WebState>,
    Path((id, path)): Path<(String, String)>,
) -> Result<Response, WebError> {
    let missing = || WebError::NotFound("this file".into());
    let number = run_number(&state, &id).await?;
    let record = results::get(&mut *state.store.read().await?, number).await?.ok_or_else(missing)?;
    let listed = listed(&record, &path).ok_or_else(missing)?.to_owned();
    let kind = kind(&listed);
    let run_id = record.run.clone();
    let download = (!kind.shown).then(|| file_name(&listed));
    if kind.clean {
        let bytes = read_all(&state.runs_dir, &run_id, listed).await.ok_or_else(missing)?;
        let text = sanitise::text(&String::from_utf8_lossy(&bytes));
        return Ok(file_answer(kind.mime, download, Body::from(text)));
    }
    let runs_dir = state.runs_dir.clone();
    let file = tokio::task::spawn_blocking(move || open(&runs_dir, &run_id, &listed))
        .await
        .ok()
        .flatten()
        .ok_or_else(missing)?;
    Ok(file_answer(kind.mime, download, Body::from_stream(ReaderStream::new(tokio::fs::File::from_std(file)))))
}

/// The path as the record has it, if the record has it.
fn listed<'r>(record: &'r Run, path: &str) -> Option<&'r str> {
    record.files.iter().map(|file| file.path.as_str()).find(|known| *known == path)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    mime: &'static str,
    /// Shown by the browser, or handed over as a download.
    shown: bool,
    /// Cleaned of escape sequences and direction tricks first.
    clean: bool,
}

fn kind(path: &str) -> Kind {
    let (shown, clean) = (true, true);
    match path {
        "badge.svg" | "summary.svg" => return Kind { mime: "image/svg+xml", shown, clean: false },
        _ => {}
    }
    match path.rsplit_once('.').map(|(_, end)| end) {
        Some("png") => Kind { mime: "image/png", shown, clean: false },
        Some("txt" | "log") => Kind { mime: "text/plain; charset=utf-8", shown, clean },
        Some("json" | "jsonl") => Kind { mime: "application/json", shown: false, clean: false },
        Some("xml") => Kind { mime: "application/xml", shown: false, clean: false },
        Some("md" | "yml" | "yaml") => Kind { mime: "text/plain; charset=utf-8", shown: false, clean: false },
        Some(_) | None => Kind { mime: "application/octet-stream", shown: false, clean: false },
    }
}

/// The last part of a path, with nothing in it that a header or a file system would take amiss.
fn file_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' }).collect();
    let plain = plain.trim_start_matches('.').to_owned();
    if plain.is_empty() { "file".to_owned() } else { plain }
}

fn file_answer(mime: &'static str, download: Option<String>, body: Body) -> Response {
    let mut response =
        ([(header::CONTENT_TYPE, mime), (header::CONTENT_SECURITY_POLICY, CSP_FILE)], body).into_response();
    let how = download.map_or_else(|| "inline".to_owned(), |name| format!("attachment; filename=\"{name}\""));
    if let Ok(how) = HeaderValue::from_str(&how) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, how);
    }
    response
}

/// Opens a regular file inside an attempt's folder.
fn open(runs_dir: &FsPath, run: &RunId, path: &str) -> Option<std::fs::File> {
    let folder = Dir::open_ambient_dir(runs_dir.join(run.as_str()), ambient_authority()).ok()?;
    let file = folder.open(path).ok()?;
    file.metadata().ok()?.is_file().then(|| file.into_std())
}

async fn read_all(runs_dir: &FsPath, run: &RunId, path: String) -> Option<Vec<u8>> {
    let (runs_dir, run) = (runs_dir.to_owned(), run.clone());
    tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let mut bytes = Vec::new();
        open(&runs_dir, &run, &path)?.take(LOG_MAX).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    })
    .await
    .ok()
    .flatten()
}

/// The mark of a run in words, for the JSON of these pages.
pub(super) fn state_word(run: &RunRow) -> &'static str {
    view::run_mark(run).word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_made_is_shown() {
        for (path, shown) in [
            ("summary.png", true),
            ("badge.svg", true),
            ("logs/install.log", true),
            ("evil.svg", false),
            ("x/badge.svg", false),
            ("page.html", false),
            ("page.xhtml", false),
            ("results.json", false),
            ("noending", false),
        ] {
            assert_eq!(kind(path).shown, shown, "{path}");
        }
    }

    #[test]
    fn names_of_downloads_are_plain() {
        for (path, want) in [("a/b.json", "b.json"), ("a/\"x\r\n.md", "_x__.md"), ("..", "file"), ("é", "_")] {
            assert_eq!(file_name(path), want, "{path}");
        }
    }

    #[test]
    fn a_link_leads_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let run = RunId::new(1_795_000_000, 1);
        let folder = root.path().join(run.as_str());
        std::fs::create_dir_all(folder.join("logs")).unwrap();
        std::fs::write(root.path().join("secret"), "x").unwrap();
        std::fs::write(folder.join("logs/a.log"), "x").unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        assert!(open(root.path(), &run, "logs/a.log").is_some());
        for path in ["link", "../secret", "/etc/passwd", "logs", "none"] {
            assert!(open(root.path(), &run, path).is_none(), "{path}");
        }
    }
}
