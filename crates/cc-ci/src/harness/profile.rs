//! `profile.toml`: what a suite says about how its recipe is to be tested (H6).
//!
//! Strict: an unknown key, a wrong type or a missing reason is an error with its line. A profile may describe and
//! narrow; it can never turn a failing stage into a passing one, and a stage that it takes out needs a reason that
//! stands in the results.
//!
//! The rule to know: the reference page is made from [`KEYS`], and a test holds [`KEYS`], the parser and the page equal.

mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::Stage;
use crate::redact::SecretValue;

/// A profile as it applies: defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// `[app] env`: variables of the app, over those of `.env.sample`.
    pub env: BTreeMap<String, String>,
    /// `[app] timeout`: how long the services may take to converge; none means the recipe's own `TIMEOUT`.
    pub timeout: Option<Duration>,
    /// `[http]`.
    pub http: Http,
    /// `[upgrade]`.
    pub upgrade: Upgrade,
    /// `[stages]`: stages that do not apply, with the reason.
    pub not_applicable: BTreeMap<Stage, String>,
    /// `[settle] seconds`: how long converged services must stay so.
    pub settle: Duration,
    /// `[resources]`.
    pub resources: Resources,
    /// `[screenshot] path`: page to open.
    pub screenshot_path: String,
    /// `[secrets]`: values for secrets that abra would not generate.
    pub secrets: BTreeMap<String, SecretRule>,
    /// `[tests]`.
    pub tests: Tests,
}

/// The built-in look at the app over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Path to ask for, beginning with `/`.
    pub path: String,
    /// Statuses that count as an answer; empty means any from 200 to 399, and 401.
    pub status: Vec<u16>,
    /// How long the app may take to answer after it converged; none means 15 s for a service with a health check, 60 s without.
    pub timeout: Option<Duration>,
}

/// What an upgrade starts from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Upgrade {
    /// Branch, tag or commit; `none` if no version can be upgraded from (then `reason` says why).
    pub base: Option<String>,
    /// Variables for the base only, over those of `[app] env`.
    pub env: BTreeMap<String, String>,
    /// Why there is no base.
    pub reason: Option<String>,
}

/// What the app needs of the host.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    /// Memory in MiB.
    pub memory_mb: Option<u64>,
    /// CPUs.
    pub cpus: Option<f64>,
}

/// How to make a secret.
#[derive(Debug, Clone, PartialEq)]
pub enum SecretRule {
    /// Random, of this length, from these characters.
    Random {
        /// Number of characters.
        length: usize,
        /// Characters to choose from; none means letters and digits.
        charset: Option<String>,
    },
    /// This test value. It is public: it stands in the tests repository.
    Fixed(SecretValue),
}

/// How the suite's tests run.
#[derive(Debug, Clone, PartialEq)]
pub struct Tests {
    /// Most time for one test.
    pub timeout: Duration,
    /// How often a red test is run again, alone: 0 or 1.
    pub retries: u32,
}

/// A profile that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ProfileError {
    /// Which file.
    pub file: String,
    /// Line, from 1.
    pub line: Option<usize>,
    /// What is wrong and what to write.
    pub message: String,
}

impl Profile {
    /// Reads a profile. `file` is for messages.
    ///
    /// # Errors
    /// [`ProfileError`] with the line.
    pub fn parse(file: &str, text: &str) -> Result<Self, ProfileError> {
        wire::parse(file, text)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            env: BTreeMap::new(),
            timeout: None,
            http: Http { path: "/".to_owned(), status: Vec::new(), timeout: None },
            upgrade: Upgrade::default(),
            not_applicable: BTreeMap::new(),
            settle: Duration::from_secs(3),
            resources: Resources::default(),
            screenshot_path: "/".to_owned(),
            secrets: BTreeMap::new(),
            tests: Tests { timeout: Duration::from_secs(120), retries: 1 },
        }
    }
}

/// One key of the profile, for the reference page.
struct Key {
    table: &'static str,
    key: &'static str,
    kind: &'static str,
    default: &'static str,
    about: &'static str,
    example: &'static str,
}

