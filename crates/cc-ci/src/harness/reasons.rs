//! From the errors of the rooms the harness uses to reasons. What a failed deploy, pull or call means is decided in [`crate::analysis`].

use crate::analysis::{self, Role};
use crate::domain::{Reason, ReasonCode};
use crate::swarm::{ArchiveError, DeployError, EngineError, PullError, SecretError, Snapshot};

/// The engine said no to a question.
#[must_use]
pub fn engine(error: &EngineError) -> Box<Reason> {
    Box::new(analysis::explain_engine(error))
}

/// An image could not be had.
#[must_use]
pub fn pull(error: &PullError) -> Box<Reason> {
    Box::new(analysis::explain_pull(error, Role::Head).evidence([format!("docker pull: {error}")]))
}

/// A stack was not deployed.
#[must_use]
pub fn deploy(error: &DeployError) -> Box<Reason> {
    Box::new(analysis::explain_deploy(error, Role::Head).evidence([format!("docker stack deploy: {error}")]))
}

/// A secret could not be made.
#[must_use]
pub fn secret(error: &SecretError) -> Box<Reason> {
    match error {
        SecretError::Engine(error) => engine(error),
        SecretError::Foreign { .. }
        | SecretError::NameTooLong { .. }
        | SecretError::BadSize { .. }
        | SecretError::Taken { .. } => Box::new(Reason::new(ReasonCode::SecretMissing, error.to_string())),
    }
}

/// A file could not be put into a container or read from it.
#[must_use]
pub fn archive(error: &ArchiveError) -> Box<Reason> {
    match error {
        ArchiveError::Engine(error) => engine(error),
        _ => Box::new(Reason::new(ReasonCode::EngineError, error.to_string())),
    }
}

/// Task states as a person reads them: services in order, newest task first, at most six a service.
#[must_use]
pub fn task_lines(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .services
        .iter()
        .flat_map(|service| {
            if service.tasks.is_empty() {
                return vec![format!("{} has no task", service.name)];
            }
            service.tasks.iter().take(6).map(|task| analysis::task_line(&service.name, task, snapshot.at)).collect()
        })
        .collect()
}
