//! Fetches a repository into a bare copy and answers questions about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::source::Address;
use super::tree::{parse_contents, parse_listing};
use super::{BaseInputs, Checked, GitError, Release, Source, Tag, Tree, local};
use crate::process::{Command, Output, Status};
use crate::suggest::{hint, nearest};

/// How often the size of a growing copy is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Limits and places of a fetch.
#[derive(Debug, Clone)]
pub struct FetchOptions {
    /// Folder under which the bare repository is kept until [`Repository`] is dropped.
    pub cache: PathBuf,
    /// Most time for one git command.
    pub timeout: Duration,
    /// Most bytes of the bare repository.
    pub max_repository: u64,
    /// Most files of a tree.
    pub max_files: usize,
    /// Most bytes of all files of a tree.
    pub max_tree: u64,
    /// Hosts that may be asked over plain http, besides loopback.
    pub http_hosts: Vec<String>,
    /// Ends the work.
    pub cancel: CancellationToken,
}

impl FetchOptions {
    /// 120 s, 64 MiB, 5,000 files, 32 MiB, no http but to loopback.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            cache: cache.into(),
            timeout: Duration::from_secs(120),
            max_repository: 64 << 20,
            max_files: 5000,
            max_tree: 32 << 20,
            http_hosts: Vec::new(),
            cancel: CancellationToken::new(),
        }
    }
}

/// A fetched repository. Its copy is removed when this is dropped.
#[derive(Debug)]
pub struct Repository {
    room: Room,
    /// Commit by full reference name, tags peeled.
    refs: BTreeMap<String, String>,
    tags: Vec<Tag>,
    head: Option<Resolved>,
    default_branch: Option<Resolved>,
}

/// A reference and its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The commit, in full.
    pub commit: String,
    /// Branch or tag by which it was found.
    pub reference: Option<String>,
}

/// Fetches and reads one commit. That a recipe's `compose.yml` is there is asked for with [`Checked::require`].
///
/// # Errors
/// All of [`GitError`].
pub async fn fetch(source: &Source, reference: Option<&str>, options: &FetchOptions) -> Result<Checked, GitError> {
    let repository = Repository::fetch(source, options).await?;
    let Resolved { commit, reference } = repository.resolve(reference).await?;
    let tree = repository.tree(&commit).await?;
    let tested_as_it_is = repository.head.as_ref().is_some_and(|head| head.commit == commit);
    let dirty = match source {
        Source::Local(path) if tested_as_it_is => local::is_dirty(path, &tree, &repository.room).await?,
        Source::Local(_) | Source::Remote(_) | Source::Name(_) => false,
    };
    let default_branch = repository.default_branch().and_then(|branch| branch.reference.clone());
    Ok(Checked {
        commit,
        reference,
        tree,
        tags: repository.tags.clone(),
        default_branch,
        dirty,
        source_name: source.display(),
        repository,
    })
}

impl Repository {
    /// Fetches all branches and tags, no files.
    ///
    /// # Errors
    /// All of [`GitError`] but those about one commit.
    pub async fn fetch(source: &Source, options: &FetchOptions) -> Result<Self, GitError> {
        let room = Room::make(source, options)?;
        room.ok(room.git().args(["init", "--bare", "--quiet", "--template="]).arg(room.bare())).await?;
        let listing = room.ok(room.git().args(["ls-remote", "--symref", "--"]).arg(&room.address.url)).await?;
        let listing = listing.stdout.text();
        let (head, links) = advertised(&listing);
        if !listing.lines().any(|line| line.contains("\trefs/") && !line.starts_with("ref:")) && head.is_none() {
            return Err(GitError::Empty(room.name.clone()));
        }
        let mut wanted = vec!["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        if matches!(source, Source::Local(_)) {
            wanted.push("+refs/remotes/*:refs/remotes/*");
        }
        if head.is_some() {
            wanted.push("+HEAD:refs/cc-ci/head");
        }
        room.fetch(&wanted).await?;

        let (refs, tags) = room.references().await?;
        let head = refs.get("refs/cc-ci/head").map(|commit| Resolved {
            commit: commit.clone(),
            reference: links.get("HEAD").map(|name| short(name).to_owned()),
        });
        let default_branch = default_branch(&refs, &links, matches!(source, Source::Local(_)));
        Ok(Self { room, refs, tags, head, default_branch })
    }

