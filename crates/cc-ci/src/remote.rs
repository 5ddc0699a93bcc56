//! The client of a running `cc-ci serve`: its queue, and wishes about it, over the JSON that its pages have too.
//!
//! It knows of the server only what `/api/v1/openapi.json` promises, so that it works from another machine and with a
//! server of another version. It must never say a token in an error. The rule to know: what the server answers is text
//! of people and recipes; whoever prints it makes it harmless first.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::redact::SecretValue;

/// For one call.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What runs and what waits, as `GET /api/v1/queue` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Queue {
    /// What runs.
    pub running: Vec<Running>,
    /// What waits, in the order in which it will probably start.
    pub waiting: Vec<Waiting>,
    /// How many may run side by side.
    pub slots: usize,
}

/// A run that runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Running {
    /// The run.
    pub run: Brief,
    /// How long it probably still needs, in seconds.
    pub expected_seconds: i64,
}

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Waiting {
    /// The run.
    pub run: Brief,
    /// Place in the queue, from 1; absent while it may not start yet.
    pub position: Option<usize>,
    /// Until it probably starts, in seconds.
    pub until_start_seconds: Option<i64>,
    /// Until it probably has a verdict, in seconds.
    pub until_verdict_seconds: Option<i64>,
}

/// A run in short.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Brief {
    /// Its number.
    pub number: i64,
    /// Recipe.
    pub recipe: String,
    /// Pull request, if it is for one.
    pub pull: Option<i64>,
    /// Commit, in full.
    pub commit: String,
    /// Why it waits, in one line.
    pub why: String,
    /// What it is doing.
    pub progress: String,
    /// Who asked first.
    pub person: String,
    /// How often it was begun.
    pub attempt: i64,
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A test.
    Add {
        /// Recipe, or `owner/name` of its repository.
        recipe: String,
        /// Branch, tag or commit; the default branch if absent.
        reference: Option<String>,
        /// The head of this pull request instead.
        pull: Option<i64>,
    },
    /// An end to a run that waits or runs.
    Cancel(i64),
    /// Another run of the same commit.
    Rerun(i64),
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Done {
    /// The run to look at.
    pub run: Option<i64>,
    /// A sentence.
    pub message: String,
}

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Nobody answers, or not in time.
    #[error("{server} does not answer: {why}")]
    Down {
        /// Its address.
        server: String,
        /// What went wrong.
        why: String,
    },
    /// It does not know who asks, or that account may not do this.
    #[error("{server} lets nobody do this without a token that may: {why}")]
    NotAllowed {
        /// Its address.
        server: String,
        /// In the server's words.
        why: String,
    },
    /// It understood, and declines.
    #[error("{0}")]
    Declined(String),
    /// It is no `cc-ci serve`, or one that speaks otherwise.
    #[error("{server} does not answer as `cc-ci serve` does: {why}")]
    Strange {
        /// Its address.
        server: String,
        /// What is odd.
        why: String,
    },
}

/// A server, and perhaps who we are there.
#[derive(Debug)]
pub struct Remote {
    base: Url,
    token: Option<SecretValue>,
    http: reqwest::Client,
}

impl Remote {
    /// The server at this address.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(base: Url, token: Option<SecretValue>) -> Result<Self, RemoteError> {
        let http = crate::http::builder().timeout(TIMEOUT).build();
        let http = http.map_err(|error| RemoteError::Down { server: base.to_string(), why: cause(&error) })?;
        Ok(Self { base, token, http })
    }

    /// The queue, as the server writes it and as this program reads it.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn queue(&self) -> Result<(Value, Queue), RemoteError> {
        let raw: Value = self.call(Method::GET, "api/v1/queue", None).await?;
        let read = serde_json::from_value(raw.clone()).map_err(|error| self.strange(error.to_string()))?;
        Ok((raw, read))
    }

    /// Asks for something.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub async fn ask(&self, wish: &Wish) -> Result<Done, RemoteError> {
        match wish {
            Wish::Add { recipe, reference, pull } => {
                let body = json!({ "recipe": recipe, "reference": reference, "pull": pull });
                self.call(Method::POST, "api/v1/runs", Some(&body)).await
            }
            Wish::Cancel(run) => self.call(Method::POST, &format!("api/v1/runs/{run}/cancel"), None).await,
            Wish::Rerun(run) => self.call(Method::POST, &format!("api/v1/runs/{run}/rerun"), None).await,
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, RemoteError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        let mut request = self.http.request(method, url).header("Accept", "application/json");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let down = |error: reqwest::Error| RemoteError::Down { server: self.base.to_string(), why: cause(&error) };
        let answer = request.send().await.map_err(down)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(down)?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| self.strange(error.to_string()));
        }
        Err(self.refusal(status, &bytes))
    }

    fn refusal(&self, status: StatusCode, bytes: &[u8]) -> RemoteError {
        let said = serde_json::from_slice::<Value>(bytes).ok();
        let Some(why) = said.as_ref().and_then(|said| said["error"].as_str()).map(str::to_owned) else {
            return self.strange(format!("HTTP {status}"));
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RemoteError::NotAllowed { server: self.base.to_string(), why }
            }
            status if status.is_server_error() => RemoteError::Down { server: self.base.to_string(), why },
            _ => RemoteError::Declined(why),
        }
    }

    fn strange(&self, why: String) -> RemoteError {
        RemoteError::Strange { server: self.base.to_string(), why }
    }
}

/// The innermost cause: "connection refused" says more than "error sending request".
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
