//! The room that touches Docker, against the real engine of this host. Needs a single-node swarm and an image with a busybox shell:
//! `CC_CI_TEST_IMAGE`, or one that is built here from the host's own static busybox.
//!
//! Every test uses a run of its own, removes what it made and looks that nothing is left.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cc_ci::clock::{Clock as _, SystemClock};
use cc_ci::domain::{Lane, RunId, StackName};
use cc_ci::process::Command;
use cc_ci::swarm::{
    Cause, Engine, ExecRequest, Expectation, Expected, Kind, NotConverged, PullError, Removal, Scope, Signal, Snapshot,
};
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_secs(60);
const BUILT_HERE: &str = "hs-busybox:1";

fn image() -> String {
    #[expect(clippy::disallowed_methods, reason = "the one setting of these tests")]
    std::env::var("CC_CI_TEST_IMAGE").unwrap_or_else(|_| BUILT_HERE.to_owned())
}

/// A stack of a run of its own.
struct Bench {
    engine: Engine,
    run: RunId,
    stack: StackName,
    folder: tempfile::TempDir,
    settle: Duration,
}

impl Bench {
    async fn new() -> Self {
        let engine = Engine::connect(None).expect("an engine");
        let facts = engine.require_swarm_manager().await.expect("a manager");
        assert!(facts.local, "these tests look at the host of the engine");
        ensure_image(&engine).await;
        let seconds = u64::try_from(SystemClock.now().as_second()).unwrap_or(0);
        let run = RunId::new(seconds, rand::random());
        let stack = StackName::of(&run, Lane::Fresh, "hswarm");
        let folder = tempfile::tempdir().expect("a folder");
        Self { engine, run, stack, folder, settle: Duration::from_millis(300) }
    }

    fn write(&self, services: &str, rest: &str) -> PathBuf {
        let file = self.folder.path().join("compose.yml");
        let text = format!("version: '3.8'\nservices:\n{services}{rest}");
        std::fs::write(&file, text).expect("written");
        file
    }

    /// Deploys and waits; returns what came of it and the time from before the deploy.
    async fn up(&self, names: &[&str], services: &str, rest: &str) -> (Result<Snapshot, Box<NotConverged>>, Duration) {
        let before = self.engine.snapshot(&self.stack).await.expect("a look");
        let started = SystemClock.monotonic();
        let expected =
            names.iter().map(|name| Expected { name: (*name).into(), image: None, replicas: None }).collect();
        let expectation = Expectation::new(expected, SystemClock.now(), self.settle, LIMIT).after(&before);
        let file = self.write(services, rest);
        self.engine.deploy(&self.stack, &file).await.expect("deployed");
        let cancel = CancellationToken::new();
        let result = self.engine.await_converged(&self.stack, &expectation, None, &cancel, |_| {}).await;
        (result.map(|up| up.snapshot), SystemClock.since(started))
    }

    async fn container(&self, service: &str) -> String {
        let snapshot = self.engine.snapshot(&self.stack).await.expect("a look");
        let service = snapshot.service(service).expect("the service");
        let task = service.tasks.iter().find(|task| task.is_up()).expect("a task that is up");
        task.container_id.clone().expect("a container")
    }

    async fn remove(&self) -> Removal {
        let removal = self.engine.remove_stack(&self.stack, LIMIT).await.expect("removed");
        assert!(removal.is_clean(), "{:?}", removal.leftovers);
        let left = self.engine.inventory(&Scope::Run(self.run.clone())).await.expect("a look");
        assert!(left.is_empty(), "{left:?}");
        removal
    }
}

/// A service whose shell runs `script`.
fn service(name: &str, script: &str, more: &str) -> String {
    format!(
        "  {name}:\n    image: {}\n    stop_grace_period: 500ms\n    entrypoint: ['/bin/sh', '-c', '{script}']\n{more}",
        image()
    )
}

const DNSRR: &str = "    deploy: {endpoint_mode: dnsrr}\n";
const SERVE: &str = "echo hello; exec httpd -f -p 80 -h /";

async fn ensure_image(engine: &Engine) {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = ONE.lock().await;
    if image() != BUILT_HERE || engine.local_image(BUILT_HERE).await.expect("a look").is_some() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy("/bin/busybox", folder.path().join("busybox")).expect("busybox-static is installed");
    let script = "FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nENV PATH=/bin\n\
                  RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";
    std::fs::write(folder.path().join("Dockerfile"), script).expect("written");
    let build = Command::new("/usr/bin/docker").args(["build", "-q", "-t", BUILT_HERE]).arg(folder.path());
    build.inherit("PATH").inherit("HOME").env("DOCKER_BUILDKIT", "0").timeout(LIMIT).run_ok().await.expect("built");
}

