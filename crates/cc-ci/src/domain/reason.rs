//! Why a stage failed or could not be judged: a closed list, each with whose fault it is and what to try.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The commit under test.
    Recipe,
    /// An assertion of the suite, while everything else holds.
    Test,
    /// The version that the upgrade starts from.
    Base,
    /// The host, engine, registry or network.
    Infrastructure,
    /// cc-ci was stopped by a person or a signal.
    Interrupted,
    /// cc-ci itself.
    Bug,
}

impl Fault {
    /// Lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Recipe => "recipe",
            Fault::Test => "test",
            Fault::Base => "base",
            Fault::Infrastructure => "infrastructure",
            Fault::Interrupted => "interrupted",
            Fault::Bug => "cc-ci",
        }
    }

    /// Whether the failure may be held against the commit under test (verdict RED).
    #[must_use]
    pub fn blames_commit(self) -> bool {
        match self {
            Fault::Recipe | Fault::Test => true,
            Fault::Base | Fault::Infrastructure | Fault::Interrupted | Fault::Bug => false,
        }
    }
}

macro_rules! reason_codes {
    ($( $variant:ident $code:literal $fault:ident $summary:literal $remedy:literal; )*) => {
        /// The closed list of reasons. The code is stable; it is what machines compare.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ReasonCode {
            $( #[doc = $summary] #[serde(rename = $code)] $variant, )*
        }

        impl ReasonCode {
            /// Every code, for documentation and tests.
            pub const ALL: &'static [ReasonCode] = &[ $( ReasonCode::$variant, )* ];

            /// The stable code, such as `image-missing`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $( ReasonCode::$variant => $code, )* }
            }

            /// Whose fault it is.
            #[must_use]
            pub fn fault(self) -> Fault {
                match self { $( ReasonCode::$variant => Fault::$fault, )* }
            }

            /// What it means, in a sentence without its full stop.
            #[must_use]
            pub fn summary(self) -> &'static str {
                match self { $( ReasonCode::$variant => $summary, )* }
            }

            /// What to try.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $( ReasonCode::$variant => $remedy, )* }
            }
        }
    };
}

