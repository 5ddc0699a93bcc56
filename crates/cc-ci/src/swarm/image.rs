//! Pulling images before a stage's clock starts, and telling a wrong image from a silent registry.
//!
//! Pulls go through the `docker` program, so that the operator's logins and credential helpers count. The rule to know:
//! the engine answers a failed pull with prose; [`PullError`] is decided by its words, and by nothing else.

use std::time::Duration;

use super::{CliError, Engine, EngineError};

/// An image that is on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Digest by which the registry knows it, as `sha256:…`; `None` if it exists only on this host.
    pub digest: Option<String>,
    /// The engine's image id, as `sha256:…`.
    pub id: String,
}

/// Why an image could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// The registry answered that there is no such image.
    #[error("image {image} does not exist in its registry: {message}")]
    Missing {
        /// The image.
        image: String,
        /// The engine's word.
        message: String,
    },
    /// The registry did not answer, or answered that it is broken.
    #[error("the registry of {image} does not answer: {message}")]
    Unreachable {
        /// The image.
        image: String,
        /// The engine's word.
        message: String,
    },
    /// Too many pulls.
    #[error("the registry of {image} limits pulls for now: {message}; log in with `docker login`, or use a mirror")]
    RateLimited {
        /// The image.
        image: String,
        /// The engine's word.
        message: String,
    },
    /// A login is needed, or the image does not exist; Docker Hub does not tell the two apart.
    #[error("the registry denies {image}: {message}; the name may be wrong, or `docker login` may be needed")]
    Denied {
        /// The image.
        image: String,
        /// The engine's word.
        message: String,
    },
    /// No room on the engine's disk.
    #[error("no space is left on the engine's disk for {image}: {message}")]
    NoSpace {
        /// The image.
        image: String,
        /// The engine's word.
        message: String,
    },
    /// The reference is malformed.
    #[error("`{image}` is not an image reference: {message}")]
    Invalid {
        /// The image.
        image: String,
        /// The engine's word.
        message: String,
    },
    /// Anything else the engine said.
    #[error("image {image} could not be pulled: {message}")]
    Other {
        /// The image.
        image: String,
        /// The engine's word.
        message: String,
    },
    /// The `docker` program could not be run.
    #[error(transparent)]
    Cli(#[from] CliError),
    /// The engine could not be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Engine {
    /// Makes sure `image` is on the host.
    ///
    /// An image named by digest that is present is not asked for again. An image whose registry does not answer but which is
    /// present counts as pulled, as Swarm itself sees it; a registry that answers "no such image" does not.
    ///
    /// # Errors
    /// See [`PullError`].
    pub async fn pull(&self, image: &str, limit: Duration) -> Result<Pulled, PullError> {
        // A leading dash would be read as an option of the program.
        if image.is_empty() || image.starts_with('-') || image.contains(char::is_whitespace) {
            return Err(PullError::Invalid { image: image.to_owned(), message: "malformed".to_owned() });
        }
        if image.contains("@sha256:")
            && let Some(pulled) = self.local_image(image).await?
        {
            return Ok(pulled);
        }
        let output = self.docker_cli(["pull", "--quiet", "--", image], limit).await?;
        if output.code == Some(0) {
            let message = "it was pulled and is gone again".to_owned();
            return self.local_image(image).await?.ok_or_else(|| PullError::Other { image: image.to_owned(), message });
        }
        let error = classify(image, output.stderr.trim());
        if matches!(error, PullError::Unreachable { .. })
            && let Some(local) = self.local_image(image).await?
        {
            return Ok(local);
        }
        Err(error)
    }

    /// The image as the host has it, without asking any registry.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn local_image(&self, image: &str) -> Result<Option<Pulled>, EngineError> {
        match self.docker.inspect_image(image).await.map_err(self.error(format!("image {image}"))) {
            Ok(found) => Ok(Some(Pulled {
                digest: digest_of(image, found.repo_digests.as_deref().unwrap_or_default()),
                id: found.id.unwrap_or_default(),
            })),
            Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The digest recorded for this very repository; an image may carry digests of several.
fn digest_of(image: &str, digests: &[String]) -> Option<String> {
    if let Some((_, digest)) = image.split_once('@') {
        return Some(digest.to_owned());
    }
    let wanted = super::converge::repository(image);
    digests.iter().find_map(|known| {
        let (repository, digest) = known.split_once('@')?;
        (super::converge::repository(repository) == wanted).then(|| digest.to_owned())
    })
}

/// Sorts the words of a failed pull. Order matters: a proxy's "not found" host is not a missing image.
fn classify(image: &str, message: &str) -> PullError {
    let image = image.to_owned();
    let line = message.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no message");
    let message = line.strip_prefix("Error response from daemon: ").unwrap_or(line).to_owned();
    let lower = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["no space left on device", "disk quota exceeded"]) {
        PullError::NoSpace { image, message }
    } else if has(&["toomanyrequests", "too many requests", "rate limit", "status 429", "429 "]) {
        PullError::RateLimited { image, message }
    } else if has(&[
        "no such host",
        "connection refused",
        "connection reset",
        "i/o timeout",
        "timeout exceeded",
        "deadline exceeded",
        "network is unreachable",
        "no route to host",
        "temporary failure",
        "server misbehaving",
        "tls handshake",
        "x509:",
        "unexpected eof",
        ": eof",
        "internal server error",
        "bad gateway",
        "service unavailable",
        "gateway timeout",
        "received unexpected http status: 5",
        "server gave http response",
        "request canceled",
        "proxyconnect",
    ]) {
        PullError::Unreachable { image, message }
    } else if has(&["manifest unknown", "manifest for", "name unknown", "repository name not known", "not found"])
        || has(&["no matching manifest"])
    {
        PullError::Missing { image, message }
    } else if has(&["denied", "unauthorized", "authentication required", "no basic auth", "forbidden"]) {
        PullError::Denied { image, message }
    } else if has(&["invalid reference format", "repository name must"]) {
        PullError::Invalid { image, message }
    } else {
        PullError::Other { image, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_engine_are_sorted() {
        let kind = |message: &str| match classify("a", message) {
            PullError::Missing { .. } => "missing",
            PullError::Unreachable { .. } => "unreachable",
            PullError::RateLimited { .. } => "limited",
            PullError::Denied { .. } => "denied",
            PullError::NoSpace { .. } => "space",
            PullError::Invalid { .. } => "invalid",
            PullError::Other { .. } => "other",
            PullError::Cli(_) | PullError::Engine(_) => "",
        };
        for (message, want) in [
            (
                "Error response from daemon: manifest for localhost:5055/x:9 not found: manifest unknown: manifest unknown",
                "missing",
            ),
            ("Error response from daemon: manifest unknown", "missing"),
            ("no matching manifest for linux/amd64 in the manifest list entries", "missing"),
            (
                "Error response from daemon: Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host",
                "unreachable",
            ),
            (
                "Error response from daemon: Get \"http://localhost:5999/v2/\": dial tcp 127.0.0.1:5999: connect: connection refused",
                "unreachable",
            ),
            (
                "Error response from daemon: Get \"https://r/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
                "unreachable",
            ),
            ("Error response from daemon: received unexpected HTTP status: 503 Service Unavailable", "unreachable"),
            ("Error response from daemon: toomanyrequests: You have reached your pull rate limit.", "limited"),
            (
                "Error response from daemon: pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                "denied",
            ),
            ("Error response from daemon: unauthorized: authentication required", "denied"),
            ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", "space"),
            ("invalid reference format: repository name must be lowercase", "invalid"),
            ("something new", "other"),
            ("", "other"),
        ] {
            assert_eq!(kind(message), want, "{message}");
        }
    }

    #[test]
    fn the_digest_is_the_one_of_the_same_repository() {
        let known = ["mirror/nginx@sha256:aa".to_owned(), "nginx@sha256:bb".to_owned()];
        for (image, want) in [
            ("nginx:1.2", Some("sha256:bb")),
            ("docker.io/library/nginx", Some("sha256:bb")),
            ("mirror/nginx:1.2", Some("sha256:aa")),
            ("localhost:5000/nginx:1.2", None),
            ("other:1@sha256:cc", Some("sha256:cc")),
        ] {
            assert_eq!(digest_of(image, &known).as_deref(), want, "{image}");
        }
    }
}
