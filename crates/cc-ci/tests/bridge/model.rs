//! Random histories with crashes at any point: whatever happens, each trigger gets one verdict, the forge shows one
//! comment per pull request and the right final status, and nothing is left on the swarm.
//!
//! A *process* does what the server does, one operation at a time. A crash drops an operation at one of its points of
//! waiting (any statement of the database, any call to the forge, any removal of a stack), forgets all that the process
//! knew, and starts a new one on the same database, forge and swarm. Leases of the dead process stay around as zombies
//! that later try to write.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use cc_ci::domain::{ReasonCode, RunId, Verdict};
use cc_ci::publish::StatusState;
use cc_ci::publish::deliver::{Line, deliver};
use cc_ci::publish::forge::Failure;
use cc_ci::publish::refresh::refresh;
use cc_ci::queue::QueueConfig;
use cc_ci::queue::accept::{Accepted, accept, rerun};
use cc_ci::queue::cancel::cancel_pull;
use cc_ci::queue::claim::{Claim, Claimed, claim};
use cc_ci::queue::lease::{Report, Standing, finish, progress};
use cc_ci::queue::recover::{Holders, Reaper, StackSeen, execute, plan};
use cc_ci::store::runs::{self, NewRun, Outcome, RunState};
use cc_ci::store::triggers::Decided;
use cc_ci::store::{Store, StoreError, attempts, outbox, triggers};
use jiff::{SignedDuration, Timestamp};

use crate::at;
use crate::support::{Dice, FakeForge, Fate, PlainText, ROOM, claimant, commit, new_run, new_trigger, record};

const REPOS: u64 = 2;
const PULLS: u64 = 2;
const PEOPLE: u64 = 3;

/// Stacks on the swarm, by the attempt that they are labelled with.
#[derive(Clone, Default)]
struct Swarm(Arc<Mutex<BTreeSet<RunId>>>);

