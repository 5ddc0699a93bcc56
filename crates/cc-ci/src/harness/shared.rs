//! What all lanes of a run share: the engine, the suite, the redactor, the folder, and the run's end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use recipe::labels::Labels;
use recipe::policy::Policy;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::analysis;
use crate::domain::{Reason, ReasonCode, RunId};
use crate::redact::{Redactor, SecretValue};
use crate::swarm::{Engine, EngineFacts, EngineWatch, LABEL_RUN, LABEL_STATE, NotConverged, Sampler};

use super::events::{Event, Reporter};
use super::hurl::Hurl;
use super::profile::Profile;
use super::restic::Repo;
use super::stages::backup::restic_reason;
use super::suite::Suite;

/// Most lines of a container's log that become evidence.
const LOG_TAIL: usize = 25;

/// What all lanes of a run share. Clones share it too; only the end ([`Shared::cancel`]) may be a lane's own.
#[derive(Clone)]
pub struct Shared {
    /// The run.
    pub run: RunId,
    /// Name of the recipe.
    pub recipe: String,
    /// Folder of the evidence.
    pub dir: PathBuf,
    /// Folder for what is no evidence: restic's repository, volumes on their way. Removed at the end.
    pub work: PathBuf,
    /// Folder where the lock of the run is, for whoever asks whether it is alive.
    pub state_root: PathBuf,
    /// The engine.
    pub engine: Engine,
    /// What it is.
    pub facts: EngineFacts,
    /// Its events.
    pub watch: Arc<EngineWatch>,
    /// Pressure on the host.
    pub sampler: Arc<Sampler>,
    /// The secrets of the run.
    pub redactor: Redactor,
    /// Who is told what happens.
    pub reporter: Reporter,
    /// Ends the run: a signal, the time limit, or a lane that failed.
    pub cancel: CancellationToken,
    /// The suite.
    pub suite: Option<Suite>,
    /// Its profile, or the defaults.
    pub profile: Profile,
    /// What the operator allows this recipe.
    pub policy: Policy,
    /// The `hurl` program, if the suite needs it.
    pub hurl: Option<Hurl>,
    /// Whether a screenshot is wanted.
    pub wants_screenshot: bool,
    /// Whether time-outs count against the recipe even if the host is overloaded.
    pub ignore_load: bool,
    pub(super) digests: Arc<Mutex<BTreeMap<String, Option<String>>>>,
    pub(super) warnings: Arc<Mutex<Vec<String>>>,
    pub(super) repo: Arc<OnceCell<Arc<Repo>>>,
    pub(super) timed_out: Arc<AtomicBool>,
    /// The run's own end, where [`Shared::cancel`] is that of a lane.
    pub(super) whole: CancellationToken,
}

impl Shared {
    /// The same for a lane that may be ended alone.
    #[must_use]
    pub fn for_lane(&self) -> Self {
        Self { cancel: self.whole.child_token(), ..self.clone() }
    }

    /// True if this lane was ended and the run goes on: its other lane found that there is nothing to test.
    #[must_use]
    pub fn lane_was_stopped(&self) -> bool {
        self.cancel.is_cancelled() && !self.whole.is_cancelled()
    }

    /// Labels on everything that is made.
    #[must_use]
    pub fn run_labels(&self) -> Labels {
        Labels::from([
            (LABEL_RUN.to_owned(), self.run.to_string()),
            (LABEL_STATE.to_owned(), self.state_root.display().to_string()),
        ])
    }

    /// Notes something that should be known and changes no verdict. Said once.
    pub fn warn(&self, text: impl AsRef<str>) {
        let text = self.redactor.mask_str(text.as_ref());
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&text) {
            warnings.push(text.clone());
            self.reporter.tell(Event::Warning(text));
        }
    }

    /// The digest that an image had when it was pulled.
    #[must_use]
    pub fn digest_of(&self, image: &str) -> Option<String> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).get(image).cloned().flatten()
    }

    /// The run's restic repository, made once.
    ///
    /// # Errors
    /// `backup-tool-failed`.
    pub async fn restic(&self) -> Result<Arc<Repo>, Box<Reason>> {
        self.repo
            .get_or_try_init(|| async {
                let password = SecretValue::new(super::secrets::token('p') + &super::secrets::token('w'));
                Repo::init(&self.work.join("restic"), password, &self.cancel).await.map(Arc::new)
            })
            .await
            .cloned()
            .map_err(|error| restic_reason(&error))
    }

    /// Why the run is being stopped: its own time limit, or somebody's wish.
    #[must_use]
    pub fn stopped(&self) -> Reason {
        if self.timed_out.load(Ordering::Acquire) {
            Reason::new(ReasonCode::TimedOut, "the run's time limit was reached")
        } else {
            Reason::new(ReasonCode::Interrupted, "the run was stopped")
        }
    }

    /// From what was seen of a stack to whose fault it is, with the logs of its dead containers.
    pub async fn explain(&self, failure: &NotConverged) -> Reason {
        let mut logs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for service in &failure.snapshot.services {
            // The newest that ran at all; a task that never had a container has no log.
            let Some(container) = service.tasks.iter().find_map(|task| task.container_id.as_deref()) else { continue };
            if let Ok((lines, _)) = self.engine.container_log(container, LOG_TAIL).await {
                logs.insert(
                    service.name.clone(),
                    lines.into_iter().map(|line| self.redactor.mask_str(&line.text)).collect(),
                );
            }
        }
        let load = (self.facts.local && !self.ignore_load).then(|| self.sampler.recent(Duration::from_secs(60)));
        let evidence = analysis::Evidence { logs, load, role: analysis::Role::Head };
        let mut reason = analysis::explain(&failure.signal, &failure.snapshot, &evidence);
        if reason.code == ReasonCode::Interrupted {
            reason = self.stopped();
        }
        reason
    }
}
