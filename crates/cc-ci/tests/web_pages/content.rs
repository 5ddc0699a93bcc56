//! What the pages say, and that hostile runs cannot make them say anything else.

use cc_ci::domain::{FileRef, Leftover, Reason, ReasonCode, Run, Stage};
use reqwest::StatusCode;

use super::support::{Served, served};

/// Tags, entities, escape sequences, direction tricks, attribute ends.
const EVIL: &str =
    "ev<script>alert(1)</script>\"' onload=x \u{202e}abc\u{1b}[31m\u{1b}]8;;javascript:x\u{7}z&lt;img src=x>\u{0}";

fn poison(run: &mut Run) {
    run.recipe.version = Some(EVIL.into());
    run.warnings = vec![EVIL.into()];
    run.teardown.leftovers = vec![Leftover { kind: EVIL.into(), name: EVIL.into(), why: EVIL.into() }];
    for finding in &mut run.policy {
        finding.message = EVIL.into();
        finding.place = EVIL.into();
    }
    for image in &mut run.images {
        image.reference = EVIL.into();
        image.service = EVIL.into();
    }
    for stage in &mut run.stages {
        stage.skip = Some(EVIL.into());
        stage.reason = Some(Reason::new(ReasonCode::CrashLoop, EVIL).service(EVIL).evidence([EVIL, EVIL]));
        for step in &mut stage.steps {
            step.name = EVIL.into();
            step.detail = EVIL.into();
        }
        for test in &mut stage.tests {
            test.name = EVIL.into();
            test.message = EVIL.into();
        }
    }
    run.files.push(FileRef { path: format!("logs/{}", EVIL.replace('\0', "")), bytes: 1, about: EVIL.into() });
}

fn assert_harmless(text: &str, what: &str) {
    for bad in ["<script>alert", "<img src=x", "\u{202e}", "\u{1b}", "\u{7}", "onload=x \"", "\0"] {
        assert!(!text.contains(bad), "{what} holds {bad:?}");
    }
    // Every script of ours names its file, and nothing carries style or handlers.
    for bad in ["<script>", " style=", " onclick", " onerror"] {
        assert!(!text.contains(bad), "{what} holds {bad:?}");
    }
}

#[tokio::test]
async fn hostile_runs_render_safely() {
    let served = served().await;
    let number = served.newest_judged().await;
    let id = served.replace_record(number, poison).await;
    let logs = served.runs_dir.join(id.as_str()).join("logs");
    std::fs::write(logs.join("install.log"), format!("{EVIL}\n{EVIL}\n")).unwrap();
    for (table, column) in [("runs", "repo_name"), ("runs", "recipe"), ("runs", "person_login"), ("runs", "why")] {
        let mut write = served.store.begin_immediate().await.unwrap();
        let text = EVIL.replace('\0', "");
        let statement = format!(
            "UPDATE {table} SET {column} = $1 WHERE number IN ($2, $2 + 1, {}, {})",
            served.running,
            served.running + 1
        );
        sqlx::query(sqlx::AssertSqlSafe(statement)).bind(text).bind(number).execute(&mut *write).await.unwrap();
        write.commit().await.unwrap();
    }
    let recipe: String =
        url::form_urlencoded::byte_serialize(EVIL.replace('\0', "").as_bytes()).collect::<String>().replace('+', "%20");
    for path in [
        "/",
        "/runs",
        "/queue",
        &format!("/runs/{number}"),
        &format!("/runs/{}", served.running),
        &format!("/recipes/{recipe}"),
    ] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        assert!(
            answer.text.contains("ev&#60;script&#62;alert") || answer.text.contains("ev&lt;script&gt;alert"),
            "{path} shows it as text"
        );
        assert_harmless(&answer.text, path);
    }
    let log = served.get(&format!("/runs/{number}/logs/install")).await;
    assert_eq!(log.header("content-type"), "text/plain; charset=utf-8");
    assert!(log.text.contains("<script>") && !log.text.contains('\u{1b}') && !log.text.contains('\u{202e}'));
}

