//! The whole `!testme` story, told through nothing but the forge's public API, git and webhooks: on the simulator in three
//! guises and, if one is named, on a real Gitea or Forgejo, so that neither the bridge nor the simulator can be kinder to
//! itself than the truth.
//!
//! For the real one set `CC_CI_TEST_GITEA_URL` and `CC_CI_TEST_GITEA_TOKEN` (a site administrator's, with all scopes). It
//! must deliver to loopback.

use std::time::Duration;

use cc_ci::app::{App, Ground};
use cc_ci::clock::SystemClock;
use cc_ci::config::{Config, Layers};
use cc_ci::forge::model::Repo;
use forge_sim::Flavour;
use reqwest::Method;
use serde_json::{Value, json};

use crate::forge::{Account, Real, SCOPES, Simulated, Stage, World};
use crate::real::{Asking, testme};
use crate::scripted::{Play, Scripted, Swarm};
use crate::world::BOUND;

/// Between two looks at the forge.
const LOOK: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn simulated_gitea() {
    tell(&Simulated::start(Flavour::Gitea).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_old_gitea() {
    tell(&Simulated::start(Flavour::OldGitea).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated_forgejo() {
    tell(&Simulated::start(Flavour::Forgejo).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_forge() {
    match Real::named() {
        Ok(world) => tell(&world).await,
        Err(why) => println!("real forge: did not run, {why}"),
    }
}

async fn tell(world: &dyn World) {
    let stage = Stage::set(world).await;
    let mut story = Story::begin(&stage).await;
    story.nobody_has_asked().await;
    story.who_may_not_and_what_is_no_command().await;
    story.a_maintainer_is_answered().await;
    story.a_newer_commit_inherits_nothing().await;
    story.what_came_while_the_server_was_away_is_found().await;
    story.asked_from_the_command_line().await;
    story.asked_again_and_cancelled().await;
    story.a_strangers_fork_needs_its_commit_named().await;
    story.a_closed_pull_request_starts_nothing().await;
    story.end().await;
    if world.is_kept() {
        stage.clear().await;
    }
    println!("ok      {}: the whole story", world.name());
}

/// A repository with a pull request of its maintainer's, and a server that serves it.
struct Story<'s> {
    stage: &'s Stage<'s>,
    repo: Repo,
    alice: Account,
    bob: Account,
    robot: Account,
    pr: i64,
    head: String,
    swarm: Swarm,
    dir: tempfile::TempDir,
    listen: String,
    app: Option<App<Scripted>>,
    /// The bot's comment about the pull request, once it is there.
    answer: Option<i64>,
    /// Runs that should have begun so far.
    begun: usize,
}

impl<'s> Story<'s> {
    async fn begin(stage: &'s Stage<'s>) -> Self {
        let repo = stage.repo("app").await;
        let (alice, bob) = (stage.user("alice").await, stage.user("bob").await);
        stage.collaborator(&repo, &alice, "write").await;
        let (robot, _) = stage.robot(&repo, "admin").await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), stage.token(&robot, SCOPES).await).unwrap();
        std::fs::write(dir.path().join("secret"), uuid::Uuid::new_v4().to_string()).unwrap();
        stage.push(&alice, &repo, "main", "services: {}\n").await;
        let head = stage.push(&alice, &repo, "upgrade", "services: {} # newer\n").await;
        let pr = stage.open(&alice, &repo, "upgrade").await;
        let swarm = Swarm::default();
        let listen = "127.0.0.1:0".to_owned();
        let mut story =
            Self { stage, repo, alice, bob, robot, pr, head, swarm, dir, listen, app: None, answer: None, begun: 0 };
        story.serve().await;
        story.next_second().await;
        story
    }

    /// Starts the server, from the second time on at the same address, and waits until it has made its hook.
    async fn serve(&mut self) {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let text = format!(
            "[forge]\nurl = {:?}\ntoken_file = {:?}\nwebhook_secret_files = [{:?}]\nrepositories = [{:?}]\n\
             poll_every = \"1h\"\n[server]\nlisten = {:?}\ngrace = \"0s\"\n[runs]\ndir = {:?}\ndisk_floor_mb = 0\n",
            self.stage.world.base(),
            at("token"),
            at("secret"),
            self.repo.full_name,
            self.listen,
            at("state"),
        );
        let config = Config::resolve(&Layers::of(Some(("test.toml", &text)), |_| None).unwrap()).unwrap();
        let ground = Ground::open(config, SystemClock::shared()).await.unwrap();
        let app = App::start(ground, Scripted(self.swarm.clone())).await.unwrap();
        self.listen = app.address().to_string();
        self.app = Some(app);
        let url = format!("http://{}/hooks/gitea", self.listen);
        let hooks = format!("repos/{}/hooks", self.repo.full_name);
        self.until("the server has made its hook", async || {
            let found = self.stage.admin(Method::GET, &hooks, Value::Null).await;
            let ours = found.as_array().unwrap().iter().filter(|hook| hook["config"]["url"] == url.as_str());
            ours.filter(|hook| hook["active"] == true).count() == 1
        })
        .await;
    }

    async fn stop(&mut self) {
        self.app.take().unwrap().stop().await;
    }

    async fn until(&self, what: &str, mut met: impl AsyncFnMut() -> bool) {
        let mut tick = tokio::time::interval(LOOK);
        let waiting = async {
            while !met().await {
                tick.tick().await;
            }
        };
        if tokio::time::timeout(BOUND, waiting).await.is_err() {
            let board = self.app.as_ref().map(|app| app.board().all());
            panic!(
                "{what}: not within {BOUND:?}; comments: {:#?}; reconcilers: {board:#?}",
                self.comments(self.pr).await
            );
        }
    }

    /// Until the forge's clock, which has whole seconds, shows another time than that of what was done last.
    async fn next_second(&self) {
        let begun = cc_ci::clock::now().as_second();
        self.until("the next second", async || cc_ci::clock::now().as_second() > begun).await;
    }

    async fn get(&self, path: &str) -> Value {
        self.stage
            .must(&self.alice.token, Method::GET, &format!("repos/{}/{path}", self.repo.full_name), Value::Null)
            .await
    }

    async fn say(&self, who: &Account, text: &str) -> i64 {
        self.stage.comment(who, &self.repo, self.pr, text).await
    }

    /// Comments as id, author's id and text.
    async fn comments(&self, pr: i64) -> Vec<(i64, i64, String)> {
        let found = self.get(&format!("issues/{pr}/comments")).await;
        let read = |comment: &Value| {
            let text = comment["body"].as_str().unwrap().to_owned();
            (comment["id"].as_i64().unwrap(), comment["user"]["id"].as_i64().unwrap(), text)
        };
        found.as_array().unwrap().iter().map(read).collect()
    }

    /// What the bot wrote below its markers.
    async fn answers(&self, pr: i64) -> Vec<(i64, String)> {
        let ours = self.comments(pr).await.into_iter().filter(|(_, author, _)| *author == self.robot.id);
        ours.filter(|(_, _, text)| text.starts_with("<!-- cc-ci:")).map(|(id, _, text)| (id, text)).collect()
    }

    async fn reactions(&self, comment: i64) -> Vec<String> {
        let found = self.get(&format!("issues/comments/{comment}/reactions")).await;
        let all = found.as_array().cloned().unwrap_or_default();
        let ours = all.iter().filter(|reaction| reaction["user"]["id"] == self.robot.id);
        ours.map(|reaction| reaction["content"].as_str().unwrap().to_owned()).collect()
    }

    async fn until_reaction(&self, comment: i64, content: &str) {
        let what = format!("reaction {content} to comment {comment}");
        self.until(&what, async || self.reactions(comment).await == [content]).await;
    }

    /// States of a commit's statuses, oldest first.
    async fn states(&self, commit: &str) -> Vec<String> {
        let found = self.get(&format!("statuses/{commit}?limit=50")).await;
        let mut all: Vec<(i64, String)> = found
            .as_array()
            .cloned()
            .unwrap_or_default()
            .iter()
            .filter(|status| status["context"] == "cc-ci/testme")
            .map(|status| (status["id"].as_i64().unwrap(), status["status"].as_str().unwrap().to_owned()))
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, state)| state).collect()
    }

    async fn until_state(&self, commit: &str, state: &str) {
        let what = format!("status {state} of {commit}");
        self.until(&what, async || self.states(commit).await.last().is_some_and(|last| last == state)).await;
    }

    /// Waits until the one comment about the pull request holds this, and sees that it is the same one as ever.
    async fn until_answer(&mut self, part: &str) {
        let marker = format!("<!-- cc-ci:pull:{}:{} -->", self.repo.id.0, self.pr);
        let mut ours = Vec::new();
        self.until(&format!("{part} in the answer"), async || {
            ours = self.answers(self.pr).await;
            ours.retain(|(_, text)| text.starts_with(&marker));
            ours.first().is_some_and(|(_, text)| text.contains(part))
        })
        .await;
        assert_eq!(ours.len(), 1, "one comment, edited in place: {ours:#?}");
        assert_eq!(ours[0].0, *self.answer.get_or_insert(ours[0].0), "always the same one");
    }

    /// `cc-ci testme` as somebody: exit code, verdict and page.
    async fn testme(&self, who: &Account, asking: Asking, more: &[&str]) -> (i32, String, String) {
        let forge = (self.stage.world.base(), who.token.as_str());
        let number = self.pr.to_string();
        let args: Vec<&str> = [self.repo.full_name.as_str(), &number].into_iter().chain(more.iter().copied()).collect();
        let (exit, said) = testme(self.dir.path(), forge, asking, &args).await;
        let mut lines = said.lines();
        let mut value = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)).unwrap_or("?").to_owned();
        let (verdict, build) = (value("VERDICT="), value("BUILD="));
        assert_eq!(lines.next(), None, "{said}");
        (exit, verdict, build)
    }

    fn run_page(&self, run: usize) -> String {
        format!("http://{}/runs/{run}", self.listen)
    }

    async fn nobody_has_asked(&mut self) {
        let (exit, verdict, build) = self.testme(&self.alice, Asking::Reads, &[]).await;
        assert_eq!((exit, verdict.as_str(), build.as_str()), (4, "PENDING", ""));
    }

    async fn who_may_not_and_what_is_no_command(&mut self) {
        let stranger = self.say(&self.bob, "!testme").await;
        self.until_reaction(stranger, "-1").await;
        self.until("a hint for the stranger", async || self.answers(self.pr).await.len() == 1).await;
        let near = self.say(&self.alice, "!testmexyz").await;
        self.until_reaction(near, "confused").await;
        let mut silent = Vec::new();
        for text in ["> !testme", "```\r\n!testme\r\n```", "please !testme", "<!-- !testme -->"] {
            silent.push(self.say(&self.alice, text).await);
        }
        let edited = self.say(&self.alice, "I shall think about it").await;
        let path = format!("repos/{}/issues/comments/{edited}", self.repo.full_name);
        self.stage.must(&self.alice.token, Method::PATCH, &path, json!({ "body": "!testme" })).await;
        silent.push(edited);
        // What comes after them has been decided, so they have been, too.
        let again = self.say(&self.alice, "!testme0").await;
        self.until_reaction(again, "confused").await;
        for comment in silent {
            assert_eq!(self.reactions(comment).await, Vec::<String>::new());
        }
        assert!(self.states(&self.head).await.is_empty() && self.swarm.begun().is_empty());
        let (exit, verdict, _) = self.testme(&self.alice, Asking::Reads, &[]).await;
        assert_eq!((exit, verdict.as_str()), (4, "PENDING"), "neither a stranger nor an edit has asked for anything");
    }

    async fn a_maintainer_is_answered(&mut self) {
        self.swarm.will(&self.head, &[Play::Holds]);
        let asked = self.say(&self.alice, "!testme\r\n").await;
        self.until_reaction(asked, "eyes").await;
        self.until_state(&self.head, "pending").await;
        self.until_answer("PENDING, running").await;
        let page = self.run_page(1);
        let seen = self.testme(&self.alice, Asking::Reads, &[]).await;
        assert_eq!(seen, (4, "PENDING".to_owned(), page.clone()));
        self.swarm.let_go();
        self.until_state(&self.head, "success").await;
        self.until_answer(&format!("comment={asked} commit={} run=1 verdict=GREEN", self.head)).await;
        assert_eq!(self.testme(&self.alice, Asking::Reads, &[]).await, (0, "GREEN".to_owned(), page.clone()));
        let anybody = self.testme(&self.bob, Asking::Reads, &[]).await;
        assert_eq!(
            anybody,
            (0, "GREEN".to_owned(), page.clone()),
            "whoever may read the pull request may read the verdict"
        );
        // A stranger's wish is none, and hides nobody's verdict.
        let stranger = self.say(&self.bob, "!testme").await;
        self.until_reaction(stranger, "-1").await;
        assert_eq!(self.testme(&self.alice, Asking::Reads, &[]).await, (0, "GREEN".to_owned(), page));
        self.begun = 1;
        assert_eq!(self.swarm.begun().len(), self.begun);
    }

    async fn a_newer_commit_inherits_nothing(&mut self) {
        self.head = self.stage.push(&self.alice, &self.repo, "upgrade", "services: {} # newer still\n").await;
        let client = self.stage.client(&self.alice.token);
        self.stage.agreed(&client, self.repo.id, self.pr, &self.head).await;
        let (exit, verdict, _) = self.testme(&self.alice, Asking::Reads, &[]).await;
        assert_eq!((exit, verdict.as_str()), (4, "PENDING"));
        self.next_second().await;
    }

    async fn what_came_while_the_server_was_away_is_found(&mut self) {
        self.stop().await;
        let asked = self.say(&self.alice, "!testme").await;
        self.serve().await;
        self.until_state(&self.head, "success").await;
        self.until_reaction(asked, "eyes").await;
        self.until_answer(&format!("comment={asked} commit={} run=2 verdict=GREEN", self.head)).await;
        self.begun += 1;
        assert_eq!(self.swarm.begun().len(), self.begun);
    }

    async fn asked_from_the_command_line(&mut self) {
        for who in [self.alice.clone(), self.robot.clone()] {
            let before = self.comments(self.pr).await.len();
            let seen = self.testme(&who, Asking::Posts, &["--wait", "60s"]).await;
            self.begun += 1;
            assert_eq!(seen, (0, "GREEN".to_owned(), self.run_page(self.begun)), "{}", who.login);
            assert_eq!(self.comments(self.pr).await.len(), before + 1, "exactly one was posted");
            assert_eq!(self.swarm.begun().len(), self.begun, "{}", who.login);
        }
    }

    async fn asked_again_and_cancelled(&mut self) {
        self.say(&self.alice, "!retest").await;
        self.begun += 1;
        self.until_answer(&format!("run={} verdict=GREEN", self.begun)).await;
        self.swarm.will(&self.head, &[Play::Holds]);
        self.say(&self.alice, "!testme").await;
        self.begun += 1;
        self.until_answer(&format!("run={} verdict=PENDING", self.begun)).await;
        self.until("it runs", async || !self.swarm.deployed().is_empty()).await;
        let stranger = self.say(&self.bob, "!cancel").await;
        self.until_reaction(stranger, "-1").await;
        assert_eq!(self.swarm.deployed().len(), 1);
        let cancel = self.say(&self.alice, "!cancel").await;
        self.until_reaction(cancel, "eyes").await;
        self.until_state(&self.head, "error").await;
        self.until_answer("cancelled by").await;
        let seen = self.testme(&self.alice, Asking::Reads, &[]).await;
        assert_eq!(seen, (3, "ERROR".to_owned(), self.run_page(self.begun)));
        assert!(self.swarm.deployed().is_empty());
    }

    async fn a_strangers_fork_needs_its_commit_named(&mut self) {
        let fork = self.stage.fork(&self.repo, &self.bob).await;
        let head = self.stage.push(&self.bob, &fork, "mine", "services: {} # bob's\n").await;
        let pr = self.stage.open(&self.bob, &self.repo, &format!("{}:mine", self.bob.login)).await;
        let client = self.stage.client(&self.alice.token);
        self.stage.agreed(&client, self.repo.id, pr, &head).await;
        self.next_second().await;
        let unnamed = self.stage.comment(&self.alice, &self.repo, pr, "!testme").await;
        self.until_reaction(unnamed, "confused").await;
        self.until("the hint names the commit", async || {
            self.answers(pr).await.iter().any(|(_, text)| text.contains(&format!("!testme {}", &head[..12])))
        })
        .await;
        let named = self.stage.comment(&self.alice, &self.repo, pr, &format!("!testme {}", &head[..12])).await;
        self.until_reaction(named, "eyes").await;
        self.until_state(&head, "success").await;
        self.begun += 1;
        assert_eq!(self.swarm.begun().last(), Some(&head));
    }

    async fn a_closed_pull_request_starts_nothing(&mut self) {
        let path = format!("repos/{}/pulls/{}", self.repo.full_name, self.pr);
        self.stage.must(&self.alice.token, Method::PATCH, &path, json!({ "state": "closed" })).await;
        let asked = self.say(&self.alice, "!testme").await;
        self.until_reaction(asked, "confused").await;
        let (exit, verdict, _) = self.testme(&self.robot, Asking::Posts, &["--wait", "60s"]).await;
        assert_eq!((exit, verdict.as_str()), (3, "ERROR"), "a refusal is an answer");
        assert_eq!(self.states(&self.head).await.last().map(String::as_str), Some("error"));
    }

    async fn end(mut self) {
        self.until_answer("").await;
        self.stop().await;
        assert_eq!(self.swarm.begun().len(), self.begun, "nothing else has been started by anything");
        assert_eq!(self.swarm.mistakes(), Vec::<String>::new());
    }
}
