//! Answers, and the shapes errors have. Some errors have no body at all, as in Gitea.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::config::Flavour;
use crate::webhook::escape_html;
use crate::world::World;

/// The content type of every JSON answer.
const JSON: &str = "application/json;charset=utf-8";

/// What is in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    Empty,
    Json(Value),
    Text(String),
    Html(String),
    Bytes(Vec<u8>, &'static str),
}

/// An answer before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub content: Content,
}

/// An answer, or the error answer that ended the request early.
pub(crate) type Answer = Result<Reply, Reply>;

impl Reply {
    pub(crate) fn json(status: u16, value: Value) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(value) }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Content::Empty }
    }

    pub(crate) fn text(status: u16, text: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), content: Content::Text(text.into()) }
    }

    pub(crate) fn html(status: u16, text: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), content: Content::Html(text.into()) }
    }

    pub(crate) fn redirect(status: u16, to: impl Into<String>) -> Self {
        Self { status, headers: vec![("Location", to.into())], content: Content::Empty }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Message only, without `url`: what the checks in front of the API answer.
    pub(crate) fn bare(status: u16, message: &str) -> Self {
        Self::json(status, json!({ "message": message }))
    }

    /// The body as it goes over the wire.
    pub(crate) fn bytes(&self, html_escape: bool) -> Vec<u8> {
        match &self.content {
            Content::Empty => Vec::new(),
            Content::Json(value) => {
                let text = value.to_string();
                let mut text = if html_escape { escape_html(&text) } else { text };
                text.push('\n');
                text.into_bytes()
            }
            Content::Text(text) | Content::Html(text) => text.clone().into_bytes(),
            Content::Bytes(bytes, _) => bytes.clone(),
        }
    }

    /// The HTTP response with this body.
    pub(crate) fn response(&self, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = match &self.content {
            Content::Empty => None,
            Content::Json(_) => Some(JSON),
            Content::Text(_) => Some("text/plain;charset=utf-8"),
            Content::Html(_) => Some("text/html; charset=utf-8"),
            Content::Bytes(_, kind) => Some(*kind),
        };
        if let Some(kind) = kind {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().append(*name, value);
            }
        }
        response
    }
}

fn doc_url(world: &World) -> String {
    format!("{}api/swagger", world.root_url)
}

/// `{message, url}`.
pub(crate) fn fail(world: &World, status: u16, message: impl Into<String>) -> Reply {
    Reply::json(status, json!({ "message": message.into(), "url": doc_url(world) }))
}

/// The 404 of the common helper.
pub(crate) fn not_found(world: &World) -> Reply {
    match world.flavour {
        Flavour::Gitea => Reply::json(404, json!({ "errors": null, "message": "not found", "url": doc_url(world) })),
        Flavour::OldGitea | Flavour::Forgejo => {
            Reply::json(404, json!({ "errors": [], "message": "The target couldn't be found.", "url": doc_url(world) }))
        }
    }
}

/// A 500; its message is only for site administrators and in development mode.
pub(crate) fn internal(world: &World, admin: bool, message: &str) -> Reply {
    let shown = if admin || world.switches.dev_mode { message } else { "" };
    fail(world, 500, shown)
}
