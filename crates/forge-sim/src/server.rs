//! The listening side: reads a request, logs it, lets faults happen, hands it to the part it is for.
//!
//! It speaks HTTP/1 by itself rather than through a router, because some faults close the
//! connection without an answer. A request that has begun runs to its end even if the client goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

use crate::api::{Cx, dispatch, parse_body};
use crate::auth::{authenticate, check_scopes, sudo};
use crate::faults::ApiFault;
use crate::reply::{Reply, fail, not_found};
use crate::world::{Logged, World};

/// The largest request body taken, in bytes: a push of a recipe is far smaller.
const MAX_BODY: usize = 256 << 20;

/// Characters of a request body the log keeps.
const LOGGED_BODY: usize = 64 << 10;

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    world: Mutex<World>,
    pub http: reqwest::Client,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("root_url", &self.root_url).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(world: World, http: reqwest::Client) -> Self {
        Self { world: Mutex::new(world), http }
    }

    /// The world, locked. A handler that panicked must not take the others with it.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection closed on purpose")]
pub(crate) struct Hangup;

/// A request with its body read.
pub(crate) struct Asked {
    pub method: String,
    /// Percent-decoded segments, without empty ones.
    pub path: Vec<String>,
    pub raw_path: String,
    pub raw_query: String,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    async fn read(parts: Parts, body: Incoming) -> Result<Self, axum::Error> {
        let raw_path = parts.uri.path().to_owned();
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        let decode = |s: &str| percent_decode_str(s).decode_utf8_lossy().into_owned();
        Ok(Self {
            method: parts.method.as_str().to_owned(),
            path: raw_path.split('/').filter(|s| !s.is_empty()).map(decode).collect(),
            query: url::form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect(),
            raw_path,
            raw_query,
            headers: parts.headers,
            body: to_bytes(Body::new(body), MAX_BODY).await?,
        })
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

/// Accepts connections until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let shared = Arc::clone(&shared);
                async move {
                    let done = tokio::spawn(answer(shared, request)).await;
                    done.unwrap_or(Err(Hangup))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // A broken connection is the client's business, or was asked for.
            drop(connection.await);
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Hangup> {
    let (parts, body) = request.into_parts();
    let asked = Asked::read(parts, body).await.map_err(|_| Hangup)?;
    if asked.path.first().is_some_and(|s| s == "_sim") {
        return Ok(crate::control::handle(&shared, &asked).await);
    }
    let (number, fault) = log(&shared, &asked);
    let html_escape = shared.world().switches.html_escape;
    match fault {
        Some(ApiFault::Status { code, retry_after }) => {
            let mut reply = Reply::text(code, "");
            if let Some(seconds) = retry_after {
                reply = reply.with("Retry-After", seconds.to_string());
            }
            finish(&shared, number, code);
            return Ok(reply.response(Body::from(reply.bytes(html_escape))));
        }
        Some(ApiFault::Hang { millis }) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            return Err(Hangup);
        }
        Some(ApiFault::Slow { millis }) => tokio::time::sleep(Duration::from_millis(millis)).await,
        Some(ApiFault::CommitThenStatus { .. } | ApiFault::CommitThenHang { .. } | ApiFault::Truncate) | None => {}
    }
    let response = handle(&shared, asked).await;
    finish(&shared, number, response.status().as_u16());
    match fault {
        Some(ApiFault::CommitThenStatus { code }) => Ok(Reply::text(code, "").response(Body::empty())),
        Some(ApiFault::CommitThenHang { millis }) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Err(Hangup)
        }
        Some(ApiFault::Truncate) => Ok(truncated(response).await),
        Some(ApiFault::Status { .. } | ApiFault::Hang { .. } | ApiFault::Slow { .. }) | None => Ok(response),
    }
}

/// Promises the whole body and breaks off in its middle.
async fn truncated(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let whole = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len().max(1)));
    let half = whole.slice(..whole.len() / 2);
    let broken = futures_util::stream::iter([Ok(half), Err(std::io::Error::other("cut on purpose"))]);
    Response::from_parts(parts, Body::from_stream(broken))
}

