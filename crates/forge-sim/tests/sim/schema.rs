//! Every GET the simulator knows is held against the published schema: declared types, nothing
//! undeclared, nothing missing but what the server leaves out when it is empty.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::support::{call, get, post, stage, token};

const SWAGGER: &str = include_str!("../../schema/gitea-swagger.json");

/// Keys the server leaves out when empty, by definition.
const OPTIONAL: &[(&str, &[&str])] = &[
    (
        "Repository",
        &["parent", "permissions", "internal_tracker", "external_tracker", "external_wiki", "repo_transfer"],
    ),
    ("PullRequest", &["additions", "deletions", "changed_files", "review_comments"]),
    ("ChangedFile", &["previous_filename"]),
    ("ContentsResponse", &["lfs_oid", "lfs_size", "last_commit_message"]),
    ("GitBlobResponse", &["lfs_oid", "lfs_size"]),
];

/// Keys the server sends although the schema does not know them.
const UNDECLARED: &[(&str, &str)] = &[("User", "username")];

/// GET paths of the schema that are answered 501.
const NOT_SIMULATED: &[&str] = &[
    "/notifications/threads/{id}",
    "/repos/{owner}/{repo}/notifications",
    "/repos/{owner}/{repo}/push_mirrors",
    "/repos/{owner}/{repo}/push_mirrors/{name}",
];

fn nullable(property: &Value) -> bool {
    property.get("$ref").is_some()
        || property["type"] == "array"
        || property["format"] == "date-time"
        || property.get("type").is_none()
}

/// Pointers to plain texts and the like.
const NULL_TOO: &[(&str, &str)] = &[
    ("PullRequest", "merge_commit_sha"),
    ("ContentsResponse", "encoding"),
    ("ContentsResponse", "content"),
    ("ContentsResponse", "target"),
    ("ContentsResponse", "download_url"),
    ("ContentsResponse", "submodule_git_url"),
];

