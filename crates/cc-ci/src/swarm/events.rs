//! The engine's events of a run: evidence for the folder, a wake-up for whoever waits, and the sign that the engine went away.
//!
//! There are no task events, so nothing may be concluded from silence. The rule to know: the end of the stream is how an engine
//! restart shows; each lost connection raises the watch's epoch, and whoever saw an older epoch knows that something was missed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::inventory::{run_of, run_of_labels};
use super::{Engine, LABEL_NAMESPACE, parse_stack_name};
use crate::domain::RunId;

/// Pause before the stream is opened again, so that an engine that is down is not asked in a tight loop.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);

/// One event, as it is written to the run's folder: one JSON object per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventLine {
    /// Time in nanoseconds since 1970, by the engine's clock.
    pub time_ns: i64,
    /// `container`, `service`, `network`, `volume`, `node`, …; `cc-ci` for the watch's own words.
    pub kind: String,
    /// `create`, `die`, `health_status: healthy`, …
    pub action: String,
    /// Id of the object.
    pub id: String,
    /// Attributes: labels, exit code, update state.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub attributes: std::collections::BTreeMap<String, String>,
}

/// A watch over the events of one run. Ends when dropped.
#[derive(Debug)]
pub struct EngineWatch {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Shared {
    epoch: AtomicU64,
    seen: AtomicU64,
    wake: Notify,
    oom: Mutex<HashSet<String>>,
}

impl EngineWatch {
    /// How often the connection to the engine was lost since the watch began.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    /// How many events of the run were seen.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.shared.seen.load(Ordering::Acquire)
    }

    /// Returns at the next event of the run, or of a node, which is all that a task change may show as.
    pub async fn woken(&self) {
        self.shared.wake.notified().await;
    }

    /// Whether the kernel killed a process of this container for want of memory.
    #[must_use]
    pub fn saw_oom(&self, container: &str) -> bool {
        self.shared.oom.lock().unwrap_or_else(PoisonError::into_inner).contains(container)
    }
}

impl Drop for EngineWatch {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Engine {
    /// Watches the events of a run; each goes to `sink` as it comes. Must be called within a Tokio runtime.
    #[must_use]
    pub fn watch(&self, run: &RunId, sink: impl FnMut(&EventLine) + Send + 'static) -> EngineWatch {
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        let work = follow(self.clone(), run.clone(), Arc::clone(&shared), sink);
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled_owned(work).await });
        EngineWatch { shared, stop }
    }
}

/// Reads the stream for ever. After an interruption it goes on where it stopped; the engine keeps its last 256 events.
async fn follow(engine: Engine, run: RunId, shared: Arc<Shared>, mut sink: impl FnMut(&EventLine) + Send) {
    let mut since = super::now().as_second();
    let mut newest = 0;
    loop {
        let filters = HashMap::from([(
            "type",
            ["service", "network", "container", "volume", "secret", "config", "node", "daemon"]
                .map(str::to_owned)
                .to_vec(),
        )]);
        let options = EventsOptionsBuilder::new().filters(&filters).since(&since.to_string()).build();
        let mut stream = std::pin::pin!(engine.docker.events(Some(options)));
        while let Some(Ok(event)) = stream.next().await {
            let is_node = event.typ == Some(bollard::models::EventMessageTypeEnum::NODE);
            let line = line_of(event);
            if line.time_ns <= newest && newest > 0 {
                continue;
            }
            newest = line.time_ns;
            since = line.time_ns / 1_000_000_000;
            if belongs(&line, &run) {
                if line.action == "oom" {
                    shared.oom.lock().unwrap_or_else(PoisonError::into_inner).insert(line.id.clone());
                }
                shared.seen.fetch_add(1, Ordering::AcqRel);
                sink(&line);
                shared.wake.notify_waiters();
            } else if is_node {
                shared.wake.notify_waiters();
            }
        }
        shared.epoch.fetch_add(1, Ordering::AcqRel);
        shared.wake.notify_waiters();
        sink(&lost());
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

fn lost() -> EventLine {
    EventLine {
        time_ns: i64::try_from(super::now().as_nanosecond()).unwrap_or(i64::MAX),
        kind: "cc-ci".to_owned(),
        action: "connection to the engine lost".to_owned(),
        id: String::new(),
        attributes: Default::default(),
    }
}

fn line_of(event: EventMessage) -> EventLine {
    let actor = event.actor.unwrap_or_default();
    EventLine {
        time_ns: event.time_nano.unwrap_or_else(|| event.time.unwrap_or(0).saturating_mul(1_000_000_000)),
        kind: event.typ.map(|kind| kind.to_string()).unwrap_or_default(),
        action: event.action.unwrap_or_default(),
        id: actor.id.unwrap_or_default(),
        attributes: actor.attributes.unwrap_or_default().into_iter().collect(),
    }
}

/// By label where the event has labels (containers), else by the object's name (services, networks, volumes).
fn belongs(line: &EventLine, run: &RunId) -> bool {
    let labels = line.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    if run_of_labels(labels).as_ref() == Some(run) {
        return true;
    }
    let name = line.attributes.get("name").or_else(|| line.attributes.get(LABEL_NAMESPACE));
    let name = name.map_or(line.id.as_str(), String::as_str);
    stack_prefix(name)
        .is_some_and(|stack| parse_stack_name(stack).is_some_and(|stack| run_of(&stack).as_ref() == Some(run)))
}

/// The part of an object's name that may be a stack's: up to and including `_ccci_test`.
fn stack_prefix(name: &str) -> Option<&str> {
    const END: &str = "_ccci_test";
    name.find(END).map(|at| &name[..at + END.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Lane, StackName};

    #[test]
    fn events_are_told_apart_by_run() {
        let run = RunId::new(1_795_000_000, 7);
        let other = RunId::new(1_795_000_000, 8);
        let stack = StackName::of(&run, Lane::Data, "ghost");
        let line = |id: &str, attributes: &[(&str, &str)]| EventLine {
            time_ns: 1,
            kind: "x".into(),
            action: "create".into(),
            id: id.into(),
            attributes: attributes.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        };
        let service = format!("{stack}_app");
        for (line, ours) in [
            (line("abc", &[("name", &service)]), true),
            (line(&format!("{stack}_data"), &[("driver", "local")]), true),
            (line("abc", &[(LABEL_NAMESPACE, stack.as_str())]), true),
            (line("abc", &[(super::super::LABEL_RUN, run.as_str())]), true),
            (line("abc", &[("name", "traefik_app")]), false),
            (line("abc", &[("name", "x_ccci_test_app")]), false),
            (line("node", &[]), false),
        ] {
            assert_eq!(belongs(&line, &run), ours, "{line:?}");
            assert!(!belongs(&line, &other), "{line:?}");
        }
    }
}
