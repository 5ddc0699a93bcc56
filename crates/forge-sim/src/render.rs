//! JSON of accounts, organisations, teams, repositories, hooks and tokens, keys in Gitea's order.
//!
//! The one rule to know: a user looks different depending on who looks. The anonymous view (sender,
//! comment authors) hides the address and zeroes the private fields; only the user himself and site
//! administrators see them.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::config::Flavour;
use crate::perm::{Mode, Perm, Unit, repo_perm, team_flat};
use crate::world::{Hook, Id, Repo, Team, Token, User, World, time, time_text};

/// Through whose eyes an account is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Nobody's: the address is replaced, private fields are zero.
    Anonymous,
    /// Somebody signed in: the real address unless hidden.
    Signed,
    /// This user: private fields too, if it is himself or a site administrator.
    As(Id),
}

impl View {
    pub(crate) fn of(viewer: Option<Id>) -> Self {
        viewer.map_or(Self::Anonymous, Self::As)
    }
}

/// The host of the root URL without its port, used for addresses and ssh URLs.
pub(crate) fn domain(world: &World) -> String {
    url::Url::parse(&world.root_url).ok().and_then(|u| u.host_str().map(str::to_owned)).unwrap_or_default()
}

/// A stable picture address, as long as an MD5 sum.
fn avatar(world: &World, seed: &str) -> String {
    let digest = hex::encode(Sha256::digest(seed.as_bytes()));
    format!("{}avatars/{}", world.root_url, &digest[..32])
}

/// An account by number; `Ghost` for deleted ones.
pub(crate) fn user(world: &World, id: Id, view: View) -> Value {
    match world.users.get(&id) {
        Some(found) => account(world, found, view),
        None => ghost(world),
    }
}

fn ghost(world: &World) -> Value {
    let nobody = User {
        id: -1,
        login: "Ghost".to_owned(),
        is_org: false,
        full_name: String::new(),
        email: String::new(),
        hide_email: true,
        password: None,
        admin: false,
        restricted: false,
        active: false,
        prohibit_login: false,
        must_change_password: false,
        visibility: crate::world::Visibility::Public,
        created: 0,
        last_login: 0,
        description: String::new(),
        website: String::new(),
        location: String::new(),
        blocked: std::collections::BTreeSet::new(),
    };
    account(world, &nobody, View::Anonymous)
}

fn account(world: &World, of: &User, view: View) -> Value {
    let private = match view {
        View::As(viewer) => viewer == of.id || world.users.get(&viewer).is_some_and(|v| v.admin),
        View::Anonymous | View::Signed => false,
    };
    let email = if of.is_org || private || (view != View::Anonymous && !of.hide_email) {
        of.email.clone()
    } else {
        format!("{}@noreply.{}", of.login.to_lowercase(), domain(world))
    };
    let mut out = json!({
        "id": of.id,
        "login": of.login,
        "login_name": "",
        "source_id": 0,
        "full_name": of.full_name,
        "email": email,
        "avatar_url": avatar(world, &of.login),
        "html_url": format!("{}{}", world.root_url, of.login),
        "language": "",
        "is_admin": private && of.admin,
        "last_login": if private { time(of.last_login) } else { time(0) },
        "created": if of.id < 0 { time(0) } else { time(of.created) },
        "restricted": of.restricted,
        "active": private && of.active,
        "prohibit_login": private && of.prohibit_login,
        "location": of.location,
    });
    if world.flavour == Flavour::Forgejo {
        out["pronouns"] = json!("");
    }
    let rest = json!({
        "website": of.website,
        "description": of.description,
        "visibility": of.visibility.as_str(),
        "followers_count": 0,
        "following_count": 0,
        "starred_repos_count": 0,
        "username": of.login,
    });
    merge(&mut out, rest);
    out
}

/// Appends the keys of one object to another.
pub(crate) fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// `Organization`.
pub(crate) fn org(world: &World, of: &User) -> Value {
    json!({
        "id": of.id,
        "name": of.login,
        "full_name": of.full_name,
        "email": of.email,
        "avatar_url": avatar(world, &of.login),
        "description": of.description,
        "website": of.website,
        "location": of.location,
        "visibility": of.visibility.as_str(),
        "repo_admin_change_team_access": false,
        "username": of.login,
    })
}

