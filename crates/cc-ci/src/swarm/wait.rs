//! Looking at a stack until [`judge`](super::judge) has made up its mind.
//!
//! The rule to know: task changes make no events, so the engine is asked again after 50 to 250 ms; an event only makes the next
//! look come sooner. The wait always ends: by judgement, by the expectation's time-out, or by cancellation.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::converge::{Expectation, Judgement, Signal, judge};
use super::history::History;
use super::state::{Snapshot, TaskState};
use super::{Engine, EngineError, EngineWatch};
use crate::domain::StackName;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How long the engine may be silent before the wait is given up. A restart of the engine takes a few seconds.
const ENGINE_PATIENCE: Duration = Duration::from_secs(20);

/// A stack that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converged {
    /// Time from the deploy until the last change, without the settle time.
    pub after: Duration,
    /// The stack as it was at the end.
    pub snapshot: Snapshot,
    /// Exits that were seen on the way and forgiven, with their services.
    pub exits: Vec<(String, super::Exit)>,
}

/// A stack that did not come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotConverged {
    /// What was seen.
    pub signal: Signal,
    /// The stack as it was last seen; empty if it never was.
    pub snapshot: Snapshot,
    /// Exits that were seen, with their services, oldest first in each service.
    pub exits: Vec<(String, super::Exit)>,
}

impl Engine {
    /// Waits until the stack has converged as expected. `on_progress` is told what is waited for, whenever that changes.
    ///
    /// # Errors
    /// What was seen instead; also if `cancel` was triggered or the engine restarted, which only shows where a `watch` is given.
    pub async fn await_converged(
        &self,
        stack: &StackName,
        expectation: &Expectation,
        watch: Option<&EngineWatch>,
        cancel: &CancellationToken,
        mut on_progress: impl FnMut(&str),
    ) -> Result<Converged, Box<NotConverged>> {
        let mut looker = Looker::new(self, stack, expectation, watch);
        let mut pause = FIRST_PAUSE;
        let mut told = String::new();
        loop {
            let judgement = tokio::select! {
                biased;
                () = cancel.cancelled() => Judgement::Failed(Signal::Cancelled),
                judgement = looker.look() => judgement,
            };
            match judgement {
                Judgement::Converged => return Ok(looker.converged()),
                Judgement::Failed(signal) => return Err(looker.failed(signal)),
                Judgement::Waiting(what) if what != told => {
                    on_progress(&what);
                    told = what;
                    pause = FIRST_PAUSE;
                }
                Judgement::Waiting(_) => pause = (pause * 5 / 4).min(LONGEST_PAUSE),
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                () = woken(watch) => {}
            }
        }
    }
}

async fn woken(watch: Option<&EngineWatch>) {
    match watch {
        Some(watch) => watch.woken().await,
        None => std::future::pending().await,
    }
}

/// What is carried from look to look.
struct Looker<'a> {
    engine: &'a Engine,
    stack: &'a StackName,
    expectation: &'a Expectation,
    watch: Option<&'a EngineWatch>,
    epoch: u64,
    history: History,
    snapshot: Snapshot,
    silent_since: Option<Timestamp>,
    looked_at: HashSet<String>,
    killed: HashSet<String>,
}

impl<'a> Looker<'a> {
    fn new(
        engine: &'a Engine,
        stack: &'a StackName,
        expectation: &'a Expectation,
        watch: Option<&'a EngineWatch>,
    ) -> Self {
        Self {
            engine,
            stack,
            expectation,
            watch,
            epoch: watch.map_or(0, EngineWatch::epoch),
            history: History::default(),
            snapshot: Snapshot { services: Vec::new(), at: expectation.deployed_at },
            silent_since: None,
            looked_at: HashSet::new(),
            killed: HashSet::new(),
        }
    }

    async fn look(&mut self) -> Judgement {
        match self.engine.snapshot(self.stack).await {
            Ok(mut snapshot) => {
                self.silent_since = None;
                self.mark_oom(&mut snapshot).await;
                self.history.observe(self.expectation, &snapshot);
                self.snapshot = snapshot;
                if self.watch.is_some_and(|watch| watch.epoch() != self.epoch) {
                    return Judgement::Failed(Signal::EngineRestarted);
                }
                judge(self.expectation, &self.history, &self.snapshot, super::now())
            }
            Err(error) => self.silence(&error),
        }
    }

    /// An engine that does not answer may be restarting; only a long silence is the end.
    fn silence(&mut self, error: &EngineError) -> Judgement {
        let now = super::now();
        let since = *self.silent_since.get_or_insert(now);
        if now.duration_since(since).unsigned_abs() >= ENGINE_PATIENCE {
            return Judgement::Failed(Signal::EngineGone { message: error.to_string() });
        }
        Judgement::Waiting("the Docker engine to answer".to_owned())
    }

    /// A task killed for want of memory looks like any other kill with exit code 137; its container knows better.
    async fn mark_oom(&mut self, snapshot: &mut Snapshot) {
        for task in snapshot.services.iter_mut().flat_map(|service| &mut service.tasks) {
            if could_be_oom(task) && self.looked_at.insert(task.id.clone()) {
                let container = task.container_id.as_deref().unwrap_or_default();
                if self.engine.was_oom_killed(container).await || self.watch.is_some_and(|w| w.saw_oom(container)) {
                    self.killed.insert(task.id.clone());
                }
            }
            task.oom_killed = self.killed.contains(&task.id);
        }
    }

    fn exits(&self) -> Vec<(String, super::Exit)> {
        let services = self.expectation.services.iter();
        services.flat_map(|e| self.history.exits(&e.name).iter().map(|exit| (e.name.clone(), exit.clone()))).collect()
    }

    fn converged(self) -> Converged {
        let until = self.history.last_change().unwrap_or(self.snapshot.at);
        let after = until.duration_since(self.expectation.deployed_at).max(jiff::SignedDuration::ZERO).unsigned_abs();
        Converged { after, exits: self.exits(), snapshot: self.snapshot }
    }

    fn failed(self, signal: Signal) -> Box<NotConverged> {
        Box::new(NotConverged { signal, exits: self.exits(), snapshot: self.snapshot })
    }
}

fn could_be_oom(task: &TaskState) -> bool {
    task.state.is_dead()
        && task.exit_code == Some(137)
        && !task.err.contains("unhealthy")
        && task.container_id.is_some()
}

impl Engine {
    async fn was_oom_killed(&self, container: &str) -> bool {
        let found = self.docker.inspect_container(container, None).await;
        found.ok().and_then(|found| found.state).and_then(|state| state.oom_killed).unwrap_or(false)
    }
}
