//! One deployed instance of the recipe: a stack, its secrets, what was put into it, and what a stage may do with it.
//!
//! Never decides a verdict: what does not hold comes back as a [`Reason`]. Nothing is deployed that [`recipe::plan`] did not write.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use recipe::traefik::Route;
use recipe::{Adapt, Env, Overlay, Plan, PlanInput, Refusal};

use crate::domain::{ImageInfo, Lane, Reason, ReasonCode, Screenshot, StackName, Stage};
use crate::results::screenshot;
use crate::swarm::{DeployError, Expectation, Expected, Snapshot, VolumeInfo};

use super::prepare::Version;
use super::probe::{self, Target};
use super::profile::Profile;
use super::reasons;
use super::record::{Recorder, StepClock};
use super::restic::Repo;
use super::shared::Shared;
use super::stages::backup::Made;
use super::suite::{Suite, SuiteTestKind};
use super::witness::{self, Moment, Place};

/// How long the services may take to converge if neither recipe nor profile say: abra's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// How long an app may take to answer once it has converged, if its service has a health check: the check has passed by then.
const ANSWER_CHECKED: Duration = Duration::from_secs(15);
/// The same without a health check: converged then only says that the process started.
const ANSWER_UNCHECKED: Duration = Duration::from_secs(60);

/// How long a deployment must stay up that only serves a later stage (the base, the app after the wipe). What the stage then does
/// with it proves more than waiting, so the full settle time is kept for what is under test.
const BRIEF_SETTLE: Duration = Duration::from_secs(1);

/// What a deployment does to the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing of it is there.
    Fresh,
    /// The services are there and get a new form.
    Update,
}

/// A deployed app.
pub struct Instance {
    shared: Arc<Shared>,
    lane: Lane,
    stack: StackName,
    token: String,
    later: String,
    made_secrets: BTreeSet<String>,
    deployed: Option<Deployed>,
    witnesses: Vec<Witness>,
    repo: Option<Arc<Repo>>,
    backup: Option<Made>,
    images: Vec<ImageInfo>,
    screenshot: Option<Screenshot>,
    picture: Option<Picture>,
}

/// A picture that is being made.
type Picture = tokio::task::JoinHandle<Result<Screenshot, screenshot::ScreenshotError>>;

struct Deployed {
    role: &'static str,
    plan: Plan,
    at: jiff::Timestamp,
    before: Option<Snapshot>,
}

/// A witness that was put in.
struct Witness {
    place: Place,
    content: String,
}

