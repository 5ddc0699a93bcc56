//! An executor that follows a script, and the swarm it pretends to deploy to.
//!
//! The swarm outlives the server, as the real one does: what a crashed server left stays until somebody reaps it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use cc_ci::domain::{
    Reason, ReasonCode, RecipeInfo, Run, RunId, Stage, StageResult, StageStatus, TestCase, TestKind, TestStatus,
};
use cc_ci::executor::{Executor, HostRoom, Order};
use cc_ci::harness::{Event, Reporter};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What an attempt comes to.
#[derive(Debug, Clone)]
pub(crate) enum Play {
    /// All stages hold.
    Green,
    /// A stage fails for this reason, with this message.
    Fails(Stage, ReasonCode, String),
    /// It goes on until it is let go or cancelled, and is then green.
    Holds,
    /// It does not even begin.
    Breaks(String),
}

#[derive(Debug, Default)]
struct Inside {
    plays: BTreeMap<String, VecDeque<Play>>,
    deployed: BTreeMap<RunId, String>,
    /// Commits in the order in which attempts began.
    begun: Vec<String>,
    reaped: Vec<RunId>,
    mistakes: Vec<String>,
}

/// The pretended swarm.
#[derive(Debug, Clone, Default)]
pub(crate) struct Swarm {
    inside: Arc<Mutex<Inside>>,
    go: Arc<Notify>,
}

impl Swarm {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// What the next attempts at a commit come to; green when nothing is said.
    pub(crate) fn will(&self, commit: &str, plays: &[Play]) {
        self.inside().plays.entry(commit.to_owned()).or_default().extend(plays.iter().cloned());
    }

    /// Lets one attempt go that holds, or is about to.
    pub(crate) fn let_go(&self) {
        self.go.notify_one();
    }

    pub(crate) fn begun(&self) -> Vec<String> {
        self.inside().begun.clone()
    }

    pub(crate) fn deployed(&self) -> BTreeSet<RunId> {
        self.inside().deployed.keys().cloned().collect()
    }

    pub(crate) fn reaped(&self) -> Vec<RunId> {
        self.inside().reaped.clone()
    }

    pub(crate) fn mistakes(&self) -> Vec<String> {
        self.inside().mistakes.clone()
    }
}

/// Plays what the stage says.
#[derive(Debug)]
pub(crate) struct Scripted(pub(crate) Swarm);

impl Executor for Scripted {
    async fn execute(&self, order: Order, reporter: Reporter, cancel: CancellationToken) -> Result<Run, String> {
        let commit = order.run.what.commit.clone();
        let play = {
            let mut inside = self.0.inside();
            if inside.deployed.values().any(|other| *other == commit) {
                let mistake = format!("{commit} is deployed twice");
                inside.mistakes.push(mistake);
            }
            inside.begun.push(commit.clone());
            inside.plays.get_mut(&commit).and_then(VecDeque::pop_front).unwrap_or(Play::Green)
        };
        if let Play::Breaks(why) = play {
            return Err(why);
        }
        self.0.inside().deployed.insert(order.run_id.clone(), commit);
        reporter.tell(Event::Preparing("pulling 1 image".to_owned()));
        let fails = match &play {
            Play::Fails(stage, code, message) => Some((*stage, Reason::new(*code, message.clone()))),
            Play::Green | Play::Holds | Play::Breaks(_) => None,
        };
        let mut stages: Vec<StageResult> = Vec::new();
        let mut stopped = false;
        for stage in Stage::ALL {
            let mut result = StageResult::not_run(stage, "an earlier stage did not pass");
            let before = stages.last().is_none_or(|result| result.status == StageStatus::Pass);
            if before {
                reporter.tell(Event::StageStarted(stage));
                (result.status, result.skip) = (StageStatus::Pass, None);
                result.started = Some(cc_ci::clock::now());
                result.duration_ms = Some(10);
                result.tests.push(TestCase {
                    name: "it is there".to_owned(),
                    kind: TestKind::Builtin,
                    status: TestStatus::Pass,
                    started: cc_ci::clock::now(),
                    duration_ms: 5,
                    attempts: 1,
                    assertions: None,
                    message: String::new(),
                });
                if let Some((_, reason)) = fails.as_ref().filter(|(at, _)| *at == stage) {
                    let ours = !reason.fault.blames_commit();
                    result.status = if ours { StageStatus::Inconclusive } else { StageStatus::Fail };
                    result.reason = Some(reason.clone());
                }
                if stopped {
                    result.status = StageStatus::Inconclusive;
                    result.reason = Some(Reason::new(ReasonCode::Interrupted, "the run was stopped"));
                }
                reporter.tell(Event::StageEnded(result.clone()));
            }
            stages.push(result);
            if stage == Stage::Install && matches!(play, Play::Holds) {
                // The lines above are told before anybody can let it go.
                tokio::select! {
                    () = cancel.cancelled() => stopped = true,
                    () = self.0.go.notified() => {}
                }
            }
        }
        self.0.inside().deployed.remove(&order.run_id);
        Ok(record(&order, stages))
    }

    async fn room(&self) -> Result<HostRoom, String> {
        let plenty = 1 << 40;
        Ok(HostRoom {
            memory_total: plenty,
            memory_available: plenty,
            networks_total: plenty,
            networks_foreign: 0,
            networks_of_runs: BTreeMap::new(),
        })
    }

    async fn deployed(&self) -> Result<Vec<RunId>, String> {
        Ok(self.0.deployed().into_iter().collect())
    }

    async fn reap(&self, run: &RunId) -> Result<(), String> {
        let mut inside = self.0.inside();
        inside.deployed.remove(run);
        inside.reaped.push(run.clone());
        Ok(())
    }
}

fn record(order: &Order, stages: Vec<StageResult>) -> Run {
    let recipe = RecipeInfo {
        name: order.run.what.recipe.clone(),
        source: "https://forge.test/recipes/app".into(),
        reference: None,
        commit: order.run.what.commit.clone(),
        version: Some("1.1.0+2.0".into()),
    };
    Run::of_stages(order.run_id.clone(), recipe, cc_ci::clock::now(), 1_000, stages)
}
