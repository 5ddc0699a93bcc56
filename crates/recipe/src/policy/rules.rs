//! The rules of the policy: for each a stable code, why it is there, and how an operator allows it.

use crate::finding::{Finding, Place, Severity};

const NEVER: &str = "this cannot be allowed";
const IGNORED: &str = "Swarm ignores it, another engine would honour it: remove it, or list the key under `ignored_keys` of this recipe's policy, which leaves it out";

macro_rules! rules {
    ($( $variant:ident $code:literal $danger:literal $allowance:expr; )*) => {
        /// What a recipe may not do, or may only do in part.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $( #[doc = $danger] $variant, )*
        }

        impl Rule {
            /// Every rule, in the order of their codes.
            pub const ALL: &'static [Rule] = &[ $( Rule::$variant, )* ];

            /// The stable code, for example `P001`.
            pub fn code(self) -> &'static str {
                match self { $( Rule::$variant => $code, )* }
            }

            /// Why the rule is there.
            pub fn danger(self) -> &'static str {
                match self { $( Rule::$variant => $danger, )* }
            }

            /// How an operator allows it, or that nobody can.
            pub fn allowance(self) -> &'static str {
                match self { $( Rule::$variant => $allowance, )* }
            }
        }
    };
}

rules! {
    BindMount "P001" "a bind mount reads or writes the host's files"
        "use a named volume, or list the path under `binds` of this recipe's policy";
    EngineSocket "P002" "who holds the engine's socket is root on the host"
        "set `engine_socket` in this recipe's policy if the host holds nothing else; a folder around the socket cannot be allowed";
    Privileged "P003" "a privileged container is root on the host"
        IGNORED;
    Devices "P004" "devices reach the host's hardware and disks"
        IGNORED;
    NetworkMode "P005" "another network mode shares the host's or another container's network"
        IGNORED;
    PidMode "P006" "a shared process space sees the host's processes"
        IGNORED;
    IpcMode "P007" "shared memory reaches other processes of the host"
        IGNORED;
    SecurityOpt "P008" "security options switch off confinement"
        IGNORED;
    UserNamespace "P009" "a user namespace mode can make container root host root"
        IGNORED;
    CgroupParent "P010" "another cgroup escapes the limits of the run"
        IGNORED;
    Build "P011" "a build runs the recipe's commands on the host"
        IGNORED;
    Extends "P012" "`extends` takes services from other files, which Swarm refuses"
        "use a compose overlay in COMPOSE_FILE";
    VolumesFrom "P013" "`volumes_from` and `volume_driver` are refused by Swarm"
        "declare a named volume";
    Capability "P014" "a capability beyond Docker's default set weakens the container"
        "list it under `capabilities` of this recipe's policy";
    Sysctl "P015" "kernel settings can disturb the host"
        "list it under `sysctls` of this recipe's policy";
    Ulimit "P016" "a high ulimit lets one container exhaust the host"
        "lower it, or raise the ceiling in this recipe's policy";
    DriverOpts "P017" "options of the local driver are a hidden bind or network mount"
        NEVER;
    VolumeDriver "P018" "another volume driver runs code on the host"
        "use the local driver";
    ExternalVolume "P019" "an external volume holds the data of somebody else"
        "declare the volume in the recipe, or list its name under `external` of this recipe's policy";
    VolumeName "P020" "a fixed volume name reaches the data of another stack"
        "drop `name`, Swarm puts the stack's name in front";
    FileOutside "P021" "only files of the recipe itself are handed to a container"
        "commit the file and name it by a relative path";
    FileLink "P022" "a symbolic link may point at a file of the host"
        "commit the file itself";
    ForeignObject "P023" "an external secret or config of that name belongs to another stack"
        "start its name with ${STACK_NAME}_, or list it under `external` of this recipe's policy";
    ForeignName "P024" "a name without the stack's in front can overwrite an object of another stack"
        "start its name with ${STACK_NAME}_";
    EnvFile "P025" "only env files of the recipe itself are read"
        "commit the file and name it by a relative path";
    EmptyHost "P026" "a route without a host name matches every host or none"
        "is DOMAIN set and used in the rule?";
    ForeignNetwork "P027" "an external network reaches other stacks"
        "use `proxy` or a network of the stack, or list it under `networks` of this recipe's policy";
    ReservedNetwork "P028" "this name means the host's own network"
        NEVER;
    NetworkDriver "P029" "only overlay networks stay inside the swarm"
        "drop `driver`";
    Ipam "P030" "a fixed subnet can cut the host off"
        "drop `ipam`";
    Attachable "P031" "the network was made not attachable, so that no other container can join it"
        "nothing to do";
    NetworkDriverOpts "P032" "driver options change the network outside the stack"
        NEVER;
    PublishedPort "P033" "a published port is taken from everything else on the node"
        "reach the service through the stack's network, or list the port under `ports` of this recipe's policy";
    ForeignHost "P034" "the route would take requests that are meant for another app"
        "use ${DOMAIN} or a name below it, or list the host under `hosts` of this recipe's policy";
    ForeignBackend "P035" "the proxy would be sent to a place outside the stack"
        "point it at a service of the stack";
    Replicas "P036" "so many tasks exhaust the node"
        "raise `max_replicas` or `max_services` in this recipe's policy";
    GlobalMode "P037" "a global service runs on every node"
        "use replicas, or set `global_mode` in this recipe's policy";
    RestartDelay "P038" "a shorter delay would restart in a busy loop; it was raised"
        "nothing to do";
    Resources "P039" "the node may not have as much"
        "lower it, or raise `max_cpus`, `max_memory` or `max_pids` in this recipe's policy";
    StopGrace "P040" "a longer grace period would hold up the removal of the stack; it was cut"
        "raise `max_stop_grace` in this recipe's policy";
    LogDriver "P041" "another log driver lets the engine dial out from the host and hides the log"
        "use json-file or local";
    Registry "P042" "images come only from the registries that the operator named"
        "list it under `registries` of this recipe's policy";
    ExtraHosts "P043" "extra host names can stand in for other services"
        "set `extra_hosts` in this recipe's policy";
    Dns "P044" "other name servers can stand in for other services"
        "set `dns` in this recipe's policy";
    CredentialSpec "P045" "a credential spec reads credentials of the host"
        NEVER;
    Isolation "P046" "the isolation of containers is the operator's to choose"
        NEVER;
    GoTemplate "P047" "a Go template can read facts about the node"
        "use {{.Service.Name}} or {{.Task.Slot}} only";
    HealthInterval "P048" "a shorter interval would keep the node busy; it was raised"
        "nothing to do";
    UnknownKey "P049" "a key that is not known is not deployed"
        "is it spelled right? Keys of your own start with x-";
    OverlayImage "P051" "an overlay that chooses the image would test something else than the recipe"
        "change the image in the recipe";
    ReservedLabel "P052" "labels of the engine and of cc-ci decide what belongs to which stack and run"
        "use a name of your own";
    BackupPath "P053" "a backup path must stay inside its volume"
        "write a relative path without `..`";
    MountType "P054" "only named volumes and tmpfs are mounted"
        "use type: volume or type: tmpfs";
    OomScore "P055" "the kernel would end other processes of the host first"
        NEVER;
    ObjectDriver "P056" "a driver for secrets or templates runs code that the operator did not choose"
        "use a plain secret, or template_driver: golang";
    StaticAddress "P057" "a fixed address or driver option can clash with other stacks"
        "use the service's name";
    HostVariable "P058" "the value would come from the host's own environment; it was left out"
        "give it a value";
}

impl Rule {
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