impl Instance {
    /// An instance that is not deployed yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, lane: Lane) -> Self {
        let stack = StackName::of(&shared.run, lane, &shared.recipe);
        Self {
            stack,
            lane,
            token: super::secrets::token('t'),
            later: super::secrets::token('l'),
            made_secrets: BTreeSet::new(),
            deployed: None,
            witnesses: Vec::new(),
            repo: None,
            backup: None,
            images: Vec::new(),
            screenshot: None,
            picture: None,
            shared,
        }
    }

    /// What all lanes of the run share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The lane it is deployed in.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// The stack.
    #[must_use]
    pub fn stack(&self) -> &StackName {
        &self.stack
    }

    /// The token of what is put in before upgrade and backup.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Images that ran, and the screenshot, for the record.
    #[must_use]
    pub fn into_record(self) -> (Vec<ImageInfo>, Option<Screenshot>) {
        (self.images, self.screenshot)
    }

    /// Why the profile declares a stage not applicable.
    #[must_use]
    pub fn not_applicable(&self, stage: Stage) -> Option<String> {
        self.shared.profile.not_applicable.get(&stage).cloned()
    }

    /// The plan that is deployed.
    ///
    /// # Errors
    /// If nothing is.
    pub fn current_plan(&self) -> Result<&Plan, Box<Reason>> {
        self.deployed.as_ref().map(|deployed| &deployed.plan).ok_or_else(|| {
            Box::new(Reason::new(ReasonCode::Bug, "a stage asked for a plan before anything was deployed"))
        })
    }

    /// Plans a version for this stack. For an upgrade, `installed` is the version whose `.env.sample` the operator's env file came from.
    ///
    /// # Errors
    /// `policy-refused` or `invalid-recipe`.
    pub fn plan(&self, version: &Version, installed: Option<&Version>) -> Result<Plan, Box<Reason>> {
        plan(&self.shared, &self.stack, version, installed).map_err(|refusal| Box::new(refused(&refusal)))
    }

    /// Makes the missing secrets, writes the compose file, and hands it to the engine.
    ///
    /// # Errors
    /// The reason why the engine refused it.
    pub async fn deploy(
        &mut self,
        recorder: &mut Recorder,
        version: &Version,
        plan: Plan,
        mode: Mode,
    ) -> Result<(), Box<Reason>> {
        let step = recorder.step("deploy");
        let before = match mode {
            Mode::Fresh => None,
            Mode::Update => Some(self.snapshot().await?),
        };
        self.make_secrets(&plan).await?;
        let file = self.write_compose(version, &plan)?;
        let at = crate::clock::now();
        let result = self.shared.engine.deploy(&self.stack, &file).await;
        recorder.done(step, result.is_ok(), format!("{} at {} as {}", version.role, version.short(), self.stack));
        result.map_err(|error| self.deploy_reason(&error))?;
        self.deployed = Some(Deployed { role: version.role, plan, at, before });
        Ok(())
    }

    /// Deploys what is deployed once more, after a wipe.
    ///
    /// # Errors
    /// As [`Instance::deploy`].
    pub async fn redeploy(&mut self, recorder: &mut Recorder, version: &Version) -> Result<(), Box<Reason>> {
        let plan = self.current_plan()?.clone();
        self.deploy(recorder, version, plan, Mode::Fresh).await
    }

    async fn make_secrets(&mut self, plan: &Plan) -> Result<(), Box<Reason>> {
        for spec in &plan.secrets {
            if self.made_secrets.contains(&spec.name) {
                continue;
            }
            let value = super::secrets::make(spec, self.shared.profile.secrets.get(&spec.key))?;
            // Before the app can see it, everything that is written knows it.
            if !self.shared.redactor.add(&spec.key, &value) {
                self.shared.warn(format!("secret {} is too short to be searched for in logs", spec.key));
            }
            self.shared
                .engine
                .create_secret(&self.stack, &spec.name, value.expose().as_bytes(), &self.shared.run_labels())
                .await
                .map_err(|error| reasons::secret(&error))?;
            self.made_secrets.insert(spec.name.clone());
        }
        Ok(())
    }

    /// Writes `compose/<lane>-<role>/compose.yml` with its files.
    fn write_compose(&self, version: &Version, plan: &Plan) -> Result<PathBuf, Box<Reason>> {
        let dir = self.shared.dir.join("compose").join(format!("{}-{}", self.lane.as_str(), version.role));
        let write = || -> std::io::Result<PathBuf> {
            std::fs::create_dir_all(&dir)?;
            for (path, bytes) in &plan.files {
                let path = dir.join(path);
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                std::fs::write(path, bytes)?;
            }
            let file = dir.join("compose.yml");
            std::fs::write(&file, &plan.compose_yaml)?;
            Ok(file)
        };
        write().map_err(|error| Box::new(io_reason(&dir.display().to_string(), &error)))
    }

    /// Waits until every service runs what was deployed and has stayed so for the settle time.
    ///
    /// # Errors
    /// The reason, with task states and log lines as evidence.
    pub async fn converge(&mut self, recorder: &mut Recorder, mode: Mode) -> Result<(), Box<Reason>> {
        let Some(deployed) = &self.deployed else { return self.current_plan().map(|_| ()) };
        let plan = &deployed.plan;
        let timeout =
            self.shared.profile.timeout.or_else(|| plan.timeout_s.map(Duration::from_secs)).unwrap_or(DEFAULT_TIMEOUT);
        let services = plan
            .services
            .iter()
            .map(|service| Expected {
                name: service.name.clone(),
                image: Some(service.image.clone()),
                replicas: (!service.global).then_some(service.replicas),
            })
            .collect();
        let settle = self.shared.profile.settle;
        let settle = match (recorder.stage(), mode) {
            (Stage::Install, _) | (_, Mode::Update) => settle,
            (Stage::Upgrade | Stage::Backup | Stage::Restore | Stage::Custom, Mode::Fresh) => settle.min(BRIEF_SETTLE),
        };
        let mut expectation = Expectation::new(services, deployed.at, settle, timeout);
        if let (Mode::Update, Some(before)) = (mode, &deployed.before) {
            expectation = expectation.after(before);
        }
        let step = recorder.step("converge");
        let clock = StepClock::now();
        let stage = recorder.stage();
        let reporter = self.shared.reporter.clone();
        let result = self
            .shared
            .engine
            .await_converged(&self.stack, &expectation, Some(&self.shared.watch), &self.shared.cancel, |doing| {
                reporter.tell(super::Event::Progress { stage, doing: doing.to_owned() });
            })
            .await;
        match result {
            Ok(converged) => {
                let tasks: usize =
                    converged.snapshot.services.iter().map(|s| s.tasks.iter().filter(|t| t.is_up()).count()).sum();
                recorder.done(step, true, format!("{} services, {tasks} tasks", converged.snapshot.services.len()));
                recorder.check("converged", &clock, Ok(format!("all tasks up and stable for {settle:?}")));
                self.note_images(&converged.snapshot);
                Ok(())
            }
            Err(failure) => {
                let reason = self.shared.explain(&failure).await;
                recorder.done(step, false, reason.to_string());
                recorder.check("converged", &clock, Err(reason.message.clone()));
                Err(Box::new(reason))
            }
        }
    }

    fn note_images(&mut self, snapshot: &Snapshot) {
        let Some(deployed) = &self.deployed else { return };
        let role = deployed.role;
        for service in &snapshot.services {
            let (reference, digest) = match service.image.split_once('@') {
                Some((reference, digest)) => (reference.to_owned(), Some(digest.to_owned())),
                None => (service.image.clone(), None),
            };
            let image = ImageInfo { role: role.to_owned(), service: service.name.clone(), reference, digest };
            if !self.images.contains(&image) {
                self.images.push(image);
            }
        }
    }

    /// Every task still up, as a single look.
    ///
    /// # Errors
    /// `unstable`, with the task states.
    pub async fn still_healthy(&self, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
        let clock = StepClock::now();
        let snapshot = self.snapshot().await?;
        let down: Vec<String> = self
            .current_plan()?
            .services
            .iter()
            .filter(|service| {
                let up =
                    snapshot.service(&service.name).map_or(0, |s| s.tasks.iter().filter(|t| t.is_up()).count() as u64);
                up < service.replicas
            })
            .map(|service| service.name.clone())
            .collect();
        recorder.check(
            "still up",
            &clock,
            if down.is_empty() {
                Ok("all tasks are still up".to_owned())
            } else {
                Err(format!("no longer up: {}", down.join(", ")))
            },
        );
        if down.is_empty() {
            return Ok(());
        }
        let reason = Reason::new(ReasonCode::Unstable, format!("{} converged and is no longer up", down.join(", ")))
            .evidence(reasons::task_lines(&snapshot));
        Err(Box::new(reason))
    }

    /// Before a hook runs, the stack must be as it converged; a container that is just being replaced would take the hook with it.
    ///
    /// # Errors
    /// `unstable`.
    pub async fn settled_for_hooks(&self, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
        self.still_healthy(recorder).await
    }

    /// A look at the stack.
    ///
    /// # Errors
    /// `engine-error`.
    pub async fn snapshot(&self) -> Result<Snapshot, Box<Reason>> {
        self.shared.engine.snapshot(&self.stack).await.map_err(|error| reasons::engine(&error))
    }

    /// The container of a service that is up, the newest first.
    ///
    /// # Errors
    /// `unstable` if none is.
    pub async fn container(&self, service: &str) -> Result<String, Box<Reason>> {
        let snapshot = self.snapshot().await?;
        let found = snapshot.service(service).and_then(|state| {
            state.tasks.iter().filter(|task| task.is_up()).find_map(|task| task.container_id.clone())
        });
        found.ok_or_else(|| {
            Box::new(
                Reason::new(ReasonCode::Unstable, format!("no container of {service} is up"))
                    .service(service)
                    .evidence(reasons::task_lines(&snapshot)),
            )
        })
    }

    /// The routes of the deployed plan.
    fn routes(&self) -> Result<Vec<Route>, Box<Reason>> {
        Ok(self.current_plan()?.services.iter().flat_map(|service| service.routes.clone()).collect())
    }

    /// Where requests for the app's domain go.
    ///
    /// # Errors
    /// `no-route` if no label says; `unstable` if the container is gone.
    pub async fn target(&self, path: Option<&str>) -> Result<Target, Box<Reason>> {
        let routes = self.routes()?;
        let domain = self.stack.domain();
        let Some(route) = probe::main_route(&routes, domain) else {
            return Err(Box::new(
                Reason::new(ReasonCode::NoRoute, "no service routes the app's domain")
                    .evidence(routes.iter().map(|route| format!("{}: {}", route.service, route.rule))),
            ));
        };
        let address = self.address(&route.service, route.port).await?;
        let prefix = route.path_prefix.clone().unwrap_or_default();
        let path = match path {
            Some(path) if path.starts_with('/') => path.to_owned(),
            Some(path) => format!("/{path}"),
            None if prefix.is_empty() => "/".to_owned(),
            None => prefix,
        };
        Ok(Target { service: route.service.clone(), host: domain.to_owned(), path, address })
    }

    async fn address(&self, service: &str, port: Option<u16>) -> Result<SocketAddr, Box<Reason>> {
        let container = self.container(service).await?;
        let addresses = self.shared.engine.addresses(&container).await.map_err(|error| reasons::engine(&error))?;
        let ip = addresses.iter().find(|address| address.reachable).map(|address| address.ip).ok_or_else(|| {
            Box::new(
                Reason::new(
                    ReasonCode::HttpUnreachable,
                    format!("the container of {service} has no address this host can reach"),
                )
                .service(service),
            )
        })?;
        Ok(SocketAddr::new(ip, port.unwrap_or(80)))
    }

    /// Asks the app over HTTP until it answers as it should.
    ///
    /// # Errors
    /// `no-route`, `http-unreachable`, `http-status`.
    pub async fn answers(&self, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
        let http = &self.shared.profile.http;
        let path = (http.path != "/").then_some(http.path.as_str());
        let step = recorder.step("probe");
        let clock = StepClock::now();
        let result =
            probe::until_accepted(|| self.target(path), &http.status, self.answer_time(), &self.shared.cancel).await;
        match result {
            Ok((target, answer)) => {
                let detail = format!("GET {} (port {}) -> {}", target.url(), target.address.port(), answer.status);
                recorder.done(step, true, &detail);
                recorder.check("answers", &clock, Ok(detail));
                Ok(())
            }
            Err(reason) => {
                recorder.done(step, false, reason.to_string());
                recorder.check("answers", &clock, Err(reason.message.clone()));
                Err(reason)
            }
        }
    }

    /// How long the app may take to answer after it converged.
    #[must_use]
    pub fn answer_time(&self) -> Duration {
        let checked = || {
            self.deployed.as_ref().is_some_and(|deployed| {
                let routed = deployed.plan.services.iter().filter(|service| !service.routes.is_empty());
                routed.clone().count() > 0
                    && routed
                        .into_iter()
                        .all(|service| service.healthcheck.as_ref().is_some_and(|check| !check.disabled))
            })
        };
        self.shared.profile.http.timeout.unwrap_or_else(|| if checked() { ANSWER_CHECKED } else { ANSWER_UNCHECKED })
    }

    /// The container addresses of every host that the app routes, its own domain first.
    ///
    /// # Errors
    /// As [`Instance::target`].
    pub async fn hosts(&self) -> Result<Vec<(String, SocketAddr)>, Box<Reason>> {
        let main = self.target(None).await?;
        let mut out = vec![(main.host.clone(), main.address)];
        let mut known: BTreeMap<(String, Option<u16>), SocketAddr> = BTreeMap::new();
        for route in self.routes()? {
            for host in &route.hosts {
                if out.iter().any(|(seen, _)| seen == host) {
                    continue;
                }
                let key = (route.service.clone(), route.port);
                let address = match known.get(&key) {
                    Some(address) => *address,
                    None => self.address(&route.service, route.port).await?,
                };
                known.insert(key, address);
                out.push((host.clone(), address));
            }
        }
        Ok(out)
    }

    /// Which services scripts of the suite may name.
    #[must_use]
    pub fn has_service(&self, kind: &SuiteTestKind) -> bool {
        match kind {
            SuiteTestKind::Hurl => true,
            SuiteTestKind::Script { service } => {
                self.deployed.as_ref().is_some_and(|d| d.plan.services.iter().any(|s| &s.name == service))
            }
        }
    }

    /// Begins a picture of the first page, while the stages go on. [`Instance::finish_screenshot`] waits for it.
    pub async fn start_screenshot(&mut self) {
        if !self.shared.wants_screenshot {
            return;
        }
        let path = self.shared.profile.screenshot_path.clone();
        // A page that cannot even be addressed has been told by the stage already.
        let Ok(target) = self.target(Some(&path)).await else { return };
        let file = self.shared.dir.join("screenshot.png");
        let cancel = self.shared.cancel.clone();
        self.picture = Some(tokio::spawn(async move {
            let resolve = screenshot::Resolve { domain: target.host.clone(), address: target.address };
            screenshot::capture(&target.url(), Some(&resolve), &file, &cancel).await
        }));
    }

    /// Waits for the picture. Whatever goes wrong with it is a warning: it proves nothing and may cost nothing.
    pub async fn finish_screenshot(&mut self) {
        let Some(picture) = self.picture.take() else { return };
        match picture.await {
            Ok(Ok(picture)) => {
                if picture.blank {
                    self.shared.warn("the first page is blank in the screenshot");
                }
                self.screenshot = Some(picture);
            }
            Ok(Err(error)) => self.shared.warn(format!("no screenshot: {error}")),
            Err(panic) => self.shared.warn(format!("no screenshot: {panic}")),
        }
    }

    /// Volumes of the stack.
    ///
    /// # Errors
    /// `engine-error`.
    pub async fn volumes(&self) -> Result<Vec<VolumeInfo>, Box<Reason>> {
        self.shared.engine.volumes(&self.stack).await.map_err(|error| reasons::engine(&error))
    }

    /// The service labels and images of what runs are those of the commit under test.
    ///
    /// # Errors
    /// `wrong-version`.
    pub async fn proves_version(&self, recorder: &mut Recorder, head: &Version) -> Result<(), Box<Reason>> {
        let clock = StepClock::now();
        let snapshot = self.snapshot().await?;
        let plan = self.current_plan()?;
        let mut wrong = Vec::new();
        for service in &plan.services {
            let Some(state) = snapshot.service(&service.name) else {
                wrong.push(format!("{} does not run", service.name));
                continue;
            };
            let want = self.shared.digest_of(&service.image);
            for task in state.tasks.iter().filter(|task| task.is_up()) {
                let matches = crate::swarm::same_image(&service.image, &task.image)
                    && want
                        .as_ref()
                        .is_none_or(|digest| task.image.split_once('@').is_none_or(|(_, found)| found == digest));
                if !matches {
                    wrong.push(format!(
                        "{} runs {}, wanted {} {}",
                        task.place(),
                        task.image,
                        service.image,
                        want.clone().unwrap_or_default()
                    ));
                }
            }
        }
        let label = format!("coop-cloud.{}.chaos-version", self.stack);
        let found = snapshot.service("app").and_then(|app| app.labels.get(&label)).map(String::as_str);
        if found != Some(head.short()) {
            wrong.push(format!("label {label} is {found:?}, wanted {}", head.short()));
        }
        recorder.check(
            "runs the commit under test",
            &clock,
            if wrong.is_empty() {
                Ok(format!("images, digests and label of {}", head.short()))
            } else {
                Err(wrong.join("; "))
            },
        );
        match wrong.first() {
            None => Ok(()),
            Some(first) => Err(Box::new(Reason::new(ReasonCode::WrongVersion, first.clone()).evidence(wrong.clone()))),
        }
    }

    /// Whether any witness could be put in.
    #[must_use]
    pub fn has_witness(&self) -> bool {
        !self.witnesses.is_empty()
    }

    /// The data volumes of what is deployed.
    pub(super) fn places(&self) -> Result<Vec<Place>, Box<Reason>> {
        Ok(witness::places(self.current_plan()?))
    }

    pub(super) fn remember_witness(&mut self, place: Place, content: String) {
        self.witnesses.retain(|witness| witness.place.volume != place.volume);
        self.witnesses.push(Witness { place, content });
    }

    pub(super) fn witnesses(&self) -> impl Iterator<Item = (&Place, &str)> {
        self.witnesses.iter().map(|witness| (&witness.place, witness.content.as_str()))
    }

    /// The token for what is put in at a moment.
    pub(super) fn token_at(&self, moment: Moment) -> &str {
        match moment {
            Moment::First => &self.token,
            Moment::Later => &self.later,
        }
    }

    /// The backup that was made.
    #[must_use]
    pub fn backup(&self) -> Option<Made> {
        self.backup.clone()
    }

    /// Keeps the backup for the restore.
    pub fn keep_backup(&mut self, made: Made) {
        self.backup = Some(made);
    }

    /// The run's restic repository. It is made at the run's start, because making one takes seconds on purpose.
    ///
    /// # Errors
    /// `backup-tool-failed`.
    pub async fn restic(&mut self) -> Result<Arc<Repo>, Box<Reason>> {
        if let Some(repo) = &self.repo {
            return Ok(repo.clone());
        }
        let repo = self.shared.restic().await?;
        self.repo = Some(repo.clone());
        Ok(repo)
    }

    fn deploy_reason(&self, error: &DeployError) -> Box<Reason> {
        reasons::deploy(error)
    }
}

