//! The compose file that we write: only what the model understood, with the run's changes in it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::compose::{
    Compose, Deploy, FileRef, Healthcheck, MountKind, Resources, RestartPolicy, Service, UpdateConfig,
};
use crate::duration;
use crate::labels::Labels;
use crate::plan::Adapt;
use crate::plan::writer::{MapOut, Out, write};

/// Newest version that Docker 20.10 reads.
const VERSION: &str = "3.9";
/// Log files of a container: largest size and number.
const LOG_LIMITS: [(&str, &str); 2] = [("max-file", "3"), ("max-size", "10m")];

/// What the file needs beside the model.
pub(super) struct Emission<'a> {
    pub(super) adapt: &'a Adapt,
    /// Network key → external name, for those that stay external.
    pub(super) external_networks: &'a BTreeMap<String, String>,
    /// (section, key) → path of the content.
    pub(super) contents: &'a BTreeMap<(&'static str, String), String>,
}

/// Writes the whole file.
pub(super) fn emit(compose: &Compose, emission: &Emission<'_>) -> String {
    let mut root = MapOut::default();
    root.text("version", Some(VERSION));
    let mut services = MapOut::default();
    for (name, service) in &compose.services {
        services.put(name, emission.service(name, service));
    }
    root.put("services", services.done());
    root.map("networks", emission.networks(compose));
    let mut volumes = MapOut::default();
    for (key, volume) in &compose.volumes {
        let mut out = MapOut::default();
        if volume.external {
            out.put("external", Out::Bool(true));
            out.text("name", volume.name.as_ref());
        } else {
            out.pairs("labels", &emission.labelled(&volume.labels));
        }
        volumes.put(key, out.done());
    }
    root.map("volumes", volumes);
    for section in ["secrets", "configs"] {
        root.map(section, emission.objects(compose, section));
    }
    write(&root.done())
}

