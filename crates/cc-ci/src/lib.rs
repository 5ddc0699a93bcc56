//! cc-ci: the CI and upgrade robot for Co-op Cloud recipes.
//!
//! `ARCHITECTURE.md` says what is where and who may use whom.

pub mod analysis;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod env;
pub mod git;
pub mod harness;
pub mod http;
pub mod process;
pub mod redact;
pub mod results;
pub mod state;
mod suggest;
pub mod swarm;
