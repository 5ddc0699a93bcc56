//! What goes wrong, as a page for people and as JSON for machines.
//!
//! A handler only says what is wrong; [`super::guard::wrap`] knows who asked and dresses it. What the database or the
//! file system said goes to the log, not to the page.

use askama::Template;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;

use crate::store::StoreError;

use super::pages::Page;
use super::session::Viewer;
use super::state::{ActionError, WebState};

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    /// There is no such thing.
    #[error("{0} was not found")]
    NotFound(String),
    /// The request makes no sense.
    #[error("{0}")]
    Bad(String),
    /// There is such a page, but not for this method.
    #[error("this address takes no such request; the header `Allow` says which it takes")]
    Method,
    /// Nobody is logged in.
    #[error("this needs a login, or a token in the header `Authorization: Bearer …`")]
    Unauthorized,
    /// Somebody is, but may not.
    #[error("{0}")]
    Forbidden(String),
    /// It cannot be done as things are.
    #[error("{0}")]
    Conflict(String),
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
    /// The database failed.
    #[error("the database did not answer as it should; the operator finds the cause in the log")]
    Store(#[from] StoreError),
    /// A fault of this program.
    #[error("the page could not be made; the operator finds the cause in the log")]
    Internal(String),
}

/// What a handler was never called for, because the framework could not read the request: a path that is no UTF-8, a
/// form of another type. Its answer is plain text and says much about this program and little to a person.
pub(super) fn of_framework(response: &Response) -> Option<Problem> {
    let plain =
        response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    (response.status().is_client_error() && plain)
        .then(|| Problem("the request cannot be read: see whether address and form are whole".to_owned()))
}

/// What [`super::guard::wrap`] makes a page or JSON of.
#[derive(Debug, Clone)]
pub(super) struct Problem(String);

impl WebError {
    fn status(&self) -> StatusCode {
        match self {
            WebError::NotFound(_) => StatusCode::NOT_FOUND,
            WebError::Bad(_) => StatusCode::BAD_REQUEST,
            WebError::Method => StatusCode::METHOD_NOT_ALLOWED,
            WebError::Unauthorized => StatusCode::UNAUTHORIZED,
            WebError::Forbidden(_) => StatusCode::FORBIDDEN,
            WebError::Conflict(_) => StatusCode::CONFLICT,
            WebError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            WebError::Store(_) | WebError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<ActionError> for WebError {
    fn from(error: ActionError) -> Self {
        match error {
            ActionError::NotFound(what) => WebError::NotFound(what),
            ActionError::NotAllowed(why) => WebError::Forbidden(why),
            ActionError::Refused(why) => WebError::Conflict(why),
            ActionError::Unavailable(_) => WebError::Unavailable(error.to_string()),
        }
    }
}

impl From<askama::Error> for WebError {
    fn from(error: askama::Error) -> Self {
        WebError::Internal(error.to_string())
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        match &self {
            WebError::Store(error) => tracing::error!("pages: {error}"),
            WebError::Internal(why) => tracing::error!("pages: {why}"),
            WebError::NotFound(_)
            | WebError::Bad(_)
            | WebError::Method
            | WebError::Unauthorized
            | WebError::Forbidden(_)
            | WebError::Conflict(_)
            | WebError::Unavailable(_) => {}
        }
        let text = self.to_string();
        let mut response = (self.status(), text.clone()).into_response();
        response.extensions_mut().insert(Problem(text));
        response
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    page: Page,
    heading: &'a str,
    /// A sentence that begins with a capital letter.
    text: String,
    login: bool,
}

/// A message with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let mut sentence: String = first.chain(letters).collect();
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}

/// Makes the answer of a problem.
pub(super) fn dress(
    problem: &Problem,
    status: StatusCode,
    machine: bool,
    state: &WebState,
    viewer: &Viewer,
) -> Response {
    let Problem(text) = problem;
    let heading = status.canonical_reason().unwrap_or("Error");
    let mut response = if machine {
        (status, Json(json!({ "error": text, "status": status.as_u16() }))).into_response()
    } else {
        let page = Page::new(heading, "", state, viewer);
        let login = status == StatusCode::UNAUTHORIZED;
        let body =
            ProblemPage { page, heading, text: sentence(text), login }.render().unwrap_or_else(|_| "Error".to_owned());
        (status, Html(body)).into_response()
    };
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cc-ci\""));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_sentences() {
        for (text, want) in [("run 7 was not found", "Run 7 was not found."), ("Éa.", "Éa."), ("", "."), ("ßx", "SSx.")]
        {
            assert_eq!(sentence(text), want);
        }
    }
}
