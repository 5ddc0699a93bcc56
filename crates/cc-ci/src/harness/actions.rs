//! What is done inside a deployed app: witnesses, seed and verify, tests, hooks, and volumes on their way to restic and back.
//!
//! Everything runs inside the app's own containers or is a request to it; nothing of a recipe or suite runs on the host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use recipe::labels::BackupPlan;
use tokio::time::Instant;

use crate::domain::{Reason, ReasonCode, TestCase, TestKind, TestStatus};
use crate::swarm::{ArchiveError, ExecRequest};

use super::hurl::{HurlError, HurlJob};
use super::instance::{Instance, io_reason};
use super::reasons;
use super::record::{Recorder, StepClock};
use super::stages::backup::{Made, Saved};
use super::staging::{self, StagingError};
use super::suite::{SuiteTest, SuiteTestKind};
use super::witness::{Lost, Moment, Place};

/// How long a hook may take.
const HOOK_LIMIT: Duration = Duration::from_secs(600);
/// How long the removal of containers and volumes may take before the restore.
const WIPE_LIMIT: Duration = Duration::from_secs(120);
/// Pause between two tries of a ready check that does not hold yet: HTTP gives no event to wait for.
const READY_PAUSE: Duration = Duration::from_millis(200);

impl Instance {
    /// Puts data in: a witness into every data volume, and the suite's seed; then the suite's verify must hold, or it is the suite that is wrong.
    ///
    /// # Errors
    /// `seed-failed`, or trouble with the engine.
    pub async fn seed(&mut self, recorder: &mut Recorder, moment: Moment) -> Result<(), Box<Reason>> {
        if moment == Moment::First {
            self.put_witnesses(recorder).await?;
        }
        let shared = self.shared().clone();
        let Some(suite) = shared.suite.as_ref().filter(|suite| !suite.seed.is_empty()) else { return Ok(()) };
        let token = self.token_at(moment).to_owned();
        let step = recorder.step(match moment {
            Moment::First => "seed",
            Moment::Later => "seed later data",
        });
        for test in suite.seed.iter().chain(&suite.verify) {
            let case = self.run_test(recorder, test, &token).await?;
            let failed = case.status != TestStatus::Pass;
            let message = case.message.clone();
            let name = case.name.clone();
            recorder.test(named(case, moment));
            if failed {
                recorder.done(step, false, &name);
                return Err(Box::new(
                    Reason::new(ReasonCode::SeedFailed, format!("{name} does not hold right after seeding"))
                        .evidence(message.lines().take(20)),
                ));
            }
        }
        recorder.done(step, true, format!("{} files", suite.seed.len()));
        Ok(())
    }

    /// The suite's verify for what was put in at `moment`, written down as tests.
    ///
    /// # Errors
    /// Trouble with engine or suite; a test that does not hold is a case.
    pub async fn verify(&mut self, recorder: &mut Recorder, moment: Moment) -> Result<Vec<TestCase>, Box<Reason>> {
        let cases = self.try_verify_with(recorder, moment).await?;
        for case in &cases {
            recorder.test(case.clone());
        }
        Ok(cases)
    }

    /// The same, not written down: for the places where it must not hold.
    ///
    /// # Errors
    /// As [`Instance::verify`].
    pub async fn try_verify(&self, recorder: &mut Recorder, moment: Moment) -> Result<Vec<TestCase>, Box<Reason>> {
        self.try_verify_with(recorder, moment).await
    }

    async fn try_verify_with(&self, recorder: &mut Recorder, moment: Moment) -> Result<Vec<TestCase>, Box<Reason>> {
        let shared = self.shared().clone();
        let Some(suite) = &shared.suite else { return Ok(Vec::new()) };
        let mut cases = Vec::new();
        for test in &suite.verify {
            cases.push(self.run_test(recorder, test, self.token_at(moment)).await?);
        }
        Ok(cases)
    }

