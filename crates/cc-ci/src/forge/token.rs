//! The access token: never shown, never in an address.

use std::fmt;

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
}
