//! Reads the recipes under `fixtures/policy` and plans them as the harness would.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared by several test programs, each of which uses a part"
)]

use std::path::{Path, PathBuf};

use recipe::{Adapt, Env, Overlay, Plan, PlanInput, Policy, Refusal, Tree, app_env, plan};

/// Stack name of every test.
pub const STACK: &str = "blog_ci";
/// Domain of every test.
pub const DOMAIN: &str = "blog.ci.coop";

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/policy")
}

pub fn fixtures() -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn fixture(name: &str) -> Tree {
    read_tree(&root().join(name))
}

pub fn read_tree(base: &Path) -> Tree {
    let mut tree = Tree::new();
    add(&mut tree, base, base);
    tree
}

fn add(tree: &mut Tree, base: &Path, folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_symlink() {
            tree.insert_link(name, std::fs::read_link(&path).unwrap().to_str().unwrap());
        } else if kind.is_dir() {
            add(tree, base, &path);
        } else {
            tree.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

pub fn policy_of(tree: &Tree) -> Policy {
    tree.text("policy.json").map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default()
}

pub fn overlays_of(tree: &Tree) -> Vec<Overlay> {
    let name = "compose.ccci.yml";
    tree.text(name).map(|text| vec![Overlay { name: name.into(), text: text.into() }]).unwrap_or_default()
}

pub fn env_of(tree: &Tree) -> Env {
    app_env(tree, &env(&[("DOMAIN", DOMAIN), ("STACK_NAME", STACK), ("LETS_ENCRYPT_ENV", "")])).0
}

pub fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub fn adapt() -> Adapt {
    Adapt {
        endpoint_mode_dnsrr: true,
        run_labels: env(&[("ccci.run", "r1$x")]),
        deploy_labels: env(&[
            (&format!("coop-cloud.{STACK}.recipe"), "blog"),
            (&format!("coop-cloud.{STACK}.chaos"), "true"),
        ]),
        default_cpus: Some(2.0),
        default_memory: Some(1 << 30),
        app_env: env(&[("TYPE", "blog:1.0.0+1"), ("DOMAIN", DOMAIN)]),
    }
}

pub fn plan_fixture(tree: &Tree) -> Result<Plan, Refusal> {
    plan_with(tree, &env_of(tree), &adapt())
}

pub fn plan_with(tree: &Tree, env: &Env, adapt: &Adapt) -> Result<Plan, Refusal> {
    plan(&PlanInput {
        tree,
        recipe: "blog",
        stack: STACK,
        env,
        overlays: &overlays_of(tree),
        policy: &policy_of(tree),
        adapt,
    })
}
