//! What the tests of queue and publishing share: chance from a seed, a forge in memory, a renderer, records of runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use cc_ci::domain::{Reason, ReasonCode, RecipeInfo, Run, RunId, Stage, StageResult, StageStatus, Verdict};
use cc_ci::publish::forge::{Failure, Forge, ForgeError, Repository, SeenComment, SeenStatus, Status};
use cc_ci::publish::refresh::{PullView, Render};
use cc_ci::queue::choose::Room;
use cc_ci::queue::claim::Claimant;
use cc_ci::store::runs::NewRun;
use cc_ci::store::triggers::{Cause, NewTrigger};

use crate::at;

pub(crate) const OWN_ID: i64 = 99;

/// Room for three runs of the usual need.
pub(crate) const ROOM: Room = Room { memory: 300, networks: 300, slots: 3, total_memory: 300, total_networks: 300 };

/// Numbers that only the seed decides (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `below` - 1.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

pub(crate) fn commit(n: u64) -> String {
    format!("{n:040x}")
}

pub(crate) fn new_run(repo_id: i64, pull: Option<i64>, commit_id: &str, person_id: i64) -> NewRun {
    NewRun {
        repo_id,
        repo_name: format!("coop-cloud/recipe-{repo_id}"),
        recipe: format!("recipe-{repo_id}"),
        suite: format!("recipe-{repo_id}"),
        pull,
        commit: commit_id.into(),
        person_id,
        person_login: format!("person-{person_id}"),
        cause: Cause::Comment,
        priority: 0,
        need_memory: 100,
        need_networks: 100,
    }
}

pub(crate) fn new_trigger(run: &NewRun, comment_id: Option<i64>) -> NewTrigger {
    NewTrigger {
        cause: run.cause,
        repo_id: run.repo_id,
        pull: run.pull.unwrap_or(0),
        comment_id,
        person_id: run.person_id,
        person_login: run.person_login.clone(),
    }
}

/// Names that were never used, for the n-th claim.
pub(crate) fn claimant(life: u64, n: u64) -> Claimant {
    Claimant {
        holder: format!("embedded:host:{life}"),
        token: format!("token-{life}-{n}"),
        run_id: RunId::new(1_795_000_000 + life, u32::try_from(n).unwrap()),
    }
}

pub(crate) fn record(run_id: &RunId, verdict: Verdict, reason: Option<ReasonCode>) -> Run {
    let mut install = StageResult::not_run(Stage::Install, "");
    install.status = match verdict {
        Verdict::Green => StageStatus::Pass,
        Verdict::Red => StageStatus::Fail,
        Verdict::Pending | Verdict::Error => StageStatus::Inconclusive,
    };
    install.reason = reason.map(|code| Reason::new(code, "as the test wants it"));
    let recipe = RecipeInfo {
        name: "recipe".into(),
        source: "https://forge.test/coop-cloud/recipe".into(),
        reference: None,
        commit: commit(1),
        version: None,
    };
    let level = u8::from(verdict == Verdict::Green) * 5;
    Run { verdict, level, ..Run::of_stages(run_id.clone(), recipe, at(0), 1_000, vec![install]) }
}

/// One line per run, newest first.
pub(crate) struct PlainText;

impl Render for PlainText {
    fn run_url(&self, number: i64) -> String {
        format!("https://ci.test/runs/{number}")
    }

    fn comment(&self, view: &PullView) -> String {
        let lines: Vec<String> = view
            .runs
            .iter()
            .map(|view| format!("run {} {:?} {:?}", view.run.number, view.run.state, view.run.verdict))
            .collect();
        lines.join("\n")
    }
}

/// How a call to the forge ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Works,
    /// Nothing happened.
    FailsBefore(Failure),
    /// It happened, but the caller is told that it failed.
    FailsAfter(Failure),
}

