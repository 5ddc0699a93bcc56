//! What the parts of the bridge share: the store and the way to the forge, who is served, and the signals between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::facts::{GateConfig, Person};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::forge::Client;
use crate::reconcile::{News, Signal};
use crate::store::Store;
use crate::store::journal::Journal;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bridge {
    /// The database.
    pub store: Store,
    /// The way into the journal.
    pub journal: Journal,
    /// The forge.
    pub client: Arc<Client>,
    /// Settings.
    pub config: Arc<Config>,
    /// Time.
    pub clock: SharedClock,
    /// Who wakes whom.
    pub signals: Signals,
    /// Told whenever something was written that somebody may wait for.
    pub news: News,
    /// Who is served; nothing until the forge was asked for the first time.
    pub enrolment: watch::Sender<Option<Arc<Enrolment>>>,
}

/// One signal for each reconciler.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// A delivery is in the journal.
    pub deliveries: Signal,
    /// A run waits, or there is room again.
    pub queue: Signal,
    /// A run changed, or something is wanted of the forge.
    pub publish: Signal,
    /// Comments should be looked at now.
    pub poll: Signal,
    /// Repositories should be looked at now.
    pub enrol: Signal,
    /// Pull requests of these repositories changed.
    pub pulls: Concerned,
    /// Somebody asked to cancel a run.
    pub cancels: News,
}

/// A signal that says whom it is about. What it holds is lost at a restart, when everything is looked at anyway.
#[derive(Debug, Clone, Default)]
pub struct Concerned {
    signal: Signal,
    repos: Arc<Mutex<BTreeSet<i64>>>,
}

impl Concerned {
    /// Something happened to a repository.
    pub fn wake(&self, repo: i64) {
        self.put_back(repo);
        self.signal.wake();
    }

    /// Has it looked at again, whenever that is.
    pub fn put_back(&self, repo: i64) {
        self.repos.lock().unwrap_or_else(PoisonError::into_inner).insert(repo);
    }

    /// The repositories that something happened to since the last look.
    #[must_use]
    pub fn take(&self) -> BTreeSet<i64> {
        std::mem::take(&mut *self.repos.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What wakes the look.
    #[must_use]
    pub fn signal(&self) -> Signal {
        self.signal.clone()
    }
}

/// Whom cc-ci serves, as the forge last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The bot's own account.
    pub own: Person,
    /// For the gate.
    pub gate: GateConfig,
    /// Served repositories by id.
    pub repositories: BTreeMap<i64, Served>,
}

/// A served repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// `owner/name` as last known.
    pub full_name: String,
    /// What is wrong with it, its hook or our rights, for people.
    pub trouble: Option<String>,
}

impl Bridge {
    /// Who is served, as last known.
    #[must_use]
    pub fn enrolled(&self) -> Option<Arc<Enrolment>> {
        self.enrolment.borrow().clone()
    }
}
