//! The forms a secret can take in a log.
