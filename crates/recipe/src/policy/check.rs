//! Judges a merged compose file, and replaces values that are only too large or too small.

use std::sync::LazyLock;

use regex::Regex;

use crate::compose::{Compose, FileObject, MountKind, Network, Service};
use crate::duration;
use crate::finding::{Finding, Place};
use crate::image::Reference;
use crate::interpolate::Env;
use crate::labels;
use crate::policy::{Policy, Rule, routes};
use crate::tree;

/// The shared network of Co-op Cloud that every routed service joins.
pub(crate) const PROXY: &str = "proxy";

/// Docker's default capabilities.
const CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Ulimits that only reach as far as the container's own memory limit.
const HARMLESS_ULIMITS: [&str; 6] = ["memlock", "stack", "core", "data", "rss", "as"];
/// Most processes by ulimit.
const MAX_NPROC: i64 = 65_536;
/// Networks that are not a stack's.
const RESERVED_NETWORKS: [&str; 6] = ["host", "none", "bridge", "ingress", "docker_gwbridge", "default"];

/// What the judgement depends on beside the file.
pub(crate) struct Scope<'a> {
    pub(crate) stack: &'a str,
    pub(crate) env: &'a Env,
    pub(crate) policy: &'a Policy,
}

impl Scope<'_> {
    /// True for a name that only this stack uses.
    pub(crate) fn owns(&self, name: &str) -> bool {
        name.strip_prefix(self.stack).is_some_and(|rest| rest.len() > 1 && rest.starts_with('_'))
    }
}

/// Adds what is wrong to `findings` and replaces values in `compose` that may be replaced.
pub(crate) fn check(compose: &mut Compose, scope: &Scope<'_>, findings: &mut Vec<Finding>) {
    let names: Vec<String> = compose.services.keys().cloned().collect();
    let most = usize::try_from(scope.policy.max_services).unwrap_or(usize::MAX);
    if let Some(service) = compose.services.values().nth(most) {
        findings.push(Rule::Replicas.refuse(&service.place, &format!("{} services", names.len())));
    }
    for (name, service) in &mut compose.services {
        let mut judge = Judge { scope, findings, what: format!("services.{name}") };
        judge.service(name, service);
        routes::check(scope, judge.findings, name, service, &names);
    }
    for (key, network) in &mut compose.networks {
        Judge { scope, findings, what: format!("networks.{key}") }.network(network);
    }
    for (key, volume) in &compose.volumes {
        let mut judge = Judge { scope, findings, what: format!("volumes.{key}") };
        if volume.external {
            if volume.name.as_deref().is_some_and(|name| scope.policy.external.contains(name)) {
                continue;
            }
            judge.refuse(Rule::ExternalVolume, &volume.place, "external");
        } else if volume.name.as_deref().is_some_and(|name| !scope.owns(name)) {
            judge.refuse(Rule::VolumeName, &volume.place, "name");
        }
        if !matches!(volume.driver.as_deref(), None | Some("" | "local")) {
            judge.refuse(Rule::VolumeDriver, &volume.place, "driver");
        }
        judge.labels(volume.labels.keys(), |_| volume.place.clone());
    }
    for (section, objects) in [("secrets", &compose.secrets), ("configs", &compose.configs)] {
        for (key, object) in objects {
            Judge { scope, findings, what: format!("{section}.{key}") }.object(object);
        }
    }
}

struct Judge<'a, 'f> {
    scope: &'a Scope<'a>,
    findings: &'f mut Vec<Finding>,
    what: String,
}

impl Judge<'_, '_> {
    fn refuse(&mut self, rule: Rule, place: &Place, part: &str) {
        let what = if part.is_empty() { self.what.clone() } else { format!("{}.{part}", self.what) };
        self.findings.push(rule.refuse(place, &what));
    }

    fn replaced(&mut self, rule: Rule, place: &Place, part: &str) {
        let what = format!("{}.{part}", self.what);
        self.findings.push(rule.replaced(place, &what));
    }

    fn error(&mut self, code: &'static str, place: &Place, message: String, remedy: &str) {
        self.findings.push(Finding::error(code, place, message, remedy));
    }

    fn service(&mut self, name: &str, service: &mut Service) {
        self.image(service);
        self.mounts(service);
        self.confinement(service);
        self.network_use(service);
        self.scale(service);
        self.times(service);
        self.variables(name, service);
        let places = service.clone();
        self.labels(service.labels.keys(), |label| places.at(&format!("labels {label}")).clone());
        self.labels(service.deploy.labels.keys(), |label| places.at(&format!("deploy.labels {label}")).clone());
        self.backup(service);
    }

