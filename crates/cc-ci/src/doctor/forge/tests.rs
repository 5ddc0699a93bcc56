use std::path::Path;

use super::*;
use crate::clock::SystemClock;
use crate::config::Layers;
use crate::forge::model::{OwnRights, Person, Reach, RepoId};
use crate::redact::SecretValue;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn error(kind: ErrorKind) -> Error {
    Error { kind, call: "GET /x".into(), message: String::new() }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn clocks_are_compared_over_the_time_that_the_answer_took() {
    for (theirs, before, after, want) in [
        (1_000, 1_000, 1_000, Health::Good),
        // Whole seconds: 1000 may be 1000.9.
        (1_000, 1_030, 1_030, Health::Good),
        (1_000, 1_031, 1_031, Health::Warning),
        (1_000, 1_120, 1_120, Health::Warning),
        (1_000, 1_121, 1_121, Health::Bad),
        (1_030, 1_000, 1_000, Health::Warning),
        (1_029, 1_000, 1_000, Health::Good),
        (1_120, 1_000, 1_000, Health::Bad),
        // A slow answer says nothing about the clock.
        (1_100, 1_000, 1_200, Health::Good),
    ] {
        let check = clocks(Some(at(theirs)), at(before), at(after));
        assert_eq!(check.health, want, "{theirs} between {before} and {after}: {}", check.found);
    }
    assert_eq!(clocks(None, at(1), at(1)).health, Health::Warning);
    assert!(clocks(Some(at(0)), at(500), at(500)).found.contains("499 s behind"));
    assert!(clocks(Some(at(500)), at(0), at(0)).found.contains("500 s ahead of"));
}

#[test]
fn forges_by_age() {
    let version = |flavour, gitea| Version { flavour, text: "1".into(), number: gitea, gitea };
    for (flavour, gitea, want) in [
        (Flavour::Gitea, Some((1, 25)), Health::Good),
        (Flavour::Gitea, Some((1, 22)), Health::Good),
        (Flavour::Gitea, Some((1, 21)), Health::Warning),
        (Flavour::Forgejo, Some((1, 22)), Health::Good),
        (Flavour::Forgejo, Some((1, 20)), Health::Warning),
        (Flavour::Gitea, Some((2, 0)), Health::Good),
        (Flavour::Gitea, None, Health::Good),
    ] {
        assert_eq!(answer("https://f.test/", Ok(&version(flavour, gitea))).health, want, "{flavour:?} {gitea:?}");
    }
    for kind in [ErrorKind::Connect, ErrorKind::Unauthorised, ErrorKind::NotFound, ErrorKind::Server { status: 502 }] {
        let check = answer("https://f.test/", Err(&error(kind)));
        assert!(check.health == Health::Bad && !check.remedy.is_empty(), "{check:?}");
    }
}

#[test]
fn tokens_by_scope_and_owner() {
    let user = |is_admin| User {
        person: Person { id: 1, login: "bot".into() },
        is_admin,
        active: true,
        prohibit_login: false,
        restricted: false,
    };
    let all = Scopes { repository: Reach::Write, issue: Reach::Write, organization: Reach::Read, user: Reach::Read };
    assert_eq!(token(Ok(&user(false)), Ok(&all)).health, Health::Good);
    assert_eq!(token(Ok(&user(true)), Ok(&all)).health, Health::Warning);
    for (scopes, word) in [
        (Scopes { repository: Reach::Read, ..all }, "write:repository"),
        (Scopes { issue: Reach::Read, ..all }, "write:issue"),
        (Scopes { organization: Reach::Nothing, ..all }, "read:organization"),
        (Scopes { user: Reach::Nothing, ..all }, "read:user"),
    ] {
        let check = token(Ok(&user(true)), Ok(&scopes));
        assert!(check.health == Health::Bad && check.found.contains(word), "{check:?}");
    }
    assert_eq!(token(Err(&error(ErrorKind::Unauthorised)), Ok(&all)).health, Health::Bad);
    assert_eq!(token(Ok(&user(false)), Err(&error(ErrorKind::Timeout))).health, Health::Warning);
}

fn repo(rights: OwnRights) -> Repo {
    Repo {
        id: RepoId(1),
        owner: Person { id: 2, login: "o".into() },
        name: "r".into(),
        full_name: "o/r".into(),
        default_branch: "main".into(),
        private: false,
        fork: false,
        archived: false,
        empty: false,
        mirror: false,
        rights: Some(rights),
        clone_url: String::new(),
        html_url: String::new(),
    }
}

#[test]
fn rights_in_a_repository() {
    let all = OwnRights { admin: true, push: true, pull: true };
    for (found, want) in [
        (repo(all), Health::Good),
        (repo(OwnRights { admin: false, ..all }), Health::Warning),
        (repo(OwnRights { admin: false, push: false, pull: true }), Health::Bad),
        (Repo { rights: None, ..repo(all) }, Health::Bad),
        (Repo { mirror: true, ..repo(all) }, Health::Bad),
        (Repo { archived: true, ..repo(all) }, Health::Bad),
    ] {
        assert_eq!(rights("o/r", Ok(&found)).health, want, "{found:?}");
    }
    let hidden = rights("o/r", Err(&error(ErrorKind::NotFound)));
    assert!(hidden.health == Health::Bad && hidden.found.starts_with("o/r:"), "{hidden:?}");
    assert_eq!(rights("o/r", Err(&error(ErrorKind::Timeout))).health, Health::Warning);
}

#[test]
fn hooks_and_their_repair() {
    let events = ["pull_request_comment", "pull_request", "pull_request_sync", "push"];
    let hook = |id, active, to: &str| Hook {
        id,
        active,
        url: to.into(),
        content_type: "json".into(),
        events: events.into_iter().map(str::to_owned).collect(),
        branch_filter: "*".into(),
    };
    let ours = "https://ci.test/hooks/gitea";
    for (hooks, want, words) in [
        (vec![hook(3, true, ours)], Health::Good, "hook 3 delivers"),
        (vec![hook(3, true, ours), hook(4, true, ours)], Health::Warning, "1 more hooks"),
        (vec![hook(3, false, ours)], Health::Bad, "not active"),
        (vec![hook(3, true, "https://old.test/hooks/gitea")], Health::Bad, "no hook delivers"),
        (vec![], Health::Bad, "no hook delivers"),
    ] {
        let check = hooked("o/r", Ok(&hooks), ours);
        assert!(check.health == want && check.found.contains(words), "{hooks:?}: {check:?}");
        assert_eq!(check.remedy.is_empty(), want == Health::Good, "{check:?}");
        let plan = plan_hook(&hooks, ours);
        assert_eq!(needs_work(&plan), want != Health::Good, "{plan:?}");
    }
    assert_eq!(hooked("o/r", Err(&error(ErrorKind::Forbidden { missing_scope: None })), ours).health, Health::Warning);
    assert_eq!(hooked("o/r", Err(&error(ErrorKind::Unauthorised)), ours).health, Health::Bad);
    let made = HookRepair { plan: HookPlan::Create, hook: 9 };
    assert_eq!(repaired("o/r", Ok(&made)).found, "o/r: hook 9 was made");
    assert_eq!(repaired("o/r", Err(&error(ErrorKind::Validation))).health, Health::Bad);
}

#[test]
fn addresses_that_the_forge_can_reach() {
    for (public, forge, want) in [
        ("https://ci.test/", "https://git.test", Health::Good),
        ("http://ci.test/", "https://git.test", Health::Warning),
        ("http://127.0.0.1:8420/", "https://git.test", Health::Bad),
        ("http://0.0.0.0:8420/", "https://git.test", Health::Bad),
        ("http://localhost:8420/", "https://git.test", Health::Bad),
        ("http://[::1]:8420/", "https://git.test", Health::Bad),
        ("http://127.0.0.1:8420/", "http://127.0.0.1:3000", Health::Good),
        ("http://127.0.0.1:8420/", "http://localhost:3000", Health::Good),
    ] {
        assert_eq!(reachable(&url(public), forge).health, want, "{public} from {forge}");
    }
}

#[test]
fn ports() {
    let address: SocketAddr = "127.0.0.1:8420".parse().unwrap();
    for (bound, ours, want) in [
        (Ok(()), None, Health::Good),
        (Err(IoKind::AddrInUse), Some(true), Health::Good),
        (Err(IoKind::AddrInUse), Some(false), Health::Bad),
        (Err(IoKind::AddrInUse), None, Health::Bad),
        (Err(IoKind::AddrNotAvailable), None, Health::Bad),
        (Err(IoKind::PermissionDenied), None, Health::Bad),
        (Err(IoKind::Other), None, Health::Bad),
    ] {
        assert_eq!(listen(address, bound, ours).health, want, "{bound:?} {ours:?}");
    }
}

/// A forge with a bot that administers one repository, and settings for it.
async fn world(folder: &Path) -> (forge_sim::Sim, Config) {
    let sim = forge_sim::Sim::start().await.unwrap();
    sim.user("bot").unwrap();
    sim.user("ana").unwrap();
    sim.repo("ana/hello").unwrap().collaborator("bot", "admin").unwrap();
    let scopes = ["write:repository", "write:issue", "read:organization", "read:user"];
    let token = sim.token("bot", &scopes).unwrap();
    std::fs::write(folder.join("token"), token).unwrap();
    std::fs::write(folder.join("hook"), "0123456789abcdef0123456789abcdef").unwrap();
    std::fs::create_dir_all(folder.join("suites/tests")).unwrap();
    let text = format!(
        "[forge]\nurl = \"{}\"\ntoken_file = \"{dir}/token\"\nwebhook_secret_files = [\"{dir}/hook\"]\n\
         repositories = [\"ana/hello\", \"ana/none\"]\n[server]\nlisten = \"127.0.0.1:0\"\n\
         [tests]\nsource = \"{dir}/suites\"\n[runs]\ndir = \"{dir}/state\"\n",
        sim.url(),
        dir = folder.display()
    );
    let config = Config::resolve(&Layers::of(Some(("cc-ci.toml", &text)), |_| None).unwrap()).unwrap();
    (sim, config)
}

fn health(checks: &[Check], name: &str) -> Vec<Health> {
    checks.iter().filter(|check| check.name == name).map(|check| check.health).collect()
}

#[tokio::test]
async fn a_missing_hook_is_told_then_made_then_found() {
    let folder = tempfile::tempdir().unwrap();
    let (_sim, config) = world(folder.path()).await;
    let clock = || -> SharedClock { Arc::new(SystemClock) };
    let first = look(&config, clock(), false).await;
    for name in ["forge", "token", "clocks", "listen", "database", "tests", "public_url"] {
        assert_eq!(health(&first, name), [Health::Good], "{name}: {first:#?}");
    }
    assert_eq!(health(&first, "repository"), [Health::Good, Health::Bad]);
    assert_eq!(health(&first, "hook"), [Health::Bad]);
    assert_eq!(health(&look(&config, clock(), false).await, "hook"), [Health::Bad], "nothing is changed unasked");
    let fixed = look(&config, clock(), true).await;
    assert!(fixed.iter().any(|check| check.name == "hook" && check.found.ends_with("was made")), "{fixed:#?}");
    assert_eq!(health(&look(&config, clock(), false).await, "hook"), [Health::Good]);
}

#[tokio::test]
async fn a_wrong_token_and_a_silent_forge_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (_sim, mut config) = world(folder.path()).await;
    let wrong = SecretValue::new("0123456789012345678901234567890123456789");
    config.forge.token = crate::forge::Token::new(&wrong).unwrap();
    let checks = look(&config, Arc::new(SystemClock), false).await;
    let forge = checks.iter().find(|check| check.name == "forge").unwrap();
    assert!(forge.health == Health::Bad && forge.remedy.contains("token"), "{forge:?}");
    assert_eq!(health(&checks, "clocks"), [Health::Good], "the clock is known all the same");
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.forge.url = format!("http://{free}");
    let checks = look(&config, Arc::new(SystemClock), false).await;
    let forge = checks.iter().find(|check| check.name == "forge").unwrap();
    assert!(forge.health == Health::Bad && forge.found.contains("no connection"), "{forge:?}");
    assert!(health(&checks, "clocks").is_empty());
}

#[tokio::test]
async fn what_listens_is_asked_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, _config) = world(folder.path()).await;
    let address: SocketAddr = sim.url().trim_start_matches("http://").parse().unwrap();
    let check = listening(address).await;
    assert!(check.health == Health::Bad && check.found.contains("another program"), "{check:?}");
}
