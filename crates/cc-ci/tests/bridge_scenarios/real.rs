//! The same stories for real, as an operator and a maintainer would live them: the program `cc-ci serve`, the real
//! harness on the machine's swarm, `custom-html-tiny`, and `testme-on-pr.sh`.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the tests are the user: they start the program"
)]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use forge_sim::Sim;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::common;
use crate::world::REPO;

/// A run of the recipe takes half a minute; the machine may be busy with others.
const PATIENCE: Duration = Duration::from_secs(400);

struct Server {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStderr>>,
}

impl Server {
    async fn start(dir: &Path, sim: &Sim) -> Self {
        let at = |name: &str| dir.join(name).display().to_string();
        std::fs::write(at("token"), sim.token("ccci", &["all"]).unwrap()).unwrap();
        std::fs::write(at("secret"), "0123456789abcdef0123456789abcdef").unwrap();
        let config = format!(
            "[forge]\nurl = {:?}\ntoken_file = {:?}\nwebhook_secret_files = [{:?}]\nrepositories = [{REPO:?}]\n\
             [server]\nlisten = \"127.0.0.1:0\"\n[tests]\nsource = {:?}\n[runs]\ndir = {:?}\nscreenshot = false\n\
             disk_floor_mb = 100\n",
            sim.url(),
            at("token"),
            at("secret"),
            common::repo().join("tests-repo").display().to_string(),
            at("state"),
        );
        std::fs::write(at("cc-ci.toml"), config).unwrap();
        let mut child = Command::new(common::CC_CI)
            .args(["serve", "--config", &at("cc-ci.toml")])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut server = Self { child, lines };
        server.says("made hook").await;
        server
    }

    /// Reads its journal until a line holds this.
    async fn says(&mut self, text: &str) {
        let mut seen = Vec::new();
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                let found = line.contains(text);
                seen.push(line);
                if found {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(PATIENCE, reading).await;
        assert!(found == Ok(true), "waited for {text:?}:\n{}", seen.join("\n"));
    }

    /// SIGTERM, and its exit code.
    async fn stop(mut self) -> i32 {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        // Its journal is read to the end, so that it never waits for us.
        let ended = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                eprintln!("{line}");
            }
            self.child.wait().await.unwrap()
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("it stops").code().unwrap()
    }
}

/// What `testme-on-pr.sh` is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// `POST=1`
    Posts,
    /// `POST=0`
    Reads,
}

/// `testme-on-pr.sh` on somebody's machine, with a forge's address and his token: exit code and what it printed.
pub(crate) async fn testme(dir: &Path, forge: (&str, &str), asking: Asking, args: &[&str]) -> (i32, String) {
    let (url, token) = forge;
    let file = dir.join("somebodys-token");
    std::fs::write(&file, token).unwrap();
    let output = Command::new(common::repo().join("bin/testme-on-pr.sh"))
        .args(args)
        .env("CC_CI", common::CC_CI)
        .env("POST", if asking == Asking::Posts { "1" } else { "0" })
        .env("CC_CI_FORGE_URL", url)
        .env("CC_CI_FORGE_TOKEN_FILE", &file)
        .stdin(Stdio::null())
        .output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn v1_and_v2_on_the_real_swarm() {
    if !tokio::task::spawn_blocking(common::docker).await.unwrap() {
        return;
    }
    let sim = Sim::start().await.unwrap();
    sim.advance_clock(-600);
    for login in ["alice", "ccci"] {
        sim.user(login).unwrap();
    }
    sim.org("recipes").unwrap();
    let repo = sim.repo(REPO).unwrap().seed_git(&common::example("custom-html-tiny")).unwrap();
    repo.collaborator("alice", "write").unwrap().collaborator("ccci", "admin").unwrap();
    let head = sim.push_as("alice", REPO, "readme", &[("README.md", "# custom-html-tiny, better told\n")]).unwrap();
    let pr = sim.open_pr("alice", REPO, "readme", "Tell it better").unwrap();
    sim.advance_clock(600);
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start(dir.path(), &sim).await;
    let token = sim.token("alice", &["all"]).unwrap();
    let forge = (sim.url(), token.as_str());

    let (exit, said) = testme(dir.path(), forge, Asking::Reads, &[REPO, "1"]).await;
    assert_eq!((exit, said.as_str()), (4, "VERDICT=PENDING\nBUILD=\n"), "nobody has asked yet");

    // V1: a maintainer comments, and is answered.
    sim.comment_as("alice", &pr, "!testme").unwrap();
    server.says("run 1 is over: GREEN, level 5").await;
    let (exit, said) = testme(dir.path(), forge, Asking::Reads, &[REPO, "1", "--wait", "60s"]).await;
    let states: Vec<String> = sim.statuses(&head).into_iter().map(|(_, state, _)| state).collect();
    assert_eq!(
        (states.first().map(String::as_str), states.last().map(String::as_str)),
        (Some("pending"), Some("success"))
    );
    let ours: Vec<String> =
        sim.comments(&pr).into_iter().filter(|(author, _)| author == "ccci").map(|(_, text)| text).collect();
    assert_eq!(ours.len(), 1, "{ours:#?}");
    assert!(ours[0].contains("GREEN** · level 5 of 5"), "{}", ours[0]);
    assert_eq!(exit, 0, "{said}");
    assert!(
        said.starts_with("VERDICT=GREEN\nBUILD=http://127.0.0.1:") && said.trim_end().ends_with("/runs/1"),
        "{said}"
    );

    // V2: one more `!testme`, whose verdict is its own.
    let (exit, said) = testme(dir.path(), forge, Asking::Posts, &[REPO, "1", "--wait", "6m"]).await;
    assert_eq!(exit, 0, "{said}");
    assert!(said.trim_end().ends_with("/runs/2"), "{said}");
    let asked = sim.comments(&pr).into_iter().filter(|(author, text)| author == "alice" && text == "!testme").count();
    assert_eq!(asked, 2, "exactly one was posted");
    let page = said.lines().find_map(|line| line.strip_prefix("BUILD=")).unwrap().to_owned();
    let shown = cc_ci::http::builder().build().unwrap().get(page).send().await.unwrap();
    assert_eq!(shown.status(), 200);
    assert!(shown.text().await.unwrap().contains("GREEN"));

    assert_eq!(server.stop().await, 0);
    let left = tokio::task::spawn_blocking(move || {
        let runs = std::fs::read_dir(dir.path().join("state/runs")).unwrap();
        let left: usize =
            runs.map(|entry| common::inventory(None, entry.unwrap().file_name().to_str().unwrap()).len()).sum();
        (dir, left)
    });
    assert_eq!(left.await.unwrap().1, 0, "nothing is left on the swarm");
}
