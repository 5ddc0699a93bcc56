//! Login with the forge, and what is not one.

use reqwest::{Method, StatusCode};

use super::support::{ACT, form, read, served};

#[tokio::test]
async fn the_way_to_the_forge_and_back_begins_a_session() {
    let served = served().await;
    let answer = served.get("/login/forge?next=/runs/1").await;
    let there = answer.header("location").to_owned();
    let cookie = answer.cookie("ccci-login");
    let state = there.split("state=").nth(1).unwrap().split('&').next().unwrap();
    assert!(there.starts_with("https://forge.test/authorize?") && there.contains("code_challenge="));
    let back = |query: String, cookie: Option<&str>| {
        let mut request = served.request(Method::GET, &format!("/login/callback?{query}"));
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        read(request)
    };
    for (query, with, want) in [
        (format!("code=good&state={state}"), None, StatusCode::FORBIDDEN),
        ("code=good&state=other".to_owned(), Some(cookie.as_str()), StatusCode::FORBIDDEN),
        (format!("error=access_denied&state={state}"), Some(cookie.as_str()), StatusCode::FORBIDDEN),
        (format!("code=bad&state={state}"), Some(cookie.as_str()), StatusCode::SERVICE_UNAVAILABLE),
    ] {
        assert_eq!(back(query.clone(), with).await.status, want, "{query}");
    }
    let answer = back(format!("code=good&state={state}"), Some(&cookie)).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/runs/1"));
    let session = answer.cookie("ccci");
    let page = read(served.request(Method::GET, "/runs/1").header("cookie", &session)).await;
    assert!(page.text.contains("<span>ana</span>") && page.text.contains("Test again"));
    let out = read(served.request(Method::POST, "/logout").header("cookie", &session)).await;
    assert_eq!(out.cookie("ccci"), "ccci=");
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_a_right_one_returns_to_these_pages() {
    let served = served().await;
    let send = |body: String| read(form(served.request(Method::POST, "/login"), &body));
    let wrong = send("token=wrong&next=/queue".into()).await;
    assert_eq!(wrong.status, StatusCode::FORBIDDEN);
    assert!(wrong.text.contains("This token is not known") && wrong.headers.get("set-cookie").is_none());
    assert_eq!(send(format!("token={ACT}&next=/queue")).await.header("location"), "/queue");
    assert_eq!(send(format!("token={ACT}&next=//evil.example")).await.header("location"), "/");
}
