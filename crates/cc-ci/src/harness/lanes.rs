//! The two lanes of a run, and the order of the stages in each.
//!
//! `fresh`: install, custom. `data`: base, upgrade, backup, restore. They share nothing but images and the run's end, so they give the same result
//! side by side as one after the other. Each lane removes its own stack as soon as it is through.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::domain::{
    BaseInfo, Fault, ImageInfo, Lane, Leftover, Reason, ReasonCode, Screenshot, Stage, StageResult, StageStatus,
};

use super::events::Event;
use super::instance::Instance;
use super::prepare::Version;
use super::record::{Outcome, Recorder, StageRun};
use super::shared::Shared;
use super::stages;
use super::witness::Moment;

/// How long the removal of a lane's stack may take.
pub const TEARDOWN_LIMIT: Duration = Duration::from_secs(180);
/// How long the last look may take if the engine was away before.
pub const AWAY_LIMIT: Duration = Duration::from_secs(10);
/// Lines kept of each container's log.
const LOG_LINES: usize = 5000;

/// What a lane is to do.
pub struct Job {
    /// Stages that were asked for.
    pub stages: Vec<Stage>,
    /// The commit under test.
    pub head: Version,
    /// What to upgrade from, or why there is nothing.
    pub base: Result<(Version, BaseInfo), String>,
    /// What is wrong with the base before it is even deployed: refused, or without its images.
    pub base_trouble: Option<Reason>,
    /// Leave the stack deployed.
    pub keep: bool,
}

/// What came of a lane.
#[derive(Default)]
pub struct LaneResult {
    /// Its stages.
    pub stages: Vec<StageResult>,
    /// Images that ran.
    pub images: Vec<ImageInfo>,
    /// The picture of the first page.
    pub screenshot: Option<Screenshot>,
    /// How many objects were removed.
    pub removed: usize,
    /// What would not go.
    pub leftovers: Vec<Leftover>,
    /// How long the removal took.
    pub teardown: Duration,
    /// The engine stayed away while the stack was to be removed.
    pub engine_away: bool,
}

/// A lane under way.
struct Run<'a> {
    shared: &'a Arc<Shared>,
    job: &'a Job,
    lane: Lane,
    results: Vec<StageResult>,
}

impl Run<'_> {
    fn wants(&self, stage: Stage) -> bool {
        self.job.stages.contains(&stage)
    }

    fn begin(&self, stage: Stage) -> Recorder {
        Recorder::begin(stage, self.lane, &self.shared.dir, &self.shared.redactor, &self.shared.reporter)
    }

    /// Ends a stage: a cancelled run is nobody's failure, and an engine that went away explains whatever went wrong with it.
    fn end(&mut self, recorder: Recorder, run: StageRun, epoch: u64) -> StageStatus {
        if self.shared.lane_was_stopped() {
            self.skip(recorder.stage(), "install did not pass");
            return StageStatus::NotRun;
        }
        let run = run.map_err(|reason| {
            let by_engine = self.shared.watch.epoch() != epoch && reason.code != ReasonCode::Interrupted;
            if self.shared.cancel.is_cancelled() && reason.fault != Fault::Recipe {
                Box::new(self.shared.stopped())
            } else if by_engine {
                Box::new(
                    Reason::new(
                        ReasonCode::EngineRestarted,
                        "the connection to the Docker engine was lost during this stage",
                    )
                    .evidence([format!("what went wrong with it: {reason}")])
                    .evidence(reason.evidence.clone()),
                )
            } else {
                reason
            }
        });
        let result = recorder.end(run);
        let status = result.status;
        self.results.push(result);
        status
    }

    fn skip(&mut self, stage: Stage, why: impl Into<String>) {
        let result = StageResult::not_run(stage, why);
        self.shared.reporter.tell(Event::StageEnded(result.clone()));
        self.results.push(result);
    }

    fn not_applicable(&mut self, stage: Stage, why: &str) {
        let recorder = self.begin(stage);
        let epoch = self.shared.watch.epoch();
        self.end(recorder, Ok(Outcome::NotApplicable(why.to_owned())), epoch);
    }
}