    /// The suite's ready check, asked until it holds.
    ///
    /// # Errors
    /// `not-ready` with the last answer.
    pub async fn ready(&self, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
        let shared = self.shared().clone();
        let Some(suite) = shared.suite.as_ref().filter(|suite| !suite.ready.is_empty()) else { return Ok(()) };
        let step = recorder.step("ready");
        let end = Instant::now() + self.answer_time();
        for test in &suite.ready {
            loop {
                let case = self.run_test(recorder, test, self.token()).await?;
                if case.status == TestStatus::Pass {
                    recorder.test(case);
                    break;
                }
                if Instant::now() >= end {
                    let reason = Reason::new(ReasonCode::NotReady, format!("{} never held", case.name))
                        .evidence(case.message.lines().take(20));
                    recorder.test(case);
                    recorder.done(step, false, reason.message.clone());
                    return Err(Box::new(reason));
                }
                tokio::select! {
                    () = shared.cancel.cancelled() => return Err(Box::new(shared.stopped())),
                    () = tokio::time::sleep(READY_PAUSE) => {}
                }
            }
        }
        recorder.done(step, true, format!("{} checks", suite.ready.len()));
        Ok(())
    }

    /// Runs one file of the suite.
    ///
    /// # Errors
    /// If it cannot be run at all: the engine, an invalid file, a service that does not exist. A test that does not hold is a case.
    pub async fn run_test(
        &self,
        recorder: &mut Recorder,
        test: &SuiteTest,
        token: &str,
    ) -> Result<TestCase, Box<Reason>> {
        let clock = StepClock::now();
        if self.shared().cancel.is_cancelled() {
            return Err(Box::new(self.shared().stopped()));
        }
        let (status, assertions, message) = match &test.kind {
            SuiteTestKind::Hurl => self.run_hurl(recorder, test, token).await?,
            SuiteTestKind::Script { service } => self.run_script(recorder, test, service, token).await?,
        };
        Ok(TestCase {
            name: test.name.clone(),
            kind: match test.kind {
                SuiteTestKind::Hurl => TestKind::Hurl,
                SuiteTestKind::Script { .. } => TestKind::Script,
            },
            status,
            started: clock.started(),
            duration_ms: clock.millis(),
            attempts: 1,
            assertions,
            message,
        })
    }

    async fn run_hurl(
        &self,
        recorder: &mut Recorder,
        test: &SuiteTest,
        token: &str,
    ) -> Result<(TestStatus, Option<u32>, String), Box<Reason>> {
        let shared = self.shared();
        let Some(hurl) = &shared.hurl else {
            return Err(Box::new(Reason::new(ReasonCode::Bug, "a Hurl test without a hurl program")));
        };
        let empty = Default::default();
        let job = HurlJob {
            name: &test.name,
            content: &test.content,
            files: shared.suite.as_ref().map_or(&empty, |suite| &suite.files),
            domain: self.stack().domain(),
            routes: self.hosts().await?,
            variables: [("token".to_owned(), token.to_owned())].into(),
            secrets: Default::default(),
            timeout: shared.profile.tests.timeout,
            cancel: shared.cancel.clone(),
        };
        match hurl.run(&job).await {
            Ok(outcome) => {
                recorder.line(format!(
                    "hurl {}: {} requests, {} assertions\n{}",
                    test.name, outcome.entries, outcome.assertions, outcome.log
                ));
                let status = if outcome.passed { TestStatus::Pass } else { TestStatus::Fail };
                Ok((status, Some(outcome.assertions), outcome.failures.join("\n")))
            }
            Err(HurlError::Cancelled(_)) => Err(Box::new(shared.stopped())),
            Err(error @ HurlError::Invalid { .. }) => {
                Err(Box::new(Reason::new(ReasonCode::SuiteInvalid, error.to_string())))
            }
            Err(error @ (HurlError::Missing(_) | HurlError::Failed { .. })) => {
                Err(Box::new(Reason::new(ReasonCode::EngineError, error.to_string())))
            }
        }
    }

    /// A script of the suite, by `sh -eu` inside the service's container.
    async fn run_script(
        &self,
        recorder: &mut Recorder,
        test: &SuiteTest,
        service: &str,
        token: &str,
    ) -> Result<(TestStatus, Option<u32>, String), Box<Reason>> {
        let shared = self.shared();
        if !self.has_service(&test.kind) {
            return Err(Box::new(Reason::new(
                ReasonCode::SuiteInvalid,
                format!("{} names the service `{service}`, which the recipe does not have", test.name),
            )));
        }
        let container = self.container(service).await?;
        let mut request =
            ExecRequest::new(["sh", "-euc", test.content.as_str(), test.name.as_str()], shared.profile.tests.timeout);
        request.env = vec![
            ("DOMAIN".to_owned(), self.stack().domain().to_owned()),
            ("STACK_NAME".to_owned(), self.stack().to_string()),
            ("CC_CI_TOKEN".to_owned(), token.to_owned()),
        ];
        let output = tokio::select! {
            () = shared.cancel.cancelled() => return Err(Box::new(shared.stopped())),
            output = shared.engine.exec(&container, &request) => output.map_err(|error| reasons::engine(&error))?,
        };
        recorder.line(format!("script {} in {service}:\n{}", test.name, output.text()));
        Ok(match (output.success(), output.timed_out, output.exit_code) {
            (true, ..) => (TestStatus::Pass, None, String::new()),
            (_, true, _) => {
                (TestStatus::Fail, None, format!("took longer than {} s", shared.profile.tests.timeout.as_secs()))
            }
            (_, _, Some(126 | 127)) if output.text().contains("\"sh\"") => {
                (TestStatus::Error, None, format!("the image of {service} has no shell: test it over HTTP"))
            }
            (_, _, code) => {
                let code = code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
                (TestStatus::Fail, None, format!("{code}\n{}", tail(&output.text(), 20)))
            }
        })
    }