/// Every key there is. `NAME` stands for a name of the recipe's own.
const KEYS: &[Key] = &[
    Key {
        table: "app",
        key: "env",
        kind: "table of texts",
        default: "none",
        about: "Variables of the app, over those of `.env.sample`. `DOMAIN` and `STACK_NAME` belong to cc-ci.",
        example: "env = { COMPOSE_FILE = \"compose.yml:compose.mariadb.yml\" }",
    },
    Key {
        table: "app",
        key: "timeout",
        kind: "seconds",
        default: "the recipe's `TIMEOUT`, else 300",
        about: "How long the services may take to converge.",
        example: "timeout = 600",
    },
    Key {
        table: "http",
        key: "path",
        kind: "path",
        default: "`/`",
        about: "What the built-in look at the app asks for.",
        example: "path = \"/login\"",
    },
    Key {
        table: "http",
        key: "status",
        kind: "number or list of numbers",
        default: "200 to 399, 401",
        about: "Statuses that count as an answer.",
        example: "status = [200, 302]",
    },
    Key {
        table: "http",
        key: "timeout",
        kind: "seconds",
        default: "15 if the service has a health check, else 60",
        about: "How long the app may take to answer after its services have converged.",
        example: "timeout = 90",
    },
    Key {
        table: "upgrade",
        key: "base",
        kind: "text",
        default: "newest release tag, else the target branch",
        about: "Tag, branch or commit that the upgrade starts from. `none` says that there is nothing to upgrade from; it needs a `reason`.",
        example: "base = \"1.2.0+1.27.1\"",
    },
    Key {
        table: "upgrade",
        key: "env",
        kind: "table of texts",
        default: "none",
        about: "Variables that an operator sets when upgrading, over those of `[app] env`: what the release notes ask for. The base does not get them.",
        example: "env = { SECRET_API_KEY_VERSION = \"v1\" }",
    },
    Key {
        table: "upgrade",
        key: "reason",
        kind: "text",
        default: "none",
        about: "Why `base = \"none\"`. It stands in the results.",
        example: "reason = \"1.x data cannot be migrated, see release/2.0.0+3.1\"",
    },
    Key {
        table: "stages",
        key: "upgrade",
        kind: "`not-applicable: <reason>`",
        default: "applies",
        about: "Takes the stage out. The reason stands in the results.",
        example: "upgrade = \"not-applicable: every start is a fresh one\"",
    },
    Key {
        table: "stages",
        key: "backup",
        kind: "`not-applicable: <reason>`",
        default: "applies if the recipe keeps data",
        about: "Takes the stage out. The reason stands in the results.",
        example: "backup = \"not-applicable: the volume is a cache\"",
    },
    Key {
        table: "stages",
        key: "restore",
        kind: "`not-applicable: <reason>`",
        default: "applies if the recipe keeps data",
        about: "Takes the stage out. The reason stands in the results.",
        example: "restore = \"not-applicable: the volume is a cache\"",
    },
    Key {
        table: "settle",
        key: "seconds",
        kind: "seconds",
        default: "3",
        about: "How long converged services must stay converged before the stage holds; at most 300.",
        example: "seconds = 10",
    },
    Key {
        table: "resources",
        key: "memory_mb",
        kind: "MiB",
        default: "unknown",
        about: "Memory that one deployment needs. Two lanes run side by side only if the host has it twice.",
        example: "memory_mb = 1500",
    },
    Key {
        table: "resources",
        key: "cpus",
        kind: "number",
        default: "unknown",
        about: "CPUs that one deployment keeps busy while it starts.",
        example: "cpus = 1.5",
    },
    Key {
        table: "screenshot",
        key: "path",
        kind: "path",
        default: "`/`",
        about: "Page that the screenshot shows. It never changes a verdict.",
        example: "path = \"/login\"",
    },
    Key {
        table: "secrets",
        key: "NAME.value",
        kind: "text",
        default: "none",
        about: "A test value for a secret that is not generated (`# generate=false`). It is public: never a real credential.",
        example: "smtp_password = { value = \"not-a-real-password\" }",
    },
    Key {
        table: "secrets",
        key: "NAME.length",
        kind: "1 to 4096",
        default: "what `.env.sample` says",
        about: "A random value of this length instead. Not together with `value`.",
        example: "session_key = { length = 64 }",
    },
    Key {
        table: "secrets",
        key: "NAME.charset",
        kind: "`default`, `alnum`, `special`, `safespecial`, `hex`, `digits`, or the characters",
        default: "letters and digits",
        about: "Characters of the random value. Needs `length`.",
        example: "pin_key = { length = 32, charset = \"hex\" }",
    },
    Key {
        table: "tests",
        key: "timeout",
        kind: "seconds",
        default: "120",
        about: "Most time for one test of the suite.",
        example: "timeout = 30",
    },
    Key {
        table: "tests",
        key: "retries",
        kind: "0 or 1",
        default: "1",
        about: "How often a red test is run again, alone. Green the second time is shown as flaky.",
        example: "retries = 0",
    },
];

