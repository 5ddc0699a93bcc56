//! Made-up history for development, tests and measurements: recipes with runs of every kind, as the queue would write them.
//!
//! It writes rows directly, so it must never be given a database that people use. Everything follows from a counter, so
//! two seedings are equal.

mod record;
pub mod served;

use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{RunId, Stage, StageStatus, Verdict};
use crate::store::attempts::{self, AttemptEnding};
use crate::store::leases::{self, Ending, NewLease, Returned};
use crate::store::runs::{self, NewRun, Outcome};
use crate::store::triggers::{self, Cause, Decided, NewTrigger};
use crate::store::{Store, StoreError, Write, copies, events, results, stage_rows};

use record::{files, log_text, record, stage};

/// Recipes, each with what becomes of its runs: a share of bad ones in per cent, and the stage that goes wrong.
const RECIPES: [(&str, &str, u64, Stage); 12] = [
    ("bookstack", "2.3.1+24.10.3", 5, Stage::Backup),
    ("custom-html", "1.9.0+1.27.5", 0, Stage::Install),
    ("cryptpad", "0.6.2+2025.9.0", 35, Stage::Upgrade),
    ("ghost", "1.4.0+5.120.0", 12, Stage::Custom),
    ("gitea", "3.5.0+1.24.6", 8, Stage::Restore),
    ("keycloak", "4.0.0+26.3.3", 20, Stage::Upgrade),
    ("lasuite-docs", "0.3.0+3.5.0", 60, Stage::Install),
    ("matrix-synapse", "7.1.0+1.137.0", 10, Stage::Custom),
    ("n8n", "0.11.0+1.110.1", 4, Stage::Restore),
    ("nextcloud", "11.0.2+31.0.8", 18, Stage::Backup),
    ("plausible", "1.2.0+3.0.1", 9, Stage::Upgrade),
    ("wordpress", "3.0.0+6.8.2", 6, Stage::Custom),
];

/// What can go wrong while history is made up.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be written.
    #[error("a file of a made-up run cannot be written: {0}; see whether the folder is writable")]
    Io(#[from] std::io::Error),
}

/// Runs written in one transaction.
const BATCH: usize = 500;

/// Most runs that are made one by one; older ones are copies of them.
const MADE: usize = 600;

/// Minutes from one run to the next.
const APART: i64 = 97;

/// Fills an empty database with `runs` finished runs, the last of which ended at `now`, one running and three waiting
/// ones. With a folder, the newest runs get their files too. Gives the number of the running run.
///
/// # Errors
/// If the database fails, or a file cannot be written.
pub async fn seed(store: &Store, runs: usize, now: Timestamp, runs_dir: Option<&Path>) -> Result<i64, SeedError> {
    let apart = SignedDuration::from_mins(APART);
    let older = runs.saturating_sub(MADE);
    if older > 0 {
        copies::leave_room(store, older).await?;
    }
    let mut done = older;
    while done < runs {
        let mut write = store.begin_immediate().await?;
        for at in done..runs.min(done + BATCH) {
            let left = i32::try_from(runs - at).unwrap_or(i32::MAX);
            let began = now - apart.saturating_mul(left);
            let files = runs_dir.filter(|_| runs - at <= 12);
            finished(&mut write, at, began, files).await?;
        }
        write.commit().await?;
        done += BATCH;
    }
    if older > 0 {
        copies::fill(store, older, runs - older, APART * 60_000).await?;
    }
    copies::nothing_to_tell(store).await?;
    let mut write = store.begin_immediate().await?;
    let running = open(&mut write, runs, now, runs_dir).await?;
    write.commit().await?;
    Ok(running)
}

