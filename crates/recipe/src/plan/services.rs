//! Says of each service what the harness needs to know, with Docker's defaults filled in.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::compose::{Healthcheck, MountKind, RestartPolicy, Service, UpdateConfig, Volume};
use crate::labels;
use crate::plan::{
    FailureAction, HealthPlan, MountPlan, RestartCondition, RestartPlan, ServicePlan, UpdateOrder, UpdatePlan,
    volume_name,
};
use crate::traefik;

/// Docker's default for `stop_grace_period`.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// Swarm's default for `update_config.monitor`.
const MONITOR: Duration = Duration::from_secs(5);
/// Swarm's default for `restart_policy.delay`.
const RESTART_DELAY: Duration = Duration::from_secs(5);
/// Docker's default for a healthcheck's interval and timeout.
const HEALTH_TIME: Duration = Duration::from_secs(30);
/// Docker's default for a healthcheck's retries.
const HEALTH_RETRIES: u64 = 3;

pub(super) fn plan(stack: &str, name: &str, service: &Service, volumes: &BTreeMap<String, Volume>) -> ServicePlan {
    let mut mounts = Vec::new();
    let (mut anonymous, mut tmpfs) = (Vec::new(), Vec::new());
    for mount in &service.volumes {
        match &mount.kind {
            MountKind::Volume { key, .. } => {
                let full_name =
                    volumes.get(key).map_or_else(|| format!("{stack}_{key}"), |volume| volume_name(stack, key, volume));
                mounts.push(MountPlan {
                    volume: key.clone(),
                    full_name,
                    target: mount.target.clone(),
                    read_only: mount.read_only,
                });
            }
            MountKind::Anonymous => anonymous.push(mount.target.clone()),
            MountKind::Tmpfs { .. } => tmpfs.push(mount.target.clone()),
            MountKind::Bind { .. } => {}
        }
    }
    let global = service.deploy.mode.as_deref() == Some("global");
    let aliases = service.networks.iter().map(|(network, attachment)| {
        let extra = attachment.iter().flat_map(|attachment| attachment.aliases.iter().cloned());
        (network.clone(), std::iter::once(name.to_owned()).chain(extra).collect())
    });
    ServicePlan {
        name: name.to_owned(),
        full_name: format!("{stack}_{name}"),
        image: service.image.clone().unwrap_or_default(),
        replicas: if global { 1 } else { service.deploy.replicas.unwrap_or(1) },
        global,
        mounts,
        anonymous,
        tmpfs,
        healthcheck: service.healthcheck.as_ref().map(health),
        stop_grace: service.stop_grace_period.unwrap_or(STOP_GRACE),
        update: update(service.deploy.update_config.as_ref()),
        restart: restart(service.deploy.restart_policy.as_ref()),
        aliases: aliases.collect(),
        routes: traefik::routes(name, &service.deploy.labels),
        backup: labels::backup(&service.deploy.labels),
        secrets: service.secrets.iter().map(|reference| reference.source.clone()).collect(),
        configs: service.configs.iter().map(|reference| reference.source.clone()).collect(),
        published: service.ports.iter().map(|port| port.published).collect(),
    }
}

/// Zero means Docker's default, too.
fn or(value: Option<Duration>, default: Duration) -> Duration {
    value.filter(|value| !value.is_zero()).unwrap_or(default)
}

fn health(check: &Healthcheck) -> HealthPlan {
    HealthPlan {
        disabled: check.disable || check.test.first().is_some_and(|word| word == "NONE"),
        test: check.test.clone(),
        interval: or(check.interval, HEALTH_TIME),
        timeout: or(check.timeout, HEALTH_TIME),
        retries: check.retries.filter(|retries| *retries > 0).unwrap_or(HEALTH_RETRIES),
        start_period: check.start_period.unwrap_or_default(),
    }
}

fn update(config: Option<&UpdateConfig>) -> UpdatePlan {
    let config = config.cloned().unwrap_or_default();
    UpdatePlan {
        parallelism: config.parallelism.unwrap_or(1),
        delay: config.delay.unwrap_or_default(),
        failure_action: match config.failure_action.as_deref() {
            Some("continue") => FailureAction::Continue,
            Some("rollback") => FailureAction::Rollback,
            _ => FailureAction::Pause,
        },
        monitor: or(config.monitor, MONITOR),
        max_failure_ratio: config.max_failure_ratio.unwrap_or(0.0),
        order: if config.order.as_deref() == Some("start-first") {
            UpdateOrder::StartFirst
        } else {
            UpdateOrder::StopFirst
        },
    }
}

fn restart(policy: Option<&RestartPolicy>) -> RestartPlan {
    let policy = policy.cloned().unwrap_or_default();
    RestartPlan {
        condition: match policy.condition.as_deref() {
            Some("none") => RestartCondition::None,
            Some("on-failure") => RestartCondition::OnFailure,
            _ => RestartCondition::Any,
        },
        delay: policy.delay.unwrap_or(RESTART_DELAY),
        max_attempts: policy.max_attempts.filter(|attempts| *attempts > 0),
        window: policy.window.unwrap_or_default(),
    }
}