    /// Branch, tag, full or shortened commit; nothing means `HEAD`. A tag goes before a branch of the same name.
    ///
    /// # Errors
    /// [`GitError::UnknownReference`] with a near name; [`GitError::Empty`].
    pub async fn resolve(&self, reference: Option<&str>) -> Result<Resolved, GitError> {
        let Some(text) = reference else {
            return self.head.clone().or_else(|| self.default_branch.clone()).ok_or_else(|| self.unknown("HEAD"));
        };
        for start in ["refs/tags/", "refs/heads/", "refs/remotes/", ""] {
            if let Some(commit) = self.refs.get(&format!("{start}{text}")) {
                return Ok(Resolved { commit: commit.clone(), reference: Some(short(text).to_owned()) });
            }
        }
        let is_hex = (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex && !is_full_reference(text) {
            return Err(self.unknown(text));
        }
        if let Some(commit) = self.room.commit_of(text).await? {
            return Ok(Resolved { commit, reference: None });
        }
        // What no branch or tag leads to, such as a pull request, may still be given out when it is asked for by name.
        let is_whole = text.len() == 40 || text.len() == 64;
        if is_whole || !is_hex {
            match self.room.fetch(&[&format!("+{text}:refs/cc-ci/asked")]).await {
                Ok(()) => {}
                Err(GitError::Failed { .. }) => return Err(self.unknown(text)),
                Err(error) => return Err(error),
            }
            if let Some(commit) = self.room.commit_of("refs/cc-ci/asked").await? {
                return Ok(Resolved { commit, reference: (!is_hex).then(|| text.to_owned()) });
            }
        }
        Err(self.unknown(text))
    }

    /// The files of a commit.
    ///
    /// # Errors
    /// [`GitError::Hostile`] for a name that no honest recipe has, [`GitError::TooLarge`].
    pub async fn tree(&self, commit: &str) -> Result<Tree, GitError> {
        let (room, limits) = (&self.room, &self.room.options);
        let large = |what: String| GitError::TooLarge { source_name: room.name.clone(), what };
        let git = room.git_in_copy().args(["ls-tree", "-r", "-z", "-l", "--full-tree", "--end-of-options", commit]);
        let listing = room.ok(git.capture_limit(limits.max_files.saturating_mul(1200))).await?;
        if listing.stdout.cut > 0 {
            return Err(large(format!("more than {} files", limits.max_files)));
        }
        let hostile = |what| GitError::Hostile { source_name: room.name.clone(), what };
        let (blobs, skipped) = parse_listing(&listing.stdout.bytes).map_err(hostile)?;
        if blobs.len() + skipped.len() > limits.max_files {
            return Err(large(format!("more than {} files", limits.max_files)));
        }
        let bytes = blobs.iter().fold(0u64, |sum, blob| sum.saturating_add(blob.size));
        if bytes > limits.max_tree {
            return Err(large(format!("its files have {} MiB, more than {}", bytes >> 20, limits.max_tree >> 20)));
        }
        let asked: String = blobs.iter().map(|blob| format!("{}\n", blob.object)).collect();
        let room_for = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(blobs.len().saturating_mul(128));
        let git = room.git_in_copy().args(["cat-file", "--batch"]).stdin(asked).capture_limit(room_for);
        let contents = room.ok(git).await?;
        let files = parse_contents(&blobs, &contents.stdout.bytes)
            .map_err(|message| GitError::Failed { source_name: room.name.clone(), message })?;
        Ok(Tree { files, skipped })
    }

    /// All tags that stand on a commit, by name.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// The branch that releases are made from, and its tip. Of a local clone that is the origin's, as far as it is known.
    #[must_use]
    pub fn default_branch(&self) -> Option<&Resolved> {
        self.default_branch.as_ref()
    }

    /// Names of the tags that are reachable from `commit`.
    ///
    /// # Errors
    /// [`GitError::Failed`].
    pub async fn tags_merged(&self, commit: &str) -> Result<Vec<String>, GitError> {
        self.tag_names(&format!("--merged={commit}")).await
    }

    /// True if `earlier` is `later` or comes before it.
    ///
    /// # Errors
    /// [`GitError::Failed`].
    pub async fn is_ancestor(&self, earlier: &str, later: &str) -> Result<bool, GitError> {
        let git = self.room.git_in_copy().args(["merge-base", "--is-ancestor", earlier, later]);
        let output = self.room.run(git).await?;
        match output.status {
            Status::Exited(0) => Ok(true),
            Status::Exited(1) => Ok(false),
            Status::Exited(_) | Status::Signalled(_) | Status::TimedOut | Status::Cancelled => {
                Err(self.room.failure(&output))
            }
        }
    }

    /// What [`super::choose_base`] needs to know of the repository. `version_of` reads a tag's recipe version.
    ///
    /// # Errors
    /// [`GitError::Failed`].
    pub async fn base_inputs(
        &self,
        head: &str,
        version_of: impl Fn(&str) -> Option<(u64, u64, u64)>,
    ) -> Result<BaseInputs, GitError> {
        let target = self.default_branch.clone();
        let mut inputs = BaseInputs { head: head.to_owned(), target, ..BaseInputs::default() };
        let Some(tip) = self.default_branch.as_ref().map(|branch| branch.commit.as_str()) else { return Ok(inputs) };
        inputs.target_after_head = tip != head && self.is_ancestor(head, tip).await?;
        let merged = self.tags_merged(tip).await?;
        let after = self.tag_names(&format!("--contains={head}")).await?;
        inputs.releases = self
            .tags
            .iter()
            .filter(|tag| merged.contains(&tag.name) || tag.commit == head)
            .map(|tag| Release {
                name: tag.name.clone(),
                commit: tag.commit.clone(),
                version: version_of(&tag.name),
                after_head: tag.commit != head && after.contains(&tag.name),
            })
            .collect();
        Ok(inputs)
    }

    async fn tag_names(&self, filter: &str) -> Result<Vec<String>, GitError> {
        let format = "--format=%(refname:lstrip=2)";
        let listed = self.room.ok(self.room.git_in_copy().args(["for-each-ref", filter, format, "refs/tags"])).await?;
        Ok(listed.stdout.text().lines().map(str::to_owned).collect())
    }

    fn unknown(&self, reference: &str) -> GitError {
        let known: Vec<&str> =
            self.refs.keys().filter(|name| !name.starts_with("refs/cc-ci/")).map(|name| short(name)).collect();
        let mut hint = hint(reference, known.iter().copied());
        if hint.is_empty() && nearest(reference, known.iter().copied()).is_none() && !known.is_empty() {
            let some: Vec<&str> = known.iter().copied().take(8).collect();
            hint = format!("; it has {}{}", some.join(", "), if known.len() > 8 { ", …" } else { "" });
        }
        GitError::UnknownReference {
            source_name: self.room.name.clone(),
            reference: reference.chars().take(100).collect(),
            hint,
        }
    }
}

/// The place of one fetch: a private folder with git's configuration, an empty home and the bare copy.
#[derive(Debug)]
pub(super) struct Room {
    dir: TempDir,
    name: String,
    address: PlainAddress,
    options: FetchOptions,
}

/// What is kept of an [`Address`]; the header stands in the configuration file alone.
struct PlainAddress {
    url: String,
    protocol: &'static str,
    password: Option<String>,
}

impl std::fmt::Debug for PlainAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.url)
    }
}

