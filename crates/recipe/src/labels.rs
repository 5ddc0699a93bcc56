//! Labels that Co-op Cloud gives a meaning: `coop-cloud.<stack>.*` and `backupbot.*`.
//!
//! Both backup label specifications are read. The one rule to know: hooks belong to the service that carries them, and a stack may have several.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Labels by key.
pub type Labels = BTreeMap<String, String>;

/// What the backup labels of one service say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackupPlan {
    /// `backupbot.backup` is there and says yes.
    pub enabled: bool,
    /// Volume keys left out (`backupbot.backup.volumes.<key>=false`).
    pub excluded: Vec<String>,
    /// Paths inside a volume, relative to its root (`backupbot.backup.volumes.<key>.path=a,b/c`); a volume not named here is saved whole.
    pub paths: BTreeMap<String, Vec<String>>,
    /// First specification: absolute paths inside the container (`backupbot.backup.path`).
    pub container_paths: Vec<String>,
    /// Command to run in the service's container before a backup.
    pub pre_hook: Option<String>,
    /// Command after a backup.
    pub post_hook: Option<String>,
    /// Command before a restore.
    pub restore_pre_hook: Option<String>,
    /// Command after a restore.
    pub restore_post_hook: Option<String>,
}

/// Reads the backup labels of a service.
pub fn backup(labels: &Labels) -> BackupPlan {
    let text = |key: &str| labels.get(key).filter(|value| !value.is_empty()).cloned();
    let list = |value: &str| {
        value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut plan = BackupPlan {
        enabled: labels.get("backupbot.backup").is_some_and(|value| is_yes(value)),
        container_paths: labels.get("backupbot.backup.path").map(|value| list(value)).unwrap_or_default(),
        pre_hook: text("backupbot.backup.pre-hook"),
        post_hook: text("backupbot.backup.post-hook"),
        restore_pre_hook: text("backupbot.restore.pre-hook"),
        restore_post_hook: text("backupbot.restore.post-hook"),
        ..BackupPlan::default()
    };
    for (key, value) in labels {
        let Some(rest) = key.strip_prefix("backupbot.backup.volumes.") else { continue };
        match rest.strip_suffix(".path") {
            Some(volume) => {
                plan.paths.insert(volume.to_owned(), list(value));
            }
            None if !is_yes(value) => plan.excluded.push(rest.to_owned()),
            None => {}
        }
    }
    plan
}

/// `coop-cloud.<stack>.version`; only the label of this stack counts.
pub fn version<'a>(labels: &'a Labels, stack: &str) -> Option<&'a str> {
    labels.get(&format!("coop-cloud.{stack}.version")).map(String::as_str).filter(|value| !value.is_empty())
}

/// `coop-cloud.<stack>.timeout` in seconds: `None` if absent, the text itself if it is no positive number.
///
/// # Errors
/// The label is there and is no positive whole number.
pub fn timeout(labels: &Labels, stack: &str) -> Result<Option<u64>, String> {
    match labels.get(&format!("coop-cloud.{stack}.timeout")).map(|value| value.trim()) {
        None | Some("") => Ok(None),
        Some(value) => value.parse().ok().filter(|seconds| *seconds > 0).map(Some).ok_or_else(|| value.to_owned()),
    }
}

/// `true`, `1`, `yes`, `y` and `on`, in any case.
pub fn is_yes(value: &str) -> bool {
    ["true", "1", "yes", "y", "on"].iter().any(|yes| value.trim().eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn second_specification() {
        let plan = backup(&labels(&[
            ("backupbot.backup", "true"),
            ("backupbot.backup.volumes.cache", "false"),
            ("backupbot.backup.volumes.keep", "true"),
            ("backupbot.backup.volumes.db-data.path", "backup.sql, dumps/x"),
            ("backupbot.backup.pre-hook", "/pg_backup.sh backup"),
            ("backupbot.restore.post-hook", "/pg_backup.sh restore"),
        ]));
        assert!(plan.enabled);
        assert_eq!(plan.excluded, ["cache"]);
        assert_eq!(plan.paths["db-data"], ["backup.sql", "dumps/x"]);
        assert_eq!(plan.pre_hook.as_deref(), Some("/pg_backup.sh backup"));
        assert_eq!((plan.post_hook, plan.restore_pre_hook), (None, None));
        assert_eq!(plan.restore_post_hook.as_deref(), Some("/pg_backup.sh restore"));
    }

    #[test]
    fn first_specification() {
        let plan =
            backup(&labels(&[("backupbot.backup", "True"), ("backupbot.backup.path", "/usr/share/nginx/html,/etc/x")]));
        assert!(plan.enabled);
        assert_eq!(plan.container_paths, ["/usr/share/nginx/html", "/etc/x"]);
    }

    #[test]
    fn off_when_absent_or_no() {
        for value in [None, Some("false"), Some(""), Some("0"), Some("maybe")] {
            let set: Vec<(&str, &str)> = value.map(|v| ("backupbot.backup", v)).into_iter().collect();
            assert!(!backup(&labels(&set)).enabled, "{value:?}");
        }
    }

    #[test]
    fn version_and_timeout_belong_to_the_stack() {
        let set = labels(&[
            ("coop-cloud.blog.version", "1.0.0+2"),
            ("coop-cloud.blog.timeout", "300"),
            ("coop-cloud.other.version", "9"),
        ]);
        assert_eq!(version(&set, "blog"), Some("1.0.0+2"));
        assert_eq!(version(&set, "nope"), None);
        assert_eq!(timeout(&set, "blog"), Ok(Some(300)));
        assert_eq!(timeout(&set, "nope"), Ok(None));
        for bad in ["soon", "-1", "0", "1.5"] {
            assert_eq!(timeout(&labels(&[("coop-cloud.b.timeout", bad)]), "b"), Err(bad.to_owned()));
        }
    }
}
