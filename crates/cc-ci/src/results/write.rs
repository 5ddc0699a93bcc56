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
/// the warnings of those that failed. Every file is complete or absent, also after a crash. It takes some 100 ms of one
/// CPU; async callers put it on a blocking thread.
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

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn everything_is_written_and_listed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("runs/one");
        let run = sample::red();
        let written = write_all(&run, &dir).unwrap();
        assert_eq!(written.warnings, Vec::<String>::new());
        let record: Run = serde_json::from_slice(&fs::read(dir.join("results.json")).unwrap()).unwrap();
        let mut there: Vec<String> =
            fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        there.sort();
        assert_eq!(
            there,
            ["badge.svg", "junit.xml", "results.json", "summary.md", "summary.png", "summary.svg", "summary.txt"]
        );
        for file in &written.files {
            assert_eq!(fs::metadata(dir.join(&file.path)).unwrap().len(), file.bytes, "{}", file.path);
            assert!(record.files.contains(file), "{}", file.path);
        }
        assert_eq!(Run { files: run.files.clone(), ..record.clone() }, run);

        let first = fs::read(dir.join("results.json")).unwrap();
        write_all(&record, &dir).unwrap();
        assert_eq!(fs::read(dir.join("results.json")).unwrap(), first, "writing again changes nothing");
    }

    #[test]
    fn a_renderer_that_fails_is_a_warning_and_the_verdict_stays() {
        let dir = tempfile::tempdir().unwrap();
        // A folder in the place of a file: it cannot be replaced, whoever we are.
        fs::create_dir_all(dir.path().join("badge.svg/x")).unwrap();
        let run = sample::green();
        let written = write_all(&run, dir.path()).unwrap();
        assert_eq!(written.warnings.len(), 1);
        assert!(written.warnings[0].starts_with("badge.svg could not be made: "), "{:?}", written.warnings);
        let record: Run = serde_json::from_slice(&fs::read(dir.path().join("results.json")).unwrap()).unwrap();
        assert_eq!(record.warnings, written.warnings);
        assert_eq!((record.verdict, record.level), (run.verdict, run.level));
        assert_eq!(written.files.len(), 5);
    }

    #[test]
    fn a_panic_in_a_renderer_is_caught() {
        assert_eq!(guarded(&|| panic!("no {}", "ink")), Err("panic: no ink".to_owned()));
        assert_eq!(guarded(&|| std::panic::panic_any(7)), Err("panic: without a word".to_owned()));
        assert_eq!(guarded(&|| Ok(vec![1])), Ok(vec![1]));
    }

    #[test]
    fn without_results_json_there_is_an_error_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("results.json/x")).unwrap();
        let error = write_all(&sample::green(), dir.path()).unwrap_err().to_string();
        assert!(error.contains("results.json"), "{error}");
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = write_all(&sample::green(), &file.join("below")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot write {}", file.join("below").display())), "{error}");
    }
}
