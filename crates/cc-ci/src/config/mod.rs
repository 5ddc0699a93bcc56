//! Settings of the server: read once at the start, resolved, checked, and never looked at again.
//!
//! `defaults.toml` is both the defaults and the manual; a key exists if and only if it stands there. Layers, the later
//! going before the earlier: the defaults, the file, the environment. Secrets are files that a key names, so that no
//! printed configuration holds one. The rule to know: an unknown key is an error with its line, never passed over,
//! because a setting that is misspelt is a setting that is not in force.

mod layers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use url::Url;

use crate::forge::Token;
use crate::queue::QueueConfig;
use crate::redact::SecretValue;
use crate::state::State;

pub use layers::Layers;

/// The defaults, commented.
pub const DEFAULTS: &str = include_str!("defaults.toml");

/// Where the file is looked for unless one is named.
pub const USUAL_FILE: &str = "/etc/cc-ci/cc-ci.toml";

/// Everything the server is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[forge]`.
    pub forge: Forge,
    /// `[server]`.
    pub server: Server,
    /// `[tests]`.
    pub tests: Tests,
    /// `[runs]`.
    pub runs: Runs,
    /// `[web]`.
    pub web: Web,
    /// The files that secrets were read from.
    pub secret_files: Vec<PathBuf>,
}

/// `[forge]`
#[derive(Debug, Clone)]
pub struct Forge {
    /// Its address, as given.
    pub url: String,
    /// Who we are there.
    pub token: Token,
    /// One or two secrets.
    pub webhook_secrets: Vec<SecretValue>,
    /// `owner/name` each.
    pub repositories: Vec<String>,
    /// Names.
    pub organisations: Vec<String>,
    /// Login names.
    pub bots: Vec<String>,
    /// Account ids.
    pub trusted_ids: Vec<i64>,
    /// For one call.
    pub timeout: Duration,
    /// Between two looks at the comments.
    pub poll_every: Duration,
    /// How far a look reaches back behind the newest comment seen.
    pub poll_overlap: SignedDuration,
    /// Between two looks at names and organisations.
    pub enrol_every: Duration,
    /// Whether hooks are created and repaired.
    pub repair_hooks: bool,
}

impl Forge {
    /// Its host, if the operator has it asked over plain http: then code comes from there the same way.
    #[must_use]
    pub fn http_host(&self) -> Option<String> {
        let url = Url::parse(&self.url).ok().filter(|url| url.scheme() == "http")?;
        url.host_str().map(str::to_owned)
    }
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct Server {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where people reach it; without a slash at the end.
    pub public_url: Url,
    /// For running tests after SIGTERM.
    pub grace: Duration,
}

/// `[tests]`
#[derive(Debug, Clone)]
pub struct Tests {
    /// Folder or git URL; none means no suites.
    pub source: Option<String>,
    /// Branch, tag or commit.
    pub reference: Option<String>,
}

/// `[runs]`
#[derive(Debug, Clone)]
pub struct Runs {
    /// Database, evidence, work.
    pub dir: PathBuf,
    /// Most runs side by side.
    pub slots: usize,
    /// For one attempt.
    pub timeout: Duration,
    /// Without progress.
    pub stall: Duration,
    /// Expected of one run, in bytes.
    pub memory: i64,
    /// To be left free, in bytes.
    pub reserve: i64,
    /// Expected of one run.
    pub networks: i64,
    /// After failures of infrastructure.
    pub retries: i64,
    /// Most waiting runs.
    pub longest_queue: i64,
    /// Most waiting runs of one person.
    pub longest_of_person: i64,
    /// Free disk below which nothing is taken in, in bytes.
    pub disk_floor: u64,
    /// One policy file for each recipe that has one.
    pub policy_dir: Option<PathBuf>,
    /// Whether the first page is photographed.
    pub screenshot: bool,
}

/// `[web]`
#[derive(Debug, Clone)]
pub struct Web {
    /// In every title.
    pub title: String,
    /// Whether everybody may look.
    pub public: bool,
    /// Tokens that may act, by file name.
    pub act_tokens: Vec<(String, SecretValue)>,
    /// Tokens that may look, by file name.
    pub read_tokens: Vec<(String, SecretValue)>,
    /// Client id and secret of the OAuth2 application.
    pub oauth: Option<(String, SecretValue)>,
    /// What signs sessions; none means new bytes at each start.
    pub session_key: Option<SecretValue>,
    /// Most live logs at the same time.
    pub viewers: usize,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A value or a key is wrong.
    #[error("{place}: {message}")]
    Bad {
        /// File and line, or the environment variable.
        place: String,
        /// What is wrong and what to write.
        message: String,
    },
    /// A secret file cannot be used.
    #[error("{key} = {path:?}: {why}")]
    Secret {
        /// The key.
        key: String,
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

impl Config {
    /// Reads and checks everything: the file that is named, or [`USUAL_FILE`] if it is there.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        Self::resolve(&Layers::read(file)?)
    }

    /// Turns texts into what the server works with.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn resolve(layers: &Layers) -> Result<Self, ConfigError> {
        let (url, token) = forge_access(layers)?;
        let forge = Forge {
            url,
            token,
            webhook_secrets: webhook_secrets(layers)?,
            repositories: repositories(layers)?,
            organisations: layers.texts("forge.organisations")?,
            bots: layers.texts("forge.bots")?,
            trusted_ids: layers.numbers("forge.trusted_ids")?,
            timeout: layers.time("forge.timeout", 1..=300)?,
            poll_every: layers.time("forge.poll_every", 1..=3600)?,
            poll_overlap: signed(layers.time("forge.poll_overlap", 0..=86_400)?),
            enrol_every: layers.time("forge.enrol_every", 1..=86_400)?,
            repair_hooks: layers.flag("forge.repair_hooks")?,
        };
        if forge.repositories.is_empty() && forge.organisations.is_empty() {
            return Err(layers.bad(
                "forge.repositories",
                "nothing is served: name repositories in forge.repositories or organisations in forge.organisations",
            ));
        }
        if !(forge.url.starts_with("https://") || forge.url.starts_with("http://")) || Url::parse(&forge.url).is_err() {
            return Err(layers.bad("forge.url", "write an address such as \"https://git.example.org\""));
        }
        let server = server(layers)?;
        let tests = Tests { source: layers.maybe("tests.source")?, reference: layers.maybe("tests.ref")? };
        let secret_files = secret_files(layers)?;
        Ok(Self { forge, server, tests, runs: runs(layers)?, web: web(layers)?, secret_files })
    }

