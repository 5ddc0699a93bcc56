//! `docker stack deploy` of one rendered compose file, and what its refusals mean.
//!
//! Never deploys anything but the file it is given, and never with variables of ours. The rule to know: exit code 0 says only
//! that the wish was noted, and a refusal may leave a network behind.

use std::path::Path;
use std::time::Duration;

use super::{CliError, Engine};
use crate::domain::StackName;

/// How long the program may take to note the wish; it does not wait for the services.
const DEPLOY_LIMIT: Duration = Duration::from_secs(120);

/// Why a stack was not deployed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeployError {
    /// The engine or the program refused the file.
    #[error("the stack was refused: {message}")]
    Refused {
        /// What is wrong with it, as far as it is known.
        cause: Refusal,
        /// The program's own words.
        message: String,
    },
    /// The engine is away.
    #[error("the Docker engine does not answer: {message}")]
    EngineGone {
        /// The program's own words.
        message: String,
    },
    /// The program could not be run.
    #[error(transparent)]
    Cli(#[from] CliError),
}

/// What is wrong with a refused stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// An external secret does not exist.
    SecretMissing {
        /// The secret.
        name: String,
    },
    /// An external config does not exist.
    ConfigMissing {
        /// The config.
        name: String,
    },
    /// A config or secret has other content than the existing one of the same name.
    Immutable {
        /// `config` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An external network does not exist, or is not of the swarm.
    Network {
        /// The network.
        name: String,
    },
    /// A network of the stack is still being removed.
    NetworkVanished,
    /// A file that the compose file names does not exist.
    FileMissing {
        /// The file.
        path: String,
    },
    /// The compose file is not valid.
    InvalidCompose,
    /// A service's ports do not go with its endpoint mode.
    Ports,
    /// No address range is free for a new network.
    AddressPoolExhausted,
    /// Two clients changed a service at once.
    OutOfSequence,
    /// Anything else.
    Other,
}

impl Engine {
    /// Deploys the compose file as `stack`: creates what is missing and updates what differs, as `docker stack deploy` does.
    /// Services that are no longer in the file stay. Registry logins are handed to the nodes.
    ///
    /// # Errors
    /// If the stack is refused. What it had created until then stays; [`remove_stack`](Engine::remove_stack) finds it.
    pub async fn deploy(&self, stack: &StackName, compose_file: &Path) -> Result<(), DeployError> {
        let mut args: Vec<&std::ffi::OsStr> =
            ["stack", "deploy", "--resolve-image", "always"].map(AsRef::as_ref).to_vec();
        if self.docker_config().is_some() {
            args.push("--with-registry-auth".as_ref());
        }
        args.extend(["--compose-file".as_ref(), compose_file.as_os_str(), stack.as_str().as_ref()]);
        let output = self.docker_cli(args, DEPLOY_LIMIT).await?;
        if output.code == Some(0) { Ok(()) } else { Err(classify(&output.stderr)) }
    }
}

/// Words of an engine that is not there, or whose swarm is not ready after a start.
const AWAY: [&str; 7] = [
    "cannot connect to the docker daemon",
    "error during connect",
    "does not have a leader",
    "this node is not a swarm manager",
    "code = unavailable",
    "code = deadlineexceeded",
    "context deadline exceeded",
];

fn classify(stderr: &str) -> DeployError {
    let message = last_words(stderr);
    let lower = message.to_ascii_lowercase();
    if AWAY.iter().any(|words| lower.contains(words)) {
        return DeployError::EngineGone { message };
    }
    DeployError::Refused { cause: refusal(&message, &lower), message }
}

