//! Writes the renderings of a run into its folder.

use std::any::Any;
use std::fs::{self, File};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::badge::{self, BadgeKind};
use super::{card, junit, markdown, sanitise, svg, terminal};
use crate::domain::{FileRef, Run};

/// How often the card's own 1200×630 pixels are drawn; sharp enough on dense screens at 2.
const CARD_SCALE: f32 = 2.0;

/// results.json could not be written; there is no record of the run.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system refused.
    #[error("cannot write {path}: {source}; check that the folder can be written and the disk has space")]
    Io {
        /// What was to be written.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The run cannot be expressed as JSON: a fault of this program.
    #[error("the run cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What [`write_all`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// The files that were made, relative to the folder, results.json not among them.
    pub files: Vec<FileRef>,
    /// What could not be rendered, and why. Changes no verdict.
    pub warnings: Vec<String>,
}

/// Writes results.json, and then junit.xml, badge.svg, summary.svg, summary.png, summary.txt and summary.md into `dir`,
/// which is made if it is missing.
///
/// results.json comes first; when the others are there it is written once more, with them in its list of files and with
/// the warnings of those that failed. Every file is complete or absent, also after a crash.
///
/// # Errors
/// Only if results.json cannot be written. A renderer's failure is a warning.
pub fn write_all(run: &Run, dir: &Path) -> Result<Written, WriteError> {
    fs::create_dir_all(dir).map_err(|source| WriteError::Io { path: dir.to_owned(), source })?;
    write_results_json(run, dir)?;
    let renderers: [(&str, &str, Renderer<'_>); 6] = [
        ("junit.xml", "JUnit report", &|| junit::xml(run).map(String::into_bytes).map_err(|e| e.to_string())),
        ("badge.svg", "badge", &|| Ok(badge::svg(BadgeKind::Level(run.level, run.verdict), "cc-ci").into_bytes())),
        ("summary.txt", "table of the stages, plain text", &|| {
            Ok(terminal::stage_table(run, &terminal::View::plain(dir)).into_bytes())
        }),
        ("summary.md", "table of the stages, Markdown", &|| Ok(markdown::comment_table(run).into_bytes())),
        ("summary.svg", "summary card", &|| Ok(card::svg(run).into_bytes())),
        ("summary.png", "summary card", &|| svg::to_png(&card::svg(run), CARD_SCALE).map_err(|e| e.to_string())),
    ];
    let mut written = Written::default();
    for (name, about, render) in renderers {
        match guarded(render).and_then(|bytes| write_atomically(&dir.join(name), &bytes).map(|()| bytes.len())) {
            Ok(bytes) => {
                written.files.push(FileRef { path: name.to_owned(), bytes: bytes as u64, about: about.to_owned() });
            }
            Err(why) => written.warnings.push(format!("{name} could not be made: {}", sanitise::line(&why, 300))),
        }
    }
    let mut complete = run.clone();
    complete.files.retain(|file| written.files.iter().all(|new| new.path != file.path));
    complete.files.extend(written.files.iter().cloned());
    complete.warnings.extend(written.warnings.iter().cloned());
    write_results_json(&complete, dir)?;
    Ok(written)
}

/// Writes results.json alone: pretty, keys in the order of the types, whole or not at all.
///
/// # Errors
/// If the folder cannot be written.
pub fn write_results_json(run: &Run, dir: &Path) -> Result<(), WriteError> {
    let mut text = serde_json::to_string_pretty(run)?;
    text.push('\n');
    let path = dir.join("results.json");
    replace(&path, text.as_bytes()).map_err(|source| WriteError::Io { path, source })
}

type Renderer<'a> = &'a dyn Fn() -> Result<Vec<u8>, String>;

/// Runs a renderer; a panic in it is an error like any other.
fn guarded(render: Renderer<'_>) -> Result<Vec<u8>, String> {
    catch_unwind(AssertUnwindSafe(render)).unwrap_or_else(|panic| Err(format!("panic: {}", panic_text(&*panic))))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else {
        panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "without a word".to_owned())
    }
}

fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), String> {
    replace(path, bytes).map_err(|e| e.to_string())
}

/// Temporary file beside the target, synced, renamed over it, folder synced.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".writing-").tempfile_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(dir)?.sync_all()
}
