//! Login with the forge's accounts, whole: the server, the forge's own sign-in page, and back.

use forge_sim::{ApiFault, Fault};
use reqwest::StatusCode;
use url::Url;

use crate::browser::{Browser, Seen};
use crate::world::World;

/// A world whose server is registered as an application at the forge.
pub(crate) async fn world_with_login() -> World {
    let mut world = World::new().await;
    world.stop().await;
    let callback = format!("http://{}/login/callback", world.listen());
    let (id, secret) = world.sim.oauth_app(&[&callback], true);
    world.write("oauth", &secret);
    world.configure(&format!("[web]\noauth_client_id = {id:?}\noauth_client_secret_file = {:?}\n", world.at("oauth")));
    world.start().await;
    world
}

/// What the forge answers to name and password on its sign-in page, to which `there` leads.
async fn sign_in(there: &Url, login: &str, password: &str) -> Seen {
    let client = cc_ci::http::builder().no_proxy().build().unwrap();
    let page = client.get(there.clone()).send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK, "the forge takes what it was asked");
    let mut fields: Vec<(String, String)> = there.query_pairs().into_owned().collect();
    fields.extend([("user_name".to_owned(), login.to_owned()), ("password".to_owned(), password.to_owned())]);
    let mut to = there.clone();
    to.set_query(None);
    let answer = client.post(to).form(&fields).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    Seen { status, headers, text: answer.text().await.unwrap() }
}

/// Goes to the forge, signs in there, and gives the way back as a path of the pages.
async fn back_from_forge(browser: &mut Browser, login: &str, next: &str) -> String {
    let begun = browser.get(&format!("/login/forge?next={next}")).await;
    let back = sign_in(&begun.location(), login, &format!("{login}-password")).await.location();
    format!("{}?{}", back.path(), back.query().unwrap())
}

/// Somebody who is logged in with his account.
pub(crate) async fn logged_in(world: &World, login: &str) -> Browser {
    let mut browser = Browser::at(world.app());
    let back = back_from_forge(&mut browser, login, "/").await;
    assert_eq!(browser.get(&back).await.status, StatusCode::SEE_OTHER);
    assert!(browser.get("/").await.text.contains(&format!("<span>{login}</span>")));
    browser
}

