//! Version, settings, notifications (always none: nobody is notified of anything here).

use serde_json::json;

use crate::api::{Cx, unknown};
use crate::reply::{Answer, Reply};

pub(crate) fn route(cx: &mut Cx<'_>, method: &str, path: &[&str]) -> Answer {
    match (method, path) {
        ("GET", ["version"]) => Ok(Reply::json(200, json!({ "version": cx.w.flavour.version() }))),
        ("GET", ["settings", "api"]) => Ok(Reply::json(
            200,
            json!({
                "max_response_items": cx.w.switches.max_items,
                "default_paging_num": cx.w.switches.default_paging,
                "default_git_trees_per_page": 1000,
                "default_max_blob_size": 10_485_760,
                "default_max_response_size": 104_857_600,
            }),
        )),
        ("GET", ["notifications"]) => {
            cx.signed_in()?;
            Ok(Reply::json(200, json!([])).with("X-Total-Count", "0"))
        }
        ("GET", ["notifications", "new"]) => {
            cx.signed_in()?;
            Ok(Reply::json(200, json!({ "new": 0 })))
        }
        _ => Err(unknown(cx, method)),
    }
}
