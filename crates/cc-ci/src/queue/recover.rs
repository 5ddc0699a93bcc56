//! What to do about leases without a holder and stacks without a lease. The plan is pure; carrying it out has no choices.
//!
//! It runs at start and every minute. The rule on order: *list the stacks before reading the rows*. A stack that is seen
//! has had its row for longer than that, so a run that is just being claimed is never mistaken for an orphan; and before
//! a stack is removed its lease is looked up once more.
//!
//! Time is the weak witness here: clocks jump. So a lease that this very process knows to be alive never lapses, whatever
//! the clock says; and a lease of an earlier life of this process has lapsed at once, whatever it says.

use std::collections::BTreeSet;
use std::future::Future;

use jiff::Timestamp;

use crate::domain::RunId;
use crate::store::leases::{Ending, Returned};
use crate::store::runs::{self, Outcome, RunRow, RunState};
use crate::store::{Store, StoreError, attempts};

use super::QueueConfig;
use super::accept::back_to_queue;
use super::lease::end_held;
use super::retry::{cancelled_by, pause, without_verdict};

/// A stack on the swarm that carries a run's label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackSeen {
    /// The stack.
    pub name: String,
    /// The attempt that it is labelled with.
    pub run_id: RunId,
    /// The run that this attempt belongs to; `None` if it is none of this server's, such as a run from the command line.
    pub run_number: Option<i64>,
}

/// Who holds leases here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders {
    /// This life of this process, as its claims name it.
    pub this: String,
    /// What the names of all lives of this server's embedded executor begin with: only one lives at a time.
    pub embedded_prefix: String,
    /// Tokens of the leases whose runs this process is executing, by its own knowledge.
    pub alive: BTreeSet<String>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Remove a stack that no live lease stands behind.
    Reap(StackSeen),
    /// Put a run back into the queue; its holder is gone.
    Requeue {
        /// The run.
        number: i64,
        /// The lapsed lease.
        token: String,
        /// Not to be claimed before.
        not_before: Timestamp,
        /// One line.
        why: String,
    },
    /// End a run whose holder is gone.
    End {
        /// The run.
        number: i64,
        /// The lapsed lease.
        token: String,
        /// How.
        ending: Ending,
    },
    /// Write anew what the forge shall show of a run.
    Republish {
        /// The run.
        number: i64,
    },
}

impl Action {
    /// Whether it takes this lease from whoever held it.
    #[must_use]
    pub fn ends_lease(&self, of: &str) -> bool {
        match self {
            Action::Requeue { token, .. } | Action::End { token, .. } => token == of,
            Action::Reap(_) | Action::Republish { .. } => false,
        }
    }
}

/// What to do. `rows` are all runs that wait or run, and those that `stale_on_forge` names.
#[must_use]
pub fn plan(
    rows: &[RunRow],
    stacks: &[StackSeen],
    holders: &Holders,
    stale_on_forge: &[i64],
    config: &QueueConfig,
    now: Timestamp,
) -> Vec<Action> {
    let mut live = BTreeSet::new();
    let mut later = Vec::new();
    for row in rows {
        let Some(lease) = row.lease.as_ref().filter(|_| row.state == RunState::Running) else { continue };
        if !lapsed(&lease.token, &lease.holder, lease.expires, holders, now) {
            live.insert(&lease.run_id);
            continue;
        }
        later.push(after_lapse(row, &lease.token, config, now));
    }
    let mut actions: Vec<Action> = stacks
        .iter()
        .filter(|stack| stack.run_number.is_some() && !live.contains(&stack.run_id))
        .cloned()
        .map(Action::Reap)
        .collect();
    actions.append(&mut later);
    actions.extend(stale_on_forge.iter().map(|number| Action::Republish { number: *number }));
    actions
}

/// Removes stacks.
pub trait Reaper {
    /// Removes what carries this run's label and proves it gone. An error is one line; the next sweep tries again.
    fn reap(&self, stack: &StackSeen) -> impl Future<Output = Result<(), String>> + Send;
}

/// What carrying out a plan came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Stacks removed.
    pub reaped: usize,
    /// Stacks that could not be removed, with why.
    pub stuck: Vec<(String, String)>,
    /// Runs queued again.
    pub requeued: Vec<i64>,
    /// Runs ended.
    pub ended: Vec<i64>,
}

/// Carries out a plan. May be stopped anywhere and started again.
///
/// # Errors
/// If the database fails.
pub async fn execute(
    store: &Store,
    actions: &[Action],
    reaper: &impl Reaper,
    now: Timestamp,
) -> Result<Recovered, StoreError> {
    let mut recovered = Recovered::default();
    for action in actions {
        match action {
            Action::Reap(stack) => {
                if attempts::is_live(&mut *store.read().await?, &stack.run_id).await? && !is_lapsing(actions, stack) {
                    continue;
                }
                match reaper.reap(stack).await {
                    Ok(()) => recovered.reaped += 1,
                    Err(why) => recovered.stuck.push((stack.name.clone(), why)),
                }
            }
            Action::Requeue { number, token, not_before, why } => {
                let mut write = store.begin_immediate().await?;
                let Some(run) = runs::get(&mut write, *number).await? else { continue };
                attempts::finish(&mut write, token, attempts::AttemptEnding::Lapsed, why, now).await?;
                if back_to_queue(&mut write, &run, token, Returned::Crash, *not_before, why, now).await? {
                    write.commit().await?;
                    recovered.requeued.push(*number);
                }
            }
            Action::End { number, token, ending } => {
                let mut write = store.begin_immediate().await?;
                if end_held(&mut write, *number, token, ending, now).await? {
                    write.commit().await?;
                    recovered.ended.push(*number);
                }
            }
            Action::Republish { number } => {
                let mut write = store.begin_immediate().await?;
                runs::touch(&mut write, *number).await?;
                write.commit().await?;
            }
        }
    }
    Ok(recovered)
}

/// Whether the plan itself is about to take the lease behind this stack: it had lapsed when the plan was made.
fn is_lapsing(actions: &[Action], stack: &StackSeen) -> bool {
    actions.iter().any(|action| match action {
        Action::Requeue { number, .. } | Action::End { number, .. } => Some(*number) == stack.run_number,
        Action::Reap(_) | Action::Republish { .. } => false,
    })
}

fn lapsed(token: &str, holder: &str, expires: Timestamp, holders: &Holders, now: Timestamp) -> bool {
    if holders.alive.contains(token) {
        return false;
    }
    let earlier_life = holder != holders.this && holder.starts_with(&holders.embedded_prefix);
    earlier_life || expires <= now
}

fn after_lapse(row: &RunRow, token: &str, config: &QueueConfig, now: Timestamp) -> Action {
    let end = |ending| Action::End { number: row.number, token: token.to_owned(), ending };
    if let Some((_, by)) = &row.cancel {
        return end(cancelled_by(by));
    }
    if row.deadline.is_some_and(|deadline| deadline <= now) {
        return end(without_verdict(Outcome::Overdue, "its time limit was reached".to_owned()));
    }
    let crashes = row.crashes + 1;
    if crashes >= config.crashes {
        let why = format!("cc-ci died {crashes} times while it ran; see `cc-ci doctor`, then `!retest`");
        return end(without_verdict(Outcome::Parked, why));
    }
    Action::Requeue {
        number: row.number,
        token: token.to_owned(),
        not_before: now + if crashes > 1 { pause(crashes - 1) } else { jiff::SignedDuration::ZERO },
        why: format!("cc-ci was interrupted during attempt {}", row.attempt),
    }
}
