//! Everything before Docker is asked for anything: reads recipe and suite from git and chooses the base.
//!
//! What goes wrong here is told in one clear line; nothing has been deployed, nothing is left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use recipe::policy::Policy;
use recipe::version::RecipeVersion;
use tokio_util::sync::CancellationToken;

use crate::domain::{BaseInfo, Stage, SuiteInfo};
use crate::git::{self, BaseChoice, BaseInputs, BaseWish, Checked, FetchOptions, GitError, Source};

use super::profile::Profile;
use super::suite::{Suite, SuiteError};

/// What is wanted of a run.
#[derive(Debug, Clone)]
pub struct Request {
    /// The recipe.
    pub recipe: Source,
    /// Name of the recipe, if it is not the last part of path or URL.
    pub name: Option<String>,
    /// Branch, tag or commit under test; none means `HEAD`.
    pub reference: Option<String>,
    /// What to upgrade from; `none` for nothing.
    pub base: Option<String>,
    /// The last version known green, if somebody keeps track.
    pub last_green: Option<String>,
    /// The tests repository, or a folder that holds the suite.
    pub tests: Option<Source>,
    /// Branch, tag or commit of the tests repository. None reads a local folder as it is.
    pub tests_reference: Option<String>,
    /// Stages to run.
    pub stages: Vec<Stage>,
    /// Leave the apps deployed.
    pub keep: bool,
    /// One lane after the other, even if the host has room for both.
    pub sequential: bool,
    /// Believe time-outs even if the host is overloaded.
    pub ignore_load: bool,
    /// Most time for the whole run, teardown not counted.
    pub timeout: Duration,
    /// What the operator allows this recipe.
    pub policy: Policy,
    /// Hosts that may be asked over plain http, besides loopback.
    pub http_hosts: Vec<String>,
    /// Folder for the evidence; none means the state folder.
    pub out: Option<PathBuf>,
    /// Whether to make a screenshot.
    pub screenshot: bool,
    /// Folders where `hurl` may be, before `PATH`.
    pub tools: Vec<PathBuf>,
}

/// Why a run cannot begin. Configuration, not a verdict.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Recipe, base or tests repository cannot be read.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The suite cannot be used.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// `--tests` names a place without a suite for this recipe.
    #[error("{place} has no suite for {recipe}: expected the folder tests/{recipe}/ or {recipe}/ there")]
    NoSuite {
        /// Where it was looked for.
        place: String,
        /// Recipe.
        recipe: String,
    },
    /// The folder of the suite cannot be read.
    #[error("{path} cannot be read: {why}")]
    TestsFolder {
        /// Which folder.
        path: String,
        /// Why.
        why: String,
    },
}

/// A version of the recipe: its commit and files.
#[derive(Debug, Clone)]
pub struct Version {
    /// `head` or `base`.
    pub role: &'static str,
    /// In full.
    pub commit: String,
    /// Branch or tag.
    pub reference: Option<String>,
    /// Its files.
    pub tree: recipe::Tree,
}

impl Version {
    /// Eight characters of the commit, as abra shows it.
    #[must_use]
    pub fn short(&self) -> &str {
        self.commit.get(..8).unwrap_or(&self.commit)
    }
}

/// What a run works on.
#[derive(Debug)]
pub struct Prepared {
    /// Name of the recipe.
    pub recipe: String,
    /// Where it came from, without credentials.
    pub source: String,
    /// The commit under test.
    pub head: Version,
    /// The version to upgrade from, and why that one; or why there is none.
    pub base: Result<(Version, BaseInfo), String>,
    /// The suite, if there is one.
    pub suite: Option<Suite>,
    /// Where the suite came from.
    pub suite_info: Option<SuiteInfo>,
    /// What is worth saying: uncommitted changes, skipped links.
    pub warnings: Vec<String>,
}

impl Prepared {
    /// The profile, or its defaults.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.suite.as_ref().map(|suite| suite.profile.clone()).unwrap_or_default()
    }
}

