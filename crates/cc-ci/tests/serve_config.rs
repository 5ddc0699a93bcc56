//! `cc-ci serve --check`, its configuration from file, environment and secret files, and `cc-ci dev forge`, all as an
//! operator meets them: through the program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the tests are the user")]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use common::{CC_CI, Said, run};
use serde_json::{Value, json};

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:9";

/// A folder with token and secret, and a configuration in it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        place.secret("token", "abc123\n");
        place.secret("webhook", "0123456789abcdef0123456789abcdef\n");
        place
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn secret(&self, name: &str, text: &str) {
        std::fs::write(self.at(name), text).unwrap();
        std::fs::set_permissions(self.at(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A sound configuration for a forge, with one piece replaced and lines put at the end. Lines 1 to 9 are as here.
    fn config(&self, forge: &str, (old, new): (&str, &str), more: &str) -> String {
        let text = format!(
            "[forge]\nurl = {forge:?}\ntoken_file = {:?}\nwebhook_secret_files = [{:?}]\nrepositories = [\"recipes/x\"]\n\
             [server]\nlisten = \"127.0.0.1:0\"\n[runs]\ndir = {:?}\n{more}",
            self.at("token"),
            self.at("webhook"),
            self.at("state"),
        );
        assert!(text.contains(old));
        std::fs::write(self.at("cc-ci.toml"), text.replace(old, new)).unwrap();
        self.at("cc-ci.toml")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(CC_CI);
        command.args(args).env_clear().env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.dir.path());
        command
    }

    fn check(&self, config: &str) -> Said {
        let said = run(&mut self.command(&["serve", "--check", "--config", config]));
        common::no_panic(&said.err);
        said
    }
}

#[test]
fn each_mistake_is_told_with_its_line_and_what_to_write() {
    let place = Place::new();
    let token_file = format!("{:?}", place.at("token"));
    let webhook_files = format!("[{:?}]", place.at("webhook"));
    let table: &[((&str, &str), &str, &str)] = &[
        (("", ""), "slot = 3\n", "cc-ci.toml:10: there is no setting `runs.slot` (did you mean `runs.slots`?)"),
        (("", ""), "slots = \"3\"\n", "cc-ci.toml:10: `runs.slots` must be a number, as in `2`"),
        (("", ""), "slots = 0\n", "cc-ci.toml:10: `runs.slots` is 0; it must be from 1 to 1000"),
        (("", ""), "stall = \"soon\"\n", "cc-ci.toml:10: \"soon\" is no time"),
        (("", ""), "screenshot = 1\n", "cc-ci.toml:10: `runs.screenshot` must be true or false"),
        (("", ""), "slots = 2\nslots = 3\n", "cc-ci.toml:11: "),
        (("", ""), "[runs\n", "cc-ci.toml:10: "),
        (
            ("", ""),
            "[rnus]\nslots = 2\n",
            "cc-ci.toml:11: there is no setting `rnus.slots` (did you mean `runs.slots`?)",
        ),
        (("", ""), "[web]\noauth_client_id = \"x\"\n", "cc-ci.toml:11: web.oauth_client_secret_file is missing"),
        (("[forge]\n", "\n"), "", "cc-ci.toml:2: `url` stands outside of a section"),
        (("\"127.0.0.1:0\"", "\"here\""), "", "cc-ci.toml:7: write an address and a port"),
        (("http://127.0.0.1:9", "git.example.org"), "", "cc-ci.toml:2: write an address such as"),
        (("url = ", "# url = "), "", "forge.url: is not set; set it in /etc/cc-ci/cc-ci.toml or as $CC_CI_FORGE_URL"),
        (("[\"recipes/x\"]", "[\"x\"]"), "", "cc-ci.toml:5: \"x\" is not of the form \"owner/name\""),
        (("[\"recipes/x\"]", "[]"), "", "cc-ci.toml:5: nothing is served"),
        (
            (&token_file, "\"/nonexistent/token\""),
            "",
            "forge.token_file = \"/nonexistent/token\": cannot be read: No such file",
        ),
        ((&webhook_files, "[\"/nonexistent\"]"), "", "forge.webhook_secret_files = \"/nonexistent\": cannot be read"),
        ((&webhook_files, "[]"), "", "cc-ci.toml:4: "),
    ];
    for (replaced, more, want) in table {
        let said = place.check(&place.config(NOBODY, *replaced, more));
        let want = if want.starts_with("cc-ci.toml") {
            format!("{}/{want}", place.dir.path().display())
        } else {
            (*want).to_owned()
        };
        assert!(said.err.starts_with(&format!("error: {want}")), "{want}\n{}", said.err);
        assert_eq!((said.exit, said.out.as_str()), (2, ""), "{want}");
        assert!(said.err.contains("try: `cc-ci serve --print-config` is the manual"), "{}", said.err);
    }
    let said = place.check("/nonexistent/cc-ci.toml");
    assert_eq!(said.exit, 2);
    assert!(said.err.starts_with("error: /nonexistent/cc-ci.toml cannot be read: No such file"), "{}", said.err);
}

#[test]
fn secrets_that_protect_nothing_are_refused() {
    let table = [
        ("webhook", "", "forge.webhook_secret_files = ", "is empty; write the secret into it"),
        ("webhook", " \n", "forge.webhook_secret_files = ", "is empty; write the secret into it"),
        ("webhook", "tiny!", "cc-ci.toml:4: ", "shorter than 32 bytes"),
        ("token", "\n", "forge.token_file = ", "is empty; write the secret into it"),
        ("token", "two words", "forge.token_file = ", "must be one word"),
    ];
    for (file, text, what, why) in table {
        let place = Place::new();
        place.secret(file, text);
        for args in [["serve", "--check"], ["serve", "--quiet"]] {
            let config = place.config(NOBODY, ("", ""), "");
            let said = run(place.command(&args).args(["--config", &config]));
            assert_eq!(said.exit, 2, "{text:?}: {}", said.err);
            assert!(said.err.contains(what) && said.err.contains(why), "{text:?}: {}", said.err);
            assert!(text.trim().is_empty() || !said.err.contains(text), "a secret is never shown: {}", said.err);
        }
        assert!(!Path::new(&place.at("state")).exists(), "nothing is begun with it");
    }
}

#[test]
fn a_forge_that_does_not_answer_and_an_open_secret_are_findings() {
    let place = Place::new();
    std::fs::set_permissions(place.at("token"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = place.check(&place.config(NOBODY, ("", ""), ""));
    assert_eq!(said.exit, 3, "{}", said.out);
    let line = |name: &str| said.out.lines().find(|line| line.contains(&format!(" {name} "))).unwrap_or_default();
    assert!(line("forge").starts_with('✘') && line("forge").contains(NOBODY), "{}", said.out);
    let open = line("secrets");
    assert!(open.starts_with('!') && open.contains(&place.at("token")) && open.contains("0644"), "{}", said.out);
    assert!(said.out.contains(&format!("chmod 600 {}", place.at("token"))), "{}", said.out);
    assert!(!said.out.contains(&format!("chmod 600 {}", place.at("webhook"))), "{}", said.out);
    assert!(!Path::new(&place.at("state/cc-ci.db")).exists(), "a look starts nothing");
}

#[test]
fn the_environment_goes_before_the_file_and_needs_none() {
    let place = Place::new();
    let config = place.config(NOBODY, ("", ""), "slots = 3\n");
    let said = run(place.command(&["serve", "--print-config", "--config", &config]).env("CC_CI_RUNS_SLOTS", "5"));
    assert_eq!(said.exit, 0, "{}", said.err);
    assert!(said.out.contains("\nslots = 5  # $CC_CI_RUNS_SLOTS\n"), "{}", said.out);
    assert!(said.out.contains(&format!("\ntoken_file = {:?}  # {config}:3\n", place.at("token"))), "{}", said.out);
    assert!(!said.out.contains("abc123"), "a secret is never printed");

    let said = run(place.command(&["serve", "--check", "--config", &config]).env("CC_CI_RUNS_SLOTS", "many"));
    assert_eq!(said.exit, 2);
    assert!(said.err.starts_with("error: $CC_CI_RUNS_SLOTS: runs.slots: \"many\" is not a number"), "{}", said.err);

    // Everything by environment, as in a container: it gets as far as asking the forge.
    let mut command = place.command(&["serve", "--check"]);
    command.env("CC_CI_FORGE_URL", NOBODY).env("CC_CI_FORGE_REPOSITORIES", "recipes/x, recipes/y");
    command.env("CC_CI_FORGE_TOKEN_FILE", place.at("token")).env("CC_CI_RUNS_DIR", place.at("state"));
    let without = run(command.env("CC_CI_SERVER_LISTEN", "127.0.0.1:0"));
    assert_eq!(without.exit, 2, "{}", without.out);
    assert!(without.err.contains("forge.webhook_secret_files"), "{}", without.err);
    let said = run(command.env("CC_CI_FORGE_WEBHOOK_SECRET_FILES", place.at("webhook")));
    assert_eq!(said.exit, 3, "{}", said.err);
    assert!(said.out.contains(NOBODY), "{}", said.out);
}

/// `cc-ci dev forge` that runs.
struct Forge {
    child: Child,
    out: BufReader<ChildStdout>,
    said: Vec<(String, String)>,
}

impl Forge {
    fn start(args: &[&str], temp: &Path) -> Self {
        let mut command = Command::new(CC_CI);
        command.args(["dev", "forge", "--listen", "127.0.0.1:0"]).args(args).env("TMPDIR", temp);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said: Vec<(String, String)> = Vec::new();
        while said.last().is_none_or(|(name, _)| name != "ADMIN_TOKEN") {
            let mut line = String::new();
            assert!(out.read_line(&mut line).unwrap() > 0, "it has ended: {said:?}");
            let (name, value) = line.trim_end().split_once('=').unwrap();
            said.push((name.to_owned(), value.to_owned()));
        }
        Self { child, out, said }
    }

    fn get(&self, name: &str) -> &str {
        &self.said.iter().find(|(known, _)| known == name).unwrap().1
    }

    /// A call of its API, as somebody.
    fn call(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = cc_ci::http::builder().no_proxy().build().unwrap();
            let request = client.request(method.parse().unwrap(), format!("{}/{path}", self.get("FORGE_URL")));
            let answer = request.bearer_auth(token).json(body).send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.json().await.unwrap_or(Value::Null))
        })
    }

    fn end(mut self, signal: &str) -> i32 {
        assert_eq!(run(Command::new("kill").args(["-s", signal, &self.child.id().to_string()])).exit, 0);
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "the answer is the lines, and no more");
        self.child.wait().unwrap().code().expect("it ends by itself")
    }
}

