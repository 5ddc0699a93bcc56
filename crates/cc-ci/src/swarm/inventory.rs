//! Everything on the swarm that is ours, by looking.
//!
//! An object is ours only if its label *and* its name say so; everything else is never listed here, hence never removed. The rule to know:
//! a stack name can be recognised without a register, because it spells the run's id ([`parse_stack_name`]).

use std::collections::{BTreeMap, HashMap};

use bollard::query_parameters::{
    ListConfigsOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListSecretsOptionsBuilder,
    ListServicesOptionsBuilder, ListTasksOptionsBuilder, ListVolumesOptionsBuilder,
};
use serde::Serialize;

use super::state::{TaskPhase, phase};
use super::{Engine, EngineError, LABEL_NAMESPACE, LABEL_RUN, LABEL_STATE};
use crate::domain::{Lane, RunId, StackName};

/// Kinds of objects that a run can leave behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "Docker's own words")]
pub enum Kind {
    Service,
    Task,
    Container,
    Network,
    Volume,
    Secret,
    Config,
}

impl Kind {
    /// All kinds: what is looked for.
    pub const ALL: [Kind; 7] =
        [Self::Service, Self::Task, Self::Container, Self::Network, Self::Volume, Self::Secret, Self::Config];

    /// Docker's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Task => "task",
            Self::Container => "container",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Secret => "secret",
            Self::Config => "config",
        }
    }
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One stack.
    Stack(StackName),
    /// All stacks of a run, and what else carries its label.
    Run(RunId),
    /// Everything that any run made.
    AllOfCcCi,
}

/// Something of ours on the swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Object {
    /// Kind.
    pub kind: Kind,
    /// The engine's id; of a volume, its name.
    pub id: String,
    /// Name; of a task, `<service>.<slot>`.
    pub name: String,
    /// The run that made it.
    pub run: RunId,
    /// The stack it belongs to; `None` if it only carries the run's label.
    pub stack: Option<StackName>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Names of volumes without a name of their own that a container brought along; they go with it.
    pub anonymous_volumes: Vec<String>,
    /// State of a task; `None` for everything else.
    pub task_state: Option<TaskPhase>,
}

impl Object {
    /// Its run, and the state folder where the lock of that run is, if it says so.
    #[must_use]
    pub fn claim(&self) -> (&RunId, Option<&str>) {
        (&self.run, self.labels.get(LABEL_STATE).map(String::as_str))
    }
}

/// Recognises a stack name of ours: it must be exactly what [`StackName::of`] makes.
#[must_use]
pub fn parse_stack_name(text: &str) -> Option<StackName> {
    let (head, _) = text.split_once('_')?;
    let (short, tail) = head.rsplit_once('-')?;
    let mut id = tail.chars();
    let lane = match id.next_back()? {
        'f' => Lane::Fresh,
        'd' => Lane::Data,
        _ => return None,
    };
    let run: RunId = id.as_str().parse().ok()?;
    Some(StackName::of(&run, lane, short)).filter(|stack| stack.as_str() == text)
}

/// The run of a stack.
pub(super) fn run_of(stack: &StackName) -> Option<RunId> {
    let (head, _) = stack.as_str().split_once('_')?;
    let (_, tail) = head.rsplit_once('-')?;
    tail.get(..tail.len().checked_sub(1)?)?.parse().ok()
}

/// The run that labels name.
pub(super) fn run_of_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Option<RunId> {
    let mut by_stack = None;
    for (name, value) in labels {
        match name {
            LABEL_RUN => return value.parse().ok(),
            LABEL_NAMESPACE => by_stack = parse_stack_name(value).as_ref().and_then(run_of),
            _ => {}
        }
    }
    by_stack
}

/// What the engine lists, before it is known whether it is ours.
struct Found {
    kind: Kind,
    id: Option<String>,
    name: Option<String>,
    labels: HashMap<String, String>,
    anonymous_volumes: Vec<String>,
    task_state: Option<TaskPhase>,
}

impl Engine {
    /// Everything of ours within the scope, sorted by kind and name.
    ///
    /// # Errors
    /// If the engine does not answer. A partial list is never returned.
    pub async fn inventory(&self, scope: &Scope) -> Result<Vec<Object>, EngineError> {
        let filters = filters(scope);
        let filters = &filters;
        let (services, tasks, containers, networks, volumes, secrets, configs) = tokio::try_join!(
            self.found_services(filters),
            self.found_tasks(filters),
            self.found_containers(filters),
            self.found_networks(filters),
            self.found_volumes(filters),
            self.found_secrets(filters),
            self.found_configs(filters),
        )?;
        let all = [services, tasks, containers, networks, volumes, secrets, configs];
        let mut objects: Vec<Object> = all.into_iter().flatten().filter_map(own).filter(|o| within(o, scope)).collect();
        objects.sort_by(|a, b| (a.kind, &a.name, &a.id).cmp(&(b.kind, &b.name, &b.id)));
        Ok(objects)
    }

