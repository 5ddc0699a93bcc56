//! Gathers what the gate must know about a comment: the person's rights, the pull request, the comment as it is now.
//!
//! Nothing is judged here. What the forge will not tell becomes "withheld", which never means yes; but an outage, or a
//! token that the forge does not know, is an error, so that nobody is refused for what is our own trouble. The race to
//! know: a login may belong to somebody else by now, so every answer about a person is checked against his id.

use super::facts::{CommentNow, Facts, HintHistory, LastPush, MayWriteKnown, PullFacts, Trigger};
use super::rights::{Account, Asked, OwnerKind, Rights};
use crate::forge::model::{Membership, Permission, Person, Pull, Repo, RepoId, TimelineEntry, User};
use crate::forge::{Client, Error, ErrorKind, model::Happened};

/// What is known of a comment before the forge is asked.
#[derive(Debug, Clone)]
pub struct Asking<'t> {
    /// The comment.
    pub trigger: &'t Trigger,
    /// `repository.permissions.push` of the signed delivery of this very comment.
    pub signed_push: Option<bool>,
    /// The operator named the commenter.
    pub on_operators_list: bool,
    /// The forge told that the comment was changed.
    pub edited: bool,
    /// A later comment of the pull request has been obeyed that asked to cancel.
    pub cancelled_since: bool,
    /// What refused people were shown lately.
    pub hints: HintHistory,
}

/// Asks the forge about a comment. Ten to twenty calls.
///
/// # Errors
/// If the forge is down, overloaded or does not know the token: then nothing can be decided, and it should be tried again.
pub async fn gather_facts(client: &Client, asking: &Asking<'_>) -> Result<Facts, Error> {
    let trigger = asking.trigger;
    let repo = RepoId(trigger.repo_id);
    let pull = match trigger.is_pull {
        true => there(client.pull(repo, trigger.number).await)?,
        false => None,
    };
    let own = client.whoami().await?;
    let found = told(client.repo(repo).await)?;
    let known = Rights {
        signed_push: asking.signed_push.filter(|_| trigger.sender.id == trigger.author.id),
        on_operators_list: asking.on_operators_list,
        ..Rights::default()
    };
    let see = Look { client, repo, found: found.as_ref(), own: &own };
    let rights = see.rights(&trigger.author, known).await?;
    let pull = match pull {
        Some(pull) => Some(see.pull(&pull, trigger, &rights).await?),
        None => None,
    };
    Ok(Facts {
        rights,
        pull,
        comment: if asking.edited { CommentNow::Changed } else { comment_now(client, trigger).await? },
        cancelled_since: asking.cancelled_since,
        hints: asking.hints,
    })
}

/// Asks the forge whether a person may write the code of a repository.
///
/// # Errors
/// As [`gather_facts`].
pub async fn gather_rights(
    client: &Client,
    repo: RepoId,
    person: &Person,
    on_operators_list: bool,
) -> Result<Rights, Error> {
    let own = client.whoami().await?;
    let see = Look { client, repo, found: None, own: &own };
    see.rights(person, Rights { on_operators_list, ..Rights::default() }).await
}

/// What all questions about one repository have in common.
struct Look<'c> {
    client: &'c Client,
    repo: RepoId,
    found: Option<&'c Repo>,
    /// Our own account.
    own: &'c User,
}

impl Look<'_> {
    /// What the forge says about a person, added to what is known already.
    async fn rights(&self, person: &Person, known: Rights) -> Result<Rights, Error> {
        let mut rights = known;
        if person.id <= 0 || person.login.is_empty() {
            return Ok(rights);
        }
        // Every account is told its own rights, team's and all, where others have to be asked for piece by piece.
        if person.id == self.own.person.id
            && let Some(own) = self.found.and_then(|repo| repo.rights)
        {
            rights.as_the_person = Asked::Answer(own.push);
            return Ok(rights);
        }
        rights.permission = match self.client.permission(self.repo, &person.login).await {
            Ok(answer) if answer.person.id == person.id => Asked::Answer(answer.permission),
            Ok(_) => Asked::Withheld,
            // A word that a later version may have is no permission, and no reason to stop.
            Err(error) if error.is_withheld() || error.kind == ErrorKind::Decode => Asked::Withheld,
            Err(error) => return Err(error),
        };
        if !matches!(rights.permission, Asked::Answer(permission) if permission >= Permission::Write) {
            (rights.owner, rights.code_team) = self.teams(person, rights.permission).await?;
        }
        if self.own.is_admin {
            rights.account = match told(self.client.user(&person.login).await)? {
                Some(user) if user.person.id != person.id => Account::Unknown,
                Some(user) if user.prohibit_login || !user.active => Account::Locked,
                Some(_) => Account::Active,
                None => Account::Unknown,
            };
            // A login that was given away would show somebody else's rights.
            if rights.account == Account::Active {
                rights.as_the_person = match told(self.client.rights_as(self.repo, &person.login).await)? {
                    Some(seen) => Asked::Answer(seen.push),
                    None => Asked::Withheld,
                };
            }
        }
        Ok(rights)
    }

    /// Whether the person is in a team that may write code, of those that the flat permission does not show.
    async fn teams(&self, person: &Person, flat: Asked<Permission>) -> Result<(OwnerKind, Asked<bool>), Error> {
        let teams = match told(self.client.teams(self.repo).await)? {
            // A hidden list of teams does not say what kind of owner there is.
            None => return Ok((OwnerKind::Unknown, Asked::Withheld)),
            Some(None) => return Ok((OwnerKind::User, Asked::NotAsked)),
            Some(Some(teams)) => teams,
        };
        // Members of administering teams have a flat permission, and usually only owners may look into those.
        let shown_flat = matches!(flat, Asked::Answer(_));
        let mut answer = Asked::Answer(false);
        for team in teams.iter().filter(|team| team.writes_code && !(shown_flat && team.administers)) {
            match self.client.team_membership(team.id, person).await? {
                Membership::Member => return Ok((OwnerKind::Organization, Asked::Answer(true))),
                Membership::NotMember => {}
                Membership::Withheld => answer = Asked::Withheld,
            }
        }
        Ok((OwnerKind::Organization, answer))
    }

    async fn pull(&self, pull: &Pull, trigger: &Trigger, commenter: &Rights) -> Result<PullFacts, Error> {
        let author = if pull.author.id == trigger.author.id {
            commenter.clone()
        } else {
            self.rights(&pull.author, Rights::default()).await?
        };
        let owns = self.found.is_some_and(|repo| repo.owner.id == pull.author.id && pull.author.id > 0);
        let may_write = owns || author.may_write().is_yes();
        let timeline = told(self.client.timeline(self.repo, pull.number).await)?;
        Ok(PullFacts {
            state: pull.state,
            live_head: pull.head.sha.clone(),
            pull_ref: told(self.client.pull_ref(self.repo, pull.number).await)?.flatten(),
            last_push: last_push(pull, timeline.as_deref()),
            author_may_write: if may_write { MayWriteKnown::Yes } else { MayWriteKnown::NoOrUnknown },
        })
    }
}