impl Room {
    fn make(source: &Source, options: &FetchOptions) -> Result<Self, GitError> {
        let name = source.display();
        let (address, header) = match source {
            Source::Local(path) => {
                let root = local::root_of(path)?;
                let url = url::Url::from_file_path(&root).map_err(|()| GitError::NotARepository(name.clone()))?;
                (PlainAddress { url: url.into(), protocol: "file", password: None }, None)
            }
            Source::Remote(text) => {
                let Address { url, scheme, authorization, password } = Address::of(text, &options.http_hosts)?;
                let header = authorization.map(|value| (url.clone(), value));
                (PlainAddress { url, protocol: scheme, password }, header)
            }
            Source::Name(name) => return Err(GitError::BadSource(name.clone())),
        };
        let cache = |source| GitError::Cache { path: options.cache.display().to_string(), source };
        std::fs::create_dir_all(&options.cache).map_err(cache)?;
        let dir = tempfile::Builder::new().prefix("git-").tempdir_in(&options.cache).map_err(cache)?;
        std::fs::create_dir(dir.path().join("home")).map_err(cache)?;
        std::fs::write(dir.path().join("config"), configuration(header.as_ref())).map_err(cache)?;
        Ok(Self { dir, name, address, options: options.clone() })
    }

    fn bare(&self) -> PathBuf {
        self.dir.path().join("copy.git")
    }

