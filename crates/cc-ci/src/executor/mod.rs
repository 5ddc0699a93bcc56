//! Who executes runs. The one seam between the queue and whatever does the work.
//!
//! [`embedded`] runs the harness in this process; tests follow a script; both are followed by the same [`worker`], which
//! alone writes about runs. An executor knows no queue and no forge: it is handed an order and gives back a record.

use std::collections::BTreeMap;
use std::future::Future;

use tokio_util::sync::CancellationToken;

use crate::domain::{Run, RunId};
use crate::harness::Reporter;
use crate::store::runs::RunRow;

pub mod embedded;
mod room;
pub mod worker;

pub use embedded::Embedded;
pub use worker::Worker;

/// One attempt at a run.
#[derive(Debug, Clone)]
pub struct Order {
    /// What is wanted.
    pub run: RunRow,
    /// The attempt's id: names its stacks and its folder.
    pub run_id: RunId,
}

/// What the host has for runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoom {
    /// Memory of the host, in bytes.
    pub memory_total: i64,
    /// Memory that is available now, in bytes.
    pub memory_available: i64,
    /// Overlay networks that the swarm's pool is for.
    pub networks_total: i64,
    /// Overlay networks that took some of it and belong to no run.
    pub networks_foreign: i64,
    /// Overlay networks that took some of it, by the attempt that they belong to.
    pub networks_of_runs: BTreeMap<RunId, i64>,
}

/// Executes runs somewhere, and can look after what it left there.
pub trait Executor: Send + Sync + 'static {
    /// Executes one attempt, telling what happens. Ends soon, with everything removed, once `cancel` is cancelled.
    /// An error is one line: the attempt could not begin or broke without a record, by nobody's fault.
    fn execute(
        &self,
        order: Order,
        reporter: Reporter,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<Run, String>> + Send;

    /// What the host has for runs.
    fn room(&self) -> impl Future<Output = Result<HostRoom, String>> + Send;

    /// Attempts of which something is deployed.
    fn deployed(&self) -> impl Future<Output = Result<Vec<RunId>, String>> + Send;

    /// Removes everything of an attempt and proves it gone.
    fn reap(&self, run: &RunId) -> impl Future<Output = Result<(), String>> + Send;
}