/// What an operator would put into the app's env file: its domain, no certificate resolver, and what the profile says.
#[must_use]
pub fn operator_env(stack: &StackName, profile: &Profile) -> Env {
    let mut env = Env::from([
        ("DOMAIN".to_owned(), stack.domain().to_owned()),
        ("STACK_NAME".to_owned(), stack.to_string()),
        ("LETS_ENCRYPT_ENV".to_owned(), String::new()),
    ]);
    env.extend(profile.env.clone());
    env
}

/// The suite's overlay, as findings name it.
const OVERLAY: &str = "compose.ccci.yml";

/// The suite's overlay, if it has one.
#[must_use]
pub fn overlays(suite: Option<&Suite>) -> Vec<Overlay> {
    suite
        .and_then(|suite| suite.overlay.clone())
        .map(|text| Overlay { name: OVERLAY.to_owned(), text })
        .into_iter()
        .collect()
}

/// Plans a version: env as `abra app new` and `abra app deploy` make it, labels as abra writes them, our labels on everything.
///
/// # Errors
/// What the policy refuses or the recipe does wrong.
pub fn plan(
    shared: &Shared,
    stack: &StackName,
    version: &Version,
    installed: Option<&Version>,
) -> Result<Plan, Refusal> {
    // An operator's env file comes from the sample of the version that was installed; abra.sh always from the one that is deployed.
    let tree = match installed {
        None => version.tree.clone(),
        Some(installed) => {
            let mut tree = version.tree.clone();
            if let Ok(sample) = installed.tree.get(".env.sample") {
                tree.insert(".env.sample", sample.to_vec());
            }
            tree
        }
    };
    let mut overrides = operator_env(stack, &shared.profile);
    if installed.is_some() {
        overrides.extend(shared.profile.upgrade.env.clone());
    }
    let (env, findings) = recipe::app_env(&tree, &overrides);
    let label = |what: &str| format!("coop-cloud.{stack}.{what}");
    let mut deploy_labels = recipe::labels::Labels::from([
        (label("recipe"), shared.recipe.clone()),
        (label("chaos"), "true".to_owned()),
        (label("chaos-version"), version.short().to_owned()),
    ]);
    if let Some(reference) = version.reference.as_ref().filter(|name| name.parse::<recipe::RecipeVersion>().is_ok()) {
        deploy_labels.insert(label("version"), reference.clone());
    }
    let adapt = Adapt {
        endpoint_mode_dnsrr: !shared.facts.info.ipvs,
        run_labels: shared.run_labels(),
        deploy_labels,
        default_cpus: None,
        default_memory: None,
        app_env: env.clone(),
    };
    let overlays = overlays(shared.suite.as_ref());
    let input = PlanInput {
        tree: &tree,
        recipe: &shared.recipe,
        stack: stack.as_str(),
        env: &env,
        overlays: &overlays,
        policy: &shared.policy,
        adapt: &adapt,
    };
    let mut plan = recipe::plan(&input)?;
    plan.findings.extend(findings.into_iter().filter(|finding| !finding.is_error()));
    Ok(plan)
}

