//! Against real git, honest and hostile repositories.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::process::Command;

struct Repo {
    dir: tempfile::TempDir,
}

impl Repo {
    async fn new() -> Self {
        let repo = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(repo.path()).unwrap();
        repo.git(&["init", "-q", "-b", "main"]).await;
        repo
    }

    async fn with_recipe() -> Self {
        let repo = Self::new().await;
        repo.write("compose.yml", "services: {}\n");
        repo.commit("first").await;
        repo
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("recipe")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    async fn git(&self, args: &[&str]) -> String {
        self.git_with(args, "").await
    }

    async fn git_with(&self, args: &[&str], input: &str) -> String {
        let who = ["-c", "user.name=T", "-c", "user.email=t@example.test"];
        let git = Command::new("git").inherit("PATH").env("HOME", self.dir.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        let git = git.args(who).args(args.iter().copied()).cwd(self.path()).stdin(input);
        git.run_ok().await.unwrap().stdout.text().trim().to_owned()
    }

    async fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]).await;
        self.git(&["commit", "-q", "--allow-empty", "-m", message]).await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    fn source(&self) -> Source {
        Source::Local(self.path())
    }

    fn options(&self) -> FetchOptions {
        FetchOptions::new(self.dir.path().join("cache"))
    }

    async fn fetch(&self, reference: Option<&str>) -> Result<Checked, GitError> {
        fetch(&self.source(), reference, &self.options()).await
    }

    /// Puts a tree with one entry of any mode and name on `main`, past all of git's own checks.
    async fn commit_entry(&self, mode: &str, kind: &str, object: &str, name: &str) {
        let tree = self.git_with(&["mktree", "--missing", "-z"], &format!("{mode} {kind} {object}\t{name}\0")).await;
        let commit = self.git(&["commit-tree", "-m", "x", &tree]).await;
        self.git(&["update-ref", "refs/heads/main", &commit]).await;
    }

    async fn blob(&self, text: &str) -> String {
        self.git_with(&["hash-object", "-w", "--stdin"], text).await
    }
}

#[tokio::test]
async fn reads_one_commit_and_knows_the_tags() {
    let repo = Repo::with_recipe().await;
    let first = repo.git(&["rev-parse", "HEAD"]).await;
    repo.git(&["tag", "-a", "-m", "x", "1.0.0+1.2"]).await;
    repo.write("compose.yml", "services: {app: {}}\n");
    let second = repo.commit("second").await;
    repo.git(&["tag", "light"]).await;

    let checked = repo.fetch(None).await.unwrap();
    assert_eq!((checked.commit.as_str(), checked.reference.as_deref()), (second.as_str(), Some("main")));
    assert_eq!(checked.tree.text("compose.yml"), Some("services: {app: {}}\n"));
    assert_eq!(checked.default_branch.as_deref(), Some("main"));
    assert!(!checked.dirty && checked.require("compose.yml").is_ok());
    let tags: Vec<_> = checked.tags.iter().map(|tag| (tag.name.as_str(), tag.commit == first, tag.annotated)).collect();
    assert_eq!(tags, [("1.0.0+1.2", true, true), ("light", false, false)]);

    for reference in ["1.0.0+1.2", &first, &first[..9], "refs/tags/1.0.0+1.2"] {
        let old = repo.fetch(Some(reference)).await.unwrap();
        assert_eq!(
            (old.commit.as_str(), old.tree.text("compose.yml")),
            (first.as_str(), Some("services: {}\n")),
            "{reference}"
        );
    }
    let left: Vec<_> = std::fs::read_dir(repo.dir.path().join("cache")).unwrap().flatten().map(|e| e.path()).collect();
    drop(checked);
    let after = std::fs::read_dir(repo.dir.path().join("cache")).unwrap().count();
    assert_eq!((left.len(), after), (1, 0), "copies are removed");
}

#[tokio::test]
async fn unknown_names_get_a_hint() {
    let repo = Repo::with_recipe().await;
    repo.git(&["tag", "1.0.0+1.2"]).await;
    for (reference, wanted) in [
        ("mian", "has no branch, tag or commit `mian` (did you mean `main`?)"),
        ("1.0.0", "(did you mean `1.0.0+1.2`?)"),
        ("unlike-anything", "; it has main, 1.0.0+1.2"),
        ("0123456789012345678901234567890123456789", "has no branch, tag or commit `0123456789"),
        ("deadbeef", "has no branch, tag or commit `deadbeef`"),
        ("--output=/tmp/x", "has no branch"),
        ("refs/pull/1/head", "has no branch"),
        ("main:compose.yml", "has no branch"),
    ] {
        let error = repo.fetch(Some(reference)).await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{reference}: {error}");
    }
}