#[derive(Default)]
pub(crate) struct ForgeState {
    /// By commit: state and link, in the order of posting.
    pub(crate) statuses: BTreeMap<String, Vec<Status>>,
    /// By repository and pull request.
    pub(crate) comments: BTreeMap<(i64, i64), Vec<SeenComment>>,
    pub(crate) reactions: Vec<(i64, String)>,
    pub(crate) calls: usize,
    next_id: i64,
    /// Decides the fate of each call; without it everything works.
    pub(crate) fate: Option<Box<dyn FnMut(&'static str) -> Fate + Send>>,
}

/// A forge in memory.
#[derive(Clone, Default)]
pub(crate) struct FakeForge(Arc<Mutex<ForgeState>>);

impl FakeForge {
    pub(crate) fn state(&self) -> MutexGuard<'_, ForgeState> {
        self.0.lock().unwrap()
    }

    pub(crate) fn set_fate(&self, fate: impl FnMut(&'static str) -> Fate + Send + 'static) {
        self.state().fate = Some(Box::new(fate));
    }

    pub(crate) fn heal(&self) {
        self.state().fate = None;
    }

    fn call<T>(&self, what: &'static str, act: impl FnOnce(&mut ForgeState) -> T) -> Result<T, ForgeError> {
        let mut state = self.state();
        state.calls += 1;
        let fate = state.fate.as_mut().map_or(Fate::Works, |fate| fate(what));
        let error = |failure| ForgeError { failure, message: format!("{what}: {failure:?}") };
        match fate {
            Fate::Works => Ok(act(&mut state)),
            Fate::FailsBefore(failure) => Err(error(failure)),
            Fate::FailsAfter(failure) => {
                act(&mut state);
                Err(error(failure))
            }
        }
    }
}

impl Forge for FakeForge {
    fn own_id(&self) -> i64 {
        OWN_ID
    }

    async fn statuses(&self, _: &Repository, commit: &str, _: &str) -> Result<Vec<SeenStatus>, ForgeError> {
        tokio::task::yield_now().await;
        self.call("statuses", |state| {
            let posted = state.statuses.get(commit).cloned().unwrap_or_default();
            (1..).zip(posted).map(|(id, status)| SeenStatus { id, status: Some(status) }).collect()
        })
    }

    async fn comments(&self, repository: &Repository, pull: i64) -> Result<Vec<SeenComment>, ForgeError> {
        tokio::task::yield_now().await;
        self.call("comments", |state| state.comments.get(&(repository.id, pull)).cloned().unwrap_or_default())
    }

    async fn comment(&self, _: &Repository, comment_id: i64) -> Result<Option<SeenComment>, ForgeError> {
        tokio::task::yield_now().await;
        self.call("comment", |state| {
            state.comments.values().flatten().find(|comment| comment.id == comment_id).cloned()
        })
    }

    async fn post_status(&self, _: &Repository, commit: &str, _: &str, status: &Status) -> Result<(), ForgeError> {
        tokio::task::yield_now().await;
        let result = self.call("post status", |state| {
            state.statuses.entry(commit.into()).or_default().push(status.clone());
        });
        tokio::task::yield_now().await;
        result
    }

    async fn create_comment(&self, repository: &Repository, pull: i64, body: &str) -> Result<i64, ForgeError> {
        tokio::task::yield_now().await;
        let result = self.call("create comment", |state| {
            state.next_id += 1;
            let id = state.next_id;
            let comment = SeenComment { id, author_id: OWN_ID, body: body.replace('\n', "\r\n") };
            state.comments.entry((repository.id, pull)).or_default().push(comment);
            id
        });
        tokio::task::yield_now().await;
        result
    }

    async fn edit_comment(&self, _: &Repository, comment_id: i64, body: &str) -> Result<(), ForgeError> {
        tokio::task::yield_now().await;
        let result = self.call("edit comment", |state| {
            for comment in state.comments.values_mut().flatten().filter(|comment| comment.id == comment_id) {
                comment.body = body.into();
            }
        });
        tokio::task::yield_now().await;
        result
    }

    async fn react(&self, _: &Repository, comment_id: i64, content: &str) -> Result<(), ForgeError> {
        tokio::task::yield_now().await;
        self.call("react", |state| {
            let reaction = (comment_id, content.to_owned());
            if !state.reactions.contains(&reaction) {
                state.reactions.push(reaction);
            }
        })
    }
}
