//! The harness: walks a recipe through the five stages on a real swarm.

pub mod hurl;
pub mod profile;
pub mod restic;
pub mod suite;
