//! The rules of the policy: for each a stable code, why it is there, and how an operator allows it.

use crate::finding::{Finding, Place, Severity};

/// What a recipe may not do, or may only do in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the text of each rule is in `Rule::text`")]
pub enum Rule {
    BindMount,
    EngineSocket,
    Privileged,
    Devices,
    NetworkMode,
    PidMode,
    IpcMode,
    SecurityOpt,
    UserNamespace,
    CgroupParent,
    Build,
    Extends,
    VolumesFrom,
    Capability,
    Sysctl,
    Ulimit,
    DriverOpts,
    VolumeDriver,
    ExternalVolume,
    VolumeName,
    FileOutside,
    FileLink,
    ForeignObject,
    ForeignName,
    EnvFile,
    EmptyHost,
    ForeignNetwork,
    ReservedNetwork,
    NetworkDriver,
    Ipam,
    Attachable,
    NetworkDriverOpts,
    PublishedPort,
    ForeignHost,
    ForeignBackend,
    Replicas,
    GlobalMode,
    RestartDelay,
    Resources,
    StopGrace,
    LogDriver,
    Registry,
    ExtraHosts,
    Dns,
    CredentialSpec,
    Isolation,
    GoTemplate,
    HealthInterval,
    UnknownKey,
    OverlayImage,
    ReservedLabel,
    BackupPath,
    MountType,
    OomScore,
    ObjectDriver,
    StaticAddress,
    HostVariable,
}