#[tokio::test]
async fn only_listed_files_are_served_and_none_can_run() {
    let served = served().await;
    let number = served.newest_judged().await;
    let id = served
        .replace_record(number, |run| {
            for path in ["page.html", "evil.svg", "link.txt", "../web.db"] {
                run.files.push(FileRef { path: path.into(), bytes: 1, about: "x".into() });
            }
        })
        .await;
    let folder = served.runs_dir.join(id.as_str());
    for name in ["page.html", "evil.svg", "unlisted.txt"] {
        std::fs::write(folder.join(name), "<script>alert(1)</script>").unwrap();
    }
    std::os::unix::fs::symlink("../../web.db", folder.join("link.txt")).unwrap();
    let get = |path: &str| {
        let path = format!("/runs/{number}/files/{path}");
        let served = &served;
        async move { served.get(&path).await }
    };
    for name in ["page.html", "evil.svg"] {
        let answer = get(name).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{name}\""));
    }
    let yml = get("compose.yml").await;
    assert!(yml.header("content-disposition").starts_with("attachment") && yml.text.starts_with("services"));
    for path in ["unlisted.txt", "link.txt", "..%2Fweb.db", "%2e%2e/web.db", "logs", "/etc/passwd", "%2Fetc%2Fpasswd"] {
        assert_eq!(get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(served.get(&format!("/runs/{number}/logs/..%2Fcompose")).await.status, StatusCode::NOT_FOUND);
    for id in ["0", "-1", "99999999999999999999", "abc", "r00000000000", "1e3", "%00"] {
        assert_eq!(served.get(&format!("/runs/{id}")).await.status, StatusCode::NOT_FOUND, "{id}");
    }
}

#[tokio::test]
async fn a_log_that_the_record_does_not_list_is_not_shown() {
    let served = served().await;
    let number = served.newest_judged().await;
    let all = format!("/runs/{number}/logs/install");
    assert_eq!(served.get(&all).await.status, StatusCode::OK);
    served.replace_record(number, |run| run.files.retain(|file| !file.path.contains("install"))).await;
    assert_eq!(served.get(&all).await.status, StatusCode::NOT_FOUND);
    assert!(!served.get(&format!("/runs/{number}")).await.text.contains("/logs/install"));
}

/// Names of the recipes that the overview shows, in order.
async fn recipes(served: &Served, query: &str) -> Vec<String> {
    let text = served.get(&format!("/{query}")).await.text;
    let rows = text.split("data-label=\"Recipe\"><a href=\"/recipes/").skip(1);
    rows.map(|row| row.split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_overview_filters_and_sorts_by_its_address() {
    let served = served().await;
    let all = recipes(&served, "").await;
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!((all.len(), &all), (12, &sorted));
    assert_eq!(recipes(&served, "?q=GIT").await, ["gitea"]);
    assert_eq!(recipes(&served, "?pulls=1").await, ["gitea", "n8n"]);
    assert_eq!(recipes(&served, "?pulls=1&sort=pulls").await, ["gitea", "n8n"]);
    assert_eq!(recipes(&served, "?sort=pulls").await[..3], ["gitea", "n8n", "wordpress"]);
    assert_eq!(recipes(&served, "?q=zzz").await.len(), 0);
    let by_verdict = [
        recipes(&served, "?show=green").await,
        recipes(&served, "?show=red").await,
        recipes(&served, "?show=error").await,
    ];
    assert_eq!(by_verdict.iter().map(Vec::len).sum::<usize>(), 12);
    assert!(recipes(&served, "?show=active").await.len() >= 3);
    let json = served.get("/api/v1/recipes").await.json();
    let level =
        |name: &String| json.as_array().unwrap().iter().find(|r| r["name"] == name.as_str()).unwrap()["level"].as_i64();
    let levels: Vec<_> = recipes(&served, "?sort=level").await.iter().map(level).collect();
    assert!(levels.is_sorted() && levels.first() != levels.last(), "{levels:?}");
    assert_eq!(served.get("/?sort=nonsense").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(recipes(&served, "?q=&show=&sort=").await.len(), 12, "what the form sends when nothing is chosen");
}

#[tokio::test]
async fn a_run_tells_its_stages_its_reason_and_its_way() {
    let served = served().await;
    let list = served.get("/api/v1/runs?limit=200").await.json();
    let red = list["runs"].as_array().unwrap().iter().find(|run| run["verdict"] == "RED").unwrap()["number"]
        .as_i64()
        .unwrap();
    let text = served.get(&format!("/runs/{red}")).await.text;
    for stage in Stage::ALL {
        assert!(text.contains(&format!("data-stage=\"{stage}\"")), "{stage}");
    }
    for part in [
        "✘",
        "RED",
        "Timeline",
        "Pressure on the host",
        "Attempts (",
        "non-zero exit (1)",
        "Try:",
        "Waited for",
        "cc-ci test https://",
    ] {
        assert!(text.contains(part), "{part}");
    }
    let api = served.get(&format!("/api/v1/runs/{red}")).await.json();
    let id = api["attempts"][0]["id"].as_str().unwrap();
    let moved = served.get(&format!("/runs/{id}")).await;
    assert_eq!((moved.status, moved.header("location")), (StatusCode::SEE_OTHER, format!("/runs/{red}").as_str()));
    let queue = served.get("/queue").await.text;
    assert!(
        queue.contains("upgrade: waiting for 2 of 3 services") && queue.matches("data-label=\"Place\"").count() == 3
    );
    let running = served.get(&format!("/runs/{}", served.running)).await.text;
    assert!(running.contains("GET /health 200") && running.contains("to come") && running.contains("live.js"));
}

#[test]
fn no_template_switches_escaping_off() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let plain: String = text.split_whitespace().collect();
        for bad in ["|safe", "|escape(", "style=", "onclick=", "javascript:"] {
            assert!(!plain.contains(bad), "{}: {bad}", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 8);
}