impl Reaper for Swarm {
    async fn reap(&self, stack: &StackSeen) -> Result<(), String> {
        tokio::task::yield_now().await;
        self.0.lock().unwrap().remove(&stack.run_id);
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// Gives an operation so many polls, and drops it then.
struct Mortal<F> {
    operation: Option<Pin<Box<F>>>,
    polls: Option<u64>,
}

impl<F: Future> Future for Mortal<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == Some(0) {
            self.operation = None;
            return Poll::Ready(None);
        }
        self.polls = self.polls.map(|polls| polls - 1);
        match self.operation.as_mut().map(|operation| operation.as_mut().poll(context)) {
            Some(Poll::Ready(output)) => Poll::Ready(Some(output)),
            Some(Poll::Pending) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// A run that this process executes.
struct Worker {
    claimed: Claimed,
    steps_left: u64,
    ending: Report,
}

/// A comment that asks for a run.
#[derive(Clone)]
struct Comment {
    id: i64,
    run: NewRun,
    accepted: bool,
}

struct World {
    dice: Dice,
    store: Store,
    forge: FakeForge,
    swarm: Swarm,
    config: QueueConfig,
    now: Timestamp,
    comments: Vec<Comment>,
    heads: BTreeMap<(i64, i64), u64>,
    seen_verdicts: BTreeMap<i64, (Verdict, Outcome)>,
    // What a crash forgets:
    life: u64,
    claims: u64,
    workers: Vec<Worker>,
    line: Line,
    // What it leaves behind:
    zombies: Vec<Claimed>,
    crashes: usize,
    /// While false, no operation is cut short.
    mortal: bool,
}

impl World {
    async fn new(seed: u64) -> Self {
        let forge = FakeForge::default();
        let mut fates = Dice::new(seed ^ 0xfa7e);
        forge.set_fate(move |_| match fates.below(12) {
            0 => Fate::FailsBefore(Failure::Unreachable),
            1 => Fate::FailsAfter(Failure::Unreachable),
            2 => Fate::FailsAfter(Failure::Internal),
            3 => Fate::FailsBefore(Failure::Throttled(None)),
            _ => Fate::Works,
        });
        Self {
            dice: Dice::new(seed),
            store: Store::in_memory().await.unwrap(),
            forge,
            swarm: Swarm::default(),
            config: QueueConfig::default(),
            now: at(0),
            comments: Vec::new(),
            heads: BTreeMap::new(),
            seen_verdicts: BTreeMap::new(),
            life: 1,
            claims: 0,
            workers: Vec::new(),
            line: Line::default(),
            zombies: Vec::new(),
            crashes: 0,
            mortal: true,
        }
    }

    /// Runs an operation of the process; `None` if the process died in it.
    async fn live<T>(&mut self, operation: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        let polls = (self.mortal && self.dice.one_in(4)).then(|| self.dice.below(30));
        let outcome = Mortal { operation: Some(Box::pin(operation)), polls }.await;
        match outcome {
            Some(result) => Some(result.unwrap()),
            None => {
                self.crash();
                None
            }
        }
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.life += 1;
        self.line = Line::default();
        self.zombies.extend(self.workers.drain(..).map(|worker| worker.claimed));
    }

    async fn comment(&mut self) {
        let repo = i64::try_from(self.dice.below(REPOS)).unwrap();
        let pull = i64::try_from(self.dice.below(PULLS)).unwrap();
        let pushed = self.dice.one_in(3);
        let head = self.heads.entry((repo, pull)).or_insert(1);
        *head += u64::from(pushed);
        let commit_id = commit(u64::try_from(repo * 1_000_000 + pull * 10_000).unwrap() + *head);
        let person = i64::try_from(self.dice.below(PEOPLE)).unwrap();
        let id = i64::try_from(self.comments.len()).unwrap() + 500;
        self.comments.push(Comment { id, run: new_run(repo, Some(pull), &commit_id, person), accepted: false });
        self.deliver_comment(self.comments.len() - 1).await;
    }

    async fn deliver_comment(&mut self, which: usize) {
        let (store, config, now) = (self.store.clone(), self.config.clone(), self.now);
        let comment = self.comments[which].clone();
        let accepted = self
            .live(async move {
                let mut write = store.begin_immediate().await?;
                let trigger = new_trigger(&comment.run, Some(comment.id));
                let accepted = accept(&mut write, &trigger, &comment.run, &config, now).await?;
                write.commit().await?;
                Ok(accepted)
            })
            .await;
        if let Some(accepted) = accepted {
            assert!(!self.comments[which].accepted || accepted == Accepted::Known, "a comment counts once");
            self.comments[which].accepted = true;
        }
    }

    async fn claim(&mut self) {
        self.claims += 1;
        let claimant = claimant(self.life, self.claims);
        let (store, config, now) = (self.store.clone(), self.config.clone(), self.now);
        let mut room = ROOM;
        room.slots -= i64::try_from(self.workers.len()).unwrap();
        let claimed = self.live(async move { claim(&store, &claimant, &room, &config, now).await }).await;
        if let Some(Claim::Run(claimed)) = claimed {
            let run_id = claimed.lease.run_id().clone();
            let ending = match self.dice.below(8) {
                0 => Report::Broken { why: "no engine".into() },
                1 => Report::Overdue,
                2 | 3 => Report::Record(Box::new(record(&run_id, Verdict::Error, Some(ReasonCode::DiskFull)))),
                4 => Report::Record(Box::new(record(&run_id, Verdict::Red, Some(ReasonCode::CrashLoop)))),
                _ => Report::Record(Box::new(record(&run_id, Verdict::Green, None))),
            };
            let steps_left = 1 + self.dice.below(4);
            self.workers.push(Worker { claimed: *claimed, steps_left, ending });
        }
    }

    /// One step of one worker: deploy and progress, or tear down and report.
    async fn work(&mut self) {
        if self.workers.is_empty() {
            return;
        }
        let at = usize::try_from(self.dice.below(self.workers.len() as u64)).unwrap();
        let lease = self.workers[at].claimed.lease.clone();
        let (store, config, now) = (self.store.clone(), self.config.clone(), self.now);
        self.workers[at].steps_left = self.workers[at].steps_left.saturating_sub(1);
        if self.workers[at].steps_left > 0 {
            self.swarm.0.lock().unwrap().insert(lease.run_id().clone());
            let (of, config) = (lease.clone(), config.clone());
            let standing = self.live(async move { progress(&store, &of, "stage", &config, now).await }).await;
            match standing {
                Some(Standing::Held) | None => {}
                Some(Standing::CancelWanted { .. }) => {
                    self.workers[at].ending = Report::Cancelled;
                    self.workers[at].steps_left = 0;
                }
                Some(Standing::Lost) => panic!("nobody takes a living process's lease"),
            }
            return;
        }
        self.swarm.0.lock().unwrap().remove(lease.run_id());
        let ending = self.workers[at].ending.clone();
        let held = self.live(async move { finish(&store, &lease, &ending, &config, now).await }).await;
        if let Some(held) = held {
            assert!(held, "nobody takes a living process's lease");
            self.workers.remove(at);
        }
    }

    async fn sweep(&mut self) {
        let (store, config, now, swarm) = (self.store.clone(), self.config.clone(), self.now, self.swarm.clone());
        let holders = Holders {
            this: format!("embedded:host:{}", self.life),
            embedded_prefix: "embedded:host:".into(),
            alive: self.workers.iter().map(|worker| worker.claimed.lease.token().to_owned()).collect(),
        };
        self.live(async move {
            let labelled: Vec<RunId> = swarm.0.lock().unwrap().iter().cloned().collect();
            let mut connection = store.read().await?;
            let mut stacks = Vec::new();
            for run_id in labelled {
                let run_number = attempts::run_of(&mut connection, &run_id).await?;
                stacks.push(StackSeen { name: run_id.to_string(), run_id, run_number });
            }
            let rows = runs::open(&mut connection).await?;
            drop(connection);
            let actions = plan(&rows, &stacks, &holders, &[], &config, now);
            execute(&store, &actions, &swarm, now).await
        })
        .await;
    }

    async fn publish(&mut self) {
        let (store, forge, now) = (self.store.clone(), self.forge.clone(), self.now);
        let mut line = self.line.clone();
        let done = self
            .live(async move {
                refresh(&store, &PlainText, 3, now).await?;
                deliver(&store, &forge, &mut line, now, &mut || 0.5).await?;
                Ok(line)
            })
            .await;
        if let Some(line) = done {
            self.line = line;
        }
    }

    async fn cancel(&mut self) {
        let (store, now) = (self.store.clone(), self.now);
        let repo = i64::try_from(self.dice.below(REPOS)).unwrap();
        let pull = i64::try_from(self.dice.below(PULLS)).unwrap();
        self.live(async move {
            let mut write = store.begin_immediate().await?;
            cancel_pull(&mut write, repo, pull, i64::MAX, "anna", now).await?;
            write.commit().await
        })
        .await;
    }

    async fn rerun(&mut self) {
        let (store, config, now) = (self.store.clone(), self.config.clone(), self.now);
        let number = 1 + i64::try_from(self.dice.below(8)).unwrap();
        self.live(async move {
            let mut write = store.begin_immediate().await?;
            rerun(&mut write, number, (2, "bert"), &config, now).await?;
            write.commit().await
        })
        .await;
    }

    /// A process that was thought dead wakes up and reports. It may succeed only while nobody has taken its lease away.
    async fn zombie(&mut self) {
        let Some(zombie) = self.zombies.pop() else { return };
        let row = runs::get(&mut self.store.read().await.unwrap(), zombie.lease.number()).await.unwrap().unwrap();
        let holds = row.lease.is_some_and(|lease| lease.token == zombie.lease.token());
        let report = Report::Record(Box::new(record(zombie.lease.run_id(), Verdict::Green, None)));
        let held = finish(&self.store, &zombie.lease, &report, &self.config, self.now).await.unwrap();
        assert_eq!(held, holds, "the fence");
    }

    async fn stop_in_order(&mut self) {
        while let Some(worker) = self.workers.pop() {
            self.swarm.0.lock().unwrap().remove(worker.claimed.lease.run_id());
            let released = finish(&self.store, &worker.claimed.lease, &Report::Released, &self.config, self.now).await;
            assert!(released.unwrap());
        }
        self.life += 1;
    }

    async fn one_thing(&mut self) {
        match self.dice.below(20) {
            0..=2 => self.comment().await,
            3..=5 => self.claim().await,
            6..=10 => self.work().await,
            11..=13 => self.publish().await,
            14 => self.sweep().await,
            15 if self.dice.one_in(3) => self.cancel().await,
            16 => self.rerun().await,
            17 => self.zombie().await,
            18 if !self.comments.is_empty() => {
                let which = usize::try_from(self.dice.below(self.comments.len() as u64)).unwrap();
                self.deliver_comment(which).await;
            }
            _ if self.dice.one_in(4) => self.crash(),
            _ if self.dice.one_in(4) => self.stop_in_order().await,
            _ => {}
        }
        let seconds = i64::try_from(self.dice.below(120)).unwrap();
        self.now += SignedDuration::from_secs(seconds);
    }

    /// What must hold at any moment.
    async fn check_always(&mut self) {
        let mut connection = self.store.read().await.unwrap();
        let mut running = BTreeSet::new();
        for run in runs::open(&mut connection).await.unwrap() {
            assert!(run.verdict.is_none() && run.outcome.is_none());
            assert_eq!(run.state == RunState::Running, run.lease.is_some());
            assert!(run.retries <= self.config.retries && run.crashes < self.config.crashes);
            if run.state == RunState::Running {
                assert!(running.insert((run.what.repo_id, run.what.commit.clone())), "two leases for one key");
            }
        }
        for repo in 0..REPOS {
            for pull in 0..PULLS {
                let (repo, pull) = (i64::try_from(repo).unwrap(), i64::try_from(pull).unwrap());
                for trigger in triggers::of_pull(&mut connection, repo, pull, 10_000).await.unwrap() {
                    let verdict = trigger.verdict.zip(trigger.outcome);
                    match self.seen_verdicts.get(&trigger.id) {
                        Some(before) => assert_eq!(verdict, Some(*before), "a verdict never changes"),
                        None => {
                            verdict.map(|verdict| self.seen_verdicts.insert(trigger.id, verdict));
                        }
                    }
                }
            }
        }
    }

    /// Lets everything come to rest, without further crashes.
    async fn settle(&mut self) {
        self.mortal = false;
        self.forge.heal();
        for which in 0..self.comments.len() {
            self.deliver_comment(which).await;
        }
        for round in 0.. {
            assert!(round < 400, "it does not come to rest");
            self.sweep().await;
            self.claim().await;
            while !self.workers.is_empty() {
                self.work().await;
            }
            self.publish().await;
            self.now += SignedDuration::from_secs(200);
            let mut connection = self.store.read().await.unwrap();
            let open = runs::open(&mut connection).await.unwrap();
            let due = outbox::next_due(&mut connection).await.unwrap();
            let stacks = self.swarm.0.lock().unwrap().len();
            if open.is_empty() && due.is_none() && stacks == 0 && self.line.paused_until().is_none() {
                return;
            }
        }
    }

    /// What must hold at rest.
    async fn check_at_rest(&self) {
        let mut connection = self.store.read().await.unwrap();
        assert!(runs::unpublished(&mut connection, 1).await.unwrap().is_empty());
        let (comments_shown, statuses_shown) = {
            let shown = self.forge.state();
            (shown.comments.clone(), shown.statuses.clone())
        };
        let mut of_commit: BTreeMap<String, (i64, StatusState)> = BTreeMap::new();
        for repo in 0..REPOS {
            for pull in 0..PULLS {
                let (repo, pull) = (i64::try_from(repo).unwrap(), i64::try_from(pull).unwrap());
                let mut by_comment: BTreeMap<i64, usize> = BTreeMap::new();
                for trigger in triggers::of_pull(&mut connection, repo, pull, 10_000).await.unwrap() {
                    if let Some(comment) = trigger.what.comment_id {
                        *by_comment.entry(comment).or_default() += 1;
                    }
                    let verdict = trigger.verdict.expect("every trigger has its verdict");
                    assert_ne!(verdict, Verdict::Pending);
                    assert_eq!(trigger.decided, Decided::Run);
                    let run = runs::get(&mut connection, trigger.run_number.unwrap()).await.unwrap().unwrap();
                    assert_eq!((run.state, run.verdict), (RunState::Finished, Some(verdict)));
                }
                let written: BTreeSet<i64> = self
                    .comments
                    .iter()
                    .filter(|comment| (comment.run.repo_id, comment.run.pull) == (repo, Some(pull)))
                    .map(|comment| comment.id)
                    .collect();
                assert!(by_comment.values().all(|count| *count == 1));
                assert_eq!(by_comment.keys().copied().collect::<BTreeSet<_>>(), written, "one trigger per comment");
                let runs = runs::of_pull(&mut connection, repo, pull, 10_000).await.unwrap();
                let Some(newest) = runs.first() else { continue };
                let comments = &comments_shown[&(repo, pull)];
                assert_eq!(comments.len(), 1, "one comment per pull request");
                let line = format!("run {} Finished {:?}", newest.number, newest.verdict);
                assert!(comments[0].body.contains(&line), "{:?} lacks {line}", comments[0].body);
                for run in &runs {
                    let state = match run.verdict.unwrap() {
                        Verdict::Green => StatusState::Success,
                        Verdict::Red => StatusState::Failure,
                        Verdict::Error | Verdict::Pending => StatusState::Error,
                    };
                    of_commit.entry(run.what.commit.clone()).or_insert((run.number, state));
                }
            }
        }
        for (commit, (number, state)) in of_commit {
            let posted = &statuses_shown[&commit];
            let last = posted.last().unwrap();
            assert_eq!((last.state, last.target_url.clone()), (state, format!("https://ci.test/runs/{number}")));
            let order: Vec<(i64, bool)> = posted
                .iter()
                .map(|status| {
                    let number = status.target_url.rsplit('/').next().unwrap().parse().unwrap();
                    (number, status.state != StatusState::Pending)
                })
                .collect();
            assert!(order.is_sorted(), "an old status came after a newer one: {order:?}");
        }
    }
}

#[tokio::test]
async fn histories_with_crashes_anywhere() {
    live_through(0..150).await;
}

#[tokio::test]
async fn more_histories_with_crashes_anywhere() {
    live_through(150..300).await;
}

async fn live_through(seeds: std::ops::Range<u64>) {
    let mut crashes = 0;
    let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
    for seed in seeds {
        let told = Told(seed);
        let mut world = World::new(seed).await;
        for _ in 0..80 {
            let life = world.life;
            world.one_thing().await;
            if world.life != life {
                // Whoever starts looks at what was left before taking work; and may die of that too.
                world.sweep().await;
            }
            world.check_always().await;
        }
        world.settle().await;
        world.check_always().await;
        world.check_at_rest().await;
        std::mem::forget(told);
        crashes += world.crashes;
        for (verdict, outcome) in world.seen_verdicts.values() {
            *verdicts.entry(format!("{verdict} {outcome:?}")).or_default() += 1;
        }
    }
    println!("{crashes} crashes; verdicts: {verdicts:?}");
    assert!(crashes > 400, "{crashes}: the histories are too peaceful to prove anything");
    for kind in ["GREEN Judged", "RED Judged", "ERROR Superseded", "ERROR Parked", "ERROR Overdue"] {
        assert!(verdicts.contains_key(kind), "no history ended with {kind}: {verdicts:?}");
    }
}

/// Names the seed of a history that fails.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("this was seed {}", self.0);
    }
}