#[tokio::test]
async fn a_pull_request_can_be_asked_for_by_its_reference() {
    let repo = Repo::with_recipe().await;
    let commit = repo.git(&["commit-tree", "-m", "pr", "HEAD^{tree}"]).await;
    repo.git(&["update-ref", "refs/pull/7/head", &commit]).await;
    let checked = repo.fetch(Some("refs/pull/7/head")).await.unwrap();
    assert_eq!((checked.commit, checked.reference.as_deref()), (commit, Some("refs/pull/7/head")));
}

#[tokio::test]
async fn what_is_no_repository_says_so() {
    let repo = Repo::new().await;
    let error = |source: Source| {
        let options = repo.options();
        async move { fetch(&source, None, &options).await.unwrap_err().to_string() }
    };
    assert!(error(repo.source()).await.contains("has no commit yet"));
    assert!(error(Source::Local("/no/such/dir".into())).await.contains("cannot be opened (No such file"));
    assert!(error(Source::Local(repo.dir.path().into())).await.contains("is not a git repository"));
    repo.write("sub/compose.yml", "x");
    repo.commit("x").await;
    assert!(error(Source::Local(repo.path().join("sub"))).await.contains("is a folder inside the repository"));
    let missing = repo.fetch(None).await.unwrap();
    let text = missing.require("compose.yml").unwrap_err().to_string();
    assert!(text.contains("has no compose.yml at") && text.contains("did you mean `sub/compose.yml`?"), "{text}");
}

#[tokio::test]
async fn uncommitted_changes_are_noticed() {
    let repo = Repo::with_recipe().await;
    repo.write(".gitignore", "*.log\n");
    repo.commit("ignore").await;
    repo.write("noise.log", "x");
    assert!(!repo.fetch(None).await.unwrap().dirty);
    repo.write("new.yml", "x");
    assert!(repo.fetch(None).await.unwrap().dirty);
    std::fs::remove_file(repo.path().join("new.yml")).unwrap();
    repo.write("compose.yml", "services: []\n");
    let checked = repo.fetch(None).await.unwrap();
    assert!(checked.dirty && checked.tree.text("compose.yml") == Some("services: {}\n"));
}

#[tokio::test]
async fn links_and_submodules_are_left_out() {
    let repo = Repo::with_recipe().await;
    std::os::unix::fs::symlink("/etc/passwd", repo.path().join("README.md")).unwrap();
    std::os::unix::fs::symlink("compose.yml", repo.path().join("compose.other.yml")).unwrap();
    let head = repo.git(&["rev-parse", "HEAD"]).await;
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},sub")]).await;
    repo.write(".gitmodules", "[submodule \"sub\"]\n\tpath = sub\n\turl = -u./payload\n");
    repo.git(&["add", "README.md", "compose.other.yml", ".gitmodules"]).await;
    repo.git(&["commit", "-q", "-m", "x"]).await;
    // Git's own check refuses this URL on arrival.
    let error = repo.fetch(None).await.unwrap_err();
    assert!(matches!(error, GitError::Hostile { .. }), "{error}");
    repo.write(".gitmodules", "[submodule \"sub\"]\n\tpath = sub\n\turl = https://git.example/x\n");
    repo.git(&["add", ".gitmodules"]).await;
    repo.git(&["commit", "-q", "--amend", "-m", "x"]).await;
    let checked = repo.fetch(None).await.unwrap();
    let skipped: Vec<_> = checked.tree.skipped.iter().map(|skip| (skip.path.as_str(), skip.what)).collect();
    assert_eq!(skipped, [("README.md", "symbolic link"), ("compose.other.yml", "symbolic link"), ("sub", "submodule")]);
    let error = checked.require("compose.other.yml").unwrap_err().to_string();
    assert!(error.contains("It is a symbolic link"), "{error}");
}