/// Reads everything a run needs.
///
/// # Errors
/// [`PrepareError`]; each says what was wrong, where, and what to try.
pub async fn prepare(request: &Request, cache: &Path, cancel: &CancellationToken) -> Result<Prepared, PrepareError> {
    let mut options = FetchOptions::new(cache);
    options.cancel = cancel.clone();
    options.http_hosts.clone_from(&request.http_hosts);
    let checked = git::fetch(&request.recipe, request.reference.as_deref(), &options).await?;
    checked.require("compose.yml")?;
    let recipe = request.name.clone().unwrap_or_else(|| request.recipe.recipe_name());
    let mut warnings = Vec::new();
    if checked.dirty {
        warnings.push(format!(
            "{} has uncommitted changes; they are not tested, the commit {} is",
            request.recipe.display(),
            checked.commit.get(..8).unwrap_or(&checked.commit)
        ));
    }
    for skipped in &checked.tree.skipped {
        warnings.push(format!("{} is a {} and was left out", skipped.path, skipped.what));
    }
    let (suite, suite_info) = match &request.tests {
        Some(source) => {
            let (suite, info) = read_suite(source, request.tests_reference.as_deref(), &recipe, &options).await?;
            (Some(suite), Some(info))
        }
        None => (None, None),
    };
    let profile = suite.as_ref().map(|suite| &suite.profile);
    let base = choose_base(request, &checked, profile).await?;
    let base = match base {
        BaseChoice::Skip { why } => Err(why),
        BaseChoice::Commit { commit, reference, chosen } => {
            let tree = checked.repository.tree(&commit).await?;
            let version =
                Version { role: "base", commit: commit.clone(), reference: reference.clone(), tree: to_tree(&tree) };
            Ok((version, BaseInfo { reference, commit, version: None, chosen }))
        }
    };
    let head =
        Version { role: "head", tree: to_tree(&checked.tree), commit: checked.commit, reference: checked.reference };
    Ok(Prepared { recipe, source: request.recipe.display(), head, base, suite, suite_info, warnings })
}

/// The files of a commit in the form the recipe library reads. Links are named, so that a compose file that is one is told as such.
#[must_use]
pub fn to_tree(tree: &git::Tree) -> recipe::Tree {
    let mut out = recipe::Tree::new();
    for (path, bytes) in &tree.files {
        out.insert(path.clone(), bytes.clone());
    }
    for skipped in &tree.skipped {
        out.insert_link(skipped.path.clone(), skipped.what);
    }
    out
}

async fn choose_base(request: &Request, checked: &Checked, profile: Option<&Profile>) -> Result<BaseChoice, GitError> {
    let repository = &checked.repository;
    let wish = async |text: &str, reason: &str| -> Result<BaseWish, GitError> {
        Ok(if text == "none" {
            BaseWish::None(reason.to_owned())
        } else {
            BaseWish::Commit(repository.resolve(Some(text)).await?)
        })
    };
    let argument = match &request.base {
        Some(text) => Some(wish(text, "--base none").await?),
        None => None,
    };
    let profile = match profile.map(|profile| &profile.upgrade) {
        Some(upgrade) => match &upgrade.base {
            Some(text) => Some(wish(text, upgrade.reason.as_deref().unwrap_or("the profile says so")).await?),
            None => None,
        },
        None => None,
    };
    let last_green = match &request.last_green {
        Some(text) => Some(repository.resolve(Some(text)).await?),
        None => None,
    };
    let version =
        |tag: &str| tag.parse::<RecipeVersion>().ok().map(|version| (version.major, version.minor, version.patch));
    let inputs = repository.base_inputs(&checked.commit, version).await?;
    let inputs = BaseInputs { argument, profile, last_green, ..inputs };
    Ok(git::choose_base(&inputs))
}

/// A suite from a git repository at one commit, or, without a reference, from a local folder as it stands.
async fn read_suite(
    source: &Source,
    reference: Option<&str>,
    recipe: &str,
    options: &FetchOptions,
) -> Result<(Suite, SuiteInfo), PrepareError> {
    let place = source.display();
    let missing = || PrepareError::NoSuite { place: place.clone(), recipe: recipe.to_owned() };
    let (suite, commit) = match (source, reference) {
        (Source::Local(dir), None) => {
            if !dir.is_dir() {
                return Err(PrepareError::TestsFolder { path: place, why: "it is not a folder".to_owned() });
            }
            (Suite::read_folder(recipe, dir)?.ok_or_else(missing)?, None)
        }
        _ => {
            let checked = git::fetch(source, reference, options).await?;
            (Suite::find(recipe, &checked.tree.files)?.ok_or_else(missing)?, Some(checked.commit))
        }
    };
    let info = SuiteInfo {
        source: place,
        commit,
        files: suite.names.clone(),
        digest: suite.digest.clone(),
        custom_tests: suite.custom.len(),
    };
    Ok((suite, info))
}
