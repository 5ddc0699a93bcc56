//! The words that the scenarios are told in: a forge with a recipe, its people, and a server that can be killed.
//!
//! The forge's clock runs ten minutes late while the stage is set, so that nothing was pushed just before a comment.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cc_ci::app::{App, Ground, StartError};
use cc_ci::clock::SystemClock;
use cc_ci::config::{Config, Layers};
use cc_ci::store::Store;
use cc_ci::store::{cursors, deliveries};
use forge_sim::{PrRef, Sim};
use serde_json::json;

use crate::scripted::{Scripted, Swarm};

pub(crate) const REPO: &str = "recipes/custom-html-tiny";
/// Long enough for any step on a busy machine; reached only when something is wrong.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) swarm: Swarm,
    dir: tempfile::TempDir,
    listen: String,
    /// More lines of the section `[forge]`.
    pub(crate) forge: String,
    more: String,
    /// Settings that go before those of the file.
    set: Vec<(&'static str, String)>,
    server: Option<App<Scripted>>,
}

impl World {
    /// A forge with `recipes/custom-html-tiny`: `alice` maintains it, `bob` is a stranger, `ccci` is the bot. The server runs.
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// As [`Self::new`], with more configuration.
    pub(crate) async fn with(more: &str) -> Self {
        let mut world = Self::without_server(more).await;
        world.start().await;
        world
    }

    pub(crate) async fn without_server(more: &str) -> Self {
        let sim = Sim::start().await.unwrap();
        sim.advance_clock(-600);
        for login in ["alice", "bob", "ccci"] {
            sim.user(login).unwrap();
        }
        sim.org("recipes").unwrap();
        let repo = sim.repo(REPO).unwrap();
        repo.collaborator("alice", "write").unwrap().collaborator("ccci", "admin").unwrap();
        sim.push_as("alice", REPO, "main", &[("compose.yml", "services: {}\n")]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let token = sim.token("ccci", &["all"]).unwrap();
        std::fs::write(dir.path().join("token"), token).unwrap();
        // An address and a secret of its own: while a killed server is away, nobody else can have its port, and no
        // delivery of one story can be taken for another's.
        static STORIES: AtomicU32 = AtomicU32::new(1);
        let (story, process) = (STORIES.fetch_add(1, Ordering::Relaxed), std::process::id());
        std::fs::write(dir.path().join("secret"), format!("{process:016x}{story:016x}")).unwrap();
        let world = Self {
            sim,
            swarm: Swarm::default(),
            dir,
            listen: format!("127.{}.{}.{}:0", process % 250 + 1, story / 250 + 1, story % 250 + 1),
            forge: String::new(),
            more: more.to_owned(),
            set: Vec::new(),
            server: None,
        };
        world.sim.advance_clock(600);
        world
    }

    /// Sets an environment variable for the server alone.
    pub(crate) fn set(mut self, variable: &'static str, value: impl Into<String>) -> Self {
        self.set.push((variable, value.into()));
        self
    }

    /// Starts the server; after the first time at the same address, so that the hook still leads to it.
    pub(crate) async fn start(&mut self) {
        let ground =
            tokio::time::timeout(BOUND, self.ground()).await.expect("the killed server's port and lock are free");
        let app = App::start(ground, Scripted(self.swarm.clone())).await.unwrap();
        self.listen = app.address().to_string();
        self.server = Some(app);
        // The first look at the comments has been made, so that what follows comes by webhook.
        let mut news = self.app().bridge().news.listen();
        let looked = async {
            loop {
                let repo = self.app().bridge().enrolled().and_then(|known| known.repositories.keys().next().copied());
                if let Some(repo) = repo {
                    let mut connection = self.store().read().await.unwrap();
                    if cursors::get(&mut connection, &format!("comments:{repo}")).await.unwrap().is_some() {
                        return;
                    }
                }
                news.changed().await.unwrap();
            }
        };
        tokio::time::timeout(BOUND, looked).await.expect("the server has looked at the comments");
    }

    /// Waits until nobody holds the port and the lock of a server that was killed: a child that another story is just
    /// starting has copies of both until it becomes its program. A real server's are gone with its process.
    async fn ground(&self) -> Ground {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            tick.tick().await;
            match Ground::open(self.config(), SystemClock::shared()).await {
                Err(StartError::Running(_)) => {}
                Err(StartError::Listen { source, .. }) if source.kind() == ErrorKind::AddrInUse => {}
                opened => return opened.unwrap(),
            }
        }
    }

    pub(crate) fn config(&self) -> Config {
        let at = |name: &str| self.at(name);
        let text = format!(
            "[forge]\nurl = {:?}\ntoken_file = {:?}\nwebhook_secret_files = [{:?}]\nrepositories = [{REPO:?}]\n\
             poll_every = \"1h\"\n{}[server]\nlisten = {:?}\ngrace = \"0s\"\n[runs]\ndir = {:?}\ndisk_floor_mb = 0\n{}",
            self.sim.url(),
            at("token"),
            at("secret"),
            self.forge,
            self.listen,
            at("state"),
            self.more,
        );
        let env = |name: &str| self.set.iter().find(|(set, _)| *set == name).map(|(_, value)| value.clone());
        Config::resolve(&Layers::of(Some(("test.toml", &text)), env).unwrap()).unwrap()
    }

    /// Adds to the configuration of the next server.
    pub(crate) fn configure(&mut self, more: &str) {
        self.more.push_str(more);
    }

    /// Where the server listens.
    pub(crate) fn listen(&self) -> &str {
        &self.listen
    }

