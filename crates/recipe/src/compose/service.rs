//! Reads one service.

use std::collections::HashMap;

use indexmap::IndexMap;

use crate::compose::model::{Attachment, FileRef, Healthcheck, Logging, Mount, MountKind, Port, Service, Ulimit};
use crate::compose::reader::{Cast, Reader};
use crate::compose::{deploy, short};
use crate::finding::Place;
use crate::interpolate::Env;
use crate::policy::{Policy, Rule};
use crate::tree::{Tree, TreeError};
use crate::yaml::{Key, Node, Typed, Value};

/// What a service needs beside its own text.
pub(super) struct Context<'a> {
    pub(super) tree: &'a Tree,
    pub(super) env: &'a Env,
    /// Folder against which relative paths resolve, with a slash at its end, or nothing.
    pub(super) base: &'a str,
    pub(super) policy: &'a Policy,
}

/// Keys that give power over the host to a plain container, but that Swarm does not know.
const SWARM_IGNORES: [&str; 11] = [
    "build",
    "cgroup_parent",
    "cgroupns_mode",
    "devices",
    "ipc",
    "network_mode",
    "pid",
    "privileged",
    "restart",
    "security_opt",
    "userns_mode",
];

/// Keys that docker/cli refuses, or that give a container power over the host. They are judged before interpolation.
pub(super) fn forbidden(key: &str) -> Option<Rule> {
    Some(match key {
        "extends" => Rule::Extends,
        "volumes_from" | "volume_driver" => Rule::VolumesFrom,
        "cpu_quota" | "cpu_shares" | "cpuset" | "mem_limit" | "memswap_limit" => Rule::Resources,
        "devices" | "device_cgroup_rules" | "gpus" => Rule::Devices,
        "network_mode" => Rule::NetworkMode,
        "pid" => Rule::PidMode,
        "ipc" => Rule::IpcMode,
        "security_opt" => Rule::SecurityOpt,
        "userns_mode" => Rule::UserNamespace,
        "cgroup_parent" | "cgroupns_mode" | "cgroup" => Rule::CgroupParent,
        "build" => Rule::Build,
        "credential_spec" => Rule::CredentialSpec,
        "isolation" => Rule::Isolation,
        "oom_score_adj" | "oom_kill_disable" => Rule::OomScore,
        _ => return None,
    })
}

pub(super) fn read(reader: &mut Reader<'_>, context: &Context<'_>, name: &Key, node: &Node) -> Service {
    let mut service = Service { place: reader.place(name.pos), ..Service::default() };
    let what = format!("services.{}", name.text);
    for (key, value) in reader.map(node, &what) {
        let path = format!("{what}.{}", key.text);
        service.places.insert(key.text.clone(), reader.place(key.pos));
        if SWARM_IGNORES.contains(&key.text.as_str()) && context.policy.ignored_keys.contains(&key.text) {
            reader.note(
                "C011",
                key.pos,
                format!("{path} is ignored by Swarm and left out, as the policy allows"),
                "remove it",
            );
            continue;
        }
        if let Some(rule) = forbidden(&key.text) {
            reader.refuse(rule, key.pos, &path);
            continue;
        }
        field(reader, context, &mut service, key, value, &path);
    }
    service
}

