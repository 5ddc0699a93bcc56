//! One story: a forge with a pull request of its own, and a server that is started, killed and started again.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use forge_sim::{PrRef, Sim};

use crate::common::{self, CC_CI, wait_until};
use crate::watch::{Watch, block};

pub(crate) struct Story {
    pub(crate) sim: Sim,
    pub(crate) pr: PrRef,
    /// The pinned commit.
    pub(crate) head: String,
    repo: String,
    dir: tempfile::TempDir,
    /// Where the server listens: an address of the story's own, and the port that the first start took.
    listen: String,
    server: Option<Child>,
    starts: usize,
}

impl Story {
    /// A forge with the recipe: `alice` maintains it and has opened a pull request, `ccci` is the bot.
    pub(crate) fn of(recipe: &str) -> Self {
        static STORIES: AtomicU32 = AtomicU32::new(1);
        let (story, process) = (STORIES.fetch_add(1, Ordering::Relaxed), std::process::id());
        let repo = format!("recipes/{recipe}");
        let sim = block(Sim::start()).unwrap();
        // So that nothing was pushed just before the comment.
        sim.advance_clock(-600);
        for login in ["alice", "ccci"] {
            sim.user(login).unwrap();
        }
        sim.org("recipes").unwrap();
        let made = sim.repo(&repo).unwrap().seed_git(&common::example(recipe)).unwrap();
        made.collaborator("alice", "write").unwrap().collaborator("ccci", "admin").unwrap();
        let head = sim.push_as("alice", &repo, "readme", &[("README.md", "# Better told\n")]).unwrap();
        let pr = sim.open_pr("alice", &repo, "readme", "Tell it better").unwrap();
        sim.advance_clock(600);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), sim.token("ccci", &["all"]).unwrap()).unwrap();
        std::fs::write(dir.path().join("secret"), format!("{process:016x}{story:016x}")).unwrap();
        // While a killed server is away, nobody else can have its address.
        let listen = format!("127.{}.{}.{}:0", process % 250 + 1, story / 250 + 101, story % 250 + 1);
        Self { sim, pr, head, repo, dir, listen, server: None, starts: 0 }
    }

    /// Starts the server and waits until it serves and has its hook.
    pub(crate) fn start(&mut self) {
        self.start_with("");
    }

    /// As [`Self::start`], with more lines for `[runs]`.
    pub(crate) fn start_with(&mut self, runs: &str) {
        assert!(self.server.is_none());
        self.starts += 1;
        let config = self.write_config(runs);
        let child = Command::new(CC_CI)
            .args(["serve", "--config", &config])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.log(self.starts)).unwrap())
            .spawn();
        self.server = Some(child.unwrap());
        let mut address = None;
        wait_until("the server serves", || {
            assert!(self.lives(), "the server has ended:\n{}", self.journal());
            // Only when the line is whole: it is written in pieces.
            let journal = self.journal();
            let line =
                journal.split_inclusive('\n').find(|line| line.contains("cc-ci serves ") && line.ends_with('\n'));
            address = line.and_then(|line| line.trim_end().rsplit(' ').next()).map(str::to_owned);
            address.is_some()
        });
        self.listen = address.unwrap();
        if self.starts == 1 {
            wait_until("the server has made its hook", || self.journal().contains("made hook"));
        }
    }

    fn write_config(&self, runs: &str) -> String {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        // What other runs of the machine take is none of this story's business, so no room is asked for.
        let config = format!(
            "[forge]\nurl = {:?}\ntoken_file = {:?}\nwebhook_secret_files = [{:?}]\nrepositories = [{:?}]\n\
             [server]\nlisten = {:?}\ngrace = \"0s\"\n[tests]\nsource = {:?}\n\
             [runs]\ndir = {:?}\nscreenshot = false\ndisk_floor_mb = 100\nmemory_mb = 1\n{runs}",
            self.sim.url(),
            at("token"),
            at("secret"),
            self.repo,
            self.listen,
            common::repo().join("tests-repo").display().to_string(),
            at("state"),
        );
        std::fs::write(at("cc-ci.toml"), config).unwrap();
        at("cc-ci.toml")
    }

    /// SIGKILL: what it was doing stops where it is.
    pub(crate) fn kill(&mut self) {
        let mut child = self.server.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn terminate(&mut self) -> i32 {
        let mut child = self.server.take().unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut ended = None;
        let came = common::came(|| {
            ended = child.try_wait().unwrap();
            ended.is_some()
        });
        if !came {
            child.kill().unwrap();
            panic!("it does not stop:\n{}", self.journal());
        }
        ended.unwrap().code().unwrap()
    }

    /// The same server once more, beside the first: exit code and what it says.
    pub(crate) fn second_server(&self) -> (i32, String) {
        let config = self.dir.path().join("cc-ci.toml").display().to_string();
        let said = common::run(
            Command::new(CC_CI).args(["serve", "--config", &config]).env("CC_CI_SERVER_LISTEN", "127.0.0.1:0"),
        );
        (said.exit, said.err)
    }

    fn lives(&mut self) -> bool {
        self.server.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    fn log(&self, start: usize) -> PathBuf {
        self.dir.path().join(format!("serve-{start}.log"))
    }

    /// What the server has said since its last start.
    pub(crate) fn journal(&self) -> String {
        std::fs::read_to_string(self.log(self.starts)).unwrap()
    }

    /// The maintainer comments.
    pub(crate) fn comment(&self, text: &str) -> i64 {
        self.sim.comment_as("alice", &self.pr, text).unwrap()
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch::at(&self.state())
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// States of the statuses on the pinned commit, in the order in which they were posted.
    pub(crate) fn states(&self) -> Vec<String> {
        self.sim.statuses(&self.head).into_iter().map(|(_, state, _)| state).collect()
    }

    /// The bot's comments.
    pub(crate) fn answers(&self) -> Vec<String> {
        self.sim.comments(&self.pr).into_iter().filter(|(author, _)| author == "ccci").map(|(_, text)| text).collect()
    }

    /// Whether the forge has met a fault.
    pub(crate) fn fault_met(&self) -> bool {
        self.sim.requests().iter().any(|request| request.fault.is_some())
    }

    /// A document of the server's.
    pub(crate) fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.listen);
        block(async {
            let client = cc_ci::http::builder().no_proxy().build().unwrap();
            client.get(url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
        })
    }

    /// What `cc-ci doctor` finds under this name.
    pub(crate) fn doctor(&self, name: &str) -> Vec<serde_json::Value> {
        let config = self.dir.path().join("cc-ci.toml").display().to_string();
        let said = common::cc_ci(["doctor", "--json", "--config", config.as_str()]);
        let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        let checks = found["checks"].as_array().cloned().unwrap_or_default();
        checks.into_iter().filter(|check| check["name"] == name).collect()
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if let Some(mut child) = self.server.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            return;
        }
        // A story that failed leaves nothing on the machine either.
        let keep = PathBuf::from(format!("{}.kept", self.dir.path().display()));
        for run in std::fs::read_dir(self.state().join("runs")).into_iter().flatten().flatten() {
            let name = run.file_name().to_string_lossy().into_owned();
            common::cc_ci(["reap", "--run", name.as_str()]);
        }
        eprintln!("the server's journal:\n{}", self.journal());
        if std::env::var_os("CC_CI_KILL_KEEP").is_some() && std::fs::rename(self.dir.path(), &keep).is_ok() {
            eprintln!("kept: {}", keep.display());
        }
    }
}
