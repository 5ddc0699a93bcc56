//! From a recipe and its environment to the one compose file that is deployed, or to a refusal.
//!
//! The one rule to know: what is deployed is written anew from the typed model, so a key that the model does not hold cannot get through.

mod emit;
mod services;
mod types;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::app_env::compose_files;
use crate::compose::{self, Compose, FileObject, MountKind, Network, Volume};
use crate::env::EnvSample;
use crate::finding::{Finding, Place};
use crate::labels;
use crate::policy::{self, PROXY, Rule, Scope};
use crate::secrets;
use crate::tree::{self, TreeError};

pub use types::*;

/// Largest content of a Swarm config or secret, in bytes.
const MAX_CONTENT: usize = 500 * 1024;
/// Most findings that are reported; errors come first.
const MAX_FINDINGS: usize = 200;
/// Most compose files of an app.
const MAX_FILES: usize = 50;
/// Longest name of a service in Swarm.
const MAX_SERVICE: usize = 63;

/// Content files by section and key: path beside the compose file.
type Contents = BTreeMap<(&'static str, String), String>;

/// Plans a recipe: loads the compose files that its env selects, judges them, applies the run's changes, and writes the file to deploy.
///
/// # Errors
/// The recipe cannot be deployed, or asks for something that the policy refuses. All findings are in the refusal, not the first alone.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, Refusal> {
    let mut findings = Vec::new();
    let planned = build(input, &mut findings);
    // Errors first; within them, by file and line.
    findings.sort_by(|a, b| (b.severity, &a.file, a.line, &a.code).cmp(&(a.severity, &b.file, b.line, &b.code)));
    findings.dedup();
    findings.truncate(MAX_FINDINGS);
    match planned {
        Some(plan) if !findings.iter().any(Finding::is_error) => Ok(Plan { findings, ..plan }),
        _ => Err(Refusal { findings }),
    }
}

fn build(input: &PlanInput<'_>, findings: &mut Vec<Finding>) -> Option<Plan> {
    let mut env = input.env.clone();
    env.entry("STACK_NAME".into()).or_insert_with(|| input.stack.to_owned());
    let files = compose_files(&env);
    if files.len() > MAX_FILES {
        findings.push(Finding::error(
            "C020",
            &Place::new(".env.sample", 0),
            format!("COMPOSE_FILE names {} files, {MAX_FILES} are read", files.len()),
            "",
        ));
        return None;
    }
    let base = compose::base_folder(&files).to_owned();
    let (loaded, found) = compose::load(input.tree, &files, input.overlays, &env, input.policy);
    findings.extend(found);
    overlays_choose_no_image(input, &loaded, findings);
    let mut compose = compose::merge(loaded)?;
    if compose.services.is_empty() {
        findings.push(Finding::error(
            "C016",
            &Place::new(compose.file.clone(), 0),
            "there are no services",
            "a recipe needs at least a service `app`",
        ));
    } else if !compose.services.contains_key("app") {
        findings.push(Finding::warning(
            "C012",
            &Place::new(compose.file.clone(), 0),
            "there is no service `app`, so abra finds neither version nor commands",
            "call the main service app",
        ));
    }
    let scope = Scope { stack: input.stack, env: &env, policy: input.policy };
    policy::check(&mut compose, &scope, findings);
    references(&mut compose, input.stack, findings);
    let mut files = BTreeMap::new();
    let contents = contents(input, &base, &compose, &mut files, findings);
    let sample = input.tree.text(".env.sample").map(|text| EnvSample::parse(".env.sample", text)).unwrap_or_default();
    let secrets = secrets::specs(&compose, &env, &sample, findings);
    let external_networks = networks(&mut compose, input);
    settle_names(&mut compose, input.stack, findings);
    let emission = emit::Emission { adapt: input.adapt, external_networks: &external_networks, contents: &contents };
    let (version_label, timeout_s) = app_labels(&compose, input.stack, findings);
    Some(Plan {
        compose_yaml: emit::emit(&compose, &emission),
        files,
        services: compose
            .services
            .iter()
            .map(|(name, service)| services::plan(input.stack, name, service, &compose.volumes))
            .collect(),
        volumes: volume_plans(&compose, input.stack),
        networks: network_plans(&compose, input.stack, &external_networks),
        secrets,
        configs: config_plans(&compose, input.stack, &base, &contents),
        version_label,
        timeout_s,
        images: compose
            .services
            .values()
            .filter_map(|service| service.image.clone())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
        findings: Vec::new(),
    })
}

fn overlays_choose_no_image(input: &PlanInput<'_>, loaded: &[Compose], findings: &mut Vec<Finding>) {
    let is_overlay = |compose: &&Compose| input.overlays.iter().any(|overlay| overlay.name == compose.file);
    let (overlays, own): (Vec<&Compose>, Vec<&Compose>) = loaded.iter().partition(is_overlay);
    for overlay in overlays {
        for (name, service) in &overlay.services {
            if service.image.is_some() && own.iter().any(|compose| compose.services.contains_key(name)) {
                findings.push(Rule::OverlayImage.refuse(service.at("image"), &format!("services.{name}.image")));
            }
        }
    }
}

