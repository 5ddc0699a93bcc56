//! What must hold for any recipe, not only for those that somebody thought of.
#![allow(clippy::unwrap_used, reason = "a broken property should end the test at once")]

mod common;

use std::cmp::Ordering;

use common::{DOMAIN, adapt, env, plan_with};
use proptest::prelude::*;
use recipe::{RecipeVersion, Tree, version::release_tags};

/// One harmless line (or block) of a service, at the depth of a service's keys.
const HARMLESS: [&str; 16] = [
    "command: [\"a\", \"$$b\"]",
    "environment: {A: \"1\", B: \"${DOMAIN}\", C: \"x $$ y\"}",
    "user: \"1000\"",
    "working_dir: /x",
    "init: true",
    "read_only: true",
    "stop_grace_period: 90s",
    "cap_drop: [ALL]",
    "hostname: \"{{.Task.Slot}}\"",
    "labels: [\"a=b\"]",
    "networks: [proxy, inner]",
    "volumes: [\"data:/data:ro\", \"/cache\"]",
    "healthcheck: {test: \"true\", interval: 5s}",
    "deploy: {replicas: 2, labels: {x: y}, update_config: {order: start-first}}",
    "ulimits: {nofile: 1000}",
    "stdin_open: true",
];

/// One line that must be refused wherever it stands.
const HOSTILE: [&str; 14] = [
    "privileged: true",
    "pid: host",
    "ipc: host",
    "network_mode: host",
    "userns_mode: host",
    "security_opt: [seccomp:unconfined]",
    "devices: [/dev/kvm]",
    "cgroup_parent: /",
    "extra_hosts: [a:1.2.3.4]",
    "dns: [1.2.3.4]",
    "cap_add: [SYS_ADMIN]",
    "sysctls: [a=b]",
    "ports: [\"80\"]",
    "some_new_key: 1",
];

fn recipe(lines: &[&str]) -> Tree {
    let mut text = "version: \"3.8\"\nservices:\n  app:\n    image: a/b:1\n".to_owned();
    lines.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
    text.push_str("networks: {proxy: {external: true}, inner: {}}\nvolumes: {data: {}}\n");
    [("compose.yml", text)].into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_written_file_is_judged_like_the_recipe(lines in proptest::sample::subsequence(HARMLESS.to_vec(), 0..=HARMLESS.len())) {
        let env = env(&[("DOMAIN", DOMAIN)]);
        let first = plan_with(&recipe(&lines), &env, &adapt()).unwrap();
        let tree: Tree = [("compose.yml", first.compose_yaml.clone())].into_iter().collect();
        let second = plan_with(&tree, &env, &adapt()).unwrap();
        prop_assert_eq!(&second.compose_yaml, &first.compose_yaml);
        prop_assert_eq!(second.services, first.services);
        let plain: Tree = [("compose.yml", first.compose_yaml.clone())].into_iter().collect();
        // No variable of the outside reaches the written file.
        let noisy = common::env(&[("DOMAIN", DOMAIN), ("A", "changed"), ("b", "changed"), ("y", "changed")]);
        prop_assert_eq!(plan_with(&plain, &noisy, &adapt()).unwrap().compose_yaml, first.compose_yaml);
    }

    #[test]
    fn one_forbidden_line_is_enough(
        lines in proptest::sample::subsequence(HARMLESS.to_vec(), 0..=HARMLESS.len()),
        hostile in proptest::sample::select(HOSTILE.to_vec()),
        at in any::<proptest::sample::Index>(),
    ) {
        let mut lines = lines;
        let at = at.index(lines.len() + 1);
        lines.insert(at, hostile);
        let refusal = plan_with(&recipe(&lines), &env(&[("DOMAIN", DOMAIN)]), &adapt());
        // The version, services, app and image lines come first.
        let line = at + 5;
        let errors: Vec<_> = refusal.unwrap_err().findings.into_iter().filter(|finding| finding.is_error()).collect();
        prop_assert!(errors.iter().any(|finding| finding.line == line && finding.code.starts_with('P')), "{:?}", errors);
    }

    #[test]
    fn any_text_is_judged_without_panic(text in "[a-z:{}\\[\\]&*<>\"'`$ \n-]{0,200}") {
        let tree: Tree = [("compose.yml", format!("services:\n  app:\n    image: a:1\n{text}"))].into_iter().collect();
        if let Err(refusal) = plan_with(&tree, &env(&[]), &adapt()) {
            prop_assert!(refusal.errors().count() > 0);
        }
    }

    #[test]
    fn versions_are_ordered_by_their_recipe_part(a in any::<(u16, u16, u16)>(), b in any::<(u16, u16, u16)>(), app in "[0-9a-z][0-9a-z-]{0,5}") {
        let text = |(x, y, z): (u16, u16, u16)| format!("{x}.{y}.{z}+{app}");
        let (left, right): (RecipeVersion, RecipeVersion) = (text(a).parse().unwrap(), text(b).parse().unwrap());
        prop_assert_eq!(left.cmp_recipe(&right), a.cmp(&b));
        prop_assert_eq!(left.to_string(), text(a));
        let sorted = release_tags([text(a).as_str(), text(b).as_str()]);
        prop_assert!(sorted[0].cmp_recipe(&sorted[1]) != Ordering::Greater);
    }
}