/// A refusal as a reason: what the recipe does wrong, or what the policy does not allow. If nothing is wrong but in the
/// overlay of the suite, it is the suite's.
#[must_use]
pub fn refused(refusal: &Refusal) -> Reason {
    let lines: Vec<String> = refusal.errors().map(|finding| format!("{finding}")).collect();
    let policy = refusal.errors().any(|finding| finding.code.starts_with('P'));
    let secret = refusal.errors().any(|finding| finding.code.starts_with('S'));
    let first = refusal.errors().next();
    let of_suite = first.is_some() && refusal.errors().all(|finding| finding.file == OVERLAY);
    let code = match (of_suite, policy, secret) {
        (true, ..) => ReasonCode::SuiteInvalid,
        (false, true, _) => ReasonCode::PolicyRefused,
        (false, false, true) => ReasonCode::SecretMissing,
        (false, false, false) => ReasonCode::InvalidRecipe,
    };
    let mut reason =
        Reason::new(code, first.map_or_else(|| refusal.to_string(), |finding| finding.message.clone())).evidence(lines);
    if let Some(finding) = first.filter(|finding| !finding.remedy.is_empty()) {
        reason.remedy.clone_from(&finding.remedy);
    }
    reason
}

/// Trouble with the run's own files.
#[must_use]
pub fn io_reason(what: &str, error: &std::io::Error) -> Reason {
    let code =
        if error.kind() == std::io::ErrorKind::StorageFull { ReasonCode::DiskFull } else { ReasonCode::EngineError };
    Reason::new(code, format!("{what}: {error}"))
}