fn converted(name: &str, definition: &Value) -> Value {
    let Some(properties) = definition["properties"].as_object() else { return definition.clone() };
    let optional = OPTIONAL.iter().find(|(d, _)| *d == name).map_or(&[] as &[&str], |(_, keys)| keys);
    let mut out = Map::new();
    for (key, property) in properties {
        let mut property = property.clone();
        let or_null = nullable(&property) || NULL_TOO.contains(&(name, key));
        if property["format"] == "date-time" {
            property["pattern"] = json!(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$");
        }
        // An organisation's address is empty, which the declared format forbids.
        if let Some(map) = property.as_object_mut() {
            map.remove("format");
        }
        if name == "CombinedStatus" && key == "state" {
            property = json!({ "type": "string" });
        }
        let property = if or_null { json!({ "anyOf": [property, { "type": "null" }] }) } else { property };
        out.insert(key.clone(), property);
    }
    let required: Vec<&String> = properties.keys().filter(|k| !optional.contains(&k.as_str())).collect();
    for (_, key) in UNDECLARED.iter().filter(|(d, _)| *d == name) {
        out.insert((*key).to_owned(), json!({ "type": "string" }));
    }
    json!({ "type": "object", "properties": out, "required": required, "additionalProperties": false })
}

struct Checker {
    swagger: Value,
    definitions: Map<String, Value>,
}

impl Checker {
    fn new() -> Self {
        let swagger: Value = serde_json::from_str(SWAGGER).unwrap();
        let all = swagger["definitions"].as_object().unwrap();
        let definitions = all.iter().map(|(n, d)| (n.clone(), converted(n, d))).collect();
        Self { swagger, definitions }
    }

    fn validator(&self, schema: &Value) -> Validator {
        let mut whole = schema.clone();
        whole["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        whole["definitions"] = Value::Object(self.definitions.clone());
        // Draft 7 ignores everything beside a reference.
        if let Some(target) = schema.get("$ref") {
            whole["allOf"] = json!([{ "$ref": target }]);
            whole.as_object_mut().unwrap().remove("$ref");
        }
        jsonschema::draft7::new(&whole).unwrap()
    }

    /// The schema of one answer, `None` when it has no JSON body.
    fn schema(&self, path: &str, method: &str, status: u16) -> Option<Value> {
        let response = &self.swagger["paths"][path][method]["responses"][status.to_string()];
        assert!(!response.is_null(), "{method} {path} must not answer {status}");
        let found = match response["$ref"].as_str() {
            Some(reference) => &self.swagger["responses"][reference.rsplit('/').next().unwrap()],
            None => response,
        };
        found.get("schema").filter(|s| s["type"] != "string" && s["type"] != "file").cloned()
    }

    fn check(&self, path: &str, method: &str, status: u16, text: &str) {
        let Some(schema) = self.schema(path, method, status) else { return };
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"));
        let validator = self.validator(&schema);
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|e| format!("{} at {}", e, e.instance_path())).collect();
        assert!(errors.is_empty(), "{method} {path}: {errors:#?}\n{value:#}");
    }
}

#[tokio::test]
async fn every_get_matches_the_schema() {
    let (sim, pr) = stage().await;
    let admin = token(&sim, sim.admin());
    let alice = token(&sim, "alice");
    let comment = sim.comment_as("alice", &pr, "!testme").unwrap();
    let repo = "repos/recipes/app";
    let made = |body: crate::support::Got, wanted: u16| {
        assert_eq!(body.status, wanted, "{}", body.text);
        body.json()
    };
    let status = json!({ "state": "pending", "context": "cc-ci/testme", "description": "queued" });
    made(post(&sim, &alice, &format!("{repo}/statuses/upgrade"), status).await, 201);
    made(
        post(&sim, &alice, &format!("{repo}/issues/comments/{comment}/reactions"), json!({ "content": "eyes" })).await,
        201,
    );
    made(post(&sim, &alice, &format!("{repo}/issues/1/reactions"), json!({ "content": "heart" })).await, 201);
    let label =
        made(post(&sim, &admin, &format!("{repo}/labels"), json!({ "name": "ci", "color": "#00aabb" })).await, 201);
    made(post(&sim, &admin, &format!("{repo}/issues/1/labels"), json!({ "labels": ["ci"] })).await, 200);
    made(post(&sim, &alice, &format!("{repo}/tags"), json!({ "tag_name": "v1", "message": "first" })).await, 201);
    let release = made(post(&sim, &alice, &format!("{repo}/releases"), json!({ "tag_name": "v2" })).await, 201);
    let team = sim.team("recipes", "writers", &[("repo.code", "write")], &["bob"]).unwrap();
    let hook = sim.hook("recipes/app", "http://127.0.0.1:1/", "s", &["push"]).unwrap();
    let body = json!({ "type": "gitea", "config": { "url": "http://127.0.0.1:1/", "content_type": "json" } });
    let org_hook = made(post(&sim, &admin, "orgs/recipes/hooks", body.clone()).await, 201);
    made(post(&sim, &admin, "user/hooks", body).await, 201);
    let rule = json!({ "rule_name": "stable", "enable_push": true, "enable_status_check": true, "status_check_contexts": ["cc-ci/*"] });
    made(post(&sim, &admin, &format!("{repo}/branch_protections"), rule).await, 201);
    let fork = made(post(&sim, &token(&sim, "bob"), &format!("{repo}/forks"), json!({})).await, 202);
    assert_eq!(fork["parent"]["full_name"], "recipes/app");
    sim.push_as("alice", "recipes/app", "done", &[("done.txt", "x\n")]).unwrap();
    let done = sim.open_pr("alice", "recipes/app", "done", "Done").unwrap();
    made_empty(
        &post(&sim, &admin, &format!("{repo}/pulls/{}/merge", done.number), json!({ "Do": "merge" })).await,
        200,
    );
    let merged = get(&sim, &alice, &format!("{repo}/pulls/{}", done.number)).await.json();
    let head = get(&sim, &alice, &format!("{repo}/pulls/1")).await.json()["head"]["sha"].as_str().unwrap().to_owned();
    let blob = get(&sim, &alice, &format!("{repo}/contents/README.md")).await.json()["sha"].clone();
    let tag = get(&sim, &alice, &format!("{repo}/tags/v1")).await.json()["id"].clone();
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);

    let checker = Checker::new();
    let mut unknown = BTreeSet::new();
    let mut walked = 0;
    for (path, operations) in checker.swagger["paths"].as_object().unwrap().clone() {
        if operations.get("get").is_none() {
            continue;
        }
        // What {id}, {sha} and {name} stand for depends on the path they are in.
        let id = match path.as_str() {
            p if p.starts_with("/orgs") && p.contains("hooks") => text(&org_hook["id"]),
            p if p.contains("/hooks/") => hook.to_string(),
            p if p.contains("/comments/") => comment.to_string(),
            p if p.contains("/labels/") => text(&label["id"]),
            p if p.contains("/releases/") => text(&release["id"]),
            p if p.starts_with("/teams") => team.to_string(),
            p if p.starts_with("/repositories") => text(&fork["id"]),
            _ => "1".to_owned(),
        };
        let sha = match path.as_str() {
            p if p.ends_with("/pull") => text(&merged["merge_commit_sha"]),
            p if p.contains("/blobs/") => text(&blob),
            p if p.contains("/git/tags/") => text(&tag),
            _ => head.clone(),
        };
        let mut url = path.clone();
        for (key, value) in [
            ("{owner}", "recipes"),
            ("{repo}", "app"),
            ("{org}", "recipes"),
            ("{id}", &id),
            ("{sha}", &sha),
            ("{index}.{diffType}", "1.diff"),
            ("{index}", if path.ends_with("/merge") { "2" } else { "1" }),
            ("{username}", if path.contains("/tokens") { "alice" } else { "bob" }),
            ("{collaborator}", "alice"),
            ("{branch}", "upgrade"),
            ("{name}", "stable"),
            ("{ref}", if path.contains("/git/refs") { "pull/1/head" } else { "upgrade" }),
            ("{base}", "main"),
            ("{head}", "upgrade"),
            ("{basehead}", "main...upgrade"),
            ("{archive}", "main.tar.gz"),
            ("{filepath}", "README.md"),
            ("{tag}", "v2"),
            ("{team}", "writers"),
        ] {
            url = url.replace(key, value);
        }
        assert!(!url.contains('{'), "{url}");
        let url = url.trim_start_matches('/');
        let got = if path.contains("/tokens") {
            with_password(&sim, "alice", url).await
        } else {
            get(&sim, &admin, url).await
        };
        if got.status == 501 {
            unknown.insert(path);
            continue;
        }
        assert!(got.status == 200 || got.status == 204, "GET {url}: {} {}", got.status, got.text);
        checker.check(&path, "get", got.status, &got.text);
        walked += 1;
    }
    assert_eq!(unknown, NOT_SIMULATED.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>());
    assert!(walked >= 70, "only {walked} paths were walked");
}