impl Drop for Forge {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A repository with one commit.
fn recipe(dir: &Path) {
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"];
        let said =
            run(Command::new("git").args(identity).args(args).current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null"));
        assert_eq!(said.exit, 0, "git {args:?}: {}", said.err);
    };
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("compose.yml"), "services: {}\n").unwrap();
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "-A"]);
    git(&["commit", "-q", "-m", "recipe"]);
}

#[test]
fn a_forge_to_try_things_on() {
    let dir = tempfile::tempdir().unwrap();
    let (source, temp) = (dir.path().join("tiny"), dir.path().join("temp"));
    std::fs::create_dir_all(&temp).unwrap();
    recipe(&source);
    let forge = Forge::start(&["--recipe", &source.display().to_string()], &temp);
    assert_eq!(forge.get("RECIPE"), "recipes/tiny");
    let (alice, bob) = (forge.get("ALICE_TOKEN"), forge.get("BOB_TOKEN"));
    let api = "api/v1/repos/recipes/tiny";

    // What a person does with it: clone, push a branch, open a pull request, comment.
    let url = forge.get("FORGE_URL").replace("://", &format!("://alice:{alice}@"));
    let clone = dir.path().join("clone");
    let clone_text = clone.display().to_string();
    let cloned = run(Command::new("git").args(["clone", "-q", &format!("{url}/recipes/tiny.git"), &clone_text]));
    assert_eq!(cloned.exit, 0, "{}", cloned.err);
    assert!(clone.join("compose.yml").exists());
    let pushed = run(Command::new("git").args(["push", "-q", "origin", "HEAD:refs/heads/change"]).current_dir(&clone));
    assert_eq!(pushed.exit, 0, "{}", pushed.err);
    let text = json!({ "content": "bmV3Cg==", "branch": "change", "message": "new" });
    assert_eq!(forge.call(alice, "POST", &format!("{api}/contents/new.txt"), &text).0, 201);
    let pull = json!({ "head": "change", "base": "main", "title": "Change" });
    assert_eq!(forge.call(alice, "POST", &format!("{api}/pulls"), &pull).0, 201);
    let comment = json!({ "body": "!testme" });
    assert_eq!(forge.call(bob, "POST", &format!("{api}/issues/1/comments"), &comment).0, 201);
    // Rights are as told: a stranger may not write, the bot may set a status.
    assert_eq!(forge.call(bob, "POST", &format!("{api}/contents/more.txt"), &text).0, 403);
    let (_, head) = forge.call(alice, "GET", &format!("{api}/pulls/1"), &Value::Null);
    let head = head["head"]["sha"].as_str().unwrap();
    let status = json!({ "context": "cc-ci/testme", "state": "pending" });
    assert_eq!(forge.call(forge.get("BOT_TOKEN"), "POST", &format!("{api}/statuses/{head}"), &status).0, 201);
    // Trouble on demand.
    let fault = json!({ "on": "request", "path": "/issues/1/comments", "fault": { "kind": "status", "code": 502 } });
    assert_eq!(forge.call("", "POST", "_sim/faults", &fault).0, 204);
    assert_eq!(forge.call(bob, "POST", &format!("{api}/issues/1/comments"), &comment).0, 502);
    assert_eq!(forge.call(bob, "POST", &format!("{api}/issues/1/comments"), &comment).0, 201);

    assert_eq!(std::fs::read_dir(&temp).unwrap().count(), 1, "its repositories are in a temporary folder");
    assert_eq!(forge.end("INT"), 0);
    assert_eq!(std::fs::read_dir(&temp).unwrap().count(), 0, "which goes with it");
}