fn refusal(message: &str, lower: &str) -> Refusal {
    let after = |marker: &str| {
        let at = lower.find(marker)? + marker.len();
        let word = message.get(at..)?.trim_start().trim_start_matches('"');
        let end = word.find(|c: char| c.is_whitespace() || c == '"' || c == ':').unwrap_or(word.len());
        Some(word[..end].to_owned()).filter(|name| !name.is_empty())
    };
    let has = |words: &str| lower.contains(words);
    if has("only updates to labels are allowed") {
        let kind = if has("failed to update secret") { "secret" } else { "config" };
        return Refusal::Immutable { kind, name: after(&format!("failed to update {kind} ")).unwrap_or_default() };
    }
    if let Some(name) = after("secret not found:") {
        return Refusal::SecretMissing { name };
    }
    if let Some(name) = after("config not found:") {
        return Refusal::ConfigMissing { name };
    }
    if has("declared as external") || has("not in the right scope") {
        return Refusal::Network { name: after("network \"").unwrap_or_default() };
    }
    if has("could not find an available") || has("non-overlapping ipv4 address pool") {
        return Refusal::AddressPoolExhausted;
    }
    if has("out of sequence") {
        return Refusal::OutOfSequence;
    }
    if has("failed to create service") && has("network") && has("not found") {
        return Refusal::NetworkVanished;
    }
    if has("no such file or directory") {
        return Refusal::FileMissing { path: after("open ").or_else(|| after("stat ")).unwrap_or_default() };
    }
    if has("can't be used with dnsrr") || has("port '") && has("already in use") {
        return Refusal::Ports;
    }
    let invalid = [
        "additional property",
        "invalid image reference",
        "invalid interpolation",
        "unsupported compose file version",
        "undefined network",
        "undefined secret",
        "undefined config",
        "undefined volume",
        "refers to undefined",
        "yaml:",
        "must be a",
        "invalid reference format",
        "forbidden properties",
        "unsupported volume",
        "invalid spec",
        "is invalid",
        "services must be",
        "no image specified",
        "duplicate",
    ];
    if invalid.iter().any(|words| has(words)) { Refusal::InvalidCompose } else { Refusal::Other }
}

/// The error at the end of what the program printed; what it created before that is not part of it.
fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.last() {
        Some(last) => last.strip_prefix("Error response from daemon: ").unwrap_or(last).to_owned(),
        None => "the program `docker stack deploy` failed without a word".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_from_the_words() {
        let name = |name: &str| name.to_owned();
        for (stderr, want) in [
            (
                "Creating network a_default\nservice app: secret not found: feas_nosuch\n",
                Refusal::SecretMissing { name: name("feas_nosuch") },
            ),
            ("service app: config not found: a_conf_v1", Refusal::ConfigMissing { name: name("a_conf_v1") }),
            (
                "network \"nosuch\" is declared as external, but could not be found. You need to create a swarm-scoped network before the stack is deployed",
                Refusal::Network { name: name("nosuch") },
            ),
            (
                "network \"brnet\" is declared as external, but it is not in the right scope: \"local\" instead of \"swarm\"",
                Refusal::Network { name: name("brnet") },
            ),
            ("open /tmp/nope.txt: no such file or directory", Refusal::FileMissing { path: name("/tmp/nope.txt") }),
            (
                "failed to update config s_conf_v1: Error response from daemon: rpc error: code = InvalidArgument desc = only updates to Labels are allowed",
                Refusal::Immutable { kind: "config", name: name("s_conf_v1") },
            ),
            (
                "failed to update secret s_x: Error response from daemon: rpc error: code = InvalidArgument desc = only updates to Labels are allowed",
                Refusal::Immutable { kind: "secret", name: name("s_x") },
            ),
            ("services.app Additional property foo is not allowed", Refusal::InvalidCompose),
            ("invalid image reference for service app: no image specified", Refusal::InvalidCompose),
            ("yaml: line 3: mapping values are not allowed in this context", Refusal::InvalidCompose),
            (
                "failed to create service x_app: Error response from daemon: rpc error: code = InvalidArgument desc = EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
                Refusal::Ports,
            ),
            (
                "failed to create service X: Error response from daemon: network feas_fl_internal not found",
                Refusal::NetworkVanished,
            ),
            (
                "failed to create network x: Error response from daemon: could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
                Refusal::AddressPoolExhausted,
            ),
            (
                "failed to update service x_app: Error response from daemon: rpc error: code = Unknown desc = update out of sequence",
                Refusal::OutOfSequence,
            ),
            ("something new", Refusal::Other),
        ] {
            match classify(stderr) {
                DeployError::Refused { cause, .. } => assert_eq!(cause, want, "{stderr}"),
                other => panic!("{other:?}"),
            }
        }
        let gone = classify("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?");
        assert!(matches!(gone, DeployError::EngineGone { .. }), "{gone:?}");
        for words in [
            "Error response from daemon: rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few managers are online.",
            "This node is not a swarm manager. Use \"docker swarm init\" to connect this node to swarm and try again.",
            "Error response from daemon: rpc error: code = Unavailable desc = connection error",
            "context deadline exceeded",
        ] {
            assert!(matches!(classify(words), DeployError::EngineGone { .. }), "{words}");
        }
        assert!(classify("").to_string().contains("without a word"));
    }
}