    /// A file of this world.
    pub(crate) fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Kills the server: everything it was doing stops where it is.
    pub(crate) fn kill(&mut self) {
        drop(self.server.take());
    }

    pub(crate) async fn stop(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    pub(crate) fn app(&self) -> &App<Scripted> {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.app().bridge().store
    }

    /// Opens a pull request of the maintainer's that changes a file, and gives it with its head.
    pub(crate) fn pull_request(&self, branch: &str) -> (PrRef, String) {
        self.sim.advance_clock(-600);
        let text = format!("services: {{}} # {branch}\n");
        let head = self.sim.push_as("alice", REPO, branch, &[("compose.yml", &text)]).unwrap();
        let pr = self.sim.open_pr("alice", REPO, branch, &format!("Change {branch}")).unwrap();
        self.sim.advance_clock(600);
        (pr, head)
    }

    /// The maintainer pushes to a branch, some minutes ago.
    pub(crate) fn push(&self, branch: &str, text: &str) -> String {
        self.sim.advance_clock(-300);
        let head = self.sim.push_as("alice", REPO, branch, &[("compose.yml", text)]).unwrap();
        self.sim.advance_clock(300);
        head
    }

    pub(crate) fn comment(&self, login: &str, pr: &PrRef, text: &str) -> i64 {
        self.sim.comment_as(login, pr, text).unwrap()
    }

    /// Waits until the server has brought something about.
    pub(crate) async fn until(&self, what: &str, mut met: impl FnMut() -> bool) {
        let mut news = self.app().bridge().news.listen();
        let waiting = async {
            while !met() {
                news.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(BOUND, waiting).await.is_err() {
            let prs = PrRef { repo: REPO.to_owned(), number: 1 };
            let seen = self.sim.comments(&prs);
            panic!("{what}: not within {BOUND:?}; comments: {seen:#?}; reconcilers: {:#?}", self.app().board().all());
        }
    }

    /// Waits until the server has told of this many things more.
    pub(crate) async fn steps(&self, count: usize) {
        let mut news = self.app().bridge().news.listen();
        let mut steps = async || {
            for _ in 0..count {
                news.changed().await.unwrap();
            }
        };
        // A story may be over before so many things have happened.
        let _ = tokio::time::timeout(Duration::from_secs(2), steps()).await;
    }

    /// What the webhooks are signed with.
    pub(crate) fn secret(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("secret")).unwrap()
    }

    /// How many deliveries are undecided.
    pub(crate) async fn undecided(&self) -> i64 {
        deliveries::backlog(&mut self.store().read().await.unwrap()).await.unwrap()
    }

    /// Waits until so many deliveries are undecided.
    pub(crate) async fn until_undecided(&self, count: i64) {
        let mut news = self.app().bridge().news.listen();
        let waiting = async {
            while self.undecided().await != count {
                news.changed().await.unwrap();
            }
        };
        tokio::time::timeout(BOUND, waiting).await.expect("deliveries come, or are decided");
    }

    /// Waits until the reconciler of this name has done this many passes more.
    pub(crate) async fn passes(&self, name: &str, count: u64) {
        let done = || self.app().board().all().get(name).map_or(0, |status| status.passes);
        let before = done();
        self.until(&format!("{count} passes of {name}"), || done() >= before + count).await;
    }

    /// Waits until every delivery that was sent has been decided.
    pub(crate) async fn decided(&self) {
        self.sim.settle().await;
        self.until_undecided(0).await;
    }

    /// Waits until the newest status of a commit is `state`.
    pub(crate) async fn until_status(&self, commit: &str, state: &str) {
        let what = format!("status {state} on {commit}");
        self.until(&what, || self.states(commit).last().is_some_and(|last| last == state)).await;
    }

    /// Waits until nothing is wanted of the forge any more.
    pub(crate) async fn published(&self) {
        let mut news = self.app().bridge().news.listen();
        let waiting = async {
            loop {
                let mut connection = self.store().read().await.unwrap();
                let due = cc_ci::store::outbox::next_due(&mut connection).await.unwrap();
                let unpublished = cc_ci::store::runs::unpublished(&mut connection, 1).await.unwrap();
                drop(connection);
                if due.is_none() && unpublished.is_empty() {
                    return;
                }
                news.changed().await.unwrap();
            }
        };
        tokio::time::timeout(BOUND, waiting).await.expect("the outbox is empty");
    }

    /// States of the statuses that were posted for a commit, in order.
    pub(crate) fn states(&self, commit: &str) -> Vec<String> {
        self.sim
            .statuses(commit)
            .into_iter()
            .map(|(context, state, _)| {
                assert_eq!(context, "cc-ci/testme");
                state
            })
            .collect()
    }

    /// The bot's comments.
    pub(crate) fn answers(&self, pr: &PrRef) -> Vec<String> {
        self.sim.comments(pr).into_iter().filter(|(author, _)| author == "ccci").map(|(_, text)| text).collect()
    }

    /// The bot's reactions to a comment.
    pub(crate) fn reactions(&self, comment: i64) -> Vec<String> {
        let path = format!("repos/{REPO}/issues/comments/{comment}/reactions");
        let (status, body) = self.sim.call("ccci", "GET", &path, json!({})).unwrap();
        assert_eq!(status, 200, "{body}");
        let all = body.as_array().cloned().unwrap_or_default();
        let ours = all.iter().filter(|reaction| reaction["user"]["login"] == "ccci");
        ours.map(|reaction| reaction["content"].as_str().unwrap().to_owned()).collect()
    }
}
