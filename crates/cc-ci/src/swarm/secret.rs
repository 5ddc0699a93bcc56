//! Swarm secrets of a run, made through the API so that no value touches a file or a command line.
//!
//! Never reads a value back, and never reuses a secret of another run.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use bollard::models::SecretSpec;
use zeroize::Zeroizing;

use super::inventory::run_of;
use super::{Engine, EngineError, LABEL_NAMESPACE, LABEL_RUN};
use crate::domain::StackName;

/// Most that Swarm takes as a secret, in bytes.
const MAX_BYTES: usize = 500 * 1024;

/// Most that Swarm takes as a secret's name, in bytes.
const MAX_NAME: usize = 64;

/// Why a secret could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The name does not begin with the stack's name, so it would not be removed with it.
    #[error("secret `{name}` does not belong to stack `{stack}`: its name must begin with `{stack}_`")]
    Foreign {
        /// The secret.
        name: String,
        /// The stack.
        stack: String,
    },
    /// Longer than Swarm allows.
    #[error("secret name `{name}` has {} characters, Swarm allows 64; shorten the name in the recipe", .name.len())]
    NameTooLong {
        /// The secret.
        name: String,
    },
    /// Empty or too large.
    #[error("secret `{name}` has {bytes} bytes; Swarm takes 1 to 512000")]
    BadSize {
        /// The secret.
        name: String,
        /// Size in bytes.
        bytes: usize,
    },
    /// A secret of this name exists and is not of this run.
    #[error("secret `{name}` exists already and does not belong to this run")]
    Taken {
        /// The secret.
        name: String,
    },
    /// The engine said no.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Engine {
    /// Creates a secret for the stack and returns its id. `more_labels` come on top of stack and run. A secret of the same name from the same run is taken as it is:
    /// secrets are immutable, and a second lane or a redeploy must see the same value.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn create_secret(
        &self,
        stack: &StackName,
        name: &str,
        value: &[u8],
        more_labels: &BTreeMap<String, String>,
    ) -> Result<String, SecretError> {
        check(stack, name, value.len())?;
        let data = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(value));
        let run = run_of(stack);
        let mut labels: HashMap<String, String> = more_labels.clone().into_iter().collect();
        labels.extend([(LABEL_NAMESPACE.to_owned(), stack.as_str().to_owned())]);
        labels.extend(run.as_ref().map(|run| (LABEL_RUN.to_owned(), run.to_string())));
        let spec = SecretSpec {
            name: Some(name.to_owned()),
            labels: Some(labels),
            data: Some(data.to_string()),
            ..Default::default()
        };
        match self.docker.create_secret(spec).await.map_err(self.error(format!("secret {name}"))) {
            Ok(made) => Ok(made.id),
            Err(EngineError::Conflict { .. }) => self.own_secret(stack, name).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn own_secret(&self, stack: &StackName, name: &str) -> Result<String, SecretError> {
        let found = self.docker.inspect_secret(name).await.map_err(self.error(format!("secret {name}")))?;
        let labels = found.spec.and_then(|spec| spec.labels).unwrap_or_default();
        let ours = labels.get(LABEL_NAMESPACE).is_some_and(|namespace| namespace == stack.as_str());
        match found.id {
            Some(id) if ours => Ok(id),
            _ => Err(SecretError::Taken { name: name.to_owned() }),
        }
    }
}

fn check(stack: &StackName, name: &str, bytes: usize) -> Result<(), SecretError> {
    let own =
        name.strip_prefix(stack.as_str()).and_then(|rest| rest.strip_prefix('_')).is_some_and(|rest| !rest.is_empty());
    if !own {
        return Err(SecretError::Foreign { name: name.to_owned(), stack: stack.to_string() });
    }
    if name.len() > MAX_NAME {
        return Err(SecretError::NameTooLong { name: name.to_owned() });
    }
    if bytes == 0 || bytes > MAX_BYTES {
        return Err(SecretError::BadSize { name: name.to_owned(), bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Lane, RunId};

    #[test]
    fn names_and_sizes_are_checked_before_the_engine_is_asked() {
        let stack = StackName::of(&RunId::new(1_795_000_000, 7), Lane::Fresh, "ghost");
        let name = |tail: &str| format!("{stack}{tail}");
        assert_eq!(check(&stack, &name("_db_v1"), 32), Ok(()));
        for (name, bytes) in [
            ("other_db_v1".to_owned(), 32),
            (name("db_v1"), 32),
            (name("_"), 32),
            (name(&format!("_{}", "x".repeat(40))), 32),
            (name("_db_v1"), 0),
            (name("_db_v1"), 512_001),
        ] {
            assert!(check(&stack, &name, bytes).is_err(), "{name} {bytes}");
        }
    }
}