/// Code, why it matters, and what to do.
struct Text(&'static str, &'static str, &'static str);

const NEVER: &str = "this cannot be allowed";
const IGNORED: &str = "Swarm ignores it, another engine would honour it: remove it, or list the key under `ignored_keys` of this recipe's policy, which leaves it out";

impl Rule {
    /// Every rule, in the order of their codes.
    pub const ALL: [Rule; 57] = {
        use Rule::*;
        [
            BindMount,
            EngineSocket,
            Privileged,
            Devices,
            NetworkMode,
            PidMode,
            IpcMode,
            SecurityOpt,
            UserNamespace,
            CgroupParent,
            Build,
            Extends,
            VolumesFrom,
            Capability,
            Sysctl,
            Ulimit,
            DriverOpts,
            VolumeDriver,
            ExternalVolume,
            VolumeName,
            FileOutside,
            FileLink,
            ForeignObject,
            ForeignName,
            EnvFile,
            EmptyHost,
            ForeignNetwork,
            ReservedNetwork,
            NetworkDriver,
            Ipam,
            Attachable,
            NetworkDriverOpts,
            PublishedPort,
            ForeignHost,
            ForeignBackend,
            Replicas,
            GlobalMode,
            RestartDelay,
            Resources,
            StopGrace,
            LogDriver,
            Registry,
            ExtraHosts,
            Dns,
            CredentialSpec,
            Isolation,
            GoTemplate,
            HealthInterval,
            UnknownKey,
            OverlayImage,
            ReservedLabel,
            BackupPath,
            MountType,
            OomScore,
            ObjectDriver,
            StaticAddress,
            HostVariable,
        ]
    };

    /// The stable code, for example `P001`.
    pub fn code(self) -> &'static str {
        self.text().0
    }

    /// Why the rule is there.
    pub fn danger(self) -> &'static str {
        self.text().1
    }

    /// How an operator allows it, or that nobody can.
    pub fn allowance(self) -> &'static str {
        self.text().2
    }

    pub(crate) fn refuse(self, place: &Place, what: &str) -> Finding {
        self.finding(Severity::Error, place, what)
    }

    /// For a value that was replaced by a safe one.
    pub(crate) fn replaced(self, place: &Place, what: &str) -> Finding {
        self.finding(Severity::Warning, place, what)
    }

    fn finding(self, severity: Severity, place: &Place, what: &str) -> Finding {
        Finding::new(self.code(), severity, place, format!("{what}: {}", self.danger()), self.allowance())
    }

    fn text(self) -> Text {
        match self {
            Rule::BindMount => Text(
                "P001",
                "a bind mount reads or writes the host's files",
                "use a named volume, or list the path under `binds` of this recipe's policy",
            ),
            Rule::EngineSocket => Text(
                "P002",
                "who holds the engine's socket is root on the host",
                "set `engine_socket` in this recipe's policy if the host holds nothing else; a folder around the socket cannot be allowed",
            ),
            Rule::Privileged => Text("P003", "a privileged container is root on the host", IGNORED),
            Rule::Devices => Text("P004", "devices reach the host's hardware and disks", IGNORED),
            Rule::NetworkMode => {
                Text("P005", "another network mode shares the host's or another container's network", IGNORED)
            }
            Rule::PidMode => Text("P006", "a shared process space sees the host's processes", IGNORED),
            Rule::IpcMode => Text("P007", "shared memory reaches other processes of the host", IGNORED),
            Rule::SecurityOpt => Text("P008", "security options switch off confinement", IGNORED),
            Rule::UserNamespace => Text("P009", "a user namespace mode can make container root host root", IGNORED),
            Rule::CgroupParent => Text("P010", "another cgroup escapes the limits of the run", IGNORED),
            Rule::Build => Text("P011", "a build runs the recipe's commands on the host", IGNORED),
            Rule::Extends => Text(
                "P012",
                "`extends` takes services from other files, which Swarm refuses",
                "use a compose overlay in COMPOSE_FILE",
            ),
            Rule::VolumesFrom => {
                Text("P013", "`volumes_from` and `volume_driver` are refused by Swarm", "declare a named volume")
            }
            Rule::Capability => Text(
                "P014",
                "a capability beyond Docker's default set weakens the container",
                "list it under `capabilities` of this recipe's policy",
            ),
            Rule::Sysctl => {
                Text("P015", "kernel settings can disturb the host", "list it under `sysctls` of this recipe's policy")
            }
            Rule::Ulimit => Text(
                "P016",
                "a high ulimit lets one container exhaust the host",
                "lower it, or raise the ceiling in this recipe's policy",
            ),
            Rule::DriverOpts => Text("P017", "options of the local driver are a hidden bind or network mount", NEVER),
            Rule::VolumeDriver => Text("P018", "another volume driver runs code on the host", "use the local driver"),
            Rule::ExternalVolume => Text(
                "P019",
                "an external volume holds the data of somebody else",
                "declare the volume in the recipe, or list its name under `external` of this recipe's policy",
            ),
            Rule::VolumeName => Text(
                "P020",
                "a fixed volume name reaches the data of another stack",
                "drop `name`, Swarm puts the stack's name in front",
            ),
            Rule::FileOutside => Text(
                "P021",
                "only files of the recipe itself are handed to a container",
                "commit the file and name it by a relative path",
            ),
            Rule::FileLink => Text("P022", "a symbolic link may point at a file of the host", "commit the file itself"),
            Rule::ForeignObject => Text(
                "P023",
                "an external secret or config of that name belongs to another stack",
                "start its name with ${STACK_NAME}_, or list it under `external` of this recipe's policy",
            ),
            Rule::ForeignName => Text(
                "P024",
                "a name without the stack's in front can overwrite an object of another stack",
                "start its name with ${STACK_NAME}_",
            ),
            Rule::EnvFile => Text(
                "P025",
                "only env files of the recipe itself are read",
                "commit the file and name it by a relative path",
            ),
            Rule::EmptyHost => Text(
                "P026",
                "a route without a host name matches every host or none",
                "is DOMAIN set and used in the rule?",
            ),
            Rule::ForeignNetwork => Text(
                "P027",
                "an external network reaches other stacks",
                "use `proxy` or a network of the stack, or list it under `networks` of this recipe's policy",
            ),
            Rule::ReservedNetwork => Text("P028", "this name means the host's own network", NEVER),
            Rule::NetworkDriver => Text("P029", "only overlay networks stay inside the swarm", "drop `driver`"),
            Rule::Ipam => Text("P030", "a fixed subnet can cut the host off", "drop `ipam`"),
            Rule::Attachable => Text(
                "P031",
                "the network was made not attachable, so that no other container can join it",
                "nothing to do",
            ),
            Rule::NetworkDriverOpts => Text("P032", "driver options change the network outside the stack", NEVER),
            Rule::PublishedPort => Text(
                "P033",
                "a published port is taken from everything else on the node",
                "reach the service through the stack's network, or list the port under `ports` of this recipe's policy",
            ),
            Rule::ForeignHost => Text(
                "P034",
                "the route would take requests that are meant for another app",
                "use ${DOMAIN} or a name below it, or list the host under `hosts` of this recipe's policy",
            ),
            Rule::ForeignBackend => Text(
                "P035",
                "the proxy would be sent to a place outside the stack",
                "point it at a service of the stack",
            ),
            Rule::Replicas => Text(
                "P036",
                "so many tasks exhaust the node",
                "raise `max_replicas` or `max_services` in this recipe's policy",
            ),
            Rule::GlobalMode => Text(
                "P037",
                "a global service runs on every node",
                "use replicas, or set `global_mode` in this recipe's policy",
            ),
            Rule::RestartDelay => {
                Text("P038", "a shorter delay would restart in a busy loop; it was raised", "nothing to do")
            }
            Rule::Resources => Text(
                "P039",
                "the node may not have as much",
                "lower it, or raise `max_cpus`, `max_memory` or `max_pids` in this recipe's policy",
            ),
            Rule::StopGrace => Text(
                "P040",
                "a longer grace period would hold up the removal of the stack; it was cut",
                "raise `max_stop_grace` in this recipe's policy",
            ),
            Rule::LogDriver => Text(
                "P041",
                "another log driver lets the engine dial out from the host and hides the log",
                "use json-file or local",
            ),
            Rule::Registry => Text(
                "P042",
                "images come only from the registries that the operator named",
                "list it under `registries` of this recipe's policy",
            ),
            Rule::ExtraHosts => Text(
                "P043",
                "extra host names can stand in for other services",
                "set `extra_hosts` in this recipe's policy",
            ),
            Rule::Dns => {
                Text("P044", "other name servers can stand in for other services", "set `dns` in this recipe's policy")
            }
            Rule::CredentialSpec => Text("P045", "a credential spec reads credentials of the host", NEVER),
            Rule::Isolation => Text("P046", "the isolation of containers is the operator's to choose", NEVER),
            Rule::GoTemplate => Text(
                "P047",
                "a Go template can read facts about the node",
                "use {{.Service.Name}} or {{.Task.Slot}} only",
            ),
            Rule::HealthInterval => {
                Text("P048", "a shorter interval would keep the node busy; it was raised", "nothing to do")
            }
            Rule::UnknownKey => Text(
                "P049",
                "a key that is not known is not deployed",
                "is it spelled right? Keys of your own start with x-",
            ),
            Rule::OverlayImage => Text(
                "P051",
                "an overlay that chooses the image would test something else than the recipe",
                "change the image in the recipe",
            ),
            Rule::ReservedLabel => Text(
                "P052",
                "labels of the engine and of cc-ci decide what belongs to which stack and run",
                "use a name of your own",
            ),
            Rule::BackupPath => {
                Text("P053", "a backup path must stay inside its volume", "write a relative path without `..`")
            }
            Rule::MountType => {
                Text("P054", "only named volumes and tmpfs are mounted", "use type: volume or type: tmpfs")
            }
            Rule::OomScore => Text("P055", "the kernel would end other processes of the host first", NEVER),
            Rule::ObjectDriver => Text(
                "P056",
                "a driver for secrets or templates runs code that the operator did not choose",
                "use a plain secret, or template_driver: golang",
            ),
            Rule::StaticAddress => {
                Text("P057", "a fixed address or driver option can clash with other stacks", "use the service's name")
            }
            Rule::HostVariable => {
                Text("P058", "the value would come from the host's own environment; it was left out", "give it a value")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_unique() {
        let codes: Vec<String> = Rule::ALL.iter().map(|rule| rule.code().to_owned()).collect();
        // A code that was given up (P050) is not given again.
        assert!(codes.is_sorted_by(|a, b| a < b), "{codes:?}");
        assert!(codes.iter().all(|code| code.len() == 4 && code.starts_with('P')), "{codes:?}");
    }
}
