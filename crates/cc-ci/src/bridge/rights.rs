//! Whether a person may write the code of a repository, from the several partial answers a forge gives.
//!
//! No single call of Gitea or Forgejo says it. The permission call gives a *flat* access mode, which hides a team's right
//! to write code (it answers `read`, or `none` on a private repository); the signed payload tells the truth of the moment
//! the comment was written, not of now; being listed as collaborator says nothing of the level and is not used at all.
//! The rule: a live yes wins, then a complete live no, then the signed payload, then the operator's list; else unknown,
//! and unknown never starts anything.

use serde::{Deserialize, Serialize};

pub use crate::forge::model::Permission;

/// What came of asking the forge something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked<T> {
    /// Nobody asked: it was not needed, or there is nothing to ask.
    #[default]
    NotAsked,
    /// The forge would not say (401, 403, 404, or our token may not know).
    Withheld,
    /// The forge's answer.
    Answer(T),
}

/// What owns the repository. Only organisations have teams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerKind {
    /// A person.
    User,
    /// An organisation.
    Organization,
    /// Not known.
    #[default]
    Unknown,
}

/// The state of the person's account. A locked one keeps its stored rights but may not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Account {
    /// May sign in.
    Active,
    /// Prohibited or inactive.
    Locked,
    /// Only administrators are told.
    #[default]
    Unknown,
}

/// All that is known of one person's rights on one repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rights {
    /// `repository.permissions.push` of a signed comment delivery whose sender is this person. In other events the field
    /// belongs to somebody else and must not be put here.
    pub signed_push: Option<bool>,
    /// Answer of `GET …/collaborators/{user}/permission`.
    pub permission: Asked<Permission>,
    /// Kind of the repository's owner.
    pub owner: OwnerKind,
    /// Whether the person is in a team whose units give write on code: all such teams were asked.
    pub code_team: Asked<bool>,
    /// `permissions.push` of the repository as seen when acting as this person (site administrators' `Sudo`).
    pub as_the_person: Asked<bool>,
    /// The operator named this person's id for repositories whose rights the bot cannot ask for.
    pub on_operators_list: bool,
    /// State of the account.
    pub account: Account,
}

/// Where the answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The account is locked.
    Account,
    /// Looked at with the person's eyes.
    AsThePerson,
    /// The permission call.
    Permission,
    /// A team's units.
    Team,
    /// The signed delivery.
    SignedPayload,
    /// The operator's list.
    OperatorsList,
}

/// Whether the person may write code now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "may_write", content = "source", rename_all = "lowercase")]
pub enum MayWrite {
    /// Yes.
    Yes(Source),
    /// No.
    No(Source),
    /// The forge would not say.
    Unknown,
}

impl MayWrite {
    /// Only a known yes.
    #[must_use]
    pub fn is_yes(self) -> bool {
        matches!(self, MayWrite::Yes(_))
    }
}

impl Rights {
    /// Whether this person may write code now.
    #[must_use]
    pub fn may_write(&self) -> MayWrite {
        if self.account == Account::Locked {
            return MayWrite::No(Source::Account);
        }
        if let Asked::Answer(push) = self.as_the_person {
            return if push { MayWrite::Yes(Source::AsThePerson) } else { MayWrite::No(Source::AsThePerson) };
        }
        let permission_says_yes = match self.permission {
            Asked::Answer(p) => Some(p >= Permission::Write),
            Asked::NotAsked | Asked::Withheld => None,
        };
        if permission_says_yes == Some(true) {
            return MayWrite::Yes(Source::Permission);
        }
        match self.code_team {
            Asked::Answer(true) => return MayWrite::Yes(Source::Team),
            // `read` or `none` together with "in no such team" is the whole truth about an organisation's repository.
            Asked::Answer(false) if permission_says_yes == Some(false) => return MayWrite::No(Source::Team),
            Asked::Answer(false) | Asked::NotAsked | Asked::Withheld => {}
        }
        if permission_says_yes == Some(false) && self.owner == OwnerKind::User {
            return MayWrite::No(Source::Permission);
        }
        match (self.signed_push, self.on_operators_list) {
            (Some(true), _) => MayWrite::Yes(Source::SignedPayload),
            (Some(false), _) => MayWrite::No(Source::SignedPayload),
            (None, true) => MayWrite::Yes(Source::OperatorsList),
            (None, false) => MayWrite::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Asked::{Answer, NotAsked, Withheld};
    use Permission::{Admin, None as NoAccess, Owner, Read, Write};

    #[test]
    fn each_trap_of_the_forge() {
        let organisation = |permission, code_team, signed_push| Rights {
            permission,
            code_team,
            signed_push,
            owner: OwnerKind::Organization,
            ..Rights::default()
        };
        let person =
            |permission, signed_push| Rights { permission, signed_push, owner: OwnerKind::User, ..Rights::default() };
        let table = [
            ("owner", person(Answer(Owner), None), MayWrite::Yes(Source::Permission)),
            ("direct admin", person(Answer(Admin), None), MayWrite::Yes(Source::Permission)),
            ("granted since the comment", person(Answer(Write), Some(false)), MayWrite::Yes(Source::Permission)),
            ("revoked since the comment", person(Answer(Read), Some(true)), MayWrite::No(Source::Permission)),
            (
                "team writer shown as reader",
                organisation(Answer(Read), Answer(true), None),
                MayWrite::Yes(Source::Team),
            ),
            (
                "team writer shown as nobody",
                organisation(Answer(NoAccess), Answer(true), None),
                MayWrite::Yes(Source::Team),
            ),
            ("left the team", organisation(Answer(Read), Answer(false), Some(true)), MayWrite::No(Source::Team)),
            (
                "teams withheld, signed",
                organisation(Answer(Read), Withheld, Some(true)),
                MayWrite::Yes(Source::SignedPayload),
            ),
            (
                "teams withheld, signed no",
                organisation(Answer(Read), Withheld, Some(false)),
                MayWrite::No(Source::SignedPayload),
            ),
            ("teams withheld, polled", organisation(Answer(Read), Withheld, None), MayWrite::Unknown),
            ("all withheld, polled", person(Withheld, None), MayWrite::Unknown),
            ("not in a team, permission withheld", organisation(Withheld, Answer(false), None), MayWrite::Unknown),
            ("nothing asked, signed", person(NotAsked, Some(true)), MayWrite::Yes(Source::SignedPayload)),
            ("owner kind unknown", Rights { permission: Answer(Read), ..Rights::default() }, MayWrite::Unknown),
        ];
        for (name, rights, want) in table {
            assert_eq!(rights.may_write(), want, "{name}");
        }
        let listed = Rights { on_operators_list: true, ..person(Withheld, None) };
        assert_eq!(listed.may_write(), MayWrite::Yes(Source::OperatorsList));
        let listed_but_no = Rights { on_operators_list: true, ..person(Answer(Read), None) };
        assert_eq!(listed_but_no.may_write(), MayWrite::No(Source::Permission));
        let locked = Rights { account: Account::Locked, ..person(Answer(Owner), Some(true)) };
        assert_eq!(locked.may_write(), MayWrite::No(Source::Account));
        let seen = Rights { as_the_person: Answer(false), ..person(Answer(Owner), Some(true)) };
        assert_eq!(seen.may_write(), MayWrite::No(Source::AsThePerson));
    }
}