/// The reference page of the profile, in Markdown: `docs/reference-profile.md`.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "# Reference: profile.toml\n\n\
         A suite may hold a file `profile.toml` that says how its recipe is to be tested. Every key is optional. A key that \
         is not listed here is an error, so that a slip of the finger cannot silently change a test.\n\n\
         This page is printed by the code that reads the file.\n",
    );
    let mut table = "";
    for key in KEYS {
        if key.table != table {
            table = key.table;
            page.push_str(&format!("\n## `[{table}]`\n"));
        }
        let Key { key, kind, default, about, example, .. } = key;
        page.push_str(&format!(
            "\n### `{key}`\n\n{about}\n\n- Type: {kind}\n- Default: {default}\n\n```toml\n[{table}]\n{example}\n```\n"
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Profile::parse("profile.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_profile_is_the_default() {
        assert_eq!(Profile::parse("profile.toml", ""), Ok(Profile::default()));
    }

    #[test]
    fn a_full_profile() {
        let profile = Profile::parse(
            "profile.toml",
            r#"
            [app]
            env = { A = "1" }
            timeout = 600
            [http]
            path = "/login"
            status = 200
            [upgrade]
            base = "1.0.0+2"
            [stages]
            backup = "not-applicable: only a cache"
            [settle]
            seconds = 0
            [resources]
            memory_mb = 512
            cpus = 2
            [secrets]
            key = { length = 5, charset = "hex" }
            pw = { value = "v" }
            [tests]
            retries = 0
            "#,
        )
        .unwrap();
        assert_eq!(profile.timeout, Some(Duration::from_secs(600)));
        assert_eq!(profile.env["A"], "1");
        assert_eq!((profile.http.path.as_str(), profile.http.status.as_slice()), ("/login", &[200][..]));
        assert_eq!(profile.http.timeout, None);
        assert_eq!(profile.not_applicable[&Stage::Backup], "only a cache");
        assert_eq!(profile.settle, Duration::ZERO);
        assert_eq!((profile.resources.memory_mb, profile.resources.cpus), (Some(512), Some(2.0)));
        assert_eq!(profile.secrets["key"], SecretRule::Random { length: 5, charset: Some("0123456789abcdef".into()) });
        assert_eq!(profile.secrets["pw"], SecretRule::Fixed(SecretValue::new("v")));
        assert_eq!(profile.tests, Tests { timeout: Duration::from_secs(120), retries: 0 });
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, wanted) in [
            (
                "[http]\nstatsu = 200",
                "profile.toml:2: unknown key `statsu` (did you mean `status`?); known here: path, status, timeout",
            ),
            ("[htpp]\n", "profile.toml:1: unknown key `htpp` (did you mean `http`?)"),
            ("[http]\npath = \"login\"", "profile.toml:2: `http.path` must begin with `/`, as in \"/login\""),
            ("[http]\nstatus = 99", "profile.toml:2: `http.status` must be between 100 and 599, not 99"),
            ("[http]\nstatus = []", "profile.toml:2: `http.status` must name at least one status"),
            ("[app]\ntimeout = 0", "profile.toml:2: `app.timeout` must be between 1 and 86400 seconds, not 0"),
            ("[app]\ntimeout = \"5m\"", "profile.toml:2: "),
            ("\n[app]\nenv = { DOMAIN = \"x\" }", "profile.toml:3: `app.env` must not set DOMAIN: cc-ci sets it"),
            ("[app]\nenv = { \"a b\" = \"x\" }", "profile.toml:2: `app.env`: `a b` is not a variable name"),
            ("[upgrade]\nbase = \"none\"", "profile.toml:2: `base = \"none\"` needs a `reason`"),
            ("[upgrade]\nreason = \"x\"", "profile.toml:2: `reason` only goes with `base = \"none\"`"),
            (
                "[upgrade]\nbase = \"--upload-pack=x\"",
                "profile.toml:2: `upgrade.base` is not a branch, tag or commit: --upload-pack=x",
            ),
            ("[stages]\nbackup = \"not-applicable:  \"", "profile.toml:2: `stages.backup` needs a reason"),
            ("[stages]\nbackup = \"skip\"", "profile.toml:2: `stages.backup` can only be \"not-applicable: <reason>\""),
            ("[stages]\ninstall = \"not-applicable: x\"", "profile.toml:2: unknown key `install`"),
            ("[settle]\nseconds = 301", "profile.toml:2: `settle.seconds` must be between 0 and 300 seconds, not 301"),
            ("[tests]\nretries = 2", "profile.toml:2: `tests.retries` must be 0 or 1, not 2"),
            (
                "[secrets]\na = { value = \"x\", length = 3 }",
                "profile.toml:2: `secrets.a` needs either `value` or `length`",
            ),
            ("[secrets]\na = {}", "profile.toml:2: `secrets.a` needs either `value` or `length`"),
            ("[secrets]\na = { length = 0 }", "profile.toml:2: `secrets.a.length` must be between 1 and 4096, not 0"),
            ("[resources]\ncpus = -1.0", "profile.toml:2: `resources.cpus` must be above 0"),
            ("[app\n", "profile.toml:1: "),
        ] {
            assert!(error(text).starts_with(wanted), "{text}\n  got    {}\n  wanted {wanted}", error(text));
        }
    }

    /// The table and the parser know the same keys: each example is accepted, and the parser lists no other key.
    #[test]
    fn every_key_is_documented() {
        let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for key in KEYS {
            let with = match (key.table, key.key) {
                ("upgrade", "reason") => "base = \"none\"",
                _ => "",
            };
            let text = format!("[{}]\n{with}\n{}\n", key.table, key.example);
            let profile = Profile::parse("profile.toml", &text);
            assert!(profile.is_ok(), "{text}{profile:?}");
            assert_ne!(profile.ok(), Some(Profile::default()), "{text}");
            tables.entry(key.table).or_default().push(key.key.trim_start_matches("NAME."));
        }
        let known = |text: &str| -> Vec<String> {
            let message = error(text);
            let list = message.split("known here: ").nth(1).unwrap_or_default();
            let mut list: Vec<String> = list.split(", ").map(str::to_owned).collect();
            list.sort();
            list
        };
        assert_eq!(known("[zzzz]"), tables.keys().copied().collect::<Vec<&str>>());
        for (table, mut keys) in tables {
            keys.sort_unstable();
            let text =
                if table == "secrets" { "[secrets.a]\nzzzz = 1".to_owned() } else { format!("[{table}]\nzzzz = 1") };
            assert_eq!(known(&text), keys, "{table}");
        }
    }

    #[test]
    fn the_reference_page_is_current() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference-profile.md");
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(page, reference_markdown(), "write what `reference_markdown` gives to {}", path.display());
    }
}