/// What the `at`-th run tests.
fn what(at: usize) -> NewRun {
    let (recipe, ..) = RECIPES[at * 7 % RECIPES.len()];
    let person = at % 5;
    let pull = (!at.is_multiple_of(3)).then(|| i64::try_from(at / 9 + 1).unwrap_or(1));
    NewRun {
        repo_id: i64::try_from(at * 7 % RECIPES.len()).unwrap_or(0) + 10,
        repo_name: format!("coop-cloud/{recipe}"),
        recipe: recipe.to_owned(),
        suite: recipe.to_owned(),
        pull,
        commit: commit(at),
        person_id: i64::try_from(person).unwrap_or(0) + 1,
        person_login: ["ana", "moritz", "p4u1", "decentral1se", "3wordchant"][person].to_owned(),
        cause: if pull.is_some() { Cause::Comment } else { Cause::Schedule },
        priority: 0,
        need_memory: 1 << 30,
        need_networks: 8,
    }
}

fn commit(at: usize) -> String {
    let mix = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{mix:016x}{:016x}{:08x}", mix.rotate_left(23), at)
}

/// A number in 0..100 that looks random and is the same every time.
fn chance(at: usize, salt: u64) -> u64 {
    let mut x = (at as u64).wrapping_mul(0x2545_f491_4f6c_dd1d) ^ salt.wrapping_mul(0x9e37_79b9);
    x ^= x >> 29;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x ^ (x >> 32)) % 100
}

async fn begin(
    write: &mut Write,
    at: usize,
    queued: Timestamp,
    began: Timestamp,
) -> Result<(i64, NewLease), SeedError> {
    let new = what(at);
    let number = runs::insert(write, &new, queued).await?;
    let trigger = NewTrigger {
        cause: new.cause,
        repo_id: new.repo_id,
        pull: new.pull.unwrap_or(0),
        comment_id: new.pull.map(|_| i64::try_from(at).unwrap_or(0) + 1_000),
        person_id: new.person_id,
        person_login: new.person_login.clone(),
    };
    triggers::insert(write, &trigger, Decided::Run, "", Some(number), queued).await?;
    let lease = NewLease {
        token: format!("seed-{at}"),
        holder: "seed".to_owned(),
        run_id: run_id(began, at),
        expires: began + SignedDuration::from_mins(5),
        deadline: began + SignedDuration::from_hours(1),
    };
    Ok((number, lease))
}

fn run_id(began: Timestamp, at: usize) -> RunId {
    RunId::new(u64::try_from(began.as_second()).unwrap_or(0), u32::try_from(at).unwrap_or(0))
}

async fn take(write: &mut Write, number: i64, lease: &NewLease, began: Timestamp) -> Result<(), SeedError> {
    if let Some(run) = leases::take(write, number, lease, began).await? {
        attempts::begin(write, &run, lease, began).await?;
    }
    Ok(())
}

async fn finished(write: &mut Write, at: usize, began: Timestamp, dir: Option<&Path>) -> Result<(), SeedError> {
    let (number, mut lease) = begin(write, at, began - SignedDuration::from_secs(40), began).await?;
    take(write, number, &lease, began).await?;
    let tries = if chance(at, 11) < 4 { 2 } else { 1 };
    if tries == 2 {
        let why = "registry-unreachable: the image registry does not answer";
        let again = began + SignedDuration::from_secs(20);
        attempts::finish(write, &lease.token, AttemptEnding::Retried, why, again).await?;
        leases::requeue(write, number, &lease.token, Returned::Retry, again, why).await?;
        lease.token = format!("seed-{at}-2");
        lease.run_id = run_id(again, at);
        take(write, number, &lease, again).await?;
    }
    let odd = chance(at, 3);
    let (outcome, ended) = match odd {
        0..=1 => (Outcome::Cancelled, AttemptEnding::Cancelled),
        2 => (Outcome::Overdue, AttemptEnding::Overdue),
        _ => (Outcome::Judged, AttemptEnding::Judged),
    };
    let mut record = record(at, &lease.run_id, began);
    let end = began + SignedDuration::from_millis(i64::try_from(record.duration_ms).unwrap_or(0));
    let judged = outcome == Outcome::Judged;
    if judged {
        if let Some(dir) = dir {
            files(&mut record, dir)?;
        }
        for stage in &record.stages {
            stage_rows::insert(write, number, &lease.token, stage, end).await?;
        }
        results::put(write, number, tries, &record, end).await?;
    }
    let ending = Ending {
        outcome,
        verdict: if judged { record.verdict } else { Verdict::Error },
        level: judged.then(|| i64::from(record.level)),
        why: match outcome {
            Outcome::Cancelled => "cancelled by ana".to_owned(),
            Outcome::Overdue => "not over after 1 hour".to_owned(),
            _ => record.stages.iter().find_map(|s| s.reason.as_ref()).map(|r| r.to_string()).unwrap_or_default(),
        },
        flaky: judged && record.flaky,
    };
    attempts::finish(write, &lease.token, ended, &ending.why, end).await?;
    leases::end(write, number, Some(&lease.token), &ending, end).await?;
    triggers::answer(write, number, ending.verdict, ending.outcome, end).await?;
    Ok(())
}

