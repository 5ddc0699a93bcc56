//! An HTTP caller, a webhook receiver and a git runner.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use forge_sim::Sim;
use reqwest::Method;
use serde_json::{Value, json};

/// An answer, read.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {:?}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

pub(crate) fn client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

/// Calls as the owner of a token; an empty token is nobody.
pub(crate) async fn call(sim: &Sim, token: &str, method: Method, path: &str, body: Value) -> Got {
    try_call(sim, token, method, path, body).await.unwrap()
}

pub(crate) async fn try_call(
    sim: &Sim,
    token: &str,
    method: Method,
    path: &str,
    body: Value,
) -> Result<Got, reqwest::Error> {
    let mut request = client().request(method, format!("{}/api/v1/{path}", sim.url()));
    if !token.is_empty() {
        request = request.header("Authorization", format!("token {token}"));
    }
    if !body.is_null() {
        request = request.json(&body);
    }
    let answer = request.send().await?;
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Ok(Got { status, headers, text: answer.text().await? })
}

pub(crate) async fn get(sim: &Sim, token: &str, path: &str) -> Got {
    call(sim, token, Method::GET, path, Value::Null).await
}

pub(crate) async fn post(sim: &Sim, token: &str, path: &str, body: Value) -> Got {
    call(sim, token, Method::POST, path, body).await
}

pub(crate) async fn patch(sim: &Sim, token: &str, path: &str, body: Value) -> Got {
    call(sim, token, Method::PATCH, path, body).await
}

/// A token for everything.
pub(crate) fn token(sim: &Sim, login: &str) -> String {
    sim.token(login, &["all"]).unwrap()
}

/// The usual stage: `recipes/app` with `alice` (write), `bob` (a stranger), and an open pull
/// request of hers from the branch `upgrade`.
pub(crate) async fn stage() -> (Sim, forge_sim::PrRef) {
    let sim = Sim::start().await.unwrap();
    let pr = furnish(&sim);
    (sim, pr)
}

pub(crate) fn furnish(sim: &Sim) -> forge_sim::PrRef {
    sim.user("alice").unwrap();
    sim.user("bob").unwrap();
    sim.org("recipes").unwrap();
    sim.repo("recipes/app").unwrap().collaborator("alice", "write").unwrap();
    sim.push_as("alice", "recipes/app", "upgrade", &[("compose.yml", "services: {}\n")]).unwrap();
    sim.open_pr("alice", "recipes/app", "upgrade", "Upgrade app").unwrap()
}

/// What a webhook receiver got.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Received {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// A webhook receiver on loopback.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub url: String,
    got: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        Self::answering(StatusCode::ACCEPTED, Duration::ZERO).await
    }

    pub(crate) async fn answering(status: StatusCode, delay: Duration) -> Self {
        let got = Arc::new(Mutex::new(Vec::new()));
        let take = move |State(got): State<Arc<Mutex<Vec<Received>>>>, headers: HeaderMap, body: Bytes| async move {
            got.lock().unwrap().push(Received { headers, body: body.to_vec() });
            tokio::time::sleep(delay).await;
            status
        };
        let app = axum::Router::new().fallback(axum::routing::any(take)).with_state(Arc::clone(&got));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, got }
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.got.lock().unwrap().clone()
    }
}

/// Runs git in a directory; panics with its words if it fails.
pub(crate) async fn git(dir: &Path, args: &[&str]) -> String {
    let (ok, text) = try_git(dir, args).await;
    assert!(ok, "git {args:?}: {text}");
    text
}

pub(crate) async fn try_git(dir: &Path, args: &[&str]) -> (bool, String) {
    let out = tokio::process::Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.test", "-c", "protocol.version=2"])
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env_remove("http_proxy")
        .env_remove("HTTP_PROXY")
        .output()
        .await
        .unwrap();
    let text = if out.status.success() { out.stdout } else { out.stderr };
    (out.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
}

/// The URL of a repository with a token as password.
pub(crate) fn git_url(sim: &Sim, token: &str, repo: &str) -> String {
    sim.url().replacen("http://", &format!("http://x:{token}@"), 1) + "/" + repo + ".git"
}

/// Adds a hook over the API and returns it.
pub(crate) async fn add_hook(sim: &Sim, url: &str, events: &[&str]) -> Value {
    let admin = token(sim, sim.admin());
    let body = json!({
        "type": "gitea", "active": true, "events": events,
        "config": { "url": url, "content_type": "json", "secret": "s3cret" },
    });
    let made = post(sim, &admin, "repos/recipes/app/hooks", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()
}
