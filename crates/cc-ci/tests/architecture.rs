//! Holds the house rules of ARCHITECTURE.md against the source: who may use whom, which library is whose, and that `recipe` stays pure.
//!
//! The source is read as text. That is coarse, but a module path or a `use` line cannot hide from it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module of the crate, and those of the others that it may use. `*` is all of them.
///
/// A module that is not here makes the test fail: say who it may use, and write the same into ARCHITECTURE.md.
const MAY_USE: &[(&str, &str)] = &[
    ("cli", "*"),
    ("app", "*"),
    ("executor", "bridge clock config domain env git harness queue reconcile results state store swarm"),
    ("harness", "analysis clock domain git http process redact results state suggest swarm"),
    ("analysis", "domain swarm"),
    ("swarm", "clock domain process"),
    ("git", "process suggest"),
    ("results", "clock domain process"),
    ("doctor", "bridge clock config domain forge git http process state store swarm"),
    ("state", "domain env"),
    ("process", "clock"),
    ("domain", ""),
    ("redact", ""),
    ("remote", "http redact"),
    ("clock", ""),
    ("env", ""),
    ("http", ""),
    ("suggest", ""),
    ("bridge", "clock config domain forge publish queue reconcile redact results store suggest"),
    ("config", "bridge env forge queue redact state suggest"),
    ("reconcile", "clock"),
    ("queue", "clock domain store"),
    ("publish", "clock domain queue results store"),
    ("forge", "clock domain http publish redact"),
    ("store", "clock domain"),
    ("web", "clock domain queue results store"),
];

/// A library that only these modules may name.
const LIBRARIES: &[(&str, &str)] = &[
    ("axum", "app bridge web"),
    ("bollard", "swarm"),
    ("cap_std", "harness web"),
    ("clap", "cli domain"),
    ("recipe", "cli config executor harness"),
    ("reqwest", "app forge harness http remote"),
    ("resvg", "results"),
    ("sqlx", "publish store"),
];

/// What clippy.toml forbids, the text by which it is found, and the one module that wraps it.
const WRAPPED: &[(&str, &str, &str)] = &[
    ("std::env::var", "env::var(", "env process"),
    ("std::env::var_os", "env::var_os(", "process"),
    ("std::env::vars", "env::vars(", ""),
    ("std::env::vars_os", "env::vars_os(", ""),
    ("std::process::Command::new", "std::process::Command", ""),
    ("tokio::process::Command::new", "tokio::process::Command", "process"),
    ("std::time::SystemTime::now", "SystemTime::now(", ""),
    ("std::time::Instant::now", "std::time::Instant::now(", "clock"),
    ("jiff::Timestamp::now", "Timestamp::now(", "clock"),
    ("jiff::Zoned::now", "Zoned::now(", "clock"),
    ("std::thread::sleep", "thread::sleep(", ""),
    ("reqwest::get", "reqwest::get(", ""),
    ("reqwest::Client::new", "reqwest::Client::new(", ""),
    ("reqwest::Client::builder", "Client::builder(", "http"),
];

/// What makes a library asynchronous, or lets it reach network, engine or database.
const IMPURE: &[&str] = &[
    "async-std",
    "axum",
    "bollard",
    "git2",
    "hyper",
    "mio",
    "nix",
    "reqwest",
    "rustix",
    "smol",
    "socket2",
    "sqlx",
    "tempfile",
    "tokio",
    "ureq",
];

/// A file of the crate without its tests and comments.
struct Source {
    module: String,
    path: PathBuf,
    lines: Vec<(usize, String)>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut folders) = (Vec::new(), vec![src.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inner = path.strip_prefix(&src).unwrap();
            let name = inner.file_stem().unwrap().to_str().unwrap();
            let first = inner.iter().next().unwrap().to_str().unwrap();
            let module = first.strip_suffix(".rs").unwrap_or(first).to_owned();
            if path.extension().is_some_and(|end| end == "rs")
                && !name.ends_with("tests")
                && !["lib", "main"].contains(&module.as_str())
            {
                let lines = code_of(&std::fs::read_to_string(&path).unwrap());
                found.push(Source { module, path: inner.to_owned(), lines });
            }
        }
    }
    assert!(found.len() > 50, "only {} files: is this the right folder?", found.len());
    found
}

