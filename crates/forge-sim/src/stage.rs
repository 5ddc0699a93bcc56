//! Setting up one repository from Rust.

use std::path::Path;

use serde_json::{Value, json};

use crate::git;
use crate::handle::{Sim, SimError};
use crate::refs::{RefUpdate, moved};

/// A repository while its stage is set.
#[derive(Debug)]
pub struct RepoHandle<'s> {
    pub(crate) sim: &'s Sim,
    pub(crate) full_name: String,
}

impl RepoHandle<'_> {
    /// `owner/name`.
    #[must_use]
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// Replaces branches and tags by those of a git repository on this machine.
    ///
    /// # Errors
    /// When git cannot read it.
    pub fn seed_git(self, source: &Path) -> Result<Self, SimError> {
        let mut world = self.sim.world();
        let (owner, name) = self.full_name.split_once('/').unwrap_or_default();
        let Some(id) = world.repo_by_name(owner, name).map(|r| r.id) else {
            return Err(SimError::NoAccount(self.full_name.clone()));
        };
        let dir = world.git_dir(id);
        let text = source.to_string_lossy().into_owned();
        git::fetch_all(&dir, &text)?;
        let head = git::remote_head(&dir, &text).or_else(|| git::branches(&dir).into_iter().next());
        if let Some(head) = head {
            git::run(&dir, &["symbolic-ref", "HEAD", &format!("refs/heads/{head}")])?;
            if let Some(repo) = world.repos.get_mut(&id) {
                repo.default_branch = head;
            }
        }
        drop(world);
        Ok(self)
    }

    /// Gives somebody a direct right: `read`, `write` or `admin`.
    ///
    /// # Errors
    /// As the API has them.
    pub fn collaborator(self, login: &str, permission: &str) -> Result<Self, SimError> {
        let path = format!("repos/{}/collaborators/{login}", self.full_name);
        self.sim.must(&self.sim.admin, "PUT", &path, json!({ "permission": permission }))?;
        Ok(self)
    }

    /// Changes settings as the API does: `private`, `archived`, ….
    ///
    /// # Errors
    /// As the API has them.
    pub fn edit(self, changes: Value) -> Result<Self, SimError> {
        self.sim.must(&self.sim.admin, "PATCH", &format!("repos/{}", self.full_name), changes)?;
        Ok(self)
    }

    /// Forks it for an account; returns the fork's full name.
    ///
    /// # Errors
    /// As the API has them.
    pub fn fork_as(&self, login: &str) -> Result<String, SimError> {
        let made = self.sim.must(login, "POST", &format!("repos/{}/forks", self.full_name), json!({}))?;
        Ok(made["full_name"].as_str().unwrap_or_default().to_owned())
    }

    /// The bare repository on disk. To be read only.
    #[must_use]
    pub fn git_dir(&self) -> Option<std::path::PathBuf> {
        let world = self.sim.world();
        let (owner, name) = self.full_name.split_once('/')?;
        world.repo_by_name(owner, name).map(|r| world.git_dir(r.id))
    }

    /// Points a branch at a commit the repository already has, as a forced push would.
    ///
    /// # Errors
    /// When git has no such commit, or the account is unknown.
    pub fn force_branch(&self, login: &str, branch: &str, sha: &str) -> Result<(), SimError> {
        let mut world = self.sim.world();
        let (owner, name) = self.full_name.split_once('/').unwrap_or_default();
        let user = world.user_by_name(login).map(|u| u.id);
        let repo = world.repo_by_name(owner, name).map(|r| r.id);
        let (Some(user), Some(repo)) = (user, repo) else { return Err(SimError::NoAccount(login.to_owned())) };
        let dir = world.git_dir(repo);
        let old = git::branch_sha(&dir, branch);
        git::update_ref(&dir, &format!("refs/heads/{branch}"), Some(sha))?;
        moved(&mut world, repo, user, &[RefUpdate::branch(branch, old, Some(sha.to_owned()))]);
        Ok(())
    }
}
