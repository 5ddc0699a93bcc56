//! H3: the recipe's own backup, the way backup-bot-two does it: labels, pre-hook, volumes or paths, post-hook, into a real restic repository.

use std::path::{Path, PathBuf};

use recipe::Plan;
use recipe::labels::BackupPlan;

use crate::domain::{Reason, ReasonCode};

use super::super::instance::Instance;
use super::super::record::{Outcome, Recorder, StageRun, StepClock};
use super::super::restic::{Entry, EntryKind, ResticError, Snapshot};
use super::super::staging;
use super::super::witness::{self, Moment};

/// What of a stack is saved: one volume each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Compose key of the volume.
    pub volume: String,
    /// Name in the engine.
    pub full_name: String,
    /// Paths relative to the volume's root; empty means all of it.
    pub paths: Vec<String>,
}

/// What the labels of a plan ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// No named volumes: nothing to save.
    Stateless,
    /// There are volumes and no service enables a backup.
    NoLabels(Vec<String>),
    /// These volumes.
    Volumes(Vec<Saved>),
}

/// A backup that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What it should hold.
    pub saved: Vec<Saved>,
    /// The folder that was saved, as the snapshot names it.
    pub folder: PathBuf,
}

/// What is to be saved (backup spec v2): `backupbot.backup=true` on any service saves every volume of the stack, less those that
/// are excluded on any service; a path label narrows its volume. Version 1's `backupbot.backup.path` (inside the container) is what
/// backup-bot-two 2.x ignores: all volumes are saved then.
#[must_use]
pub fn wanted(plan: &Plan) -> Wanted {
    let keys: Vec<String> = witness::places(plan).into_iter().map(|place| place.volume).collect();
    if keys.is_empty() {
        return Wanted::Stateless;
    }
    let labelled: Vec<&BackupPlan> = plan.services.iter().map(|service| &service.backup).collect();
    if !labelled.iter().any(|backup| backup.enabled) {
        return Wanted::NoLabels(keys);
    }
    let saved = plan
        .volumes
        .iter()
        .filter(|volume| keys.contains(&volume.key))
        .filter(|volume| !labelled.iter().any(|backup| backup.excluded.contains(&volume.key)))
        .map(|volume| Saved {
            volume: volume.key.clone(),
            full_name: volume.name.clone(),
            paths: labelled.iter().filter_map(|backup| backup.paths.get(&volume.key)).flatten().cloned().collect(),
        })
        .collect();
    Wanted::Volumes(saved)
}

/// Makes the backup and checks what is in it. The backup is kept in the instance for the restore.
///
/// # Errors
/// The reason why it does not hold.
pub async fn run(instance: &mut Instance, recorder: &mut Recorder) -> StageRun {
    if let Some(why) = instance.not_applicable(recorder.stage()) {
        return Ok(Outcome::NotApplicable(why));
    }
    let saved = match wanted(instance.current_plan()?) {
        Wanted::Stateless => return Ok(Outcome::NotApplicable("stateless: no named volumes".to_owned())),
        Wanted::NoLabels(volumes) => {
            return Err(Box::new(
                Reason::new(
                    ReasonCode::NoBackupLabels,
                    format!(
                        "the recipe keeps data in {} and no service has `backupbot.backup=true`",
                        volumes.join(", ")
                    ),
                )
                .evidence(volumes.iter().map(|key| format!("volume {key} is mounted writable"))),
            ));
        }
        Wanted::Volumes(saved) if saved.is_empty() => {
            return Err(Box::new(Reason::new(
                ReasonCode::BackupEmpty,
                "the labels exclude every volume: the backup would hold nothing",
            )));
        }
        Wanted::Volumes(saved) => saved,
    };
    instance.settled_for_hooks(recorder).await?;
    instance.hooks(recorder, "backup pre-hook", |backup| backup.pre_hook.as_deref()).await?;
    let step = recorder.step("save volumes");
    let staged = instance.stage_volumes(&saved).await;
    recorder.done(step, staged.is_ok(), format!("{} volumes", saved.len()));
    let folder = staged?;
    let step = recorder.step("restic backup");
    let repo = instance.restic().await?;
    let snapshot = match repo.backup(std::slice::from_ref(&folder), &["cc-ci".to_owned()]).await {
        Ok(snapshot) => {
            recorder.done(step, true, format!("{} files, {} bytes", snapshot.files, snapshot.bytes));
            snapshot
        }
        Err(error) => {
            recorder.done(step, false, error.to_string());
            return Err(restic_reason(&error));
        }
    };
    instance.hooks(recorder, "backup post-hook", |backup| backup.post_hook.as_deref()).await?;

    let clock = StepClock::now();
    let entries = repo.ls(&snapshot.id).await.map_err(|error| restic_reason(&error))?;
    let missing = missing(&entries, &folder, &saved, instance.has_witness());
    recorder.check(
        "content",
        &clock,
        if missing.is_empty() {
            Ok(format!("{} entries; everything that the labels ask for", entries.len()))
        } else {
            Err(missing.join("; "))
        },
    );
    if let Some(first) = missing.first() {
        let listed = entries.iter().filter_map(|entry| {
            let path = Path::new(&entry.path).strip_prefix(&folder).ok().filter(|_| entry.kind == EntryKind::File)?;
            Some(format!("in the snapshot: {} ({} bytes)", path.display(), entry.size))
        });
        return Err(Box::new(
            Reason::new(ReasonCode::BackupEmpty, first.clone())
                .evidence(missing.iter().cloned())
                .evidence(listed.take(10)),
        ));
    }
    instance.keep_backup(Made { snapshot, saved, folder });
    Ok(Outcome::Pass)
}

