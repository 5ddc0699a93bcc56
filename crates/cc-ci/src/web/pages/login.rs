//! Login with a configured token or with the forge's account, and logout.
//!
//! The way to the forge and back is bound to this browser by a signed cookie that holds the state and the PKCE verifier:
//! a callback that another browser began, or that is repeated after its time, begins no session.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use serde::Deserialize;
use url::Url;

use super::{Page, html};
use crate::web::error::WebError;
use crate::web::session::{self, LoginCookie, Purpose, Viewer};
use crate::web::state::{Right, WebState};

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    page: Page,
    next: String,
    forge: Option<String>,
    tokens: bool,
    wrong: bool,
}

/// Where to go afterwards.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Next {
    next: Option<String>,
}

/// The form.
#[derive(Deserialize)]
pub(crate) struct TokenForm {
    token: String,
    #[serde(default)]
    next: String,
}

/// What the forge sends the browser back with.
#[derive(Deserialize)]
pub(crate) struct Callback {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
}

/// `GET /login`
pub(crate) async fn show(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    Query(next): Query<Next>,
) -> Result<Response, WebError> {
    html(&page(&state, &viewer, session::safe_next(next.next.as_deref()), false))
}

/// `POST /login`
pub(crate) async fn with_token(
    State(state): State<WebState>,
    Extension(viewer): Extension<Viewer>,
    Form(form): Form<TokenForm>,
) -> Result<Response, WebError> {
    let next = session::safe_next(Some(&form.next));
    let found = state.settings.tokens.iter().filter_map(|known| known.matches(form.token.trim())).next_back();
    let Some((person, right)) = found else {
        tracing::info!("a login with an unknown token was refused");
        let mut response = html(&page(&state, &viewer, next, true))?;
        *response.status_mut() = axum::http::StatusCode::FORBIDDEN;
        return Ok(response);
    };
    let begun = session::begin(&state.settings, person, right, state.clock.now());
    Ok(to(&next, &[begun]))
}

/// `/login/forge`
pub(crate) async fn to_forge(State(state): State<WebState>, Query(next): Query<Next>) -> Result<Response, WebError> {
    let login = state.login.as_ref().ok_or_else(no_forge)?;
    let begun = LoginCookie {
        state: session::random_text(),
        verifier: session::random_text(),
        next: session::safe_next(next.next.as_deref()),
        until: (state.clock.now() + session::LOGIN).as_millisecond(),
    };
    let address = login.authorize_url(&begun.state, &session::challenge(&begun.verifier), &callback_url(&state)?);
    Ok(to(&address, &[session::begin_login(&state.settings, &begun)]))
}

/// `/login/callback`
pub(crate) async fn callback(
    State(state): State<WebState>,
    headers: HeaderMap,
    Query(back): Query<Callback>,
) -> Result<Response, WebError> {
    let login = state.login.as_ref().ok_or_else(no_forge)?;
    let now = state.clock.now();
    let begun = session::begun_login(&headers, &state.settings, now)
        .ok_or_else(|| WebError::Forbidden("this login was not begun here, or too long ago; begin again".into()))?;
    if !back.state.as_deref().is_some_and(|state| session::same(state, &begun.state)) {
        return Err(WebError::Forbidden("this answer belongs to another login; begin again".into()));
    }
    let code = match (back.code, back.error) {
        (Some(code), None) => code,
        _ => return Err(WebError::Forbidden("the forge did not agree to the login".into())),
    };
    let person = login.exchange(&code, &begun.verifier, &callback_url(&state)?).await.map_err(WebError::Unavailable)?;
    let settings = &state.settings;
    Ok(to(&begun.next, &[session::begin(settings, person, Right::Act, now), session::end(settings, Purpose::Login)]))
}

/// `POST /logout`
pub(crate) async fn logout(State(state): State<WebState>, headers: HeaderMap) -> Response {
    state.ended.end(&headers, &state.settings, state.clock.now());
    to("/", &[session::end(&state.settings, Purpose::Session)])
}

fn page(state: &WebState, viewer: &Viewer, next: String, wrong: bool) -> Login {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", &next).finish();
    Login {
        page: Page::new("Log in", "login", state, viewer),
        next,
        forge: state.login.is_some().then(|| format!("/login/forge?{query}")),
        tokens: !state.settings.tokens.is_empty(),
        wrong,
    }
}

fn callback_url(state: &WebState) -> Result<Url, WebError> {
    state.settings.public_url.join("/login/callback").map_err(|error| WebError::Internal(error.to_string()))
}

fn no_forge() -> WebError {
    WebError::NotFound("a login with the forge".into())
}

fn to(address: &str, cookies: &[String]) -> Response {
    let mut response = Redirect::to(address).into_response();
    for cookie in cookies {
        // Names, base64 and numbers only, so this is always a valid header.
        if let Ok(value) = HeaderValue::from_str(cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}
