//! A stack that is nobody's business: it must be the same before and after whatever cc-ci does.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::run;

/// A service with a volume, network, secret and config. Some carry the label of a run, which must not be enough.
pub struct Sentinel {
    name: String,
    /// The run whose label the volume, the secret and the network of the sentinel carry.
    pub claimed_by: String,
    before: String,
}

impl Sentinel {
    /// Deploys it and waits until it runs.
    pub fn deploy() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("sentinel-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let claimed_by = "rsentinel000".to_owned();
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("text"), "a sentinel's text\n").expect("written");
        let labels = format!("labels: {{cc-ci.run: {claimed_by}}}");
        let compose = format!(
            "version: '3.8'\nservices:\n  app:\n    image: localhost:5055/fixture:1\n    networks: [inner]\n    volumes: ['data:/data']\n    \
             secrets: [key]\n    configs: [page]\n    deploy: {{endpoint_mode: dnsrr}}\nnetworks:\n  inner: {{driver: overlay, {labels}}}\n\
             volumes:\n  data: {{{labels}}}\nsecrets:\n  key: {{file: ./text, {labels}}}\nconfigs:\n  page: {{file: ./text, {labels}}}\n"
        );
        let file = folder.path().join("compose.yml");
        std::fs::write(&file, compose).expect("written");
        docker(&["stack", "deploy", "--compose-file", file.to_str().expect("UTF-8"), &name]);
        let filter = format!("label=com.docker.stack.namespace={name}");
        super::wait_until("the sentinel runs", || {
            !docker(&["ps", "-q", "--filter", &filter, "--filter", "health=healthy"]).is_empty()
                || docker(&["ps", "--filter", &filter, "--format", "{{.Status}}"]).starts_with("Up")
        });
        let mut sentinel = Self { name, claimed_by, before: String::new() };
        sentinel.before = sentinel.look();
        sentinel
    }

    /// Fails if anything of it is not as it was: ids, versions, labels, the container and when it was started.
    pub fn unchanged(&self) {
        assert_eq!(self.look(), self.before);
    }

    fn look(&self) -> String {
        let own = |part: &str| format!("{}_{part}", self.name);
        let container =
            docker(&["ps", "-q", "--no-trunc", "--filter", &format!("label=com.docker.stack.namespace={}", self.name)]);
        let swarm = "{{.ID}} {{.Version.Index}} {{.Spec.Name}} {{json .Spec.Labels}}";
        [
            docker(&["service", "inspect", "--format", swarm, &own("app")]),
            docker(&["secret", "inspect", "--format", swarm, &own("key")]),
            docker(&["config", "inspect", "--format", swarm, &own("page")]),
            docker(&[
                "network",
                "inspect",
                "--format",
                "{{.ID}} {{.Name}} {{.Created}} {{json .Labels}}",
                &own("inner"),
            ]),
            docker(&["volume", "inspect", "--format", "{{.Name}} {{.Mountpoint}} {{json .Labels}}", &own("data")]),
            docker(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}", &container]),
        ]
        .join("\n")
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // In a failed test as well, where a second panic would only hide the first.
        let quiet = |args: &[&str]| run(super::docker_cli().args(args)).exit == 0;
        quiet(&["stack", "rm", &self.name]);
        for (kind, part) in [("volume", "data"), ("network", "inner")] {
            let name = format!("{}_{part}", self.name);
            let gone = || {
                !quiet(&[kind, "inspect", &name]) || {
                    quiet(&[kind, "rm", &name]);
                    !quiet(&[kind, "inspect", &name])
                }
            };
            if !super::came(gone) && !std::thread::panicking() {
                panic!("{kind} {name} of the sentinel cannot be removed");
            }
        }
    }
}

fn docker(args: &[&str]) -> String {
    let said = run(super::docker_cli().args(args));
    assert_eq!(said.exit, 0, "docker {args:?}: {}", said.err);
    said.out.trim().to_owned()
}