    async fn found_services(&self, filters: &Filters) -> Result<Vec<Found>, EngineError> {
        let options = ListServicesOptionsBuilder::new().filters(filters).build();
        let list = self.docker.list_services(Some(options)).await.map_err(self.error("the list of services"))?;
        Ok(list
            .into_iter()
            .map(|s| (s.id, s.spec.unwrap_or_default()))
            .map(|(id, s)| found(Kind::Service, id, s.name, s.labels))
            .collect())
    }

    async fn found_tasks(&self, filters: &Filters) -> Result<Vec<Found>, EngineError> {
        let options = ListTasksOptionsBuilder::new().filters(filters).build();
        let list = self.docker.list_tasks(Some(options)).await.map_err(self.error("the list of tasks"))?;
        // A task carries the labels of its containers, which have the namespace too, and no name.
        Ok(list
            .into_iter()
            .map(|task| {
                let labels = task.spec.and_then(|s| s.container_spec).and_then(|c| c.labels).unwrap_or_default();
                let task_state = Some(phase(task.status.and_then(|status| status.state)));
                let stack = labels.get(LABEL_NAMESPACE).cloned().unwrap_or_default();
                let name =
                    format!("{stack}_task.{}.{}", task.slot.unwrap_or(0), task.id.as_deref().unwrap_or_default());
                Found { task_state, ..found(Kind::Task, task.id, Some(name), Some(labels)) }
            })
            .collect())
    }

    async fn found_containers(&self, filters: &Filters) -> Result<Vec<Found>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(filters).build();
        let list = self.docker.list_containers(Some(options)).await.map_err(self.error("the list of containers"))?;
        Ok(list
            .into_iter()
            .map(|c| {
                let name = c.names.and_then(|names| names.into_iter().next());
                let volumes = c.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.name);
                let anonymous_volumes = volumes.filter(|name| is_anonymous(name)).collect();
                let name = name.map(|name| name.trim_start_matches('/').to_owned());
                Found { anonymous_volumes, ..found(Kind::Container, c.id, name, c.labels) }
            })
            .collect())
    }

    async fn found_networks(&self, filters: &Filters) -> Result<Vec<Found>, EngineError> {
        let options = ListNetworksOptionsBuilder::new().filters(filters).build();
        let list = self.docker.list_networks(Some(options)).await.map_err(self.error("the list of networks"))?;
        Ok(list.into_iter().map(|n| found(Kind::Network, n.id, n.name, n.labels)).collect())
    }

    async fn found_volumes(&self, filters: &Filters) -> Result<Vec<Found>, EngineError> {
        let options = ListVolumesOptionsBuilder::new().filters(filters).build();
        let list = self.docker.list_volumes(Some(options)).await.map_err(self.error("the list of volumes"))?;
        let list = list.volumes.unwrap_or_default();
        Ok(list.into_iter().map(|v| found(Kind::Volume, Some(v.name.clone()), Some(v.name), Some(v.labels))).collect())
    }

    async fn found_secrets(&self, filters: &Filters) -> Result<Vec<Found>, EngineError> {
        let options = ListSecretsOptionsBuilder::new().filters(filters).build();
        let list = self.docker.list_secrets(Some(options)).await.map_err(self.error("the list of secrets"))?;
        Ok(list
            .into_iter()
            .map(|s| (s.id, s.spec.unwrap_or_default()))
            .map(|(id, s)| found(Kind::Secret, id, s.name, s.labels))
            .collect())
    }

    async fn found_configs(&self, filters: &Filters) -> Result<Vec<Found>, EngineError> {
        let options = ListConfigsOptionsBuilder::new().filters(filters).build();
        let list = self.docker.list_configs(Some(options)).await.map_err(self.error("the list of configs"))?;
        Ok(list
            .into_iter()
            .map(|c| (c.id, c.spec.unwrap_or_default()))
            .map(|(id, s)| found(Kind::Config, id, s.name, s.labels))
            .collect())
    }
}

type Filters = HashMap<String, Vec<String>>;

/// A stack is asked for by its label; anything wider is listed whole and sorted out here, so that objects with either label
/// are found.
fn filters(scope: &Scope) -> Filters {
    match scope {
        Scope::Stack(stack) => HashMap::from([("label".to_owned(), vec![format!("{LABEL_NAMESPACE}={stack}")])]),
        Scope::Run(_) | Scope::AllOfCcCi => HashMap::new(),
    }
}