/// Install, then the suite's own tests.
///
/// `after_install` is told what install came to, for the other lane's sake.
pub async fn fresh(shared: &Arc<Shared>, job: &Job, after_install: impl FnOnce(&[StageResult])) -> LaneResult {
    let mut instance = Instance::new(shared.clone(), Lane::Fresh);
    let mut run = Run { shared, job, lane: Lane::Fresh, results: Vec::new() };
    if !run.wants(Stage::Install) && !run.wants(Stage::Custom) {
        return LaneResult::default();
    }
    // Custom tests need an installed app: without the install stage being asked for it is done all the same, and told.
    let epoch = shared.watch.epoch();
    let mut recorder = run.begin(Stage::Install);
    let outcome = guard(shared, stages::install::run(&mut instance, &job.head, &mut recorder)).await;
    let installed = run.end(recorder, outcome, epoch);
    after_install(&run.results);
    if run.wants(Stage::Custom) {
        if installed == StageStatus::Pass {
            let epoch = shared.watch.epoch();
            let mut recorder = run.begin(Stage::Custom);
            let outcome = guard(shared, stages::custom::run(&instance, &mut recorder)).await;
            run.end(recorder, outcome, epoch);
        } else {
            run.skip(Stage::Custom, "install did not pass");
        }
    }
    let results = run.results;
    instance.finish_screenshot().await;
    finish(shared, job, instance, results).await
}

/// Base, upgrade, backup, restore.
pub async fn data(shared: &Arc<Shared>, job: &Job) -> LaneResult {
    let mut instance = Instance::new(shared.clone(), Lane::Data);
    let mut run = Run { shared, job, lane: Lane::Data, results: Vec::new() };
    let wanted = [Stage::Upgrade, Stage::Backup, Stage::Restore].map(|stage| run.wants(stage));
    if wanted == [false; 3] {
        return LaneResult::default();
    }
    let upgraded = if run.wants(Stage::Upgrade) { upgrade(&mut run, &mut instance).await } else { Upgraded::NotDone };
    let ready = match upgraded {
        Upgraded::Yes => true,
        Upgraded::Failed => false,
        // Nothing is deployed, or only a broken base: the commit under test is deployed afresh for backup and restore.
        Upgraded::NotDone => {
            if wanted[1] || wanted[2] {
                deploy_head(&mut run, &mut instance).await
            } else {
                false
            }
        }
    };
    if ready {
        backup_and_restore(&mut run, &mut instance).await;
    } else {
        let why = match upgraded {
            Upgraded::Failed => "upgrade did not pass",
            _ => "the commit under test could not be deployed for it",
        };
        for stage in [Stage::Backup, Stage::Restore] {
            if run.wants(stage) && !run.results.iter().any(|result| result.stage == stage) {
                run.skip(stage, why);
            }
        }
    }
    let results = run.results;
    finish(shared, job, instance, results).await
}

/// How the upgrade left the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgraded {
    /// The commit under test runs, with data in it.
    Yes,
    /// It did not pass.
    Failed,
    /// There was none, or its base is broken; the stack is empty or gone.
    NotDone,
}

async fn upgrade(run: &mut Run<'_>, instance: &mut Instance) -> Upgraded {
    let shared = run.shared.clone();
    let (base, _) = match &run.job.base {
        Ok(base) => base,
        Err(why) => {
            run.not_applicable(Stage::Upgrade, why);
            return Upgraded::NotDone;
        }
    };
    if let Some(why) = instance.not_applicable(Stage::Upgrade) {
        run.not_applicable(Stage::Upgrade, &why);
        return Upgraded::NotDone;
    }
    let epoch = shared.watch.epoch();
    let mut recorder = run.begin(Stage::Upgrade);
    let outcome = match &run.job.base_trouble {
        Some(trouble) => Err(Box::new(trouble.clone())),
        None => guard(&shared, stages::upgrade::run(instance, base, &run.job.head, &mut recorder)).await,
    };
    let broken_base = matches!(&outcome, Err(reason) if reason.code == ReasonCode::BaseBroken);
    match run.end(recorder, outcome, epoch) {
        StageStatus::Pass => Upgraded::Yes,
        _ if broken_base && !shared.cancel.is_cancelled() => {
            save_logs(&shared, instance).await;
            // What the broken base left must not be taken for the commit's own.
            match shared.engine.remove_stack(instance.stack(), TEARDOWN_LIMIT).await {
                Ok(removal) if removal.is_clean() => {
                    *instance = Instance::new(shared, Lane::Data);
                    Upgraded::NotDone
                }
                _ => Upgraded::Failed,
            }
        }
        _ => Upgraded::Failed,
    }
}

