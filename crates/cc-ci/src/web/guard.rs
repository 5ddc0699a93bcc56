//! What every request passes: who may, where a form was sent from, and the headers of every answer.
//!
//! Each route states its [`Access`] in the route table; the check is made here, once, before any handler runs. A request
//! that changes something must come from these pages (cookie and form token) or carry a bearer token.

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::error::{Problem, WebError, dress, of_framework};
use super::session::{self, Viewer};
use super::state::{Right, WebState};

/// Largest body of a form or of an API request.
const BODY_MAX: usize = 64 * 1024;

/// Nothing but our own files, no inline style or script, no frames.
pub(super) const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// For files: shown alone, they are neither script nor form nor of our origin.
pub(super) const CSP_FILE: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: health, assets, login.
    Open,
    /// Those who may look; everybody if reading is public.
    Read,
    /// Those who may act.
    Act,
}

/// The check that a route's access asks for.
pub(super) async fn check(access: Access, state: WebState, mut request: Request, next: Next) -> Response {
    let viewer = session::viewer(request.headers(), &state.settings, &state.ended, state.clock.now());
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let bearer = session::bearer(request.headers()).is_some();
    if changes && !bearer && !own_origin(request.headers(), &state) {
        return WebError::Forbidden("the form was not sent from these pages; open the page again".into())
            .into_response();
    }
    let allowed = match access {
        Access::Open => true,
        Access::Read => state.settings.public_reading || viewer.right >= Some(Right::Read),
        Access::Act => viewer.right == Some(Right::Act),
    };
    if !allowed {
        return refuse(&viewer, &request);
    }
    if access == Access::Act && !bearer {
        let (parts, body) = request.into_parts();
        let Ok(bytes) = axum::body::to_bytes(body, BODY_MAX).await else {
            return WebError::Bad("the form is too large".into()).into_response();
        };
        let sent = form_token(&bytes);
        let fits = viewer.form.as_deref().zip(sent.as_deref()).is_some_and(|(want, sent)| session::same(want, sent));
        if !fits {
            return WebError::Forbidden("the form has expired; open the page again and repeat".into()).into_response();
        }
        request = Request::from_parts(parts, Body::from(bytes));
    }
    request.extensions_mut().insert(viewer);
    next.run(request).await
}

/// Outermost: counts the request, dresses errors, sets the headers of every answer.
pub(super) async fn wrap(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let machine = wants_json(&request);
    let viewer = session::viewer(request.headers(), &state.settings, &state.ended, state.clock.now());
    let started = state.clock.monotonic();
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| of_framework(&response));
    if let Some(problem) = problem {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = dress(&problem, response.status(), machine, &state, &viewer);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    state.metrics.request(method.as_str(), &route, response.status(), state.clock.since(started));
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &str); 6] = [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    // What depends on who looks is not for shared caches.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    response
}

fn refuse(viewer: &Viewer, request: &Request) -> Response {
    if viewer.person.is_some() {
        return WebError::Forbidden("your account may look, but not do this".into()).into_response();
    }
    if wants_json(request) || request.method() != Method::GET {
        return WebError::Unauthorized.into_response();
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", path).finish();
    Redirect::to(&format!("/login?{query}")).into_response()
}

/// What machines ask for gets its errors as JSON and is never sent to a login form.
fn wants_json(request: &Request) -> bool {
    let path = request.uri().path();
    let only_json = request
        .headers()
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json") && !accept.contains("text/html"));
    path.starts_with("/api/") || path == "/metrics" || path.ends_with("/events") || only_json
}

/// Whether a request that changes something was sent from these pages, as far as the browser says.
fn own_origin(headers: &HeaderMap, state: &WebState) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return false;
    }
    text(header::ORIGIN).is_none_or(|origin| origin == state.settings.public_url.origin().ascii_serialization())
}

fn form_token(body: &Bytes) -> Option<String> {
    url::form_urlencoded::parse(body).find(|(key, _)| key == "form").map(|(_, value)| value.into_owned())
}
