//! A suite: the tests of one recipe (H6), as files in a tests repository.
//!
//! Loading is strict, because a test that is silently not run is worse than none: every file must be known by its name,
//! a suite without any test is an error, and a seed without its verify (or the reverse) proves nothing and is an error.
//! All problems are reported at once.
//!
//! The rule to know: a suite never comes from the recipe under test.

use std::collections::BTreeMap;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::profile::Profile;
use crate::git::Files;
use crate::suggest::hint;

/// Largest file of a suite, in bytes.
const MAX_FILE: usize = 8 << 20;
/// Most files of a suite.
const MAX_FILES: usize = 1000;
/// What a suite may hold, for messages.
const KNOWN: &str = "profile.toml, compose.ccci.yml, README.md, ready.hurl, seed.hurl, verify.hurl, \
    {ready,seed,verify}.<service>.sh, custom/<name>.hurl, custom/<name>.<service>.sh, files/…";

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
    /// The suite's own tests (H5), in the order of their names.
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
    /// A shell script inside a container of this service. Exit code 0 means that it holds.
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
    /// Whether any of its files is Hurl.
    #[must_use]
    pub fn needs_hurl(&self) -> bool {
        [&self.ready, &self.seed, &self.verify, &self.custom]
            .into_iter()
            .flatten()
            .any(|test| test.kind == SuiteTestKind::Hurl)
    }

    /// Finds `tests/<recipe>/` or `<recipe>/` in the files of a tests repository. None if it has no such folder.
    ///
    /// # Errors
    /// [`SuiteError`].
    pub fn find(recipe: &str, files: &Files) -> Result<Option<Self>, SuiteError> {
        for folder in [format!("tests/{recipe}/"), format!("{recipe}/")] {
            let own: Files = files
                .range(folder.clone()..)
                .take_while(|(path, _)| path.starts_with(&folder))
                .map(|(path, content)| (path[folder.len()..].to_owned(), content.clone()))
                .collect();
            if !own.is_empty() {
                return Self::load(recipe, &own).map(Some);
            }
        }
        Ok(None)
    }

    /// The same from a folder on disk that need not be a git repository. The folder may also be the suite itself, which
    /// is told by a `profile.toml`, `custom/` or `ready`, `seed`, `verify` file in it.
    ///
    /// # Errors
    /// [`SuiteError`], also for what cannot be read and for symbolic links.
    pub fn read_folder(recipe: &str, dir: &Path) -> Result<Option<Self>, SuiteError> {
        let problem = |problem: String| SuiteError { recipe: recipe.to_owned(), problems: vec![problem] };
        let is_itself = |dir: &Path| {
            std::fs::read_dir(dir).is_ok_and(|mut entries| {
                entries.any(|entry| {
                    entry.is_ok_and(|entry| {
                        let name = entry.file_name().to_string_lossy().into_owned();
                        name == "profile.toml"
                            || name == "custom"
                            || ["ready.", "seed.", "verify."].iter().any(|start| name.starts_with(start))
                    })
                })
            })
        };
        let inner = [dir.join("tests").join(recipe), dir.join(recipe)].into_iter().find(|dir| dir.is_dir());
        let folder = match inner {
            Some(folder) => folder,
            None if is_itself(dir) => dir.to_path_buf(),
            None if dir.is_dir() => return Ok(None),
            None => return Err(problem(format!("{} is not a folder", dir.display()))),
        };
        let mut files = Files::new();
        read_files(&folder, "", &mut files).map_err(problem)?;
        Self::load(recipe, &files).map(Some)
    }

    /// From the suite's own files, by path below it.
    ///
    /// # Errors
    /// [`SuiteError`] with everything that is wrong.
    pub fn load(recipe: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Self, SuiteError> {
        let mut suite = Self {
            recipe: recipe.to_owned(),
            profile: Profile::default(),
            ready: Vec::new(),
            seed: Vec::new(),
            verify: Vec::new(),
            custom: Vec::new(),
            overlay: None,
            files: Files::new(),
            names: files.keys().cloned().collect(),
            digest: digest(files),
        };
        let mut problems = Vec::new();
        if files.len() > MAX_FILES {
            problems.push(format!("it has {} files, more than {MAX_FILES}", files.len()));
        }
        for (path, content) in files {
            if let Err(problem) = suite.take(path, content) {
                problems.push(problem);
            }
        }
        problems.extend(suite.contradictions());
        if problems.is_empty() { Ok(suite) } else { Err(SuiteError { recipe: recipe.to_owned(), problems }) }
    }

    fn take(&mut self, path: &str, content: &[u8]) -> Result<(), String> {
        if content.len() > MAX_FILE {
            return Err(format!("{path} is larger than {} MiB", MAX_FILE >> 20));
        }
        let place = place_of(path)?;
        if place == Place::Data {
            self.files.insert(path.to_owned(), content.to_vec());
            return Ok(());
        }
        let text = std::str::from_utf8(content).map_err(|_| format!("{path} is not UTF-8 text"))?;
        let test = |kind| {
            if text.trim().is_empty() {
                return Err(format!("{path} is empty: write the test or remove the file"));
            }
            Ok(SuiteTest { name: path.to_owned(), kind, content: text.to_owned() })
        };
        match place {
            Place::Profile => self.profile = Profile::parse(path, text).map_err(|error| error.to_string())?,
            Place::Overlay => self.overlay = Some(text.to_owned()),
            Place::Ready(kind) => self.ready.push(test(kind)?),
            Place::Seed(kind) => self.seed.push(test(kind)?),
            Place::Verify(kind) => self.verify.push(test(kind)?),
            Place::Custom(kind) => self.custom.push(test(kind)?),
            Place::Data | Place::Notes => {}
        }
        Ok(())
    }

    /// What no single file can tell.
    fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let named = |start: &str| self.names.iter().any(|name| name.starts_with(start));
        let (seed, verify) = (named("seed."), named("verify."));
        if !(seed || verify || named("ready.") || named("custom/")) {
            found.push("it has no test: add ready.hurl, seed and verify, or custom/<name>.hurl".to_owned());
        }
        if seed && !verify {
            found.push(
                "it has a seed but no verify, so that nothing is proved: add verify.hurl or verify.<service>.sh"
                    .to_owned(),
            );
        }
        if verify && !seed {
            found.push("it has a verify but no seed to look for: add seed.hurl or seed.<service>.sh".to_owned());
        }
        found
    }
}

