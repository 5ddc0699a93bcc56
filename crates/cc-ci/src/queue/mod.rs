//! The queue: which run is next, who holds it, and what becomes of it when its holder dies.
//!
//! A run is *queued*, then *running* under a lease, then *finished*; a lapsed or failed attempt goes back to queued while
//! tries are left. What is promised is not that a run executes exactly once (after a crash nobody can know) but that
//! every trigger gets exactly one verdict, that a commit and suite never run twice at the same time, and that attempts
//! are shown. Three devices carry this:
//!
//! - *The fence.* A claim writes a fresh token; whatever the holder writes later names it. Zero rows changed means that
//!   somebody else owns the run now, and the holder stops without another word.
//! - *Fresh ids.* Each attempt has its own run id, so its stacks cannot be mistaken for those of the attempt before,
//!   which the reaper may still be removing.
//! - *One plan.* [`recover::plan`] looks at rows and stacks and says what to do. It runs when the server starts and every
//!   minute after, so a restart is nothing special.
//!
//! Verdicts belong to triggers. A second `!testme` for a commit that is *queued* joins that run, which has yet to start;
//! for one that is *running* it waits as a run of its own, because what runs has begun before it was asked for.
//!
//! Nothing here talks to the forge or to Docker, and no function reads a clock: `now` is given.

use jiff::SignedDuration;

pub mod accept;
pub mod cancel;
pub mod choose;
pub mod claim;
pub mod lease;
pub mod recover;
pub mod retry;
pub mod wait;

/// The queue's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// How long a lease lasts without progress.
    pub lease: SignedDuration,
    /// How long one attempt may take, teardown not counted.
    pub deadline: SignedDuration,
    /// How often a run may be queued again because infrastructure failed.
    pub retries: i64,
    /// How often a run may take its holder down before it is parked.
    pub crashes: i64,
    /// How long a run may be passed over because it does not fit, before others have to wait for it.
    pub patience: SignedDuration,
    /// Most queued runs.
    pub longest_queue: i64,
    /// Most queued runs of one person.
    pub longest_of_person: i64,
}

impl Default for QueueConfig {
    /// Lease 5 minutes, deadline 1 hour, 2 retries, 2 crashes, patience 15 minutes, 500 queued, 50 per person.
    fn default() -> Self {
        Self {
            lease: SignedDuration::from_mins(5),
            deadline: SignedDuration::from_hours(1),
            retries: 2,
            crashes: 2,
            patience: SignedDuration::from_mins(15),
            longest_queue: 500,
            longest_of_person: 50,
        }
    }
}
