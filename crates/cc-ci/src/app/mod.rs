//! The only wiring: builds the edges, starts reconcilers and server, and stops them in order.
//!
//! Reading it from top to bottom tells what runs. Order at the start: the lock (one server for one folder), the database,
//! one recovery pass, then everything else at once. Order at the end: no more deliveries and claims; what runs may finish
//! within the grace, then it is torn down and given back to the queue; at last what the forge shall show is sent.

mod actions;
mod crowd;
mod listen;
mod login;

pub(crate) use listen::allow_open_files;

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bridge::context::{Bridge, Signals};
use crate::bridge::{enrol, intake, poll, process, pulls};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::executor::{Executor, Worker};
use crate::forge::{Client, Publisher, Settings, SettingsError};
use crate::publish::deliver::{Line, deliver};
use crate::publish::refresh::refresh;
use crate::publish::render::Pages;
use crate::queue::recover::{self, Reaper, StackSeen};
use crate::reconcile::{self, Board, Frame, News, Next, Signal};
use crate::redact::SecretValue;
use crate::store::journal::Journal;
use crate::store::{Store, StoreError, attempts, outbox, runs};
use crate::web::{self, AccessToken, OpenPull, OpenPulls, Reconciler, Right, SessionKey, WebState};

/// How often rows and stacks are compared.
const RECOVERY: Duration = Duration::from_secs(60);

/// How often queue and outbox are looked at without a signal.
const LOOK: Duration = Duration::from_secs(30);

/// How long the last messages to the forge may take when the server stops.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another one has the folder.
    #[error("another cc-ci serve uses {}: stop it first, or set runs.dir to another folder", .0.display())]
    Running(PathBuf),
    /// The folder cannot be used.
    #[error("{} cannot be used: {source}; set runs.dir to a folder that cc-ci may write", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The forge's address is of no use.
    #[error("forge.url: {0}")]
    Forge(#[from] SettingsError),
    /// The address to listen on is taken or not ours.
    #[error("cannot listen on {address}: {source}; set server.listen to another address")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The executor or the login cannot be made.
    #[error("{0}")]
    Edge(String),
}

/// What is open before anything runs: a folder that nobody else has, its database, the way to the forge.
#[derive(Debug)]
pub struct Ground {
    lock: File,
    listener: TcpListener,
    store: Store,
    client: Arc<Client>,
    config: Arc<Config>,
    clock: SharedClock,
}

