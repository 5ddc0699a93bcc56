//! Repositories, their files and their tags.

use base64::Engine as _;
use reqwest::Method;
use serde_json::json;

use super::model::{File, NewFile, Repo, RepoId, Tag, Written};
use super::transport::Call;
use super::{Client, Error, ErrorKind, wire};

impl Client {
    /// A repository by id, whatever it is called now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] also if this account may not see it; else see [`Error`].
    pub async fn repo(&self, repo: RepoId) -> Result<Repo, Error> {
        let answer = self.send(Call::get(&["repositories", &repo.0.to_string()])).await?;
        let found = answer.read::<wire::Repo>()?;
        if found.id == repo { Ok(found) } else { Err(answer.lacking("the repository that was asked for")) }
    }

    /// A repository by its name, once: to learn its id. An old name finds the renamed repository.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] also if this account may not see it; [`ErrorKind::Moved`] if it was renamed to somewhere
    /// else than this forge; else see [`Error`].
    pub async fn repo_by_name(&self, owner: &str, name: &str) -> Result<Repo, Error> {
        let call = Call::get(&["repos", owner, name]);
        match self.send(call.clone()).await {
            Ok(answer) => answer.read::<wire::Repo>(),
            Err(Error { kind: ErrorKind::Moved { location }, call: name, message }) => {
                let Some(path) = path_below_api(&location) else {
                    return Err(Error { kind: ErrorKind::Moved { location }, call: name, message });
                };
                let parts: Vec<&str> = path.iter().map(String::as_str).collect();
                self.send(Call::get(&parts)).await?.read::<wire::Repo>()
            }
            Err(error) => Err(error),
        }
    }

    /// A file of a branch, tag or commit.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] for a folder; else see [`Error`].
    pub async fn file(&self, repo: RepoId, path: &str, reference: &str) -> Result<File, Error> {
        let call = contents(Method::GET, path).query("ref", reference);
        self.in_repo(repo, call).await?.read::<wire::File>()
    }

    /// Writes a file with one commit.
    ///
    /// # Errors
    /// [`ErrorKind::Validation`] if it exists and nothing should be replaced, or holds something else than what should
    /// be; [`ErrorKind::Forbidden`] for protected branches; else see [`Error`].
    pub async fn write_file(&self, repo: RepoId, new: &NewFile) -> Result<Written, Error> {
        let mut body = json!({
            "content": base64::engine::general_purpose::STANDARD.encode(&new.content),
            "branch": new.branch,
            "message": new.message,
        });
        let method = match &new.replaces {
            Some(blob) => {
                body["sha"] = json!(blob);
                Method::PUT
            }
            None => Method::POST,
        };
        self.in_repo(repo, contents(method, &new.path).body(body)).await?.read::<wire::Written>()
    }

    /// All tags.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn tags(&self, repo: RepoId) -> Result<Vec<Tag>, Error> {
        self.list_in_repo::<wire::Tag, _>(repo, Call::get(&["tags"]), |tag| tag.name.clone()).await
    }
}

/// Folders are parts of the address, so each is escaped on its own.
fn contents(method: Method, path: &str) -> Call {
    let parts: Vec<&str> = std::iter::once("contents").chain(path.split('/')).collect();
    Call::new(method, &parts)
}

/// The parts of `…/api/v1/repos/owner/name`. The host is left out: servers name themselves by another address than ours.
fn path_below_api(location: &str) -> Option<Vec<String>> {
    let (_, path) = location.split_once("/api/v1/")?;
    let path = path.split(['?', '#']).next()?;
    let parts: Vec<String> = path.split('/').map(percent_decoded).collect::<Option<_>>()?;
    (parts.len() == 3 && parts.first().is_some_and(|first| first == "repos")).then_some(parts)
}

fn percent_decoded(part: &str) -> Option<String> {
    let text = format!("x={}", part.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(text.as_bytes()).next()?.1.into_owned();
    (!decoded.contains('\u{fffd}')).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_renamed_repository_went() {
        let parts = |location: &str| path_below_api(location);
        let want = |name: &str| Some(vec!["repos".to_owned(), "a".to_owned(), name.to_owned()]);
        assert_eq!(parts("https://f.test/git/api/v1/repos/a/b?x=1"), want("b"));
        assert_eq!(parts("/api/v1/repos/a/b%2Bc+d"), want("b+c+d"));
        for bad in ["https://evil.test/", "/api/v1/user", "/api/v1/repos/a/b/c", "", "/api/v1/repos/a/%FF"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
