//! The command line as a person meets it: bad input gets one clear line and the right exit code, and help helps. Needs no Docker.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the tests are the user")]

mod common;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{CC_CI, Said, run};

/// A folder to make trouble in, with a state folder of its own: nothing here gets as far as an engine.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { root: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self) -> &Path {
        self.root.path()
    }

    /// A git repository with these files in one commit.
    fn recipe(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.path().join(name);
        std::fs::create_dir_all(&folder).expect("made");
        self.git(&folder, &["init", "-q", "-b", "main"]);
        for (file, text) in files {
            let file = folder.join(file);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            std::fs::write(file, text).expect("written");
        }
        if !files.is_empty() {
            self.git(&folder, &["add", "-A"]);
            self.git(&folder, &["commit", "-q", "-m", "recipe"]);
        }
        folder
    }

    fn git(&self, folder: &Path, args: &[&str]) {
        let said = run(Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"])
            .args(args)
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null"));
        assert_eq!(said.exit, 0, "git {args:?}: {}", said.err);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(CC_CI);
        command
            .args(args)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path());
        command.env("CC_CI_STATE", self.path().join("state")).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
        command
    }

    fn cc_ci(&self, args: &[&str]) -> Said {
        let said = run(&mut self.command(args));
        common::no_panic(&said.err);
        assert!(!said.err.contains('\x1b') && !said.out.contains('\x1b'), "colours without a terminal: {}", said.err);
        said
    }
}

const COMPOSE: &str = "version: '3.8'\nservices:\n  app:\n    image: nginx:1.26.3\n    networks: [proxy]\n    deploy:\n      labels:\n        \
    - traefik.enable=true\n        - traefik.http.routers.${STACK_NAME}.rule=Host(`${DOMAIN}`)\n        \
    - traefik.http.services.${STACK_NAME}.loadbalancer.server.port=80\n        - coop-cloud.${STACK_NAME}.version=1.0.0+1.26.3\n\
networks:\n  proxy:\n    external: true\n";
const GOOD: &[(&str, &str)] =
    &[("compose.yml", COMPOSE), (".env.sample", "TYPE=good\nDOMAIN=good.example.org\nLETS_ENCRYPT_ENV=production\n")];

/// Exit code and the beginning of the one line.
fn refused(place: &Place, args: &[&str], exit: i32, starts: &str, holds: &[&str]) {
    let said = place.cc_ci(args);
    assert_eq!(said.exit, exit, "cc-ci {args:?}: {}", said.err);
    assert_eq!(said.out, "", "cc-ci {args:?} answers nothing");
    let first = said.err.lines().next().unwrap_or_default();
    assert!(first.starts_with(starts), "cc-ci {args:?}: {}", said.err);
    for word in holds {
        assert!(said.err.contains(word), "cc-ci {args:?}: no `{word}` in: {}", said.err);
    }
    // One clear line, and at the most what to try.
    let more = said.err.lines().skip(1).filter(|line| !line.starts_with("  try: "));
    assert_eq!(more.collect::<Vec<_>>(), Vec::<&str>::new(), "cc-ci {args:?}: {}", said.err);
}

#[test]
fn what_is_no_recipe_gets_one_clear_line() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("folder")).expect("made");
    place.recipe("empty", &[]);
    place.recipe("no-compose", &[("README.md", "x\n")]);
    let good = place.recipe("good", GOOD);
    place.git(&good, &["tag", "-a", "1.0.0+1.26.3", "-m", "1"]);
    // `policy` needs no engine; `test` would say the same once it had one.
    let table: &[(&[&str], &str, &[&str])] = &[
        (&["policy", "./folder"], "error: ./folder is not a git repository", &["git init"]),
        (&["policy", "./nowhere"], "error: ./nowhere ", &[]),
        (&["policy", "empty"], "error: empty has no commit yet", &["commit the recipe first"]),
        (&["policy", "good", "--ref", "1.0.0+1.26.4"], "error: ", &["`1.0.0+1.26.4`", "did you mean `1.0.0+1.26.3`?"]),
        (&["policy", "good", "--ref=-x"], "error: ", &["-x"]),
        (&["policy", "no-compose"], "error: ", &["compose.yml"]),
        (&["policy", "good", "--tests", "nowhere"], "error: ", &["nowhere"]),
        (&["policy", "good", "--policy", "nofile.toml"], "error: nofile.toml cannot be read", &["No such file"]),
        (&["policy", "https://127.0.0.1:1/x.git"], "error: https://127.0.0.1:1/x.git cannot be read", &["connect"]),
        (&["policy", "ext::sh -c id"], "error: ext::sh -c id: ext is not a protocol", &["https"]),
        (&["policy", "no-such-name", "--catalogue", "."], "error: ", &["no-such-name"]),
    ];
    for (args, starts, holds) in table {
        refused(&place, args, 2, starts, holds);
    }
}