reason_codes! {
    PolicyRefused "policy-refused" Recipe "the recipe asks for something that could harm the host or other apps"
        "see `cc-ci policy` for each line; an operator can allow some of it for this recipe";
    InvalidRecipe "invalid-recipe" Recipe "the recipe cannot be read"
        "correct the place that the evidence names";
    ImageMissing "image-missing" Recipe "an image does not exist in its registry"
        "check the image name and tag in the compose file";
    SecretMissing "secret-missing" Recipe "a secret the app needs cannot be made"
        "declare `SECRET_<NAME>_VERSION` in .env.sample, or let the suite's profile give the value";
    ConfigConflict "config-conflict" Recipe "a config changed but kept its name; Swarm configs are immutable"
        "raise the matching `*_VERSION` in abra.sh";
    DeployRefused "deploy-refused" Recipe "the engine refused the stack"
        "read the engine's message; `cc-ci policy` prints the file that was deployed";
    CrashLoop "crash-loop" Recipe "a service keeps exiting"
        "read the service's log in the evidence";
    StartFailed "start-failed" Recipe "a container cannot be started"
        "check command, entrypoint, mounts and config templates of the service";
    OutOfMemory "out-of-memory" Recipe "a service was killed at its own memory limit"
        "raise `deploy.resources.limits.memory` of the service";
    NeverHealthy "never-healthy" Recipe "the health check never passes"
        "run the health check's command inside the container; perhaps lengthen start_period";
    NotConverged "not-converged" Recipe "the services did not converge in time"
        "raise TIMEOUT in .env.sample if the app only needs longer";
    Unstable "unstable" Recipe "the app converged and then fell over"
        "read the service's log in the evidence";
    UpdatePaused "update-paused" Recipe "Swarm paused the update: the new tasks failed"
        "read the new task's log; consider `update_config.monitor` and `start_period`";
    UpdateRolledBack "update-rolled-back" Recipe "Swarm rolled the update back: the new tasks failed"
        "read the new task's log in the evidence";
    NoRoute "no-route" Recipe "no service declares a Traefik route"
        "add `traefik.enable=true`, a router rule and `loadbalancer.server.port` under `deploy.labels`";
    HttpUnreachable "http-unreachable" Recipe "nothing answers at the port that the Traefik labels declare"
        "compare `loadbalancer.server.port` with the port the app listens on";
    HttpStatus "http-status" Recipe "the app answers with an unexpected status"
        "open the response in the stage log; a profile may name another path or status";
    WrongVersion "wrong-version" Recipe "what runs after the upgrade is not the commit under test"
        "compare image digests and the version label in the evidence";
    VolumesChanged "volumes-changed" Recipe "the upgrade moved to other volumes"
        "keep the volume names; migrate data inside the app";
    DataLostUpgrade "data-lost-upgrade" Recipe "what was stored before the upgrade is gone after it"
        "check volume names, mount targets and the new version's start-up";
    NoBackupLabels "no-backup-labels" Recipe "the recipe keeps data but has no backup labels"
        "add `backupbot.backup=true` under `deploy.labels`";
    BackupHookFailed "backup-hook-failed" Recipe "a backup or restore hook failed"
        "read the hook's output in the stage log";
    BackupEmpty "backup-empty" Recipe "the backup does not hold what the labels ask for"
        "check `backupbot.backup.volumes.<volume>.path` and what the pre-hook writes";
    RestoreEmpty "restore-empty" Recipe "after the restore the data is not back"
        "check that what the pre-hook saves is what the restore hook loads";
    RestoreStale "restore-stale" Recipe "after the restore there is data that was never backed up"
        "the restore hook must replace the data, not merge into it";
    SecretLeaked "secret-leaked" Recipe "a secret appears in a log or file of the run"
        "stop the app from printing it; the file was withheld";
    SeedFailed "seed-failed" Test "the suite could not put its data in"
        "read the test's message; the suite may expect another version";
    TestFailed "test-failed" Test "a test of the suite does not hold"
        "read the test's message; the app or the expectation is wrong";
    NotReady "not-ready" Test "the suite's ready check never held"
        "read the last answer in the stage log";
    SuiteInvalid "suite-invalid" Test "the suite cannot be used"
        "correct the file that the evidence names";
    BaseBroken "base-broken" Base "the version to upgrade from does not deploy"
        "name another with `--base` or in the profile, or declare `base = \"none\"` with a reason";
    NoNodeFits "no-node-fits" Infrastructure "no node satisfies the placement or has the resources"
        "add a node with that label or those resources, or lower the reservation";
    AddressesExhausted "addresses-exhausted" Infrastructure "the network has no free address; tasks stay `New`"
        "enlarge the swarm's address pool, or remove unused stacks; `cc-ci doctor` shows both";
    RegistryUnreachable "registry-unreachable" Infrastructure "the image registry does not answer"
        "check network, DNS and rate limits of the registry, then run again";
    EngineRestarted "engine-restarted" Infrastructure "the Docker engine stopped or restarted during the run"
        "look into the engine's journal, then run again";
    EngineError "engine-error" Infrastructure "the Docker engine gave an error"
        "look into the engine's journal, then run again";
    DiskFull "disk-full" Infrastructure "no space is left on the host"
        "free space, then run again";
    HostOverloaded "host-overloaded" Infrastructure "the host was so loaded that time-outs mean nothing"
        "run again when the host is quiet; see the pressure figures";
    BackupToolFailed "backup-tool-failed" Infrastructure "the backup tool failed"
        "read restic's message in the stage log";
    TeardownFailed "teardown-failed" Infrastructure "something of the run could not be removed"
        "run `cc-ci reap`";
    TimedOut "timed-out" Infrastructure "the run's own time limit was reached"
        "raise --timeout, or look for the stage that took so long";
    Interrupted "interrupted" Interrupted "the run was stopped"
        "run it again";
    Bug "bug" Bug "cc-ci made a mistake"
        "report it with the run's folder";
}

impl std::fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong, whose fault it is, and the lines that show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// Stable code.
    pub code: ReasonCode,
    /// Whose fault; follows from the code, written out for readers of results.json.
    pub fault: Fault,
    /// The service it is about, by its compose name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// One sentence with the particulars.
    pub message: String,
    /// What to try.
    pub remedy: String,
    /// The lines that show it: task states, engine messages, log excerpts; masked.
    #[serde(default)]
    pub evidence: Vec<String>,
}

impl Reason {
    /// A reason with its particulars; fault and remedy follow from the code.
    #[must_use]
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self {
            code,
            fault: code.fault(),
            service: None,
            message: message.into(),
            remedy: code.remedy().to_owned(),
            evidence: Vec::new(),
        }
    }

    /// Names the service.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// Adds evidence lines.
    #[must_use]
    pub fn evidence<I, S>(mut self, lines: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.evidence.extend(lines.into_iter().map(Into::into));
        self
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.service {
            Some(service) => write!(f, "{} ({service}): {}", self.code, self.message),
            None => write!(f, "{}: {}", self.code, self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_serialise_as_they_print() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ReasonCode::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert_eq!(serde_json::to_value(code).ok(), Some(serde_json::Value::from(code.as_str())));
            assert!(!code.summary().ends_with('.') && !code.remedy().is_empty());
        }
    }
}
