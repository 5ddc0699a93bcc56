//! A served set of pages on a seeded database.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cc_ci::clock::{Clock, SystemClock};
use cc_ci::domain::{Run, RunId};
use cc_ci::queue::accept::{self, Accepted};
use cc_ci::queue::{QueueConfig, cancel};
use cc_ci::store::Store;
use cc_ci::web::{
    AccessToken, ActionError, Actions, Done, Enqueue, ForgeLogin, Later, OpenPull, Parts, Person, Right, SessionKey,
    Settings, WebState, router, seed,
};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use url::Url;

pub(crate) const ACT: &str = "act-token-0123456789abcdef0123456789";
pub(crate) const LOOK: &str = "look-token-0123456789abcdef012345678";

/// What was asked of the queue.
pub(crate) struct QueueActions {
    store: Store,
    pub(crate) wishes: Mutex<Vec<Enqueue>>,
}

impl Actions for QueueActions {
    fn cancel<'a>(&'a self, run: i64, by: &'a Person) -> Later<'a, Result<Done, ActionError>> {
        Box::pin(async move {
            let mut write = self.store.begin_immediate().await.map_err(unavailable)?;
            cancel::cancel_run(&mut write, run, &by.login, SystemClock.now()).await.map_err(unavailable)?;
            write.commit().await.map_err(unavailable)?;
            Ok(Done { run: Some(run), message: "cancelled".into() })
        })
    }

    fn rerun<'a>(&'a self, run: i64, by: &'a Person) -> Later<'a, Result<Done, ActionError>> {
        Box::pin(async move {
            let mut write = self.store.begin_immediate().await.map_err(unavailable)?;
            let config = QueueConfig::default();
            let accepted = accept::rerun(&mut write, run, (by.id, &by.login), &config, SystemClock.now())
                .await
                .map_err(unavailable)?;
            write.commit().await.map_err(unavailable)?;
            match accepted {
                Some(Accepted::Queued { number, .. } | Accepted::Joined { number }) => {
                    Ok(Done { run: Some(number), message: "queued".into() })
                }
                other => Err(ActionError::Refused(format!("{other:?}"))),
            }
        })
    }