fn field(reader: &mut Reader<'_>, context: &Context<'_>, service: &mut Service, key: &Key, value: &Node, path: &str) {
    match key.text.as_str() {
        "image" => service.image = reader.string(value, path),
        "command" => service.command = command(reader, value, path),
        "entrypoint" => service.entrypoint = command(reader, value, path),
        "environment" => environment(reader, context, service, value, path),
        "env_file" => env_file(reader, context, service, value, path),
        "labels" => {
            for (label, text, pos) in reader.pairs(value, path) {
                service.places.insert(format!("labels {label}"), reader.place(pos));
                service.labels.insert(label, text.unwrap_or_default());
            }
        }
        "user" => service.user = reader.string(value, path),
        "working_dir" => service.working_dir = reader.string(value, path),
        "hostname" => service.hostname = reader.string(value, path),
        "stop_signal" => service.stop_signal = reader.string(value, path),
        "init" => service.init = Some(reader.bool(value, path, Cast::No)),
        "read_only" => service.read_only = reader.bool(value, path, Cast::Yes),
        "tty" => service.tty = reader.bool(value, path, Cast::Yes),
        "stdin_open" => service.stdin_open = reader.bool(value, path, Cast::Yes),
        "privileged" => {
            if reader.bool(value, path, Cast::Yes) {
                reader.refuse(Rule::Privileged, key.pos, path);
            }
        }
        "stop_grace_period" => service.stop_grace_period = reader.duration(value, path),
        "cap_add" => service.cap_add = placed_strings(reader, &mut service.places, value, "cap_add", path),
        "cap_drop" => service.cap_drop = reader.strings(value, path),
        "dns" => service.dns = reader.string_or_strings(value, path),
        "dns_search" => service.dns_search = reader.string_or_strings(value, path),
        "extra_hosts" => service.extra_hosts = extra_hosts(reader, value, path),
        "sysctls" => {
            for (name, text, pos) in reader.pairs(value, path) {
                service.places.insert(format!("sysctls {name}"), reader.place(pos));
                service.sysctls.insert(name, text.unwrap_or_default());
            }
        }
        "ulimits" => ulimits(reader, service, value, path),
        "healthcheck" => service.healthcheck = Some(healthcheck(reader, &mut service.places, value, path)),
        "logging" => service.logging = Some(logging(reader, value, path)),
        "networks" => service.networks = networks(reader, &mut service.places, value, path),
        "volumes" => service.volumes = volumes(reader, value, path),
        "secrets" => service.secrets = file_refs(reader, value, path),
        "configs" => service.configs = file_refs(reader, value, path),
        "ports" => service.ports = ports(reader, value, path),
        "deploy" => service.deploy = deploy::read(reader, &mut service.places, value, path),
        "depends_on" | "expose" | "links" | "external_links" | "restart" | "shm_size" | "container_name"
        | "domainname" | "mac_address" | "tmpfs" => {
            reader.note("C011", key.pos, format!("{path} is ignored by Swarm"), ignored_remedy(&key.text));
        }
        own if own.starts_with("x-") => {}
        _ => reader.unknown(key, path.rsplit_once('.').map_or(path, |(parent, _)| parent)),
    }
}

fn ignored_remedy(key: &str) -> &'static str {
    match key {
        "restart" => "use deploy.restart_policy",
        "tmpfs" | "shm_size" => "use a volume with type: tmpfs",
        "depends_on" => "let the service wait for what it needs",
        _ => "remove it",
    }
}

fn command(reader: &mut Reader<'_>, node: &Node, what: &str) -> Option<Vec<String>> {
    if node.is_null() {
        return None;
    }
    if let Value::Seq(items) = &node.value {
        return Some(items.iter().filter_map(|item| reader.string(item, what)).collect());
    }
    let text = reader.string(node, what)?;
    match short::words(&text) {
        Ok(words) => Some(words),
        Err(error) => {
            reader.error("C003", node.pos, format!("{what} cannot be split into words: {error}"), "write it as a list");
            None
        }
    }
}

/// A value that is missing or empty is taken from the variables, if they have it.
fn put_variable(service: &mut Service, env: &Env, name: String, value: Option<String>, place: Place) {
    let value = match value {
        Some(value) if !value.is_empty() => Some(value),
        other => env.get(&name).cloned().or(other),
    };
    service.places.insert(format!("environment {name}"), place);
    service.environment.insert(name, value);
}

fn environment(reader: &mut Reader<'_>, context: &Context<'_>, service: &mut Service, node: &Node, what: &str) {
    if let Value::Map(entries) = &node.value {
        for (_, value) in entries {
            let old_boolean = value.scalar().is_some_and(|s| {
                s.plain && s.raw.is_none() && matches!(s.typed(), Typed::Str(t) if ["yes", "no", "on", "off", "y", "n"].contains(&t.to_ascii_lowercase().as_str()))
            });
            if old_boolean {
                reader.note(
                    "C015",
                    value.pos,
                    format!(
                        "a bare {} in {what} is a boolean to older releases of Docker, which refuse it",
                        value.scalar().map_or("", |s| &s.text)
                    ),
                    "put it in quotes",
                );
            }
        }
    }
    for (name, value, pos) in reader.pairs(node, what) {
        let place = reader.place(pos);
        put_variable(service, context.env, name, value, place);
    }
}

