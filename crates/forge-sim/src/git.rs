//! Plumbing on bare repositories, by running git itself. No rights, no events.
//!
//! Every command gets its arguments as a vector and user text only behind `--` or as a full ref
//! name, so a name cannot become an option. Reading a ref does not start a process.

use std::io::Write;
use std::path::Path;
#[expect(clippy::disallowed_types, reason = "this crate stands alone; `program` is its wrapper")]
use std::process::Command;
use std::process::{Output, Stdio};

/// All zeros: "no commit".
pub(crate) const ZERO: &str = "0000000000000000000000000000000000000000";

/// A git command that did not work out.
#[derive(Debug, Clone, thiserror::Error)]
#[error("git {command}: {message}")]
pub struct GitError {
    /// The subcommand.
    pub command: String,
    /// What git wrote on standard error, or why it could not be started.
    pub message: String,
}

/// Lines and files between two commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DiffStat {
    pub merge_base: String,
    pub conflict: bool,
    pub files: Vec<FileStat>,
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileStat {
    pub path: String,
    pub previous: Option<String>,
    /// `added`, `changed`, `deleted` or `renamed`.
    pub status: &'static str,
    pub additions: i64,
    pub deletions: i64,
}

impl DiffStat {
    pub(crate) fn additions(&self) -> i64 {
        self.files.iter().map(|f| f.additions).sum()
    }

    pub(crate) fn deletions(&self) -> i64 {
        self.files.iter().map(|f| f.deletions).sum()
    }
}

/// A person in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    pub name: String,
    pub email: String,
}

/// A commit read back.
#[derive(Debug, Clone)]
pub(crate) struct CommitInfo {
    pub sha: String,
    pub tree: String,
    pub parents: Vec<String>,
    pub author: Person,
    pub author_time: i64,
    pub committer: Person,
    pub commit_time: i64,
    pub message: String,
}

/// One change to make in a tree: `None` removes the path.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub path: String,
    pub content: Option<Vec<u8>>,
}

/// Git with nothing of our environment but the search path: whoever starts the simulator may have
/// credentials in his.
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this crate stands alone; its own wrapper")]
pub(crate) fn program() -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C");
    command
}

#[expect(clippy::disallowed_types, reason = "comes from `program`")]
fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = program();
    command.arg("--git-dir").arg(dir).args(args);
    command
}

fn failed(args: &[&str], message: impl Into<String>) -> GitError {
    GitError { command: args.first().copied().unwrap_or_default().to_owned(), message: message.into() }
}