    fn image(&mut self, service: &Service) {
        let place = service.at("image").clone();
        let Some(image) = service.image.as_deref().filter(|image| !image.is_empty()) else {
            let message = format!("{}.image is missing or empty", self.what);
            return self.error("C007", &place, message, "is the variable in it set?");
        };
        match image.parse::<Reference>() {
            Ok(reference) => {
                let allowed = &self.scope.policy.registries;
                if !allowed.is_empty() && !allowed.contains(&reference.registry) {
                    self.refuse(Rule::Registry, &place, &format!("image from {}", reference.registry));
                }
            }
            Err(error) => {
                let message = format!("{}.image: {error}", self.what);
                self.error("C007", &place, message, "write registry/name:tag");
            }
        }
    }

    fn mounts(&mut self, service: &Service) {
        for mount in &service.volumes {
            if !mount.target.starts_with('/') {
                let message = format!("{}.volumes: the target {:?} is no absolute path", self.what, mount.target);
                self.error(
                    "C003",
                    &mount.place,
                    message,
                    "write volume:/path; a volume name needs more than one letter",
                );
            }
            if !template_is_harmless(&mount.target) {
                self.refuse(Rule::GoTemplate, &mount.place, "volumes");
            }
            match &mount.kind {
                MountKind::Bind { source } => self.bind(source, &mount.place),
                MountKind::Tmpfs { size: Some(size) } if *size > self.scope.policy.max_memory => {
                    self.refuse(Rule::Resources, &mount.place, "volumes (tmpfs)");
                }
                MountKind::Tmpfs { .. } | MountKind::Volume { .. } | MountKind::Anonymous => {}
            }
        }
    }

    fn bind(&mut self, source: &str, place: &Place) {
        let normal = source.strip_prefix('/').map(|rest| format!("/{}", tree::normalise(rest).unwrap_or_default()));
        let socket = ["docker.sock", "containerd.sock", "podman.sock", "crio.sock"]
            .iter()
            .any(|name| source.trim_end_matches('/').ends_with(name));
        let holds_socket = matches!(
            normal.as_deref(),
            Some("/" | "/run" | "/var" | "/var/run" | "/run/docker" | "/var/run/docker" | "/run/containerd")
        );
        if socket && self.scope.policy.engine_socket && normal.as_deref() == Some(source) {
            return;
        }
        if socket || holds_socket {
            self.refuse(Rule::EngineSocket, place, &format!("volumes: {source}"));
        } else if normal.as_deref() != Some(source) || !self.scope.policy.binds.contains(source) {
            self.refuse(Rule::BindMount, place, &format!("volumes: {source}"));
        }
    }

    fn confinement(&mut self, service: &Service) {
        for name in &service.cap_add {
            let plain = name.strip_prefix("CAP_").unwrap_or(name);
            if !CAPABILITIES.contains(&plain) && !self.scope.policy.capabilities.contains(plain) {
                self.refuse(Rule::Capability, service.at(&format!("cap_add {name}")), &format!("cap_add {name}"));
            }
        }
        for name in service.sysctls.keys() {
            if !self.scope.policy.sysctls.contains(name) {
                self.refuse(Rule::Sysctl, service.at(&format!("sysctls {name}")), &format!("sysctls.{name}"));
            }
        }
        for (name, limit) in &service.ulimits {
            let ceiling = match name.as_str() {
                "nofile" => self.scope.policy.max_nofile,
                "nproc" => MAX_NPROC,
                name if HARMLESS_ULIMITS.contains(&name) => continue,
                _ => 0,
            };
            let within = |value: i64| (0..=ceiling).contains(&value);
            if !within(limit.soft) || !within(limit.hard) || ceiling == 0 {
                self.refuse(Rule::Ulimit, service.at(&format!("ulimits {name}")), &format!("ulimits.{name}"));
            }
        }
    }

