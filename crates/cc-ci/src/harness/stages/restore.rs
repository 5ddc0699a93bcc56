//! H4: after the data was changed and wiped, the backup brings it back: what was saved is there, what came later is not.

use crate::domain::{Reason, ReasonCode, StageStatus, TestCase, TestStatus};

use super::super::instance::{Instance, Mode};
use super::super::prepare::Version;
use super::super::record::{Outcome, Recorder, StageRun, StepClock};
use super::super::witness::Moment;
use super::backup::{Made, restic_reason};

/// Changes the data, wipes the app, deploys it afresh, restores, and looks.
///
/// # Errors
/// The reason why it does not hold.
pub async fn run(instance: &mut Instance, head: &Version, backup: StageStatus, recorder: &mut Recorder) -> StageRun {
    if let Some(why) = instance.not_applicable(recorder.stage()) {
        return Ok(Outcome::NotApplicable(why));
    }
    let Some(made) = instance.backup() else {
        return Ok(Outcome::NotApplicable(match backup {
            StageStatus::NotApplicable => "nothing is backed up".to_owned(),
            _ => "there is no backup to restore".to_owned(),
        }));
    };

    // Change: what is put in now was never saved.
    instance.seed(recorder, Moment::Later).await?;
    instance.spoil_witnesses(recorder).await?;

    // Wipe: containers and volumes go, the app comes up empty. Networks, secrets and configs stay as they are.
    let step = recorder.step("wipe");
    let wiped = instance.wipe().await;
    recorder.done(step, wiped.is_ok(), "services, containers and volumes removed");
    wiped?;
    instance.redeploy(recorder, head).await?;
    instance.converge(recorder, Mode::Fresh).await?;
    instance.answers(recorder).await?;
    instance.ready(recorder).await?;
    proof_can_fail(instance, recorder).await?;

    restore(instance, &made, recorder).await?;

    instance.still_healthy(recorder).await?;
    instance.answers(recorder).await?;
    came_back(instance, &made, recorder).await?;
    later_is_gone(instance, recorder).await?;
    Ok(Outcome::Pass)
}

/// Hooks and files, as backup-bot-two does.
async fn restore(instance: &mut Instance, made: &Made, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
    instance.hooks(recorder, "restore pre-hook", |backup| backup.restore_pre_hook.as_deref()).await?;
    let step = recorder.step("restic restore");
    let repo = instance.restic().await?;
    let target = instance.restore_folder()?;
    let restored = repo.restore(&made.snapshot.id, &target, &[]).await;
    recorder.done(step, restored.is_ok(), format!("snapshot {}", made.snapshot.id.get(..8).unwrap_or_default()));
    restored.map_err(|error| restic_reason(&error))?;
    let step = recorder.step("fill volumes");
    let filled =
        instance.fill_volumes(&made.saved, &target.join(made.folder.strip_prefix("/").unwrap_or(&made.folder))).await;
    recorder.done(step, filled.is_ok(), format!("{} volumes", made.saved.len()));
    filled?;
    instance.hooks(recorder, "restore post-hook", |backup| backup.restore_post_hook.as_deref()).await
}

/// On the empty app the proof must fail; one that holds now proves nothing later.
async fn proof_can_fail(instance: &mut Instance, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
    let clock = StepClock::now();
    let present = instance.present_witnesses(Moment::First).await?;
    recorder.check(
        "wiped",
        &clock,
        if present.is_empty() {
            Ok("no witness is there after the wipe".to_owned())
        } else {
            Err(format!("still there after the wipe: {}", present.join(", ")))
        },
    );
    if !present.is_empty() {
        return Err(Box::new(Reason::new(
            ReasonCode::EngineError,
            format!("volumes {} were to be wiped and still hold the witness", present.join(", ")),
        )));
    }
    let cases = instance.try_verify(recorder, Moment::First).await?;
    if !cases.is_empty() && cases.iter().all(|case| case.status == TestStatus::Pass) {
        let names: Vec<String> = cases.into_iter().map(|case| case.name).collect();
        return Err(Box::new(
            Reason::new(
                ReasonCode::SuiteInvalid,
                format!("{} holds on an empty app: it cannot tell data from no data", names.join(", ")),
            )
            .evidence(["all volumes were removed and the app deployed afresh; verify must fail there"]),
        ));
    }
    recorder.line(format!("verify fails on the empty app, as it must: {} tests", cases.len()));
    Ok(())
}

/// What was saved is there again.
async fn came_back(instance: &mut Instance, made: &Made, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
    let whole: Vec<&str> =
        made.saved.iter().filter(|saved| saved.paths.is_empty()).map(|saved| saved.volume.as_str()).collect();
    // A volume of which only some paths are saved comes back without its witness.
    let lost = instance.missing_witnesses(recorder, |volume| whole.contains(&volume)).await?;
    if let Some(first) = lost.first() {
        return Err(Box::new(
            Reason::new(ReasonCode::RestoreEmpty, format!("volume {} does not hold what was backed up", first.volume))
                .evidence(lost.iter().map(ToString::to_string)),
        ));
    }
    let cases = instance.verify(recorder, Moment::First).await?;
    let failed: Vec<&TestCase> = cases.iter().filter(|case| case.status != TestStatus::Pass).collect();
    if let Some(first) = failed.first() {
        return Err(Box::new(
            Reason::new(
                ReasonCode::RestoreEmpty,
                format!("{} held before the backup and does not after the restore", first.name),
            )
            .evidence(first.message.lines().take(20)),
        ));
    }
    if cases.is_empty() && whole.is_empty() {
        // Neither a witness nor a verify can look: the saved files themselves must be back.
        instance.saved_files_are_back(made, recorder).await?;
    }
    Ok(())
}

/// What came after the backup is gone.
async fn later_is_gone(instance: &mut Instance, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
    let clock = StepClock::now();
    let mut stale = instance.present_witnesses(Moment::Later).await?;
    let cases = instance.try_verify(recorder, Moment::Later).await?;
    if !cases.is_empty() && cases.iter().all(|case| case.status == TestStatus::Pass) {
        stale.extend(cases.into_iter().map(|case| format!("{} for what was put in after the backup", case.name)));
    }
    recorder.check(
        "nothing later",
        &clock,
        if stale.is_empty() { Ok("what came after the backup is gone".to_owned()) } else { Err(stale.join("; ")) },
    );
    match stale.first() {
        None => Ok(()),
        Some(first) => Err(Box::new(
            Reason::new(ReasonCode::RestoreStale, format!("{first} is still there after the restore"))
                .evidence(stale.clone()),
        )),
    }
}
