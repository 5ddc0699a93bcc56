//! Compose files as docker/cli reads them for Swarm: parse, interpolate, check, merge.
//!
//! The one rule to know: nothing is dropped in silence. A key that the model does not hold is a finding, and what is refused is refused in
//! every file where only the key matters, and in the merged result where the value does.

mod deploy;
mod merge;
mod model;
mod reader;
mod service;
mod short;
mod top;

use std::collections::BTreeSet;

pub use model::*;

use crate::finding::{Finding, Place};
use crate::interpolate::{self, Env};
use crate::plan::Overlay;
use crate::policy::Policy;
use crate::tree::{Tree, TreeError};
use crate::yaml::{self, Key, Node, Pos, Value};

pub(crate) use merge::merge;
use reader::Reader;

/// Versions of the compose format that a Swarm of today reads.
const VERSIONS: [&str; 15] =
    ["3", "3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"];

/// Keys whose values are durations, which abra checks before it interpolates.
const DURATIONS: [&str; 8] =
    ["interval", "timeout", "start_period", "start_interval", "stop_grace_period", "delay", "monitor", "window"];

/// Reads `files` of the recipe in order, each on its own. Findings of all files are collected; a file that cannot be read yields none.
///
/// The policy says which keys that Swarm ignores may be there, and whether a duration may be a variable.
pub fn load(
    tree: &Tree,
    files: &[String],
    overlays: &[Overlay],
    env: &Env,
    policy: &Policy,
) -> (Vec<Compose>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut loaded: Vec<Compose> = Vec::new();
    let context = service::Context { tree, env, base: base_folder(files), policy };
    for file in files {
        match tree.text(file) {
            Ok(text) => loaded.extend(load_one(&context, file, text, &mut findings)),
            Err(error) => {
                let (code, remedy) = match &error {
                    TreeError::Outside(_) => ("P021", "name files of the recipe in COMPOSE_FILE"),
                    TreeError::Link(_) => ("P022", "commit the file itself"),
                    TreeError::Missing(_) | TreeError::NotText(_) => ("C005", "is the name in COMPOSE_FILE right?"),
                };
                findings.push(Finding::error(
                    code,
                    &Place::new(file.clone(), 0),
                    format!("compose file: {error}"),
                    remedy,
                ));
            }
        }
    }
    for overlay in overlays {
        loaded.extend(load_one(&context, &overlay.name, &overlay.text, &mut findings));
    }
    let first = loaded.iter().map(|compose| compose.version.clone()).next().flatten();
    for compose in &loaded {
        if normal_version(compose.version.as_deref()) != normal_version(first.as_deref()) {
            let place = Place::new(compose.file.clone(), 1);
            let words = |version: &Option<String>| {
                version.as_ref().map_or_else(|| "no version".to_owned(), |text| format!("version {text:?}"))
            };
            let message = format!(
                "it has {} and the first file has {}, which Docker refuses",
                words(&compose.version),
                words(&first)
            );
            findings.push(Finding::error("C004", &place, message, "write the same version in every file, or in none"));
        }
    }
    (loaded, findings)
}

fn normal_version(version: Option<&str>) -> &str {
    match version {
        None | Some("" | "3") => "3.13",
        Some(version) => version,
    }
}

fn load_one(context: &service::Context<'_>, file: &str, text: &str, findings: &mut Vec<Finding>) -> Option<Compose> {
    let mut root = match yaml::load(file, text) {
        Ok(root) => root,
        Err(error) => {
            let place = Place::new(file, error.pos.line);
            findings.push(Finding::error("C001", &place, format!("this is no YAML that Docker reads: {error}"), ""));
            return None;
        }
    };
    if root.map().is_none() {
        findings.push(Finding::error(
            "C001",
            &Place::new(file, 1),
            "the file must be a mapping",
            "start with services:",
        ));
        return None;
    }
    let mut reader = Reader { file, findings };
    if !context.policy.duration_variables {
        duration_variables_in(&root, &mut reader);
    }
    let mut unset = BTreeSet::new();
    interpolate_node(&mut root, context.env, &mut reader, &mut unset);
    Some(read_root(&mut reader, context, &root))
}