impl Emission<'_> {
    /// The recipe's labels with the run's own over them.
    fn labelled(&self, own: &Labels) -> Labels {
        own.iter().chain(&self.adapt.run_labels).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn networks(&self, compose: &Compose) -> MapOut {
        let mut networks = MapOut::default();
        for (key, network) in &compose.networks {
            let mut out = MapOut::default();
            if let Some(name) = self.external_networks.get(key) {
                out.put("external", Out::Bool(true));
                out.text("name", Some(name));
            } else {
                out.text("driver", Some("overlay"));
                out.put("attachable", Out::Bool(false));
                out.flag("internal", network.internal);
                out.pairs("labels", &self.labelled(&network.labels));
            }
            networks.put(key, out.done());
        }
        networks
    }

    fn objects(&self, compose: &Compose, section: &'static str) -> MapOut {
        let mut objects = MapOut::default();
        for (key, object) in if section == "secrets" { &compose.secrets } else { &compose.configs } {
            let mut out = MapOut::default();
            out.text("name", object.name.as_ref());
            match self.contents.get(&(section, key.clone())) {
                Some(path) => {
                    out.text("file", Some(format!("./{path}")));
                    out.text("template_driver", object.template_driver.as_ref());
                    out.pairs("labels", &self.labelled(&object.labels));
                }
                None => out.put("external", Out::Bool(true)),
            }
            objects.put(key, out.done());
        }
        objects
    }

    fn service(&self, name: &str, service: &Service) -> Out {
        let mut out = MapOut::default();
        out.text("image", service.image.as_ref());
        if let Some(words) = &service.entrypoint {
            out.put("entrypoint", Out::List(words.iter().map(Out::from).collect()));
        }
        if let Some(words) = &service.command {
            out.put("command", Out::List(words.iter().map(Out::from).collect()));
        }
        let mut variables: BTreeMap<&String, Option<&String>> =
            service.environment.iter().map(|(name, value)| (name, value.as_ref())).collect();
        if name == "app" {
            for (name, value) in &self.adapt.app_env {
                variables.entry(name).or_insert(Some(value));
            }
        }
        let variables: Vec<(String, Out)> =
            variables.into_iter().map(|(name, value)| (name.clone(), value.map_or(Out::Null, Out::from))).collect();
        if !variables.is_empty() {
            out.put("environment", Out::Map(variables));
        }
        out.pairs("labels", &self.labelled(&service.labels));
        out.text("user", service.user.as_ref());
        out.text("working_dir", service.working_dir.as_ref());
        out.text("hostname", service.hostname.as_ref());
        out.text("stop_signal", service.stop_signal.as_ref());
        if let Some(init) = service.init {
            out.put("init", Out::Bool(init));
        }
        out.flag("read_only", service.read_only);
        out.flag("tty", service.tty);
        out.flag("stdin_open", service.stdin_open);
        time(&mut out, "stop_grace_period", service.stop_grace_period);
        out.texts("cap_add", &service.cap_add);
        out.texts("cap_drop", &service.cap_drop);
        out.texts("dns", &service.dns);
        out.texts("dns_search", &service.dns_search);
        out.texts("extra_hosts", &service.extra_hosts);
        out.pairs("sysctls", &service.sysctls);
        let mut ulimits = MapOut::default();
        for (name, limit) in &service.ulimits {
            ulimits.put(
                name,
                Out::Map(vec![("soft".into(), Out::Signed(limit.soft)), ("hard".into(), Out::Signed(limit.hard))]),
            );
        }
        out.map("ulimits", ulimits);
        if let Some(health) = &service.healthcheck {
            out.put("healthcheck", healthcheck(health));
        }
        out.put("logging", logging(service));
        out.put("networks", attachments(service));
        let mounts: Vec<Out> =
            service.volumes.iter().map(|mount| mounted(&mount.kind, &mount.target, mount.read_only)).collect();
        if !mounts.is_empty() {
            out.put("volumes", Out::List(mounts));
        }
        for (key, references) in [("secrets", &service.secrets), ("configs", &service.configs)] {
            if !references.is_empty() {
                out.put(key, Out::List(references.iter().map(reference).collect()));
            }
        }
        let ports: Vec<Out> = service.ports.iter().map(port).collect();
        if !ports.is_empty() {
            out.put("ports", Out::List(ports));
        }
        out.map("deploy", self.deploy(name, service));
        out.done()
    }

    fn deploy(&self, name: &str, service: &Service) -> MapOut {
        let deploy: &Deploy = &service.deploy;
        let mut out = MapOut::default();
        out.text("mode", deploy.mode.as_ref());
        out.int("replicas", deploy.replicas);
        let forced = self.adapt.endpoint_mode_dnsrr && service.ports.is_empty();
        out.text("endpoint_mode", if forced { Some("dnsrr") } else { deploy.endpoint_mode.as_deref() });
        let mut labels = deploy.labels.clone();
        if name == "app" {
            labels.extend(self.adapt.deploy_labels.clone());
        }
        out.pairs("labels", &self.labelled(&labels));
        for (key, config) in [("update_config", &deploy.update_config), ("rollback_config", &deploy.rollback_config)] {
            if let Some(config) = config {
                out.map(key, update(config));
            }
        }
        if let Some(policy) = &deploy.restart_policy {
            out.map("restart_policy", restart(policy));
        }
        let mut limits = deploy.limits.clone();
        limits.cpus = limits.cpus.or(self.adapt.default_cpus);
        limits.memory = limits.memory.or(self.adapt.default_memory);
        let mut resources = MapOut::default();
        resources.map("limits", amounts(&limits));
        resources.map("reservations", amounts(&deploy.reservations));
        out.map("resources", resources);
        out.map("placement", placement(deploy));
        out
    }
}

/// Where tasks may run, as the recipe says: a constraint that no node satisfies is told by Swarm, and so by the run.
fn placement(deploy: &Deploy) -> MapOut {
    let mut out = MapOut::default();
    if !deploy.constraints.is_empty() {
        out.put("constraints", Out::List(deploy.constraints.iter().cloned().map(Out::Text).collect()));
    }
    if !deploy.preferences.is_empty() {
        let spread = |to: &String| Out::Map(vec![("spread".into(), Out::Text(to.clone()))]);
        out.put("preferences", Out::List(deploy.preferences.iter().map(spread).collect()));
    }
    if let Some(most) = deploy.max_replicas_per_node {
        out.put("max_replicas_per_node", Out::Int(most));
    }
    out
}