/// What a file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Profile,
    Overlay,
    Notes,
    Data,
    Ready(SuiteTestKind),
    Seed(SuiteTestKind),
    Verify(SuiteTestKind),
    Custom(SuiteTestKind),
}

fn place_of(path: &str) -> Result<Place, String> {
    match path {
        "profile.toml" => return Ok(Place::Profile),
        "compose.ccci.yml" => return Ok(Place::Overlay),
        "README.md" => return Ok(Place::Notes),
        _ => {}
    }
    if path.starts_with("files/") {
        return Ok(Place::Data);
    }
    let unknown = || {
        let names =
            ["profile.toml", "compose.ccci.yml", "README.md", "ready.hurl", "seed.hurl", "verify.hurl", "custom/"];
        let near = hint(path.rsplit_once('/').map_or(path, |_| path), names);
        format!("{path} is not a file that a suite has{near}; known: {KNOWN}")
    };
    if let Some(name) = path.strip_prefix("custom/") {
        let kind = kind_of(path, name.split_once('.').map_or("", |(_, rest)| rest)).ok_or_else(unknown)??;
        return if name.contains('/') || name.starts_with('.') { Err(unknown()) } else { Ok(Place::Custom(kind)) };
    }
    let (stem, rest) = path.split_once('.').ok_or_else(unknown)?;
    let place = match stem {
        "ready" => Place::Ready,
        "seed" => Place::Seed,
        "verify" => Place::Verify,
        _ => return Err(unknown()),
    };
    Ok(place(kind_of(path, rest).ok_or_else(unknown)??))
}

/// From what follows the first dot: `hurl`, or `<service>.sh`. None if it is neither.
fn kind_of(path: &str, rest: &str) -> Option<Result<SuiteTestKind, String>> {
    if rest == "hurl" {
        return Some(Ok(SuiteTestKind::Hurl));
    }
    if rest == "sh" {
        return Some(Err(format!(
            "{path} does not say in which service it runs: name it {}.<service>.sh, as in {0}.app.sh",
            path.trim_end_matches(".sh")
        )));
    }
    let service = rest.strip_suffix(".sh")?;
    let plain = service.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    (plain && !service.is_empty()).then(|| Ok(SuiteTestKind::Script { service: service.to_owned() }))
}

