//! One request and its answer: address, token, time limits, size limit, errors, pages.
//!
//! Nothing is repeated here on failure; the callers know what a repetition would do. A redirect is never followed, since
//! one that is followed would turn a POST into a GET. The rule to know: a page shorter than asked for says nothing, since
//! servers cut pages without a word.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::MAX_ANSWER;
use super::error::{Error, ErrorKind};
use super::token::Token;
use super::wire::{Wire, all};

/// Pages that are read at most: more is taken for a server that repeats itself.
const MAX_PAGES: u32 = 400;

/// Pages without an entry after which a list with gaps is over.
const EMPTY_PAGES: u32 = 3;

/// How often a list that changes while it is read is read again.
const READINGS: u32 = 3;

/// How a list tells where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// `X-Total-Count` counts all of it.
    Total,
    /// `X-Total-Count` counts the entries of the page, and entries that we may not see leave gaps: a page may be empty
    /// and the next one not. The timeline is such a list, and a push that is overlooked there would be run unseen.
    Gaps,
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Below `/api/v1`; every part is escaped, so a branch may hold slashes.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
    /// Act as this login; site administrators only.
    pub(super) sudo: Option<String>,
    /// For lists.
    pub(super) ending: Ending,
}

impl Call {
    pub(super) fn new(method: Method, path: &[&str]) -> Self {
        Self {
            method,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            query: Vec::new(),
            body: None,
            sudo: None,
            ending: Ending::Total,
        }
    }

    pub(super) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    pub(super) fn with_gaps(mut self) -> Self {
        self.ending = Ending::Gaps;
        self
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Method and path for errors and logs.
    pub(super) fn name(&self) -> String {
        format!("{} /{}", self.method, self.path.join("/"))
    }
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// `X-Total-Count`.
    total: Option<usize>,
    bytes: Vec<u8>,
    call: String,
}

impl Answer {
    /// Reads the body.
    pub(super) fn read<W: Wire>(&self) -> Result<W::Model, Error> {
        self.json::<W>()?.model().map_err(|lacks| self.lacking(lacks))
    }

    /// Reads the body as a list; `null` and nothing are an empty one.
    pub(super) fn list<W: Wire>(&self) -> Result<Vec<W::Model>, Error> {
        let list = if self.bytes.is_empty() { None } else { self.json::<Option<Vec<W>>>()? };
        all(list.unwrap_or_default()).map_err(|lacks| self.lacking(lacks))
    }

    pub(super) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        // The error's own text quotes the answer, which is foreign; line and column are enough.
        serde_json::from_slice(&self.bytes).map_err(|error| {
            let place = format!("status {}, line {}, column {}", self.status.as_u16(), error.line(), error.column());
            let kind = if error.is_eof() { ErrorKind::Truncated } else { ErrorKind::Decode };
            Error::new(kind, &self.call, &place)
        })
    }

    pub(super) fn lacking(&self, lacks: &str) -> Error {
        Error::new(ErrorKind::Decode, &self.call, &format!("lacks {lacks}"))
    }
}

/// Sends requests to one server as one account.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    http: reqwest::Client,
    base: Url,
    token: Token,
}

