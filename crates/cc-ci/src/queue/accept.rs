//! Taking a request in: one transaction that writes the trigger, its run, and the end of what it supersedes.

use jiff::Timestamp;

use crate::domain::Verdict;
use crate::store::leases::{self, Ending};
use crate::store::runs::{self, NewRun, Outcome, RunRow};
use crate::store::triggers::{self, Cause, Decided, NewTrigger};
use crate::store::{StoreError, Write};

use super::QueueConfig;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It has a run of its own.
    Queued {
        /// The run.
        number: i64,
        /// Queued runs that it supersedes.
        superseded: Vec<i64>,
    },
    /// An equal run was queued already and answers this request too.
    Joined {
        /// The run.
        number: i64,
    },
    /// The comment was accepted before; nothing changed.
    Known,
    /// The queue is full; the trigger is noted as refused.
    Full {
        /// For the person who asked.
        why: String,
    },
}

/// Accepts a request. To be committed together with the end of the delivery that brought it.
///
/// # Errors
/// If the database fails.
pub async fn accept(
    write: &mut Write,
    trigger: &NewTrigger,
    run: &NewRun,
    config: &QueueConfig,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    if let Some(comment_id) = trigger.comment_id
        && triggers::is_known(write, trigger.repo_id, comment_id).await?
    {
        return Ok(Accepted::Known);
    }
    if let Some(number) = leases::queued_twin(write, run).await? {
        triggers::insert(write, trigger, Decided::Run, "joined", Some(number), now).await?;
        runs::touch(write, number).await?;
        return Ok(Accepted::Joined { number });
    }
    let superseded = leases::queued_for_other_commits(write, run).await?;
    let (queued, of_person) = leases::queued_counts(write, run.person_id).await?;
    let freed = i64::try_from(superseded.len()).unwrap_or(0);
    if let Some(why) = full(queued - freed, of_person - freed, config) {
        triggers::insert(write, trigger, Decided::Refused, &why, None, now).await?;
        return Ok(Accepted::Full { why });
    }
    for number in &superseded {
        let ending = superseded_by_commit(&run.commit);
        leases::end(write, *number, None, &ending, now).await?;
        triggers::answer(write, *number, ending.verdict, ending.outcome, now).await?;
    }
    let number = runs::insert(write, run, now).await?;
    triggers::insert(write, trigger, Decided::Run, "", Some(number), now).await?;
    Ok(Accepted::Queued { number, superseded })
}

/// Asks for what run `number` tested once more, for this person.
///
/// # Errors
/// If the database fails.
pub async fn rerun(
    write: &mut Write,
    number: i64,
    person: (i64, &str),
    config: &QueueConfig,
    now: Timestamp,
) -> Result<Option<Accepted>, StoreError> {
    let Some(old) = runs::get(write, number).await? else { return Ok(None) };
    let trigger = NewTrigger {
        cause: Cause::Retest,
        repo_id: old.what.repo_id,
        pull: old.what.pull.unwrap_or(0),
        comment_id: None,
        person_id: person.0,
        person_login: person.1.to_owned(),
    };
    let run = NewRun { person_id: person.0, person_login: person.1.to_owned(), cause: Cause::Retest, ..old.what };
    accept(write, &trigger, &run, config, now).await.map(Some)
}

/// Puts a held run back into the queue, or ends it if something that waits has taken its place. False if the lease is gone.
pub(super) async fn back_to_queue(
    write: &mut Write,
    run: &RunRow,
    token: &str,
    returned: leases::Returned,
    not_before: Timestamp,
    why: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if let Some(twin) = leases::queued_twin(write, &run.what).await? {
        // The twin has yet to start, so it may answer for this run's triggers too.
        let ending = Ending { why: format!("run {twin} takes its place"), ..superseded_by_commit(&run.what.commit) };
        if !leases::end(write, run.number, Some(token), &ending, now).await? {
            return Ok(false);
        }
        triggers::hand_over(write, run.number, twin).await?;
        runs::touch(write, twin).await?;
        return Ok(true);
    }
    if let Some(newer) = leases::newer_commit(write, &run.what, run.number).await? {
        let ending = Ending { why: format!("run {newer} tests a newer commit"), ..superseded_by_commit("") };
        if !leases::end(write, run.number, Some(token), &ending, now).await? {
            return Ok(false);
        }
        triggers::answer(write, run.number, ending.verdict, ending.outcome, now).await?;
        return Ok(true);
    }
    leases::requeue(write, run.number, token, returned, not_before, why).await
}

fn superseded_by_commit(commit: &str) -> Ending {
    Ending {
        outcome: Outcome::Superseded,
        verdict: Verdict::Error,
        level: None,
        why: format!("superseded by commit {}", commit.get(..12).unwrap_or(commit)),
        flaky: false,
    }
}

fn full(queued: i64, of_person: i64, config: &QueueConfig) -> Option<String> {
    if queued >= config.longest_queue {
        Some(format!("the queue is full: {queued} runs wait; try again later"))
    } else if of_person >= config.longest_of_person {
        Some(format!("you have {of_person} runs waiting already; try again when some are done"))
    } else {
        None
    }
}
