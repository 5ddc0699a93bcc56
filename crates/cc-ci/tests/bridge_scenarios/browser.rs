//! A browser without JavaScript: it keeps cookies, follows nothing by itself, and sends the forms that a page shows.

use std::collections::BTreeMap;

use cc_ci::app::App;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use url::Url;

use crate::scripted::Scripted;

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The whole `Set-Cookie` header of a cookie.
    pub(crate) fn set_cookie(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
        all.rfind(|text| text.starts_with(&format!("{name}=")))
    }

    /// Where it leads, and with what.
    pub(crate) fn location(&self) -> Url {
        Url::parse(self.header("location")).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The fields of the form with this action, as the page shows them.
    pub(crate) fn form(&self, action: &str) -> Option<Vec<(String, String)>> {
        let form = self.text.split("<form ").find(|part| part.contains(&format!("action=\"{action}\"")))?;
        let form = form.split("</form>").next()?;
        let attribute = |tag: &str, name: &str| {
            tag.split(&format!("{name}=\""))
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .unwrap_or_default()
                .to_owned()
        };
        let inputs = form.split("<input ").skip(1).filter_map(|rest| rest.split('>').next());
        Some(inputs.map(|tag| (attribute(tag, "name"), attribute(tag, "value").replace("&#38;", "&"))).collect())
    }
}

/// Somebody at the pages.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    client: reqwest::Client,
    base: Url,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn at(app: &App<Scripted>) -> Self {
        let client = cc_ci::http::builder().no_proxy().build().unwrap();
        Self { client, base: format!("http://{}/", app.address()).parse().unwrap(), cookies: BTreeMap::new() }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Seen {
        self.send(Method::GET, path, &[]).await
    }

    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Seen {
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.send(Method::POST, path, &fields).await
    }

    /// Opens a page and presses the button of the form that leads to `action`, with `more` filled in.
    pub(crate) async fn press(&mut self, page: &str, action: &str, more: &[(&str, &str)]) -> Seen {
        let shown = self.get(page).await;
        let mut fields = shown.form(action).unwrap_or_else(|| panic!("no form {action} on {page}: {}", shown.text));
        for (name, value) in more {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.send(Method::POST, action, &fields).await
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.get(name).cloned()
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    async fn send(&mut self, method: Method, path: &str, fields: &[(String, String)]) -> Seen {
        let url = self.base.join(path).unwrap();
        let mut request = self.client.request(method.clone(), url);
        if !self.cookies.is_empty() {
            let all: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", all.join("; "));
        }
        if method == Method::POST {
            let origin = self.base.origin().ascii_serialization();
            request = request.header("origin", origin).header("sec-fetch-site", "same-origin").form(fields);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let seen = Seen { status, headers, text: answer.text().await.unwrap() };
        for set in seen.headers.get_all("set-cookie") {
            let set = set.to_str().unwrap();
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            if set.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        seen
    }
}
