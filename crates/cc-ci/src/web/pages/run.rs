//! `/runs/{id}`: one run, while it waits, while it runs, and what came of it.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path as FsPath;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};

use crate::domain::{HostLoad, Pressure, Run, Stage, StageResult, StageStatus};
use crate::results::{sanitise, words};
use crate::store::runs::{RunRow, RunState};
use crate::store::{attempts, events, results, runs, stage_rows, triggers};

use super::{Page, RunLine, html, repo_url, run_number};
use crate::web::chart::{self, LaneBars};
use crate::web::error::WebError;
use crate::web::live::{Cursor, log_path};
use crate::web::session::Viewer;
use crate::web::state::WebState;
use crate::web::view::{self, Mark, Time};

/// Bytes of a stage's log that stand on the page; the rest is a link away.
const TAIL: u64 = 16 * 1024;

struct StageView {
    name: &'static str,
    lane: &'static str,
    about: &'static str,
    mark: Mark,
    took: String,
    checks: String,
    reason: Option<ReasonView>,
    skip: String,
    steps: Vec<StepView>,
    tests: Vec<TestView>,
    log: String,
    log_cut: bool,
    has_log: bool,
    open: bool,
    flaky: bool,
}

struct ReasonView {
    code: &'static str,
    meaning: &'static str,
    fault: &'static str,
    service: String,
    message: String,
    remedy: &'static str,
    evidence: String,
}

struct StepView {
    name: String,
    detail: String,
    took: String,
    ok: bool,
}

struct TestView {
    name: String,
    mark: Mark,
    took: String,
    attempts: u32,
    flaky: bool,
    message: String,
}

struct AttemptView {
    number: i64,
    id: String,
    began: Time,
    ended: Option<Time>,
    how: &'static str,
    why: String,
}

struct FileView {
    path: String,
    link: String,
    about: String,
    size: String,
}

