//! Signing in by the code flow.

use reqwest::Method;
use serde_json::Value;

use crate::support::{client, get, stage};

const BACK: &str = "http://127.0.0.1:9/auth/callback";

fn query_of(location: &str, key: &str) -> String {
    let url = url::Url::parse(location).unwrap();
    url.query_pairs().find(|(k, _)| k == key).map(|(_, v)| v.into_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_code_is_good_once_for_its_client() {
    let (sim, _) = stage().await;
    let (id, secret) = sim.oauth_app(&[BACK], true);
    let url = format!("{}/login/oauth/authorize", sim.url());
    let wish = |redirect: &str| {
        vec![
            ("client_id", id.clone()),
            ("redirect_uri", redirect.to_owned()),
            ("response_type", "code".to_owned()),
            ("state", "s&1".to_owned()),
        ]
    };
    let page = client().get(&url).query(&wish(BACK)).send().await.unwrap();
    assert_eq!(page.status().as_u16(), 200);
    assert!(page.text().await.unwrap().contains("value=\"s&amp;1\""));
    let elsewhere = client().get(&url).query(&wish("http://evil.test/")).send().await.unwrap();
    assert_eq!(elsewhere.status().as_u16(), 400);

    let mut fields = wish(BACK);
    fields.extend([("user_name", "alice".to_owned()), ("password", "wrong".to_owned())]);
    assert_eq!(client().post(&url).form(&fields).send().await.unwrap().status().as_u16(), 401);
    fields.last_mut().unwrap().1 = "alice-password".to_owned();
    let answer = client().post(&url).form(&fields).send().await.unwrap();
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with(BACK));
    assert_eq!(query_of(&location, "state"), "s&1");
    let code = query_of(&location, "code");

    let exchange = async |secret: &str, code: &str| {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", id.as_str()),
            ("client_secret", secret),
            ("code", code),
            ("redirect_uri", BACK),
        ];
        let request = client().request(Method::POST, format!("{}/login/oauth/access_token", sim.url()));
        let answer = request.form(&fields).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap())
    };
    assert_eq!(exchange("wrong", &code).await.1["error"], "invalid_client");
    let (status, tokens) = exchange(&secret, &code).await;
    assert_eq!(status, 200);
    assert_eq!(tokens["token_type"], "bearer");
    assert_eq!(exchange(&secret, &code).await.1["error"], "unauthorized_client", "only once");

    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(access.split('.').count(), 3);
    let info = client().get(format!("{}/login/oauth/userinfo", sim.url())).bearer_auth(access).send().await.unwrap();
    let info: Value = info.json().await.unwrap();
    assert_eq!(info["preferred_username"], "alice");
    assert_eq!(get(&sim, access, "user").await.json()["login"], "alice");
}

#[tokio::test]
async fn a_code_expires_and_pkce_is_checked() {
    let (sim, _) = stage().await;
    let (id, _) = sim.oauth_app(&[BACK], false);
    let url = format!("{}/login/oauth/authorize", sim.url());
    // S256 of "verifier-verifier-verifier-verifier-verifier-x"
    let verifier = "verifier-verifier-verifier-verifier-verifier-x";
    let challenge = {
        use base64::Engine;
        use sha2::Digest;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(verifier))
    };
    let code = async |challenge: &str| {
        let fields = [
            ("client_id", id.as_str()),
            ("redirect_uri", BACK),
            ("response_type", "code"),
            ("code_challenge_method", if challenge.is_empty() { "" } else { "S256" }),
            ("code_challenge", challenge),
            ("user_name", "bob"),
            ("password", "bob-password"),
        ];
        let answer = client().post(&url).form(&fields).send().await.unwrap();
        answer.headers()["location"].to_str().unwrap().to_owned()
    };
    assert_eq!(query_of(&code("").await, "error"), "invalid_request", "a public client must prove itself");
    let exchange = async |code: &str, verifier: &str| {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", id.as_str()),
            ("code", code),
            ("redirect_uri", BACK),
            ("code_verifier", verifier),
        ];
        let request = client().post(format!("{}/login/oauth/access_token", sim.url()));
        request.form(&fields).send().await.unwrap().status().as_u16()
    };
    let first = query_of(&code(&challenge).await, "code");
    assert_eq!(exchange(&first, "other").await, 400);
    let second = query_of(&code(&challenge).await, "code");
    assert_eq!(exchange(&second, verifier).await, 200);
    let third = query_of(&code(&challenge).await, "code");
    sim.advance_clock(120);
    assert_eq!(exchange(&third, verifier).await, 400, "a code lives a minute");
}
