//! The pages on made-up history, for whoever wants to look at them or to test them by hand.
//!
//! Nobody executes anything here: what is asked for on the pages is written into the queue and stays there.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{SeedError, seed};
use crate::clock::{Clock, SystemClock};
use crate::queue::accept::{self, Accepted};
use crate::queue::{QueueConfig, cancel};
use crate::store::runs::{self, NewRun};
use crate::store::triggers::{Cause, NewTrigger};
use crate::store::{Store, StoreError};
use crate::web::{
    AccessToken, ActionError, Actions, Done, Enqueue, Later, OpenPull, Person, Reconciler, Right, SessionKey, Settings,
    WebState, router,
};

/// How to serve made-up history.
#[derive(Debug, Clone)]
pub struct Wish<'p> {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Finished runs.
    pub runs: usize,
    /// Empty folder for the database and the runs' files.
    pub dir: &'p Path,
    /// Text of the token that may act.
    pub token: &'p str,
}

/// Pages that are being served.
#[derive(Debug)]
pub struct Served {
    /// Where they are.
    pub url: Url,
    /// Number of the run that runs.
    pub running: i64,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Served {
    /// Ends the pages.
    ///
    /// # Errors
    /// If the server had ended by itself.
    pub async fn stop(self) -> std::io::Result<()> {
        self.stop.cancel();
        self.task.await.map_err(std::io::Error::other)?
    }
}

/// Makes up a history and serves it.
///
/// # Errors
/// If the folder or the address cannot be used.
pub async fn serve(wish: Wish<'_>) -> Result<Served, SeedError> {
    let clock = SystemClock::shared();
    let runs_dir = wish.dir.join("runs");
    let store = Store::open(&wish.dir.join("cc-ci.db")).await?;
    let running = seed(&store, wish.runs, clock.now(), Some(&runs_dir)).await?;
    let listener = TcpListener::bind(wish.listen).await?;
    let url = Url::parse(&format!("http://{}/", listener.local_addr()?)).map_err(std::io::Error::other)?;
    let settings = Settings {
        public_url: url.clone(),
        title: "cc-ci".into(),
        public_reading: true,
        forge_url: Url::parse("https://git.coopcloud.tech").ok(),
        slots: 2,
        tokens: vec![AccessToken::new("somebody", wish.token, Right::Act)],
        session_key: SessionKey::new(rand::random()),
        viewers: 50,
    };
    let actions = Arc::new(OnlyQueued(store.clone()));
    let now = clock.now();
    let state = WebState::new(store, runs_dir, settings, actions, clock).with(|parts| {
        let (_, open_pulls) = tokio::sync::watch::channel(Arc::new(open_pulls()));
        parts.open_pulls = open_pulls;
        parts.reconcilers = Arc::new(move || reconcilers(now));
    });
    let stop = state.stop.clone();
    let stopped = stop.clone().cancelled_owned();
    let task = tokio::spawn(async move { axum::serve(listener, router(state)).with_graceful_shutdown(stopped).await });
    Ok(Served { url, running, stop, task })
}

fn open_pulls() -> std::collections::BTreeMap<String, Vec<OpenPull>> {
    [
        ("coop-cloud/gitea", &[(7, "Upgrade to 1.24.7"), (9, "docs: say how to restore")][..]),
        ("coop-cloud/n8n", &[(3, "chore: publish 0.12.0+1.111.0")]),
        ("coop-cloud/wordpress", &[]),
    ]
    .into_iter()
    .map(|(name, pulls)| {
        let pull = |(number, title): &(i64, &str)| OpenPull { number: *number, title: (*title).to_owned() };
        (name.to_owned(), pulls.iter().map(pull).collect())
    })
    .collect()
}

fn reconcilers(now: jiff::Timestamp) -> Vec<Reconciler> {
    let well = |name| Reconciler { name, passes: 40, last_well: Some(now), since: None, error: None, failures: 0 };
    let mut all = ["decide", "enrol", "poll", "publish", "queue", "recover"].map(well);
    all[3].error = Some("the forge answered 502 to a status".to_owned());
    all[3].failures = 3;
    all.into()
}

/// Writes wishes into the queue.
#[derive(Debug)]
struct OnlyQueued(Store);

impl Actions for OnlyQueued {
    fn cancel<'a>(&'a self, run: i64, by: &'a Person) -> Later<'a, Result<Done, ActionError>> {
        Box::pin(async move {
            let mut write = self.0.begin_immediate().await.map_err(down)?;
            let cancelled = cancel::cancel_run(&mut write, run, &by.login, SystemClock.now()).await.map_err(down)?;
            write.commit().await.map_err(down)?;
            if cancelled.ended.is_empty() && cancelled.asked.is_empty() {
                return Err(ActionError::Refused(format!("run {run} is over, or being cancelled already")));
            }
            Ok(Done { run: Some(run), message: format!("Run {run} is cancelled.") })
        })
    }

    fn rerun<'a>(&'a self, run: i64, by: &'a Person) -> Later<'a, Result<Done, ActionError>> {
        Box::pin(async move {
            let mut write = self.0.begin_immediate().await.map_err(down)?;
            let person = (by.id, by.login.as_str());
            let accepted = accept::rerun(&mut write, run, person, &QueueConfig::default(), SystemClock.now()).await;
            let accepted = accepted.map_err(down)?;
            write.commit().await.map_err(down)?;
            told(accepted.ok_or_else(|| ActionError::NotFound(format!("run {run}")))?)
        })
    }

    fn enqueue<'a>(&'a self, what: &'a Enqueue, by: &'a Person) -> Later<'a, Result<Done, ActionError>> {
        Box::pin(async move {
            let unknown = || ActionError::NotFound(format!("a served recipe {}", what.recipe));
            let mut connection = self.0.read().await.map_err(down)?;
            let known = runs::of_recipe(&mut connection, &what.recipe, i64::MAX, 1).await.map_err(down)?;
            drop(connection);
            let known = known.into_iter().next().ok_or_else(unknown)?.what;
            let trigger = NewTrigger {
                cause: Cause::Web,
                repo_id: known.repo_id,
                pull: what.pull.unwrap_or(0),
                comment_id: None,
                person_id: by.id,
                person_login: by.login.clone(),
            };
            let run = NewRun { pull: what.pull, cause: Cause::Web, person_login: by.login.clone(), ..known };
            let mut write = self.0.begin_immediate().await.map_err(down)?;
            let queued = accept::accept(&mut write, &trigger, &run, &QueueConfig::default(), SystemClock.now()).await;
            let queued = queued.map_err(down)?;
            write.commit().await.map_err(down)?;
            told(queued)
        })
    }
}

fn told(accepted: Accepted) -> Result<Done, ActionError> {
    match accepted {
        Accepted::Queued { number, .. } | Accepted::Joined { number } => {
            Ok(Done { run: Some(number), message: format!("Run {number} is queued.") })
        }
        Accepted::Known => Ok(Done { run: None, message: "That was asked for before.".to_owned() }),
        Accepted::Full { why } => Err(ActionError::Refused(why)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn down(error: StoreError) -> ActionError {
    ActionError::Unavailable(error.to_string())
}
