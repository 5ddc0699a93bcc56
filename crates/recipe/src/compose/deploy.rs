//! Reads the `deploy` section of a service.

use std::collections::HashMap;

use crate::compose::model::{Deploy, Resources, RestartPolicy, UpdateConfig};
use crate::compose::reader::{Cast, Reader};
use crate::compose::service::choice;
use crate::finding::Place;
use crate::policy::Rule;
use crate::yaml::Node;

pub(super) fn read(reader: &mut Reader<'_>, places: &mut HashMap<String, Place>, node: &Node, what: &str) -> Deploy {
    let mut deploy = Deploy::default();
    for (key, value) in reader.map(node, what) {
        let path = format!("{what}.{}", key.text);
        places.insert(format!("deploy.{}", key.text), reader.place(key.pos));
        match key.text.as_str() {
            "mode" => deploy.mode = choice(reader, value, &path, &["replicated", "global"]),
            "endpoint_mode" => deploy.endpoint_mode = choice(reader, value, &path, &["vip", "dnsrr"]),
            "replicas" => deploy.replicas = reader.unsigned(value, &path, Cast::Yes),
            "labels" => {
                for (label, text, pos) in reader.pairs(value, &path) {
                    places.insert(format!("deploy.labels {label}"), reader.place(pos));
                    deploy.labels.insert(label, text.unwrap_or_default());
                }
            }
            "update_config" => deploy.update_config = Some(update(reader, value, &path)),
            "rollback_config" => deploy.rollback_config = Some(update(reader, value, &path)),
            "restart_policy" => deploy.restart_policy = Some(restart(reader, places, value, &path)),
            "resources" => {
                for (side, value) in reader.map(value, &path) {
                    let path = format!("{path}.{}", side.text);
                    match side.text.as_str() {
                        "limits" => deploy.limits = resources(reader, places, value, &path, "limits"),
                        "reservations" => deploy.reservations = resources(reader, places, value, &path, "reservations"),
                        _ => reader.unknown(side, &path),
                    }
                }
            }
            "placement" => placement(reader, &mut deploy, value, &path),
            _ => reader.unknown(key, what),
        }
    }
    deploy
}

fn update(reader: &mut Reader<'_>, node: &Node, what: &str) -> UpdateConfig {
    let mut config = UpdateConfig::default();
    let actions: &[&str] =
        if what.ends_with("rollback_config") { &["pause", "continue"] } else { &["pause", "continue", "rollback"] };
    for (key, value) in reader.map(node, what) {
        let path = format!("{what}.{}", key.text);
        match key.text.as_str() {
            "parallelism" => config.parallelism = reader.unsigned(value, &path, Cast::Yes),
            "delay" => config.delay = reader.duration(value, &path),
            "failure_action" => config.failure_action = choice(reader, value, &path, actions),
            "monitor" => config.monitor = reader.duration(value, &path),
            "max_failure_ratio" => config.max_failure_ratio = reader.float(value, &path, Cast::Yes),
            "order" => config.order = choice(reader, value, &path, &["start-first", "stop-first"]),
            _ => reader.unknown(key, what),
        }
    }
    config
}

fn restart(reader: &mut Reader<'_>, places: &mut HashMap<String, Place>, node: &Node, what: &str) -> RestartPolicy {
    let mut policy = RestartPolicy::default();
    for (key, value) in reader.map(node, what) {
        let path = format!("{what}.{}", key.text);
        places.insert(format!("deploy.restart_policy.{}", key.text), reader.place(key.pos));
        match key.text.as_str() {
            "condition" => policy.condition = choice(reader, value, &path, &["none", "on-failure", "any"]),
            "delay" => policy.delay = reader.duration(value, &path),
            "max_attempts" => policy.max_attempts = reader.unsigned(value, &path, Cast::Yes),
            "window" => policy.window = reader.duration(value, &path),
            _ => reader.unknown(key, what),
        }
    }
    policy
}

fn resources(
    reader: &mut Reader<'_>,
    places: &mut HashMap<String, Place>,
    node: &Node,
    what: &str,
    side: &str,
) -> Resources {
    let mut resources = Resources::default();
    for (key, value) in reader.map(node, what) {
        let path = format!("{what}.{}", key.text);
        places.insert(format!("{side}.{}", key.text), reader.place(key.pos));
        match key.text.as_str() {
            "cpus" => {
                let cores = reader
                    .string(value, &path)
                    .and_then(|text| text.parse::<f64>().ok())
                    .filter(|cores| cores.is_finite() && *cores >= 0.0);
                if cores.is_none() {
                    reader.error(
                        "C003",
                        value.pos,
                        format!("{path} is no number of cores"),
                        "write for example \"0.5\"",
                    );
                }
                // Zero means no limit at all to Docker: the run's own limit takes its place.
                resources.cpus = cores.filter(|cores| *cores > 0.0);
            }
            "memory" => resources.memory = reader.size(value, &path).filter(|bytes| *bytes > 0),
            "pids" if side == "limits" => {
                resources.pids = reader.unsigned(value, &path, Cast::No).filter(|pids| *pids > 0);
            }
            "generic_resources" => reader.refuse(Rule::Devices, key.pos, &path),
            _ => reader.unknown(key, what),
        }
    }
    resources
}

fn placement(reader: &mut Reader<'_>, deploy: &mut Deploy, node: &Node, what: &str) {
    for (key, value) in reader.map(node, what) {
        let path = format!("{what}.{}", key.text);
        match key.text.as_str() {
            "constraints" => {
                deploy.constraints =
                    reader.seq(value, &path).iter().filter_map(|item| reader.string(item, &path)).collect();
            }
            "preferences" => {
                for item in reader.seq(value, &path) {
                    for (key, value) in reader.map(item, &path) {
                        match key.text.as_str() {
                            "spread" => deploy.preferences.extend(reader.string(value, &path)),
                            _ => reader.unknown(key, &path),
                        }
                    }
                }
            }
            "max_replicas_per_node" => deploy.max_replicas_per_node = reader.unsigned(value, &path, Cast::Yes),
            _ => reader.unknown(key, what),
        }
    }
}