/// SHA-256 over names and contents, each preceded by its length so that no two suites give the same text.
fn digest(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut hash = Sha256::new();
    for (path, content) in files {
        for part in [path.as_bytes(), content.as_slice()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hex::encode(hash.finalize())
}

fn read_files(dir: &Path, prefix: &str, files: &mut Files) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", dir.display());
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().into_string().map_err(|name| format!("{} is not a UTF-8 name", name.display()))?;
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            if prefix.matches('/').count() >= 8 {
                return Err(format!("{path} is nested too deeply"));
            }
            read_files(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() {
            if files.len() > MAX_FILES || entry.metadata().is_ok_and(|meta| meta.len() > MAX_FILE as u64) {
                return Err(format!("{path} is too large, or one file too many"));
            }
            files.insert(path, std::fs::read(entry.path()).map_err(failed)?);
        } else {
            return Err(format!("{path} is neither a file nor a folder: suites hold no links"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    fn problems(list: &[(&str, &str)]) -> String {
        Suite::load("nginx", &files(list)).unwrap_err().to_string()
    }

    const TEST: &str = "GET {{base_url}}\nHTTP 200\n";

    #[test]
    fn a_whole_suite() {
        let suite = Suite::find(
            "nginx",
            &files(&[
                ("tests/nginx/profile.toml", "[settle]\nseconds = 1"),
                ("tests/nginx/ready.hurl", TEST),
                ("tests/nginx/seed.hurl", TEST),
                ("tests/nginx/seed.db.sh", "echo"),
                ("tests/nginx/verify.db.sh", "echo"),
                ("tests/nginx/custom/b.hurl", TEST),
                ("tests/nginx/custom/a.app.sh", "echo"),
                ("tests/nginx/compose.ccci.yml", "services: {}"),
                ("tests/nginx/files/body.json", "{}"),
                ("tests/nginx-other/nonsense", ""),
                ("nginx/nonsense", ""),
            ]),
        )
        .unwrap()
        .unwrap();
        assert_eq!((suite.ready.len(), suite.seed.len(), suite.verify.len()), (1, 2, 1));
        let custom: Vec<_> = suite.custom.iter().map(|test| (test.name.as_str(), &test.kind)).collect();
        let script = SuiteTestKind::Script { service: "app".into() };
        assert_eq!(custom, [("custom/a.app.sh", &script), ("custom/b.hurl", &SuiteTestKind::Hurl)]);
        assert_eq!((suite.overlay.as_deref(), suite.files.len(), suite.names.len()), (Some("services: {}"), 1, 9));
        assert_eq!(suite.profile.settle, std::time::Duration::from_secs(1));
    }

    #[test]
    fn no_folder_is_no_suite_and_no_error() {
        assert_eq!(Suite::find("nginx", &files(&[("tests/other/ready.hurl", TEST)])), Ok(None));
        let flat = Suite::find("nginx", &files(&[("nginx/ready.hurl", TEST)])).unwrap();
        assert_eq!(flat.map(|suite| suite.ready.len()), Some(1));
    }

    #[test]
    fn what_would_silently_test_nothing_is_an_error() {
        for (list, wanted) in [
            (&[("profile.toml", "")][..], "it has no test"),
            (&[("seed.hurl", TEST)], "a seed but no verify"),
            (&[("verify.app.sh", "echo")], "a verify but no seed"),
            (&[("ready.hurl", TEST), ("custom/login.hrul", TEST)], "custom/login.hrul is not a file that a suite has"),
            (&[("raedy.hurl", TEST)], "did you mean `ready.hurl`?"),
            (
                &[("ready.sh", "echo")],
                "does not say in which service it runs: name it ready.<service>.sh, as in ready.app.sh",
            ),
            (&[("custom/x.sh", "echo")], "name it custom/x.<service>.sh"),
            (&[("custom/deep/x.hurl", TEST)], "custom/deep/x.hurl is not a file"),
            (&[("custom/x.hurl", " \n")], "custom/x.hurl is empty"),
            (&[("ready.hurl", TEST), ("profile.toml", "[x]")], "profile.toml:1: unknown key `x`"),
            (&[("ready.hurl", TEST), (".ready.hurl.swp", "")], ".ready.hurl.swp is not a file"),
        ] {
            assert!(problems(list).contains(wanted), "{wanted}\n{}", problems(list));
        }
        let both = problems(&[("seed.hurl", TEST), ("typo.hurl", TEST)]);
        assert!(both.contains("typo.hurl") && both.contains("no verify"), "{both}");
    }

    #[test]
    fn the_digest_depends_on_names_and_contents() {
        let digest = |list: &[(&str, &str)]| digest(&files(list));
        let one = digest(&[("a", "bc")]);
        assert_eq!((one.len(), &one), (64, &digest(&[("a", "bc")])));
        assert!(one != digest(&[("ab", "c")]) && one != digest(&[("a", "bd")]) && one != digest(&[]));
    }

    #[test]
    fn a_folder_on_disk_is_read_like_a_repository() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("tests/nginx/custom");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("a.hurl"), TEST).unwrap();
        let suite = Suite::read_folder("nginx", dir.path()).unwrap().unwrap();
        let itself = Suite::read_folder("nginx", &dir.path().join("tests/nginx")).unwrap().unwrap();
        assert_eq!((suite.custom.len(), &suite), (1, &itself));
        assert_eq!(Suite::read_folder("other", dir.path()), Ok(None));
        assert!(Suite::read_folder("nginx", Path::new("/no/such/folder")).is_err());
        std::os::unix::fs::symlink("/etc/passwd", own.join("b.hurl")).unwrap();
        let error = Suite::read_folder("nginx", dir.path()).unwrap_err().to_string();
        assert!(error.contains("custom/b.hurl is neither a file nor a folder"), "{error}");
    }

    /// The suites of the example recipes are good ones.
    #[test]
    fn our_own_suites_load() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests-repo");
        let mut loaded = 0;
        for entry in std::fs::read_dir(root.join("tests")).unwrap() {
            let recipe = entry.unwrap().file_name().into_string().unwrap();
            let suite = Suite::read_folder(&recipe, &root).unwrap().unwrap();
            assert!(!suite.custom.is_empty(), "{recipe}");
            loaded += 1;
        }
        assert!(loaded > 0);
    }
}
