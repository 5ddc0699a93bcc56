//! Removing what a run made, proved by looking until nothing is left.
//!
//! Never asks for anything that [`inventory`](Engine::inventory) does not list as ours. The rule to know: the engine answers a removal long before it
//! is done, and each kind has to wait for another (volumes for containers, networks for tasks). So there is no order to get right here:
//! every round looks, asks for whatever is left, and the round that finds nothing is the proof.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bollard::query_parameters::{RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::inventory::{Kind, Object, Scope};
use super::{Engine, EngineError, TaskPhase};
use crate::domain::{Leftover, StackName};

const FIRST_PAUSE: Duration = Duration::from_millis(40);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How long an engine may stay away, as it does while it restarts, before the removal is given up.
const AWAY_LIMIT: Duration = Duration::from_secs(60);

/// What came of a removal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removal {
    /// How many objects were there and are gone.
    pub removed: usize,
    /// What is still there.
    pub leftovers: Vec<Leftover>,
    /// How long it took.
    pub took: Duration,
}

impl Removal {
    /// True if nothing is left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.leftovers.is_empty()
    }
}

impl Engine {
    /// Removes a stack with its volumes and secrets. Containers are killed, not asked: nothing of a test run needs to end gracefully.
    ///
    /// # Errors
    /// If the engine does not answer at the end, or stays away for a minute. Objects that resist until `limit` are leftovers, not errors.
    pub async fn remove_stack(&self, stack: &StackName, limit: Duration) -> Result<Removal, EngineError> {
        self.remove(&Scope::Stack(stack.clone()), limit).await
    }

    /// Removes everything within the scope.
    ///
    /// # Errors
    /// If the engine does not answer at the end, or stays away for a minute. Objects that resist until `limit` are leftovers, not errors.
    pub async fn remove(&self, scope: &Scope, limit: Duration) -> Result<Removal, EngineError> {
        self.remove_until(scope, everything, limit).await
    }

    /// Removes services, containers and volumes of a stack and leaves its networks, secrets and configs, so that it can be
    /// deployed again at once, without data. Swarm's records of dead tasks may linger for some seconds.
    ///
    /// # Errors
    /// If the engine does not answer at the end, or stays away for a minute. Objects that resist until `limit` are leftovers, not errors.
    pub async fn wipe_stack(&self, stack: &StackName, limit: Duration) -> Result<Removal, EngineError> {
        self.remove_until(&Scope::Stack(stack.clone()), holds_data, limit).await
    }