    /// A git that reads no configuration but ours, asks nobody, and knows one protocol.
    pub(super) fn git(&self) -> Command {
        let git = Command::new("git")
            .remedy("install git, as in `apt-get install git`")
            .inherit("PATH")
            .env("HOME", self.dir.path().join("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.dir.path().join("config"))
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "/bin/false")
            .env("GIT_ALLOW_PROTOCOL", self.address.protocol)
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C")
            .cwd(self.dir.path())
            .timeout(self.options.timeout)
            .cancel(&self.options.cancel);
        match self.address.protocol {
            "ssh" => git.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes").inherit("SSH_AUTH_SOCK"),
            "file" => git,
            _ => [
                "https_proxy",
                "HTTPS_PROXY",
                "no_proxy",
                "NO_PROXY",
                "SSL_CERT_FILE",
                "SSL_CERT_DIR",
                "GIT_SSL_CAINFO",
            ]
            .iter()
            .fold(git, |git, name| git.inherit(name)),
        }
    }

    fn git_in_copy(&self) -> Command {
        self.git().arg("--git-dir").arg(self.bare())
    }

    async fn fetch(&self, wanted: &[&str]) -> Result<(), GitError> {
        let stop = self.options.cancel.child_token();
        let git = self
            .git_in_copy()
            .args(["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--no-write-fetch-head"])
            .args(["--update-shallow", "--"])
            .arg(&self.address.url)
            .args(wanted.iter().copied())
            .cancel(&stop)
            .run();
        tokio::pin!(git);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut large = false;
        let output = loop {
            tokio::select! {
                output = &mut git => break output?,
                _ = look.tick() => {
                    if size_of(&self.bare()) > self.options.max_repository {
                        large = true;
                        stop.cancel();
                    }
                }
            }
        };
        if large || size_of(&self.bare()) > self.options.max_repository {
            let what = format!("more than {} MiB of history", self.options.max_repository >> 20);
            return Err(GitError::TooLarge { source_name: self.name.clone(), what });
        }
        if output.success() { Ok(()) } else { Err(self.failure(&output)) }
    }

    async fn references(&self) -> Result<(BTreeMap<String, String>, Vec<Tag>), GitError> {
        let format = "--format=%(refname)%00%(objecttype)%00%(objectname)%00%(*objecttype)%00%(*objectname)";
        let listed = self.ok(self.git_in_copy().args(["for-each-ref", format])).await?;
        let (mut refs, mut tags) = (BTreeMap::new(), Vec::new());
        for line in listed.stdout.text().lines() {
            let fields: Vec<&str> = line.split('\0').collect();
            let (name, commit, annotated) = match fields.as_slice() {
                [name, "commit", commit, ..] => (*name, *commit, false),
                [name, "tag", _, "commit", commit] => (*name, *commit, true),
                // A tag of a file, a folder or another tag is no version of anything.
                _ => continue,
            };
            if let Some(tag) = name.strip_prefix("refs/tags/") {
                tags.push(Tag { name: tag.to_owned(), commit: commit.to_owned(), annotated });
            }
            refs.insert(name.to_owned(), commit.to_owned());
        }
        Ok((refs, tags))
    }

    /// The commit of an object name or reference, if the copy has it.
    async fn commit_of(&self, name: &str) -> Result<Option<String>, GitError> {
        let what = format!("{name}^{{commit}}");
        let git = self.git_in_copy().args(["rev-parse", "--verify", "--quiet", "--end-of-options", &what]);
        let output = self.run(git).await?;
        Ok(output.success().then(|| output.stdout.text().trim().to_owned()))
    }

    /// Runs git; a time-out or a cancel is an error, an exit code is not.
    pub(super) async fn run(&self, git: Command) -> Result<Output, GitError> {
        let output = git.run().await?;
        match output.status {
            Status::Exited(_) | Status::Signalled(_) => Ok(output),
            Status::TimedOut | Status::Cancelled => Err(self.failure(&output)),
        }
    }

    /// Runs git; everything but exit code 0 is an error.
    pub(super) async fn ok(&self, git: Command) -> Result<Output, GitError> {
        let output = self.run(git).await?;
        if output.success() { Ok(output) } else { Err(self.failure(&output)) }
    }

    fn failure(&self, output: &Output) -> GitError {
        let source_name = self.name.clone();
        match output.status {
            Status::TimedOut => GitError::TimedOut { source_name, seconds: self.options.timeout.as_secs() },
            Status::Cancelled => GitError::Cancelled(source_name),
            Status::Exited(_) | Status::Signalled(_) => {
                let mut message = output.tail();
                if let Some(password) = &self.address.password {
                    message = message.replace(password.as_str(), "***");
                }
                let message = message.replace(&self.dir.path().display().to_string(), "…");
                if message.contains("fsck error")
                    || message.contains("error in object")
                    || message.contains("invalid path")
                {
                    return GitError::Hostile { source_name, what: message };
                }
                GitError::Failed { source_name, message }
            }
        }
    }
}

/// Git's whole configuration. What is old and harmless in honest histories is let through the check of objects.
fn configuration(header: Option<&(String, String)>) -> String {
    let mut text = String::from(
        "[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n\tsymlinks = false\n\
         [fetch]\n\tfsckObjects = true\n\trecurseSubmodules = false\n\
         [fetch \"fsck\"]\n\tzeroPaddedFilemode = warn\n\tbadTimezone = warn\n\tmissingSpaceBeforeDate = warn\n\
         [transfer]\n\tbundleURI = false\n[submodule]\n\trecurse = false\n\
         [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[credential]\n\thelper =\n[init]\n\tdefaultBranch = main\n\
         [http]\n\tfollowRedirects = initial\n[safe]\n\tdirectory = *\n",
    );
    if let Some((url, value)) = header {
        let quoted = url.replace('\\', "\\\\").replace('"', "\\\"");
        text.push_str(&format!("[http \"{quoted}\"]\n\textraHeader = \"Authorization: {value}\"\n"));
    }
    text
}

/// Commit of `HEAD`, and what symbolic references point to, from `git ls-remote --symref`.
fn advertised(listing: &str) -> (Option<String>, BTreeMap<String, String>) {
    let (mut head, mut links) = (None, BTreeMap::new());
    for (value, name) in listing.lines().filter_map(|line| line.split_once('\t')) {
        match value.strip_prefix("ref: ") {
            Some(target) => drop(links.insert(name.to_owned(), target.to_owned())),
            None if name == "HEAD" => head = Some(value.to_owned()),
            None => {}
        }
    }
    (head, links)
}

/// The branch that releases are made from. A remote says so itself. In a local clone what is checked out may be
/// anything, so the origin's branch goes first, then the usual names.
fn default_branch(refs: &BTreeMap<String, String>, links: &BTreeMap<String, String>, local: bool) -> Option<Resolved> {
    let said = |name: &str| links.get(name).map(String::as_str);
    let usual = ["refs/remotes/origin/main", "refs/remotes/origin/master", "refs/heads/main", "refs/heads/master"];
    let mut order = if local { vec![said("refs/remotes/origin/HEAD")] } else { vec![said("HEAD")] };
    order.extend(usual.map(Some));
    order.push(said("HEAD"));
    order.into_iter().flatten().find_map(|name| {
        let commit = refs.get(name)?.clone();
        Some(Resolved { commit, reference: Some(short(name).to_owned()) })
    })
}

/// A reference without its `refs/heads/`, `refs/tags/` or `refs/remotes/`.
fn short(name: &str) -> &str {
    ["refs/heads/", "refs/tags/", "refs/remotes/"].iter().find_map(|start| name.strip_prefix(start)).unwrap_or(name)
}

/// A whole reference name that can stand in a refspec without meaning anything else.
fn is_full_reference(text: &str) -> bool {
    text.starts_with("refs/")
        && !text.contains("..")
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.+".contains(c))
}

/// Bytes of all files below a folder. What vanishes meanwhile counts nothing.
fn size_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size_of(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