impl Transport {
    /// # Errors
    /// A text that says what is wrong with the address.
    pub(super) fn new(base: &str, token: Token, timeout: Duration) -> Result<Self, String> {
        let mut base = Url::parse(base).map_err(|error| format!("the forge's address cannot be read: {error}"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err("the forge's address must begin with https:// or http://".to_owned());
        }
        if !base.username().is_empty()
            || base.password().is_some()
            || base.query().is_some()
            || base.fragment().is_some()
        {
            return Err("the forge's address must be plain: no name, no password, no question mark".to_owned());
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut builder = crate::http::builder().timeout(timeout);
        let here = match base.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if here {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| format!("no HTTP client can be made: {error}"))?;
        Ok(Self { http, base, token })
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    fn url(&self, call: &Call) -> Result<Url, Error> {
        let mut url = self.base.clone();
        // Dots would climb out of the path that was meant.
        if let Some(bad) = call.path.iter().find(|part| matches!(part.as_str(), "" | "." | "..")) {
            let text = format!("{bad:?} cannot be part of an address");
            return Err(Error::new(ErrorKind::NotSent, &call.name(), &text));
        }
        match url.path_segments_mut() {
            Ok(mut segments) => {
                segments.pop_if_empty().extend(["api", "v1"]).extend(&call.path);
            }
            Err(()) => return Err(Error::new(ErrorKind::NotSent, &call.name(), "the forge's address has no path")),
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url)
    }

    /// Sends a request once. Any status but 2xx is an error.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, Error> {
        let name = call.name();
        let mut request = self
            .http
            .request(call.method.clone(), self.url(call)?)
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, self.token.header());
        if let Some(login) = &call.sudo {
            request = request.header("Sudo", login);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| failed(error, &name))?;
        let status = response.status();
        let text = |key: &str| response.headers().get(key).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let (total, retry_after, location) = (text("x-total-count"), text("retry-after"), text("location"));
        let bytes = read(response, &name).await;
        if status.is_success() {
            return Ok(Answer { status, total: total.and_then(|t| t.parse().ok()), bytes: bytes?, call: name });
        }
        // What an error says is of no use if it broke off, but its status is.
        let message = bytes.map(|bytes| message(&bytes)).unwrap_or_default();
        Err(Error::of_status(status.as_u16(), retry_after.as_deref(), location.as_deref(), &name, &message))
    }

    /// The `Date` header of an answer, whatever its status; `None` if there is none.
    pub(super) async fn date(&self, call: &Call) -> Result<Option<String>, Error> {
        let request = self.http.request(call.method.clone(), self.url(call)?);
        let response = request.send().await.map_err(|error| failed(error, &call.name()))?;
        Ok(response.headers().get(header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned))
    }

    /// Reads all pages of a list, once each entry by its key. A list that changes meanwhile is read again.
    pub(super) async fn pages<W: Wire, K: Ord + Clone>(
        &self,
        call: &Call,
        limit: u32,
        key: impl Fn(&W::Model) -> K,
    ) -> Result<Vec<W::Model>, Error> {
        let mut found: BTreeMap<K, (usize, W::Model)> = BTreeMap::new();
        let mut order = 0_usize;
        for reading in 1..=READINGS {
            let (mut first_total, mut changed, mut empty) = (None, false, 0);
            let mut seen = std::collections::BTreeSet::new();
            for page in 1.. {
                if page > MAX_PAGES {
                    return Err(Error::new(ErrorKind::AnswerTooLarge, &call.name(), "the list has no end"));
                }
                let answer =
                    self.send(&call.clone().query("page", page.to_string()).query("limit", limit.to_string())).await?;
                let entries = answer.list::<W>()?;
                let before = seen.len();
                empty = if entries.is_empty() { empty + 1 } else { 0 };
                for entry in entries {
                    let key = key(&entry);
                    order += 1;
                    let place = found.get(&key).map_or(order, |(place, _)| *place);
                    seen.insert(key.clone());
                    found.insert(key, (place, entry));
                }
                // A server that does not page this list repeats the first page for ever.
                let repeats = empty == 0 && seen.len() == before;
                let over = match call.ending {
                    Ending::Gaps => empty >= EMPTY_PAGES,
                    Ending::Total => {
                        changed |= page > 1 && answer.total != first_total;
                        first_total = if page == 1 { answer.total } else { first_total };
                        empty > 0 || answer.total.is_some_and(|total| seen.len() >= total)
                    }
                };
                if repeats || over {
                    break;
                }
            }
            if !changed || reading == READINGS {
                break;
            }
        }
        let mut entries: Vec<(usize, W::Model)> = found.into_values().collect();
        entries.sort_by_key(|(place, _)| *place);
        Ok(entries.into_iter().map(|(_, entry)| entry).collect())
    }
}

/// Reads a body up to the limit.
async fn read(mut response: Response, call: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| broke_off(error, call))? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(Error::new(ErrorKind::AnswerTooLarge, call, ""));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// `message` of an error's body, if there is one.
fn message(bytes: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        message: super::wire::Lax<String>,
    }
    serde_json::from_slice::<Body>(bytes).map(|body| body.message.0).unwrap_or_default()
}

fn failed(error: reqwest::Error, call: &str) -> Error {
    let kind = if error.is_timeout() {
        ErrorKind::Timeout
    } else if error.is_builder() {
        ErrorKind::NotSent
    } else {
        ErrorKind::Connect
    };
    Error::new(kind, call, &cause(&error.without_url()))
}

fn broke_off(error: reqwest::Error, call: &str) -> Error {
    let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Truncated };
    Error::new(kind, call, &cause(&error.without_url()))
}

/// The innermost reason, which says more than the outer ones.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::SecretValue;

    fn transport(base: &str) -> Result<Transport, String> {
        let token = Token::new(&SecretValue::new("0123456789012345678901234567890123456789")).unwrap();
        Transport::new(base, token, Duration::from_secs(1))
    }

    #[test]
    fn addresses() {
        let of = |base: &str, path: &[&str]| {
            transport(base).unwrap().url(&Call::get(path)).map(|url| url.to_string()).map_err(|error| error.kind)
        };
        assert_eq!(of("https://f.test", &["version"]), Ok("https://f.test/api/v1/version".into()));
        assert_eq!(of("https://f.test/git/", &["a", "b/c"]), Ok("https://f.test/git/api/v1/a/b%2Fc".into()));
        assert_eq!(
            of("https://f.test", &["repos", "ü ?#%2e"]),
            Ok("https://f.test/api/v1/repos/%C3%BC%20%3F%23%252e".into())
        );
        for bad in ["", ".", ".."] {
            assert_eq!(of("https://f.test", &["repos", bad, "x"]), Err(ErrorKind::NotSent));
        }
        for bad in ["f.test", "ftp://f.test", "https://me:pw@f.test", "https://f.test/?token=x", "file:///etc", ""] {
            assert!(transport(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_shows_the_token() {
        let shown = format!("{:?}", transport("https://f.test").unwrap());
        assert!(!shown.contains("0123456789"), "{shown}");
    }
}
