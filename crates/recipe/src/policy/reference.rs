//! The reference of policy and findings for people, made from the rules, the list of codes below and the keys of [`Policy`](super::Policy).
//!
//! `docs/reference-policy.md` is a copy of it; tests compare the page with the copy, the keys with the type, and the codes with the source.

use super::Rule;
use crate::finding::Severity;

/// A key of the policy file.
struct Key {
    name: &'static str,
    kind: &'static str,
    /// As JSON, which is also TOML.
    default: &'static str,
    about: &'static str,
}

const fn key(name: &'static str, kind: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { name, kind, default, about }
}

const KEYS: &[Key] = &[
    key(
        "ports",
        "numbers",
        "[]",
        "Published ports, as the number on the node. They are taken from every other run on the node.",
    ),
    key(
        "binds",
        "texts",
        "[]",
        "Host paths that may be bound, exactly as the recipe writes them. Never the engine's socket.",
    ),
    key(
        "engine_socket",
        "true or false",
        "false",
        "The engine's socket itself, for a proxy or a backup tool. Such a recipe is root on this host.",
    ),
    key(
        "ignored_keys",
        "texts",
        "[]",
        "Keys that Swarm ignores, such as `privileged` or `devices`, that may stand in the recipe. They are still left out.",
    ),
    key("external", "texts", "[]", "Names of external volumes, secrets and configs of other stacks."),
    key("capabilities", "texts", "[]", "Capabilities beyond Docker's default set, without `CAP_`."),
    key("sysctls", "texts", "[]", "Kernel settings, by name."),
    key(
        "registries",
        "texts",
        "[]",
        "Registries from which images may come (`docker.io` for Docker Hub). Empty allows any.",
    ),
    key("networks", "texts", "[]", "External networks beside `proxy`, by name."),
    key("hosts", "texts", "[]", "Host names beside the app's own that may be routed."),
    key("global_mode", "true or false", "false", "`deploy.mode: global`."),
    key("extra_hosts", "true or false", "false", "`extra_hosts`."),
    key("dns", "true or false", "false", "`dns` and `dns_search`."),
    key("duration_variables", "true or false", "false", "A `${VARIABLE}` in a duration, which abra refuses."),
    key("max_services", "number", "32", "Most services of a stack."),
    key("max_replicas", "number", "3", "Most replicas of a service."),
    key("max_cpus", "cores", "8.0", "Largest CPU limit or reservation of a service."),
    key("max_memory", "bytes", "8589934592", "Largest memory limit or reservation of a service."),
    key("max_pids", "number", "4096", "Largest number of processes of a service."),
    key("max_nofile", "number", "1048576", "Largest hard `nofile` ulimit. Other ulimits have ceilings of their own."),
    key("max_stop_grace", "seconds", "300.0", "A longer `stop_grace_period` is cut to this."),
    key("min_health_interval", "seconds", "1.0", "A shorter healthcheck interval is raised to this."),
    key("min_restart_delay", "seconds", "1.0", "A shorter restart delay is raised to this."),
];

/// Codes of findings that are no rules of the policy: code, severity, meaning.
const CODES: &[(&str, Severity, &str)] = &[
    ("C001", Severity::Error, "A compose file is not YAML that Docker reads."),
    ("C002", Severity::Error, "A key has a value of the wrong type."),
    (
        "C003",
        Severity::Error,
        "A value cannot be used: a bad number, duration, port, mount or name, or an entry that is there twice.",
    ),
    ("C004", Severity::Error, "`version` is not one that Swarm reads, or differs between the compose files."),
    ("C005", Severity::Error, "A file that is named is not in the recipe, or is no text."),
    ("C006", Severity::Error, "A service uses a network, volume, secret or config that is not declared."),
    ("C007", Severity::Error, "An image is missing or is no image reference."),
    ("C008", Severity::Error, "A `${…}` cannot be read, or a variable that must be set is not."),
    ("C009", Severity::Warning, "A variable is not set and becomes empty."),
    ("C010", Severity::Error, "A duration is a variable; abra checks durations before it replaces variables."),
    ("C011", Severity::Note, "Swarm ignores the key."),
    ("C012", Severity::Warning, "There is no service `app`, where abra looks for version and commands."),
    ("C013", Severity::Warning, "A `${…}` in a key stays as it is: variables are replaced in values only."),
    ("C014", Severity::Warning, "The timeout label is no number of seconds and is ignored."),
    ("C015", Severity::Note, "A bare word that YAML takes for true or false, which older releases of Docker refuse."),
    ("C016", Severity::Error, "There are no services."),
    ("C017", Severity::Error, "The name of a service is longer than Swarm takes, with the stack's name in front."),
    ("C018", Severity::Error, "The content of a config or secret is empty or larger than Swarm takes."),
    ("C019", Severity::Error, "The name of a config has no version at its end."),
    ("C020", Severity::Error, "`COMPOSE_FILE` names more files than are read."),
    ("E001", Severity::Error, "A line of `.env.sample` cannot be read."),
    ("E002", Severity::Warning, "`export` in an env file."),
    ("E003", Severity::Error, "`.env.sample` is missing or cannot be read."),
    ("E004", Severity::Error, "`abra.sh` cannot be read."),
    ("E010", Severity::Warning, "`abra.sh` exports something that is no variable name."),
    ("E011", Severity::Warning, "A value in `abra.sh` contains `=`, which abra refuses."),
    ("E012", Severity::Warning, "A value in `abra.sh` uses the shell, but abra reads the line as text."),
    ("E013", Severity::Warning, "`abra.sh` exports a variable that belongs to the app; it is ignored."),
    ("S001", Severity::Error, "A secret has no version: its `SECRET_…_VERSION` is missing or empty."),
    ("S002", Severity::Error, "The name of a secret or config is longer than Swarm takes."),
    ("S003", Severity::Error, "The name of a secret or config has characters that Swarm refuses."),
    ("S004", Severity::Warning, "`charset=` of a secret is not known; the default characters are used."),
    ("S005", Severity::Warning, "`length=` of a secret is no length; a passphrase is made instead."),
];