fn env_file(reader: &mut Reader<'_>, context: &Context<'_>, service: &mut Service, node: &Node, what: &str) {
    let mut found: IndexMap<String, (Option<String>, Place)> = IndexMap::new();
    for file in reader.string_or_strings(node, what) {
        let file = if file.starts_with(['/', '~']) { file } else { format!("{}{file}", context.base) };
        match context.tree.text(&file) {
            Ok(text) => {
                for (number, line) in text.lines().enumerate() {
                    let line = line.trim_start();
                    if line.is_empty() || line.starts_with('#') {
                        continue;
                    }
                    let (name, value) =
                        line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value.to_owned())));
                    found.insert(name.to_owned(), (value, Place::new(file.clone(), number + 1)));
                }
            }
            Err(TreeError::Outside(path)) => reader.refuse(Rule::EnvFile, node.pos, format!("{what} names {path:?}")),
            Err(TreeError::Link(path)) => reader.refuse(Rule::FileLink, node.pos, format!("{what} names {path:?}")),
            Err(error) => reader.error("C005", node.pos, format!("{what}: {error}"), ""),
        }
    }
    for (name, (value, place)) in found {
        // `environment` wins over `env_file`, whichever comes first in the compose file.
        if !service.environment.contains_key(&name) {
            put_variable(service, context.env, name, value, place);
        }
    }
}

fn placed_strings(
    reader: &mut Reader<'_>,
    places: &mut HashMap<String, Place>,
    node: &Node,
    part: &str,
    what: &str,
) -> Vec<String> {
    for item in node.seq().unwrap_or_default() {
        if let Some(scalar) = item.scalar() {
            places.insert(format!("{part} {}", scalar.text), reader.place(item.pos));
        }
    }
    reader.strings(node, what)
}

