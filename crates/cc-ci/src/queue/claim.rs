//! Claiming a run: choice, lease and attempt in one immediate transaction.

use jiff::Timestamp;

use crate::domain::RunId;
use crate::store::leases::{self, NewLease};
use crate::store::runs::RunRow;
use crate::store::{Store, StoreError, attempts};

use super::QueueConfig;
use super::choose::{Choice, Room, choose};
use super::lease::Lease;

/// Who claims, and with what fresh names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// One life of one process, such as `embedded:<host>:<boot>`; see [`super::recover::Holders`].
    pub holder: String,
    /// A token that was never used.
    pub token: String,
    /// A run id that was never used.
    pub run_id: RunId,
}

/// A run that was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// What to show when writing.
    pub lease: Lease,
    /// The run, as it is now.
    pub run: RunRow,
}

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// A run to execute.
    Run(Box<Claimed>),
    /// Something waits, but there is no room for it.
    NoRoom,
    /// Nothing waits.
    Empty,
}

/// Claims the next run, if there is one and room for it.
///
/// # Errors
/// If the database fails; then nothing was claimed.
pub async fn claim(
    store: &Store,
    claimant: &Claimant,
    room: &Room,
    config: &QueueConfig,
    now: Timestamp,
) -> Result<Claim, StoreError> {
    let mut write = store.begin_immediate().await?;
    let waiting = leases::claimable(&mut write, now).await?;
    let number = match choose(&waiting, room, config.patience, now) {
        Choice::Take(number) => number,
        Choice::NoRoom => return Ok(Claim::NoRoom),
        Choice::Empty => return Ok(Claim::Empty),
    };
    let lease = NewLease {
        token: claimant.token.clone(),
        holder: claimant.holder.clone(),
        run_id: claimant.run_id.clone(),
        expires: now + config.lease,
        deadline: now + config.deadline,
    };
    let Some(run) = leases::take(&mut write, number, &lease, now).await? else { return Ok(Claim::Empty) };
    attempts::begin(&mut write, &run, &lease, now).await?;
    write.commit().await?;
    let lease = Lease::new(run.number, run.attempt, claimant.token.clone(), claimant.run_id.clone());
    Ok(Claim::Run(Box::new(Claimed { lease, run })))
}