/// `Team`. An ordinary team of a current Gitea reads back `none`, whatever it was created with.
pub(crate) fn team(world: &World, of: &Team, with_org: bool) -> Value {
    let units: Vec<&str> = Unit::ALL.into_iter().filter(|u| unit_mode(of, *u) > Mode::None).map(Unit::key).collect();
    // Units that were never set are not there.
    let set = Unit::ALL.into_iter().filter(|u| of.mode != Mode::None || of.units.contains_key(u));
    let map: Map<String, Value> = set.map(|u| (u.key().to_owned(), json!(unit_mode(of, u).as_str()))).collect();
    let organization = match world.users.get(&of.org) {
        Some(owner) if with_org => org(world, owner),
        _ => Value::Null,
    };
    json!({
        "id": of.id,
        "name": of.name,
        "description": of.description,
        "organization": organization,
        "includes_all_repositories": of.all_repos,
        "permission": team_flat(world, of).as_str(),
        "units": units,
        "units_map": map,
        "can_create_org_repo": of.can_create,
    })
}

fn unit_mode(team: &Team, unit: Unit) -> Mode {
    match team.mode {
        Mode::Owner | Mode::Admin => team.mode,
        Mode::None | Mode::Read | Mode::Write => team.units.get(&unit).copied().unwrap_or(Mode::None),
    }
}

/// `Permission`.
pub(crate) fn permission(perm: &Perm) -> Value {
    json!({ "admin": perm.is_admin(), "push": perm.can_write(Unit::Code), "pull": perm.can_read(Unit::Code) })
}

/// A repository as `viewer` sees it, with his rights.
pub(crate) fn repo_for(world: &World, of: &Repo, viewer: Option<Id>) -> Value {
    let perm = repo_perm(world, of, viewer);
    repo(world, of, &permission(&perm))
}

/// A repository with the rights its owner has: what push and status payloads carry.
pub(crate) fn repo_as_owner(world: &World, of: &Repo) -> Value {
    repo(world, of, &json!({ "admin": true, "push": true, "pull": true }))
}

/// `Repository` with given rights.
pub(crate) fn repo(world: &World, of: &Repo, permissions: &Value) -> Value {
    let full = world.full_name(of);
    let root = &world.root_url;
    let dir = world.git_dir(of.id);
    let issues = world.issues.values().filter(|i| i.repo == of.id && !i.closed);
    let (pulls, plain): (Vec<_>, Vec<_>) = issues.partition(|i| i.pull.is_some());
    let forks = world.repos.values().filter(|r| r.fork_of == Some(of.id)).count();
    let mut out = json!({
        "id": of.id,
        "owner": user(world, of.owner, View::Signed),
        "name": of.name,
        "full_name": full,
        "description": of.description,
        "empty": crate::git::branches_empty(&dir),
        "private": of.private,
        "fork": of.fork_of.is_some(),
        "template": of.template,
    });
    if let Some(parent) = of.fork_of.and_then(|id| world.repos.get(&id)) {
        out["parent"] = repo(world, parent, permissions);
    }
    merge(
        &mut out,
        json!({
            "mirror": of.mirror.is_some(),
            "size": crate::git::disk_kib(&dir),
            "language": "",
            "languages_url": format!("{root}api/v1/repos/{full}/languages"),
            "html_url": format!("{root}{full}"),
            "url": format!("{root}api/v1/repos/{full}"),
            "link": "",
            "ssh_url": format!("git@{}:{full}.git", domain(world)),
            "clone_url": format!("{root}{full}.git"),
            "original_url": of.original_url,
            "website": of.website,
            "stars_count": 0,
            "forks_count": forks,
            "watchers_count": 1,
        }),
    );
    if world.flavour.is_current() {
        out["branch_count"] = json!(crate::git::branches(&dir).len());
    }
    merge(
        &mut out,
        json!({
            "open_issues_count": plain.len(),
            "open_pr_counter": pulls.len(),
            "release_counter": of.releases.iter().filter(|r| !r.draft).count(),
            "default_branch": of.default_branch,
            "archived": of.archived,
            "created_at": time(of.created),
            "updated_at": time(of.updated),
            "archived_at": time_text(of.archived_at),
            "permissions": permissions,
        }),
    );
    if world.flavour != Flavour::Forgejo {
        out["has_code"] = json!(world.flavour.is_current());
    }
    out["has_issues"] = json!(of.has_issues);
    if of.has_issues {
        out["internal_tracker"] = json!({
            "enable_time_tracker": true,
            "allow_only_contributors_to_track_time": true,
            "enable_issue_dependencies": true,
        });
    }
    merge(&mut out, repo_settings(world, of));
    out
}

