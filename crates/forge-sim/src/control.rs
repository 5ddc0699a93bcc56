//! The control side below `/_sim/`, for use by hand and from other processes: faults, switches,
//! logs, and the few things a real server has no API for. No authentication: loopback only.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use serde_json::{Value, json};

use crate::api::parse_body;
use crate::config::Switches;
use crate::faults::Fault;
use crate::logs::{DeliveryLog, RequestLog};
use crate::reply::{Answer, Reply};
use crate::server::{Asked, Shared, simple};
use crate::webhook::{Job, redeliver};
use crate::world::World;

pub(crate) async fn handle(shared: &Arc<Shared>, asked: &Asked) -> Response<Body> {
    let path: Vec<&str> = asked.path.iter().skip(1).map(String::as_str).collect();
    if asked.method == "POST" && path == ["settle"] {
        let mut pending = shared.world().outbox.watch();
        let settled = pending.wait_for(|n| *n == 0).await.is_ok();
        return simple(shared, &Reply::json(200, json!({ "settled": settled })));
    }
    let reply = match parse_body("application/json", &asked.body) {
        Ok(body) => route(&mut shared.world(), &asked.method, &path, &body).unwrap_or_else(|e| e),
        Err(message) => Reply::bare(400, &message),
    };
    simple(shared, &reply)
}

fn listed<T: serde::Serialize>(items: Vec<T>) -> Answer {
    serde_json::to_value(items).map(|v| Reply::json(200, v)).map_err(|e| Reply::bare(500, &e.to_string()))
}

fn route(world: &mut World, method: &str, path: &[&str], body: &Value) -> Answer {
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let bad = |e: serde_json::Error| Reply::bare(400, &e.to_string());
    match (method, path) {
        ("GET", []) => Ok(Reply::json(200, json!({ "root_url": world.root_url, "version": world.flavour.version() }))),
        ("GET", ["faults"]) => listed(world.faults.waiting.clone()),
        ("POST", ["faults"]) => {
            let fault: Fault = serde_json::from_value(body.clone()).map_err(bad)?;
            world.faults.waiting.push(fault);
            Ok(Reply::empty(204))
        }
        ("DELETE", ["faults"]) => {
            world.faults.waiting.clear();
            Ok(Reply::empty(204))
        }
        ("GET", ["requests"]) => listed(world.requests.iter().map(RequestLog::from).collect()),
        ("DELETE", ["requests"]) => {
            world.requests.clear();
            Ok(Reply::empty(204))
        }
        ("GET", ["deliveries"]) => listed(world.deliveries.iter().map(DeliveryLog::from).collect()),
        ("POST", ["deliveries", "release"]) => {
            world.outbox.push(Job::ReleaseHeld);
            Ok(Reply::empty(204))
        }
        ("POST", ["deliveries", uuid, "redeliver"]) => match redeliver(world, uuid) {
            Some(new) => Ok(Reply::json(201, json!({ "uuid": new }))),
            None => Err(Reply::bare(404, "no delivery has this id; see GET /_sim/deliveries")),
        },
        ("GET", ["switches"]) => serde_json::to_value(&world.switches).map(|v| Reply::json(200, v)).map_err(bad),
        ("PATCH", ["switches"]) => {
            let mut now = serde_json::to_value(&world.switches).map_err(bad)?;
            crate::render::merge(&mut now, body.clone());
            let next: Switches = serde_json::from_value(now).map_err(bad)?;
            world.switches = next;
            Ok(Reply::empty(204))
        }
        ("POST", ["pull-refs", "release"]) => Ok(Reply::json(200, json!({ "released": release_pull_refs(world) }))),
        ("POST", ["clock"]) => {
            let Some(seconds) = body.get("advance").and_then(Value::as_i64) else {
                return Err(Reply::bare(400, "say {\"advance\": <seconds>}"));
            };
            world.clock_offset += seconds;
            Ok(Reply::json(200, json!({ "now": crate::world::time_text(world.now()) })))
        }
        ("POST", ["oauth-apps"]) => {
            let uris = body.get("redirect_uris").and_then(Value::as_array).cloned().unwrap_or_default();
            let uris = uris.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            let confidential = body.get("confidential").and_then(Value::as_bool).unwrap_or(true);
            let app = crate::oauth::register(world, uris, confidential);
            Ok(Reply::json(201, json!({ "client_id": app.client_id, "client_secret": app.client_secret })))
        }
        ("POST", ["blocks"]) => {
            let (by, blocked) =
                (world.user_by_name(&text("by")).map(|u| u.id), world.user_by_name(&text("blocked")).map(|u| u.id));
            let (Some(by), Some(blocked)) = (by, blocked) else {
                return Err(Reply::bare(404, "say {\"by\": <login>, \"blocked\": <login>} with known accounts"));
            };
            if let Some(user) = world.users.get_mut(&by) {
                user.blocked.insert(blocked);
            }
            Ok(Reply::empty(204))
        }
        _ => Err(Reply::bare(404, "unknown control; see the documentation of forge_sim")),
    }
}

/// Lets all held `refs/pull/N/head` follow and tells of all held pushes; returns how many refs that were.
pub(crate) fn release_pull_refs(world: &mut World) -> usize {
    let held = std::mem::take(&mut world.late_pull_refs);
    for late in &held {
        crate::refs::follow(world, late.clone());
    }
    for late in std::mem::take(&mut world.late_push_entries) {
        crate::refs::tell_push(world, &late);
    }
    held.len()
}
