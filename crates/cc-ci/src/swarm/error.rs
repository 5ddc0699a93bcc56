//! What can go wrong when the engine is asked for something.
//!
//! One enum for all calls, so that callers can tell "there is no engine" (infrastructure) from "the engine said no".

use std::time::Duration;

/// An Engine API call that did not work out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nothing listens at the address.
    #[error(
        "no Docker engine answers at {address}: {message}; start it (`systemctl start docker`) or set DOCKER_HOST to where it is"
    )]
    Unreachable {
        /// The socket or URL that was tried.
        address: String,
        /// The operating system's word.
        message: String,
    },
    /// The socket is there, but not for this user.
    #[error("no permission to use the Docker engine at {address}; run as a member of the group `docker`, or as root")]
    Denied {
        /// The socket or URL that was tried.
        address: String,
    },
    /// The engine runs, but cannot deploy stacks.
    #[error("{message}; {remedy}")]
    NotAManager {
        /// What state it is in.
        message: String,
        /// What to try.
        remedy: String,
    },
    /// The address has a form that is not supported.
    #[error("DOCKER_HOST `{address}` is not supported; use unix:///path/to/docker.sock or tcp://host:port")]
    BadAddress {
        /// The address.
        address: String,
    },
    /// The object asked for does not exist.
    #[error("the engine has no such {what}: {message}")]
    NotFound {
        /// What was asked for, such as `container 3f…`.
        what: String,
        /// The engine's word.
        message: String,
    },
    /// Another client holds or changed the object (HTTP 409, "in use", "out of sequence").
    #[error("{what} is in use: {message}")]
    Conflict {
        /// What was asked for.
        what: String,
        /// The engine's word.
        message: String,
    },
    /// The engine answered with an error.
    #[error("the Docker engine refused {what} (HTTP {status}): {message}; its journal may say more")]
    Refused {
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// The engine's word.
        message: String,
    },
    /// The engine did not answer in time.
    #[error("the Docker engine did not answer {what} within {} s; it may be overloaded", .after.as_secs())]
    Timeout {
        /// What was asked for.
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The answer could not be read.
    #[error("the Docker engine's answer to {what} cannot be read: {message}")]
    Unreadable {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        message: String,
    },
}

impl EngineError {
    /// Sorts a client error by what a caller can do about it.
    pub(super) fn of(error: &bollard::errors::Error, what: impl Into<String>, address: &str) -> Self {
        use bollard::errors::Error as E;
        let what = what.into();
        match error {
            E::DockerResponseServerError { status_code, message } => Self::of_status(*status_code, message, what),
            E::RequestTimeoutError => Self::Timeout { what, after: super::engine::CALL_TIMEOUT },
            E::SocketNotFoundError(path) => {
                Self::Unreachable { address: address.to_owned(), message: format!("{path} does not exist") }
            }
            E::IOError { err } => Self::of_io(err, address),
            E::JsonDataError { message, .. } => Self::Unreadable { what, message: message.clone() },
            E::DockerStreamError { error } => Self::Refused { what, status: 200, message: error.clone() },
            other => match io_cause(other) {
                Some(err) => Self::of_io(err, address),
                None if transport(other) => Self::Unreachable { address: address.to_owned(), message: chain(other) },
                None => Self::Unreadable { what, message: chain(other) },
            },
        }
    }

    fn of_status(status: u16, message: &str, what: String) -> Self {
        let message = message.trim().to_owned();
        // A stale version index is HTTP 500 on engines up to at least 20.10; only the words tell it from a real fault.
        let in_use =
            message.contains("in use") || message.contains("out of sequence") || message.contains("in progress");
        match status {
            404 => Self::NotFound { what, message },
            409 => Self::Conflict { what, message },
            400 | 403 | 500 if in_use => Self::Conflict { what, message },
            _ => Self::Refused { what, status, message },
        }
    }

    fn of_io(error: &std::io::Error, address: &str) -> Self {
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => Self::Denied { address: address.to_owned() },
            _ => Self::Unreachable { address: address.to_owned(), message: error.to_string() },
        }
    }

    /// True if the engine itself is away, as opposed to an engine that says no.
    #[must_use]
    pub fn is_engine_gone(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Denied { .. } => true,
            // While it shuts down or elects a leader the manager answers 503.
            Self::Refused { status, .. } => *status == 503,
            Self::NotAManager { .. }
            | Self::BadAddress { .. }
            | Self::NotFound { .. }
            | Self::Conflict { .. }
            | Self::Timeout { .. }
            | Self::Unreadable { .. } => false,
        }
    }
}

/// An IO error somewhere below the client's error: connection refused, permission denied.
fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a std::io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

fn transport(error: &bollard::errors::Error) -> bool {
    use bollard::errors::Error as E;
    matches!(error, E::HyperLegacyError { .. } | E::HyperResponseError { .. })
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_sorted_by_what_can_be_done() {
        let of = |status, message: &str| EngineError::of_status(status, message, "x".into());
        assert!(matches!(of(404, "no such"), EngineError::NotFound { .. }));
        assert!(matches!(of(409, "volume is in use - [ab]"), EngineError::Conflict { .. }));
        assert!(matches!(of(500, "rpc error: update out of sequence"), EngineError::Conflict { .. }));
        assert!(matches!(of(400, "secret 'x' is in use by the following service: y"), EngineError::Conflict { .. }));
        assert!(matches!(of(500, "no space left on device"), EngineError::Refused { status: 500, .. }));
        assert!(of(503, "This node is not a swarm manager").is_engine_gone());
        assert!(!of(500, "x").is_engine_gone());
    }

    #[test]
    fn io_errors_name_the_remedy() {
        let denied = EngineError::of_io(&std::io::ErrorKind::PermissionDenied.into(), "unix:///s");
        assert!(denied.to_string().contains("group `docker`"), "{denied}");
        let refused = EngineError::of_io(&std::io::ErrorKind::ConnectionRefused.into(), "unix:///s");
        assert!(refused.to_string().contains("DOCKER_HOST") && refused.is_engine_gone(), "{refused}");
    }
}
