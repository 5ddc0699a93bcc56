//! Which version an upgrade starts from (H2): a pure choice.

use super::Resolved;

/// What a person says about the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseWish {
    /// This branch, tag or commit.
    Commit(Resolved),
    /// There is none, for this reason.
    None(String),
}

/// A release tag with the order of its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Tag name.
    pub name: String,
    /// Its commit, in full.
    pub commit: String,
    /// Recipe part of the version: major, minor, patch. None if the tag is no version; such tags are never chosen.
    pub version: Option<(u64, u64, u64)>,
    /// The commit under test is an ancestor of it: going from there to here would be a downgrade.
    pub after_head: bool,
}

/// Everything the choice depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseInputs {
    /// The commit under test, in full.
    pub head: String,
    /// `--base`.
    pub argument: Option<BaseWish>,
    /// The profile's `[upgrade] base`.
    pub profile: Option<BaseWish>,
    /// The last version known green.
    pub last_green: Option<Resolved>,
    /// Release tags that are reachable from the target branch.
    pub releases: Vec<Release>,
    /// The target branch and its tip.
    pub target: Option<Resolved>,
    /// The commit under test is an ancestor of the target branch's tip.
    pub target_after_head: bool,
}

/// What the upgrade starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseChoice {
    /// This commit.
    Commit {
        /// In full.
        commit: String,
        /// Tag or branch.
        reference: Option<String>,
        /// Why this one, as `newest release tag`.
        chosen: String,
    },
    /// The upgrade does not apply.
    Skip {
        /// Why.
        why: String,
    },
}

/// Chooses: what a person said, else the last version known green, else the newest release on the target branch, else
/// the target branch's tip, else none. Never the commit under test, never a version that comes after it.
#[must_use]
pub fn choose_base(inputs: &BaseInputs) -> BaseChoice {
    for (wish, from) in [(&inputs.argument, "--base"), (&inputs.profile, "profile")] {
        match wish {
            Some(BaseWish::None(reason)) => return BaseChoice::Skip { why: format!("{from}: {reason}") },
            Some(BaseWish::Commit(wished)) if wished.commit == inputs.head => {
                return BaseChoice::Skip { why: format!("the base named by {from} is the commit under test") };
            }
            Some(BaseWish::Commit(wished)) => return take(wished, from),
            None => {}
        }
    }
    if let Some(green) = inputs.last_green.as_ref().filter(|green| green.commit != inputs.head) {
        return take(green, "last version known green");
    }
    if let Some(release) = newest_release(inputs) {
        return BaseChoice::Commit {
            commit: release.commit.clone(),
            reference: Some(release.name.clone()),
            chosen: "newest release tag".to_owned(),
        };
    }
    match &inputs.target {
        Some(target) if target.commit != inputs.head && !inputs.target_after_head => {
            take(target, "tip of the target branch")
        }
        Some(_) | None => BaseChoice::Skip {
            why: "first version: there is no earlier release and no other commit to upgrade from".to_owned(),
        },
    }
}

/// The highest version that is not the commit under test and lies before it. If that commit is a release itself, only
/// lower versions count; a version number says so where history (a maintenance branch) does not.
fn newest_release(inputs: &BaseInputs) -> Option<&Release> {
    let own =
        inputs.releases.iter().filter(|release| release.commit == inputs.head).filter_map(|own| own.version).max();
    inputs
        .releases
        .iter()
        .filter(|release| release.commit != inputs.head && !release.after_head)
        .filter(|release| release.version.is_some() && own.is_none_or(|own| release.version < Some(own)))
        .max_by(|a, b| a.version.cmp(&b.version).then_with(|| a.name.cmp(&b.name)))
}

fn take(resolved: &Resolved, why: &str) -> BaseChoice {
    let Resolved { commit, reference } = resolved.clone();
    BaseChoice::Commit { commit, reference, chosen: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(commit: &str) -> Resolved {
        Resolved { commit: commit.to_owned(), reference: Some(format!("ref-{commit}")) }
    }

    fn release(name: &str, commit: &str, version: Option<(u64, u64, u64)>) -> Release {
        Release { name: name.to_owned(), commit: commit.to_owned(), version, after_head: false }
    }

    fn inputs(change: impl FnOnce(&mut BaseInputs)) -> BaseInputs {
        let mut inputs = BaseInputs {
            head: "head".to_owned(),
            releases: vec![
                release("2.9.0+1", "r29", Some((2, 9, 0))),
                release("2.10.0+1", "r210", Some((2, 10, 0))),
                release("99", "legacy", None),
            ],
            target: Some(at("tip")),
            ..BaseInputs::default()
        };
        change(&mut inputs);
        inputs
    }

    #[test]
    fn the_choice() {
        let none = |reason: &str| Some(BaseWish::None(reason.to_owned()));
        let wish = |commit: &str| Some(BaseWish::Commit(at(commit)));
        let table: Vec<(&str, BaseInputs, Result<&str, &str>)> = vec![
            ("newest by number, not by text", inputs(|_| {}), Ok("r210 newest release tag")),
            ("argument wins", inputs(|i| (i.argument, i.profile) = (wish("a"), none("x"))), Ok("a --base")),
            ("argument none", inputs(|i| i.argument = none("asked")), Err("--base: asked")),
            (
                "argument is head",
                inputs(|i| i.argument = wish("head")),
                Err("named by --base is the commit under test"),
            ),
            ("profile", inputs(|i| i.profile = wish("p")), Ok("p profile")),
            ("profile none", inputs(|i| i.profile = none("no way")), Err("profile: no way")),
            ("known green", inputs(|i| i.last_green = Some(at("g"))), Ok("g last version known green")),
            ("green is head", inputs(|i| i.last_green = Some(at("head"))), Ok("r210 newest release tag")),
            (
                "head is the newest release",
                inputs(|i| i.releases[1].commit = "head".to_owned()),
                Ok("r29 newest release tag"),
            ),
            (
                "head is an old release: nothing newer is a base",
                inputs(|i| (i.releases[0].commit, i.target_after_head) = ("head".to_owned(), true)),
                Err("first version"),
            ),
            (
                "head has two tags",
                inputs(|i| {
                    i.releases[1].commit = "head".to_owned();
                    i.releases.push(release("2.11.0+1", "head", Some((2, 11, 0))));
                }),
                Ok("r29 newest release tag"),
            ),
            ("a release after head", inputs(|i| i.releases[1].after_head = true), Ok("r29 newest release tag")),
            ("no version tags", inputs(|i| drop(i.releases.drain(..2))), Ok("tip tip of the target branch")),
            (
                "no tags, head is the tip",
                inputs(|i| (i.releases, i.target) = (vec![], Some(at("head")))),
                Err("first version"),
            ),
            (
                "no tags, head is behind the tip",
                inputs(|i| (i.releases, i.target_after_head) = (vec![], true)),
                Err("first version"),
            ),
            ("nothing at all", inputs(|i| (i.releases, i.target) = (vec![], None)), Err("first version")),
        ];
        for (name, inputs, wanted) in table {
            match (choose_base(&inputs), wanted) {
                (BaseChoice::Commit { commit, chosen, .. }, Ok(wanted)) => {
                    assert_eq!(format!("{commit} {chosen}"), wanted, "{name}");
                }
                (BaseChoice::Skip { why }, Err(wanted)) => assert!(why.contains(wanted), "{name}: {why}"),
                (got, wanted) => panic!("{name}: {got:?}, not {wanted:?}"),
            }
        }
    }
}
