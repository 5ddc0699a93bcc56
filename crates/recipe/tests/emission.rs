//! The compose file that a plan writes: what is in it, that it is stable, and that Docker reads it as we meant it.
#![allow(clippy::unwrap_used, reason = "a broken fixture should end the test at once")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "asks the docker program of this machine, if there is one"
)]

mod common;

use std::process::Command;

use common::{STACK, adapt, env, env_of, fixture, fixtures, plan_fixture, plan_with};
use recipe::{Adapt, Env, Plan, Tree, yaml};

#[test]
fn planning_the_written_file_gives_the_same_file() {
    for name in fixtures() {
        let tree = fixture(&name);
        let Ok(first) = plan_fixture(&tree) else { continue };
        let mut again: Tree = first.files.iter().map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
        again.insert("compose.yml", first.compose_yaml.clone());
        if tree.contains("policy.json") {
            again.insert("policy.json", tree.get("policy.json").unwrap());
        }
        let only_domain = env(&[("DOMAIN", common::DOMAIN)]);
        let second = plan_with(&again, &only_domain, &adapt())
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}\n{}", first.compose_yaml));
        assert_eq!(second.compose_yaml, first.compose_yaml, "{name}");
        assert_eq!(second.services, first.services, "{name}");
        assert_eq!(
            (second.networks, second.volumes, second.images, second.files),
            (first.networks, first.volumes, first.images, first.files),
            "{name}"
        );
    }
}

#[test]
fn a_recipe_like_bonfire() {
    let plan = plan_fixture(&fixture("ok-bonfire")).unwrap();
    insta::assert_snapshot!("bonfire_compose", plan.compose_yaml);
    assert_eq!(plan.version_label.as_deref(), Some("2.0.1+1.0.6-social-amd64"));
    assert_eq!(plan.timeout_s, Some(900));
    assert_eq!(plan.images, ["bonfirenetworks/bonfire:1.0.6-social-amd64", "postgres:17.2-alpine"]);
    let secrets: Vec<String> = plan
        .secrets
        .iter()
        .map(|s| format!("{} {} {:?} {:?} {}", s.name, s.version, s.length, s.charset, s.generate))
        .collect();
    assert_eq!(
        secrets,
        ["blog_ci_db_password_v1 v1 Some(64) Alnum true", "blog_ci_signing_salt_v1 v1 None Default false"]
    );
    let configs: Vec<String> =
        plan.configs.iter().map(|c| format!("{} {} {} {}", c.name, c.source, c.file, c.template)).collect();
    assert_eq!(
        configs,
        [
            "blog_ci_app_entrypoint_v4 entrypoint.sh.tmpl configs/0 true",
            "blog_ci_pg_backup_v2 pg_backup.sh configs/1 false"
        ]
    );
    assert!(plan.files["configs/1"].starts_with(b"#!/bin/bash"));
    let networks: Vec<String> = plan.networks.iter().map(|n| format!("{} {} {}", n.key, n.name, n.proxy)).collect();
    assert_eq!(networks, ["internal blog_ci_internal false", "proxy blog_ci_proxy true"]);
    let app = &plan.services[0];
    assert_eq!(
        (app.name.as_str(), app.full_name.as_str(), app.tmpfs.as_slice()),
        ("app", "blog_ci_app", &["/tmp".to_owned()][..])
    );
    assert_eq!(app.aliases["internal"], ["app", "bonfire"]);
    let routes: Vec<String> = app
        .routes
        .iter()
        .map(|r| format!("{} {:?} {:?} {:?}", r.hosts.join(","), r.path_prefix, r.port, r.entrypoints))
        .collect();
    assert_eq!(routes, ["blog.ci.coop None Some(4000) [\"web-secure\"]", "blog.ci.coop Some(\"/api\") Some(4000) []"]);
    assert!(app.backup.enabled && app.backup.pre_hook.is_none());
    let db = &plan.services[1];
    assert_eq!(db.mounts[0].full_name, "blog_ci_db-data");
    assert_eq!(db.backup.paths["db-data"], ["backup.sql"]);
    assert_eq!(db.backup.restore_post_hook.as_deref(), Some("/pg_backup.sh restore"));
    assert_eq!(db.healthcheck.as_ref().unwrap().test, ["CMD-SHELL", "pg_isready -U postgres -d $POSTGRES_DB"]);
}