struct TriggerView {
    person: String,
    cause: &'static str,
    when: Time,
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    page: Page,
    run: RunLine,
    commit: String,
    repo: Option<String>,
    live: bool,
    queued: bool,
    over: bool,
    cursor: String,
    head: String,
    base: String,
    suite: String,
    began: Option<Time>,
    verdict_sentence: &'static str,
    lanes: Vec<LaneBars>,
    whole: String,
    stages: Vec<StageView>,
    facts: Vec<(&'static str, String)>,
    pressure: Vec<(&'static str, String, String)>,
    screenshot: Option<String>,
    files: Vec<FileView>,
    attempts: Vec<AttemptView>,
    triggers: Vec<TriggerView>,
    warnings: Vec<String>,
    leftovers: Vec<String>,
    policy: Vec<(String, String, String, String)>,
    images: Vec<(String, String, String, String)>,
}

/// `/runs/{id}`
pub(crate) async fn show(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    let number = run_number(&state, &id).await?;
    if id != number.to_string() {
        return Ok(Redirect::to(&format!("/runs/{number}")).into_response());
    }
    let missing = || WebError::NotFound(format!("run {number}"));
    let mut connection = state.store.read().await?;
    let row = runs::get(&mut connection, number).await?.ok_or_else(missing)?;
    let record = if row.state == RunState::Finished { results::get(&mut connection, number).await? } else { None };
    let tries = attempts::of_run(&mut connection, number).await?;
    let rows = stage_rows::of_attempt(&mut connection, number, row.attempt).await?;
    let told = events::after(&mut connection, number, 0, 10_000).await?;
    let asked = triggers::of_run(&mut connection, number).await?;
    drop(connection);

    let mut cursor = Cursor {
        attempt: row.attempt,
        event: told.last().map_or(0, |event| event.id),
        stages: rows.len(),
        ..Cursor::default()
    };
    let now = state.clock.now();
    let mut stages = Vec::new();
    for (at, stage) in Stage::ALL.into_iter().enumerate() {
        let result = record
            .as_ref()
            .and_then(|record| record.stages.iter().find(|result| result.stage == stage))
            .or_else(|| rows.iter().find(|result| result.stage == stage));
        let tail = match tries.last() {
            Some(attempt) if may_show_log(record.as_ref(), row.state, stage) => {
                let path = log_path(&state.runs_dir, &attempt.run_id, stage);
                tokio::task::spawn_blocking(move || tail(&path)).await.unwrap_or_default()
            }
            Some(_) | None => Tail::default(),
        };
        cursor.bytes[at] = tail.end;
        stages.push(stage_view(stage, result, tail, row.state));
    }
    let live = row.state == RunState::Running;
    let line = RunLine::new(&row, &state);
    let repo = state.settings.forge_url.as_ref().and_then(|forge| repo_url(forge, &row.what.repo_name));
    let title = format!("Run {number}: {} {}", line.recipe, line.mark.word);
    html(&RunPage {
        page: Page::new(title, "runs", &state, &viewer),
        commit: view::line(&row.what.commit),
        repo,
        live,
        queued: row.state == RunState::Queued,
        over: row.state == RunState::Finished,
        cursor: cursor.to_string(),
        head: record.as_ref().map_or_else(String::new, |r| view::line(r.recipe.version.as_deref().unwrap_or_default())),
        base: record.as_ref().and_then(|r| r.base.as_ref()).map_or_else(String::new, |base| {
            let what = words::version_and_commit(base.version.as_deref(), &base.commit);
            view::line(&format!("{what}, {}", base.chosen))
        }),
        suite: record.as_ref().and_then(|r| r.suite.as_ref()).map_or_else(String::new, |suite| {
            let digest = suite.digest.get(..12).unwrap_or_default();
            let of = suite.commit.as_deref().map_or_else(String::new, |c| format!(" at {}", words::short(c)));
            view::line(&format!(
                "{}{of}, {}, {digest}",
                words::count(suite.files.len(), "file"),
                words::count(suite.custom_tests, "custom test")
            ))
        }),
        began: row.started.map(|at| view::time(at, now)),
        verdict_sentence: verdict_sentence(&row),
        lanes: record.as_ref().map(chart::timeline).unwrap_or_default(),
        whole: record.as_ref().map(|r| words::duration(r.duration_ms)).unwrap_or_default(),
        stages,
        facts: record.as_ref().map(facts).unwrap_or_default(),
        pressure: record.as_ref().map(|r| pressure(&r.host)).unwrap_or_default(),
        screenshot: record.as_ref().and_then(|r| {
            let shot = r.screenshot.as_ref().filter(|shot| !shot.blank)?;
            r.files.iter().any(|f| f.path == shot.file).then(|| file_link(number, &shot.file))
        }),
        files: record.as_ref().map(|r| files(r, number)).unwrap_or_default(),
        attempts: tries
            .iter()
            .map(|attempt| AttemptView {
                number: attempt.attempt,
                id: attempt.run_id.to_string(),
                began: view::time(attempt.started, now),
                ended: attempt.ended.map(|at| view::time(at, now)),
                how: view::ending_words(attempt.ending),
                why: view::line(&attempt.why),
            })
            .collect(),
        triggers: asked
            .iter()
            .map(|trigger| TriggerView {
                person: view::line(&trigger.what.person_login),
                cause: view::cause_words(trigger.what.cause),
                when: view::time(trigger.created, now),
            })
            .collect(),
        warnings: record.as_ref().map(|r| r.warnings.iter().map(|w| view::line(w)).collect()).unwrap_or_default(),
        leftovers: record
            .as_ref()
            .map(|r| {
                let words = |l: &crate::domain::Leftover| view::line(&format!("{} {} {}", l.kind, l.name, l.why));
                r.teardown.leftovers.iter().map(words).collect()
            })
            .unwrap_or_default(),
        policy: record
            .as_ref()
            .map(|r| {
                let cells = |f: &crate::domain::PolicyFinding| {
                    (view::line(&f.severity), view::line(&f.place), view::line(&f.message), view::line(&f.remedy))
                };
                r.policy.iter().map(cells).collect()
            })
            .unwrap_or_default(),
        images: record
            .as_ref()
            .map(|r| {
                let cells = |i: &crate::domain::ImageInfo| {
                    let digest = i.digest.as_deref().unwrap_or("–");
                    (view::line(&i.role), view::line(&i.service), view::line(&i.reference), view::line(digest))
                };
                r.images.iter().map(cells).collect()
            })
            .unwrap_or_default(),
        run: line,
    })
}

/// Whether a stage's log may be shown: while the run goes it is masked as it is written; afterwards the record lists the
/// files that the search for secrets has let pass.
pub(crate) fn may_show_log(record: Option<&Run>, state: RunState, stage: Stage) -> bool {
    let path = format!("logs/{stage}.log");
    match (state, record) {
        (RunState::Running, _) => true,
        (RunState::Finished, Some(record)) => record.files.iter().any(|file| file.path == path),
        (RunState::Queued, _) | (RunState::Finished, None) => false,
    }
}

fn verdict_sentence(run: &RunRow) -> &'static str {
    use crate::domain::Verdict::{Error, Green, Pending, Red};
    use crate::store::runs::Outcome;
    match (run.state, run.outcome, run.verdict) {
        (RunState::Queued, _, _) => "It waits for its turn.",
        (RunState::Running, _, _) => "It is running; this page shows what is known so far.",
        (_, Some(Outcome::Superseded), _) => "Another run took its place before it began.",
        (_, Some(Outcome::Cancelled), _) => "Somebody cancelled it.",
        (_, Some(Outcome::Overdue), _) => "It ran out of time.",
        (_, Some(Outcome::Exhausted), _) => "It was interrupted too often. That says nothing about the commit.",
        (_, Some(Outcome::Parked), _) => "It took cc-ci down twice, so a person has to look before it runs again.",
        (_, _, Some(Green)) => "Every stage that applies holds.",
        (_, _, Some(Red)) => "A stage does not hold, by the fault of the recipe or of a test.",
        (_, _, Some(Error | Pending) | None) => "It could not be judged. That says nothing about the commit.",
    }
}

fn stage_about(stage: Stage) -> &'static str {
    match stage {
        Stage::Install => "a fresh deploy converges and answers",
        Stage::Upgrade => "an upgrade in place keeps the data",
        Stage::Backup => "the backup holds what its labels ask for",
        Stage::Restore => "after a loss the backup brings the data back",
        Stage::Custom => "the suite's own tests",
    }
}