    /// Puts a witness into every data volume. A volume that takes none is told and left.
    async fn put_witnesses(&mut self, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
        let places = self.places()?;
        if places.is_empty() {
            return Ok(());
        }
        let step = recorder.step("witnesses");
        let mut put = 0;
        for place in places {
            let content = format!("cc-ci {} {}\n", self.token(), super::secrets::token('w'));
            match self.put(&place, Moment::First, &content).await? {
                Ok(()) => {
                    put += 1;
                    self.remember_witness(place, content);
                }
                Err(error) => self.shared().warn(format!("volume {} takes no witness: {error}", place.volume)),
            }
        }
        recorder.done(step, true, format!("in {put} volumes"));
        Ok(())
    }

    async fn put(&self, place: &Place, moment: Moment, content: &str) -> Result<Result<(), ArchiveError>, Box<Reason>> {
        let container = self.container(&place.service).await?;
        Ok(self.shared().engine.put_file(&container, &witness_path(place, moment), content.as_bytes(), 0o644).await)
    }

    /// Changes every witness and adds a later one, so that a restore that does nothing is seen.
    ///
    /// # Errors
    /// Trouble with the engine.
    pub async fn spoil_witnesses(&mut self, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
        let places: Vec<Place> = self.witnesses().map(|(place, _)| place.clone()).collect();
        if places.is_empty() {
            return Ok(());
        }
        let step = recorder.step("change data");
        for place in &places {
            for (moment, content) in
                [(Moment::First, "changed after the backup\n"), (Moment::Later, "after the backup\n")]
            {
                self.put(place, moment, content).await?.map_err(|error| reasons::archive(&error))?;
            }
        }
        recorder.done(step, true, format!("in {} volumes", places.len()));
        Ok(())
    }

