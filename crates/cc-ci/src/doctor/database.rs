//! The doctor's look at the server's database: whether it is sound, and which runs in it wait for a person.
//!
//! It is never opened for writing, because a server may be using it.

use std::path::Path;

use super::{Check, Health};
use crate::store::StoreError;
use crate::store::inspect::{Inspection, Parked, inspect};

/// Looks at a database, which need not be there yet.
pub(super) async fn look(path: &Path) -> Vec<Check> {
    if !path.exists() {
        let found = format!("{} will be made at the first start", path.display());
        return vec![Check::new("database", Health::Good, found, "")];
    }
    let seen = inspect(path).await;
    let mut checks = vec![soundness(path, seen.as_ref())];
    checks.extend(seen.iter().flat_map(|seen| &seen.parked).map(parked));
    checks
}

fn soundness(path: &Path, seen: Result<&Inspection, &StoreError>) -> Check {
    let restore = "stop cc-ci serve and put a backup in its place; keep the broken file";
    let place = path.display();
    match seen {
        Err(error) => Check::new("database", Health::Bad, error.to_string(), restore),
        Ok(Inspection { sound: false, .. }) => {
            Check::new("database", Health::Bad, format!("{place}: SQLite finds it damaged"), restore)
        }
        Ok(Inspection { schema, known, .. }) if schema > known => Check::new(
            "database",
            Health::Bad,
            format!("{place} has schema {schema}, this cc-ci knows up to {known}"),
            "use the newer cc-ci, or put the backup from before the upgrade in its place",
        ),
        Ok(Inspection { schema, known, .. }) if schema < known => Check::new(
            "database",
            Health::Good,
            format!("{place} is sound; its schema {schema} becomes {known} at the next start"),
            "make a backup before that start",
        ),
        Ok(Inspection { schema, .. }) => {
            Check::new("database", Health::Good, format!("{place} is sound, schema {schema}"), "")
        }
    }
}

/// A run that the queue will not start again by itself, and who can.
fn parked(run: &Parked) -> Check {
    let Parked { number, repo_name, pull, commit } = run;
    let commit = commit.get(..12).unwrap_or(commit);
    let (place, again) = match pull {
        Some(pull) => {
            (format!("{repo_name}#{pull}"), "comment `!retest` on the pull request, or run it again on its page")
        }
        None => (repo_name.clone(), "run it again on its page"),
    };
    Check::new(
        "parked",
        Health::Warning,
        format!("run {number} of {place} at {commit}: cc-ci died each time while it ran, so it is not started again"),
        format!("read what the server's journal says before each end (out of memory?); then {again}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases() {
        let path = Path::new("/x/cc-ci.db");
        let of = |schema, known, sound| soundness(path, Ok(&Inspection { schema, known, sound, parked: Vec::new() }));
        assert_eq!(of(3, 3, true).health, Health::Good);
        assert_eq!(of(2, 3, true).health, Health::Good);
        assert_eq!(of(4, 3, true).health, Health::Bad);
        assert_eq!(of(3, 3, false).health, Health::Bad);
        assert!(of(2, 3, true).remedy.contains("backup"));
    }

    #[test]
    fn a_parked_run_is_told_with_the_way_to_release_it() {
        let run = |pull| Parked { number: 7, repo_name: "recipes/x".into(), pull, commit: "0123456789abcdef".into() };
        let of_pull = parked(&run(Some(3)));
        assert!(of_pull.found.starts_with("run 7 of recipes/x#3 at 0123456789ab: "), "{of_pull:?}");
        assert!(of_pull.remedy.contains("`!retest`"), "{of_pull:?}");
        assert!(!parked(&run(None)).remedy.contains("!retest"));
    }
}
