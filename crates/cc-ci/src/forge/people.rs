//! The server, the token, and who may do what.

use reqwest::Method;
use serde_json::json;

use super::model::{Limits, Membership, OwnRights, PermissionOf, Person, Reach, RepoId, Scopes, Team, User, Version};
use super::transport::Call;
use super::{Client, Error, ErrorKind, wire};

/// Owner that no account can be called, for calls that shall find nothing.
const NOBODY: &str = "-";

impl Client {
    /// What the server is. Needs no scope, but a token that is known.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn version(&self) -> Result<Version, Error> {
        self.send(Call::get(&["version"])).await?.read::<wire::Version>()
    }

    /// What the forge's clock shows, in whole seconds; `None` if it does not say. Asked without the token, so it is
    /// known even if the token is not.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] if it says something else than a time; else see [`Error`].
    pub async fn date(&self) -> Result<Option<jiff::Timestamp>, Error> {
        let call = Call::get(&["version"]);
        let Some(text) = self.transport.date(&call).await? else { return Ok(None) };
        let parser = jiff::fmt::rfc2822::DateTimeParser::new();
        parser
            .parse_timestamp(&text)
            .map(Some)
            .map_err(|_| Error::new(ErrorKind::Decode, "the forge's Date header", &text))
    }

    /// The server's limits.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn limits(&self) -> Result<Limits, Error> {
        self.send(Call::get(&["settings", "api"])).await?.read::<wire::Limits>()
    }

    /// The account that the token belongs to.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn whoami(&self) -> Result<User, Error> {
        self.send(Call::get(&["user"])).await?.read::<wire::User>()
    }

    /// What the token may be used for. There is no call that tells, so each group is tried on something that cannot
    /// exist: the forge looks at scopes before it looks for things, so nothing is ever changed.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn scopes(&self) -> Result<Scopes, Error> {
        let repository = ["repos", NOBODY, NOBODY, "branches"];
        let issue = ["repos", NOBODY, NOBODY, "issues", "1", "comments"];
        Ok(Scopes {
            repository: self.reach(&repository).await?,
            issue: self.reach(&issue).await?,
            organization: self.reads(&["orgs", NOBODY]).await?,
            user: self.reads(&["user"]).await?,
        })
    }

    async fn reach(&self, path: &[&str]) -> Result<Reach, Error> {
        if self.covered(Call::new(Method::POST, path).body(json!({}))).await? {
            return Ok(Reach::Write);
        }
        self.reads(path).await
    }

    async fn reads(&self, path: &[&str]) -> Result<Reach, Error> {
        Ok(if self.covered(Call::get(path)).await? { Reach::Read } else { Reach::Nothing })
    }

    /// Whether the token's scopes cover a call.
    async fn covered(&self, call: Call) -> Result<bool, Error> {
        match self.send(call).await {
            Ok(_) => Ok(true),
            Err(Error { kind: ErrorKind::Forbidden { missing_scope: Some(_) }, .. }) => Ok(false),
            Err(error) => match error.kind {
                ErrorKind::NotFound | ErrorKind::Validation | ErrorKind::Forbidden { .. } => Ok(true),
                _ => Err(error),
            },
        }
    }

    /// An account.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] also for hidden ones; else see [`Error`].
    pub async fn user(&self, login: &str) -> Result<User, Error> {
        self.send(Call::get(&["users", login])).await?.read::<wire::User>()
    }

    /// Somebody's flat access mode. It hides what teams may do: the gate has to ask for them too.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] unless this account administers the repository; else see [`Error`].
    pub async fn permission(&self, repo: RepoId, login: &str) -> Result<PermissionOf, Error> {
        let call = Call::get(&["collaborators", login, "permission"]);
        self.in_repo(repo, call).await?.read::<wire::PermissionOf>()
    }

    /// Whether somebody was added to the repository in person, at any level. Owners and team members were not.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn is_collaborator(&self, repo: RepoId, login: &str) -> Result<bool, Error> {
        match self.in_repo(repo, Call::get(&["collaborators", login])).await {
            Ok(_) => Ok(true),
            // 422 is an unknown account. The name of the repository was looked up, so 404 speaks of the person.
            Err(error) if error.is_not_found() || error.kind == ErrorKind::Validation => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The teams with access to a repository; absent if its owner is a person.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn teams(&self, repo: RepoId) -> Result<Option<Vec<Team>>, Error> {
        match self.list_in_repo::<wire::Team, _>(repo, Call::get(&["teams"]), |team| team.id).await {
            Ok(teams) => Ok(Some(teams)),
            Err(Error { kind: ErrorKind::NotApplicable, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether this very person, and not only somebody with his login, is in a team.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn team_membership(&self, team: i64, person: &Person) -> Result<Membership, Error> {
        let team = team.to_string();
        // "No such member" and "you may not know of this team" are the same answer, so the team is looked at first.
        match self.send(Call::get(&["teams", &team])).await {
            Ok(_) => {}
            Err(error) if error.is_withheld() => return Ok(Membership::Withheld),
            Err(error) => return Err(error),
        }
        match self.send(Call::get(&["teams", &team, "members", &person.login])).await {
            Ok(answer) => {
                let found = answer.read::<wire::User>()?;
                Ok(if found.person.id == person.id { Membership::Member } else { Membership::NotMember })
            }
            Err(error) if error.is_not_found() => Ok(Membership::NotMember),
            Err(error) if error.is_withheld() => Ok(Membership::Withheld),
            Err(error) => Err(error),
        }
    }

    /// Whether a login belongs to an organisation. Says nothing of what he may do.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn org_membership(&self, org: &str, login: &str) -> Result<Membership, Error> {
        match self.send(Call::get(&["orgs", org, "members", login])).await {
            Ok(_) => Ok(Membership::Member),
            Err(error) if error.is_not_found() => Ok(Membership::NotMember),
            // Outsiders are sent on to the public members.
            Err(error) if error.is_withheld() => Ok(Membership::Withheld),
            Err(error) => Err(error),
        }
    }

    /// Whom work in a repository can be given to: everybody who may write something there, and members of teams that may
    /// read its pull requests. Needs no more than the right to read.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn assignees(&self, repo: RepoId) -> Result<Vec<Person>, Error> {
        let people = self.in_repo(repo, Call::get(&["assignees"])).await?.list::<wire::User>()?;
        Ok(people.into_iter().map(|user| user.person).collect())
    }

    /// What somebody may do in a repository, seen with his eyes: the only complete answer. Site administrators only.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] for others; [`ErrorKind::NotFound`] if he cannot see it; else see [`Error`].
    pub async fn rights_as(&self, repo: RepoId, login: &str) -> Result<OwnRights, Error> {
        let mut call = Call::get(&["repositories", &repo.0.to_string()]);
        call.sudo = Some(login.to_owned());
        let answer = self.send(call).await?;
        let found = answer.read::<wire::Repo>()?;
        found.rights.filter(|_| found.id == repo).ok_or_else(|| answer.lacking("the rights in the repository"))
    }
}
