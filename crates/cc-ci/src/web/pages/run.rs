//! `/runs/{id}`: one run, while it waits, while it runs, and what came of it.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};

use crate::domain::{HostLoad, Run, Stage};
use crate::results::words;
use crate::store::runs::{RunRow, RunState};
use crate::store::{attempts, events, results, runs, stage_rows, triggers};

use super::stage::{StageView, Tail, stage_view, tail};
use super::{Page, RunLine, html, queue, repo_url, run_number};
use crate::web::chart::{self, LaneBars, PressureBar};
use crate::web::error::WebError;
use crate::web::live::{Cursor, log_path};
use crate::web::session::Viewer;
use crate::web::state::WebState;
use crate::web::view::{self, Time};

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
    pressure: Vec<PressureBar>,
    host: Vec<(&'static str, String)>,
    place: String,
    again: String,
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
    let title = format!("{} Run {number}: {} {}", line.mark.sign, line.recipe, line.mark.word);
    let (lanes, whole) = match (&record, row.started) {
        (Some(record), _) => (chart::timeline(record), words::duration(record.duration_ms)),
        (None, Some(started)) if live => {
            let under_way: Vec<Stage> = stages.iter().filter(|s| s.runs()).map(|s| s.stage).collect();
            (chart::timeline_so_far(started, now, &rows, &under_way), view::span(now.duration_since(started)))
        }
        (None, _) => (Vec::new(), String::new()),
    };
    html(&RunPage {
        page: Page::new(title, "runs", &state, &viewer).with_icon(line.mark.class),
        commit: view::line(&row.what.commit),
        again: again(repo.as_deref(), &row.what.commit, record.as_ref()),
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
        lanes,
        whole,
        stages,
        facts: record.as_ref().map(facts).unwrap_or_default(),
        pressure: record.as_ref().map(|r| chart::pressure(&r.host)).unwrap_or_default(),
        host: record.as_ref().map(|r| host(&r.host)).unwrap_or_default(),
        place: if row.state == RunState::Queued { place(&state, number).await? } else { String::new() },
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
/// What else is known of the host while it ran.
fn host(host: &HostLoad) -> Vec<(&'static str, String)> {
    let cpus = words::count(usize::try_from(host.cpus).unwrap_or(usize::MAX), "CPU");
    let mut facts = vec![
        ("Highest load", format!("{:.2} on {cpus}", host.load_max)),
        ("Free memory", format!("at least {}", view::bytes(host.memory_available_min))),
    ];
    if let Some(free) = host.disk_free {
        facts.push(("Free disk", format!("{} at the end", view::bytes(free))));
    }
    facts
}

/// Where a queued run stands, as far as that can be told.
async fn place(state: &WebState, number: i64) -> Result<String, WebError> {
    let line = queue::line(state).await?;
    let waiting = line.waiting.iter().find(|waiting| waiting.run.number == number);
    Ok(waiting.and_then(|waiting| waiting.wait).map_or_else(String::new, |wait| {
        format!("Place {} in the queue, starts {}.", wait.position, queue::soon(wait.until_start))
    }))
}

/// The command that tests the same at home. Empty if the commit or the forge is not known well enough to say.
fn again(repo: Option<&str>, commit: &str, record: Option<&Run>) -> String {
    let base = record.and_then(|r| r.base.as_ref()).map(|base| base.commit.as_str());
    let suite = record.and_then(|r| r.suite.as_ref()).map(|suite| (suite.source.as_str(), suite.commit.as_deref()));
    repo.map_or_else(String::new, |repo| command(repo, commit, base, suite))
}

fn command(repo: &str, commit: &str, base: Option<&str>, suite: Option<(&str, Option<&str>)>) -> String {
    if !is_commit(commit) {
        return String::new();
    }
    let source = format!("{repo}.git");
    let mut words = vec!["cc-ci", "test", &source, "--ref", commit];
    words.extend(base.filter(|base| is_commit(base)).into_iter().flat_map(|base| ["--base", base]));
    // A folder of the server's is of no use elsewhere.
    if let Some((source, commit)) = suite.filter(|(source, _)| source.starts_with("https://")) {
        words.extend(["--tests", source]);
        words.extend(commit.filter(|commit| is_commit(commit)).into_iter().flat_map(|commit| ["--tests-ref", commit]));
    }
    view::line(&words.into_iter().map(view::shell_word).collect::<Vec<_>>().join(" "))
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_holds_nothing_that_a_shell_would_run() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let repo = "https://git.example.org/coop-cloud/gitea";
        let want = format!("cc-ci test {repo}.git --ref {commit}");
        assert_eq!(command(repo, commit, Some("main; id"), Some(("/srv/tests", None))), want);
        assert_eq!(command(repo, "$(id)", None, None), "");
        let evil = command(repo, commit, Some(commit), Some(("https://x/$(id)'", Some(commit))));
        assert_eq!(evil, format!("{want} --base {commit} --tests 'https://x/$(id)'\\''' --tests-ref {commit}"));
    }
}
