//! The OAuth2 provider: the code flow (with PKCE), refresh, and who is signed in.
//!
//! A code is good once, for a minute, for the client and address it was given to.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::api::parse_body;
use crate::auth::{authenticate, by_password, check_account, decode_basic};
use crate::reply::{Answer, Reply};
use crate::server::{Asked, Shared, simple};
use crate::world::{Id, OauthApp, OauthGrant, Token, World};

/// Seconds a code may wait for its exchange.
const CODE_LIFETIME: i64 = 60;

/// Seconds an access token is said to live.
const TOKEN_LIFETIME: i64 = 3_600;

pub(crate) fn handle(shared: &Arc<Shared>, asked: &Asked) -> Response<Body> {
    let reply = {
        let mut world = shared.world();
        route(&mut world, asked).unwrap_or_else(|error| error)
    };
    simple(shared, &reply)
}

fn route(world: &mut World, asked: &Asked) -> Answer {
    let path: Vec<&str> = asked.path.iter().map(String::as_str).collect();
    match (asked.method.as_str(), path.as_slice()) {
        ("GET", [".well-known", _]) => Ok(discovery(world)),
        ("GET", ["login", "oauth", "authorize"]) => {
            let wish = Wish::read(world, &asked.query)?;
            Ok(form(&wish, ""))
        }
        ("POST", ["login", "oauth", "authorize"]) => {
            let fields: Vec<(String, String)> = url::form_urlencoded::parse(&asked.body).into_owned().collect();
            grant(world, &fields)
        }
        ("POST", ["login", "oauth", "access_token"]) => exchange(world, asked),
        ("GET" | "POST", ["login", "oauth", "userinfo"]) => userinfo(world, asked),
        _ => Err(Reply::text(404, "Not found.\n")),
    }
}

fn discovery(world: &World) -> Reply {
    let root = &world.root_url;
    Reply::json(
        200,
        json!({
            "issuer": root,
            "authorization_endpoint": format!("{root}login/oauth/authorize"),
            "token_endpoint": format!("{root}login/oauth/access_token"),
            "userinfo_endpoint": format!("{root}login/oauth/userinfo"),
            "response_types_supported": ["code", "id_token"],
            "code_challenge_methods_supported": ["plain", "S256"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
        }),
    )
}

/// An application's wish to sign somebody in, checked.
struct Wish {
    client_id: String,
    redirect_uri: String,
    state: String,
    challenge: Option<(String, String)>,
}

fn field<'f>(fields: &'f [(String, String)], name: &str) -> &'f str {
    fields.iter().find(|(k, _)| k == name).map_or("", |(_, v)| v.as_str())
}

impl Wish {
    /// Checks application and address first: without them nothing may be sent back.
    fn read(world: &World, fields: &[(String, String)]) -> Result<Self, Reply> {
        let get = |name: &str| field(fields, name).to_owned();
        let Some(app) = world.oauth_apps.iter().find(|a| a.client_id == field(fields, "client_id")) else {
            return Err(Reply::html(400, "<h1>Authorization failed</h1><p>Client ID not registered</p>"));
        };
        let redirect_uri = get("redirect_uri");
        if !app.redirect_uris.contains(&redirect_uri) {
            return Err(Reply::html(400, "<h1>Authorization failed</h1><p>Unregistered Redirect URI</p>"));
        }
        let state = get("state");
        let refuse = |error: &str, text: &str| {
            let back = back(&redirect_uri, &[("error", error), ("error_description", text), ("state", &state)]);
            Reply::redirect(302, back)
        };
        if field(fields, "response_type") != "code" {
            return Err(refuse("unsupported_response_type", "Only code response type is supported."));
        }
        let challenge = match (field(fields, "code_challenge_method"), field(fields, "code_challenge")) {
            ("", "") if app.confidential => None,
            ("", "") => return Err(refuse("invalid_request", "PKCE is required for public clients")),
            (method @ ("S256" | "plain"), value) => Some((method.to_owned(), value.to_owned())),
            _ => return Err(refuse("invalid_request", "unsupported code challenge method")),
        };
        Ok(Self { client_id: app.client_id.clone(), redirect_uri, state, challenge })
    }
}

fn back(redirect_uri: &str, pairs: &[(&str, &str)]) -> String {
    let Ok(mut to) = url::Url::parse(redirect_uri) else { return redirect_uri.to_owned() };
    to.query_pairs_mut().extend_pairs(pairs.iter().filter(|(_, v)| !v.is_empty()));
    to.to_string()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The sign-in page: the wish as hidden fields, name and password to fill in.
fn form(wish: &Wish, message: &str) -> Reply {
    let (method, value) = wish.challenge.clone().unwrap_or_default();
    let hidden: String = [
        ("client_id", wish.client_id.as_str()),
        ("redirect_uri", &wish.redirect_uri),
        ("response_type", "code"),
        ("state", &wish.state),
        ("code_challenge_method", &method),
        ("code_challenge", &value),
    ]
    .iter()
    .map(|(name, value)| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value)))
    .collect();
    let status = if message.is_empty() { 200 } else { 401 };
    Reply::html(
        status,
        format!(
            "<!doctype html><meta charset=\"utf-8\"><title>Sign in</title><h1>Sign in</h1><p>{}</p>\
             <form method=\"post\" action=\"/login/oauth/authorize\">{hidden}\
             <label>User <input name=\"user_name\" autofocus></label> \
             <label>Password <input name=\"password\" type=\"password\"></label> \
             <button>Authorize</button></form>",
            escape(message)
        ),
    )
}

