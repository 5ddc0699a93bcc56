//! Witnesses: small files with random content that cc-ci puts into every data volume, to see whether they are still there later.
//!
//! They go in and out through the engine's archive API, so an image without a shell has them too. They prove what a suite cannot be
//! trusted to prove alone, and they are the only proof where there is no suite.

use std::fmt;

use recipe::Plan;

/// Name of the file at the root of the volume.
const FIRST: &str = ".cc-ci-witness";
const LATER: &str = ".cc-ci-witness-later";

/// When something was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before upgrade and backup: must survive both.
    First,
    /// After the backup: must be gone after the restore.
    Later,
}

impl Moment {
    /// File name of the witness.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Moment::First => FIRST,
            Moment::Later => LATER,
        }
    }
}

/// Where a witness goes: one volume, by way of one service that mounts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Compose key of the volume.
    pub volume: String,
    /// Name of the volume in the engine.
    pub full_name: String,
    /// Compose name of the service.
    pub service: String,
    /// Where the service has it.
    pub target: String,
}

/// A witness that is not as it was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Compose key of the volume.
    pub volume: String,
    /// Path in the container.
    pub path: String,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "volume {}: {} {}", self.volume, self.path, self.found)
    }
}

/// The data volumes of a plan and a service to reach each by: every named volume that some service mounts writable. `app` is preferred.
#[must_use]
pub fn places(plan: &Plan) -> Vec<Place> {
    plan.volumes
        .iter()
        .filter_map(|volume| {
            plan.services
                .iter()
                .flat_map(|service| service.mounts.iter().map(move |mount| (service, mount)))
                .filter(|(_, mount)| mount.volume == volume.key && !mount.read_only)
                .min_by_key(|(service, _)| (service.name != "app", service.name.clone()))
                .map(|(service, mount)| Place {
                    volume: volume.key.clone(),
                    full_name: volume.name.clone(),
                    service: service.name.clone(),
                    target: mount.target.clone(),
                })
        })
        .collect()
}
