//! Where scenarios play: a forge with a site administrator, and the means to set a stage through nothing but its public
//! API and git. The client under test has no part in that.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cc_ci::clock::ManualClock;
use cc_ci::forge::model::{Happened, Repo, RepoId};
use cc_ci::forge::{Client, Settings, Token};
use cc_ci::redact::SecretValue;
use reqwest::Method;
use serde_json::{Value, json};

/// Scopes that cc-ci asks for.
pub(crate) const SCOPES: &[&str] = &["write:repository", "write:issue", "read:organization", "read:user"];

/// A forge to play on.
pub(crate) trait World {
    /// For the report.
    fn name(&self) -> String;
    /// Without a slash at the end.
    fn base(&self) -> &str;
    /// Token of the site administrator.
    fn token(&self) -> &str;
    /// Whether it goes on after the test, so that what was made has to be removed.
    fn is_kept(&self) -> bool;
}

/// The simulator.
pub(crate) struct Simulated {
    sim: forge_sim::Sim,
    token: String,
    flavour: forge_sim::Flavour,
}

impl Simulated {
    pub(crate) async fn start(flavour: forge_sim::Flavour) -> Self {
        let sim = forge_sim::serve(forge_sim::Config { flavour, ..forge_sim::Config::default() }).await.unwrap();
        let token = sim.token(sim.admin(), &["all"]).unwrap();
        Self { sim, token, flavour }
    }
}

impl World for Simulated {
    fn name(&self) -> String {
        format!("forge-sim as {:?}", self.flavour)
    }
    fn base(&self) -> &str {
        self.sim.url()
    }
    fn token(&self) -> &str {
        &self.token
    }
    fn is_kept(&self) -> bool {
        false
    }
}

/// A real Gitea or Forgejo.
pub(crate) struct Real {
    base: String,
    token: String,
}

impl Real {
    /// The one that the environment names, or which variable is missing.
    pub(crate) fn named() -> Result<Self, String> {
        let var = |name: &str| cc_ci::env::var(name).ok_or_else(|| format!("{name} is not set"));
        Ok(Self { base: var("CC_CI_TEST_GITEA_URL")?, token: var("CC_CI_TEST_GITEA_TOKEN")? })
    }
}

impl World for Real {
    fn name(&self) -> String {
        self.base.clone()
    }
    fn base(&self) -> &str {
        self.base.trim_end_matches('/')
    }
    fn token(&self) -> &str {
        &self.token
    }
    fn is_kept(&self) -> bool {
        true
    }
}

/// Somebody with a token for everything.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) login: String,
    pub(crate) id: i64,
    password: String,
    pub(crate) token: String,
}

/// One scenario's own corner of a world.
pub(crate) struct Stage<'w> {
    pub(crate) world: &'w dyn World,
    http: reqwest::Client,
    /// Name of its organisation, also the beginning of all other names.
    pub(crate) org: String,
    pub(crate) clock: Arc<ManualClock>,
    made: std::sync::Mutex<Made>,
}

#[derive(Default)]
struct Made {
    users: Vec<String>,
    repos: Vec<i64>,
}

impl<'w> Stage<'w> {
    pub(crate) async fn set(world: &'w dyn World) -> Self {
        let http = cc_ci::http::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let org = format!("ccci{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
        let clock = Arc::new(ManualClock::at(cc_ci::clock::now()));
        let stage = Self { world, http, org, clock, made: std::sync::Mutex::default() };
        stage.admin(Method::POST, "orgs", json!({ "username": stage.org })).await;
        stage
    }

    /// Removes all that was made. What cannot be removed is named.
    pub(crate) async fn clear(&self) {
        let (users, repos) = {
            let mut made = self.made.lock().unwrap();
            (std::mem::take(&mut made.users), std::mem::take(&mut made.repos))
        };
        let token = self.world.token();
        let gone = |status: u16| matches!(status, 204 | 404);
        for id in repos {
            let (_, repo) = self.call(token, Method::GET, &format!("repositories/{id}"), Value::Null).await;
            if let Some(name) = repo["full_name"].as_str() {
                let (status, _) = self.call(token, Method::DELETE, &format!("repos/{name}"), Value::Null).await;
                if !gone(status) {
                    println!("left over on {}: {name}", self.world.name());
                }
            }
        }
        let (status, _) = self.call(token, Method::DELETE, &format!("orgs/{}", self.org), Value::Null).await;
        if !gone(status) {
            println!("left over on {}: {} ({status})", self.world.name(), self.org);
        }
        for login in users {
            let path = format!("admin/users/{login}?purge=true");
            let (status, _) = self.call(token, Method::DELETE, &path, Value::Null).await;
            if !gone(status) {
                println!("left over on {}: {login} ({status})", self.world.name());
            }
        }
    }

    /// One API call.
    pub(crate) async fn call(&self, token: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method, format!("{}/api/v1/{path}", self.world.base()));
        self.finish(request.header("Authorization", format!("token {token}")), body).await
    }

