//! cc-ci: the CI and upgrade robot for Co-op Cloud recipes.
//!
//! `ARCHITECTURE.md` says what is where and who may use whom.

pub mod analysis;
pub mod app;
pub mod bridge;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod domain;
pub mod env;
pub mod executor;
pub mod forge;
pub mod git;
pub mod harness;
pub mod http;
pub mod process;
pub mod publish;
pub mod queue;
pub mod reconcile;
pub mod redact;
pub mod remote;
pub mod results;
pub mod state;
pub mod store;
mod suggest;
pub mod swarm;
pub mod web;