/// A fresh deploy of the commit under test with data in it, for backup and restore. Trouble is told as the backup's.
async fn deploy_head(run: &mut Run<'_>, instance: &mut Instance) -> bool {
    let shared = run.shared.clone();
    let head = run.job.head.clone();
    let stateless = match instance.plan(&head, None) {
        Ok(plan) => matches!(stages::backup::wanted(&plan), stages::backup::Wanted::Stateless),
        Err(_) => false,
    };
    if stateless {
        for stage in [Stage::Backup, Stage::Restore] {
            if run.wants(stage) {
                run.not_applicable(stage, "stateless: no named volumes");
            }
        }
        return false;
    }
    let epoch = shared.watch.epoch();
    let mut recorder = run.begin(Stage::Backup);
    let outcome = guard(&shared, async {
        stages::install::bring_up(instance, &head, &mut recorder).await?;
        instance.seed(&mut recorder, Moment::First).await?;
        stages::backup::run(instance, &mut recorder).await
    })
    .await;
    run.end(recorder, outcome, epoch);
    true
}

async fn backup_and_restore(run: &mut Run<'_>, instance: &mut Instance) {
    let shared = run.shared.clone();
    if run.wants(Stage::Backup) && !run.results.iter().any(|result| result.stage == Stage::Backup) {
        let epoch = shared.watch.epoch();
        let mut recorder = run.begin(Stage::Backup);
        let outcome = guard(&shared, stages::backup::run(instance, &mut recorder)).await;
        run.end(recorder, outcome, epoch);
    }
    if !run.wants(Stage::Restore) {
        return;
    }
    let backup = run.results.iter().find(|result| result.stage == Stage::Backup).map(|result| result.status);
    match backup {
        Some(backup @ (StageStatus::Pass | StageStatus::NotApplicable)) => {
            let epoch = shared.watch.epoch();
            let head = run.job.head.clone();
            let mut recorder = run.begin(Stage::Restore);
            let outcome = guard(&shared, stages::restore::run(instance, &head, backup, &mut recorder)).await;
            run.end(recorder, outcome, epoch);
        }
        Some(_) => run.skip(Stage::Restore, "backup did not pass"),
        None => run.skip(Stage::Restore, "there is no backup: the backup stage was not asked for"),
    }
}

/// Ends a stage when the run is stopped, wherever it is; and a mistake of ours in it ends the stage, not the run and its teardown.
async fn guard(shared: &Shared, stage: impl Future<Output = StageRun>) -> StageRun {
    tokio::select! {
        biased;
        () = shared.cancel.cancelled() => Err(Box::new(shared.stopped())),
        run = AssertUnwindSafe(stage).catch_unwind() => run.unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Box::new(Reason::new(ReasonCode::Bug, words.unwrap_or_else(|| "a stage panicked".to_owned()))))
        }),
    }
}

/// Saves the logs and removes the stack.
async fn finish(shared: &Arc<Shared>, job: &Job, instance: Instance, stages: Vec<StageResult>) -> LaneResult {
    save_logs(shared, &instance).await;
    let stack = instance.stack().clone();
    let lane = instance.lane();
    let (images, screenshot) = instance.into_record();
    let mut result = LaneResult { stages, images, screenshot, ..Default::default() };
    if job.keep {
        shared.warn(format!("--keep: stack {stack} stays; remove it with `cc-ci reap`"));
        return result;
    }
    shared.reporter.tell(Event::TearingDown(lane));
    match shared.engine.remove_stack(&stack, TEARDOWN_LIMIT).await {
        Ok(removal) => {
            result.removed = removal.removed;
            result.leftovers = removal.leftovers;
            result.teardown = removal.took;
        }
        Err(error) => {
            result.engine_away = true;
            shared.warn(format!("the {} lane could not be removed at once: {error}", lane.as_str()));
        }
    }
    result
}

/// One file a service: `logs/services/<lane>-<service>.log`.
async fn save_logs(shared: &Shared, instance: &Instance) {
    let logs = match shared.engine.logs(instance.stack(), LOG_LINES).await {
        Ok(logs) => logs,
        Err(error) => return shared.warn(format!("service logs could not be read: {error}")),
    };
    for log in logs {
        let name = format!("{}-{}.log", instance.lane().as_str(), log.service);
        let mut file = super::log::LogFile::open(&shared.dir.join("logs/services").join(name), &shared.redactor);
        file.raw(&format!("--- task {} container {}\n", log.task, log.container.get(..12).unwrap_or(&log.container)));
        for line in &log.lines {
            file.raw(&format!("{} {}{}\n", line.time, if line.stderr { "! " } else { "  " }, line.text));
        }
    }
}

/// What the fresh lane's end means for the data lane: an app that cannot be installed is not worth upgrading.
#[must_use]
pub fn stops_the_other(results: &[StageResult]) -> bool {
    results.iter().any(|result| {
        result.stage == Stage::Install && matches!(result.status, StageStatus::Fail | StageStatus::Inconclusive)
    })
}