#[tokio::test]
async fn the_forge_says_who_it_is_and_a_logout_ends_it() {
    let world = world_with_login().await;
    let mut browser = Browser::at(world.app());
    let page = browser.get("/login?next=/queue").await;
    assert!(page.text.contains("href=\"/login/forge?next=%2Fqueue\""), "{}", page.text);

    let begun = browser.get("/login/forge?next=/queue").await;
    let there = begun.location();
    let asked = |name: &str| there.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert!(there.as_str().starts_with(&format!("{}/login/oauth/authorize?", world.sim.url().trim_end_matches('/'))));
    assert_eq!(asked("code_challenge_method").as_deref(), Some("S256"));
    assert_eq!((asked("scope").as_deref(), asked("response_type").as_deref()), (Some("read:user"), Some("code")));
    assert_eq!((asked("state").unwrap().len(), asked("code_challenge").unwrap().len()), (43, 43));
    let cookie = begun.set_cookie("ccci-login").unwrap();
    for flag in ["; Path=/;", "; HttpOnly", "; SameSite=Lax", "; Max-Age=600"] {
        assert!(cookie.contains(flag), "{flag} in {cookie}");
    }

    assert_eq!(sign_in(&there, "alice", "wrong").await.status, StatusCode::UNAUTHORIZED);
    let back = sign_in(&there, "alice", "alice-password").await.location();
    let back = format!("{}?{}", back.path(), back.query().unwrap());
    let kept = browser.cookie("ccci-login").unwrap();
    let home = browser.get(&back).await;
    assert_eq!((home.status, home.header("location")), (StatusCode::SEE_OTHER, "/queue"));
    assert!(home.set_cookie("ccci-login").unwrap().contains("Max-Age=0"), "a login is used up");
    let session = home.set_cookie("ccci").unwrap();
    for flag in ["; Path=/;", "; HttpOnly", "; SameSite=Lax", "; Max-Age=43200"] {
        assert!(session.contains(flag), "{flag} in {session}");
    }
    assert!(browser.get("/queue").await.text.contains("<span>alice</span>"));

    // The same answer of the forge is worth nothing a second time, even to somebody who has the cookie.
    let mut thief = Browser::at(world.app());
    thief.set("ccci-login", &kept);
    assert_eq!(thief.get(&back).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(thief.cookie("ccci"), None);

    let stolen = browser.cookie("ccci").unwrap();
    let out = browser.press("/queue", "/logout", &[]).await;
    assert_eq!((out.status, out.header("location")), (StatusCode::SEE_OTHER, "/"));
    assert_eq!(browser.cookie("ccci"), None);
    assert!(browser.get("/queue").await.text.contains("<a href=\"/login\">Log in</a>"));
    browser.set("ccci", &stolen);
    assert!(!browser.get("/queue").await.text.contains("<span>alice</span>"), "a session that was ended stays ended");
}

#[tokio::test]
async fn what_does_not_belong_to_this_browser_begins_no_session() {
    let world = world_with_login().await;
    let mut alice = Browser::at(world.app());
    let mut bob = Browser::at(world.app());
    let of_alice = back_from_forge(&mut alice, "alice", "/").await;
    let of_bob = back_from_forge(&mut bob, "bob", "/").await;
    let part = |back: &str, name: &str| {
        let url = Url::parse(&format!("http://x{back}")).unwrap();
        url.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned()
    };
    let state = part(&of_alice, "state");
    let mut nobody = Browser::at(world.app());
    assert_eq!(nobody.get(&of_alice).await.status, StatusCode::FORBIDDEN, "begun in another browser");
    assert_eq!(alice.get(&of_bob).await.status, StatusCode::FORBIDDEN, "another login's state");
    for query in ["", "?code=x", &format!("?state={state}"), &format!("?error=access_denied&state={state}")] {
        let seen = alice.get(&format!("/login/callback{query}")).await;
        assert_eq!(seen.status, StatusCode::FORBIDDEN, "{query}: {}", seen.text);
        assert!(seen.text.contains("<h1>"), "a page, not a bare line");
    }
    // Bob's code with Alice's state: the forge refuses it, because the verifier (PKCE) is Alice's.
    let code = part(&of_bob, "code");
    let mixed = alice.get(&format!("/login/callback?code={code}&state={state}")).await;
    assert_eq!(mixed.status, StatusCode::SERVICE_UNAVAILABLE);
    for browser in [&alice, &bob, &nobody] {
        assert_eq!(browser.cookie("ccci"), None);
    }
    assert_eq!(alice.get(&of_alice).await.status, StatusCode::SEE_OTHER, "and her own still holds");
}

#[tokio::test]
async fn a_forge_that_fails_begins_no_session_and_shows_no_secret() {
    let world = world_with_login().await;
    for (path, fault) in [
        ("/login/oauth/access_token", ApiFault::Status { code: 502, retry_after: None }),
        ("/login/oauth/access_token", ApiFault::Truncate),
        ("/api/v1/user", ApiFault::Status { code: 500, retry_after: None }),
    ] {
        let mut browser = Browser::at(world.app());
        let back = back_from_forge(&mut browser, "alice", "/").await;
        world.sim.fault(Fault::request("", path, 1, fault.clone()));
        let seen = browser.get(&back).await;
        assert_eq!(seen.status, StatusCode::SERVICE_UNAVAILABLE, "{path} {fault:?}");
        assert!(
            seen.text.contains("The forge did not confirm the login") && !seen.text.contains("code="),
            "{}",
            seen.text
        );
        assert_eq!(browser.cookie("ccci"), None);
    }
    assert!(world.sim.faults().is_empty(), "all of them were met");
}

#[tokio::test]
async fn one_comes_back_to_these_pages_and_to_no_others() {
    let world = world_with_login().await;
    for next in [
        "https://evil.example/",
        "//evil.example/",
        "/%5Cevil.example/",
        "/%09/evil.example/",
        "%0d%0aSet-Cookie:x=y",
        "javascript:alert(1)",
        "/%2F%2Fevil.example",
    ] {
        let mut browser = Browser::at(world.app());
        let back = back_from_forge(&mut browser, "alice", next).await;
        let home = browser.get(&back).await;
        assert_eq!(home.status, StatusCode::SEE_OTHER);
        let at = Url::parse("http://pages.test/").unwrap().join(home.header("location")).unwrap();
        assert_eq!(at.host_str(), Some("pages.test"), "{next} led to {at}");
        assert!(home.headers.get("x").is_none());
    }
}
