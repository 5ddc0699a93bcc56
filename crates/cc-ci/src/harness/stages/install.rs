//! H1: a fresh deploy converges, stays up, and answers over HTTP where its Traefik labels say.

use super::super::instance::{Instance, Mode};
use super::super::prepare::Version;
use super::super::record::{Outcome, Recorder, StageRun};

/// Deploys `version` afresh and looks at it.
///
/// # Errors
/// The reason why it does not hold.
pub async fn run(instance: &mut Instance, version: &Version, recorder: &mut Recorder) -> StageRun {
    bring_up(instance, version, recorder).await?;
    instance.start_screenshot().await;
    Ok(Outcome::Pass)
}

/// Deploys, waits and asks, without the picture: what every fresh deployment needs.
///
/// # Errors
/// The reason why it does not come up.
pub async fn bring_up(
    instance: &mut Instance,
    version: &Version,
    recorder: &mut Recorder,
) -> Result<(), Box<crate::domain::Reason>> {
    let plan = instance.plan(version, None)?;
    instance.deploy(recorder, version, plan, Mode::Fresh).await?;
    instance.converge(recorder, Mode::Fresh).await?;
    instance.answers(recorder).await?;
    instance.ready(recorder).await
}