    async fn finish(&self, request: reqwest::RequestBuilder, body: Value) -> (u16, Value) {
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A call that must succeed.
    pub(crate) async fn must(&self, token: &str, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(token, method.clone(), path, body).await;
        assert!(status < 300, "setting the stage: {method} {path}: {status} {answer}");
        answer
    }

    /// The same, by the site administrator.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        self.must(self.world.token(), method, path, body).await
    }

    pub(crate) async fn user(&self, name: &str) -> Account {
        let (login, password) = (format!("{}-{name}", self.org), "Very-long-Passw0rd".to_owned());
        let body = json!({ "username": login, "email": format!("{login}@example.test"), "password": password, "must_change_password": false });
        let made = self.admin(Method::POST, "admin/users", body).await;
        self.made.lock().unwrap().users.push(login.clone());
        let mut account = Account { login, id: made["id"].as_i64().unwrap(), password, token: String::new() };
        account.token = self.token(&account, &["all"]).await;
        account
    }

    pub(crate) async fn token(&self, account: &Account, scopes: &[&str]) -> String {
        let url = format!("{}/api/v1/users/{}/tokens", self.world.base(), account.login);
        let request = self.http.post(url).basic_auth(&account.login, Some(&account.password));
        let name = uuid::Uuid::new_v4().to_string();
        let (status, made) = self.finish(request, json!({ "name": name, "scopes": scopes })).await;
        assert_eq!(status, 201, "{made}");
        made["sha1"].as_str().unwrap().to_owned()
    }

    /// The client under test.
    pub(crate) fn client(&self, token: &str) -> Client {
        let settings = Settings {
            base_url: self.world.base().to_owned(),
            token: Token::new(&SecretValue::new(token)).unwrap(),
            timeout: Duration::from_secs(30),
            clock: self.clock.clone(),
        };
        Client::new(settings).unwrap()
    }

    /// cc-ci's account, which administers the repository or only may write to it.
    pub(crate) async fn robot(&self, repo: &Repo, permission: &str) -> (Account, Client) {
        let robot = self.user(&format!("bot{}", repo.id.0)).await;
        self.collaborator(repo, &robot, permission).await;
        let token = self.token(&robot, SCOPES).await;
        let client = self.client(&token);
        (robot, client)
    }

    /// A repository of the stage's organisation with one commit on `main`.
    pub(crate) async fn repo(&self, name: &str) -> Repo {
        let body = json!({ "name": name, "auto_init": true, "default_branch": "main" });
        self.made_repo(self.admin(Method::POST, &format!("orgs/{}/repos", self.org), body).await).await
    }

    pub(crate) async fn repo_of(&self, owner: &Account, name: &str) -> Repo {
        let body = json!({ "name": name, "auto_init": true, "default_branch": "main" });
        self.made_repo(self.must(&owner.token, Method::POST, "user/repos", body).await).await
    }

    pub(crate) async fn fork(&self, of: &Repo, by: &Account) -> Repo {
        let path = format!("repos/{}/forks", of.full_name);
        self.made_repo(self.must(&by.token, Method::POST, &path, json!({})).await).await
    }

    async fn made_repo(&self, made: Value) -> Repo {
        let id = made["id"].as_i64().unwrap();
        self.made.lock().unwrap().repos.push(id);
        self.client(self.world.token()).repo(RepoId(id)).await.unwrap()
    }

    pub(crate) async fn collaborator(&self, repo: &Repo, who: &Account, permission: &str) {
        let path = format!("repos/{}/collaborators/{}", repo.full_name, who.login);
        self.admin(Method::PUT, &path, json!({ "permission": permission })).await;
    }