/// Every name that a service uses must be declared; what no service uses is left out, as Swarm never makes it.
fn references(compose: &mut Compose, stack: &str, findings: &mut Vec<Finding>) {
    let mut used: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for (name, service) in &mut compose.services {
        if service.networks.is_empty() {
            service.networks.insert("default".into(), None);
        }
        let full = format!("{stack}_{name}");
        if full.len() > MAX_SERVICE {
            let message =
                format!("services.{name}: the name {full:?} has {} characters, Swarm takes {MAX_SERVICE}", full.len());
            findings.push(Finding::error(
                "C017",
                &service.place,
                message,
                "shorten the name of the service, or the domain",
            ));
        }
        let mut check = |section: &'static str, key: &str, place: &Place, known: bool| {
            used.entry(section).or_default().insert(key.to_owned());
            if !known {
                let message = format!("services.{name}.{section} uses {key:?}, which is not declared");
                findings.push(Finding::error("C006", place, message, format!("add it to the top-level {section}")));
            }
        };
        for key in service.networks.keys() {
            check(
                "networks",
                key,
                service.places.get(&format!("networks {key}")).unwrap_or(&service.place),
                key == "default" || compose.networks.contains_key(key),
            );
        }
        for mount in &service.volumes {
            if let MountKind::Volume { key, .. } = &mount.kind {
                check("volumes", key, &mount.place, compose.volumes.contains_key(key));
            }
        }
        for reference in &service.secrets {
            check("secrets", &reference.source, &reference.place, compose.secrets.contains_key(&reference.source));
        }
        for reference in &service.configs {
            check("configs", &reference.source, &reference.place, compose.configs.contains_key(&reference.source));
        }
    }
    let is_used = |section: &str, key: &String| used.get(section).is_some_and(|keys| keys.contains(key));
    compose.networks.retain(|key, _| is_used("networks", key));
    compose.volumes.retain(|key, _| is_used("volumes", key));
    compose.secrets.retain(|key, _| is_used("secrets", key));
    compose.configs.retain(|key, _| is_used("configs", key));
    if is_used("networks", &"default".to_owned()) {
        compose.networks.entry("default".into()).or_default();
    }
}

/// Takes the content of configs and secrets from the recipe.
fn contents(
    input: &PlanInput<'_>,
    base: &str,
    compose: &Compose,
    files: &mut BTreeMap<String, Vec<u8>>,
    findings: &mut Vec<Finding>,
) -> Contents {
    let mut contents = Contents::new();
    for (section, objects) in [("secrets", &compose.secrets), ("configs", &compose.configs)] {
        for (index, (key, object)) in objects.iter().filter(|(_, object)| !object.external).enumerate() {
            let Some(path) = &object.file else { continue };
            let what = format!("{section}.{key}.file");
            let place = object.name_place.as_ref().unwrap_or(&object.place);
            let path = resolved(base, path);
            match input.tree.get(&path) {
                Ok(bytes) if bytes.len() > MAX_CONTENT || bytes.is_empty() => {
                    let message = format!("{what}: {path:?} has {} bytes, Swarm takes 1 to {MAX_CONTENT}", bytes.len());
                    findings.push(Finding::error("C018", place, message, ""));
                }
                Ok(bytes) => {
                    if object.template_driver.is_some() {
                        template(&path, bytes, findings);
                    }
                    let name = format!("{section}/{index}");
                    files.insert(name.clone(), bytes.to_vec());
                    contents.insert((section, key.clone()), name);
                }
                Err(TreeError::Outside(_)) => {
                    findings.push(Rule::FileOutside.refuse(place, &format!("{what} names {path:?}")));
                }
                Err(TreeError::Link(_)) => {
                    findings.push(Rule::FileLink.refuse(place, &format!("{what} names {path:?}")));
                }
                Err(error) => findings.push(Finding::error("C005", place, format!("{what}: {error}"), "")),
            }
        }
    }
    contents
}

/// A relative path of a compose file, from the recipe's root. Absolute ones stay as they are and are refused later.
fn resolved(base: &str, path: &str) -> String {
    if path.starts_with(['/', '~']) { path.to_owned() } else { format!("{base}{path}") }
}