    /// The queue's part of it. `stall` is what a lease lasts without progress.
    #[must_use]
    pub fn queue(&self) -> QueueConfig {
        QueueConfig {
            lease: signed(self.runs.stall),
            deadline: signed(self.runs.timeout),
            retries: self.runs.retries,
            longest_queue: self.runs.longest_queue,
            longest_of_person: self.runs.longest_of_person,
            ..QueueConfig::default()
        }
    }

    /// The folders.
    #[must_use]
    pub fn state(&self) -> State {
        State::at(&self.runs.dir)
    }
}

/// Address and token of the forge, for commands that need nothing else.
///
/// # Errors
/// If one of them is missing or cannot be used.
pub fn forge_access(layers: &Layers) -> Result<(String, Token), ConfigError> {
    let (url, key) = (layers.needed("forge.url")?, "forge.token_file");
    let path = layers.needed(key)?;
    let token = Token::new(&secret(key, &path)?);
    Ok((url, token.map_err(|error| ConfigError::Secret { key: key.to_owned(), path, why: error.to_string() })?))
}

/// Where the server of this configuration listens, and the file of the first token that may act there. Secrets are not
/// read, so that whoever may only look needs no right to them.
///
/// # Errors
/// If one of the keys cannot be used.
pub fn server_access(layers: &Layers) -> Result<(SocketAddr, Option<PathBuf>), ConfigError> {
    Ok((listen(layers)?, layers.texts("web.act_token_files")?.first().map(PathBuf::from)))
}

fn listen(layers: &Layers) -> Result<SocketAddr, ConfigError> {
    let told = layers.text("server.listen")?;
    told.parse().map_err(|_| layers.bad("server.listen", "write an address and a port, as in \"127.0.0.1:8420\""))
}

fn server(layers: &Layers) -> Result<Server, ConfigError> {
    let listen = listen(layers)?;
    let public = layers.maybe("server.public_url")?.unwrap_or_else(|| format!("http://{listen}"));
    let public_url = Url::parse(&public)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none())
        .ok_or_else(|| layers.bad("server.public_url", "write an address such as \"https://ci.example.org\""))?;
    Ok(Server { listen, public_url, grace: layers.time("server.grace", 0..=86_400)? })
}