/// A policy file that shows each kind of key.
const EXAMPLE: &str = "\
# What this host allows the recipe `mail` beyond the default.
ports = [25, 465, 587, 993]
capabilities = [\"NET_ADMIN\"]
binds = [\"/etc/localtime\"]
registries = [\"docker.io\", \"git.coopcloud.tech\"]
max_memory = 17179869184
max_stop_grace = 600
";

/// The reference as Markdown.
#[must_use]
pub fn reference_markdown() -> String {
    let mut page = String::from(
        "# Policy and findings\n\n\
         Before anything is deployed, cc-ci reads the recipe, merges its compose files, and judges the result by default deny.\n\
         `cc-ci policy RECIPE` prints what it found, with file and line; `cc-ci test` does the same first. A code is never used for\n\
         something else later.\n\n\
         This page is printed by `cc-ci dev reference-policy`, from the code that judges.\n\n\
         ## The policy file\n\n\
         An operator can allow a recipe more: `--policy FILE`, or `CC_CI_POLICY`. The file is TOML and speaks of one recipe, so keep one\n\
         file a recipe. Every key is optional; a key that is not listed here is an error.\n\n",
    );
    page.push_str(&format!("```toml\n{EXAMPLE}```\n\n| Key | Type | Default | Allows |\n|---|---|---|---|\n"));
    for Key { name, kind, default, about } in KEYS {
        page.push_str(&format!("| `{name}` | {kind} | `{default}` | {about} |\n"));
    }
    page.push_str(
        "\n## Rules of the policy\n\n\
         A finding of these codes refuses the recipe, unless the text says that a value was replaced or left out: then it is a warning.\n\n\
         | Code | Why | What to do |\n|---|---|---|\n",
    );
    for rule in Rule::ALL {
        page.push_str(&format!("| `{}` | {} | {} |\n", rule.code(), cell(rule.danger()), cell(rule.allowance())));
    }
    page.push_str(
        "\n## Other findings\n\n\
         `C…` compose files, `E…` env files and `abra.sh`, `S…` secrets. Only an error stops the recipe. The finding itself says what to try.\n\n\
         | Code | Severity | Meaning |\n|---|---|---|\n",
    );
    for (code, severity, about) in CODES {
        page.push_str(&format!("| `{code}` | {severity} | {} |\n", cell(about)));
    }
    page
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::super::Policy;
    use super::*;

    #[test]
    fn the_committed_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference-policy.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == reference_markdown(),
            "docs/reference-policy.md differs from the code. If that is meant:\n  \
             cargo run -p cc-ci -- dev reference-policy > docs/reference-policy.md"
        );
    }

    #[test]
    fn the_keys_and_defaults_are_those_of_the_type() {
        let serde_json::Value::Object(policy) = serde_json::to_value(Policy::default()).unwrap() else {
            panic!("a map")
        };
        let listed: BTreeSet<(String, String)> =
            KEYS.iter().map(|key| (key.name.to_owned(), key.default.to_owned())).collect();
        let real: BTreeSet<(String, String)> =
            policy.iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
        assert_eq!(listed, real);
    }

    #[test]
    fn every_code_of_the_source_is_listed_and_no_other() {
        let mut used = BTreeSet::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let code = regex::Regex::new(r#""([CES][0-9]{3})""#).unwrap();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("policy/reference.rs") {
                    let text = std::fs::read_to_string(path).unwrap();
                    used.extend(code.captures_iter(&text).map(|found| found[1].to_owned()));
                }
            }
        }
        let listed: Vec<&str> = CODES.iter().map(|(code, ..)| *code).collect();
        assert_eq!(listed, used.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