/// Numbered lines, without comments and without what follows `#[cfg(test)]` before the module of tests.
fn code_of(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let end =
        lines.windows(2).position(|two| two[0] == "#[cfg(test)]" && two[1].starts_with("mod ")).unwrap_or(lines.len());
    let code = lines[..end].iter().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.map(|(index, line)| (index + 1, (*line).to_owned())).collect()
}

/// Names that follow `prefix` in a line: `crate::swarm::Engine` gives `swarm`, `crate::{clock, env::var}` gives both.
fn names_after(line: &str, prefix: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for (at, _) in line.match_indices(prefix) {
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &line[at + prefix.len()..];
        match rest.strip_prefix('{') {
            // Only the outermost names of a list in braces are modules.
            Some(list) => {
                let mut depth = 0;
                for part in list.split(',') {
                    if depth == 0 {
                        names.push(word(part.trim()));
                    }
                    depth += part.matches('{').count() as i32 - part.matches('}').count() as i32;
                }
            }
            None => names.push(word(rest)),
        }
    }
    names.retain(|name| name.chars().next().is_some_and(|c| c.is_ascii_lowercase()));
    names
}

fn table(rows: &'static [(&'static str, &'static str)]) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    rows.iter().map(|(name, list)| (*name, list.split_whitespace().collect())).collect()
}