    async fn remove_until(
        &self,
        scope: &Scope,
        concerns: fn(&Object) -> bool,
        limit: Duration,
    ) -> Result<Removal, EngineError> {
        let started = Instant::now();
        let mut seen: HashSet<(Kind, String)> = HashSet::new();
        let mut anonymous: BTreeMap<String, Object> = BTreeMap::new();
        let mut words: BTreeMap<(Kind, String), String> = BTreeMap::new();
        let mut pause = FIRST_PAUSE;
        let mut answered = started;
        loop {
            let late = started.elapsed() >= limit;
            let left = match self.left(scope, concerns, &mut anonymous).await {
                Ok(left) => left,
                Err(error) if late || answered.elapsed() >= AWAY_LIMIT => return Err(error),
                // An engine that is away for a moment is asked again.
                Err(_) => {
                    tokio::time::sleep(LONGEST_PAUSE).await;
                    continue;
                }
            };
            answered = Instant::now();
            seen.extend(left.iter().map(|object| (object.kind, object.id.clone())));
            if left.is_empty() || late {
                let removed = seen.len() - left.len();
                return Ok(Removal { removed, leftovers: leftovers(&left, &words), took: started.elapsed() });
            }
            for (object, error) in
                join_all(turn(&left).map(|object| self.remove_object(object))).await.into_iter().flatten()
            {
                words.insert(object, error.to_string());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// What is left. Volumes without a name carry no label of ours; only having been mounted by one of our containers makes
    /// them ours, so they are remembered while their containers are there and looked for when those are gone.
    async fn left(
        &self,
        scope: &Scope,
        concerns: fn(&Object) -> bool,
        anonymous: &mut BTreeMap<String, Object>,
    ) -> Result<Vec<Object>, EngineError> {
        let mut left = self.inventory(scope).await?;
        left.retain(concerns);
        for object in &left {
            for name in &object.anonymous_volumes {
                anonymous.entry(name.clone()).or_insert_with(|| nameless(name, object));
            }
        }
        if left.iter().any(|object| object.kind == Kind::Container) {
            return Ok(left);
        }
        for (name, volume) in std::mem::take(anonymous) {
            match self.docker.inspect_volume(&name).await.map_err(self.error(format!("volume {name}"))) {
                Ok(_) => {
                    left.push(volume.clone());
                    anonymous.insert(name, volume);
                }
                Err(EngineError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(left)
    }

    /// Asks for the removal of one object. That it is gone already is no error.
    async fn remove_object(&self, object: &Object) -> Option<((Kind, String), EngineError)> {
        let result = match object.kind {
            Kind::Service => self.docker.delete_service(&object.id).await,
            // Tasks go with their service.
            Kind::Task => return None,
            Kind::Container => {
                let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
                self.docker.remove_container(&object.id, Some(options)).await
            }
            Kind::Network => self.docker.remove_network(&object.id).await,
            Kind::Volume => {
                self.docker.remove_volume(&object.id, Some(RemoveVolumeOptionsBuilder::new().build())).await
            }
            Kind::Secret => self.docker.delete_secret(&object.id).await,
            Kind::Config => self.docker.delete_config(&object.id).await,
        };
        match result.map_err(self.error(format!("{} {}", object.kind.as_str(), object.name))) {
            Ok(()) | Err(EngineError::NotFound { .. }) => None,
            Err(error) => Some(((object.kind, object.id.clone()), error)),
        }
    }
}

fn everything(_: &Object) -> bool {
    true
}

/// What a wipe has to see gone: data and whatever could still write it. A task that has not started yet may still make a
/// container; one that has is known by its container.
fn holds_data(object: &Object) -> bool {
    match object.kind {
        Kind::Service | Kind::Container | Kind::Volume => true,
        Kind::Task => object.task_state.is_some_and(|state| state < TaskPhase::Running),
        Kind::Network | Kind::Secret | Kind::Config => false,
    }
}

fn nameless(name: &str, container: &Object) -> Object {
    Object {
        kind: Kind::Volume,
        id: name.to_owned(),
        name: name.to_owned(),
        labels: BTreeMap::new(),
        anonymous_volumes: Vec::new(),
        ..container.clone()
    }
}

/// What is worth asking for in this round. As long as a service is there it would make new containers, and would hold on to
/// the rest, so services come alone.
fn turn(left: &[Object]) -> impl Iterator<Item = &Object> {
    let services = left.iter().any(|object| object.kind == Kind::Service);
    left.iter().filter(move |object| !services || object.kind == Kind::Service)
}

fn leftovers(left: &[Object], words: &BTreeMap<(Kind, String), String>) -> Vec<Leftover> {
    left.iter()
        .map(|object| Leftover {
            kind: object.kind.as_str().to_owned(),
            name: object.name.clone(),
            why: words.get(&(object.kind, object.id.clone())).cloned().unwrap_or_default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RunId;

    fn object(kind: Kind, name: &str, task_state: Option<TaskPhase>) -> Object {
        Object {
            kind,
            id: name.into(),
            name: name.into(),
            run: RunId::new(1_795_000_000, 7),
            stack: None,
            labels: BTreeMap::new(),
            anonymous_volumes: Vec::new(),
            task_state,
        }
    }

    #[test]
    fn services_go_alone_and_first() {
        let left = [object(Kind::Service, "s", None), object(Kind::Container, "c", None)];
        assert_eq!(turn(&left).map(|o| o.kind).collect::<Vec<_>>(), [Kind::Service]);
        assert_eq!(turn(&left[1..]).map(|o| o.kind).collect::<Vec<_>>(), [Kind::Container]);
    }

    #[test]
    fn a_wipe_waits_for_whatever_can_write_and_keeps_the_rest() {
        for (kind, state, waits) in [
            (Kind::Service, None, true),
            (Kind::Container, None, true),
            (Kind::Volume, None, true),
            (Kind::Task, Some(TaskPhase::Preparing), true),
            (Kind::Task, Some(TaskPhase::Running), false),
            (Kind::Task, Some(TaskPhase::Shutdown), false),
            (Kind::Network, None, false),
            (Kind::Secret, None, false),
            (Kind::Config, None, false),
        ] {
            assert_eq!(holds_data(&object(kind, "x", state)), waits, "{kind:?} {state:?}");
        }
    }

    #[test]
    fn leftovers_carry_the_engines_words() {
        let left = [object(Kind::Network, "n", None), object(Kind::Volume, "v", None)];
        let words = BTreeMap::from([((Kind::Network, "n".to_owned()), "in use".to_owned())]);
        let found = leftovers(&left, &words);
        assert_eq!((found[0].kind.as_str(), found[0].why.as_str()), ("network", "in use"));
        assert_eq!((found[1].name.as_str(), found[1].why.as_str()), ("v", ""));
    }
}
