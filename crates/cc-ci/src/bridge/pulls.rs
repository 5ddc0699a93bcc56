//! The open pull requests of the served repositories, as the pages list them.
//!
//! All are read when repositories are looked at, and one repository's again when a delivery told of it. The race to know:
//! both may read the same repository at the same time, and the older answer must not be kept; so only one reads at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::context::Bridge;
use crate::forge::Error;
use crate::forge::model::{PullFilter, RepoId};
use crate::reconcile::Next;

/// Open pull requests by repository name: number and title.
pub type OpenPulls = BTreeMap<String, Vec<(i64, String)>>;

/// What is known of them.
pub struct Pulls {
    by_repo: Mutex<BTreeMap<i64, OfRepo>>,
    tell: Box<dyn Fn(OpenPulls) + Send + Sync>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct OfRepo {
    full_name: String,
    open: Vec<(i64, String)>,
}

impl std::fmt::Debug for Pulls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pulls").finish_non_exhaustive()
    }
}

impl Pulls {
    /// Knows nothing yet; `tell` gets all of them whenever something changed.
    pub fn new(tell: impl Fn(OpenPulls) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { by_repo: Mutex::default(), tell: Box::new(tell) })
    }

    /// Reads those of one repository. What is hidden from us counts as none.
    ///
    /// # Errors
    /// If the forge does not answer; then nothing changed.
    pub async fn read(&self, bridge: &Bridge, repo: RepoId, full_name: &str) -> Result<(), Error> {
        let mut by_repo = self.by_repo.lock().await;
        let open = match bridge.client.pulls(repo, PullFilter::Open).await {
            Ok(open) => open.into_iter().map(|pull| (pull.number, pull.title)).collect(),
            Err(error) if error.is_withheld() => Vec::new(),
            Err(error) => return Err(error),
        };
        let now = OfRepo { full_name: full_name.to_owned(), open };
        if by_repo.get(&repo.0) != Some(&now) {
            by_repo.insert(repo.0, now);
            (self.tell)(listed(&by_repo));
        }
        Ok(())
    }

    /// Forgets repositories that are not served any more.
    pub async fn keep(&self, served: impl Fn(i64) -> bool) {
        let mut by_repo = self.by_repo.lock().await;
        let before = by_repo.len();
        by_repo.retain(|repo, _| served(*repo));
        if by_repo.len() != before {
            (self.tell)(listed(&by_repo));
        }
    }
}

/// Reads those of the repositories that deliveries told of: one call each, whatever else is served.
///
/// # Errors
/// If the forge does not answer for one of them; it is looked at again later, and the others were read.
pub async fn pass(bridge: &Bridge, pulls: &Pulls) -> Result<Next, String> {
    let Some(enrolment) = bridge.enrolled() else { return Ok(Next::Idle) };
    let mut failed = None;
    for repo in bridge.signals.pulls.take() {
        let Some(served) = enrolment.repositories.get(&repo) else { continue };
        if let Err(error) = pulls.read(bridge, RepoId(repo), &served.full_name).await {
            bridge.signals.pulls.put_back(repo);
            failed.get_or_insert(format!("pull requests of {}: {error}", served.full_name));
        }
    }
    failed.map_or(Ok(Next::Idle), Err)
}

fn listed(by_repo: &BTreeMap<i64, OfRepo>) -> OpenPulls {
    by_repo.values().map(|of_repo| (of_repo.full_name.clone(), of_repo.open.clone())).collect()
}
