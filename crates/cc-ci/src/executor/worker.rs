//! The worker that claims runs, follows them and writes down how they end, whoever executes them.
//!
//! It extends the lease when the run *progresses*, never by a timer: a run that
//! tells nothing for too long is stopped. The race to know: the lease may be gone at any moment, so every write shows its
//! token, and a write that changes nothing ends the attempt without another word.

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::room::{Limits, room};
use super::{Executor, Order};
use crate::bridge::context::Bridge;
use crate::bridge::intake;
use crate::domain::{Run, RunId, Verdict};
use crate::harness::{Event, Reporter};
use crate::queue::claim::{Claim, Claimant, Claimed, claim};
use crate::queue::lease::{self, Lease, Report, Standing};
use crate::queue::recover::Holders;
use crate::reconcile::Next;
use crate::store::runs::{self, RunState};
use crate::store::{StoreError, events};

/// What a stopped attempt may take to remove what it deployed. After that it is left to the reaper.
const TEARDOWN: Duration = Duration::from_secs(15 * 60);

/// How often the end of an attempt is tried to be written; a full disk may pass.
const WRITES: u32 = 8;

/// Claims runs and follows them.
#[derive(Debug)]
pub struct Worker<E> {
    bridge: Bridge,
    executor: Arc<E>,
    this: String,
    prefix: String,
    /// Tokens of the attempts that go on in this process.
    alive: Mutex<BTreeSet<String>>,
    attempts: Mutex<JoinSet<()>>,
    /// No further claims.
    stop: CancellationToken,
    /// Attempts end and are given back.
    halt: CancellationToken,
}

impl<E: Executor> Worker<E> {
    /// A worker in one life of this process. `stop` ends claiming; `halt` ends the attempts that go on.
    pub fn new(
        bridge: Bridge,
        executor: Arc<E>,
        host: &str,
        stop: CancellationToken,
        halt: CancellationToken,
    ) -> Arc<Self> {
        let prefix = format!("embedded:{host}:");
        let this = format!("{prefix}{:016x}", rand::random::<u64>());
        let (alive, attempts) = (Mutex::default(), Mutex::default());
        Arc::new(Self { bridge, executor, this, prefix, alive, attempts, stop, halt })
    }

    /// The executor.
    pub fn executor(&self) -> &E {
        &self.executor
    }

    /// Who holds leases here, for the recovery plan.
    #[must_use]
    pub fn holders(&self) -> Holders {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Holders { this: self.this.clone(), embedded_prefix: self.prefix.clone(), alive }
    }

    /// Claims as much as there is room for.
    ///
    /// # Errors
    /// If the database or the engine does not answer.
    pub async fn pass(self: &Arc<Self>) -> Result<Next, String> {
        while !self.stop.is_cancelled() {
            self.forget_ended();
            let mut connection = self.bridge.store.read().await.map_err(text)?;
            let open = runs::open(&mut connection).await.map_err(text)?;
            drop(connection);
            let Some(next) = open.iter().filter(|run| run.state == RunState::Queued).map(|run| run.not_before).min()
            else {
                return Ok(Next::Idle);
            };
            if !intake::has_space(&self.bridge) {
                return Err("no run starts: less than runs.disk_floor_mb is free".to_owned());
            }
            let now = self.bridge.clock.now();
            let runs = &self.bridge.config.runs;
            let limits = Limits { slots: i64::try_from(runs.slots).unwrap_or(i64::MAX), reserve: runs.reserve };
            let room = room(&self.executor.room().await?, &open, limits, now);
            let claimant = Claimant {
                holder: self.this.clone(),
                token: format!("{:032x}", rand::random::<u128>()),
                run_id: RunId::new(now.as_second().unsigned_abs(), rand::random()),
            };
            // Known to be alive before anybody can see it in the database.
            self.live(&claimant.token, true);
            let claimed = claim(&self.bridge.store, &claimant, &room, &self.bridge.config.queue(), now).await;
            match claimed {
                Ok(Claim::Run(claimed)) => self.begin(*claimed),
                Ok(Claim::NoRoom | Claim::Empty) => {
                    self.live(&claimant.token, false);
                    let until = Duration::try_from(next.duration_since(now)).unwrap_or_default();
                    return Ok(if until.is_zero() { Next::Idle } else { Next::After(until) });
                }
                Err(error) => {
                    self.live(&claimant.token, false);
                    return Err(error.to_string());
                }
            }
        }
        Ok(Next::Idle)
    }

    /// Waits until all attempts have ended.
    pub async fn ended(&self) {
        let mut attempts = std::mem::take(&mut *self.attempts.lock().unwrap_or_else(PoisonError::into_inner));
        while attempts.join_next().await.is_some() {}
    }