#[test]
fn a_forge_that_cannot_be_is_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let here = |args: &[&str]| run(Command::new(CC_CI).args(["dev", "forge"]).args(args).env("TMPDIR", dir.path()));
    let said = here(&["--listen", "0.0.0.0:0"]);
    assert_eq!(said.exit, 3, "{}", said.err);
    assert!(said.err.contains("0.0.0.0:0 is not a loopback address"), "{}", said.err);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = here(&["--listen", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(said.exit, 3, "{}", said.err);
    assert!(said.err.contains("in use"), "{}", said.err);
    let said = here(&["--listen", "127.0.0.1:0", "--recipe", "/nonexistent"]);
    assert_eq!((said.exit, said.out.as_str()), (3, ""), "{}", said.err);
    assert!(said.err.contains("/nonexistent"), "{}", said.err);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left of any");
    // Kept where it was asked to be.
    let data = dir.path().join("data").display().to_string();
    let forge = Forge::start(&["--data", &data], dir.path());
    assert_eq!(forge.end("TERM"), 0);
    assert!(Path::new(&data).is_dir());
}

#[test]
fn a_sound_server_passes_and_a_missing_hook_does_not() {
    if !common::docker() {
        return;
    }
    let place = Place::new();
    let source = place.dir.path().join("x");
    recipe(&source);
    let forge = Forge::start(&["--recipe", &source.display().to_string()], place.dir.path());
    place.secret("token", forge.get("BOT_TOKEN"));
    let tests = format!("[tests]\nsource = {:?}\n", common::repo().join("tests-repo").display().to_string());
    let config = place.config(forge.get("FORGE_URL"), ("", ""), &tests);
    let said = place.check(&config);
    assert_eq!(said.exit, 3, "{}", said.out);
    assert!(said.out.contains("✘ hook       recipes/x: no hook delivers to "), "{}", said.out);
    assert!(said.out.contains("✔ token      ccci"), "{}", said.out);
    let fixed = run(&mut place.command(&["doctor", "--fix", "--config", &config]));
    assert!(fixed.out.contains("recipes/x: hook 1 was made"), "{}", fixed.out);
    let said = place.check(&config);
    assert_eq!(said.exit, 0, "{}\n{}", said.out, said.err);
    assert!(!said.out.contains('✘') && said.out.contains("✔ secrets    2 files"), "{}", said.out);
    let hooks = forge.call(forge.get("BOT_TOKEN"), "GET", "api/v1/repos/recipes/x/hooks", &Value::Null).1;
    assert_eq!(hooks.as_array().map(Vec::len), Some(1), "a look makes none: {hooks}");
}
