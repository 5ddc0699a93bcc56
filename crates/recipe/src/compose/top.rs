//! Reads the top-level networks, volumes, secrets and configs.

use crate::compose::model::{FileObject, Network, Volume};
use crate::compose::reader::{Cast, Reader};
use crate::labels::Labels;
use crate::policy::Rule;
use crate::yaml::{Key, Node};

pub(super) fn network(reader: &mut Reader<'_>, name: &Key, node: &Node) -> Network {
    let what = format!("networks.{}", name.text);
    let mut network = Network { place: reader.place(name.pos), ..Network::default() };
    for (key, value) in reader.map(node, &what) {
        let path = format!("{what}.{}", key.text);
        match key.text.as_str() {
            "name" => network.name = reader.string(value, &path),
            "driver" => network.driver = reader.string(value, &path),
            "driver_opts" => network.driver_opts = filled(reader, value, Rule::NetworkDriverOpts, key, &path),
            "ipam" => network.ipam = filled(reader, value, Rule::Ipam, key, &path),
            "external" => network.external = external(reader, value, &path, &mut network.name),
            "internal" => network.internal = reader.bool(value, &path, Cast::Yes),
            "attachable" => network.attachable = reader.bool(value, &path, Cast::Yes),
            "labels" => network.labels = labels(reader, value, &path),
            own if own.starts_with("x-") => {}
            _ => reader.unknown(key, &what),
        }
    }
    if network.external && network.name.is_none() {
        network.name = Some(name.text.clone());
    }
    network
}

pub(super) fn volume(reader: &mut Reader<'_>, name: &Key, node: &Node) -> Volume {
    let what = format!("volumes.{}", name.text);
    let mut volume = Volume { place: reader.place(name.pos), ..Volume::default() };
    for (key, value) in reader.map(node, &what) {
        let path = format!("{what}.{}", key.text);
        match key.text.as_str() {
            "name" => volume.name = reader.string(value, &path),
            "driver" => volume.driver = reader.string(value, &path),
            "driver_opts" => volume.driver_opts = filled(reader, value, Rule::DriverOpts, key, &path),
            "external" => volume.external = external(reader, value, &path, &mut volume.name),
            "labels" => volume.labels = labels(reader, value, &path),
            "x-cluster-spec" => reader.refuse(Rule::VolumeDriver, key.pos, &path),
            own if own.starts_with("x-") => {}
            _ => reader.unknown(key, &what),
        }
    }
    volume
}

/// A secret (`section` is `secrets`) or a config (`configs`).
pub(super) fn file_object(reader: &mut Reader<'_>, section: &str, name: &Key, node: &Node) -> FileObject {
    let what = format!("{section}.{}", name.text);
    let mut object = FileObject { place: reader.place(name.pos), ..FileObject::default() };
    for (key, value) in reader.map(node, &what) {
        let path = format!("{what}.{}", key.text);
        match key.text.as_str() {
            "name" => {
                object.name = reader.string(value, &path);
                object.name_raw = value.scalar().and_then(|scalar| scalar.raw.clone());
                object.name_place = Some(reader.place(key.pos));
            }
            "file" => {
                object.file = reader.string(value, &path);
                object.name_place.get_or_insert(reader.place(key.pos));
            }
            "external" => object.external = external(reader, value, &path, &mut object.name),
            "labels" => object.labels = labels(reader, value, &path),
            "template_driver" => {
                object.template_driver = reader.string(value, &path);
                if object.template_driver.as_deref() != Some("golang") {
                    reader.refuse(Rule::ObjectDriver, key.pos, &path);
                }
            }
            "driver" | "driver_opts" if section == "secrets" => reader.refuse(Rule::ObjectDriver, key.pos, &path),
            own if own.starts_with("x-") => {}
            _ => reader.unknown(key, &what),
        }
    }
    if object.external && object.name.is_none() {
        object.name = Some(name.text.clone());
    }
    object
}

/// `external: true`, or the old `external: {name: x}`.
fn external(reader: &mut Reader<'_>, node: &Node, what: &str, name: &mut Option<String>) -> bool {
    if node.map().is_none() {
        return reader.bool(node, what, Cast::Yes);
    }
    for (key, value) in reader.map(node, what) {
        match key.text.as_str() {
            "name" => *name = reader.string(value, what),
            _ => reader.unknown(key, what),
        }
    }
    true
}

/// Reports a section that may only be there if it is empty; true if it holds something.
fn filled(reader: &mut Reader<'_>, node: &Node, rule: Rule, key: &Key, what: &str) -> bool {
    let filled = !node.is_null() && node.map().is_none_or(|entries| !entries.is_empty());
    if filled {
        reader.refuse(rule, key.pos, what);
    }
    filled
}

fn labels(reader: &mut Reader<'_>, node: &Node, what: &str) -> Labels {
    reader.pairs(node, what).into_iter().map(|(key, value, _)| (key, value.unwrap_or_default())).collect()
}