#[tokio::test]
async fn hooks_filters_and_configured_programs_do_not_run() {
    let repo = Repo::with_recipe().await;
    let mark = repo.dir.path().join("ran");
    let touch = format!("touch {}", mark.display());
    repo.write(".gitattributes", "* filter=evil text eol=crlf diff=evil\n");
    repo.commit("attributes").await;
    for key in [
        "filter.evil.smudge",
        "filter.evil.clean",
        "filter.evil.process",
        "core.fsmonitor",
        "uploadpack.packObjectsHook",
        "core.sshCommand",
        "diff.evil.textconv",
        "diff.external",
        "credential.helper",
        "core.pager",
        "core.alternateRefsCommand",
    ] {
        repo.git(&["config", key, &touch]).await;
    }
    let hooks = repo.path().join(".git/hooks");
    std::fs::create_dir_all(&hooks).unwrap();
    for hook in ["post-checkout", "reference-transaction", "post-index-change", "fsmonitor-watchman", "pre-auto-gc"] {
        let file = hooks.join(hook);
        std::fs::write(&file, format!("#!/bin/sh\n{touch}\n")).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let checked = repo.fetch(None).await.unwrap();
    assert_eq!(checked.tree.text("compose.yml"), Some("services: {}\n"));
    assert!(!mark.exists(), "a program named by the repository ran");
}

#[tokio::test]
async fn names_of_gits_own_folder_are_refused() {
    for name in [".git", ".GIT", "git~1"] {
        let repo = Repo::with_recipe().await;
        let blob = repo.blob("x").await;
        let tree = repo.git_with(&["mktree", "-z"], &format!("100644 blob {blob}\tconfig\0")).await;
        repo.commit_entry("040000", "tree", &tree, name).await;
        let error = repo.fetch(None).await.unwrap_err();
        assert!(matches!(error, GitError::Hostile { .. }), "{name}: {error}");
    }
}

#[tokio::test]
async fn limits_hold() {
    let repo = Repo::with_recipe().await;
    for n in 0..30 {
        repo.write(&format!("f/{n}"), &"x".repeat(1000));
    }
    repo.commit("many").await;
    let small = |change: fn(&mut FetchOptions)| {
        let mut options = repo.options();
        change(&mut options);
        let source = repo.source();
        async move { fetch(&source, None, &options).await.unwrap_err().to_string() }
    };
    assert!(small(|o| o.max_files = 20).await.contains("more than 20 files"));
    assert!(small(|o| o.max_tree = 10_000).await.contains("its files have"));
    assert!(small(|o| o.max_repository = 100).await.contains("of history"));
    assert!(small(|o| o.timeout = Duration::ZERO).await.contains("took longer than 0 s"));
    assert!(small(|o| o.cancel.cancel()).await.contains("was interrupted"));
}

#[tokio::test]
async fn a_dead_remote_fails_without_showing_the_password() {
    let repo = Repo::with_recipe().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let source = Source::parse(&format!("http://bot:hunter2hunter2@127.0.0.1:{port}/x.git")).unwrap();
    let error = fetch(&source, None, &repo.options()).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("cannot be read") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_clone_knows_its_origins_branch_and_detached_heads_are_read() {
    let origin = Repo::with_recipe().await;
    let clone = Repo { dir: tempfile::tempdir().unwrap() };
    let git = Command::new("git").inherit("PATH").env("HOME", clone.dir.path());
    git.args(["clone", "-q"]).arg(origin.path()).arg(clone.path()).run_ok().await.unwrap();
    clone.git(&["switch", "-q", "-c", "feature"]).await;
    clone.write("compose.yml", "services: {b: {}}\n");
    let tip = clone.commit("feature").await;
    clone.git(&["switch", "-q", "--detach"]).await;
    let checked = clone.fetch(None).await.unwrap();
    assert_eq!(
        (checked.commit, checked.reference, checked.default_branch.as_deref()),
        (tip, None, Some("origin/main"))
    );
}

#[tokio::test]
async fn the_base_is_chosen_from_real_history() {
    let version = |name: &str| {
        let mut parts = name.split('+').next()?.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??, parts.next()??))
    };
    let repo = Repo::with_recipe().await;
    let choose = async |head: Option<&str>| {
        let checked = repo.fetch(head).await.unwrap();
        match choose_base(&checked.repository.base_inputs(&checked.commit, version).await.unwrap()) {
            BaseChoice::Commit { reference, .. } => reference.unwrap_or_default(),
            BaseChoice::Skip { why } => why,
        }
    };
    assert!(choose(None).await.starts_with("first version"));
    repo.git(&["tag", "-a", "-m", "x", "1.0.0+1"]).await;
    repo.write("a", "1");
    repo.commit("two").await;
    repo.git(&["tag", "-a", "-m", "x", "1.1.0+1"]).await;
    repo.write("a", "2");
    repo.commit("three").await;
    assert_eq!(choose(None).await, "1.1.0+1");
    assert_eq!(choose(Some("1.1.0+1")).await, "1.0.0+1");
    assert!(choose(Some("1.0.0+1")).await.starts_with("first version"));
    repo.git(&["switch", "-q", "-c", "pr", "1.0.0+1"]).await;
    repo.write("b", "1");
    repo.commit("pr").await;
    repo.git(&["tag", "9.0.0+1"]).await;
    assert_eq!(choose(Some("pr")).await, "1.1.0+1", "tags off the target branch do not count");
}

#[tokio::test]
async fn a_name_alone_is_looked_up_elsewhere() {
    let error = fetch(&Source::Name("n8n".into()), None, &FetchOptions::new("/nowhere")).await.unwrap_err();
    assert!(matches!(error, GitError::BadSource(_)), "{error}");
    assert!(!Path::new("/nowhere").exists());
}
