//! From the errors of the rooms the harness uses to reasons: who is to blame when the engine says no.

use crate::domain::{Reason, ReasonCode};
use crate::swarm::{ArchiveError, DeployError, EngineError, PullError, Refusal, SecretError, Snapshot};

/// The engine said no to a question.
#[must_use]
pub fn engine(error: &EngineError) -> Box<Reason> {
    let code = if error.is_engine_gone() { ReasonCode::EngineRestarted } else { ReasonCode::EngineError };
    Box::new(Reason::new(code, error.to_string()))
}

/// An image could not be had.
#[must_use]
pub fn pull(error: &PullError) -> Box<Reason> {
    let code = match error {
        PullError::Missing { .. } => ReasonCode::ImageMissing,
        // Docker Hub answers "denied" for a name that does not exist; the recipe names it.
        PullError::Denied { .. } => ReasonCode::ImageMissing,
        PullError::Unreachable { .. } | PullError::RateLimited { .. } => ReasonCode::RegistryUnreachable,
        PullError::NoSpace { .. } => ReasonCode::DiskFull,
        _ => ReasonCode::EngineError,
    };
    Box::new(Reason::new(code, error.to_string()).evidence([format!("docker pull: {error}")]))
}

/// A stack was not deployed.
#[must_use]
pub fn deploy(error: &DeployError) -> Box<Reason> {
    let code = match error {
        DeployError::Refused { cause, message } => match cause {
            Refusal::SecretMissing { .. } => ReasonCode::SecretMissing,
            Refusal::Immutable { .. } => ReasonCode::ConfigConflict,
            Refusal::AddressPoolExhausted => ReasonCode::AddressesExhausted,
            Refusal::NetworkVanished | Refusal::OutOfSequence => ReasonCode::EngineError,
            Refusal::ConfigMissing { .. }
            | Refusal::Network { .. }
            | Refusal::FileMissing { .. }
            | Refusal::InvalidCompose
            | Refusal::Ports
            | Refusal::Other => {
                if message.contains("no space left") { ReasonCode::DiskFull } else { ReasonCode::DeployRefused }
            }
        },
        DeployError::EngineGone { .. } => ReasonCode::EngineRestarted,
        DeployError::Cli(_) => ReasonCode::EngineError,
    };
    Box::new(Reason::new(code, error.to_string()).evidence([format!("docker stack deploy: {error}")]))
}

/// A secret could not be made.
#[must_use]
pub fn secret(error: &SecretError) -> Box<Reason> {
    match error {
        SecretError::Engine(error) => engine(error),
        SecretError::Foreign { .. } | SecretError::NameTooLong { .. } | SecretError::BadSize { .. } | SecretError::Taken { .. } => {
            Box::new(Reason::new(ReasonCode::SecretMissing, error.to_string()))
        }
    }
}

/// A file could not be put into a container or read from it.
#[must_use]
pub fn archive(error: &ArchiveError) -> Box<Reason> {
    Box::new(Reason::new(ReasonCode::EngineError, error.to_string()))
}

/// Task states as a person reads them, services in order, newest task first, at most six a service.
#[must_use]
pub fn task_lines(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .services
        .iter()
        .flat_map(|service| {
            let lines = service.tasks.iter().take(6).map(move |task| {
                let err = if task.err.is_empty() { task.message.clone() } else { task.err.clone() };
                format!("{} {}: {err}", task.place(), task.state.as_str())
            });
            if service.tasks.is_empty() { vec![format!("{} has no task", service.name)] } else { lines.collect() }
        })
        .collect()
}
