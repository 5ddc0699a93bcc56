//! Lays compose files over each other as docker/cli does.
//!
//! The one rule to know: a later value wins only if it says something. An empty text, `false` or a zero never takes back what an earlier
//! file set; lists of plain texts grow; top-level objects are replaced whole.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;

use crate::compose::model::{
    Attachment, Compose, Deploy, Healthcheck, Logging, Resources, RestartPolicy, Service, UpdateConfig,
};

/// All files as one, or `None` for no file.
pub(crate) fn merge(files: Vec<Compose>) -> Option<Compose> {
    files.into_iter().reduce(|mut base, over| {
        for (name, service) in over.services {
            match base.services.get_mut(&name) {
                Some(have) => merge_service(have, service),
                None => {
                    base.services.insert(name, service);
                }
            }
        }
        base.networks.extend(over.networks);
        base.volumes.extend(over.volumes);
        base.secrets.extend(over.secrets);
        base.configs.extend(over.configs);
        base
    })
}

fn merge_service(base: &mut Service, over: Service) {
    base.places.extend(over.places);
    text(&mut base.image, over.image);
    list(&mut base.command, over.command);
    list(&mut base.entrypoint, over.entrypoint);
    for (name, value) in over.environment {
        variable(&mut base.environment, name, value);
    }
    base.labels.extend(over.labels);
    text(&mut base.user, over.user);
    text(&mut base.working_dir, over.working_dir);
    text(&mut base.hostname, over.hostname);
    text(&mut base.stop_signal, over.stop_signal);
    base.init = if over.init == Some(true) { over.init } else { base.init.or(over.init) };
    base.read_only |= over.read_only;
    base.tty |= over.tty;
    base.stdin_open |= over.stdin_open;
    time(&mut base.stop_grace_period, over.stop_grace_period);
    base.cap_add.extend(over.cap_add);
    base.cap_drop.extend(over.cap_drop);
    base.dns.extend(over.dns);
    base.dns_search.extend(over.dns_search);
    base.extra_hosts.extend(over.extra_hosts);
    base.sysctls.extend(over.sysctls);
    base.ulimits.extend(over.ulimits);
    part(&mut base.healthcheck, over.healthcheck, merge_health);
    part(&mut base.logging, over.logging, merge_logging);
    for (name, attachment) in over.networks {
        merge_attachment(&mut base.networks, name, attachment);
    }
    by_key(&mut base.volumes, over.volumes, |mount| mount.target.clone());
    by_key(&mut base.secrets, over.secrets, |reference| reference.source.clone());
    by_key(&mut base.configs, over.configs, |reference| reference.source.clone());
    by_key(&mut base.ports, over.ports, |port| port.published);
    merge_deploy(&mut base.deploy, over.deploy);
}

fn merge_deploy(base: &mut Deploy, over: Deploy) {
    text(&mut base.mode, over.mode);
    text(&mut base.endpoint_mode, over.endpoint_mode);
    base.replicas = over.replicas.or(base.replicas);
    base.labels.extend(over.labels);
    part(&mut base.update_config, over.update_config, merge_update);
    part(&mut base.rollback_config, over.rollback_config, merge_update);
    part(&mut base.restart_policy, over.restart_policy, merge_restart);
    merge_resources(&mut base.limits, &over.limits);
    merge_resources(&mut base.reservations, &over.reservations);
    base.constraints.extend(over.constraints);
    base.preferences.extend(over.preferences);
    number(&mut base.max_replicas_per_node, over.max_replicas_per_node);
}

fn merge_health(base: &mut Healthcheck, over: Healthcheck) {
    // Docker appends the test like any list of texts, which makes a broken command: an overlay that sets a test must be the only one.
    base.test.extend(over.test);
    time(&mut base.interval, over.interval);
    time(&mut base.timeout, over.timeout);
    base.retries = over.retries.or(base.retries);
    time(&mut base.start_period, over.start_period);
    base.disable |= over.disable;
}

fn merge_logging(base: &mut Logging, over: Logging) {
    let same = base.driver == over.driver || base.driver.is_none() || over.driver.is_none();
    if same {
        base.driver = base.driver.take().or(over.driver);
        base.options.extend(over.options);
    } else {
        *base = over;
    }
}

fn merge_update(base: &mut UpdateConfig, over: UpdateConfig) {
    base.parallelism = over.parallelism.or(base.parallelism);
    time(&mut base.delay, over.delay);
    text(&mut base.failure_action, over.failure_action);
    time(&mut base.monitor, over.monitor);
    fraction(&mut base.max_failure_ratio, over.max_failure_ratio);
    text(&mut base.order, over.order);
}

fn merge_restart(base: &mut RestartPolicy, over: RestartPolicy) {
    text(&mut base.condition, over.condition);
    time(&mut base.delay, over.delay);
    base.max_attempts = over.max_attempts.or(base.max_attempts);
    time(&mut base.window, over.window);
}

fn merge_resources(base: &mut Resources, over: &Resources) {
    base.cpus = over.cpus.or(base.cpus);
    number(&mut base.memory, over.memory);
    number(&mut base.pids, over.pids);
}

fn merge_attachment(base: &mut IndexMap<String, Option<Attachment>>, name: String, over: Option<Attachment>) {
    let have = base.entry(name).or_default();
    if over.is_some() {
        *have = over;
    }
}

fn variable(base: &mut IndexMap<String, Option<String>>, name: String, value: Option<String>) {
    let filled = |value: &Option<String>| value.as_ref().is_some_and(|text| !text.is_empty());
    if filled(&value) || !base.get(&name).is_some_and(filled) {
        base.insert(name, value);
    }
}

fn by_key<T, K: Ord>(base: &mut Vec<T>, over: Vec<T>, key: impl Fn(&T) -> K) {
    let mut merged: BTreeMap<K, T> = BTreeMap::new();
    merged.extend(base.drain(..).chain(over).map(|item| (key(&item), item)));
    base.extend(merged.into_values());
}

fn text(base: &mut Option<String>, over: Option<String>) {
    if over.as_ref().is_some_and(|text| !text.is_empty()) || base.is_none() {
        *base = over;
    }
}

fn list(base: &mut Option<Vec<String>>, over: Option<Vec<String>>) {
    if over.as_ref().is_some_and(|words| !words.is_empty()) || base.is_none() {
        *base = over;
    }
}

fn time(base: &mut Option<Duration>, over: Option<Duration>) {
    if over.is_some_and(|time| !time.is_zero()) || base.is_none() {
        *base = over;
    }
}

fn number(base: &mut Option<u64>, over: Option<u64>) {
    if over.is_some_and(|number| number != 0) || base.is_none() {
        *base = over;
    }
}

fn fraction(base: &mut Option<f64>, over: Option<f64>) {
    if over.is_some_and(|number| number != 0.0) || base.is_none() {
        *base = over;
    }
}

fn part<T>(base: &mut Option<T>, over: Option<T>, merge: impl Fn(&mut T, T)) {
    match (base.as_mut(), over) {
        (Some(base), Some(over)) => merge(base, over),
        (None, Some(over)) => *base = Some(over),
        (_, None) => {}
    }
}
