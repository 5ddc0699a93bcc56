//! Who may what, for every route of the table.

use cc_ci::web::{Access, routes};
use reqwest::{Method, StatusCode};

use super::support::{ACT, Answer, LOOK, Served, form, read, serve, served};

/// An address of a route in the seeded history.
fn address(path: &str) -> String {
    path.replace("{id}", "1")
        .replace("{name}", if path.starts_with("/assets") { "style.css" } else { "gitea" })
        .replace("{stage}", "install")
        .replace("{*path}", "logs/install.log")
}

async fn ask(served: &Served, method: &str, path: &str, header: Option<(&str, &str)>) -> Answer {
    let method: Method = method.parse().unwrap();
    let mut request = served.request(method, &address(path));
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    read(request).await
}

#[tokio::test]
async fn without_a_login_only_open_routes_answer_when_reading_is_not_public() {
    let served = serve(30, false, |_| {}).await;
    for route in routes() {
        let answer = ask(&served, route.method, route.path, None).await;
        let machine = route.path.starts_with("/api/") || route.path == "/metrics" || route.path.ends_with("/events");
        match route.access {
            Access::Open => assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{route:?}"),
            Access::Read if machine => assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{route:?}"),
            Access::Read => {
                assert_eq!(answer.status, StatusCode::SEE_OTHER, "{route:?}");
                assert!(answer.header("location").starts_with("/login?next=%2F"), "{route:?}");
            }
            Access::Act => assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{route:?}"),
        }
    }
}

#[tokio::test]
async fn nothing_but_an_acting_login_may_act() {
    let served = served().await;
    let (reader, _) = served.session(LOOK).await;
    let (actor, token) = served.session(ACT).await;
    let bearer = format!("Bearer {LOOK}");
    for route in routes().iter().filter(|route| route.access == Access::Act) {
        for (header, want) in [
            (None, StatusCode::UNAUTHORIZED),
            (Some(("authorization", "Bearer wrong")), StatusCode::UNAUTHORIZED),
            (Some(("authorization", bearer.as_str())), StatusCode::FORBIDDEN),
            (Some(("cookie", reader.as_str())), StatusCode::FORBIDDEN),
            // The right cookie, but no token of a form: what another site could send.
            (Some(("cookie", actor.as_str())), StatusCode::FORBIDDEN),
        ] {
            let answer = ask(&served, route.method, route.path, header).await;
            assert_eq!(answer.status, want, "{route:?} {header:?}");
        }
        for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
        {
            let request =
                served.request(Method::POST, &address(route.path)).header("cookie", &actor).header(name, value);
            let answer = read(form(request, &format!("form={token}&recipe=gitea"))).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{route:?} {name}: {value}");
        }
        let other = form(
            served.request(Method::POST, &address(route.path)).header("cookie", &actor),
            "form=other&recipe=gitea",
        );
        assert_eq!(read(other).await.status, StatusCode::FORBIDDEN, "{route:?}");
    }
    assert!(served.actions.wishes.lock().unwrap().is_empty());
    let (_, none) = served.session(LOOK).await;
    assert_eq!(none, "", "who may only look is shown no buttons");
}

#[tokio::test]
async fn buttons_and_tokens_act() {
    let served = served().await;
    let (cookie, token) = served.session(ACT).await;
    let press = |path: String, more: &str| {
        form(served.request(Method::POST, &path).header("cookie", &cookie), &format!("form={token}{more}"))
    };
    let answer = read(press(format!("/runs/{}/cancel", served.running), "")).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    assert!(served.get(&format!("/runs/{}", served.running)).await.text.contains("stopping"));
    let answer = read(press("/runs/1/rerun".into(), "")).await;
    assert_eq!(answer.header("location"), format!("/runs/{}", served.running + 4));
    let answer = read(press("/runs".into(), "&recipe=gitea&reference=main")).await;
    assert_eq!(answer.header("location"), "/queue");
    assert_eq!(served.actions.wishes.lock().unwrap()[0].reference.as_deref(), Some("main"));

    let bearer = format!("Bearer {ACT}");
    let api = |path: &str| served.request(Method::POST, path).header("authorization", &bearer);
    let body = r#"{"recipe":"n8n","pull":3}"#;
    let answer = read(api("/api/v1/runs").header("content-type", "application/json").body(body)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(served.actions.wishes.lock().unwrap()[1].pull, Some(3));
    let answer =
        read(api("/api/v1/runs").header("content-type", "application/json").body(r#"{"recipe":"nothing"}"#)).await;
    assert_eq!((answer.status, answer.json()["status"].as_i64()), (StatusCode::NOT_FOUND, Some(404)));
    let answer = read(api("/api/v1/runs").header("content-type", "application/json").body("{")).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let answer = read(api(&format!("/api/v1/runs/{}/cancel", served.running + 1))).await;
    assert_eq!(answer.json()["run"], served.running + 1);
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_it_harmless() {
    let served = served().await;
    let newest = served.newest_judged().await;
    for route in routes().iter().filter(|route| route.method == "GET" && !route.path.ends_with("/events")) {
        let answer =
            read(served.request(Method::GET, &address(route.path).replace("/runs/1", &format!("/runs/{newest}"))))
                .await;
        let csp = answer.header("content-security-policy");
        assert!(csp.starts_with("default-src 'none'") && csp.contains("frame-ancestors 'none'"), "{route:?}: {csp}");
        assert!(!csp.contains("unsafe"), "{route:?}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{route:?}");
        assert_ne!(answer.header("referrer-policy"), "", "{route:?}");
        if route.path.contains("/files/") || route.path.contains("/logs/") || route.path.ends_with("badge.svg") {
            assert!(csp.contains("sandbox") && !csp.contains("allow"), "{route:?}: {csp}");
            assert_eq!(answer.status, StatusCode::OK, "{route:?}");
        }
    }
    let missing = served.get("/no/such/page").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.text.contains("<h1>Not Found</h1>") && !missing.header("content-security-policy").is_empty());
    assert_eq!(served.get("/api/v1/nothing").await.json()["status"], 404);
}
