//! A suite: the tests of one recipe (H6).
use super::profile::Profile;
use crate::git::Files;
use std::collections::BTreeMap;

/// The tests of one recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Suite {
    /// Recipe it is for.
    pub recipe: String,
    /// How to test.
    pub profile: Profile,
    /// Is it up?
    pub ready: Vec<SuiteTest>,
    /// Put something in.
    pub seed: Vec<SuiteTest>,
    /// Is it still there?
    pub verify: Vec<SuiteTest>,
    /// The suite's own tests (H5).
    pub custom: Vec<SuiteTest>,
    /// `compose.ccci.yml`: laid over the recipe's compose files.
    pub overlay: Option<String>,
    /// What lies in `files/`: bodies that Hurl tests may send, by path below the suite.
    pub files: Files,
    /// Every file of the suite, by path below it, sorted.
    pub names: Vec<String>,
    /// SHA-256 over names and contents, in hex.
    pub digest: String,
}

/// One test file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteTest {
    /// Name for people: path below the suite, as `custom/login.hurl`.
    pub name: String,
    /// How it runs.
    pub kind: SuiteTestKind,
    /// Its text.
    pub content: String,
}

/// How a test runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SuiteTestKind {
    /// HTTP assertions.
    Hurl,
    /// A shell script inside a container of this service.
    Script {
        /// Compose name of the service.
        service: String,
    },
}

/// A suite that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the suite of {recipe} cannot be used: {}", problems.join("; "))]
pub struct SuiteError {
    /// Recipe.
    pub recipe: String,
    /// All that is wrong, each with file and remedy.
    pub problems: Vec<String>,
}

impl Suite {
    /// Finds `tests/<recipe>/` or `<recipe>/` in the files of a tests repository. None if it has no such folder.
    /// # Errors
    /// [`SuiteError`].
    pub fn find(recipe: &str, files: &Files) -> Result<Option<Self>, SuiteError> {
        let _ = (recipe, files);
        unimplemented!()
    }
    /// The same from a folder on disk that is not a git repository. The folder may also be the suite itself.
    /// # Errors
    /// [`SuiteError`].
    pub fn read_folder(recipe: &str, dir: &std::path::Path) -> Result<Option<Self>, SuiteError> {
        let _ = (recipe, dir);
        unimplemented!()
    }
    /// From the suite's own files, by path below it.
    /// # Errors
    /// [`SuiteError`] with everything that is wrong.
    pub fn load(recipe: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Self, SuiteError> {
        let _ = (recipe, files);
        unimplemented!()
    }
}
