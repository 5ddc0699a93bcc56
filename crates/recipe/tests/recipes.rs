//! The example recipes of this repository must pass the policy as they are.
#![allow(clippy::unwrap_used, reason = "a broken recipe should end the test at once")]

mod common;

use std::path::Path;

use common::{DOMAIN, adapt, env, plan_with, read_tree};
use recipe::{Severity, app_env};

#[test]
fn every_example_recipe_is_planned() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut seen = 0;
    for recipe in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for version in std::fs::read_dir(&recipe)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("compose.yml").is_file())
        {
            let tree = read_tree(&version);
            let (env, findings) = app_env(&tree, &env(&[("DOMAIN", DOMAIN), ("STACK_NAME", common::STACK)]));
            assert!(findings.is_empty(), "{}: {findings:?}", version.display());
            let plan = plan_with(&tree, &env, &adapt())
                .unwrap_or_else(|refusal| panic!("{}: {:#?}", version.display(), refusal.findings));
            assert!(plan.findings.iter().all(|finding| finding.severity < Severity::Error));
            let folder = version.file_name().unwrap().to_str().unwrap();
            assert_eq!(plan.version_label.as_deref(), Some(folder), "{}", version.display());
            assert!(!plan.compose_yaml.is_empty() && plan.images.iter().all(|image| image.contains(':')));
            seen += 1;
        }
    }
    assert!(seen >= 2, "only {seen} recipes found");
}
