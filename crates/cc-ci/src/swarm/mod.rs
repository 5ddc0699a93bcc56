//! The one room that touches Docker: deploy, converge, exec, archive, logs, events, volumes, inventory, removal, reaping.
//!
//! Deploying goes through the `docker` program, because it owns the meaning of a compose file; everything else through the Engine API.
//! Decisions ([`judge`], [`plan_reap`]) are plain functions; the code next to them only asks the engine and acts.
//!
//! Never: touch an object that is not named after one of our stacks; wait for anything without a deadline; believe an exit code
//! or an update state alone.
//!
//! The rule to know: Swarm has no task events and answers "done" long before it is, so whoever wants to know looks again
//! ([`Snapshot`]) until the engine's own lists say so. Events only wake the one who looks.

mod archive;
mod cli;
mod converge;
mod deploy;
mod engine;
mod error;
mod events;
mod exec;
mod history;
mod image;
mod inventory;
mod logs;
mod network;
mod pools;
mod pressure;
mod reap;
mod remove;
mod secret;
mod state;
mod wait;

pub use archive::{ArchiveError, SmallFile};
pub use cli::{CliError, CliOutput};
pub use converge::{Cause, Expectation, Expected, Judgement, Limits, Signal, judge, same_image};
pub use deploy::{DeployError, Refusal};
pub use engine::{Engine, EngineFacts, SwarmState};
pub use error::EngineError;
pub use events::{EngineWatch, EventLine};
pub use exec::{ExecOutput, ExecRequest};
pub use history::{Exit, History};
pub use image::{PullError, Pulled};
pub use inventory::{Kind, Object, Scope, parse_stack_name};
pub use logs::{ContainerLog, LogLine};
pub use network::Address;
pub use pools::{Overlay, Pools};
pub use pressure::{Sampler, disk_free};
pub use reap::{ReapPlan, ReapReport, plan_reap};
pub use remove::Removal;
pub use secret::SecretError;
pub use state::VolumeInfo;
pub use state::{Baseline, ServiceMode, ServiceState, Snapshot, TaskPhase, TaskState, UpdateState, UpdateStatus};
pub use wait::{Converged, NotConverged};

/// Label that every object of a run carries; its value is the run's id.
pub const LABEL_RUN: &str = "cc-ci.run";

/// Label with the state folder of the cc-ci that made the object: that is where the lock of its run is.
pub const LABEL_STATE: &str = "cc-ci.state";

/// Label that `docker stack deploy` puts on everything of a stack; its value is the stack's name.
pub const LABEL_NAMESPACE: &str = "com.docker.stack.namespace";

/// The wall clock. What is decided by time takes the time as an argument; only the code that looks asks for it.
fn now() -> jiff::Timestamp {
    use crate::clock::Clock as _;
    crate::clock::SystemClock.now()
}