    fn network_use(&mut self, service: &Service) {
        for port in &service.ports {
            if !self.scope.policy.ports.contains(&port.published) || port.published == 0 {
                self.refuse(Rule::PublishedPort, &port.place, &format!("ports: {}", port.published));
            }
        }
        if !service.extra_hosts.is_empty() && !self.scope.policy.extra_hosts {
            self.refuse(Rule::ExtraHosts, service.at("extra_hosts"), "extra_hosts");
        }
        for (part, values) in [("dns", &service.dns), ("dns_search", &service.dns_search)] {
            if !values.is_empty() && !self.scope.policy.dns {
                self.refuse(Rule::Dns, service.at(part), part);
            }
        }
        let driver = service.logging.as_ref().and_then(|logging| logging.driver.as_deref());
        if !matches!(driver, None | Some("" | "json-file" | "local")) {
            self.refuse(Rule::LogDriver, service.at("logging"), "logging.driver");
        }
    }

    fn scale(&mut self, service: &mut Service) {
        let policy = self.scope.policy;
        if service.deploy.replicas.is_some_and(|replicas| replicas > policy.max_replicas) {
            self.refuse(Rule::Replicas, service.at("deploy.replicas"), "deploy.replicas");
        }
        if service.deploy.mode.as_deref() == Some("global") {
            if !policy.global_mode {
                self.refuse(Rule::GlobalMode, service.at("deploy.mode"), "deploy.mode");
            }
            if service.deploy.replicas.is_some() {
                let message = format!("{}.deploy has replicas and mode: global, which Docker refuses", self.what);
                self.error("C003", service.at("deploy.replicas"), message, "drop replicas");
            }
        }
        for (side, resources) in [("limits", &service.deploy.limits), ("reservations", &service.deploy.reservations)] {
            let over = [
                ("cpus", resources.cpus.is_some_and(|cores| cores > policy.max_cpus)),
                ("memory", resources.memory.is_some_and(|bytes| bytes > policy.max_memory)),
                ("pids", resources.pids.is_some_and(|pids| pids > policy.max_pids)),
            ];
            for (part, _) in over.into_iter().filter(|(_, over)| *over) {
                self.refuse(
                    Rule::Resources,
                    service.at(&format!("{side}.{part}")),
                    &format!("deploy.resources.{side}.{part}"),
                );
            }
        }
    }

    fn times(&mut self, service: &mut Service) {
        let policy = self.scope.policy;
        if let Some(grace) = service.stop_grace_period.filter(|grace| *grace > policy.max_stop_grace) {
            let place = service.at("stop_grace_period").clone();
            self.replaced(Rule::StopGrace, &place, &format!("stop_grace_period of {}", duration::print(grace)));
            service.stop_grace_period = Some(policy.max_stop_grace);
        }
        let place = service.at("healthcheck.interval").clone();
        if let Some(interval) = service.healthcheck.as_mut().and_then(|health| health.interval.as_mut())
            && !interval.is_zero()
            && *interval < policy.min_health_interval
        {
            self.findings.push(
                Rule::HealthInterval
                    .replaced(&place, &format!("{}.healthcheck.interval of {}", self.what, duration::print(*interval))),
            );
            *interval = policy.min_health_interval;
        }
        let place = service.at("deploy.restart_policy.delay").clone();
        if let Some(delay) = service.deploy.restart_policy.as_mut().and_then(|restart| restart.delay.as_mut())
            && *delay < policy.min_restart_delay
        {
            self.findings.push(Rule::RestartDelay.replaced(
                &place,
                &format!("{}.deploy.restart_policy.delay of {}", self.what, duration::print(*delay)),
            ));
            *delay = policy.min_restart_delay;
        }
    }

    fn variables(&mut self, name: &str, service: &mut Service) {
        for (variable, value) in &service.environment {
            if value.as_deref().is_some_and(|value| !template_is_harmless(value)) {
                self.findings.push(Rule::GoTemplate.refuse(
                    service.at(&format!("environment {variable}")),
                    &format!("services.{name}.environment.{variable}"),
                ));
            }
        }
        if service.hostname.as_deref().is_some_and(|hostname| !template_is_harmless(hostname)) {
            self.refuse(Rule::GoTemplate, service.at("hostname"), "hostname");
        }
        // The docker program would fill these from its own environment.
        let of_host = |variable: &str, value: &Option<String>| {
            value.as_deref().unwrap_or_default().is_empty()
                && (["PATH", "HOME"].contains(&variable) || variable.starts_with("DOCKER_"))
        };
        let dropped: Vec<String> = service
            .environment
            .iter()
            .filter(|(variable, value)| of_host(variable, value))
            .map(|(variable, _)| variable.clone())
            .collect();
        for variable in dropped {
            service.environment.shift_remove(&variable);
            let place = service.at(&format!("environment {variable}")).clone();
            self.replaced(Rule::HostVariable, &place, &format!("environment.{variable}"));
        }
    }

