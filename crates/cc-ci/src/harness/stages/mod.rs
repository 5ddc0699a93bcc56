//! The stages, one file each. A stage is an async function from an instance and a recorder to an outcome; `?` on a reason ends it.
//!
//! Order and lanes are in [`super::lanes`]; what a stage may use is in [`super::instance`].

pub mod backup;
pub mod custom;
pub mod install;
pub mod restore;
pub mod upgrade;