    fn enqueue<'a>(&'a self, what: &'a Enqueue, _: &'a Person) -> Later<'a, Result<Done, ActionError>> {
        Box::pin(async move {
            if what.recipe == "nothing" {
                return Err(ActionError::NotFound("recipe `nothing`".into()));
            }
            self.wishes.lock().unwrap().push(what.clone());
            Ok(Done { run: None, message: "queued".into() })
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn unavailable(error: cc_ci::store::StoreError) -> ActionError {
    ActionError::Unavailable(error.to_string())
}

/// A forge that knows one code.
pub(crate) struct Forge;

impl ForgeLogin for Forge {
    fn authorize_url(&self, state: &str, challenge: &str, callback: &Url) -> String {
        format!("https://forge.test/authorize?state={state}&code_challenge={challenge}&redirect_uri={callback}")
    }

    fn exchange<'a>(&'a self, code: &'a str, verifier: &'a str, _: &'a Url) -> Later<'a, Result<Person, String>> {
        Box::pin(async move {
            let good = code == "good" && verifier.len() == 43;
            good.then(|| Person { id: 7, login: "ana".into() }).ok_or_else(|| "the forge knows no such code".to_owned())
        })
    }
}

/// Pages that are served until this is dropped.
pub(crate) struct Served {
    pub(crate) base: Url,
    pub(crate) store: Store,
    pub(crate) runs_dir: PathBuf,
    pub(crate) actions: Arc<QueueActions>,
    /// Number of the run that runs.
    pub(crate) running: i64,
    pub(crate) state: WebState,
    client: reqwest::Client,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.state.stop.cancel();
        self.task.abort();
    }
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `name=value` of the cookie that was set.
    pub(crate) fn cookie(&self, name: &str) -> String {
        let all = self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        let found = all.filter_map(|value| value.split(';').next()).find(|pair| pair.starts_with(&format!("{name}=")));
        found.unwrap_or_else(|| panic!("no cookie {name} in {self:?}")).to_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Pages that everybody may read, with 300 runs.
pub(crate) async fn served() -> Served {
    serve(300, true, |_| {}).await
}

pub(crate) async fn serve(runs: usize, public: bool, change: impl FnOnce(&mut Parts)) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let runs_dir = folder.path().join("runs");
    let store = Store::open(&folder.path().join("web.db")).await.unwrap();
    let running = seed::seed(&store, runs, SystemClock.now(), Some(&runs_dir)).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base: Url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let settings = Settings {
        public_url: base.clone(),
        title: "cc-ci".into(),
        public_reading: public,
        forge_url: Some("https://git.coopcloud.tech".parse().unwrap()),
        slots: 1,
        tokens: vec![AccessToken::new("ops", ACT, Right::Act), AccessToken::new("reader", LOOK, Right::Read)],
        session_key: SessionKey::new([42; 32]),
        viewers: 8,
    };
    let actions = Arc::new(QueueActions { store: store.clone(), wishes: Mutex::default() });
    let pulls = [
        ("coop-cloud/gitea", vec![(7, "Upgrade to 1.24.7"), (9, "docs: say <b>how</b>")]),
        ("coop-cloud/n8n", vec![(3, "chore: publish 0.12.0+1.111.0")]),
        ("coop-cloud/wordpress", vec![]),
    ];
    let pulls = pulls.map(|(name, list)| {
        (name.to_owned(), list.into_iter().map(|(number, title)| OpenPull { number, title: title.into() }).collect())
    });
    let (_, open_pulls) = tokio::sync::watch::channel(Arc::new(pulls.into()));
    let state =
        WebState::new(store.clone(), &runs_dir, settings, actions.clone(), SystemClock::shared()).with(|parts| {
            parts.open_pulls = open_pulls;
            parts.login = Some(Arc::new(Forge));
            change(parts);
        });
    let app = router(state.clone());
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let client = cc_ci::http::builder().no_proxy().build().unwrap();
    Served { base, store, runs_dir, actions, running, state, client, task, _folder: folder }
}

impl Served {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{}", self.base, path.trim_start_matches('/'))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        read(self.request(Method::GET, path)).await
    }

    /// Logs in with a token and gives the session's cookie and the token of its forms.
    pub(crate) async fn session(&self, token: &str) -> (String, String) {
        let body = format!("token={token}");
        let answer = read(form(self.request(Method::POST, "/login"), &body)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        let cookie = answer.cookie("ccci");
        let page = read(self.request(Method::GET, "/runs/1").header("cookie", &cookie)).await;
        let token = page.text.split("name=\"form\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        (cookie, token.unwrap_or_default().to_owned())
    }

    /// Puts a record in the place of a finished run's.
    pub(crate) async fn replace_record(&self, number: i64, change: impl FnOnce(&mut Run)) -> RunId {
        let mut run = cc_ci::store::results::get(&mut self.store.read().await.unwrap(), number).await.unwrap().unwrap();
        change(&mut run);
        let mut write = self.store.begin_immediate().await.unwrap();
        cc_ci::store::results::put(&mut write, number, 1, &run, SystemClock.now()).await.unwrap();
        write.commit().await.unwrap();
        run.run
    }

    /// Number of the newest finished run that has a record.
    pub(crate) async fn newest_judged(&self) -> i64 {
        let answer = self.get("/api/v1/runs?limit=100").await.json();
        let judged = answer["runs"].as_array().unwrap().iter().find(|run| run["outcome"] == "judged");
        judged.unwrap()["number"].as_i64().unwrap()
    }
}

pub(crate) fn form(request: reqwest::RequestBuilder, body: &str) -> reqwest::RequestBuilder {
    request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned())
}

pub(crate) async fn read(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}
