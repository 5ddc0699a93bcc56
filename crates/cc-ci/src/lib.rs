//! cc-ci: the CI and upgrade robot for Co-op Cloud recipes.
//!
//! `ARCHITECTURE.md` says what is where and who may use whom.

pub mod analysis;
pub mod clock;
pub mod domain;
pub mod git;
pub mod harness;
pub mod process;
pub mod redact;
pub mod results;
mod suggest;
pub mod swarm;
