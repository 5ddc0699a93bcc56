//! H2: from the base, in place, to the commit under test: same env, secrets and volumes, and the data is still there.

use crate::domain::{Fault, Reason, ReasonCode, TestStatus};

use super::super::instance::{Instance, Mode};
use super::super::prepare::Version;
use super::super::record::{Outcome, Recorder, StageRun, StepClock};
use super::super::witness::{Moment, Place};
use super::install;

/// Deploys the base, puts data in, upgrades, and proves what runs and what is there.
///
/// # Errors
/// The reason why it does not hold. A base that does not come up is `base-broken`, never the commit's fault.
pub async fn run(instance: &mut Instance, base: &Version, head: &Version, recorder: &mut Recorder) -> StageRun {
    install::bring_up(instance, base, recorder).await.map_err(|reason| base_broken(*reason, base))?;
    instance.seed(recorder, Moment::First).await?;
    let before = instance.places()?;

    let plan = instance.plan(head, Some(base))?;
    instance.deploy(recorder, head, plan, Mode::Update).await?;
    instance.converge(recorder, Mode::Update).await?;
    instance.answers(recorder).await?;
    instance.ready(recorder).await?;
    instance.proves_version(recorder, head).await?;

    same_volumes(instance, &before, recorder)?;
    data_is_there(instance, recorder).await?;
    Ok(Outcome::Pass)
}

/// Every volume that held data is still mounted. That it is still the same volume and not a new one of its name, the witnesses tell.
fn same_volumes(instance: &Instance, before: &[Place], recorder: &mut Recorder) -> Result<(), Box<Reason>> {
    let clock = StepClock::now();
    let after = instance.places()?;
    let left: Vec<&str> = before
        .iter()
        .filter(|place| !after.iter().any(|other| other.full_name == place.full_name))
        .map(|place| place.volume.as_str())
        .collect();
    recorder.check(
        "same volumes",
        &clock,
        if left.is_empty() {
            Ok(format!("{} volumes, all still mounted", before.len()))
        } else {
            Err(format!("no longer mounted: {}", left.join(", ")))
        },
    );
    if left.is_empty() {
        return Ok(());
    }
    let now: Vec<&str> = after.iter().map(|place| place.volume.as_str()).collect();
    Err(Box::new(
        Reason::new(
            ReasonCode::VolumesChanged,
            format!("after the upgrade no service mounts {} any more", left.join(", ")),
        )
        .evidence(left.iter().map(|name| format!("volume {name} held data before the upgrade")))
        .evidence([format!(
            "volumes mounted now: {}",
            if now.is_empty() { "none".to_owned() } else { now.join(", ") }
        )]),
    ))
}

/// The witnesses and the suite's verify, after the upgrade.
async fn data_is_there(instance: &mut Instance, recorder: &mut Recorder) -> Result<(), Box<Reason>> {
    let lost = instance.missing_witnesses(recorder, |_| true).await?;
    if !lost.is_empty() {
        let names: Vec<&str> = lost.iter().map(|witness| witness.volume.as_str()).collect();
        let message = format!("what was put into {} before the upgrade is gone after it", names.join(", "));
        return Err(Box::new(
            Reason::new(ReasonCode::DataLostUpgrade, message).evidence(lost.iter().map(ToString::to_string)),
        ));
    }
    let cases = instance.verify(recorder, Moment::First).await?;
    let failed: Vec<_> = cases.iter().filter(|case| case.status != TestStatus::Pass).collect();
    if let Some(first) = failed.first() {
        let message = format!("{} held before the upgrade and does not after it", first.name);
        return Err(Box::new(
            Reason::new(ReasonCode::DataLostUpgrade, message).evidence(first.message.lines().take(20)),
        ));
    }
    Ok(())
}

/// What went wrong with the base is told as such, unless it is nobody's fault in particular.
fn base_broken(reason: Reason, base: &Version) -> Box<Reason> {
    match reason.fault {
        Fault::Recipe | Fault::Test | Fault::Base => {
            let name = base.reference.clone().unwrap_or_else(|| base.short().to_owned());
            let mut broken = Reason::new(ReasonCode::BaseBroken, format!("the base {name} does not come up: {reason}"));
            broken.service.clone_from(&reason.service);
            Box::new(broken.evidence(reason.evidence))
        }
        Fault::Infrastructure | Fault::Interrupted | Fault::Bug => Box::new(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_base_is_not_the_commits_fault_and_a_broken_host_not_the_bases() {
        let base = Version {
            role: "base",
            commit: "0123456789abcdef".into(),
            reference: Some("1.0.0+1".into()),
            tree: Default::default(),
        };
        for (code, want) in [
            (ReasonCode::CrashLoop, ReasonCode::BaseBroken),
            (ReasonCode::HttpStatus, ReasonCode::BaseBroken),
            (ReasonCode::NotReady, ReasonCode::BaseBroken),
            (ReasonCode::AddressesExhausted, ReasonCode::AddressesExhausted),
            (ReasonCode::RegistryUnreachable, ReasonCode::RegistryUnreachable),
            (ReasonCode::Interrupted, ReasonCode::Interrupted),
        ] {
            let told = base_broken(Reason::new(code, "x").evidence(["line"]), &base);
            assert_eq!(told.code, want);
            assert!(!told.fault.blames_commit());
            assert_eq!(told.evidence, ["line"]);
        }
    }
}