fn found(kind: Kind, id: Option<String>, name: Option<String>, labels: Option<HashMap<String, String>>) -> Found {
    Found { kind, id, name, labels: labels.unwrap_or_default(), anonymous_volumes: Vec::new(), task_state: None }
}

/// Docker's name for a volume that was given none.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Ours only if label and name agree.
fn own(found: Found) -> Option<Object> {
    let (id, name) = (found.id?, found.name?);
    let stack = found.labels.get(LABEL_NAMESPACE).and_then(|namespace| parse_stack_name(namespace));
    let run = match &stack {
        Some(stack) => run_of(stack)?,
        // An object of another stack is not ours, whatever else it carries.
        None if found.labels.contains_key(LABEL_NAMESPACE) => return None,
        None => found.labels.get(LABEL_RUN)?.parse().ok()?,
    };
    let named = match &stack {
        Some(stack) => name.strip_prefix(stack.as_str()).is_some_and(|rest| rest.starts_with('_')),
        None => name.contains(run.as_str()),
    };
    let labels = found.labels.into_iter().collect();
    let Found { kind, anonymous_volumes, task_state, .. } = found;
    named.then_some(Object { kind, id, name, run, stack, labels, anonymous_volumes, task_state })
}

fn within(object: &Object, scope: &Scope) -> bool {
    match scope {
        Scope::Stack(stack) => object.stack.as_ref() == Some(stack),
        Scope::Run(run) => object.run == *run,
        Scope::AllOfCcCi => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        RunId::new(1_795_000_000, 7)
    }

    #[test]
    fn stack_names_are_recognised_and_nothing_else() {
        for recipe in ["ghost", "custom-html-tiny", "9p", "É", "n8n"] {
            for lane in [Lane::Fresh, Lane::Data] {
                let stack = StackName::of(&run(), lane, recipe);
                assert_eq!(parse_stack_name(stack.as_str()).as_ref(), Some(&stack), "{recipe}");
                assert_eq!(run_of(&stack), Some(run()), "{recipe}");
            }
        }
        let good = StackName::of(&run(), Lane::Fresh, "ghost").to_string();
        for text in [
            "",
            "traefik",
            "ghost_example_org",
            &good.replace("_ccci_test", "_example_org"),
            &good.replace("ghost", "ghosts-too-long"),
            &good.replace("f_ccci", "x_ccci"),
            &format!("{good}_app"),
            &good.to_uppercase(),
        ] {
            assert!(parse_stack_name(text).is_none(), "{text}");
        }
    }

    #[test]
    fn label_and_name_must_agree() {
        let stack = StackName::of(&run(), Lane::Fresh, "ghost");
        let label = |name: &str, value: &str| HashMap::from([(name.to_owned(), value.to_owned())]);
        let is_own = |name: &str, labels: HashMap<String, String>| {
            own(found(Kind::Volume, Some("i".into()), Some(name.into()), Some(labels))).is_some()
        };
        let ours = || label(LABEL_NAMESPACE, stack.as_str());
        assert!(is_own(&format!("{stack}_data"), ours()));
        assert!(!is_own("production_data", ours()), "the label alone does not do");
        assert!(!is_own(&format!("{stack}_data"), HashMap::new()), "the name alone does not do");
        assert!(!is_own(&format!("{stack}x_data"), ours()));
        assert!(!is_own("traefik_data", label(LABEL_NAMESPACE, "traefik")));
        assert!(is_own(&format!("ccci-{}", run()), label(LABEL_RUN, run().as_str())));
        assert!(!is_own("proxy", label(LABEL_RUN, run().as_str())));
        let mut both = label(LABEL_NAMESPACE, "traefik");
        both.extend(label(LABEL_RUN, run().as_str()));
        assert!(!is_own(&format!("traefik_{}", run()), both), "another stack's object with our label");
    }

    #[test]
    fn scopes_do_not_overlap() {
        let object = |stack: &StackName| {
            let labels = HashMap::from([(LABEL_NAMESPACE.to_owned(), stack.to_string())]);
            own(found(Kind::Service, Some("i".into()), Some(format!("{stack}_app")), Some(labels))).expect("ours")
        };
        let fresh = StackName::of(&run(), Lane::Fresh, "ghost");
        let data = StackName::of(&run(), Lane::Data, "ghost");
        let other = StackName::of(&RunId::new(1_795_000_000, 8), Lane::Fresh, "ghost");
        assert!(within(&object(&fresh), &Scope::Stack(fresh.clone())));
        assert!(!within(&object(&data), &Scope::Stack(fresh)));
        assert!(within(&object(&data), &Scope::Run(run())));
        assert!(!within(&object(&other), &Scope::Run(run())));
        assert!(within(&object(&other), &Scope::AllOfCcCi));
    }
}
