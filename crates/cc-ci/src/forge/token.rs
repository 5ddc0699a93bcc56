//! The access token: from a file, never shown, never in an address.

use std::fmt;
use std::path::Path;

use reqwest::header::HeaderValue;

use crate::redact::SecretValue;

/// Longest token that is believed: OAuth2 tokens have some hundred characters.
const LONGEST: usize = 4096;

/// An access token. Has no `Display`, and its `Debug` is a fixed text.
#[derive(Clone)]
pub struct Token {
    value: SecretValue,
    header: HeaderValue,
}

/// Why a token cannot be used. Says nothing of its value.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the forge's token file {path} cannot be read: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Empty.
    #[error("the forge's token is empty; write one into the token file")]
    Empty,
    /// Not one word of visible characters.
    #[error("the forge's token must be one word of letters, digits and signs, without spaces or line ends inside")]
    NotAWord,
}

impl Token {
    /// Takes a token; white space around it is dropped.
    ///
    /// # Errors
    /// If it is empty or not one word.
    pub fn new(value: &SecretValue) -> Result<Self, TokenError> {
        let word = value.expose().trim();
        if word.is_empty() {
            return Err(TokenError::Empty);
        }
        if word.len() > LONGEST || !word.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::NotAWord);
        }
        let mut header = HeaderValue::from_str(&format!("token {word}")).map_err(|_| TokenError::NotAWord)?;
        header.set_sensitive(true);
        Ok(Self { value: SecretValue::new(word), header })
    }

    /// Reads a token from a file.
    ///
    /// # Errors
    /// If the file cannot be read or does not hold one word.
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TokenError::File { path: path.display().to_string(), source })?;
        Self::new(&SecretValue::new(text))
    }

    /// The value, to be masked in what is written and to be handed to git.
    #[must_use]
    pub fn value(&self) -> &SecretValue {
        &self.value
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_and_never_shown() {
        let good = Token::new(&SecretValue::new("\n abc123 \r\n")).unwrap();
        assert_eq!(good.value().expose(), "abc123");
        assert_eq!(format!("{good:?} {:?}", good.header()), "Token(***) Sensitive");
        for bad in ["", " \n", "two words", "a\nb", "tök"] {
            assert!(Token::new(&SecretValue::new(bad)).is_err(), "{bad:?}");
        }
        let long = "x".repeat(LONGEST + 1);
        assert!(Token::new(&SecretValue::new(long)).is_err());
    }

    #[test]
    fn from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(Token::from_file(&path).unwrap_err().to_string().contains("token file"));
        std::fs::write(&path, "abc\n").unwrap();
        assert_eq!(Token::from_file(&path).unwrap().value().expose(), "abc");
    }
}