fn runs(layers: &Layers) -> Result<Runs, ConfigError> {
    let mib = |key: &str, most: i64| layers.number(key, 0..=most).map(|mib| mib << 20);
    Ok(Runs {
        dir: layers.maybe("runs.dir")?.map_or_else(|| State::locate().root().to_owned(), PathBuf::from),
        slots: usize::try_from(layers.number("runs.slots", 1..=1000)?).unwrap_or(1),
        timeout: layers.time("runs.timeout", 1..=86_400)?,
        stall: layers.time("runs.stall", 10..=86_400)?,
        memory: mib("runs.memory_mb", 1 << 24)?,
        reserve: mib("runs.reserve_mb", 1 << 24)?,
        networks: layers.number("runs.networks", 1..=1000)?,
        retries: layers.number("runs.retries", 0..=20)?,
        longest_queue: layers.number("runs.longest_queue", 1..=1_000_000)?,
        longest_of_person: layers.number("runs.longest_of_person", 1..=1_000_000)?,
        disk_floor: mib("runs.disk_floor_mb", 1 << 30)?.unsigned_abs(),
        policy_dir: layers.maybe("runs.policy_dir")?.map(PathBuf::from),
        screenshot: layers.flag("runs.screenshot")?,
    })
}

fn web(layers: &Layers) -> Result<Web, ConfigError> {
    let tokens = |key: &str| -> Result<Vec<(String, SecretValue)>, ConfigError> {
        layers.texts(key)?.iter().map(|path| Ok((file_name(path), secret(key, path)?))).collect()
    };
    let one = |key: &str| layers.maybe(key)?.map(|path| secret(key, &path)).transpose();
    let oauth = match (layers.maybe("web.oauth_client_id")?, one("web.oauth_client_secret_file")?) {
        (Some(id), Some(secret)) => Some((id, secret)),
        (None, None) => None,
        (Some(_), None) => {
            return Err(layers.bad("web.oauth_client_id", "web.oauth_client_secret_file is missing; set both or none"));
        }
        (None, Some(_)) => {
            return Err(layers.bad("web.oauth_client_secret_file", "web.oauth_client_id is missing; set both or none"));
        }
    };
    Ok(Web {
        title: layers.text("web.title")?,
        public: layers.flag("web.public")?,
        act_tokens: tokens("web.act_token_files")?,
        read_tokens: tokens("web.read_token_files")?,
        oauth,
        session_key: one("web.session_key_file")?,
        viewers: usize::try_from(layers.number("web.viewers", 1..=100_000)?).unwrap_or(1),
    })
}

fn webhook_secrets(layers: &Layers) -> Result<Vec<SecretValue>, ConfigError> {
    let key = "forge.webhook_secret_files";
    let files = layers.texts(key)?;
    let secrets = files.iter().map(|path| secret(key, path)).collect::<Result<Vec<_>, _>>()?;
    crate::bridge::webhook::check_secrets(&secrets).map_err(|error| layers.bad(key, &error.to_string()))?;
    Ok(secrets)
}

fn repositories(layers: &Layers) -> Result<Vec<String>, ConfigError> {
    let names = layers.texts("forge.repositories")?;
    for name in &names {
        let ok = name.split_once('/').is_some_and(|(owner, name)| {
            !owner.is_empty() && !name.is_empty() && !name.contains('/') && !name.contains(char::is_whitespace)
        });
        if !ok {
            return Err(layers.bad("forge.repositories", &format!("{name:?} is not of the form \"owner/name\"")));
        }
    }
    Ok(names)
}

/// All files that hold a secret: what keys that end in `_file` or `_files` name.
fn secret_files(layers: &Layers) -> Result<Vec<PathBuf>, ConfigError> {
    let one = ["forge.token_file", "web.oauth_client_secret_file", "web.session_key_file"];
    let many = ["forge.webhook_secret_files", "web.act_token_files", "web.read_token_files"];
    let mut files = Vec::new();
    for key in one {
        files.extend(layers.maybe(key)?.map(PathBuf::from));
    }
    for key in many {
        files.extend(layers.texts(key)?.into_iter().map(PathBuf::from));
    }
    Ok(files)
}

/// The content of a secret file, without white space around it.
fn secret(key: &str, path: &str) -> Result<SecretValue, ConfigError> {
    let failed = |why: String| ConfigError::Secret { key: key.to_owned(), path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    let word = text.trim();
    if word.is_empty() {
        return Err(failed("is empty; write the secret into it".to_owned()));
    }
    Ok(SecretValue::new(word))
}

fn file_name(path: &str) -> String {
    Path::new(path).file_stem().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