#[test]
fn modules_use_only_whom_they_may() {
    let table = table(MAY_USE);
    let modules: BTreeSet<String> = sources().into_iter().map(|source| source.module).collect();
    let unknown: Vec<&String> = modules.iter().filter(|module| !table.contains_key(module.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?} are not in MAY_USE: say there and in ARCHITECTURE.md whom they may use");
    let mut wrong = Vec::new();
    for source in sources() {
        let allowed = &table[source.module.as_str()];
        for (number, line) in &source.lines {
            for name in names_after(line, "crate::") {
                let foreign = modules.contains(&name) && name != source.module;
                if foreign && !allowed.contains("*") && !allowed.contains(name.as_str()) {
                    wrong.push(format!("{}:{number} {} uses {name}", source.path.display(), source.module));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "against the table in ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn libraries_are_named_only_where_they_belong() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (library, modules) in LIBRARIES {
            let own = modules.split_whitespace().any(|module| module == source.module);
            // A module of ours of that name is reached by `crate::` or `super::`, which is not this.
            let named = source.lines.iter().find(|(_, line)| at_a_start(line, &format!("{library}::")));
            if let (false, Some((number, _))) = (own, named) {
                wrong.push(format!("{}:{number} names {library}, which belongs to {modules}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// True if `text` is in the line and is not the tail of a longer path or name.
fn at_a_start(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn what_is_wrapped_is_used_only_by_its_wrapper() {
    let clippy: toml::Table = toml::from_str(&read("clippy.toml")).unwrap();
    let listed: BTreeSet<&str> =
        clippy["disallowed-methods"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    let known: BTreeSet<&str> = WRAPPED.iter().map(|(path, ..)| *path).collect();
    assert_eq!(listed, known, "clippy.toml and WRAPPED must list the same");
    let mut wrong = Vec::new();
    for source in sources() {
        // `crate::env::var` is the wrapper, and Tokio's Instant is one that tests can move.
        let std_instant =
            source.lines.iter().any(|(_, line)| line.starts_with("use std::time::") && line.contains("Instant"));
        for (number, line) in &source.lines {
            let line = line.replace("crate::env::var(", "");
            for (path, text, wrappers) in WRAPPED {
                let own = wrappers.split_whitespace().any(|module| module == source.module);
                let wrapped_env = *path == "std::env::var" && !line.contains("std::env");
                let instant = *path == "std::time::Instant::now"
                    && std_instant
                    && line.contains("Instant::now(")
                    && !line.contains("tokio::time");
                if !own && (instant || line.contains(text) && !wrapped_env) {
                    wrong.push(format!("{}:{number} {path}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "only for the wrapper that clippy.toml names:\n{}", wrong.join("\n"));
}

#[test]
fn the_recipe_crate_is_pure() {
    let manifest: toml::Table = toml::from_str(&read("crates/recipe/Cargo.toml")).unwrap();
    let names: Vec<&String> = manifest["dependencies"].as_table().unwrap().keys().collect();
    let impure: Vec<&&String> =
        names.iter().filter(|name| IMPURE.contains(&name.as_str()) || name.as_str() == "cc-ci").collect();
    assert!(impure.is_empty(), "crates/recipe must stay without IO and async, but depends on {impure:?}");
    let lock = read("Cargo.lock");
    let lock: toml::Table = toml::from_str(&lock).unwrap();
    let needs: BTreeMap<&str, Vec<&str>> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let list = package.get("dependencies").and_then(toml::Value::as_array);
            let list =
                list.into_iter().flatten().filter_map(toml::Value::as_str).map(|name| name.split(' ').next().unwrap());
            (package["name"].as_str().unwrap(), list.collect())
        })
        .collect();
    // What is needed through others counts as well.
    let (mut seen, mut open) = (BTreeSet::new(), names.iter().map(|name| name.as_str()).collect::<Vec<_>>());
    while let Some(name) = open.pop() {
        if seen.insert(name) {
            open.extend(needs.get(name).into_iter().flatten());
        }
    }
    let impure: Vec<&&str> = seen.iter().filter(|name| IMPURE.contains(name)).collect();
    assert!(impure.is_empty(), "crates/recipe needs {impure:?} through its dependencies");
}

#[test]
fn the_table_for_people_is_the_table_of_the_test() {
    let page = read("ARCHITECTURE.md");
    let mut rows = String::from("| Module | may use |\n| --- | --- |\n");
    for (module, list) in MAY_USE {
        let list = match *list {
            "" => "none of ours".to_owned(),
            "*" => "everything".to_owned(),
            list => list.split_whitespace().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        rows.push_str(&format!("| `{module}` | {list} |\n"));
    }
    assert!(page.contains(&rows), "ARCHITECTURE.md must hold this table:\n\n{rows}");
}

#[test]
fn every_page_that_is_linked_is_there() {
    let link = regex::Regex::new(r"\]\(([^)#\s]+)(#[^)]*)?\)").unwrap();
    let mut missing = Vec::new();
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let decisions = std::fs::read_dir(root().join("docs/decisions")).unwrap().map(|entry| entry.unwrap().path());
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name));
    for page in
        top.into_iter().chain(docs).chain(decisions).filter(|page| page.extension().is_some_and(|end| end == "md"))
    {
        let text = std::fs::read_to_string(&page).unwrap();
        for found in link.captures_iter(&text).map(|found| found[1].to_owned()).filter(|to| !to.contains("://")) {
            if !page.parent().unwrap().join(&found).exists() {
                missing.push(format!("{}: {found}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "links that lead nowhere:\n{}", missing.join("\n"));
}

#[test]
fn names_are_found_in_use_lines() {
    for (line, want) in [
        ("use crate::swarm::{Engine, Scope};", vec!["swarm"]),
        ("use crate::{clock, env::var, results::{a, b}, http};", vec!["clock", "env", "results", "http"]),
        ("    let x = crate::clock::now();", vec!["clock"]),
        ("let y = other_crate::swarm::z;", vec![]),
        ("use crate::Item;", vec![]),
    ] {
        assert_eq!(names_after(line, "crate::"), want, "{line}");
    }
}
