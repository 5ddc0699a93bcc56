//! Makes the secrets of an app, as `abra app secret generate` does.

use rand::seq::IndexedRandom;
use recipe::secrets::{Charset, SecretSpec};

use crate::domain::{Reason, ReasonCode};
use crate::redact::SecretValue;

use super::profile::SecretRule;

/// Shortest generated secret that the redactor can search for without hitting ordinary words.
const MIN_LENGTH: usize = 8;
/// Words in a passphrase.
const WORDS: usize = 6;

/// The value for a secret: the profile's rule if it has one for the key or the name, else what `.env.sample` asks for.
///
/// # Errors
/// `secret-missing` for a secret that must be inserted by hand and that the profile does not give.
pub fn make(spec: &SecretSpec, rule: Option<&SecretRule>) -> Result<SecretValue, Box<Reason>> {
    match rule {
        Some(SecretRule::Fixed(value)) => Ok(value.clone()),
        Some(SecretRule::Random { length, charset }) => {
            Ok(random(*length, charset.as_deref().unwrap_or(Charset::Alnum.alphabet())))
        }
        None if !spec.generate => Err(Box::new(
            Reason::new(
                ReasonCode::SecretMissing,
                format!("secret `{}` is marked `generate=false`: somebody must insert it", spec.key),
            )
            .evidence([
                format!("secret not inserted (#generate=false): {}", spec.name),
                format!("the suite's profile can give a test value: [secrets] {} = {{ value = \"…\" }}", spec.key),
            ]),
        )),
        None => Ok(match spec.length {
            Some(length) => random(length, spec.charset.alphabet()),
            None => passphrase(),
        }),
    }
}

/// A random text. Shorter wishes than eight characters are granted: the app asked for them.
fn random(length: usize, alphabet: &str) -> SecretValue {
    let alphabet: Vec<char> = alphabet.chars().collect();
    let mut rng = rand::rng();
    let length = if length == 0 { MIN_LENGTH } else { length };
    SecretValue::new((0..length).filter_map(|_| alphabet.choose(&mut rng)).collect::<String>())
}

/// Words joined by hyphens, easy to read aloud, about 80 bits.
fn passphrase() -> SecretValue {
    const CONSONANTS: &[char] = &['b', 'd', 'f', 'g', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'z'];
    const VOWELS: &[char] = &['a', 'e', 'i', 'o', 'u'];
    let mut rng = rand::rng();
    let mut word = || -> String {
        [CONSONANTS, VOWELS, CONSONANTS, VOWELS, CONSONANTS].iter().filter_map(|set| set.choose(&mut rng)).collect()
    };
    SecretValue::new((0..WORDS).map(|_| word()).collect::<Vec<_>>().join("-"))
}

/// A random token that marks what this run put into an app: 16 characters `[a-z0-9]`, beginning with a letter.
#[must_use]
pub fn token(letter: char) -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut rng = rand::rng();
    let tail: String = (0..15).filter_map(|_| ALPHABET.choose(&mut rng)).map(|b| char::from(*b)).collect();
    format!("{letter}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(length: Option<usize>, charset: Charset, generate: bool) -> SecretSpec {
        SecretSpec { key: "k".into(), name: "s_k_v1".into(), version: "v1".into(), length, charset, generate }
    }

    #[test]
    fn values_have_the_length_and_characters_asked_for() {
        for (length, charset) in
            [(32, Charset::Hex), (64, Charset::Alnum), (128, Charset::Special), (1, Charset::Default)]
        {
            let value = make(&spec(Some(length), charset, true), None).expect("made");
            assert_eq!(value.expose().len(), length);
            assert!(value.expose().chars().all(|c| charset.alphabet().contains(c)), "{charset:?}");
        }
        let phrase = make(&spec(None, Charset::Default, true), None).expect("made");
        assert_eq!(phrase.expose().split('-').count(), WORDS);
        assert_ne!(phrase, make(&spec(None, Charset::Default, true), None).expect("made"));
    }

    #[test]
    fn a_secret_by_hand_needs_the_profile() {
        let by_hand = spec(Some(10), Charset::Hex, false);
        assert_eq!(make(&by_hand, None).expect_err("missing").code, ReasonCode::SecretMissing);
        let fixed = SecretRule::Fixed(SecretValue::new("test-value"));
        assert_eq!(make(&by_hand, Some(&fixed)).expect("given").expose(), "test-value");
        // The profile gives the characters themselves.
        let random = SecretRule::Random { length: 200, charset: Some("01".into()) };
        let made = make(&by_hand, Some(&random)).expect("given");
        assert!(made.expose().len() == 200 && made.expose().chars().all(|c| "01".contains(c)), "{}", made.expose());
    }

    #[test]
    fn tokens_differ() {
        let (a, b) = (token('t'), token('t'));
        assert!(a.len() == 16 && a.starts_with('t') && a != b, "{a} {b}");
    }
}
