//! The harness: walks a recipe through the five stages on a real swarm and writes down what it saw.
//!
//! [`prepare`] reads everything and touches no Docker; [`run`] does the rest and always comes back with a [`Run`], its folder written and
//! its stacks gone. It knows no forge, no queue and no database, so that `cc-ci test` on a laptop is what CI runs.
//!
//! Reading order: [`lanes`] (what happens in which order), the files of [`stages`], [`instance`] and [`actions`] (what they may do).

pub mod actions;
pub mod events;
pub mod hurl;
pub mod instance;
pub mod lanes;
pub mod log;
pub mod prepare;
pub mod probe;
pub mod profile;
pub mod reasons;
pub mod record;
pub mod restic;
pub mod room;
pub mod secrets;
pub mod shared;
pub mod stages;
pub mod staging;
pub mod suite;
pub mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::domain::{
    self, BaseInfo, Lane, PolicyFinding, Reason, ReasonCode, RecipeInfo, Run, RunId, SCHEMA_VERSION, SecretScan,
    StackName, Stage, StageResult, Teardown, ToolVersion,
};
use crate::redact::Redactor;
use crate::results;
use crate::state::State;
use crate::swarm::{Engine, EngineFacts, Kind, Sampler, Scope};

pub use events::{Event, Reporter};
pub use prepare::{PrepareError, Prepared, Request, Version, prepare};
pub use shared::Shared;

use lanes::{AWAY_LIMIT, Job, LaneResult, TEARDOWN_LIMIT};

/// How long the pull of one image may take.
const PULL_LIMIT: Duration = Duration::from_secs(900);