#[test]
fn run_changes_reach_every_object() {
    let plan = plan_fixture(&fixture("ok-bonfire")).unwrap();
    let root = yaml::load("plan", &plan.compose_yaml).unwrap();
    let label = |path: &[&str]| {
        let node = path.iter().try_fold(&root, |node, key| node.get(key));
        node.and_then(|node| node.get("ccci.run")).and_then(yaml::Node::scalar).map(|scalar| scalar.text.clone())
    };
    for path in [
        &["services", "app", "labels"][..],
        &["services", "app", "deploy", "labels"],
        &["services", "db", "deploy", "labels"],
        &["networks", "proxy", "labels"],
        &["networks", "internal", "labels"],
        &["volumes", "db-data", "labels"],
        &["configs", "pg_backup", "labels"],
    ] {
        assert_eq!(label(path).as_deref(), Some("r1$$x"), "{path:?}");
    }
    let text = |path: &[&str]| {
        path.iter()
            .try_fold(&root, |node, key| node.get(key))
            .and_then(yaml::Node::scalar)
            .map(|scalar| scalar.text.clone())
    };
    assert_eq!(text(&["services", "app", "deploy", "endpoint_mode"]).as_deref(), Some("dnsrr"));
    assert_eq!(text(&["services", "app", "deploy", "resources", "limits", "memory"]).as_deref(), Some("1g"));
    assert_eq!(text(&["services", "db", "deploy", "resources", "limits", "cpus"]).as_deref(), Some("1.5"));
    assert_eq!(text(&["services", "app", "environment", "TYPE"]).as_deref(), Some("blog:1.0.0+1"));
    assert_eq!(text(&["services", "db", "environment", "TYPE"]), None);
    assert_eq!(text(&["networks", "proxy", "external"]), None);
    assert_eq!(text(&["secrets", "db_password", "external"]).as_deref(), Some("true"));
}

/// A recipe of one base file and one overlay of the recipe.
fn two(base: &str, over: &str) -> Plan {
    let tree: Tree = [("compose.yml", base), ("compose.b.yml", over)].into_iter().collect();
    plan_with(&tree, &env(&[("COMPOSE_FILE", "compose.yml:compose.b.yml")]), &Adapt::default()).unwrap()
}

const BASE: &str = "services:\n  app:\n    image: a:1\n    command: [x, y]\n    environment: {A: '1', B: '2', C: ''}\n    read_only: true\n    stop_grace_period: 20s\n    cap_add: [CHOWN]\n    volumes: ['dd:/d', 'ee:/e']\n    healthcheck: {interval: 10s, retries: 3}\n    networks: {n: {aliases: [x]}}\n    deploy: {replicas: 2, labels: {k: v, l: v}, update_config: {delay: 3s, order: start-first}}\nvolumes: {dd: {}, ee: {}, ff: {}}\nnetworks: {n: {}, m: {internal: true}}\n";
const OVER: &str = "services:\n  app:\n    image: ''\n    command: z\n    environment: [A=, B=3, C=4, D]\n    read_only: false\n    stop_grace_period: 0s\n    cap_add: [SETUID]\n    volumes: ['ff:/d:ro']\n    healthcheck: {retries: 0, timeout: 7s}\n    networks: {m: {}, n: {}}\n    deploy: {replicas: 0, labels: [k=], update_config: {delay: 0s, parallelism: 4}}\n  db:\n    image: b:2\nnetworks: {m: {}}\n";

#[test]
fn later_files_win_where_they_say_something() {
    let plan = two(BASE, OVER);
    insta::assert_snapshot!("merged", plan.compose_yaml);
}

/// The lines in which two texts differ, for a readable failure.
fn assert_same(left: &str, right: &str, what: &str) {
    let differ: Vec<String> = left
        .lines()
        .zip(right.lines())
        .enumerate()
        .filter(|(_, (a, b))| a != b)
        .take(5)
        .map(|(n, (a, b))| format!("{}:\n  {a}\n  {b}", n + 1))
        .collect();
    assert!(
        left == right,
        "{what}\n{}\n({} and {} lines)",
        differ.join("\n"),
        left.lines().count(),
        right.lines().count()
    );
}