fn log(shared: &Shared, asked: &Asked) -> (usize, Option<ApiFault>) {
    let mut world = shared.world();
    let world = &mut *world;
    let actor = authenticate(world, &asked.headers, &asked.query).ok();
    let actor = actor.and_then(|a| sudo(world, a, &asked.headers, &asked.query).ok());
    let actor = actor.and_then(|a| a.user).map(|id| world.login(id));
    let shown = String::from_utf8_lossy(&asked.body[..asked.body.len().min(LOGGED_BODY)]).into_owned();
    let fault = world.faults.take_request(&asked.method, &asked.raw_path, actor.as_deref(), &shown);
    let at = world.now();
    world.requests.push(Logged {
        at,
        method: asked.method.clone(),
        path: asked.raw_path.clone(),
        query: asked.raw_query.clone(),
        actor,
        body: shown,
        status: None,
        fault: fault.as_ref().map(|f| format!("{f:?}")),
    });
    (world.requests.len() - 1, fault)
}

fn finish(shared: &Shared, number: usize, status: u16) {
    if let Some(logged) = shared.world().requests.get_mut(number) {
        logged.status = Some(status);
    }
}

async fn handle(shared: &Arc<Shared>, asked: Asked) -> Response<Body> {
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["api", "v1", ..] | ["api", "forgejo", ..] => {
            let inner = Arc::clone(shared);
            let done = tokio::task::spawn_blocking(move || api(&inner, &asked)).await;
            done.unwrap_or_else(|_| Reply::empty(500).response(Body::empty()))
        }
        ["api", "healthz"] => simple(shared, &Reply::json(200, serde_json::json!({ "status": "pass" }))),
        ["login", "oauth", ..] | [".well-known", "openid-configuration"] => crate::oauth::handle(shared, &asked),
        [_, _, "info", "refs"] | [_, _, "git-upload-pack" | "git-receive-pack"] => {
            crate::git_http::handle(shared, asked).await
        }
        _ => simple(shared, &Reply::text(404, "Not found.\n")),
    }
}

pub(crate) fn simple(shared: &Shared, reply: &Reply) -> Response<Body> {
    let html_escape = shared.world().switches.html_escape;
    reply.response(Body::from(reply.bytes(html_escape)))
}

fn api(shared: &Shared, asked: &Asked) -> Response<Body> {
    let mut world = shared.world();
    let reply = api_reply(&mut world, asked);
    reply.response(Body::from(reply.bytes(world.switches.html_escape)))
}

fn api_reply(world: &mut World, asked: &Asked) -> Reply {
    let path: Vec<&str> = asked.path.iter().skip(2).map(String::as_str).collect();
    if asked.path.get(1).is_some_and(|s| s == "forgejo") {
        let forgejo = world.flavour == crate::config::Flavour::Forgejo;
        return if forgejo && path == ["v1", "version"] {
            Reply::json(200, serde_json::json!({ "version": world.flavour.version() }))
        } else {
            not_found(world)
        };
    }
    let actor = match authenticate(world, &asked.headers, &asked.query) {
        Ok(actor) => actor,
        Err(reply) => return reply,
    };
    let write = !matches!(asked.method.as_str(), "GET" | "HEAD" | "OPTIONS");
    if let Err(reply) = check_scopes(world, &actor, &path, write) {
        return reply;
    }
    let actor = match sudo(world, actor, &asked.headers, &asked.query) {
        Ok(actor) => actor,
        Err(reply) => return reply,
    };
    let body = match parse_body(asked.header("content-type"), &asked.body) {
        Ok(body) => body,
        Err(message) => return fail(world, 422, message),
    };
    let raw = asked.raw_path.trim_start_matches("/api/v1/").to_owned();
    let mut cx = Cx { w: world, actor, query: asked.query.clone(), body, path: raw };
    dispatch(&mut cx, &asked.method, &path)
}