/// Why a run could not even begin. Nothing was deployed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The evidence folder cannot be used.
    #[error("the folder {path} cannot be used for the evidence: {why}")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// The suite has Hurl files and there is no hurl.
    #[error(transparent)]
    Hurl(#[from] hurl::HurlError),
    /// results.json could not be written.
    #[error(transparent)]
    Write(#[from] results::WriteError),
}

/// A run that has ended, and where its evidence is.
#[derive(Debug)]
pub struct Finished {
    /// The record.
    pub run: Run,
    /// Its folder.
    pub dir: PathBuf,
}

/// Everything a run needs that is not part of what is tested.
pub struct Host {
    /// Id of the run; its lock is the caller's to hold.
    pub id: RunId,
    /// The engine.
    pub engine: Engine,
    /// What it is.
    pub facts: EngineFacts,
    /// Folders of this host.
    pub state: State,
    /// Who is told what happens.
    pub reporter: Reporter,
    /// Ends the run early, teardown included.
    pub cancel: CancellationToken,
}

/// Runs the stages. Whatever happens to the app, this comes back with a record, and the stacks are gone.
///
/// # Errors
/// [`StartError`], before anything was deployed, or when the record itself could not be written.
pub async fn run(request: &Request, prepared: Prepared, host: Host) -> Result<Finished, StartError> {
    let Host { id, engine, facts, state, reporter, cancel } = host;
    let started = clock::now();
    let begun = clock::monotonic();
    let dir = request.out.clone().unwrap_or_else(|| state.run_dir(&id));
    make_folder(&dir)?;
    let work = state.work_dir(&id).map_err(|error| folder_error(state.root(), &error))?;
    let profile = prepared.profile();
    let hurl = match &prepared.suite {
        Some(suite) if suite.needs_hurl() => Some(hurl::Hurl::find(&request.tools).await?),
        _ => None,
    };
    let redactor = Redactor::default();
    let events = Mutex::new(log::LogFile::open(&dir.join("events.jsonl"), &redactor));
    let watch = engine.watch(&id, move |line| {
        if let Ok(json) = serde_json::to_string(line) {
            events.lock().unwrap_or_else(PoisonError::into_inner).raw(&format!("{json}\n"));
        }
    });
    let shared = Arc::new(Shared {
        run: id.clone(),
        recipe: prepared.recipe.clone(),
        dir: dir.clone(),
        work: work.path().to_owned(),
        state_root: state.root().to_owned(),
        engine,
        facts,
        watch: Arc::new(watch),
        sampler: Arc::new(Sampler::start()),
        redactor,
        reporter: reporter.clone(),
        cancel: cancel.clone(),
        suite: prepared.suite.clone(),
        profile,
        policy: request.policy.clone(),
        hurl,
        wants_screenshot: request.screenshot,
        ignore_load: request.ignore_load,
        digests: Arc::default(),
        warnings: Arc::default(),
        repo: Arc::new(OnceCell::new()),
        timed_out: Arc::new(AtomicBool::new(false)),
        whole: cancel.clone(),
    });
    for warning in &prepared.warnings {
        shared.warn(warning.clone());
    }

    let limit = tokio::spawn(time_limit(shared.clone(), request.timeout));
    let parallel = !request.sequential && room::for_two(&shared, &prepared.head).is_ok();
    let body = execute(&shared, request, prepared, parallel).await;
    limit.abort();

    let record = conclude(&shared, request, body, started, begun, parallel).await?;
    reporter.tell(Event::Ended(record.clone()));
    Ok(Finished { run: record, dir })
}

/// What the lanes gave, and what is known of the versions.
struct Body {
    recipe: RecipeInfo,
    base: Option<BaseInfo>,
    suite: Option<domain::SuiteInfo>,
    policy: Vec<PolicyFinding>,
    lanes: Vec<LaneResult>,
}

async fn execute(shared: &Arc<Shared>, request: &Request, prepared: Prepared, parallel: bool) -> Body {
    let stack = StackName::of(&shared.run, Lane::Fresh, &shared.recipe);
    let head_plan = instance::plan(shared, &stack, &prepared.head, None);
    let version = head_plan.as_ref().ok().and_then(|plan| plan.version_label.clone());
    let (base, base_info) = match prepared.base {
        Ok((version, info)) => (Ok((version, info.clone())), Some(info)),
        Err(why) => (Err(why), None),
    };
    let mut job =
        Job { stages: request.stages.clone(), head: prepared.head, base, base_trouble: None, keep: request.keep };
    let recipe = RecipeInfo {
        name: shared.recipe.clone(),
        source: prepared.source,
        reference: job.head.reference.clone(),
        commit: job.head.commit.clone(),
        version,
    };
    let policy = match &head_plan {
        Ok(plan) => plan.findings.iter().map(policy_finding).collect(),
        Err(refusal) => refusal.findings.iter().map(policy_finding).collect(),
    };
    let mut body = Body { recipe, base: base_info, suite: prepared.suite_info, policy, lanes: Vec::new() };
    shared.reporter.tell(Event::Started {
        run: shared.run.clone(),
        recipe: shared.recipe.clone(),
        head: words(body.recipe.version.as_deref(), body.recipe.reference.as_deref(), &body.recipe.commit),
        base: match &body.base {
            Some(base) => {
                format!("{} ({})", words(base.version.as_deref(), base.reference.as_deref(), &base.commit), base.chosen)
            }
            None => job.base.as_ref().err().cloned().unwrap_or_default(),
        },
        stages: request.stages.clone(),
        parallel,
    });
    let head_plan = match head_plan {
        Ok(plan) => plan,
        Err(refusal) => {
            body.lanes.push(refused_lane(shared, request, instance::refused(&refusal)));
            return body;
        }
    };
    let base_images = plan_base(shared, &mut job, &mut body);
    // restic makes its key slow on purpose: it does so while the lanes are busy with something else.
    let warm = shared.clone();
    let restic = request.stages.contains(&Stage::Backup).then(|| {
        tokio::spawn(async move {
            // A failure is told by the stage that needs it.
            let _ = warm.restic().await;
        })
    });
    if let Some(reason) = pull(shared, &head_plan.images, &base_images, &mut job).await {
        body.lanes.push(refused_lane(shared, request, reason));
    } else {
        body.lanes = run_lanes(shared, &job, parallel).await;
    }
    if let Some(restic) = restic {
        restic.abort();
        // Aborted or done: either way the repository is no longer written to.
        let _ = restic.await;
    }
    body
}

/// Plans the base, to know its images and its version. A base that cannot be planned is a broken base.
fn plan_base(shared: &Arc<Shared>, job: &mut Job, body: &mut Body) -> Vec<String> {
    let Ok((base, _)) = &job.base else { return Vec::new() };
    if !job.stages.contains(&Stage::Upgrade) {
        return Vec::new();
    }
    let stack = StackName::of(&shared.run, Lane::Data, &shared.recipe);
    match instance::plan(shared, &stack, base, None) {
        Ok(plan) => {
            if let Some(info) = &mut body.base {
                info.version.clone_from(&plan.version_label);
            }
            plan.images
        }
        Err(refusal) => {
            let reason = instance::refused(&refusal);
            job.base_trouble = Some(
                Reason::new(ReasonCode::BaseBroken, format!("the base cannot be deployed: {reason}"))
                    .evidence(reason.evidence),
            );
            Vec::new()
        }
    }
}

/// Pulls all images before any stage's clock starts. Gives the reason why the commit under test cannot be deployed; what is wrong with
/// the base's images is noted in the job.
async fn pull(shared: &Arc<Shared>, head: &[String], base: &[String], job: &mut Job) -> Option<Reason> {
    let images: BTreeSet<&String> = head.iter().chain(base).collect();
    shared.reporter.tell(Event::Preparing(format!("pulling {} images", images.len())));
    let pulls =
        images.into_iter().map(|image| async move { (image.clone(), shared.engine.pull(image, PULL_LIMIT).await) });
    let pulled = tokio::select! {
        () = shared.cancel.cancelled() => return Some(shared.stopped()),
        pulled = join_all(pulls) => pulled,
    };
    let mut trouble: BTreeMap<String, Reason> = BTreeMap::new();
    for (image, result) in pulled {
        match result {
            Ok(done) => {
                shared.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(image, done.digest);
            }
            Err(error) => {
                trouble.insert(image, *reasons::pull(&error));
            }
        }
    }
    if let Some(reason) = head.iter().find_map(|image| trouble.get(image)) {
        return Some(reason.clone());
    }
    if let Some(reason) = base.iter().find_map(|image| trouble.get(image)) {
        job.base_trouble = Some(if reason.fault.blames_commit() {
            Reason::new(ReasonCode::BaseBroken, format!("an image of the base is missing: {}", reason.message))
                .evidence(reason.evidence.clone())
        } else {
            reason.clone()
        });
    }
    None
}

async fn run_lanes(shared: &Arc<Shared>, job: &Job, parallel: bool) -> Vec<LaneResult> {
    if !parallel {
        let fresh = lanes::fresh(shared, job, |_| {}).await;
        let stop = lanes::stops_the_other(&fresh.stages);
        let data = if stop { LaneResult::default() } else { lanes::data(shared, job).await };
        return vec![fresh, data];
    }
    // The data lane gets an end of its own, so that a failed install can stop it and nothing else.
    let data_shared = Arc::new(shared.for_lane());
    let stop = data_shared.cancel.clone();
    let fresh = lanes::fresh(shared, job, move |results| {
        if lanes::stops_the_other(results) {
            stop.cancel();
        }
    });
    let (fresh, data) = tokio::join!(fresh, lanes::data(&data_shared, job));
    vec![fresh, data]
}

/// A run whose app is never deployed: install says why, nothing else ran.
fn refused_lane(shared: &Shared, request: &Request, reason: Reason) -> LaneResult {
    let first = Stage::ALL.into_iter().find(|stage| request.stages.contains(stage)).unwrap_or(Stage::Install);
    let recorder = record::Recorder::begin(first, first.lane(), &shared.dir, &shared.redactor, &shared.reporter);
    LaneResult { stages: vec![recorder.end(Err(Box::new(reason)))], ..Default::default() }
}

/// Looks for leftovers and secrets, and writes the record with everything that is rendered from it.
async fn conclude(
    shared: &Arc<Shared>,
    request: &Request,
    body: Body,
    started: jiff::Timestamp,
    begun: Instant,
    parallel: bool,
) -> Result<Run, StartError> {
    let mut stages: Vec<StageResult> = Vec::new();
    let mut images = Vec::new();
    let mut screenshot = None;
    let (mut removed, mut took) = (0, Duration::ZERO);
    let limit = if body.lanes.iter().any(|lane| lane.engine_away) { AWAY_LIMIT } else { TEARDOWN_LIMIT };
    for lane in body.lanes {
        stages.extend(lane.stages);
        images.extend(lane.images);
        screenshot = screenshot.or(lane.screenshot);
        removed += lane.removed;
        took = took.max(lane.teardown);
    }
    let stopped = shared.cancel.is_cancelled().then(|| shared.stopped());
    for stage in Stage::ALL {
        if !stages.iter().any(|result| result.stage == stage) {
            let why = match (&stopped, request.stages.contains(&stage)) {
                (_, false) => "not asked for".to_owned(),
                (Some(reason), true) => reason.message.clone(),
                (None, true) => "install did not pass".to_owned(),
            };
            stages.push(StageResult::not_run(stage, why));
        }
    }
    stages.sort_by_key(|result| result.stage);

    let look = clock::monotonic();
    let mut teardown = if request.keep { Teardown::default() } else { prove_gone(shared, limit).await };
    teardown.removed += removed;
    teardown.duration_ms = millis(took + look.elapsed());
    let clean_teardown = request.keep || teardown.leftovers.is_empty();

    copy_compose(&shared.dir);
    let (secret_scan, no_secret_leak) = scan(shared);
    let flaky = stages.iter().any(|result| result.flaky);
    let mut host = shared.sampler.load();
    host.disk_free = shared.facts.local.then(|| crate::swarm::disk_free(&shared.facts.root_dir)).flatten();
    let verdict = domain::verdict(&stages, &request.stages, clean_teardown, no_secret_leak);
    let mut run = Run {
        schema: SCHEMA_VERSION,
        run: shared.run.clone(),
        recipe: body.recipe,
        base: body.base,
        suite: body.suite,
        started,
        duration_ms: millis(begun.elapsed()),
        verdict,
        level: domain::level(&stages),
        requested: request.stages.clone(),
        stages,
        clean_teardown,
        teardown,
        no_secret_leak,
        secret_scan,
        policy: body.policy,
        images,
        flaky,
        parallel_lanes: parallel,
        engine: Some(shared.facts.info.clone()),
        host,
        tools: tools(shared).await,
        screenshot,
        files: Vec::new(),
        warnings: shared.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone(),
    };
    run.files = list_files(&shared.dir);
    let (copy, dir) = (run.clone(), shared.dir.clone());
    let written = tokio::task::spawn_blocking(move || results::write_all(&copy, &dir))
        .await
        .map_err(|panic| folder_error(&shared.dir, &std::io::Error::other(panic)))??;
    run.files.extend(written.files);
    run.warnings.extend(written.warnings);
    Ok(run)
}

/// Everything of the run is gone: looked for in every kind, removed if something is left after all, and looked for again.
async fn prove_gone(shared: &Shared, limit: Duration) -> Teardown {
    let looked_for = Kind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    let mut teardown = Teardown { looked_for, ..Default::default() };
    match shared.engine.remove(&Scope::Run(shared.run.clone()), limit).await {
        Ok(removal) => {
            teardown.removed = removal.removed;
            teardown.leftovers = removal.leftovers;
        }
        Err(error) => teardown.leftovers.push(domain::Leftover {
            kind: "unknown".to_owned(),
            name: shared.run.to_string(),
            why: format!("the engine could not be asked: {error}"),
        }),
    }
    teardown
}

/// Searches the folder for the run's secrets. A file with a hit is withheld: replaced by a note.
fn scan(shared: &Shared) -> (SecretScan, bool) {
    let mut out = SecretScan {
        secrets: shared.redactor.secrets(),
        encodings: shared.redactor.encodings(),
        masked: shared.redactor.masked(),
        ..Default::default()
    };
    if out.masked > 0 {
        shared.warn(format!("the app wrote its secrets to its log {} times; they were masked", out.masked));
    }
    match shared.redactor.scan_dir(&shared.dir) {
        Ok(report) => {
            out.files = report.files;
            for hit in &report.hits {
                out.hits.push(format!("{} ({}) in {}", hit.secret, hit.encoding, hit.file.display()));
                let path = hit.file.display().to_string();
                if !out.withheld.contains(&path) {
                    out.withheld.push(path);
                }
            }
            for file in &out.withheld {
                let note = "withheld: this file held a secret of the run\n";
                if let Err(error) = std::fs::write(shared.dir.join(file), note) {
                    shared.warn(format!("{file} holds a secret and could not be withheld: {error}"));
                }
            }
            let clean = out.hits.is_empty();
            (out, clean)
        }
        Err(error) => {
            shared.warn(format!("the search for secrets could not be finished: {error}"));
            out.hits.push(format!("not searched: {error}"));
            (out, false)
        }
    }
}

/// The compose file of the fresh lane, where a reader looks first.
fn copy_compose(dir: &Path) {
    for from in ["compose/fresh-head/compose.yml", "compose/data-head/compose.yml"] {
        if std::fs::copy(dir.join(from), dir.join("compose.yml")).is_ok() {
            return;
        }
    }
}

fn list_files(dir: &Path) -> Vec<domain::FileRef> {
    let mut out = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(path),
                Ok(meta) => {
                    let path = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
                    let about = about(&path).to_owned();
                    out.push(domain::FileRef { path, bytes: meta.len(), about });
                }
                Err(_) => {}
            }
        }
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

