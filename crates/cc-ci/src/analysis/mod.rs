//! From what was seen to whose fault it is: signals, refusals and pulls become a [`Reason`] with its evidence.
//!
//! Pure: everything that is known comes in as an argument. The rule to know: a cause that speaks for itself (an exit code, a missing image) is never
//! excused by a loaded host; only what depends on time is (a health check, an update that was paused, a time-out).

mod explain;

pub use explain::{Evidence, Role, explain, explain_deploy, explain_engine, explain_pull, task_line};