/// One run that is half done, and three that wait.
async fn open(write: &mut Write, first: usize, now: Timestamp, dir: Option<&Path>) -> Result<i64, SeedError> {
    let began = now - SignedDuration::from_secs(48);
    let (number, lease) = begin(write, first, began, began).await?;
    take(write, number, &lease, began).await?;
    let done = stage(first, Stage::Install, began, 1_200, 14_300, StageStatus::Pass);
    stage_rows::insert(write, number, &lease.token, &done, now).await?;
    leases::extend(
        write,
        number,
        &lease.token,
        "upgrade: waiting for 2 of 3 services",
        now + SignedDuration::from_mins(5),
    )
    .await?;
    events::append(write, number, 1, "stage", r#"{"stage":"install","status":"pass"}"#, now).await?;
    if let Some(dir) = dir {
        let logs = dir.join(lease.run_id.as_str()).join("logs");
        let write_logs = || -> std::io::Result<()> {
            std::fs::create_dir_all(&logs)?;
            std::fs::write(logs.join("install.log"), log_text(Stage::Install))?;
            std::fs::write(
                logs.join("upgrade.log"),
                "08:12:20.104  deploy 3.4.0+1.24.5\n08:12:31.870  3 services, 2 to go\n",
            )
        };
        write_logs()?;
    }
    for at in first + 1..first + 4 {
        begin(write, at, now - SignedDuration::from_secs(30), now).await?;
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::clock::now;
    use crate::store::{Store, attempts, results, runs, views};

    #[tokio::test]
    async fn a_long_history_is_like_a_short_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("long.db")).await.unwrap();
        let total = super::MADE * 2 + 77;
        let running = super::seed(&store, total, now(), None).await.unwrap();
        assert_eq!(running, i64::try_from(total).unwrap() + 1);
        assert!(store.is_sound().await.unwrap());
        let mut read = store.read().await.unwrap();
        let all = views::newest(&mut read, running, i64::MAX).await.unwrap();
        assert_eq!(all.len(), total);
        assert!(all.windows(2).all(|two| two[0].number == two[1].number + 1 && two[0].finished > two[1].finished));
        assert!(runs::unpublished(&mut read, 10).await.unwrap().iter().all(|run| run.number >= running));
        let recipes: BTreeSet<_> = all.iter().map(|run| run.what.recipe.as_str()).collect();
        assert_eq!(recipes.len(), super::RECIPES.len());
        // Of the copies too, record and attempt say the same id.
        for run in all.iter().filter(|run| run.number % 97 == 0) {
            let tries = attempts::of_run(&mut read, run.number).await.unwrap();
            assert_eq!(i64::try_from(tries.len()).unwrap(), run.attempt);
            if let Some(record) = results::get(&mut read, run.number).await.unwrap() {
                assert_eq!(Some(&record.run), tries.last().map(|attempt| &attempt.run_id));
            }
        }
    }
}