fn made_empty(got: &crate::support::Got, status: u16) {
    assert_eq!((got.status, got.text.as_str()), (status, ""));
}

async fn with_password(sim: &forge_sim::Sim, login: &str, path: &str) -> crate::support::Got {
    let answer = crate::support::client()
        .get(format!("{}/api/v1/{path}", sim.url()))
        .basic_auth(login, Some(format!("{login}-password")))
        .send()
        .await
        .unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    crate::support::Got { status, headers, text: answer.text().await.unwrap() }
}

#[tokio::test]
async fn answers_to_writing_match_the_schema() {
    let (sim, pr) = stage().await;
    let alice = token(&sim, "alice");
    let checker = Checker::new();
    let base = "/repos/{owner}/{repo}";
    let comment = sim.comment_as("alice", &pr, "x").unwrap();
    let file = json!({ "content": "eA==", "branch": "upgrade", "message": "add" });
    for (method, path, url, body, status) in [
        (
            "post",
            format!("{base}/issues/{{index}}/comments"),
            "issues/1/comments".to_owned(),
            json!({ "body": "a" }),
            201,
        ),
        (
            "patch",
            format!("{base}/issues/comments/{{id}}"),
            format!("issues/comments/{comment}"),
            json!({ "body": "b" }),
            200,
        ),
        (
            "post",
            format!("{base}/statuses/{{sha}}"),
            "statuses/upgrade".to_owned(),
            json!({ "state": "success", "context": "c" }),
            201,
        ),
        ("post", format!("{base}/branches"), "branches".to_owned(), json!({ "new_branch_name": "b/c" }), 201),
        ("post", format!("{base}/contents/{{filepath}}"), "contents/new.txt".to_owned(), file, 201),
        ("post", format!("{base}/issues"), "issues".to_owned(), json!({ "title": "t" }), 201),
        ("patch", format!("{base}/pulls/{{index}}"), "pulls/1".to_owned(), json!({ "title": "New" }), 201),
        ("patch", format!("{base}/issues/{{index}}"), "issues/1".to_owned(), json!({ "body": "text" }), 201),
    ] {
        let verb = method.to_uppercase().parse().unwrap();
        let got = call(&sim, &alice, verb, &format!("repos/recipes/app/{url}"), body).await;
        assert_eq!(got.status, status, "{method} {url}: {}", got.text);
        checker.check(&path, method, status, &got.text);
    }
}

#[test]
fn the_checker_can_fail() {
    let checker = Checker::new();
    let validator = checker.validator(&json!({ "$ref": "#/definitions/ServerVersion" }));
    assert!(validator.is_valid(&json!({ "version": "1" })));
    assert!(!validator.is_valid(&json!({ "version": 1 })));
    assert!(!validator.is_valid(&json!({ "version": "1", "more": 2 })));
    assert!(!validator.is_valid(&json!({})));
}