/// What a failure of restic means for the run: the tool's trouble, never the recipe's.
pub(in super::super) fn restic_reason(error: &ResticError) -> Box<Reason> {
    let code = match error {
        ResticError::Cancelled(_) => ReasonCode::Interrupted,
        ResticError::Failed { message, .. } if message.contains("no space left") => ReasonCode::DiskFull,
        ResticError::Process(_) | ResticError::Failed { .. } | ResticError::NotInSnapshot { .. } => {
            ReasonCode::BackupToolFailed
        }
    };
    Box::new(Reason::new(code, error.to_string()))
}

/// What the snapshot should hold and does not. Pure.
fn missing(entries: &[Entry], folder: &Path, saved: &[Saved], has_witness: bool) -> Vec<String> {
    let mut out = Vec::new();
    for volume in saved {
        let root = staging::root_of(folder, &volume.full_name);
        if volume.paths.is_empty() {
            let witness = root.join(Moment::First.file()).to_string_lossy().into_owned();
            let found = entries.iter().any(|entry| entry.path == witness && entry.size > 0);
            if has_witness && !found {
                out.push(format!("the snapshot lacks the witness of volume {}: {witness}", volume.volume));
            }
            continue;
        }
        for path in &volume.paths {
            let full = root.join(path.trim_start_matches('/')).to_string_lossy().into_owned();
            let below = format!("{}/", full.trim_end_matches('/'));
            let bytes: u64 = entries
                .iter()
                .filter(|entry| entry.kind == EntryKind::File && (entry.path == full || entry.path.starts_with(&below)))
                .map(|entry| entry.size)
                .sum();
            if bytes == 0 {
                out.push(format!("`{path}` of volume {} is in the snapshot without content", volume.volume));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(paths: &[&str]) -> Vec<Saved> {
        vec![Saved {
            volume: "data".into(),
            full_name: "s_data".into(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }]
    }

    fn entry(path: &str, size: u64) -> Entry {
        Entry { path: path.into(), kind: EntryKind::File, size }
    }

    #[test]
    fn a_snapshot_without_content_is_seen() {
        let folder = Path::new("/v");
        let witness = entry("/v/s_data/_data/.cc-ci-witness", 40);
        for (entries, paths, has_witness, complaints) in [
            (vec![witness.clone()], &[][..], true, 0),
            (vec![entry("/v/s_data/_data/x", 9)], &[], true, 1),
            (vec![entry("/v/s_data/_data/.cc-ci-witness", 0)], &[], true, 1),
            (vec![], &[], false, 0),
            (vec![entry("/v/s_data/_data/dump.sql", 9)], &["dump.sql"], true, 0),
            (vec![entry("/v/s_data/_data/dump.sql", 0)], &["dump.sql"], true, 1),
            (vec![entry("/v/s_data/_data/dump.sql.old", 9)], &["dump.sql"], true, 1),
            (vec![entry("/v/s_data/_data/dumps/a", 9)], &["dumps"], true, 0),
            (vec![entry("/v/s_data/_data/dumps/a", 9)], &["/dumps/"], true, 0),
            (vec![witness], &["dump.sql", "more"], true, 2),
        ] {
            let got = missing(&entries, folder, &saved(paths), has_witness);
            assert_eq!(got.len(), complaints, "{entries:?} {paths:?}: {got:?}");
        }
    }
}