/// What `docker stack config` says of a file, or `None` with a printed reason.
fn docker_config(files: &[(&str, &[u8])], order: &[&str], variables: &Env) -> Option<String> {
    let docker = ["/usr/local/bin/docker", "/usr/bin/docker"].into_iter().find(|path| {
        Command::new(path)
            .args(["stack", "config", "--help"])
            .output()
            .is_ok_and(|out| out.status.success() && String::from_utf8_lossy(&out.stdout).contains("stack config"))
    });
    let Some(docker) = docker else {
        println!("skipped: no docker with `stack config` (CLI 23 or newer) on this machine");
        return None;
    };
    let folder =
        std::env::temp_dir().join(format!("recipe-emission-{}-{:?}", std::process::id(), std::thread::current().id()));
    for (name, bytes) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let mut command = Command::new(docker);
    command.args(["stack", "config"]).current_dir(&folder).env_clear().envs(variables);
    order.iter().for_each(|file| {
        command.args(["-c", file]);
    });
    let out = command.output().unwrap();
    let folder_text = folder.to_str().unwrap().to_owned();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(String::from_utf8(out.stdout).unwrap().replace(&folder_text, "."))
}

#[test]
fn docker_reads_every_written_file_as_meant() {
    for name in fixtures() {
        let tree = fixture(&name);
        let Ok(plan) = plan_fixture(&tree) else { continue };
        let mut files: Vec<(&str, &[u8])> =
            plan.files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        files.push(("compose.yml", plan.compose_yaml.as_bytes()));
        let noise = env(&[("A", "wrong"), ("x", "wrong"), ("POSTGRES_DB", "wrong")]);
        let Some(config) = docker_config(&files, &["compose.yml"], &noise) else { return };
        assert!(!config.contains("wrong"), "{name}: docker replaced something\n{config}");
        // Planning what docker understood must give the same file: nothing was lost or read differently.
        let mut again: Tree = plan.files.iter().map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
        again.insert("compose.yml", config.replace('$', "$$"));
        if tree.contains("policy.json") {
            again.insert("policy.json", tree.get("policy.json").unwrap());
        }
        let second = plan_with(&again, &env(&[("DOMAIN", common::DOMAIN)]), &adapt())
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}\n{config}"));
        assert_same(&plan.compose_yaml, &second.compose_yaml, &name);
    }
}

#[test]
fn merging_is_what_docker_does() {
    let recipe = fixture("ok-bonfire");
    let bonfire_env = env_of(&recipe);
    let mut cases: Vec<(Tree, Env)> = vec![(
        [("compose.yml", BASE), ("compose.b.yml", OVER)].into_iter().collect(),
        env(&[("COMPOSE_FILE", "compose.yml:compose.b.yml")]),
    )];
    cases.push((recipe, bonfire_env));
    cases.push((fixture("ok-sso"), env_of(&fixture("ok-sso"))));
    for (tree, env) in cases {
        let ours = plan_with(&tree, &env, &Adapt::default()).unwrap();
        let files: Vec<(&str, &[u8])> =
            tree.iter().filter_map(|(path, _)| tree.get(path).ok().map(|bytes| (path, bytes))).collect();
        let order = recipe::compose_files(&env);
        let mut variables = env.clone();
        variables.entry("STACK_NAME".into()).or_insert_with(|| STACK.into());
        let Some(config) = docker_config(&files, &order.iter().map(String::as_str).collect::<Vec<_>>(), &variables)
        else {
            return;
        };
        let mut merged = tree.clone();
        merged.insert("compose.yml", config.replace('$', "$$"));
        let mut env = env;
        env.insert("COMPOSE_FILE".into(), "compose.yml".into());
        let theirs =
            plan_with(&merged, &env, &Adapt::default()).unwrap_or_else(|refusal| panic!("{refusal}\n{config}"));
        assert_same(&ours.compose_yaml, &theirs.compose_yaml, &config);
    }
}
