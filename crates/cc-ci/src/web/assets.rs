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

/// Name, ground and sign of the icons that show how a run stands.
const STATES: [(&str, &str, &str); 4] = [
    ("icon-good.svg", "#1a7f37", "M8 17l5 5 11-12"),
    ("icon-bad.svg", "#c62828", "M9 9l14 14M23 9L9 23"),
    ("icon-warn.svg", "#8a5a00", "M11 12a5 5 0 1 1 7 4.6c-1.4.7-2 1.6-2 3.4M16 24.5v.5"),
    ("icon-busy.svg", "#0a66c2", "M12 8l11 8-11 8z"),
];

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
        "style.css" => ("text/css; charset=utf-8", STYLE.to_owned()),
        "live.js" => ("text/javascript; charset=utf-8", SCRIPT.to_owned()),
        "icon.svg" => ("image/svg+xml", ICON.to_owned()),
        _ => {
            let known = STATES.iter().find(|(known, ..)| *known == name);
            let (_, ground, sign) = known.ok_or_else(|| WebError::NotFound("this file".into()))?;
            ("image/svg+xml", state_icon(ground, sign))
        }
    };
    let asked = query.and_then(|query| query.strip_prefix("v=").map(str::to_owned));
    let keep = if asked.as_deref() == Some(VERSION.as_str()) {
        "public, max-age=31536000, immutable"
    } else {
        "public, max-age=300"
    };
    Ok(([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)], text).into_response())
}

fn state_icon(ground: &str, sign: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\">\
         <rect width=\"32\" height=\"32\" rx=\"7\" fill=\"{ground}\"/><path d=\"{sign}\" fill=\"none\" stroke=\"#fff\" \
         stroke-width=\"4\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/></svg>\n"
    )
}
