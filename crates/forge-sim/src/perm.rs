//! Who may do what. Two views that differ on purpose, as they do in Gitea: the *flat* access mode
//! (what the permission endpoint reports) and the rights per unit (what is really enforced).
//!
//! The one trap to know: a member of an ordinary team with `code = write` may push, while his flat
//! mode is `read` or even `none`.

use std::collections::BTreeMap;

use crate::world::{Id, Repo, Team, User, Visibility, World};

/// An access level. The order is the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    None,
    Read,
    Write,
    Admin,
    Owner,
}

impl Mode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "none" => Some(Self::None),
            "read" => Some(Self::Read),
            "write" => Some(Self::Write),
            "admin" => Some(Self::Admin),
            "owner" => Some(Self::Owner),
            _ => None,
        }
    }
}

/// A part of a repository that rights can be given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    Code,
    Issues,
    Pulls,
    Releases,
    Wiki,
    ExtWiki,
    ExtIssues,
    Projects,
    Packages,
    Actions,
}

impl Unit {
    pub(crate) const ALL: [Self; 10] = [
        Self::Code,
        Self::Issues,
        Self::Pulls,
        Self::Releases,
        Self::Wiki,
        Self::ExtWiki,
        Self::ExtIssues,
        Self::Projects,
        Self::Packages,
        Self::Actions,
    ];

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Code => "repo.code",
            Self::Issues => "repo.issues",
            Self::Pulls => "repo.pulls",
            Self::Releases => "repo.releases",
            Self::Wiki => "repo.wiki",
            Self::ExtWiki => "repo.ext_wiki",
            Self::ExtIssues => "repo.ext_issues",
            Self::Projects => "repo.projects",
            Self::Packages => "repo.packages",
            Self::Actions => "repo.actions",
        }
    }

    pub(crate) fn parse(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|u| u.key() == key)
    }
}

/// The rights of one user (or of nobody) on one repository.
#[derive(Debug, Clone)]
pub(crate) struct Perm {
    /// What the permission endpoint reports.
    pub flat: Mode,
    units: BTreeMap<Unit, Mode>,
}

impl Perm {
    /// The enforced right on one unit.
    pub(crate) fn unit(&self, unit: Unit) -> Mode {
        let own = self.units.get(&unit).copied().unwrap_or(Mode::None);
        if self.flat >= Mode::Admin { self.flat } else { own }
    }

    pub(crate) fn can_read(&self, unit: Unit) -> bool {
        self.unit(unit) >= Mode::Read
    }

    pub(crate) fn can_write(&self, unit: Unit) -> bool {
        self.unit(unit) >= Mode::Write
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.flat >= Mode::Admin
    }

    /// Whether the repository exists for this user.
    pub(crate) fn any(&self) -> bool {
        self.flat >= Mode::Read || self.units.values().any(|m| *m >= Mode::Read)
    }

    fn uniform(mode: Mode) -> Self {
        Self { flat: mode, units: Unit::ALL.into_iter().map(|u| (u, mode)).collect() }
    }
}

/// The rights everybody who sees the owner has for being signed in, or not.
fn public_mode(world: &World, repo: &Repo, user: Option<&User>) -> Mode {
    let Some(owner) = world.users.get(&repo.owner) else { return Mode::None };
    if repo.private {
        return Mode::None;
    }
    let visible = match owner.visibility {
        Visibility::Public => true,
        Visibility::Limited => user.is_some_and(|u| !u.restricted),
        Visibility::Private => false,
    };
    let insider = user.is_some_and(|u| u.id == owner.id || world.is_org_member(owner.id, u.id));
    if visible || insider { Mode::Read } else { Mode::None }
}

fn teams_of<'w>(world: &'w World, repo: &'w Repo, user: Id) -> impl Iterator<Item = &'w Team> {
    world.teams.values().filter(move |t| {
        t.org == repo.owner && t.members.contains(&user) && (t.all_repos || t.repos.contains(&repo.id))
    })
}

/// The minimum over the units a team has at all: the flat mode of older servers and of Forgejo.
pub(crate) fn team_minimum(team: &Team) -> Mode {
    if team.mode >= Mode::Admin {
        return team.mode;
    }
    team.units.values().copied().filter(|m| *m > Mode::None).min().unwrap_or(Mode::None)
}

/// The flat mode a team has on the imitated server.
pub(crate) fn team_flat(world: &World, team: &Team) -> Mode {
    if world.flavour.flat_team_is_none() && team.mode < Mode::Admin { Mode::None } else { team_minimum(team) }
}

/// All rights of `user` on `repo`.
pub(crate) fn repo_perm(world: &World, repo: &Repo, user: Option<Id>) -> Perm {
    let account = user.and_then(|id| world.users.get(&id));
    let public = public_mode(world, repo, account);
    let Some(account) = account else { return Perm::uniform(public) };
    if account.admin || repo.owner == account.id {
        return Perm::uniform(Mode::Owner);
    }
    let granted = repo.collaborators.get(&account.id).copied().unwrap_or(Mode::None);
    let mut perm = Perm::uniform(public.max(granted));
    for team in teams_of(world, repo, account.id) {
        if team.mode >= Mode::Admin {
            return Perm::uniform(Mode::Owner);
        }
        perm.flat = perm.flat.max(team_flat(world, team));
        for (unit, mode) in &team.units {
            let own = perm.units.entry(*unit).or_insert(Mode::None);
            *own = (*own).max(*mode);
        }
    }
    perm
}

/// Whether `viewer` may see the account or organisation `subject`.
pub(crate) fn user_visible(world: &World, subject: &User, viewer: Option<&User>) -> bool {
    match (subject.visibility, viewer) {
        (Visibility::Public, _) => true,
        (_, None) => false,
        (_, Some(v)) if v.admin || v.id == subject.id => true,
        (Visibility::Limited, Some(v)) => !v.restricted || world.is_org_member(subject.id, v.id),
        (Visibility::Private, Some(v)) => {
            if subject.is_org {
                world.is_org_member(subject.id, v.id)
            } else {
                world.teams.values().any(|t| t.members.contains(&subject.id) && world.is_org_member(t.org, v.id))
            }
        }
    }
}

/// Whether `blocked` was blocked by `by`.
pub(crate) fn is_blocked(world: &World, by: Id, blocked: Id) -> bool {
    world.users.get(&by).is_some_and(|u| u.blocked.contains(&blocked))
}
