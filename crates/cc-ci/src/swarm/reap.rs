//! Finding what dead runs left behind, and removing it.
//!
//! Never touches a run that somebody says is alive. The rule to know: whether a run lives is asked once, for the plan; a run that begins
//! afterwards is not in the inventory the plan was made from.

use std::collections::BTreeMap;
use std::time::Duration;

use super::inventory::{Object, Scope};
use super::remove::Removal;
use super::{Engine, EngineError};
use crate::domain::RunId;

/// What is to be removed and what is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReapPlan {
    /// Runs to remove, with the number of their objects.
    pub dead: BTreeMap<RunId, usize>,
    /// Runs that live, with the number of their objects.
    pub live: BTreeMap<RunId, usize>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReapReport {
    /// Each dead run and what came of its removal.
    pub reaped: BTreeMap<RunId, Removal>,
    /// Runs that were left alone because they live.
    pub spared: Vec<RunId>,
}

impl ReapReport {
    /// True if everything of the dead runs is gone.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.reaped.values().all(Removal::is_clean)
    }
}

/// Sorts the inventory by whether its runs live.
#[must_use]
pub fn plan_reap(inventory: &[Object], live: impl Fn(&RunId) -> bool) -> ReapPlan {
    let mut runs: BTreeMap<&RunId, usize> = BTreeMap::new();
    for object in inventory {
        *runs.entry(&object.run).or_default() += 1;
    }
    let mut plan = ReapPlan::default();
    for (run, count) in runs {
        let side = if live(run) { &mut plan.live } else { &mut plan.dead };
        side.insert(run.clone(), count);
    }
    plan
}

impl Engine {
    /// Removes everything of runs that do not live, run by run, each within `limit`.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn reap(&self, live: impl Fn(&RunId) -> bool, limit: Duration) -> Result<ReapReport, EngineError> {
        let plan = plan_reap(&self.inventory(&Scope::AllOfCcCi).await?, live);
        let mut report = ReapReport { spared: plan.live.into_keys().collect(), ..Default::default() };
        for run in plan.dead.into_keys() {
            let removal = self.remove(&Scope::Run(run.clone()), limit).await?;
            report.reaped.insert(run, removal);
        }
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::Kind;

    #[test]
    fn only_dead_runs_are_planned() {
        let (dead, live) = (RunId::new(1_795_000_000, 1), RunId::new(1_795_000_000, 2));
        let object = |run: &RunId, kind| Object {
            kind,
            id: "i".into(),
            name: "n".into(),
            run: run.clone(),
            stack: None,
            labels: BTreeMap::new(),
            anonymous_volumes: Vec::new(),
            task_state: None,
        };
        let inventory = [object(&dead, Kind::Service), object(&live, Kind::Service), object(&dead, Kind::Secret)];
        let plan = plan_reap(&inventory, |run| *run == live);
        assert_eq!(plan.dead, BTreeMap::from([(dead, 2)]));
        assert_eq!(plan.live, BTreeMap::from([(live, 1)]));
        assert_eq!(plan_reap(&[], |_| false), ReapPlan::default());
    }
}