/// A template that Swarm renders may use secrets and variables of its service, but no facts about the node: neither by name nor by
/// handing on the whole context as a lone dot.
fn template(path: &str, bytes: &[u8], findings: &mut Vec<Finding>) {
    static NODE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\{\{[^}]*(\.Node\b|[\s({=-]\.[\s)}|-])|\{\{\.[\s}-]").ok());
    let text = String::from_utf8_lossy(bytes);
    let Some(node) = NODE.as_ref() else { return };
    for found in node.find_iter(&text) {
        let line = text[..found.end()].matches('\n').count() + 1;
        findings.push(Rule::GoTemplate.refuse(&Place::new(path, line), &format!("template {:?}", found.as_str())));
    }
}

/// Puts the run's own network in the place of `proxy`. Returns the networks that stay external, by key.
fn networks(compose: &mut Compose, input: &PlanInput<'_>) -> BTreeMap<String, String> {
    let mut external = BTreeMap::new();
    let mut renamed = Vec::new();
    for (key, network) in &compose.networks {
        match network.name.as_deref().filter(|_| network.external) {
            Some(PROXY) if key != PROXY => renamed.push(key.clone()),
            Some(name) if name != PROXY && input.policy.networks.contains(name) => {
                external.insert(key.clone(), name.to_owned());
            }
            _ => {}
        }
    }
    // Two keys for the shared network must stay one network.
    for key in renamed {
        let place = compose.networks.remove(&key).map(|network| network.place).unwrap_or_default();
        compose.networks.entry(PROXY.into()).or_insert(Network { place, ..Network::default() });
        for service in compose.services.values_mut() {
            if let Some(attachment) = service.networks.shift_remove(&key) {
                service.networks.entry(PROXY.into()).or_insert(attachment);
            }
        }
    }
    external
}

/// Names that Swarm would make itself are dropped; the others are checked against its rules.
fn settle_names(compose: &mut Compose, stack: &str, findings: &mut Vec<Finding>) {
    compose.volumes.values_mut().filter(|volume| !volume.external).for_each(|volume| volume.name = None);
    compose.networks.values_mut().for_each(|network| network.name = None);
    for (section, objects) in [("secrets", &compose.secrets), ("configs", &compose.configs)] {
        for (key, object) in objects.iter().filter(|(_, object)| section == "configs" || !object.external) {
            let place = object.name_place.as_ref().unwrap_or(&object.place);
            let name = object_name(stack, key, object);
            if name.ends_with('_') {
                findings.push(Finding::error(
                    "C019",
                    place,
                    format!("{section}.{key}: missing version, the name is {name:?}"),
                    "export its *_VERSION in abra.sh",
                ));
            } else {
                secrets::name_is_good(&name, place, &format!("{section}.{key}"), findings);
            }
        }
    }
}

fn object_name(stack: &str, key: &str, object: &FileObject) -> String {
    object.name.clone().unwrap_or_else(|| format!("{stack}_{key}"))
}

fn app_labels(compose: &Compose, stack: &str, findings: &mut Vec<Finding>) -> (Option<String>, Option<u64>) {
    // Version and timeout belong to `app`, but older recipes put them on whichever service is routed.
    let app_first = compose
        .services
        .get("app")
        .into_iter()
        .chain(compose.services.iter().filter(|(name, _)| *name != "app").map(|(_, service)| service));
    let services: Vec<_> = app_first.collect();
    let version = services.iter().find_map(|service| labels::version(&service.deploy.labels, stack)).map(str::to_owned);
    let mut timeout = None;
    for service in services {
        match labels::timeout(&service.deploy.labels, stack) {
            Ok(Some(seconds)) => timeout = timeout.or(Some(seconds)),
            Ok(None) => {}
            Err(text) => {
                let place = service.at(&format!("deploy.labels coop-cloud.{stack}.timeout"));
                findings.push(Finding::warning(
                    "C014",
                    place,
                    format!("the timeout label {text:?} is no number of seconds and is ignored"),
                    "write for example ${TIMEOUT:-300}",
                ));
            }
        }
    }
    (version, timeout)
}

fn volume_plans(compose: &Compose, stack: &str) -> Vec<VolumePlan> {
    compose
        .volumes
        .iter()
        .map(|(key, volume)| VolumePlan {
            key: key.clone(),
            name: volume_name(stack, key, volume),
            external: volume.external,
        })
        .collect()
}

/// The name of a volume in the engine. Only an external one keeps the name that the recipe gave.
fn volume_name(stack: &str, key: &str, volume: &Volume) -> String {
    let external = if volume.external { volume.name.clone() } else { None };
    external.unwrap_or_else(|| format!("{stack}_{key}"))
}

fn network_plans(compose: &Compose, stack: &str, external: &BTreeMap<String, String>) -> Vec<NetworkPlan> {
    let plan = |(key, network): (&String, &Network)| NetworkPlan {
        key: key.clone(),
        name: external.get(key).cloned().unwrap_or_else(|| format!("{stack}_{key}")),
        internal: network.internal,
        external: external.contains_key(key),
        proxy: key == PROXY,
    };
    compose.networks.iter().map(plan).collect()
}

fn config_plans(compose: &Compose, stack: &str, base: &str, contents: &Contents) -> Vec<ConfigPlan> {
    let plan = |(key, object): (&String, &FileObject)| {
        let file = contents.get(&("configs", key.clone()))?.clone();
        let written = resolved(base, object.file.as_deref().unwrap_or_default());
        let source = tree::normalise(&written).unwrap_or(written);
        Some(ConfigPlan {
            key: key.clone(),
            name: object_name(stack, key, object),
            source,
            file,
            template: object.template_driver.is_some(),
        })
    };
    compose.configs.iter().filter_map(plan).collect()
}