async fn docker(args: &[&str]) {
    let docker = Command::new("docker").args(args.iter().map(|arg| (*arg).to_owned()));
    docker.inherit("PATH").inherit("HOME").timeout(LIMIT).run_ok().await.expect("docker does it");
}

fn report(what: &str, took: Duration) {
    println!("measured: {what}: {:.2} s", took.as_secs_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_comes_up_is_used_wiped_and_removed() {
    let bench = Bench::new().await;
    let (engine, stack) = (&bench.engine, &bench.stack);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let watch = engine.watch(&bench.run, move |line| kept.lock().expect("lines").push(line.clone()));

    let secret = format!("{stack}_pw_v1");
    let id = engine.create_secret(stack, &secret, b"sesame", &Default::default()).await.expect("a secret");
    assert_eq!(
        engine.create_secret(stack, &secret, b"other", &Default::default()).await.expect("the same"),
        id,
        "idempotent"
    );

    let config = bench.folder.path().join("conf");
    std::fs::write(&config, "x=1\n").expect("written");
    let more = format!("{DNSRR}    volumes: ['data:/data']\n    secrets: [pw]\n    configs: [conf]\n");
    let services = service("app", SERVE, &more);
    let rest = format!(
        "volumes:\n  data:\nsecrets:\n  pw: {{external: true, name: {secret}}}\n\
         configs:\n  conf: {{file: {}, name: {stack}_conf_v1}}\n",
        config.display()
    );
    let (up, took) = bench.up(&["app"], &services, &rest).await;
    let up = up.expect("converged");
    report("deploy to converged (settle 0.3 s)", took);
    let app = up.service("app").expect("app");
    assert!(app.tasks[0].is_up() && app.tasks[0].current && app.update.is_none());

    // Exec: codes, input, user, environment, time-out, a program that is not there.
    let container = bench.container("app").await;
    let short = Duration::from_secs(20);
    let mut cat = ExecRequest::new(["cat"], short);
    cat.stdin = Some(vec![b'x'; 300_000]);
    let out = engine.exec(&container, &cat).await.expect("exec");
    assert_eq!((out.exit_code, out.stdout.len()), (Some(0), 300_000));
    let mut id = ExecRequest::shell("id -u; echo $A >&2; exit 7", short);
    id.user = Some("1234".into());
    id.env = vec![("A".into(), "b c".into())];
    let out = engine.exec(&container, &id).await.expect("exec");
    assert_eq!((out.exit_code, &*out.stdout, &*out.stderr), (Some(7), &b"1234\n"[..], &b"b c\n"[..]));
    let sleep = ExecRequest::shell("exec sleep 30", Duration::from_millis(300));
    let out = engine.exec(&container, &sleep).await.expect("exec");
    assert!(out.timed_out && out.exit_code.is_none());
    let out = engine.exec(&container, &ExecRequest::new(["/nope"], short)).await.expect("exec");
    assert!(matches!(out.exit_code, Some(126 | 127)), "{out:?}");
    let out = engine.exec(&container, &ExecRequest::shell("cat /run/secrets/pw", short)).await.expect("exec");
    assert_eq!(out.stdout, b"sesame", "{}", out.text());

    // Archive, through the volume.
    engine.put_file(&container, "/data/.witness", b"w1", 0o644).await.expect("put");
    assert_eq!(engine.get_file(&container, "/data/.witness").await.expect("got").content, b"w1");
    let volumes = engine.volumes(stack).await.expect("volumes");
    assert_eq!(volumes.iter().map(|v| v.short.as_str()).collect::<Vec<_>>(), ["data"]);
    let on_host = std::fs::read(Path::new(&volumes[0].mountpoint).join(".witness")).expect("on the host");
    assert_eq!(on_host, b"w1", "the file is in the volume, not under it");
    assert!(engine.get_file(&container, "/data/none").await.is_err());
    assert!(engine.get_file(&container, "/data").await.is_err(), "a folder is no file");

    // Reached from the host, and logged.
    let address = engine.addresses(&container).await.expect("addresses").into_iter().next().expect("one");
    assert!(address.reachable, "{address:?}");
    tokio::net::TcpStream::connect((address.ip, 80)).await.expect("the host reaches the app");
    let logs = engine.logs(stack, 100).await.expect("logs");
    let said = |text: &str| logs.iter().any(|l| l.service == "app" && l.lines.iter().any(|line| line.text == text));
    assert!(said("hello"), "{logs:?}");

    let inventory = engine.inventory(&Scope::Stack(stack.clone())).await.expect("inventory");
    assert_eq!(inventory.iter().map(|o| o.kind).collect::<Vec<_>>(), Kind::ALL, "one of each kind");

    // Wipe, then deploy again at once: same secret, same network, no data.
    let wiped = engine.wipe_stack(stack, LIMIT).await.expect("wiped");
    report("wipe", wiped.took);
    assert!(wiped.is_clean(), "{wiped:?}");
    let (up, took) = bench.up(&["app"], &services, &rest).await;
    up.expect("converged again");
    report("deploy after wipe to converged", took);
    let container = bench.container("app").await;
    assert!(engine.get_file(&container, "/data/.witness").await.is_err(), "the data is gone");

    let removal = bench.remove().await;
    report("remove, proved", removal.took);
    assert_eq!(watch.epoch(), 0);
    let lines = lines.lock().expect("lines");
    assert!(lines.iter().any(|line| line.kind == "container" && line.action == "start"), "{lines:?}");
    assert!(lines.iter().any(|line| line.kind == "service" && line.action == "create"));
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_are_judged_by_what_runs() {
    let bench = Bench::new().await;
    let version = |script: &str, deploy: &str| {
        service("app", script, &format!("    deploy: {{endpoint_mode: dnsrr, {deploy}}}\n"))
    };
    let quick = "update_config: {monitor: 500ms, order: start-first}";
    let (up, _) = bench.up(&["app"], &version(SERVE, quick), "").await;
    let first = up.expect("first").services[0].tasks[0].id.clone();

    // The same again: no update state, no new task, converged all the same.
    let (up, took) = bench.up(&["app"], &version(SERVE, quick), "").await;
    let up = up.expect("a no-op converges");
    report("no-op redeploy to converged", took);
    assert_eq!(up.services[0].tasks[0].id, first, "no new task");

    let (up, took) = bench.up(&["app"], &version(&format!("echo v2; {SERVE}"), quick), "").await;
    let up = up.expect("updated");
    report("start-first update to converged", took);
    let new = |snapshot: &Snapshot| snapshot.services[0].tasks.iter().any(|task| task.is_up() && task.id != first);
    assert!(new(&up), "the new task counts, not the old");

    // A new version that exits, under each failure action.
    for (action, order) in [("pause", "stop-first"), ("rollback", "start-first"), ("continue", "stop-first")] {
        let config = format!(
            "restart_policy: {{delay: 500ms}}, update_config: {{monitor: 500ms, order: {order}, \
             failure_action: {action}}}, rollback_config: {{monitor: 500ms, order: start-first}}"
        );
        let (up, _) = bench.up(&["app"], &version(&format!("echo {action}; {SERVE}"), &config), "").await;
        up.unwrap_or_else(|e| panic!("good one before {action}: {e:?}"));
        let (up, took) = bench.up(&["app"], &version(&format!("echo bad {action}; exit 3"), &config), "").await;
        let failed = up.err().unwrap_or_else(|| panic!("{action} must fail"));
        report(&format!("failed update with {action} noticed"), took);
        match (action, &failed.signal) {
            ("pause", Signal::UpdatePaused { cause: Some(Cause::CrashLoop { code: Some(3), .. }), .. })
            | ("rollback", Signal::UpdateRolledBack { cause: Some(Cause::CrashLoop { code: Some(3), .. }), .. })
            | ("continue", Signal::Tasks { cause: Cause::CrashLoop { code: Some(3), .. }, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    bench.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_end_early_and_by_name() {
    let deploy = |more: &str| format!("    deploy: {{endpoint_mode: dnsrr, {more}}}\n");
    let often = deploy("restart_policy: {delay: 100ms}");
    let sick = format!("{often}    healthcheck: {{test: ['CMD', '/bin/false'], interval: 300ms, retries: 1}}\n");
    let twice = deploy("restart_policy: {delay: 100ms, max_attempts: 1}");
    let small = deploy("restart_policy: {delay: 100ms}, resources: {limits: {memory: 16M}}");
    let cases = [
        ("crash loop", service("app", "exit 3", &often)),
        ("max attempts", service("app", "exit 4", &twice)),
        ("one shot", service("app", "exit 0", &deploy("restart_policy: {condition: on-failure}"))),
        ("bad image", format!("  app:\n    image: {}-none\n{DNSRR}", image())),
        ("bad command", format!("  app:\n    image: {}\n    entrypoint: ['/nope']\n{often}", image())),
        ("no node", service("app", SERVE, &deploy("placement: {constraints: ['node.labels.no == such']}"))),
        ("unhealthy", service("app", SERVE, &sick)),
        ("memory", service("app", "exec tail /dev/zero", &small)),
    ];
    for (name, services) in &cases {
        // A process that exits at once is reported as running for a moment; longer on a busy host.
        let bench = Bench { settle: Duration::from_secs(4), ..Bench::new().await };
        let (up, took) = bench.up(&["app"], services, "").await;
        let failed = up.err().unwrap_or_else(|| panic!("{name} must fail"));
        let Signal::Tasks { cause, .. } = &failed.signal else { panic!("{name}: {failed:?}") };
        let right = match *name {
            "crash loop" => matches!(cause, Cause::CrashLoop { exits: 3, code: Some(3) }),
            "max attempts" => matches!(cause, Cause::ExitedForGood { code: Some(4) }),
            "one shot" => matches!(cause, Cause::ExitedForGood { code: Some(0) }),
            "bad image" => matches!(cause, Cause::ImageRejected { .. }),
            "bad command" => matches!(cause, Cause::StartFailed { .. }),
            "no node" => matches!(cause, Cause::NoNodeFits { .. }),
            "unhealthy" => matches!(cause, Cause::Unhealthy { kills: 2 }),
            "memory" => matches!(cause, Cause::OutOfMemory { .. }),
            _ => false,
        };
        assert!(right, "{name}: {cause:?} {:?}", failed.exits);
        let removal = bench.remove().await;
        report(&format!("fault `{name}` noticed"), took);
        report(&format!("removal after `{name}`"), removal.took);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_may_exit_while_its_database_has_no_name() {
    let bench = Bench::new().await;
    let restart = "    deploy: {endpoint_mode: dnsrr, restart_policy: {delay: 100ms}}\n";
    // Gives up at once when the database has no name, as many apps do.
    let app = service("app", "ping -c 1 -w 1 db || exit 2; exec httpd -f -p 80 -h /", restart);
    let check = "    healthcheck: {test: ['CMD', '/bin/true'], interval: 15s, retries: 1}\n";
    let db = service("db", SERVE, &format!("{restart}{check}"));
    let (up, took) = bench.up(&["app", "db"], &format!("{app}{db}"), "").await;
    let up = up.unwrap_or_else(|failed| panic!("{failed:?}"));
    report("app that waits for a slow database", took);
    let exits = up.service("app").expect("app").tasks.iter().filter(|task| task.exit_code.is_some_and(|c| c != 0));
    assert!(exits.count() >= 3, "more exits than a crash loop needs, all forgiven");
    bench.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_never_touched() {
    let bench = Bench::new().await;
    let engine = &bench.engine;
    // Volumes that carry our labels but not our names.
    let labels = [format!("cc-ci.run={}", bench.run), format!("com.docker.stack.namespace={}", bench.stack)];
    let sentinel = |label: &str| format!("hs-sentinel-{}", label.len());
    for label in &labels {
        docker(&["volume", "create", "--label", label, &sentinel(label)]).await;
    }
    bench.up(&["app"], &service("app", SERVE, DNSRR), "").await.0.expect("up");
    let report = engine.reap(|run| *run != bench.run, LIMIT).await.expect("reaped");
    assert!(report.is_clean() && report.reaped.contains_key(&bench.run), "{report:?}");
    for label in &labels {
        // Fails if it is gone.
        docker(&["volume", "rm", &sentinel(label)]).await;
    }
    assert!(engine.inventory(&Scope::Run(bench.run.clone())).await.expect("a look").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_told() {
    let bench = Bench::new().await;
    let pull = bench.engine.pull("127.0.0.1:9/none:1", LIMIT).await;
    assert!(matches!(pull, Err(PullError::Unreachable { .. })), "{pull:?}");
    if image() == BUILT_HERE {
        assert_eq!(bench.engine.pull(BUILT_HERE, LIMIT).await.expect("local only").digest, None);
    }
    let services = service("app", SERVE, &format!("{DNSRR}    secrets: [pw]\n"));
    let file = bench.write(&services, "secrets:\n  pw: {external: true, name: hs_nosuch}\n");
    let error = bench.engine.deploy(&bench.stack, &file).await.expect_err("refused");
    assert!(error.to_string().contains("hs_nosuch"), "{error}");
    let cancel = CancellationToken::new();
    cancel.cancel();
    let expected = vec![Expected { name: "app".into(), image: None, replicas: None }];
    let expectation = Expectation::new(expected, SystemClock.now(), LIMIT, LIMIT);
    let result = bench.engine.await_converged(&bench.stack, &expectation, None, &cancel, |_| {}).await;
    assert_eq!(result.map_err(|failed| failed.signal).err(), Some(Signal::Cancelled));
    bench.remove().await;
}