fn random() -> String {
    let bytes = [*uuid::Uuid::new_v4().as_bytes(), *uuid::Uuid::new_v4().as_bytes()].concat();
    URL_SAFE_NO_PAD.encode(bytes)
}

fn grant(world: &mut World, fields: &[(String, String)]) -> Answer {
    let wish = Wish::read(world, fields)?;
    let actor = by_password(world, field(fields, "user_name"), field(fields, "password"));
    let Some(user) = actor.and_then(|a| a.user) else {
        return Ok(form(&wish, "Username or password is incorrect."));
    };
    if world.users.get(&user).is_none_or(|u| check_account(u).is_err()) {
        return Ok(form(&wish, "This account is prohibited from signing in."));
    }
    let code = random();
    let new = OauthGrant {
        client_id: wish.client_id,
        user,
        redirect_uri: wish.redirect_uri.clone(),
        challenge: wish.challenge,
        expires: world.now() + CODE_LIFETIME,
        refresh: false,
    };
    world.oauth_grants.insert(code.clone(), new);
    Ok(Reply::redirect(303, back(&wish.redirect_uri, &[("code", &code), ("state", &wish.state)])))
}

fn refused(error: &str, text: &str) -> Reply {
    Reply::json(400, json!({ "error": error, "error_description": text }))
}

fn exchange(world: &mut World, asked: &Asked) -> Answer {
    let body = parse_body(asked.header("content-type"), &asked.body).map_err(|m| refused("invalid_request", &m))?;
    let get = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut client_id, mut secret) = (get("client_id"), get("client_secret"));
    if let Some((id, password)) = asked.header("authorization").strip_prefix("Basic ").and_then(decode_basic) {
        (client_id, secret) = (id, password);
    }
    let Some(app) = world.oauth_apps.iter().find(|a| a.client_id == client_id).cloned() else {
        return Err(refused("invalid_client", &format!("cannot load client with client id: '{client_id}'")));
    };
    if app.confidential && app.client_secret != secret {
        return Err(refused("invalid_client", "invalid client secret"));
    }
    let (key, refresh) = match get("grant_type").as_str() {
        "authorization_code" => (get("code"), false),
        "refresh_token" => (get("refresh_token"), true),
        _ => {
            return Err(refused(
                "unsupported_grant_type",
                "Only refresh_token or authorization_code grant type is supported",
            ));
        }
    };
    let found = world.oauth_grants.remove(&key).filter(|g| g.refresh == refresh && g.client_id == client_id);
    let Some(found) = found.filter(|g| g.expires >= world.now()) else {
        return Err(refused("unauthorized_client", "client is not authorized"));
    };
    if !refresh {
        if found.redirect_uri != get("redirect_uri") {
            return Err(refused("unauthorized_client", "unexpected redirect URI"));
        }
        let verifier = get("code_verifier");
        let proved = match &found.challenge {
            None => true,
            Some((method, value)) if method == "S256" => URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier)) == *value,
            Some((_, value)) => verifier == *value,
        };
        if !proved {
            return Err(refused("unauthorized_client", "failed PKCE code challenge"));
        }
    }
    Ok(tokens(world, &found))
}

/// An access token in the shape of a JWT, and a refresh token.
fn tokens(world: &mut World, grant: &OauthGrant) -> Reply {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let now = world.now();
    let head = part(&json!({ "alg": "RS256", "typ": "JWT" }));
    let claims = part(&json!({ "gnt": 1, "tt": 0, "exp": now + TOKEN_LIFETIME, "iat": now }));
    let secret = format!("{head}.{claims}.{}", random());
    let id = world.next("token");
    world.tokens.push(Token {
        id,
        user: grant.user,
        name: String::new(),
        secret: secret.clone(),
        scopes: Vec::new(),
        oauth: true,
        created: now,
        used: now,
    });
    let refresh = random();
    let again = OauthGrant { refresh: true, expires: now + 730 * 3_600, ..grant.clone() };
    world.oauth_grants.insert(refresh.clone(), again);
    Reply::json(
        200,
        json!({
            "access_token": secret,
            "token_type": "bearer",
            "expires_in": TOKEN_LIFETIME,
            "refresh_token": refresh,
        }),
    )
}

fn userinfo(world: &mut World, asked: &Asked) -> Answer {
    let actor = authenticate(world, &asked.headers, &[]);
    let Some(user) = actor.ok().and_then(|a| a.user) else {
        return Err(
            Reply::text(401, "no valid authorization\n").with("WWW-Authenticate", "Bearer realm=\"Gitea OAuth2\"")
        );
    };
    Ok(Reply::json(200, claims(world, user)))
}

fn claims(world: &World, user: Id) -> Value {
    let Some(account) = world.users.get(&user) else { return Value::Null };
    let mut groups = Vec::new();
    for team in world.teams.values().filter(|t| t.members.contains(&user)) {
        let org = world.login(team.org);
        if !groups.contains(&org) {
            groups.push(org.clone());
        }
        groups.push(format!("{org}:{}", team.name.to_lowercase()));
    }
    json!({
        "sub": user.to_string(),
        "name": if account.full_name.is_empty() { &account.login } else { &account.full_name },
        "preferred_username": account.login,
        "email": account.email,
        "picture": format!("{}avatars/{}", world.root_url, account.login),
        "groups": groups,
    })
}

/// Registers an application and returns it with its secret.
pub(crate) fn register(world: &mut World, redirect_uris: Vec<String>, confidential: bool) -> OauthApp {
    let app = OauthApp {
        client_id: uuid::Uuid::new_v4().to_string(),
        client_secret: format!("gto_{}", random()),
        redirect_uris,
        confidential,
    };
    world.oauth_apps.push(app.clone());
    app
}