fn repo_settings(world: &World, of: &Repo) -> Value {
    let forgejo = world.flavour == Flavour::Forgejo;
    let style = |name: &str| of.merge_styles.contains(name);
    let mut out = json!({ "has_wiki": of.has_wiki });
    if forgejo {
        merge(&mut out, json!({ "wiki_branch": "main", "globally_editable_wiki": false }));
    }
    // A fork is made with code and pull requests only.
    let whole = of.fork_of.is_none();
    merge(&mut out, json!({ "has_pull_requests": of.has_pulls, "has_projects": whole }));
    if !forgejo {
        out["projects_mode"] = json!("all");
    }
    merge(
        &mut out,
        json!({
            "has_releases": whole,
            "has_packages": whole,
            "has_actions": false,
            "ignore_whitespace_conflicts": false,
            "allow_merge_commits": style("merge"),
            "allow_rebase": style("rebase"),
            "allow_rebase_explicit": style("rebase-merge"),
            "allow_squash_merge": style("squash"),
            "allow_fast_forward_only_merge": style("fast-forward-only"),
            "allow_rebase_update": true,
            "allow_manual_merge": style("manually-merged"),
            "autodetect_manual_merge": false,
            "default_delete_branch_after_merge": false,
            "default_merge_style": "merge",
            "default_allow_maintainer_edit": world.flavour.is_current(),
            "avatar_url": "",
            "internal": false,
            "mirror_interval": if of.mirror.is_some() { "8h0m0s" } else { "" },
            "object_format_name": "sha1",
            "mirror_updated": if of.mirror.is_some() { time(of.updated) } else { time(0) },
            "topics": [],
        }),
    );
    if !forgejo {
        out["licenses"] = json!([]);
    }
    out
}

/// `Hook`. The secret is never shown; the authorization header is, in clear.
pub(crate) fn hook(world: &World, of: &Hook) -> Value {
    let mut events: Vec<&str> = of.events.iter().map(|e| e.listed(world.flavour)).collect();
    events.dedup();
    let mut out = json!({ "id": of.id });
    if world.flavour.is_current() {
        out["name"] = json!("");
    }
    merge(&mut out, json!({ "type": of.kind, "branch_filter": of.branch_filter }));
    if world.flavour == Flavour::Forgejo {
        out["url"] = json!(of.url);
    }
    merge(
        &mut out,
        json!({
            "config": { "content_type": of.content_type, "url": of.url },
            "events": events,
            "authorization_header": of.authorization,
            "active": of.active,
            "updated_at": time(of.updated),
            "created_at": time(of.created),
        }),
    );
    if world.flavour == Flavour::Forgejo {
        merge(&mut out, json!({ "content_type": of.content_type, "metadata": null }));
    }
    out
}

/// `AccessToken`; the secret only in the answer to its creation.
pub(crate) fn token(of: &Token, with_secret: bool) -> Value {
    let last = of.secret.len().saturating_sub(8);
    json!({
        "id": of.id,
        "name": of.name,
        "sha1": if with_secret { of.secret.as_str() } else { "" },
        "token_last_eight": &of.secret[last..],
        "scopes": of.scopes,
        "created_at": time(of.created),
        "last_used_at": time(of.used),
    })
}

/// `RepositoryMeta` as issues carry it: the owner is a plain text here.
pub(crate) fn repo_meta(world: &World, of: &Repo) -> Value {
    json!({
        "id": of.id,
        "name": of.name,
        "owner": world.login(of.owner),
        "full_name": world.full_name(of),
    })
}