    fn begin(self: &Arc<Self>, claimed: Claimed) {
        self.bridge.signals.publish.wake();
        self.bridge.news.tell();
        let worker = Arc::clone(self);
        let task = async move {
            let token = claimed.lease.token().to_owned();
            worker.attempt(claimed).await;
            worker.live(&token, false);
            worker.bridge.signals.queue.wake();
            worker.bridge.signals.publish.wake();
            worker.bridge.news.tell();
        };
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }

    async fn attempt(&self, claimed: Claimed) {
        let Claimed { lease, run } = claimed;
        tracing::info!("run {} attempt {}: {} at {}", run.number, run.attempt, run.what.recipe, run.what.commit);
        let (reporter, told) = Reporter::channel();
        let cancel = CancellationToken::new();
        let order = Order { run, run_id: lease.run_id().clone() };
        let execution = self.executor.execute(order, reporter, cancel.clone());
        let mut follow = Follow { worker: self, lease: &lease, cancel, ending: None };
        let Some(outcome) = follow.until_over(AssertUnwindSafe(execution).catch_unwind(), told).await else {
            tracing::error!(
                "run {}: what it deployed could not be removed in time; left to the reaper",
                lease.number()
            );
            return;
        };
        let outcome = outcome.unwrap_or_else(|_| Err("cc-ci made a mistake; see its log".to_owned()));
        let Some(report) = report(outcome, follow.ending) else {
            tracing::warn!("run {}: the lease was lost", lease.number());
            return;
        };
        tracing::info!("run {} is over: {}", lease.number(), in_words(&report));
        self.write_end(&lease, &report).await;
    }

    async fn write_end(&self, lease: &Lease, report: &Report) {
        let bridge = &self.bridge;
        for tries in 0..WRITES {
            match lease::finish(&bridge.store, lease, report, &bridge.config.queue(), bridge.clock.now()).await {
                Ok(true) => return,
                Ok(false) => {
                    tracing::warn!("run {}: the lease was lost before its end could be written", lease.number());
                    return;
                }
                Err(error) => {
                    tracing::error!("the end of run {} could not be written: {error}", lease.number());
                    tokio::time::sleep(Duration::from_secs(1 << tries.min(5))).await;
                }
            }
        }
    }
}

impl<E> Worker<E> {
    /// Drops all attempts where they are, as a crash would.
    pub fn abort(&self) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }

    fn live(&self, token: &str, alive: bool) {
        let mut tokens = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if alive {
            tokens.insert(token.to_owned());
        } else {
            tokens.remove(token);
        }
    }

    fn forget_ended(&self) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        while attempts.try_join_next().is_some() {}
    }
}

/// Why an attempt is stopped before it has a record.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Cancelled,
    Overdue,
    Stalled(String),
    Released,
    Lost,
}

/// An attempt as it goes.
struct Follow<'w, E> {
    worker: &'w Worker<E>,
    lease: &'w Lease,
    cancel: CancellationToken,
    ending: Option<Ending>,
}