    /// Witnesses in the volumes that `holds` names which are not as they were left. Written down as a check.
    ///
    /// # Errors
    /// Trouble with the engine.
    pub async fn missing_witnesses(
        &mut self,
        recorder: &mut Recorder,
        holds: impl Fn(&str) -> bool,
    ) -> Result<Vec<Lost>, Box<Reason>> {
        let moment = Moment::First;
        let clock = StepClock::now();
        let mut lost = Vec::new();
        let mut count = 0;
        // The volume may be mounted elsewhere now, or by another service: look where the present plan has it.
        let places = self.places()?;
        for (left, content) in self.witnesses().filter(|(place, _)| holds(&place.volume)) {
            count += 1;
            let Some(place) = places.iter().find(|place| place.volume == left.volume) else {
                lost.push(Lost {
                    volume: left.volume.clone(),
                    path: witness_path(left, moment),
                    found: "cannot be looked for: no service mounts the volume any more".to_owned(),
                });
                continue;
            };
            if let Some(found) = self.look_for(place, moment, content).await? {
                lost.push(Lost { volume: place.volume.clone(), path: witness_path(place, moment), found });
            }
        }
        if count > 0 {
            recorder.check(
                "witness",
                &clock,
                if lost.is_empty() {
                    Ok(format!("{count} volumes hold what was put in"))
                } else {
                    Err(lost.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
                },
            );
        }
        Ok(lost)
    }

    /// What is found instead of the content; none if it is as it should be.
    async fn look_for(&self, place: &Place, moment: Moment, content: &str) -> Result<Option<String>, Box<Reason>> {
        let container = self.container(&place.service).await?;
        match self.shared().engine.get_file(&container, &witness_path(place, moment)).await {
            Ok(file) if file.content == content.as_bytes() => Ok(None),
            Ok(file) => Ok(Some(format!("has other content ({} bytes)", file.content.len()))),
            Err(ArchiveError::Missing { .. }) => Ok(Some("is gone".to_owned())),
            Err(error) => Err(reasons::archive(&error)),
        }
    }

    /// Volumes in which a witness of that moment is, whatever its content.
    ///
    /// # Errors
    /// Trouble with the engine.
    pub async fn present_witnesses(&self, moment: Moment) -> Result<Vec<String>, Box<Reason>> {
        let mut present = Vec::new();
        for (place, _) in self.witnesses() {
            let container = self.container(&place.service).await?;
            match self.shared().engine.get_file(&container, &witness_path(place, moment)).await {
                Ok(_) => present.push(place.volume.clone()),
                Err(ArchiveError::Missing { .. }) => {}
                Err(error) => return Err(reasons::archive(&error)),
            }
        }
        Ok(present)
    }

    /// Runs a hook of every service that has it, inside that service's container, with `bash -o pipefail` if there is one, else `sh`.
    ///
    /// # Errors
    /// `backup-hook-failed` with the hook's output.
    pub async fn hooks(
        &self,
        recorder: &mut Recorder,
        name: &str,
        pick: impl Fn(&BackupPlan) -> Option<&str>,
    ) -> Result<(), Box<Reason>> {
        let hooks: Vec<(String, String)> = self
            .current_plan()?
            .services
            .iter()
            .filter_map(|service| pick(&service.backup).map(|hook| (service.name.clone(), hook.to_owned())))
            .collect();
        for (service, hook) in hooks {
            let step = recorder.step(name);
            let container = self.container(&service).await?;
            // A failing part of a pipe must fail the hook; only bash can see that, and not every image has it.
            const RUN: &str =
                "if command -v bash >/dev/null 2>&1; then exec bash -o pipefail -c \"$1\"; else exec sh -c \"$1\"; fi";
            let request = ExecRequest::new(["sh", "-c", RUN, "hook", hook.as_str()], HOOK_LIMIT);
            let output = tokio::select! {
                () = self.shared().cancel.cancelled() => return Err(Box::new(self.shared().stopped())),
                output = self.shared().engine.exec(&container, &request) => output.map_err(|error| reasons::engine(&error))?,
            };
            recorder.line(format!("{name} in {service}: {hook}\n{}", output.text()));
            recorder.done(step, output.success(), format!("in {service}"));
            if !output.success() {
                let how = match (output.timed_out, output.exit_code) {
                    (true, _) => format!("took longer than {} s", HOOK_LIMIT.as_secs()),
                    (_, Some(code)) => format!("exit code {code}"),
                    (_, None) => "no exit code".to_owned(),
                };
                return Err(Box::new(
                    Reason::new(ReasonCode::BackupHookFailed, format!("the {name} of {service} failed: {how}"))
                        .service(service)
                        .evidence([format!("hook: {hook}")])
                        .evidence(tail(&output.text(), 20).lines().map(str::to_owned).collect::<Vec<_>>()),
                ));
            }
        }
        Ok(())
    }

    /// Copies what is to be saved out of the engine's folder. Gives the folder that restic saves.
    ///
    /// # Errors
    /// `backup-empty` for a path that a label names and that is not there; trouble with the host.
    pub async fn stage_volumes(&self, saved: &[Saved]) -> Result<PathBuf, Box<Reason>> {
        let folder = self.shared().work.join("volumes");
        let volumes = self.volumes().await?;
        let mut jobs = Vec::new();
        for wanted in saved {
            let Some(volume) = volumes.iter().find(|volume| volume.name == wanted.full_name) else {
                return Err(Box::new(Reason::new(
                    ReasonCode::EngineError,
                    format!("volume {} is gone", wanted.full_name),
                )));
            };
            jobs.push((PathBuf::from(&volume.mountpoint), wanted.clone()));
        }
        let target = folder.clone();
        let copy = move || -> Result<(), Box<Reason>> {
            std::fs::create_dir_all(&target)
                .map_err(|error| Box::new(io_reason(&target.display().to_string(), &error)))?;
            for (mountpoint, wanted) in jobs {
                staging::copy_volume(&mountpoint, &target, &wanted.full_name, &wanted.paths)
                    .map_err(|error| staging_reason(&error, &wanted))?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(copy).await.unwrap_or_else(|panic| Err(Box::new(bug(&panic))))?;
        Ok(folder)
    }

    /// Folder that the snapshot is restored to.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn restore_folder(&self) -> Result<PathBuf, Box<Reason>> {
        let target = self.shared().work.join("restored");
        std::fs::create_dir_all(&target).map_err(|error| Box::new(io_reason(&target.display().to_string(), &error)))?;
        Ok(target)
    }

    /// Puts restored files back into the volumes, through the engine: paths are resolved inside the container.
    ///
    /// # Errors
    /// Trouble with engine or host.
    pub async fn fill_volumes(&self, saved: &[Saved], folder: &Path) -> Result<(), Box<Reason>> {
        let places = self.places()?;
        for wanted in saved {
            let Some(place) = places.iter().find(|place| place.volume == wanted.volume) else { continue };
            let container = self.container(&place.service).await?;
            let root = staging::root_of(folder, &wanted.full_name);
            self.shared()
                .engine
                .put_folder(&container, &place.target, &root)
                .await
                .map_err(|error| reasons::archive(&error))?;
        }
        Ok(())
    }

    /// The saved files are in the volumes again, byte for byte. For volumes that neither witness nor verify can look into.
    ///
    /// # Errors
    /// `restore-empty`.
    pub async fn saved_files_are_back(&self, made: &Made, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
        let clock = StepClock::now();
        let again = self.shared().work.join("again");
        let volumes = self.volumes().await?;
        let mut wrong = Vec::new();
        for saved in &made.saved {
            let Some(volume) = volumes.iter().find(|volume| volume.name == saved.full_name) else { continue };
            match staging::copy_volume(Path::new(&volume.mountpoint), &again, &saved.full_name, &saved.paths) {
                Ok(()) => wrong.extend(staging::differences(
                    &staging::root_of(&made.folder, &saved.full_name),
                    &staging::root_of(&again, &saved.full_name),
                )),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        recorder.check(
            "saved files",
            &clock,
            if wrong.is_empty() { Ok("what was saved is there again".to_owned()) } else { Err(wrong.join("; ")) },
        );
        match wrong.first() {
            None => Ok(()),
            Some(first) => Err(Box::new(Reason::new(ReasonCode::RestoreEmpty, first.clone()).evidence(wrong.clone()))),
        }
    }

    /// Removes services, containers and volumes, and proves them gone. Networks, secrets and configs stay.
    ///
    /// # Errors
    /// `teardown-failed` with what would not go.
    pub async fn wipe(&mut self) -> Result<(), Box<Reason>> {
        let removal =
            self.shared().engine.wipe_stack(self.stack(), WIPE_LIMIT).await.map_err(|error| reasons::engine(&error))?;
        if removal.is_clean() {
            return Ok(());
        }
        let left = removal.leftovers.iter().map(|left| format!("{} {}: {}", left.kind, left.name, left.why));
        Err(Box::new(
            Reason::new(ReasonCode::TeardownFailed, "the app could not be wiped before the restore").evidence(left),
        ))
    }
}

fn witness_path(place: &Place, moment: Moment) -> String {
    format!("{}/{}", place.target.trim_end_matches('/'), moment.file())
}

/// The same file runs for both tokens; the later one is told apart by name.
fn named(mut case: TestCase, moment: Moment) -> TestCase {
    if moment == Moment::Later {
        case.name.push_str(" (later)");
    }
    case
}

fn staging_reason(error: &StagingError, wanted: &Saved) -> Box<Reason> {
    Box::new(match error {
        StagingError::Missing(_) | StagingError::Outside(_) | StagingError::Link(_) => Reason::new(
            ReasonCode::BackupEmpty,
            format!("the labels ask for something of volume {} that cannot be saved: {error}", wanted.volume),
        )
        .evidence(wanted.paths.iter().map(|path| format!("backupbot.backup.volumes.{}.path: {path}", wanted.volume)))
        .evidence([format!("after the pre-hook: {error}")]),
        StagingError::Io { path, source } if source.kind() == std::io::ErrorKind::PermissionDenied => Reason::new(
            ReasonCode::EngineError,
            format!(
                "volume {} cannot be read at {path}: run cc-ci as root, or as a user who may read Docker's volumes",
                wanted.volume
            ),
        ),
        StagingError::Io { path, source } => io_reason(path, source),
    })
}

fn bug(panic: &tokio::task::JoinError) -> Reason {
    Reason::new(ReasonCode::Bug, format!("a task of cc-ci ended badly: {panic}"))
}

/// The last lines of a text.
fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