#[test]
fn bad_yaml_is_told_with_file_and_line() {
    let place = Place::new();
    let broken = "version: '3.8'\nservices:\n  app:\n    image: [nginx\n";
    place.recipe("broken", &[("compose.yml", broken), (".env.sample", "DOMAIN=x.example.org\n")]);
    let said = place.cc_ci(&["policy", "broken"]);
    assert_eq!(said.exit, 1, "{} {}", said.out, said.err);
    assert!(said.out.contains("compose.yml:"), "{}", said.out);
    place.recipe("aliased", &[("compose.yml", "a: &a [x]\nservices:\n  app: {image: nginx, volumes: *b}\n")]);
    let said = place.cc_ci(&["policy", "aliased"]);
    assert!(said.exit == 1 && said.out.contains("compose.yml:3"), "{} {}", said.out, said.err);
}

#[test]
fn a_suite_is_strict() {
    let place = Place::new();
    place.recipe("good", GOOD);
    type Row = (&'static [(&'static str, &'static str)], &'static [&'static str]);
    let table: &[Row] = &[
        (&[("profile.toml", "[http]\npath = '/'\n[wibble]\n")], &["unknown key `wibble`; known here: "]),
        (&[("profile.toml", "[http]\npaht = '/'\n")], &["profile.toml:2: unknown key `paht`", "path"]),
        (&[("profile.toml", "base = \n")], &["profile.toml"]),
        (&[("notes.txt", "x\n"), ("ready.hurl", "GET {{base_url}}/\nHTTP 200\n")], &["notes.txt"]),
        (&[("custom/01-x.py", "x\n")], &["custom/01-x.py"]),
        (&[("profile.toml", "")], &["it has no test"]),
    ];
    for (number, (files, words)) in table.iter().enumerate() {
        let tests = format!("tests-{number}");
        for (file, text) in *files {
            let file = place.path().join(&tests).join("tests/good").join(file);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            std::fs::write(file, text).expect("written");
        }
        let said = place.cc_ci(&["policy", "good", "--tests", &format!("./{tests}")]);
        assert_eq!((said.exit, said.out.as_str()), (2, ""), "{files:?}: {}", said.err);
        for word in *words {
            assert!(said.err.contains(word), "{files:?}: no `{word}` in: {}", said.err);
        }
    }
}

#[test]
fn bad_arguments_are_usage() {
    let place = Place::new();
    place.recipe("good", GOOD);
    let table: &[(&[&str], &[&str])] = &[
        (&["test"], &["<RECIPE>", "--help"]),
        (&["test", "good", "--frobnicate"], &["--frobnicate", "--help"]),
        (&["test", "good", "--timeout", "soon"], &["`soon` is no time: write seconds, or as in 90s, 15m, 1h30m"]),
        (&["test", "good", "--timeout", "0"], &["more than nothing"]),
        (&["test", "good", "--timeout", "-5"], &["-5"]),
        (&["test", "good", "--stage", "instal"], &["install, upgrade, backup, restore, custom", "'install'"]),
        (&["test", "good", "--tests-ref", "main"], &["--tests <PATH|URL>"]),
        (&["tset", "good"], &["tset", "test"]),
        (&["reap", "--run", "nonsense"], &["`nonsense` is not a run id", "k3x9p0q2m4aa"]),
        (&["completions", "tcsh"], &["bash", "fish", "zsh"]),
        (&["policy", "good", "--json", "--compose"], &["cannot be used with"]),
        (&["--color", "blue", "policy", "good"], &["auto, always, never"]),
        (&["-q", "-v", "policy", "good"], &["cannot be used with"]),
    ];
    for (args, words) in table {
        let said = place.cc_ci(args);
        assert_eq!((said.exit, said.out.as_str()), (2, ""), "cc-ci {args:?}: {}", said.err);
        assert!(said.err.starts_with("error: "), "{}", said.err);
        for word in *words {
            assert!(said.err.contains(word), "cc-ci {args:?}: no `{word}` in: {}", said.err);
        }
    }
    let said = place.cc_ci(&[]);
    assert!(said.exit == 2 && said.err.contains("Usage: cc-ci"), "{}", said.err);
}

#[test]
fn without_an_engine_it_says_so() {
    let place = Place::new();
    place.recipe("good", GOOD);
    for args in [&["test", "good"][..], &["reap"]] {
        refused(
            &place,
            args,
            3,
            "error: no Docker engine answers at unix:///nonexistent/docker.sock",
            &["systemctl start docker", "DOCKER_HOST"],
        );
    }
    let said = run(place.command(&["reap"]).env("DOCKER_HOST", "gopher://x"));
    assert!(said.exit == 3 && said.err.starts_with("error: DOCKER_HOST `gopher://x` is not supported"), "{}", said.err);
}

/// Answers every request with the same body, as an engine would that has the given swarm state.
fn engine_with(socket: &Path, swarm: &str) {
    let body = format!(
        r#"{{"ID":"x","ServerVersion":"20.10.24","Swarm":{swarm},"NCPU":2,"MemTotal":4294967296,"KernelVersion":"6.1","OperatingSystem":"x","DockerRootDir":"/","ApiVersion":"1.41","MinAPIVersion":"1.12","Version":"20.10.24"}}"#
    );
    let listener = UnixListener::bind(socket).expect("bound");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let body = body.clone();
            std::thread::spawn(move || {
                let mut seen = Vec::new();
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    seen.extend_from_slice(&buffer[..count]);
                    if seen.windows(4).any(|end| end == b"\r\n\r\n") {
                        seen.clear();
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                            body.len()
                        );
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn an_engine_that_is_no_swarm_manager_is_told_apart() {
    let place = Place::new();
    place.recipe("good", GOOD);
    for (name, swarm, words) in [
        ("inactive", r#"{"LocalNodeState":"inactive","ControlAvailable":false}"#, "docker swarm init"),
        ("worker", r#"{"LocalNodeState":"active","ControlAvailable":false}"#, "manager"),
    ] {
        let socket = place.path().join(format!("{name}.sock"));
        engine_with(&socket, swarm);
        let said = run(place.command(&["test", "good"]).env("DOCKER_HOST", format!("unix://{}", socket.display())));
        common::no_panic(&said.err);
        assert_eq!((said.exit, said.out.as_str()), (3, ""), "{}", said.err);
        assert_eq!(said.err.lines().count(), 1, "{}", said.err);
        assert!(said.err.contains(words), "no `{words}` in: {}", said.err);
    }
}

#[test]
fn policy_of_an_example() {
    let place = Place::new();
    let folder = common::repo().join("recipes/custom-html/1.8.0+1.26.3");
    let files: Vec<(String, String)> = ["compose.yml", ".env.sample", "abra.sh", "default.conf.tmpl"]
        .iter()
        .map(|name| ((*name).to_owned(), std::fs::read_to_string(folder.join(name)).expect("a file")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    place.recipe("custom-html", &files);
    let said = place.cc_ci(&["policy", "custom-html"]);
    assert_eq!(said.exit, 0, "{} {}", said.out, said.err);
    assert!(said.out.starts_with("custom-html: may be deployed\n"), "{}", said.out);
    let said = place.cc_ci(&["policy", "custom-html", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((said.exit, &json["decision"]), (0, &"allow".into()));
    let said = place.cc_ci(&["policy", "custom-html", "--compose"]);
    assert_eq!((said.exit, json["plan"]["compose_yaml"].as_str()), (0, Some(said.out.as_str())));
    assert!(said.out.contains("services:") && !said.out.contains("dnsrr"), "{}", said.out);
    assert!(place.cc_ci(&["policy", "custom-html", "--compose", "--dnsrr"]).out.contains("endpoint_mode: \"dnsrr\""));
}

#[test]
fn policy_refuses_a_hostile_recipe_with_its_line() {
    let place = Place::new();
    let hostile = COMPOSE.replace("    networks: [proxy]\n", "    networks: [proxy]\n    volumes:\n      - /:/host\n");
    place.recipe("hostile", &[("compose.yml", &hostile), GOOD[1]]);
    let said = place.cc_ci(&["policy", "hostile"]);
    assert_eq!(said.exit, 1, "{} {}", said.out, said.err);
    assert!(said.out.starts_with("hostile: refused, nothing would be deployed\n"), "{}", said.out);
    let line = said.out.lines().find(|line| line.starts_with("refused P")).expect("a refusal");
    assert!(line.ends_with("compose.yml:7"), "{line}");
    let said = place.cc_ci(&["policy", "hostile", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((said.exit, &json["decision"], &json["plan"]), (1, &"refuse".into(), &serde_json::Value::Null));
    let finding = &json["findings"][0];
    assert!(finding["code"].as_str().is_some_and(|code| code.starts_with('P')) && finding["line"] == 7, "{finding}");
    let said = place.cc_ci(&["policy", "hostile", "--compose"]);
    assert_eq!((said.exit, said.out.as_str()), (1, ""), "{}", said.err);
    assert!(said.err.contains("compose.yml:7"), "{}", said.err);
}

#[test]
fn the_folder_for_the_evidence_must_be_empty() {
    // The engine is asked first, so this needs one.
    if !common::docker() {
        return;
    }
    let place = Place::new();
    std::fs::write(place.path().join("file"), "x").expect("written");
    let recipe = common::fixture("healthy");
    for (out, why) in
        [(place.path().to_owned(), "it is not empty"), (place.path().join("file/below"), "Not a directory")]
    {
        let said = common::cc_ci(["test", recipe.to_str().expect("UTF-8"), "--out", out.to_str().expect("UTF-8")]);
        assert_eq!((said.exit, said.out.as_str()), (2, ""), "{}", said.err);
        assert!(said.err.starts_with("error: the folder ") && said.err.contains(why), "{}", said.err);
        assert!(!said.err.contains("started"), "{}", said.err);
    }
    assert_eq!(std::fs::read_to_string(place.path().join("file")).expect("kept"), "x");
}

#[test]
fn completions_are_what_the_shells_can_read() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let said = place.cc_ci(&["completions", shell]);
        assert!(said.exit == 0 && said.out.contains("tests-ref") && said.out.contains("reap"), "{shell}: {}", said.err);
        let script = place.path().join(format!("cc-ci.{shell}"));
        std::fs::write(&script, &said.out).expect("written");
        match Command::new(shell).arg("-n").arg(&script).stdin(Stdio::null()).output() {
            Ok(output) => assert!(
                output.status.success(),
                "{shell}: {} {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            ),
            Err(error) if shell != "bash" && error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("{shell} is not installed: not parsed");
            }
            Err(error) => panic!("{shell}: {error}"),
        }
    }
}

#[test]
fn the_manual_renders() {
    let place = Place::new();
    let said = place.cc_ci(&["man"]);
    assert!(said.exit == 0 && said.out.contains(".TH cc-ci 1"), "{}", said.err);
    match Command::new("man")
        .args(["--warnings", "-l", "-"])
        .env("MANPAGER", "cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(mut child) => {
            child.stdin.take().expect("piped").write_all(said.out.as_bytes()).expect("written");
            let output = child.wait_with_output().expect("ended");
            let (text, warnings) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success() && warnings.is_empty() && text.contains("SUBCOMMANDS"), "{text}{warnings}");
        }
        Err(error) => eprintln!("man is not there: not rendered ({error})"),
    }
    let folder = place.path().join("man");
    assert_eq!(place.cc_ci(&["man", "--dir", folder.to_str().expect("UTF-8")]).exit, 0);
    for page in ["cc-ci.1", "cc-ci-test.1", "cc-ci-policy.1", "cc-ci-reap.1"] {
        assert!(folder.join(page).is_file(), "{page}");
    }
}

#[test]
fn colours_are_for_terminals() {
    let place = Place::new();
    place.recipe("good", GOOD);
    // `cc_ci` itself checks that there are none without a terminal.
    assert_eq!(place.cc_ci(&["policy", "good"]).exit, 0);
    let painted = run(&mut place.command(&["--color", "always", "policy", "good"]));
    assert!(painted.out.contains("\x1b[32mmay be deployed\x1b[0m"), "{}", painted.out);
    let painted = run(place.command(&["policy", "good"]).env("CC_CI_COLOR", "always"));
    assert!(painted.out.contains("\x1b[32m"), "{}", painted.out);
    let failed = run(&mut place.command(&["policy", "nowhere", "--color", "always"]));
    assert!(failed.err.starts_with("\x1b[31merror:\x1b[0m"), "{}", failed.err);
}

#[test]
fn help_teaches() {
    let place = Place::new();
    for (args, words) in [
        (&["--help"][..], &["Exit codes: 0 GREEN, 1 RED, 2 usage", "cc-ci policy ./my-recipe"][..]),
        (
            &["test", "--help"],
            &["Examples:", "cc-ci test ./custom-html --tests ./tests-repo", "Exit codes:", "130 interrupted"],
        ),
        (&["policy", "--help"], &["Exit codes: 0 it may be deployed, 1 it is refused"]),
        (&["reap", "--help"], &["Only objects labelled `cc-ci.run`", "is alive on this host is left"]),
    ] {
        let said = place.cc_ci(args);
        assert_eq!((said.exit, said.err.as_str()), (0, ""), "{args:?}");
        for word in words {
            assert!(said.out.contains(word), "{args:?}: no `{word}` in: {}", said.out);
        }
    }
    let said = place.cc_ci(&["--version"]);
    assert!(said.exit == 0 && said.out.starts_with("cc-ci 0."), "{}", said.out);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let mut child =
        place.command(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
}