impl<E: Executor> Follow<'_, E> {
    /// Follows an execution until it is over. Nothing comes back if it does not end although it was told to.
    async fn until_over<T>(
        &mut self,
        execution: impl Future<Output = T>,
        mut told: mpsc::UnboundedReceiver<Event>,
    ) -> Option<T> {
        let mut execution = std::pin::pin!(execution);
        let config = &self.worker.bridge.config.runs;
        let mut cancels = self.worker.bridge.signals.cancels.listen();
        let deadline = Instant::now() + config.timeout;
        let mut limit = deadline.min(Instant::now() + config.stall);
        let (mut batch, mut open) = (Vec::new(), true);
        loop {
            let before = self.ending.is_some();
            tokio::select! {
                outcome = &mut execution => {
                    while let Ok(event) = told.try_recv() {
                        batch.push(event);
                    }
                    self.write_down(&mut batch).await;
                    return Some(outcome);
                }
                count = told.recv_many(&mut batch, 64), if open => {
                    open = count > 0;
                    self.write_down(&mut batch).await;
                    if self.ending.is_none() {
                        limit = deadline.min(Instant::now() + config.stall);
                    }
                }
                _ = cancels.changed() => self.look_for_cancel().await,
                () = self.worker.halt.cancelled(), if !before => self.end(Ending::Released),
                () = tokio::time::sleep_until(limit) => {
                    if before {
                        return None;
                    }
                    let stalled = format!("nothing happened for {} s", config.stall.as_secs());
                    self.end(if Instant::now() >= deadline { Ending::Overdue } else { Ending::Stalled(stalled) });
                }
            }
            if self.ending.is_some() && !before {
                limit = Instant::now() + TEARDOWN;
            }
        }
    }

    fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
        self.cancel.cancel();
    }

    /// Writes what was told, and extends the lease by it.
    async fn write_down(&mut self, batch: &mut Vec<Event>) {
        let told = std::mem::take(batch);
        if told.is_empty() || self.ending == Some(Ending::Lost) {
            return;
        }
        match self.try_write_down(&told).await {
            Ok(Standing::Held) => {}
            Ok(Standing::CancelWanted { .. }) => self.end(Ending::Cancelled),
            Ok(Standing::Lost) => {
                self.ending = Some(Ending::Lost);
                self.cancel.cancel();
            }
            // Events are for watching; should the database stay away, the end of the attempt will say so.
            Err(error) => tracing::warn!("run {}: {error}", self.lease.number()),
        }
        self.worker.bridge.news.tell();
    }

    async fn try_write_down(&self, told: &[Event]) -> Result<Standing, StoreError> {
        let Bridge { store, clock, config, signals, .. } = &self.worker.bridge;
        let (number, attempt, now) = (self.lease.number(), self.lease.attempt(), clock.now());
        let doing = told.iter().rev().find_map(progress).unwrap_or_default();
        let standing = lease::progress(store, self.lease, &doing, &config.queue(), now).await?;
        if standing == Standing::Lost {
            return Ok(standing);
        }
        let mut write = store.begin_immediate().await?;
        for event in told {
            if let Some((kind, body)) = row(event) {
                events::append(&mut write, number, attempt, kind, &body, now).await?;
            }
        }
        write.commit().await?;
        for event in told {
            if let Event::StageEnded(result) = event {
                lease::stage_ended(store, self.lease, result, now).await?;
                signals.publish.wake();
            }
        }
        Ok(standing)
    }

    async fn look_for_cancel(&mut self) {
        let number = self.lease.number();
        let found = async { runs::get(&mut *self.worker.bridge.store.read().await?, number).await }.await;
        match found {
            Ok(Some(run)) if run.cancel.is_some() => self.end(Ending::Cancelled),
            Ok(_) => {}
            Err(error) => tracing::warn!("run {number}: {error}"),
        }
    }
}

/// What to report of an attempt that is over; nothing if the lease is gone.
fn report(outcome: Result<Run, String>, ending: Option<Ending>) -> Option<Report> {
    match (outcome, ending) {
        (_, Some(Ending::Lost)) => None,
        // What was judged before the order to stop took effect is worth keeping.
        (Ok(run), _) if matches!(run.verdict, Verdict::Green | Verdict::Red) => Some(Report::Record(Box::new(run))),
        (_, Some(Ending::Cancelled)) => Some(Report::Cancelled),
        (_, Some(Ending::Overdue)) => Some(Report::Overdue),
        (_, Some(Ending::Released)) => Some(Report::Released),
        (_, Some(Ending::Stalled(why))) => Some(Report::Broken { why }),
        (Ok(run), None) => Some(Report::Record(Box::new(run))),
        (Err(why), None) => Some(Report::Broken { why }),
    }
}

/// What a run is doing, in one line.
fn progress(event: &Event) -> Option<String> {
    match event {
        Event::Started { .. } => Some("begins".to_owned()),
        Event::Preparing(what) => Some(what.clone()),
        Event::StageStarted(stage) => Some(stage.to_string()),
        Event::Progress { stage, doing } => Some(format!("{stage}: {doing}")),
        Event::StageEnded(result) => Some(format!("{}: {}", result.stage, result.status.words())),
        Event::TearingDown(lane) => Some(format!("removing the {} lane", lane.as_str())),
        Event::Warning(_) | Event::Ended(_) => None,
    }
}

/// What viewers are told beyond logs and stages, as kind and text.
fn row(event: &Event) -> Option<(&'static str, String)> {
    match event {
        Event::Started { head, base, parallel, .. } => {
            let lanes = if *parallel { "both lanes side by side" } else { "one lane after the other" };
            Some(("started", format!("{head}; base: {base}; {lanes}")))
        }
        Event::Preparing(what) => Some(("preparing", what.clone())),
        Event::TearingDown(lane) => Some(("teardown", format!("removing the {} lane", lane.as_str()))),
        Event::Warning(what) => Some(("warning", what.clone())),
        Event::Ended(run) => Some(("ended", format!("{}, level {}", run.verdict, run.level))),
        Event::StageStarted(_) | Event::Progress { .. } | Event::StageEnded(_) => None,
    }
}

/// The end of an attempt, for the journal.
fn in_words(report: &Report) -> String {
    match report {
        Report::Record(run) => format!("{}, level {}", run.verdict, run.level),
        Report::Cancelled => "cancelled".to_owned(),
        Report::Overdue => "out of time".to_owned(),
        Report::Broken { why } => format!("no verdict: {why}"),
        Report::Released => "given back, the server stops".to_owned(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn text(error: StoreError) -> String {
    error.to_string()
}