impl Ground {
    /// Takes the folder, opens the database and the port.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(mut config: Config, clock: SharedClock) -> Result<Self, StartError> {
        let dir = &config.runs.dir;
        let failed = |source| StartError::Folder { path: dir.clone(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let lock =
            File::options().create(true).truncate(false).write(true).open(dir.join("serve.lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StartError::Running(dir.clone())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let store = Store::open(&dir.join("cc-ci.db")).await?;
        let settings = Settings {
            base_url: config.forge.url.clone(),
            token: config.forge.token.clone(),
            timeout: config.forge.timeout,
            clock: clock.clone(),
        };
        let client = Arc::new(Client::new(settings)?);
        let address = config.server.listen;
        let failed_to_listen = |source| StartError::Listen { address, source };
        let listener = listen::bind(address).map_err(failed_to_listen)?;
        // Port 0 takes a free one, and then links must name it.
        config.server.listen = listener.local_addr().map_err(failed_to_listen)?;
        if config.server.public_url.port() == Some(0) {
            // Fails for addresses without a host only, which this one has.
            let _ = config.server.public_url.set_port(Some(config.server.listen.port()));
        }
        Ok(Self { lock, listener, store, client, config: Arc::new(config), clock })
    }

    /// The database.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The settings as they are in force.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }
}

/// A running server. Dropped, it is gone as if it had crashed; [`App::stop`] ends it in order.
#[derive(Debug)]
pub struct App<E> {
    bridge: Bridge,
    worker: Arc<Worker<E>>,
    board: Board,
    open_pulls: watch::Sender<OpenPulls>,
    /// Everything that looks, decides and executes.
    work: JoinSet<()>,
    /// The server and the outbox, which end last.
    edges: JoinSet<()>,
    stop_work: CancellationToken,
    halt_runs: CancellationToken,
    stop_edges: CancellationToken,
    stop_pages: CancellationToken,
    lock: File,
}

impl<E> Drop for App<E> {
    fn drop(&mut self) {
        self.worker.abort();
        // Closing alone would not do while a child that is just being started still has the file open.
        let _ = self.lock.unlock();
    }
}

impl<E: Executor> App<E> {
    /// Starts everything.
    ///
    /// # Errors
    /// If the database fails during recovery.
    pub async fn start(ground: Ground, executor: E) -> Result<Self, StartError> {
        let Ground { lock, listener, store, client, config, clock } = ground;
        let (journal, _) = Journal::start(store.clone());
        let (signals, news, board) = (Signals::default(), News::default(), Board::default());
        let (enrolment, _) = watch::channel(None);
        let bridge = Bridge { store, journal, client, config, clock, signals, news, enrolment };
        let [stop_work, halt_runs, stop_edges, stop_pages] = std::array::from_fn(|_| CancellationToken::new());
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let worker = Worker::new(bridge.clone(), Arc::new(executor), &host, stop_work.clone(), halt_runs.clone());
        // Leases of an earlier life end, and what it left is removed, before anything new is claimed.
        recover(&bridge, &worker).await?;

        let mut app = Self {
            bridge,
            worker,
            board,
            open_pulls: watch::channel(OpenPulls::default()).0,
            work: JoinSet::new(),
            edges: JoinSet::new(),
            stop_work,
            halt_runs,
            stop_edges,
            stop_pages,
            lock,
        };
        let pages = app.pages()?;
        app.start_work();
        app.start_edges(listener, pages);
        Ok(app)
    }

    fn start_work(&mut self) {
        let frame = self.frame(&self.stop_work);
        let signals = self.bridge.signals.clone();
        let config = self.bridge.config.clone();

        let bridge = self.bridge.clone();
        let known = Arc::new(tokio::sync::Mutex::new(enrol::Known::default()));
        let open_pulls = self.open_pulls.clone();
        let tell = move |found: pulls::OpenPulls| drop(open_pulls.send_replace(Arc::new(shown(found))));
        let all_pulls = pulls::Pulls::new(tell);
        let pulls = all_pulls.clone();
        let pass = move || {
            let (bridge, known, pulls) = (bridge.clone(), known.clone(), pulls.clone());
            async move { enrol::pass(&bridge, &mut *known.lock().await, &pulls).await }
        };
        self.work.spawn(reconcile::run(frame.clone(), "enrol", signals.enrol.clone(), config.forge.enrol_every, pass));

        let bridge = self.bridge.clone();
        let pass = move || {
            let (bridge, pulls) = (bridge.clone(), all_pulls.clone());
            async move { pulls::pass(&bridge, &pulls).await }
        };
        let signal = signals.pulls.signal();
        self.work.spawn(reconcile::run(frame.clone(), "pulls", signal, config.forge.enrol_every, pass));

        let bridge = self.bridge.clone();
        let pass = move || {
            let bridge = bridge.clone();
            async move { poll::pass(&bridge).await }
        };
        self.work.spawn(reconcile::run(frame.clone(), "poll", signals.poll.clone(), config.forge.poll_every, pass));

        let bridge = self.bridge.clone();
        let pass = move || {
            let bridge = bridge.clone();
            async move { process::pass(&bridge).await }
        };
        self.work.spawn(reconcile::run(frame.clone(), "decide", signals.deliveries.clone(), LOOK, pass));

        let worker = self.worker.clone();
        let pass = move || {
            let worker = worker.clone();
            async move { worker.pass().await }
        };
        self.work.spawn(reconcile::run(frame.clone(), "queue", signals.queue, LOOK, pass));

        let (bridge, worker) = (self.bridge.clone(), self.worker.clone());
        let pass = move || {
            let (bridge, worker) = (bridge.clone(), worker.clone());
            async move { recover(&bridge, &worker).await.map(|()| Next::Idle).map_err(|error| error.to_string()) }
        };
        self.work.spawn(reconcile::run(frame, "recover", Signal::default(), RECOVERY, pass));
    }

    /// The pages, with what they may ask for.
    fn pages(&self) -> Result<WebState, StartError> {
        let config = &self.bridge.config;
        let token =
            |right| move |(name, token): &(String, _)| AccessToken::new(name.clone(), secret_text(token), right);
        let acting = config.web.act_tokens.iter().map(token(Right::Act));
        let tokens = acting.chain(config.web.read_tokens.iter().map(token(Right::Read))).collect();
        let settings = web::Settings {
            public_url: config.server.public_url.clone(),
            title: config.web.title.clone(),
            public_reading: config.web.public,
            forge_url: url::Url::parse(&config.forge.url).ok(),
            slots: config.runs.slots,
            tokens,
            session_key: session_key(config.web.session_key.as_ref()),
            viewers: config.web.viewers,
        };
        let login = login::AtForge::of(config).map_err(StartError::Edge)?;
        let actions = Arc::new(actions::FromPages(self.bridge.clone()));
        let (store, clock) = (self.bridge.store.clone(), self.bridge.clock.clone());
        let runs_dir = config.runs.dir.join("runs");
        let (open_pulls, stop) = (self.open_pulls.subscribe(), self.stop_pages.clone());
        let board = self.board.clone();
        Ok(WebState::new(store, runs_dir, settings, actions, clock).with(|parts| {
            parts.open_pulls = open_pulls;
            parts.reconcilers = Arc::new(move || reconcilers(&board));
            parts.stop = stop;
            if let Some(login) = login {
                parts.login = Some(Arc::new(login));
            }
        }))
    }

    fn start_edges(&mut self, listener: TcpListener, pages: WebState) {
        self.edges.spawn(publish(self.frame(&self.stop_edges), self.bridge.clone()));
        let router = web::router(pages).merge(intake::router(self.bridge.clone()));
        let limits = listen::Limits::with_viewers(self.bridge.config.web.viewers);
        self.edges.spawn(listen::serve(listener, router, limits, self.stop_pages.clone()));
    }

    fn frame(&self, stop: &CancellationToken) -> Frame {
        let clock = self.bridge.clock.clone();
        Frame { board: self.board.clone(), news: self.bridge.news.clone(), clock, stop: stop.clone() }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.bridge.config.server.listen
    }

    /// What the parts share.
    #[must_use]
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// The executor.
    #[must_use]
    pub fn executor(&self) -> &E {
        self.worker.executor()
    }

    /// How the reconcilers are doing.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Ends in order: runs get the grace, then they are torn down and queued again.
    pub async fn stop(mut self) {
        self.stop_pages.cancel();
        self.stop_work.cancel();
        let ended = self.worker.ended();
        tokio::pin!(ended);
        if tokio::time::timeout(self.bridge.config.server.grace, &mut ended).await.is_err() {
            self.halt_runs.cancel();
            ended.await;
        }
        while self.work.join_next().await.is_some() {}
        self.bridge.signals.publish.wake();
        self.stop_edges.cancel();
        let edges = async { while self.edges.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, edges).await.is_err() {
            tracing::warn!("the forge has not got everything; the rest is sent after the next start");
        }
        self.bridge.store.close().await;
    }
}

/// Open pull requests as the pages take them.
fn shown(found: pulls::OpenPulls) -> std::collections::BTreeMap<String, Vec<OpenPull>> {
    let pulls =
        |pulls: Vec<(i64, String)>| pulls.into_iter().map(|(number, title)| OpenPull { number, title }).collect();
    found.into_iter().map(|(name, of_repo)| (name, pulls(of_repo))).collect()
}

/// The reconcilers as the pages take them.
fn reconcilers(board: &Board) -> Vec<Reconciler> {
    let view = |(name, status): (&'static str, reconcile::Status)| Reconciler {
        name,
        passes: status.passes,
        last_well: status.last_well,
        since: status.since,
        error: status.error,
        failures: status.failures,
    };
    board.all().into_iter().map(view).collect()
}

/// What signs sessions: made of the configured secret, or new each time.
fn session_key(secret: Option<&SecretValue>) -> SessionKey {
    use sha2::{Digest, Sha256};
    SessionKey::new(secret.map_or_else(rand::random, |secret| Sha256::digest(secret.expose().as_bytes()).into()))
}

fn secret_text(secret: &SecretValue) -> &str {
    secret.expose()
}

/// Compares rows and stacks once, and does what follows.
async fn recover<E: Executor>(bridge: &Bridge, worker: &Worker<E>) -> Result<(), StoreError> {
    // Stacks before rows: a stack that is seen has had its row for longer than that.
    let deployed = worker.executor().deployed().await.unwrap_or_else(|why| {
        tracing::warn!("what is deployed cannot be told: {why}");
        Vec::new()
    });
    let mut connection = bridge.store.read().await?;
    let mut stacks = Vec::with_capacity(deployed.len());
    for run_id in deployed {
        let run_number = attempts::run_of(&mut connection, &run_id).await?;
        stacks.push(StackSeen { name: run_id.to_string(), run_id, run_number });
    }
    let rows = runs::open(&mut connection).await?;
    drop(connection);
    let now = bridge.clock.now();
    let actions = recover::plan(&rows, &stacks, &worker.holders(), &[], &bridge.config.queue(), now);
    let state = bridge.config.state();
    // What a killed attempt has on the disk beside its evidence; a lock that is held is left alone.
    state.sweep_work();
    for lease in rows.iter().filter_map(|row| row.lease.as_ref()) {
        if actions.iter().any(|action| action.ends_lease(&lease.token)) {
            state.forget(&lease.run_id);
        }
    }
    if actions.is_empty() {
        return Ok(());
    }
    let done = recover::execute(&bridge.store, &actions, &Remove(worker.executor()), now).await?;
    for (stack, why) in &done.stuck {
        tracing::warn!("{stack} could not be removed: {why}");
    }
    tracing::info!("recovery: {} removed, queued again {:?}, ended {:?}", done.reaped, done.requeued, done.ended);
    bridge.signals.queue.wake();
    bridge.signals.publish.wake();
    Ok(())
}

/// Removes through the executor.
struct Remove<'e, E>(&'e E);

impl<E: Executor> Reaper for Remove<'_, E> {
    async fn reap(&self, stack: &StackSeen) -> Result<(), String> {
        self.0.reap(&stack.run_id).await
    }
}

/// What runs mean becomes what the forge shows.
async fn publish(frame: Frame, bridge: Bridge) {
    let render = Pages::at(&bridge.config.server.public_url);
    let line = Arc::new(Mutex::new(Line::default()));
    let signal = bridge.signals.publish.clone();
    let pass = move || {
        let (bridge, render, line) = (bridge.clone(), render.clone(), line.clone());
        async move {
            let text = |error: StoreError| error.to_string();
            refresh(&bridge.store, &render, bridge.config.runs.slots, bridge.clock.now()).await.map_err(text)?;
            let next = outbox::next_due(&mut *bridge.store.read().await.map_err(text)?).await.map_err(text)?;
            let Some(next) = next else { return Ok(Next::Idle) };
            let now = bridge.clock.now();
            let mut known = std::mem::take(&mut *line.lock().unwrap_or_else(PoisonError::into_inner));
            let wait = known.paused_until().unwrap_or(now).max(next);
            if wait > now {
                *line.lock().unwrap_or_else(PoisonError::into_inner) = known;
                return Ok(Next::After(Duration::try_from(wait.duration_since(now)).unwrap_or(LOOK)));
            }
            let forge = Publisher::new(&bridge.client).await.map_err(|error| error.to_string())?;
            let pass = deliver(&bridge.store, &forge, &mut known, now, &mut rand::random::<f64>).await;
            *line.lock().unwrap_or_else(PoisonError::into_inner) = known;
            let pass = pass.map_err(text)?;
            // What was settled may have been all, or the first hundred: another look costs nothing.
            Ok(if pass.settled > 0 || pass.down { Next::Again } else { Next::After(Duration::from_secs(1)) })
        }
    };
    reconcile::run(frame, "publish", signal, LOOK, pass).await;
}
