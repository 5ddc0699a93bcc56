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

/// What [`super::guard::wrap`] makes a page or JSON of.
#[derive(Debug, Clone)]
pub(super) struct Problem(String);

impl WebError {
    fn status(&self) -> StatusCode {
        match self {
            WebError::NotFound(_) => StatusCode::NOT_FOUND,
            WebError::Bad(_) => StatusCode::BAD_REQUEST,
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
    text: &'a str,
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
        let body = ProblemPage { page, heading, text }.render().unwrap_or_else(|_| "Error".to_owned());
        (status, Html(body)).into_response()
    };
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"cc-ci\""));
    }
    response
}
