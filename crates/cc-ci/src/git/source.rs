//! What a user may name as a recipe or tests repository.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use url::Url;

use super::GitError;

/// Where a repository is.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A folder on this machine.
    Local(PathBuf),
    /// A git URL, possibly with credentials, which are never shown.
    Remote(String),
    /// A recipe name, to be looked up in the catalogue.
    Name(String),
}

impl Source {
    /// A folder if there is one of that name or the text looks like a path; else a URL; else a recipe name.
    ///
    /// # Errors
    /// [`GitError::BadSource`]; [`GitError::Protocol`] for a URL that is neither https, http, ssh nor file.
    pub fn parse(text: &str) -> Result<Self, GitError> {
        let text = text.trim();
        let bad = || GitError::BadSource(text.chars().take(200).collect());
        if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
            return Err(bad());
        }
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Source::Local(PathBuf::from(path)));
        }
        if text.starts_with(['/', '.', '~']) || Path::new(text).is_dir() {
            return Ok(Source::Local(PathBuf::from(text)));
        }
        if text.contains("://") || text.contains("::") {
            let url = Url::parse(text).map_err(|_| bad())?;
            return match url.scheme() {
                "https" | "http" | "ssh" if url.host_str().is_some_and(|host| !host.starts_with('-')) => {
                    Ok(Source::Remote(text.to_owned()))
                }
                scheme => Err(GitError::Protocol {
                    url: shown(text),
                    why: format!("{scheme} is not a protocol that recipes are fetched by: use https, ssh or a path"),
                }),
            };
        }
        if is_scp_like(text) {
            return Ok(Source::Remote(text.to_owned()));
        }
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if plain { Ok(Source::Name(text.to_owned())) } else { Err(bad()) }
    }

    /// For people: without credentials.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Source::Local(path) => path.display().to_string(),
            Source::Remote(url) => shown(url),
            Source::Name(name) => name.clone(),
        }
    }

    /// The recipe's name: the last part of path or URL, without `.git`.
    #[must_use]
    pub fn recipe_name(&self) -> String {
        let last = match self {
            Source::Local(path) => {
                let full = path.canonicalize().unwrap_or_else(|_| path.clone());
                full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
            Source::Remote(url) => {
                let url = url.split(['?', '#']).next().unwrap_or_default();
                url.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default().to_owned()
            }
            Source::Name(name) => name.clone(),
        };
        last.strip_suffix(".git").map(str::to_owned).unwrap_or(last)
    }

    /// A [`Source::Name`] under `base_url` (such as `https://git.coopcloud.tech/coop-cloud`); others stay as they are.
    #[must_use]
    pub fn in_catalogue(self, base_url: &str) -> Self {
        match self {
            Source::Name(name) => Source::Remote(format!("{}/{name}.git", base_url.trim_end_matches('/'))),
            other @ (Source::Local(_) | Source::Remote(_)) => other,
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({})", self.display())
    }
}

/// A remote as git is asked for it: credentials apart, so that no process list shows them.
pub(super) struct Address {
    /// URL without credentials.
    pub(super) url: String,
    /// `http`, `https` or `ssh`: the one protocol that this fetch may use.
    pub(super) scheme: &'static str,
    /// Value of an `Authorization` header, if the URL has credentials.
    pub(super) authorization: Option<String>,
    /// What must not appear in messages.
    pub(super) password: Option<String>,
}

impl Address {
    /// Takes a remote apart. Plain http is for loopback and the hosts that the operator lists.
    pub(super) fn of(text: &str, http_hosts: &[String]) -> Result<Self, GitError> {
        let Some(mut url) = Url::parse(text).ok().filter(|_| text.contains("://")) else {
            return Ok(Self { url: text.to_owned(), scheme: "ssh", authorization: None, password: None });
        };
        let scheme = match url.scheme() {
            "https" => "https",
            "ssh" => "ssh",
            "http" => "http",
            _ => return Err(GitError::BadSource(shown(text))),
        };
        if scheme == "http"
            && !is_loopback(&url)
            && !http_hosts.iter().any(|host| Some(host.as_str()) == url.host_str())
        {
            return Err(GitError::Protocol {
                url: shown(text),
                why: "plain http can be changed on the way: use https; over http only the server asks, and only the host of its forge.url".to_owned(),
            });
        }
        let (user, password) = (percent_decode(url.username()), url.password().map(percent_decode));
        let mut authorization = None;
        if scheme != "ssh" && (!user.is_empty() || password.is_some()) {
            let pair = format!("{user}:{}", password.clone().unwrap_or_default());
            authorization = Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)));
            let _ = url.set_username("");
        }
        let _ = url.set_password(None);
        // A token is often given as the user name alone.
        let secret = password.or_else(|| authorization.as_ref().map(|_| user));
        Ok(Self { url: url.into(), scheme, authorization, password: secret.filter(|secret| !secret.is_empty()) })
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn percent_decode(text: &str) -> String {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match (byte, pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 3;
            }
            (other, _) => {
                out.push(*other);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `git@host:path`, as git and people write it.
fn is_scp_like(text: &str) -> bool {
    text.split_once(':').is_some_and(|(host, path)| {
        let host = host.rsplit('@').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        !host.is_empty()
            && !host.starts_with('-')
            && host.chars().all(plain)
            && !path.is_empty()
            && !path.starts_with('-')
    }) && text.contains('@')
        && !text.contains(char::is_whitespace)
}

/// Without user name, password, query and fragment.
fn shown(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if text.contains("://") => {
            let _ = url.set_password(None);
            if url.scheme() != "ssh" {
                let _ = url.set_username("");
            }
            url.set_query(None);
            url.set_fragment(None);
            url.into()
        }
        _ => text.rsplit_once('@').map_or(text, |(_, rest)| rest).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type() {
        for (text, wanted) in [
            ("./custom-html", Source::Local("./custom-html".into())),
            ("/srv/recipes/n8n", Source::Local("/srv/recipes/n8n".into())),
            ("file:///srv/n8n", Source::Local("/srv/n8n".into())),
            ("src", Source::Local("src".into())),
            ("https://git.example/coop-cloud/n8n.git", Source::Remote("https://git.example/coop-cloud/n8n.git".into())),
            ("git@git.example:coop-cloud/n8n.git", Source::Remote("git@git.example:coop-cloud/n8n.git".into())),
            ("custom-html", Source::Name("custom-html".into())),
        ] {
            assert_eq!(Source::parse(text).unwrap(), wanted, "{text}");
        }
        for text in [
            "",
            "--upload-pack=touch x",
            "ext::sh -c id",
            "git://git.example/x",
            "a b",
            "https://",
            "ftp://x/y",
            "a/b/c",
            "ssh://-oProxyCommand=id/x",
            "x@-oProxyCommand=id:y",
            "a\nb",
        ] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_and_catalogue() {
        for (text, name) in [
            ("https://git.example/coop-cloud/n8n.git", "n8n"),
            ("https://git.example/coop-cloud/n8n/", "n8n"),
            ("git@git.example:n8n", "n8n"),
            ("n8n", "n8n"),
            ("src", "src"),
        ] {
            assert_eq!(Source::parse(text).unwrap().recipe_name(), name);
        }
        let found = Source::Name("n8n".into()).in_catalogue("https://git.example/c/");
        assert_eq!(found.display(), "https://git.example/c/n8n.git");
    }

    #[test]
    fn credentials_are_never_shown_and_go_by_header() {
        let text = "https://bot:p%40ss-word@git.example/a/b.git?x=1";
        let source = Source::Remote(text.to_owned());
        assert_eq!(source.display(), "https://git.example/a/b.git");
        assert!(!format!("{source:?}").contains("word"));
        let address = Address::of(text, &[]).unwrap();
        assert_eq!((address.url.as_str(), address.scheme), ("https://git.example/a/b.git?x=1", "https"));
        assert_eq!(address.authorization.as_deref(), Some("Basic Ym90OnBAc3Mtd29yZA=="));
        assert_eq!(address.password.as_deref(), Some("p@ss-word"));
        let token = Address::of("https://tokentoken@git.example/a", &[]).unwrap();
        assert_eq!((token.url.as_str(), token.password.as_deref()), ("https://git.example/a", Some("tokentoken")));
        assert_eq!(Address::of("ssh://git@git.example/a", &[]).unwrap().url, "ssh://git@git.example/a");
    }

    #[test]
    fn plain_http_is_for_loopback_and_listed_hosts() {
        for (text, listed, fine) in [
            ("http://127.0.0.1:3000/a", "", true),
            ("http://localhost/a", "", true),
            ("http://[::1]/a", "", true),
            ("http://git.lan/a", "", false),
            ("http://git.lan/a", "git.lan", true),
            ("http://127.0.0.1.evil.example/a", "", false),
        ] {
            assert_eq!(Address::of(text, &[listed.to_owned()]).is_ok(), fine, "{text}");
        }
    }
}