fn stage_view(stage: Stage, result: Option<&StageResult>, tail: Tail, state: RunState) -> StageView {
    let waiting = match state {
        RunState::Finished => Mark { sign: "…", word: "unknown", class: "none" },
        RunState::Running if tail.end > 0 => Mark { sign: "▶", word: "running", class: "busy" },
        RunState::Running | RunState::Queued => Mark { sign: "…", word: "to come", class: "none" },
    };
    let mark = result.map_or(waiting, |result| view::stage_mark(result.status));
    let bad = result.is_some_and(|r| matches!(r.status, StageStatus::Fail | StageStatus::Inconclusive));
    StageView {
        name: stage.as_str(),
        lane: stage.lane().as_str(),
        about: stage_about(stage),
        mark,
        took: view::millis(result.and_then(|r| r.duration_ms)),
        checks: result.map(words::checks).unwrap_or_default(),
        reason: result.and_then(|r| r.reason.as_ref()).map(|reason| ReasonView {
            code: reason.code.as_str(),
            meaning: reason.code.summary(),
            fault: reason.fault.as_str(),
            service: reason.service.as_deref().map(view::line).unwrap_or_default(),
            message: view::line(&reason.message),
            remedy: reason.code.remedy(),
            evidence: view::block(&reason.evidence.join("\n")),
        }),
        skip: result.and_then(|r| r.skip.as_deref()).map(view::line).unwrap_or_default(),
        steps: result
            .map_or(&[][..], |r| &r.steps)
            .iter()
            .map(|step| StepView {
                name: view::line(&step.name),
                detail: view::line(&step.detail),
                took: words::duration(step.duration_ms),
                ok: step.ok,
            })
            .collect(),
        tests: result
            .map_or(&[][..], |r| &r.tests)
            .iter()
            .map(|test| TestView {
                name: view::line(&test.name),
                mark: view::test_mark(test.status),
                took: words::duration(test.duration_ms),
                attempts: test.attempts,
                flaky: test.is_flaky(),
                message: view::block(&test.message),
            })
            .collect(),
        has_log: tail.end > 0,
        log: tail.text,
        log_cut: tail.cut,
        open: bad,
        flaky: result.is_some_and(|r| r.flaky),
    }
}

fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Run id", run.run.to_string()),
        ("Lanes", if run.parallel_lanes { "side by side" } else { "one after the other" }.to_owned()),
        (
            "Teardown",
            if run.clean_teardown {
                format!("✔ {} removed, nothing left", words::count(run.teardown.removed, "object"))
            } else {
                format!("✘ {} left", words::count(run.teardown.leftovers.len(), "object"))
            },
        ),
        (
            "Secrets",
            if run.no_secret_leak {
                format!(
                    "✔ none of {} found in {}, {} masked while writing",
                    words::count(run.secret_scan.secrets, "secret"),
                    words::count(run.secret_scan.files, "file"),
                    run.secret_scan.masked
                )
            } else {
                format!("✘ {} found; the file was withheld", words::count(run.secret_scan.hits.len(), "secret"))
            },
        ),
    ];
    if let Some(engine) = &run.engine {
        let nodes = words::count(usize::try_from(engine.nodes).unwrap_or(usize::MAX), "node");
        facts.push(("Engine", view::line(&format!("Docker {}, API {}, {nodes}", engine.version, engine.api))));
        let memory = view::bytes(engine.memory);
        facts.push((
            "Host",
            view::line(&format!("{}, kernel {}, {} CPUs, {memory}", engine.os, engine.kernel, engine.cpus)),
        ));
    }
    if !run.tools.is_empty() {
        let tools: Vec<String> = run.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
        facts.push(("Tools", view::line(&tools.join(", "))));
    }
    facts
}

/// What the host was under: name, mean, worst ten seconds.
fn pressure(host: &HostLoad) -> Vec<(&'static str, String, String)> {
    let stall = |name, pressure: Option<Pressure>| {
        pressure.map(|p| (name, format!("{:.1} %", p.mean), format!("{:.1} %", p.max)))
    };
    [
        stall("Waiting for CPU", host.cpu),
        stall("Waiting for disk", host.io),
        stall("Waiting for memory", host.memory),
        Some(("Load", "–".to_owned(), format!("{:.2} on {} CPUs", host.load_max, host.cpus))),
        Some(("Free memory", "–".to_owned(), format!("at least {}", view::bytes(host.memory_available_min)))),
        host.disk_free.map(|free| ("Free disk", "–".to_owned(), format!("{} at the end", view::bytes(free)))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn files(run: &Run, number: i64) -> Vec<FileView> {
    run.files
        .iter()
        .map(|file| FileView {
            path: view::line(&file.path),
            link: file_link(number, &file.path),
            about: view::line(&file.about),
            size: view::bytes(file.bytes),
        })
        .collect()
}

fn file_link(number: i64, path: &str) -> String {
    let path: Vec<String> = path.split('/').map(super::segment).collect();
    format!("/runs/{number}/files/{}", path.join("/"))
}

/// The end of a log.
#[derive(Debug, Default)]
struct Tail {
    text: String,
    /// Whether something stands before it.
    cut: bool,
    /// The byte after it: where the live log goes on.
    end: u64,
}

/// The last whole lines of a log; nothing if it cannot be read.
fn tail(path: &FsPath) -> Tail {
    let read = || -> std::io::Result<Tail> {
        let mut file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        let from = size.saturating_sub(TAIL);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(size - from).read_to_end(&mut bytes)?;
        let first = if from == 0 { 0 } else { bytes.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1) };
        let last = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let text = sanitise::text(&String::from_utf8_lossy(bytes.get(first..last).unwrap_or_default()));
        Ok(Tail { text, cut: from > 0, end: from + last as u64 })
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_holds_whole_lines_and_says_where_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        let end = tail(&path);
        assert_eq!((end.text.as_str(), end.cut, end.end), ("one\ntwo\n", false, 8));
        std::fs::write(&path, format!("{}\nlast\n", "x".repeat(20_000))).unwrap();
        let end = tail(&path);
        assert_eq!((end.text.as_str(), end.cut, end.end), ("last\n", true, 20_006));
        assert_eq!(tail(&folder.path().join("none")).end, 0);
    }
}