fn time(out: &mut MapOut, key: &str, value: Option<Duration>) {
    out.text(key, value.map(duration::print));
}

fn healthcheck(health: &Healthcheck) -> Out {
    let mut out = MapOut::default();
    if health.disable {
        out.put("disable", Out::Bool(true));
        return out.done();
    }
    out.texts("test", &health.test);
    time(&mut out, "interval", health.interval);
    time(&mut out, "timeout", health.timeout);
    out.int("retries", health.retries);
    time(&mut out, "start_period", health.start_period);
    out.done()
}

fn logging(service: &Service) -> Out {
    let driver =
        service.logging.as_ref().and_then(|logging| logging.driver.as_deref()).filter(|driver| !driver.is_empty());
    let mut out = MapOut::default();
    out.text("driver", Some(driver.unwrap_or("json-file")));
    out.put(
        "options",
        Out::Map(LOG_LIMITS.iter().map(|(key, value)| ((*key).to_owned(), Out::from(*value))).collect()),
    );
    out.done()
}

fn attachments(service: &Service) -> Out {
    let mut out = MapOut::default();
    // Docker attaches in the order of names, whatever the file's.
    let sorted: BTreeMap<_, _> = service.networks.iter().collect();
    for (key, attachment) in sorted {
        let mut options = MapOut::default();
        options.texts("aliases", attachment.iter().flat_map(|attachment| &attachment.aliases));
        out.put(key, options.done());
    }
    out.done()
}

fn mounted(kind: &MountKind, target: &str, read_only: bool) -> Out {
    let mut out = MapOut::default();
    let (word, source) = match kind {
        MountKind::Volume { key, .. } => ("volume", Some(key)),
        MountKind::Anonymous => ("volume", None),
        MountKind::Tmpfs { .. } => ("tmpfs", None),
        MountKind::Bind { source } => ("bind", Some(source)),
    };
    out.text("type", Some(word));
    out.text("source", source);
    out.text("target", Some(target));
    out.flag("read_only", read_only);
    match kind {
        MountKind::Volume { nocopy: true, .. } => out.put("volume", Out::Map(vec![("nocopy".into(), Out::Bool(true))])),
        MountKind::Tmpfs { size: Some(size) } => out.put("tmpfs", Out::Map(vec![("size".into(), Out::Int(*size))])),
        MountKind::Volume { .. } | MountKind::Anonymous | MountKind::Tmpfs { size: None } | MountKind::Bind { .. } => {}
    }
    out.done()
}

fn reference(reference: &FileRef) -> Out {
    let mut out = MapOut::default();
    out.text("source", Some(&reference.source));
    out.text("target", reference.target.as_ref());
    out.text("uid", reference.uid.as_ref());
    out.text("gid", reference.gid.as_ref());
    out.int("mode", reference.mode.map(u64::from));
    out.done()
}

fn port(port: &crate::compose::Port) -> Out {
    let mut out = MapOut::default();
    out.int("target", Some(u64::from(port.target)));
    out.int("published", Some(u64::from(port.published)));
    out.text("protocol", Some(&port.protocol));
    out.text("mode", Some(&port.mode));
    out.done()
}

fn update(config: &UpdateConfig) -> MapOut {
    let mut out = MapOut::default();
    out.int("parallelism", config.parallelism);
    time(&mut out, "delay", config.delay);
    out.text("failure_action", config.failure_action.as_ref());
    time(&mut out, "monitor", config.monitor);
    if let Some(ratio) = config.max_failure_ratio {
        out.put("max_failure_ratio", Out::Float(ratio));
    }
    out.text("order", config.order.as_ref());
    out
}

fn restart(policy: &RestartPolicy) -> MapOut {
    let mut out = MapOut::default();
    out.text("condition", policy.condition.as_ref());
    time(&mut out, "delay", policy.delay);
    out.int("max_attempts", policy.max_attempts);
    time(&mut out, "window", policy.window);
    out
}

fn amounts(resources: &Resources) -> MapOut {
    let mut out = MapOut::default();
    out.text("cpus", resources.cpus.map(|cores| cores.to_string()));
    out.text("memory", resources.memory.map(duration::print_size));
    out.int("pids", resources.pids);
    out
}
