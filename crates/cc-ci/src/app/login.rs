//! Login with the forge's accounts: OAuth2 with an authorisation code and PKCE, as Gitea and Forgejo have it.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::config::Config;
use crate::http;
use crate::redact::SecretValue;
use crate::web::{ForgeLogin, Later, Person};

/// For the exchange; a person waits for it.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The forge as the place where people log in.
#[derive(Debug)]
pub(super) struct AtForge {
    base: String,
    client_id: String,
    client_secret: SecretValue,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
}

#[derive(Deserialize)]
struct Account {
    id: i64,
    login: String,
}

impl AtForge {
    /// If the configuration names an application.
    pub(super) fn of(config: &Config) -> Result<Option<Self>, String> {
        let Some((client_id, client_secret)) = config.web.oauth.clone() else { return Ok(None) };
        let http = http::builder().timeout(TIMEOUT).build().map_err(|error| error.to_string())?;
        let base = config.forge.url.trim_end_matches('/').to_owned();
        Ok(Some(Self { base, client_id, client_secret, http }))
    }

    async fn account(&self, code: &str, verifier: &str, callback: &Url) -> Result<Person, String> {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", &self.client_id),
            ("client_secret", self.client_secret.expose()),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", callback.as_str()),
        ];
        let failed = |error: reqwest::Error| {
            // Without the address, which may hold what was sent.
            tracing::warn!("login at the forge: {}", error.without_url());
            "The forge did not confirm the login; please try again.".to_owned()
        };
        let answer = self.http.post(format!("{}/login/oauth/access_token", self.base)).form(&form).send().await;
        let granted: Granted =
            answer.and_then(reqwest::Response::error_for_status).map_err(failed)?.json().await.map_err(failed)?;
        let answer =
            self.http.get(format!("{}/api/v1/user", self.base)).bearer_auth(&granted.access_token).send().await;
        let account: Account =
            answer.and_then(reqwest::Response::error_for_status).map_err(failed)?.json().await.map_err(failed)?;
        if account.id <= 0 {
            return Err("The forge names no account.".to_owned());
        }
        Ok(Person { id: account.id, login: account.login })
    }
}

impl ForgeLogin for AtForge {
    fn authorize_url(&self, state: &str, challenge: &str, callback: &Url) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", callback.as_str())
            .append_pair("response_type", "code")
            .append_pair("scope", "read:user")
            .append_pair("state", state)
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        format!("{}/login/oauth/authorize?{query}", self.base)
    }

    fn exchange<'a>(
        &'a self,
        code: &'a str,
        verifier: &'a str,
        callback: &'a Url,
    ) -> Later<'a, Result<Person, String>> {
        Box::pin(self.account(code, verifier, callback))
    }
}