fn finish(args: &[&str], output: std::io::Result<Output>) -> Result<Vec<u8>, GitError> {
    let output = output.map_err(|e| failed(args, format!("could not be started: {e}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(failed(args, String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Runs git in a bare repository and returns its output as text without the last line end.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Result<String, GitError> {
    let out = finish(args, command(dir, args).stdin(Stdio::null()).output())?;
    Ok(String::from_utf8_lossy(&out).trim_end_matches('\n').to_owned())
}

/// Runs git and returns its raw output.
pub(crate) fn run_raw(dir: &Path, args: &[&str]) -> Result<Vec<u8>, GitError> {
    finish(args, command(dir, args).stdin(Stdio::null()).output())
}

#[expect(clippy::disallowed_types, reason = "comes from `program`")]
fn run_input(mut command: Command, args: &[&str], input: &[u8]) -> Result<String, GitError> {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| failed(args, format!("could not be started: {e}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).map_err(|e| failed(args, format!("input refused: {e}")))?;
    }
    let out = finish(args, child.wait_with_output())?;
    Ok(String::from_utf8_lossy(&out).trim_end_matches('\n').to_owned())
}

/// Creates an empty bare repository, set up as Gitea's are: any object can be asked for by id,
/// partial clones work, and the shared pre-receive hook guards the refs.
pub(crate) fn init(dir: &Path, default_branch: &str, hooks: &Path) -> Result<(), GitError> {
    let parent = dir.parent().unwrap_or(dir);
    std::fs::create_dir_all(parent).map_err(|e| failed(&["init"], e.to_string()))?;
    let path = dir.to_string_lossy().into_owned();
    let head = format!("--initial-branch={default_branch}");
    let args = ["init", "--quiet", "--bare", head.as_str(), path.as_str()];
    finish(&args, program().args(args).output())?;
    configure(dir, hooks)
}

fn configure(dir: &Path, hooks: &Path) -> Result<(), GitError> {
    let hooks = hooks.to_string_lossy().into_owned();
    for (key, value) in [
        ("uploadpack.allowAnySHA1InWant", "true"),
        ("uploadpack.allowFilter", "true"),
        ("http.receivepack", "true"),
        ("receive.denyDeleteCurrent", "refuse"),
        ("gc.auto", "0"),
        ("core.logAllRefUpdates", "false"),
        ("core.hooksPath", hooks.as_str()),
    ] {
        run(dir, &["config", key, value])?;
    }
    Ok(())
}

/// Copies branches and tags (never pull request refs) of `source` into a repository just created.
pub(crate) fn fetch_all(dir: &Path, source: &str) -> Result<(), GitError> {
    let specs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
    // A silent remote must not hold the world's lock for ever.
    let patience = ["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=30"];
    let mut args = patience.to_vec();
    args.extend_from_slice(&["fetch", "--quiet", "--no-write-fetch-head", "--prune", "--", source, specs[0], specs[1]]);
    run(dir, &args)?;
    Ok(())
}

/// The branch a remote's HEAD points at.
pub(crate) fn remote_head(dir: &Path, source: &str) -> Option<String> {
    let text = run(dir, &["ls-remote", "--symref", "--", source, "HEAD"]).ok()?;
    let line = text.lines().find(|l| l.starts_with("ref: "))?;
    Some(line.strip_prefix("ref: refs/heads/")?.split_whitespace().next()?.to_owned())
}

/// The object a full ref name points at, read from the files of the repository.
pub(crate) fn ref_sha(dir: &Path, name: &str) -> Option<String> {
    if name.split('/').any(|part| part == ".." || part.is_empty()) {
        return None;
    }
    if let Ok(text) = std::fs::read_to_string(dir.join(name)) {
        let text = text.trim();
        return is_sha(text).then(|| text.to_owned());
    }
    let packed = std::fs::read_to_string(dir.join("packed-refs")).ok()?;
    packed.lines().find_map(|line| {
        let (sha, found) = line.split_once(' ')?;
        (found == name && is_sha(sha)).then(|| sha.to_owned())
    })
}

/// The commit a branch points at.
pub(crate) fn branch_sha(dir: &Path, branch: &str) -> Option<String> {
    ref_sha(dir, &format!("refs/heads/{branch}"))
}

/// Whether a text is a full object id in lower-case hex.
pub(crate) fn is_sha(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// All refs below a prefix, sorted by name.
pub(crate) fn refs(dir: &Path, prefix: &str) -> Vec<(String, String)> {
    let format = "--format=%(objectname) %(refname)";
    let text = run(dir, &["for-each-ref", format, prefix]).unwrap_or_default();
    text.lines().filter_map(|l| l.split_once(' ')).map(|(s, n)| (n.to_owned(), s.to_owned())).collect()
}

/// Branch names, sorted.
pub(crate) fn branches(dir: &Path) -> Vec<String> {
    let found = refs(dir, "refs/heads/");
    found.iter().filter_map(|(n, _)| n.strip_prefix("refs/heads/")).map(str::to_owned).collect()
}

/// Resolves a branch, a tag or a commit id of at least seven digits to a commit, in that order.
pub(crate) fn resolve(dir: &Path, name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with('-') || name.contains(['\0', '\n', ':', '^', '~', '?', '*', '[', ' ']) {
        return None;
    }
    for full in [format!("refs/heads/{name}"), format!("refs/tags/{name}")] {
        if ref_sha(dir, &full).is_some() {
            return commit_of(dir, &full);
        }
    }
    if name.starts_with("refs/") {
        ref_sha(dir, name)?;
        return commit_of(dir, name);
    }
    let hex = (7..=40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
    if hex { commit_of(dir, name) } else { None }
}

fn commit_of(dir: &Path, name: &str) -> Option<String> {
    let spec = format!("{name}^{{commit}}");
    run(dir, &["rev-parse", "--verify", "--quiet", "--end-of-options", &spec]).ok().filter(|s| is_sha(s))
}

/// Whether the repository holds this commit.
pub(crate) fn has_commit(dir: &Path, sha: &str) -> bool {
    is_sha(sha) && commit_of(dir, sha).is_some()
}

/// Sets a ref, or removes it (`new` = `None`).
pub(crate) fn update_ref(dir: &Path, name: &str, new: Option<&str>) -> Result<(), GitError> {
    match new {
        Some(sha) => run(dir, &["update-ref", name, sha])?,
        None => run(dir, &["update-ref", "-d", name])?,
    };
    Ok(())
}

/// Whether git would accept this as a branch name.
pub(crate) fn valid_branch(dir: &Path, name: &str) -> bool {
    !name.starts_with('-') && run(dir, &["check-ref-format", &format!("refs/heads/{name}")]).is_ok()
}

/// Copies one commit from another repository on disk and points a ref at it.
pub(crate) fn copy_commit(dir: &Path, from: &Path, sha: &str, name: &str) -> Result<(), GitError> {
    if !has_commit(dir, sha) {
        let source = from.to_string_lossy().into_owned();
        run(dir, &["fetch", "--quiet", "--no-write-fetch-head", "--no-tags", "--", &source, sha])?;
    }
    update_ref(dir, name, Some(sha))
}

/// Whether `ancestor` is reachable from `descendant`.
pub(crate) fn is_ancestor(dir: &Path, ancestor: &str, descendant: &str) -> bool {
    run(dir, &["merge-base", "--is-ancestor", ancestor, descendant]).is_ok()
}

/// Merge base, conflict and changed files between a base and a head commit.
pub(crate) fn diff_stat(dir: &Path, base: &str, head: &str) -> DiffStat {
    let merge_base = run(dir, &["merge-base", base, head]).unwrap_or_default();
    if merge_base.is_empty() {
        return DiffStat { conflict: true, ..DiffStat::default() };
    }
    let conflict = run(dir, &["merge-tree", "--write-tree", base, head]).is_err();
    let files = changed_files(dir, &merge_base, head);
    DiffStat { merge_base, conflict, files }
}

/// Files changed from one commit (or tree) to another.
pub(crate) fn changed_files(dir: &Path, from: &str, to: &str) -> Vec<FileStat> {
    let raw = |what| run_raw(dir, &["diff", "-z", "-M", what, from, to]).unwrap_or_default();
    let names = raw("--name-status");
    let counts = raw("--numstat");
    let numbers = numstat(&counts);
    let mut out = Vec::new();
    let mut fields = names.split(|b| *b == 0).map(|f| String::from_utf8_lossy(f).into_owned());
    while let Some(code) = fields.next().filter(|c| !c.is_empty()) {
        let Some(first) = fields.next() else { break };
        let (status, previous, path) = match code.as_bytes()[0] {
            b'A' => ("added", None, first),
            b'D' => ("deleted", None, first),
            b'R' | b'C' => ("renamed", Some(first), fields.next().unwrap_or_default()),
            _ => ("changed", None, first),
        };
        let (additions, deletions) = numbers.iter().find(|(p, ..)| *p == path).map_or((0, 0), |(_, a, d)| (*a, *d));
        out.push(FileStat { path, previous, status, additions, deletions });
    }
    out
}

fn numstat(raw: &[u8]) -> Vec<(String, i64, i64)> {
    let mut out = Vec::new();
    let mut fields = raw.split(|b| *b == 0).map(|f| String::from_utf8_lossy(f).into_owned());
    while let Some(line) = fields.next().filter(|l| !l.is_empty()) {
        let mut parts = line.splitn(3, '\t');
        let additions = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let deletions = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let mut path = parts.next().unwrap_or_default().to_owned();
        if path.is_empty() {
            fields.next();
            path = fields.next().unwrap_or_default();
        }
        out.push((path, additions, deletions));
    }
    out
}

/// Reads one commit.
pub(crate) fn commit(dir: &Path, sha: &str) -> Option<CommitInfo> {
    commits(dir, &[sha, "-1"]).into_iter().next()
}

/// Runs `git log` with these selectors (ids, ranges, `-n`, `--`), newest first.
pub(crate) fn commits(dir: &Path, select: &[&str]) -> Vec<CommitInfo> {
    let format = "--format=%H%x01%T%x01%P%x01%an%x01%ae%x01%at%x01%cn%x01%ce%x01%ct%x01%B%x00";
    let mut args = vec!["log", format];
    args.extend_from_slice(select);
    let text = run(dir, &args).unwrap_or_default();
    text.split('\0').filter_map(parse_commit).collect()
}

fn parse_commit(text: &str) -> Option<CommitInfo> {
    let fields: Vec<&str> = text.trim_start_matches('\n').splitn(10, '\u{1}').collect();
    let &[sha, tree, parents, an, ae, at, cn, ce, ct, body] = fields.as_slice() else { return None };
    Some(CommitInfo {
        sha: sha.to_owned(),
        tree: tree.to_owned(),
        parents: parents.split_whitespace().map(str::to_owned).collect(),
        author: Person { name: an.to_owned(), email: ae.to_owned() },
        author_time: at.parse().ok()?,
        committer: Person { name: cn.to_owned(), email: ce.to_owned() },
        commit_time: ct.parse().ok()?,
        message: body.to_owned(),
    })
}

/// Who and when a new commit is by.
#[derive(Debug, Clone)]
pub(crate) struct Signature {
    pub author: Person,
    pub committer: Person,
    pub seconds: i64,
}

#[expect(clippy::disallowed_types, reason = "comes from `program`")]
fn with_signature(mut command: Command, sign: &Signature) -> Command {
    let date = format!("@{} +0000", sign.seconds);
    command
        .env("GIT_AUTHOR_NAME", &sign.author.name)
        .env("GIT_AUTHOR_EMAIL", &sign.author.email)
        .env("GIT_AUTHOR_DATE", &date)
        .env("GIT_COMMITTER_NAME", &sign.committer.name)
        .env("GIT_COMMITTER_EMAIL", &sign.committer.email)
        .env("GIT_COMMITTER_DATE", &date);
    command
}

/// Makes a commit object of a tree.
pub(crate) fn commit_tree(
    dir: &Path,
    tree: &str,
    parents: &[&str],
    message: &str,
    sign: &Signature,
) -> Result<String, GitError> {
    let mut args = vec!["commit-tree", tree];
    for parent in parents {
        args.extend_from_slice(&["-p", parent]);
    }
    run_input(with_signature(command(dir, &args), sign), &args, message.as_bytes())
}

/// Makes an annotated tag object and its ref.
pub(crate) fn annotated_tag(
    dir: &Path,
    tag: &str,
    target: &str,
    message: &str,
    sign: &Signature,
) -> Result<(), GitError> {
    let args = ["tag", "-a", "-F", "-", "--", tag, target];
    run_input(with_signature(command(dir, &args), sign), &args, message.as_bytes()).map(drop)
}

/// Commits changes on top of `parent` (`None` = first commit) without a work tree.
///
/// # Errors
/// When git refuses a path or an object.
pub(crate) fn commit_changes(
    dir: &Path,
    parent: Option<&str>,
    changes: &[Change],
    message: &str,
    sign: &Signature,
) -> Result<String, GitError> {
    let scratch = tempfile::tempdir().map_err(|e| failed(&["update-index"], e.to_string()))?;
    let index = scratch.path().join("index");
    let with_index = |args: &[&str]| {
        let mut c = command(dir, args);
        c.env("GIT_INDEX_FILE", &index);
        c
    };
    match parent {
        Some(sha) => finish(&["read-tree"], with_index(&["read-tree", sha]).output())?,
        None => finish(&["read-tree"], with_index(&["read-tree", "--empty"]).output())?,
    };
    for change in changes {
        let line = match &change.content {
            Some(bytes) => {
                let args = ["hash-object", "-w", "--stdin"];
                let blob = run_input(command(dir, &args), &args, bytes)?;
                let old = parent.and_then(|p| entry(dir, p, &change.path));
                let mode = old.map_or_else(|| "100644".to_owned(), |e| e.mode);
                format!("{mode} {blob}\t{}\0", change.path)
            }
            None => format!("0 {ZERO}\t{}\0", change.path),
        };
        let args = ["update-index", "-z", "--index-info"];
        run_input(with_index(&args), &args, line.as_bytes())?;
    }
    let tree = finish(&["write-tree"], with_index(&["write-tree"]).output())?;
    let tree = String::from_utf8_lossy(&tree).trim().to_owned();
    commit_tree(dir, &tree, &parent.into_iter().collect::<Vec<_>>(), message, sign)
}

/// One entry of a tree.
#[derive(Debug, Clone)]
pub(crate) struct TreeEntry {
    pub mode: String,
    pub kind: String,
    pub sha: String,
    pub size: i64,
    pub path: String,
}

/// Entries of a directory (`""` = root) at a commit; `None` when the path is no directory.
pub(crate) fn tree(dir: &Path, commit: &str, path: &str, recursive: bool) -> Option<Vec<TreeEntry>> {
    let spec = if path.is_empty() { format!("{commit}^{{tree}}") } else { format!("{commit}:{path}") };
    let mut args = vec!["ls-tree", "-z", "-l"];
    if recursive {
        args.extend_from_slice(&["-r", "-t"]);
    }
    args.push(&spec);
    let text = run_raw(dir, &args).ok()?;
    Some(text.split(|b| *b == 0).filter_map(|l| parse_entry(&String::from_utf8_lossy(l))).collect())
}

/// The entry of one path at a commit.
pub(crate) fn entry(dir: &Path, commit: &str, path: &str) -> Option<TreeEntry> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut found = tree(dir, commit, parent, false)?.into_iter().find(|e| e.path == name)?;
    found.path = path.to_owned();
    Some(found)
}

fn parse_entry(line: &str) -> Option<TreeEntry> {
    let (meta, path) = line.split_once('\t')?;
    let mut parts = meta.split_whitespace();
    Some(TreeEntry {
        mode: parts.next()?.to_owned(),
        kind: parts.next()?.to_owned(),
        sha: parts.next()?.to_owned(),
        size: parts.next()?.parse().unwrap_or(0),
        path: path.to_owned(),
    })
}

/// The bytes of a blob.
pub(crate) fn blob(dir: &Path, sha: &str) -> Option<Vec<u8>> {
    if is_sha(sha) { run_raw(dir, &["cat-file", "blob", sha]).ok() } else { None }
}

/// Whether a repository has no branch at all, judged from its files.
pub(crate) fn branches_empty(dir: &Path) -> bool {
    let loose = std::fs::read_dir(dir.join("refs/heads")).is_ok_and(|mut d| d.next().is_some());
    let packed = std::fs::read_to_string(dir.join("packed-refs"));
    !loose && !packed.is_ok_and(|t| t.lines().any(|l| l.contains(" refs/heads/")))
}

/// Size of the object files in KiB, judged from the directory.
pub(crate) fn disk_kib(dir: &Path) -> u64 {
    fn bytes(dir: &Path, depth: u8) -> u64 {
        let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
        let each = entries.flatten().map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() && depth > 0 => bytes(&entry.path(), depth - 1),
            Ok(meta) if meta.is_file() => meta.len(),
            _ => 0,
        });
        each.sum()
    }
    bytes(&dir.join("objects"), 2).div_ceil(1024)
}

/// The id of the tree without entries, made sure to exist.
pub(crate) fn empty_tree(dir: &Path) -> String {
    let args = ["hash-object", "-w", "-t", "tree", "--stdin"];
    run_input(command(dir, &args), &args, b"").unwrap_or_default()
}