    /// A team with rights by unit, for all repositories of the organisation.
    pub(crate) async fn team(&self, name: &str, units: Value, members: &[&Account]) -> i64 {
        let keys: Vec<&String> = units.as_object().unwrap().keys().collect();
        let body = json!({ "name": name, "units": keys, "units_map": units, "permission": "read", "includes_all_repositories": true });
        let team = self.admin(Method::POST, &format!("orgs/{}/teams", self.org), body).await;
        let id = team["id"].as_i64().unwrap();
        for member in members {
            self.admin(Method::PUT, &format!("teams/{id}/members/{}", member.login), Value::Null).await;
        }
        id
    }

    /// A comment as somebody.
    pub(crate) async fn comment(&self, who: &Account, repo: &Repo, number: i64, text: &str) -> i64 {
        let path = format!("repos/{}/issues/{number}/comments", repo.full_name);
        self.must(&who.token, Method::POST, &path, json!({ "body": text })).await["id"].as_i64().unwrap()
    }

    /// Opens a pull request to `main`.
    pub(crate) async fn open(&self, who: &Account, repo: &Repo, head: &str) -> i64 {
        let body = json!({ "head": head, "base": "main", "title": format!("From {head}") });
        let path = format!("repos/{}/pulls", repo.full_name);
        self.must(&who.token, Method::POST, &path, body).await["number"].as_i64().unwrap()
    }

    /// One commit on a branch, made and pushed with git. Gives its hash.
    pub(crate) async fn push(&self, who: &Account, repo: &Repo, branch: &str, text: &str) -> String {
        self.pushed(who, repo, branch, text, false).await
    }

    /// One commit on top of `main` in place of all that the branch had.
    pub(crate) async fn force_push(&self, who: &Account, repo: &Repo, branch: &str, text: &str) -> String {
        self.pushed(who, repo, branch, text, true).await
    }

    async fn pushed(&self, who: &Account, repo: &Repo, branch: &str, text: &str, force: bool) -> String {
        let dir = tempfile::tempdir().unwrap();
        let url = self.world.base().replacen("://", &format!("://{}:{}@", who.login, who.token), 1);
        let url = format!("{url}/{}.git", repo.full_name);
        git(dir.path(), &["clone", "-q", &url, "."]).await;
        let there = !force && !git(dir.path(), &["ls-remote", "--heads", "origin", branch]).await.is_empty();
        let switch: &[&str] = if there { &["switch", "-q", branch] } else { &["switch", "-q", "-c", branch] };
        git(dir.path(), switch).await;
        std::fs::write(dir.path().join("compose.yml"), text).unwrap();
        git(dir.path(), &["add", "."]).await;
        git(dir.path(), &["commit", "-q", "-m", "Change it"]).await;
        let target = format!("{}HEAD:refs/heads/{branch}", if force { "+" } else { "" });
        git(dir.path(), &["push", "-q", "origin", &target]).await;
        git(dir.path(), &["rev-parse", "HEAD"]).await
    }

    /// Waits until both views of a pull request's head are this commit and the timeline tells of its push. Servers take
    /// a moment after a push, and do it in this order.
    pub(crate) async fn agreed(&self, client: &Client, repo: RepoId, number: i64, commit: &str) {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let agreement = async {
            loop {
                tick.tick().await;
                let live = client.pull(repo, number).await.unwrap().head.sha;
                let fetched = client.pull_ref(repo, number).await.unwrap();
                let told =
                    client.timeline(repo, number).await.unwrap().into_iter().rev().find_map(|e| match e.happened {
                        Happened::Push { head, .. } => head,
                        _ => None,
                    });
                if live == commit && fetched.as_deref() == Some(commit) && told.as_deref() == Some(commit) {
                    return;
                }
            }
        };
        let settled = tokio::time::timeout(Duration::from_secs(20), agreement).await;
        assert!(settled.is_ok(), "the head of #{number} never became {commit}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the person at the other end has git, not our wrapper")]
async fn git(dir: &Path, args: &[&str]) -> String {
    let out = tokio::process::Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.test"])
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("no_proxy", "*")
        .output()
        .await
        .unwrap();
    assert!(out.status.success(), "git {}: {}", args[0], String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}