    fn labels<'l>(&mut self, keys: impl Iterator<Item = &'l String>, place: impl Fn(&str) -> Place) {
        for key in keys {
            let lower = key.to_ascii_lowercase();
            if lower.starts_with("com.docker.")
                || lower.starts_with("io.docker.")
                || lower.starts_with("org.dockerproject.")
                || lower.starts_with("cc-ci.")
            {
                self.refuse(Rule::ReservedLabel, &place(key), &format!("label {key}"));
            }
        }
    }

    fn backup(&mut self, service: &Service) {
        let plan = labels::backup(&service.deploy.labels);
        for (volume, paths) in &plan.paths {
            if paths.iter().any(|path| tree::normalise(path).is_none()) {
                let label = format!("backupbot.backup.volumes.{volume}.path");
                self.refuse(Rule::BackupPath, service.at(&format!("deploy.labels {label}")), &format!("label {label}"));
            }
        }
        if plan.container_paths.iter().any(|path| path.strip_prefix('/').and_then(tree::normalise).is_none()) {
            self.refuse(
                Rule::BackupPath,
                service.at("deploy.labels backupbot.backup.path"),
                "label backupbot.backup.path",
            );
        }
    }

    fn network(&mut self, network: &mut Network) {
        let place = network.place.clone();
        let name = network.name.as_deref().unwrap_or_default();
        if RESERVED_NETWORKS.contains(&name) {
            self.refuse(Rule::ReservedNetwork, &place, &format!("name {name}"));
        } else if network.external && name != PROXY && !self.scope.policy.networks.contains(name) {
            self.refuse(Rule::ForeignNetwork, &place, &format!("external {name}"));
        } else if !network.external && !name.is_empty() && !self.scope.owns(name) {
            self.refuse(Rule::ForeignNetwork, &place, &format!("name {name}"));
        }
        if !matches!(network.driver.as_deref(), None | Some("" | "overlay")) {
            self.refuse(Rule::NetworkDriver, &place, "driver");
        }
        if network.attachable {
            self.replaced(Rule::Attachable, &place, "attachable");
            network.attachable = false;
        }
        self.labels(network.labels.keys(), |_| place.clone());
    }

    fn object(&mut self, object: &FileObject) {
        let place = object.name_place.as_ref().unwrap_or(&object.place).clone();
        match (object.external, object.name.as_deref()) {
            (true, name)
                if !name.is_some_and(|name| self.scope.owns(name) || self.scope.policy.external.contains(name)) =>
            {
                self.refuse(Rule::ForeignObject, &place, "external");
            }
            (false, Some(name)) if !self.scope.owns(name) => self.refuse(Rule::ForeignName, &place, "name"),
            _ => {}
        }
        if !object.external && object.file.is_none() {
            let message = format!("{} needs a file or external: true", self.what);
            self.error("C003", &object.place, message, "");
        }
        self.labels(object.labels.keys(), |_| object.place.clone());
    }
}

/// True when every Go template in the text is one that says nothing about the node.
pub(crate) fn template_is_harmless(text: &str) -> bool {
    static ALLOWED: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\{\{\s*\.(Service\.Name|Task\.Slot)\s*\}\}").ok());
    match ALLOWED.as_ref() {
        Some(allowed) => !allowed.replace_all(text, "").contains("{{"),
        None => !text.contains("{{"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        for (text, harmless) in [
            ("plain", true),
            ("{{.Service.Name}}-{{ .Task.Slot }}", true),
            ("{{.Node.Hostname}}", false),
            ("{{.Service.Name}}{{.Node.ID}}", false),
            ("{{ .Service.Labels }}", false),
            ("{{ env \"X\" }}", false),
            ("{{", false),
            ("{ {x} }", true),
        ] {
            assert_eq!(template_is_harmless(text), harmless, "{text}");
        }
    }

    #[test]
    fn a_stack_owns_its_prefix_only() {
        let (env, policy) = (Env::new(), Policy::default());
        let scope = Scope { stack: "blog", env: &env, policy: &policy };
        for (name, owned) in
            [("blog_x", true), ("blog_", false), ("blog", false), ("blogs_x", false), ("x_blog_x", false), ("", false)]
        {
            assert_eq!(scope.owns(name), owned, "{name}");
        }
    }
}