fn read_root(reader: &mut Reader<'_>, context: &service::Context<'_>, root: &Node) -> Compose {
    let mut compose = Compose { file: reader.file.to_owned(), ..Compose::default() };
    for (key, value) in root.map().unwrap_or_default() {
        let section = key.text.as_str();
        match section {
            "version" => {
                compose.version = reader.string(value, "version");
                if compose.version.as_deref().is_some_and(|version| !VERSIONS.contains(&version)) {
                    reader.error(
                        "C004",
                        value.pos,
                        format!(
                            "version {:?} is not one that Swarm reads",
                            compose.version.as_deref().unwrap_or_default()
                        ),
                        "write version: \"3.8\"",
                    );
                }
            }
            "services" | "networks" | "volumes" | "secrets" | "configs" => {
                for (name, node) in reader.map(value, section) {
                    if !is_name(&name.text) {
                        reader.error(
                            "C003",
                            name.pos,
                            format!("{:?} in {section} is no name", name.text),
                            "use letters, digits, and . _ -",
                        );
                        continue;
                    }
                    section_entry(reader, context, &mut compose, section, name, node);
                }
            }
            own if own.starts_with("x-") => {}
            _ => reader.unknown(key, "the compose file"),
        }
    }
    compose
}

fn section_entry(
    reader: &mut Reader<'_>,
    context: &service::Context<'_>,
    compose: &mut Compose,
    section: &str,
    name: &Key,
    node: &Node,
) {
    let key = name.text.clone();
    match section {
        "services" if node.map().is_none() => {
            reader.error("C002", node.pos, format!("services.{key} must be a mapping"), "");
        }
        "services" => {
            compose.services.insert(key, service::read(reader, context, name, node));
        }
        "networks" => {
            compose.networks.insert(key, top::network(reader, name, node));
        }
        "volumes" => {
            compose.volumes.insert(key, top::volume(reader, name, node));
        }
        "secrets" => {
            compose.secrets.insert(key, top::file_object(reader, section, name, node));
        }
        _ => {
            compose.configs.insert(key, top::file_object(reader, section, name, node));
        }
    }
}

/// The folder against which relative paths of all files resolve: that of the first file, with a slash at its end, or nothing.
pub(crate) fn base_folder(files: &[String]) -> &str {
    files.first().and_then(|file| file.rfind('/').map(|at| &file[..=at])).unwrap_or_default()
}

/// The names that compose allows for services and everything else.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn duration_variables_in(node: &Node, reader: &mut Reader<'_>) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let is_duration = DURATIONS.contains(&key.text.as_str());
                if is_duration && value.scalar().is_some_and(|scalar| scalar.text.contains('$')) {
                    reader.error(
                        "C010",
                        value.pos,
                        format!("{} is a variable, and abra checks durations before it replaces variables", key.text),
                        "write the duration itself",
                    );
                }
                // Names of variables and labels may be anything.
                if !["environment", "labels", "args", "options"].contains(&key.text.as_str())
                    && !key.text.starts_with("x-")
                {
                    duration_variables_in(value, reader);
                }
            }
        }
        Value::Seq(items) => items.iter().for_each(|item| duration_variables_in(item, reader)),
        Value::Scalar(_) => {}
    }
}

/// Replaces variables in every text, keeping the original beside it.
fn interpolate_node(node: &mut Node, env: &Env, reader: &mut Reader<'_>, unset: &mut BTreeSet<String>) {
    let pos: Pos = node.pos;
    match &mut node.value {
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| interpolate_node(value, env, reader, unset)),
        Value::Seq(items) => items.iter_mut().for_each(|item| interpolate_node(item, env, reader, unset)),
        Value::Scalar(scalar) => {
            if !scalar.text.contains('$') {
                return;
            }
            match interpolate::substitute(&scalar.text, env) {
                Ok(result) => {
                    for name in result.unset {
                        if unset.insert(name.clone()) {
                            let place = reader.place(pos);
                            reader.findings.push(Finding::warning(
                                "C009",
                                &place,
                                format!("{name} is not set and becomes empty"),
                                format!("set it in .env.sample or write ${{{name}:-default}}"),
                            ));
                        }
                    }
                    let raw = std::mem::replace(&mut scalar.text, result.text);
                    scalar.raw = Some(raw);
                }
                Err(error) => reader.error("C008", pos, error.to_string(), ""),
            }
        }
    }
}