fn about(path: &str) -> &'static str {
    match path {
        "compose.yml" => "compose file as deployed",
        "events.jsonl" => "the engine's events, one JSON object a line",
        "screenshot.png" => "the app's first page",
        _ if path.starts_with("logs/services/") => "log of a service",
        _ if path.starts_with("logs/") => "log of a stage",
        _ if path.starts_with("compose/") => "compose file of a deployment, with its configs",
        _ => "",
    }
}

async fn tools(shared: &Shared) -> Vec<ToolVersion> {
    let tool = |name: &str, version: String| ToolVersion { name: name.to_owned(), version };
    let mut out = vec![
        tool("cc-ci", env!("CARGO_PKG_VERSION").to_owned()),
        tool("docker engine", shared.facts.info.version.clone()),
    ];
    if shared.repo.initialized()
        && let Ok(version) = restic::Repo::version().await
    {
        out.push(tool("restic", version));
    }
    if let Some(hurl) = &shared.hurl {
        out.push(tool("hurl", hurl.version.clone()));
    }
    out
}

async fn time_limit(shared: Arc<Shared>, limit: Duration) {
    tokio::time::sleep(limit).await;
    shared.timed_out.store(true, Ordering::Release);
    shared.cancel.cancel();
}

fn policy_finding(finding: &recipe::Finding) -> PolicyFinding {
    PolicyFinding {
        code: finding.code.to_string(),
        severity: if finding.is_error() { "refuse" } else { "warn" }.to_owned(),
        place: finding.place().to_string(),
        message: finding.message.clone(),
        remedy: finding.remedy.clone(),
    }
}

/// A version in words: `1.1.0+1.26.3 (main, 0a1b2c3d)`.
fn words(version: Option<&str>, reference: Option<&str>, commit: &str) -> String {
    let short = commit.get(..8).unwrap_or(commit);
    match (version, reference) {
        (Some(version), Some(reference)) if version != reference => format!("{version} ({reference}, {short})"),
        (Some(version), _) => format!("{version} ({short})"),
        (None, Some(reference)) => format!("{reference} ({short})"),
        (None, None) => short.to_owned(),
    }
}

fn make_folder(dir: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(dir).map_err(|error| folder_error(dir, &error))?;
    let mut entries = std::fs::read_dir(dir).map_err(|error| folder_error(dir, &error))?;
    if entries.next().is_some() {
        return Err(StartError::Folder {
            path: dir.display().to_string(),
            why: "it is not empty; name a new one, evidence of two runs is never mixed".to_owned(),
        });
    }
    Ok(())
}

fn folder_error(path: &Path, error: &std::io::Error) -> StartError {
    StartError::Folder { path: path.display().to_string(), why: error.to_string() }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