/// The latest push by the server's clock, if it is the one that made the head what it is. The forge moves
/// `refs/pull/N/head` first and writes the entry afterwards, and may not show us all entries.
fn last_push(pull: &Pull, timeline: Option<&[TimelineEntry]>) -> LastPush {
    let pushes = timeline.unwrap_or_default().iter().filter_map(|entry| match &entry.happened {
        Happened::Push { head, .. } => Some((entry, head)),
        _ => None,
    });
    match pushes.max_by_key(|(entry, _)| entry.id) {
        None => LastPush::Unknown,
        Some((entry, head)) if head.as_deref() == Some(pull.head.sha.as_str()) => LastPush::At(entry.created),
        Some(_) => LastPush::NotYetTold,
    }
}

async fn comment_now(client: &Client, trigger: &Trigger) -> Result<CommentNow, Error> {
    match client.comment(RepoId(trigger.repo_id), trigger.comment_id).await {
        Ok(now) if now.body == trigger.body && now.author.id == trigger.author.id => Ok(CommentNow::Unchanged),
        Ok(_) => Ok(CommentNow::Changed),
        Err(error) if error.is_not_found() => Ok(CommentNow::Gone),
        Err(error) if error.is_withheld() => Ok(CommentNow::Unknown),
        Err(error) => Err(error),
    }
}

/// What is there, or `None`. That it is hidden from us for want of a scope is an error, which an operator has to see.
fn there<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the forge told, or `None` if it would not tell.
fn told<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.is_withheld() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forge::model::{PullState, Side};

    fn entry(happened: Happened, second: i64) -> TimelineEntry {
        let person = Person { id: 1, login: "a".into() };
        TimelineEntry { id: second, happened, person, created: jiff::Timestamp::from_second(second).unwrap() }
    }

    #[test]
    fn the_last_push_is_the_servers_latest() {
        let side = Side { reference: "x".into(), sha: "a".repeat(40), repo: None };
        let pull = Pull {
            number: 1,
            author: Person { id: 1, login: "a".into() },
            title: String::new(),
            body: String::new(),
            state: PullState::Open,
            draft: false,
            locked: false,
            mergeable: true,
            head: side.clone(),
            base: side,
            created: jiff::Timestamp::from_second(5).unwrap(),
            updated: jiff::Timestamp::from_second(99).unwrap(),
            html_url: String::new(),
        };
        let push = |forced, head: &str, second| entry(Happened::Push { forced, head: Some(head.repeat(40)) }, second);
        let unreadable = entry(Happened::Push { forced: false, head: None }, 31);
        let close = entry(Happened::Close, 60);
        let at = |second| LastPush::At(jiff::Timestamp::from_second(second).unwrap());
        for (timeline, want) in [
            (None, LastPush::Unknown),
            (Some(vec![]), LastPush::Unknown),
            (Some(vec![entry(Happened::Comment, 50)]), LastPush::Unknown),
            (Some(vec![push(false, "a", 10), close.clone()]), at(10)),
            (Some(vec![push(true, "a", 30), push(false, "b", 20), close]), at(30)),
            (Some(vec![push(false, "b", 20)]), LastPush::NotYetTold),
            (Some(vec![push(false, "a", 20), push(true, "b", 30)]), LastPush::NotYetTold),
            (Some(vec![push(false, "a", 20), unreadable]), LastPush::NotYetTold),
        ] {
            assert_eq!(last_push(&pull, timeline.as_deref()), want, "{timeline:?}");
        }
    }
}
