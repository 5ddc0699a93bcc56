//! Who is looking: signed cookies, bearer tokens, and the token that binds a form to its session.
//!
//! Sessions are not kept on the server, only those that were ended before their time are, in memory: a restart with the same
//! key forgets them. A value is its payload and an HMAC over the payload and what it is for, so that a
//! login that has only begun cannot be shown as a session. The rule to know: an action needs the form's token as well
//! as the cookie, because browsers send cookies along with requests that other sites make.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::state::{Person, Right, Settings};

/// How long a session lasts.
pub(super) const SESSION: SignedDuration = SignedDuration::from_hours(12);
/// How long a login at the forge may take.
pub(super) const LOGIN: SignedDuration = SignedDuration::from_mins(10);

/// What a signed value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody is logged in.
    Session,
    /// Somebody was sent to the forge to log in.
    Login,
    /// Binds a form to a session.
    Form,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Purpose::Session => b"session\0",
            Purpose::Login => b"login\0",
            Purpose::Form => b"form\0",
        }
    }
}

/// The payload of a session's cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SessionCookie {
    person: Person,
    act: bool,
    until: i64,
    /// Makes the form's token another one with each login.
    salt: String,
}

/// The payload of the cookie that spans the way to the forge and back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LoginCookie {
    /// What the forge must hand back.
    pub state: String,
    /// PKCE verifier.
    pub verifier: String,
    /// Where to go afterwards: a path of these pages.
    pub next: String,
    /// Not valid after, in milliseconds.
    pub until: i64,
}

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Viewer {
    /// The person, if anybody is logged in.
    pub person: Option<Person>,
    /// What he may; `None` is nobody.
    pub right: Option<Right>,
    /// The token for forms; only for a session.
    pub form: Option<String>,
}

/// Sessions that were ended by a logout, until they would have ended by themselves.
#[derive(Debug, Default)]
pub(super) struct Ended(Mutex<BTreeMap<String, i64>>);

impl Ended {
    /// Ends the session that came with a request, so that nobody who has copied its cookie can go on with it.
    pub(super) fn end(&self, headers: &HeaderMap, settings: &Settings, now: Timestamp) {
        let value = cookie(headers, &cookie_name(settings, Purpose::Session));
        let Some(session) = value.and_then(|value| open::<SessionCookie>(settings, Purpose::Session, value)) else {
            return;
        };
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, until| *until > now.as_millisecond());
        ended.insert(session.salt, session.until);
    }

    fn holds(&self, session: &SessionCookie) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&session.salt)
    }
}

/// Finds out who sent a request.
pub(super) fn viewer(headers: &HeaderMap, settings: &Settings, ended: &Ended, now: Timestamp) -> Viewer {
    if let Some(token) = bearer(headers) {
        let found = settings.tokens.iter().filter_map(|known| known.matches(token)).next_back();
        return match found {
            Some((person, right)) => Viewer { person: Some(person), right: Some(right), form: None },
            None => Viewer::default(),
        };
    }
    let Some(value) = cookie(headers, &cookie_name(settings, Purpose::Session)) else { return Viewer::default() };
    let Some(session) = open::<SessionCookie>(settings, Purpose::Session, value) else { return Viewer::default() };
    if session.until <= now.as_millisecond() || ended.holds(&session) {
        return Viewer::default();
    }
    let right = if session.act { Right::Act } else { Right::Read };
    let form = Some(mac(settings, Purpose::Form, value.as_bytes()));
    Viewer { person: Some(session.person), right: Some(right), form }
}

/// The header that begins a session.
pub(super) fn begin(settings: &Settings, person: Person, right: Right, now: Timestamp) -> String {
    let session = SessionCookie {
        person,
        act: right == Right::Act,
        until: (now + SESSION).as_millisecond(),
        salt: random_text(),
    };
    set(settings, Purpose::Session, &seal(settings, Purpose::Session, &session), SESSION)
}

/// The header that remembers a login that has begun.
pub(super) fn begin_login(settings: &Settings, login: &LoginCookie) -> String {
    set(settings, Purpose::Login, &seal(settings, Purpose::Login, login), LOGIN)
}

/// The login that was begun in this browser, if it is not too old.
pub(super) fn begun_login(headers: &HeaderMap, settings: &Settings, now: Timestamp) -> Option<LoginCookie> {
    let value = cookie(headers, &cookie_name(settings, Purpose::Login))?;
    open::<LoginCookie>(settings, Purpose::Login, value).filter(|login| login.until > now.as_millisecond())
}

/// The header that ends a session or a login.
pub(super) fn end(settings: &Settings, purpose: Purpose) -> String {
    set(settings, purpose, "", SignedDuration::ZERO)
}

/// Whether two texts are equal, in a time that does not tell where they differ.
pub(super) fn same(a: &str, b: &str) -> bool {
    use subtle::ConstantTimeEq;
    bool::from(a.as_bytes().ct_eq(b.as_bytes()))
}

/// 32 random bytes as text.
pub(super) fn random_text() -> String {
    B64.encode(rand::random::<[u8; 32]>())
}

/// The S256 code challenge of a PKCE verifier (RFC 7636, section 4.2).
pub(super) fn challenge(verifier: &str) -> String {
    use sha2::Digest;
    B64.encode(Sha256::digest(verifier.as_bytes()))
}