fn extra_hosts(reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<String> {
    match &node.value {
        Value::Seq(_) => reader.strings(node, what),
        Value::Map(_) | Value::Scalar(_) => reader
            .pairs(node, what)
            .into_iter()
            .map(|(name, address, _)| format!("{name}:{}", address.unwrap_or_default()))
            .collect(),
    }
}

fn ulimits(reader: &mut Reader<'_>, service: &mut Service, node: &Node, what: &str) {
    for (key, value) in reader.map(node, what) {
        let path = format!("{what}.{}", key.text);
        let limit = if value.map().is_some() {
            let (mut soft, mut hard) = (None, None);
            for (side, number) in reader.map(value, &path) {
                match side.text.as_str() {
                    "soft" => soft = reader.int(number, &path, Cast::Yes),
                    "hard" => hard = reader.int(number, &path, Cast::Yes),
                    _ => reader.unknown(side, &path),
                }
            }
            if soft.is_none() || hard.is_none() {
                reader.error("C003", key.pos, format!("{path} needs soft and hard"), "");
            }
            soft.zip(hard).map(|(soft, hard)| Ulimit { soft, hard })
        } else {
            reader.int(value, &path, Cast::Yes).map(|both| Ulimit { soft: both, hard: both })
        };
        service.places.insert(format!("ulimits {}", key.text), reader.place(key.pos));
        service.ulimits.extend(limit.map(|limit| (key.text.clone(), limit)));
    }
}

fn healthcheck(reader: &mut Reader<'_>, places: &mut HashMap<String, Place>, node: &Node, what: &str) -> Healthcheck {
    let mut health = Healthcheck::default();
    for (key, value) in reader.map(node, what) {
        let path = format!("{what}.{}", key.text);
        places.insert(format!("healthcheck.{}", key.text), reader.place(key.pos));
        match key.text.as_str() {
            "test" => {
                health.test = match &value.value {
                    Value::Seq(items) => items.iter().filter_map(|item| reader.string(item, &path)).collect(),
                    Value::Scalar(_) | Value::Map(_) => {
                        reader.string(value, &path).map(|text| vec!["CMD-SHELL".to_owned(), text]).unwrap_or_default()
                    }
                };
            }
            "interval" => health.interval = reader.duration(value, &path),
            "timeout" => health.timeout = reader.duration(value, &path),
            "retries" => health.retries = reader.unsigned(value, &path, Cast::Yes),
            "start_period" => health.start_period = reader.duration(value, &path),
            "start_interval" => {
                reader.duration(value, &path);
                reader.note("C011", key.pos, format!("{path} is left out: engines before 25 refuse it"), "remove it");
            }
            "disable" => health.disable = reader.bool(value, &path, Cast::Yes),
            _ => reader.unknown(key, what),
        }
    }
    if !health.test.is_empty() && !["NONE", "CMD", "CMD-SHELL"].contains(&health.test[0].as_str()) {
        reader.error(
            "C003",
            node.pos,
            format!("{what}.test must start with NONE, CMD or CMD-SHELL"),
            "write for example [\"CMD\", \"curl\", \"-f\", \"http://localhost\"]",
        );
    }
    if health.disable && !health.test.is_empty() && health.test[0] != "NONE" {
        reader.error("C003", node.pos, format!("{what} has both disable and test, which Docker refuses"), "keep one");
    }
    health
}

fn logging(reader: &mut Reader<'_>, node: &Node, what: &str) -> Logging {
    let mut logging = Logging::default();
    for (key, value) in reader.map(node, what) {
        match key.text.as_str() {
            "driver" => logging.driver = reader.string(value, what),
            "options" => {
                for (name, text) in reader.map(value, what) {
                    let text = if text.is_null() { Some(String::new()) } else { reader.scalar_text(text, what) };
                    logging.options.extend(text.map(|text| (name.text.clone(), text)));
                }
            }
            _ => reader.unknown(key, what),
        }
    }
    logging
}

fn networks(
    reader: &mut Reader<'_>,
    places: &mut HashMap<String, Place>,
    node: &Node,
    what: &str,
) -> IndexMap<String, Option<Attachment>> {
    if node.seq().is_some() {
        return placed_strings(reader, places, node, "networks", what).into_iter().map(|name| (name, None)).collect();
    }
    let mut result = IndexMap::new();
    for (key, value) in reader.map(node, what) {
        let path = format!("{what}.{}", key.text);
        places.insert(format!("networks {}", key.text), reader.place(key.pos));
        let attachment = if value.is_null() {
            None
        } else {
            let mut attachment = Attachment::default();
            for (option, text) in reader.map(value, &path) {
                match option.text.as_str() {
                    "aliases" => attachment.aliases = reader.strings(text, &path),
                    "ipv4_address" | "ipv6_address" | "driver_opts" => {
                        reader.refuse(Rule::StaticAddress, option.pos, format!("{path}.{}", option.text));
                    }
                    _ => reader.unknown(option, &path),
                }
            }
            Some(attachment)
        };
        result.insert(key.text.clone(), attachment);
    }
    result
}

fn volumes(reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<Mount> {
    let mut mounts = Vec::new();
    for item in reader.seq(node, what) {
        let read = if item.map().is_some() { long_mount(reader, item, what) } else { short_mount(reader, item, what) };
        if let Some((kind, target, read_only)) = read {
            mounts.push(Mount { kind, target, read_only, place: reader.place(item.pos) });
        }
    }
    mounts
}

fn short_mount(reader: &mut Reader<'_>, item: &Node, what: &str) -> Option<(MountKind, String, bool)> {
    let text = reader.string(item, what)?;
    short::mount(&text)
        .map_err(|error| {
            reader.error("C003", item.pos, format!("{what}: {error}"), "write volume:/path or volume:/path:ro");
        })
        .ok()
}

fn long_mount(reader: &mut Reader<'_>, item: &Node, what: &str) -> Option<(MountKind, String, bool)> {
    let (mut kind, mut source, mut target, mut read_only, mut nocopy, mut size) =
        (None, None, None, false, false, None);
    for (key, value) in reader.map(item, what) {
        let path = format!("{what}.{}", key.text);
        match key.text.as_str() {
            "type" => kind = reader.string(value, &path),
            "source" => source = reader.string(value, &path),
            "target" => target = reader.string(value, &path),
            "read_only" => read_only = reader.bool(value, &path, Cast::Yes),
            "consistency" => {}
            "bind" => reader.refuse(Rule::BindMount, key.pos, &path),
            "volume" => {
                for (option, value) in reader.map(value, &path) {
                    match option.text.as_str() {
                        "nocopy" => nocopy = reader.bool(value, &path, Cast::Yes),
                        _ => reader.unknown(option, &path),
                    }
                }
            }
            "tmpfs" => {
                for (option, value) in reader.map(value, &path) {
                    match option.text.as_str() {
                        "size" => size = reader.unsigned(value, &path, Cast::No),
                        _ => reader.unknown(option, &path),
                    }
                }
            }
            _ => reader.unknown(key, what),
        }
    }
    let kind = match (kind.as_deref(), source.filter(|source| !source.is_empty())) {
        (Some("volume"), Some(key)) => MountKind::Volume { key, nocopy },
        (Some("volume"), None) => MountKind::Anonymous,
        (Some("tmpfs"), _) => MountKind::Tmpfs { size },
        (Some("bind"), Some(source)) => MountKind::Bind { source },
        (Some("npipe"), _) => {
            reader.refuse(Rule::EngineSocket, item.pos, format!("{what} with type npipe"));
            return None;
        }
        (Some(other), _) => {
            reader.refuse(Rule::MountType, item.pos, format!("{what} with type {other}"));
            return None;
        }
        (None, _) => {
            reader.error("C003", item.pos, format!("{what} needs a type"), "write type: volume");
            return None;
        }
    };
    let Some(target) = target else {
        reader.error("C003", item.pos, format!("{what} needs a target"), "");
        return None;
    };
    Some((kind, target, read_only))
}

fn file_refs(reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<FileRef> {
    let mut result = Vec::new();
    for item in reader.seq(node, what) {
        let mut reference = FileRef {
            source: String::new(),
            target: None,
            uid: None,
            gid: None,
            mode: None,
            place: reader.place(item.pos),
        };
        if item.map().is_none() {
            let Some(source) = reader.string(item, what) else { continue };
            reference.source = source;
        }
        for (key, value) in item.map().unwrap_or_default() {
            match key.text.as_str() {
                "source" => reference.source = reader.string(value, what).unwrap_or_default(),
                "target" => reference.target = reader.string(value, what),
                "uid" => reference.uid = reader.string(value, what),
                "gid" => reference.gid = reader.string(value, what),
                "mode" => reference.mode = mode(reader, value, what),
                _ => reader.unknown(key, what),
            }
        }
        if reference.source.is_empty() {
            reader.error("C003", item.pos, format!("{what} has an entry without a source"), "");
        } else {
            result.push(reference);
        }
    }
    result
}

fn mode(reader: &mut Reader<'_>, value: &Node, what: &str) -> Option<u32> {
    let number = reader.int(value, &format!("{what}.mode"), Cast::Yes)?;
    let mode = u32::try_from(number).ok().filter(|mode| *mode <= 0o7777);
    if mode.is_none() {
        reader.error(
            "C003",
            value.pos,
            format!("{what}.mode {number} is no file mode"),
            "write an octal number like 0444",
        );
    }
    mode
}

fn ports(reader: &mut Reader<'_>, node: &Node, what: &str) -> Vec<Port> {
    let mut result = Vec::new();
    for item in reader.seq(node, what) {
        let place = reader.place(item.pos);
        if item.map().is_some() {
            result.extend(long_port(reader, item, what));
            continue;
        }
        let Some(text) = reader.scalar_text(item, what) else { continue };
        match short::ports(&text) {
            Ok(list) => result.extend(list.into_iter().map(|(published, target, protocol)| Port {
                target,
                published,
                protocol,
                mode: "ingress".into(),
                place: place.clone(),
            })),
            Err(error) => reader.error("C003", item.pos, format!("{what}: {error}"), ""),
        }
    }
    result
}

fn long_port(reader: &mut Reader<'_>, item: &Node, what: &str) -> Option<Port> {
    let mut port =
        Port { target: 0, published: 0, protocol: "tcp".into(), mode: "ingress".into(), place: reader.place(item.pos) };
    let number = |reader: &mut Reader<'_>, value: &Node| {
        let wide = reader.unsigned(value, what, Cast::Yes)?;
        let port = u16::try_from(wide).ok();
        if port.is_none() {
            reader.error("C003", value.pos, format!("{what}: {wide} is no port"), "");
        }
        port
    };
    for (key, value) in reader.map(item, what) {
        match key.text.as_str() {
            "target" => port.target = number(reader, value)?,
            "published" => port.published = number(reader, value)?,
            "protocol" => port.protocol = choice(reader, value, what, &["tcp", "udp", "sctp"])?,
            "mode" => port.mode = choice(reader, value, what, &["ingress", "host"])?,
            _ => reader.unknown(key, what),
        }
    }
    if port.target == 0 {
        reader.error("C003", item.pos, format!("{what} needs a target port"), "");
        return None;
    }
    Some(port)
}

/// One of a few words.
pub(super) fn choice(reader: &mut Reader<'_>, node: &Node, what: &str, words: &[&str]) -> Option<String> {
    let text = reader.string(node, what)?;
    if words.contains(&text.as_str()) {
        return Some(text);
    }
    reader.error("C003", node.pos, format!("{what} is {text:?}"), format!("use one of {}", words.join(", ")));
    None
}
