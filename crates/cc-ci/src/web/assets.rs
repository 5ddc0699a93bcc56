//! Style sheet, script and icon, compiled into the program.

use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::WebError;

const STYLE: &str = include_str!("../../web-assets/style.css");
const SCRIPT: &str = include_str!("../../web-assets/live.js");
const ICON: &str = include_str!("../../web-assets/icon.svg");

/// Changes whenever one of the files does; part of their addresses, so that browsers may keep them for ever.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for part in [STYLE, SCRIPT, ICON] {
        hash.update(part.as_bytes());
    }
    hex::encode(&hash.finalize()[..6])
});

/// `/assets/{name}`
pub(super) async fn serve(Path(name): Path<String>, RawQuery(query): RawQuery) -> Result<Response, WebError> {
    let (kind, text) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", STYLE),
        "live.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        _ => return Err(WebError::NotFound("this file".into())),
    };
    let asked = query.and_then(|query| query.strip_prefix("v=").map(str::to_owned));
    let keep = if asked.as_deref() == Some(VERSION.as_str()) {
        "public, max-age=31536000, immutable"
    } else {
        "public, max-age=300"
    };
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], text).into_response())
}