/// A path of these pages to return to, or `/`. Anything that could leave the site is not one.
pub(super) fn safe_next(next: Option<&str>) -> String {
    let Some(next) = next else { return "/".to_owned() };
    let plain = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|b| b.is_ascii_graphic());
    if plain { next.to_owned() } else { "/".to_owned() }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// With `__Host-` no other host, and no page without TLS, can have set the cookie.
fn cookie_name(settings: &Settings, purpose: Purpose) -> String {
    let prefix = if secure(settings) { "__Host-" } else { "" };
    let name = match purpose {
        Purpose::Session | Purpose::Form => "ccci",
        Purpose::Login => "ccci-login",
    };
    format!("{prefix}{name}")
}

fn secure(settings: &Settings) -> bool {
    settings.public_url.scheme() == "https"
}

fn set(settings: &Settings, purpose: Purpose, value: &str, lasts: SignedDuration) -> String {
    let secure = if secure(settings) { "; Secure" } else { "" };
    let name = cookie_name(settings, purpose);
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}", lasts.as_secs())
}

fn seal<T: Serialize>(settings: &Settings, purpose: Purpose, payload: &T) -> String {
    let payload = B64.encode(serde_json::to_vec(payload).unwrap_or_default());
    let mac = mac(settings, purpose, payload.as_bytes());
    format!("{payload}.{mac}")
}

fn open<T: DeserializeOwned>(settings: &Settings, purpose: Purpose, value: &str) -> Option<T> {
    let (payload, found) = value.split_once('.')?;
    if found.is_empty() || !same(found, &mac(settings, purpose, payload.as_bytes())) {
        return None;
    }
    serde_json::from_slice(&B64.decode(payload).ok()?).ok()
}

fn mac(settings: &Settings, purpose: Purpose, payload: &[u8]) -> String {
    // HMAC takes keys of any length, so this cannot fail; an empty text matches no signature.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(settings.session_key.bytes()) else { return String::new() };
    mac.update(purpose.label());
    mac.update(payload);
    B64.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::state::{AccessToken, SessionKey};
    use super::*;

    fn settings(url: &str) -> Settings {
        Settings {
            public_url: url.parse().unwrap(),
            title: "cc-ci".into(),
            public_reading: true,
            forge_url: None,
            slots: 1,
            tokens: vec![AccessToken::new("ops", "s3cret", Right::Act), AccessToken::new("look", "glass", Right::Read)],
            session_key: SessionKey::new([7; 32]),
            viewers: 1,
        }
    }

    fn request(name: &str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        headers
    }

    fn ana() -> Person {
        Person { id: 7, login: "ana".into() }
    }

    #[test]
    fn a_session_lasts_until_it_ends_or_is_tampered_with() {
        let settings = settings("https://ci.example.org/");
        let now = Timestamp::UNIX_EPOCH;
        let header = begin(&settings, ana(), Right::Act, now);
        assert!(header.contains("; HttpOnly; SameSite=Lax") && header.ends_with("; Secure"), "{header}");
        let pair = header.split(';').next().unwrap();
        assert!(pair.starts_with("__Host-ccci="));
        let seen = viewer(&request("cookie", &format!("a=b; {pair}")), &settings, &Ended::default(), now);
        assert_eq!((seen.person, seen.right), (Some(ana()), Some(Right::Act)));
        assert_ne!(seen.form.as_deref(), pair.rsplit('.').next());
        assert_eq!(viewer(&request("cookie", pair), &settings, &Ended::default(), now + SESSION), Viewer::default());
        let mut changed = pair.to_owned();
        changed.replace_range(14..15, if &pair[14..15] == "A" { "B" } else { "A" });
        assert_eq!(viewer(&request("cookie", &changed), &settings, &Ended::default(), now), Viewer::default());
        let mut other = settings;
        other.session_key = SessionKey::new([8; 32]);
        assert_eq!(viewer(&request("cookie", pair), &other, &Ended::default(), now), Viewer::default());
    }

    #[test]
    fn a_login_that_has_begun_is_no_session() {
        let settings = settings("http://127.0.0.1/");
        let login = LoginCookie { state: "s".into(), verifier: "v".into(), next: "/".into(), until: 10 };
        let header = begin_login(&settings, &login);
        assert!(!header.contains("Secure"));
        let value = header.split(';').next().unwrap().replacen("ccci-login=", "ccci=", 1);
        assert_eq!(
            viewer(&request("cookie", &value), &settings, &Ended::default(), Timestamp::UNIX_EPOCH),
            Viewer::default()
        );
        let pair = header.split(';').next().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(begun_login(&request("cookie", pair), &settings, now), Some(login));
        assert_eq!(begun_login(&request("cookie", pair), &settings, now + LOGIN), None);
    }

    #[test]
    fn tokens_have_rights_of_their_own() {
        let settings = settings("http://127.0.0.1/");
        for (header, want) in [
            ("Bearer s3cret", Some(Right::Act)),
            ("bearer glass", Some(Right::Read)),
            ("Bearer S3cret", None),
            ("Bearer ", None),
            ("Basic s3cret", None),
        ] {
            let seen = viewer(&request("authorization", header), &settings, &Ended::default(), Timestamp::UNIX_EPOCH);
            assert_eq!(seen.right, want, "{header}");
        }
    }

    #[test]
    fn one_returns_to_these_pages_only() {
        for (next, want) in [
            (Some("/runs/7?x=1"), "/runs/7?x=1"),
            (Some("//evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/a b"), "/"),
            (Some("/\r\nx"), "/"),
            (None, "/"),
        ] {
            assert_eq!(safe_next(next), want);
        }
    }
}
