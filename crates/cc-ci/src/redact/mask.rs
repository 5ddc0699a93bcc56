//! Masking as text streams by.
//!
//! A writer holds back only what may yet become a secret: the longest end of what was written that is the beginning of
//! one. So lines come out at once, and a secret cut anywhere by chunk borders is still seen whole.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::AhoCorasick;
use zeroize::Zeroizing;

use super::encode::{Encoding, needles};
use super::scan::{self, ScanReport};
use super::{MIN_NEEDLE, SecretValue};

/// What stands in place of a secret.
const MASK: &[u8] = b"***";

/// Knows the secrets of a run. Cheap to clone; clones share what they know.
#[derive(Clone, Default)]
pub struct Redactor {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    known: RwLock<Known>,
    masked: AtomicU64,
}

#[derive(Default)]
struct Known {
    secrets: Vec<(String, SecretValue)>,
    skipped: Vec<String>,
    matcher: Arc<Matcher>,
}

impl Redactor {
    /// Knows these secrets: name and value.
    #[must_use]
    pub fn new(secrets: Vec<(String, SecretValue)>) -> Self {
        let redactor = Self::default();
        redactor.add_all(secrets);
        redactor
    }

    /// One more secret, from now on and in all clones. False if it is shorter than [`MIN_NEEDLE`], so that it would
    /// match by chance all over the log: then it is not masked, and its name is in [`Redactor::skipped`].
    pub fn add(&self, name: &str, value: &SecretValue) -> bool {
        self.add_all(vec![(name.to_owned(), value.clone())]) == 1
    }

    /// Names of secrets that are too short to be masked.
    #[must_use]
    pub fn skipped(&self) -> Vec<String> {
        self.read(|known| known.skipped.clone())
    }

    /// How many secrets are masked and looked for.
    #[must_use]
    pub fn secrets(&self) -> usize {
        self.read(|known| known.secrets.len())
    }

    /// How many encodings of each secret are looked for.
    #[must_use]
    pub fn encodings(&self) -> usize {
        Encoding::ALL.len()
    }

    /// How many times a secret was masked so far, by all clones and writers.
    #[must_use]
    pub fn masked(&self) -> u64 {
        self.shared.masked.load(Ordering::Relaxed)
    }

    /// The text with every secret replaced by `***`.
    #[must_use]
    pub fn mask_str(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mask_bytes(text.as_bytes())).into_owned()
    }

    /// The bytes with every secret replaced by `***`.
    #[must_use]
    pub fn mask_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let (mut flow, mut out) = (Flow::default(), Vec::with_capacity(bytes.len()));
        let count = flow.push(&self.matcher(), bytes, true, &mut out);
        self.shared.masked.fetch_add(count, Ordering::Relaxed);
        out
    }

    /// A writer that masks on the way to `inner`.
    pub fn writer<W: Write>(&self, inner: W) -> MaskingWriter<W> {
        MaskingWriter { inner: Some(inner), flow: Flow::default(), redactor: self.clone() }
    }

    /// Reads every file below `dir` and tells which secrets are in it, in any encoding, also with terminal colour codes
    /// between the letters, and in file names. Files are read as bytes: what is compressed inside (gzip, PNG) is not
    /// unpacked. Symbolic links are not followed.
    ///
    /// # Errors
    /// When a file or folder cannot be read: a scan that has not seen all must not pass for one that found nothing.
    pub fn scan_dir(&self, dir: &Path) -> io::Result<ScanReport> {
        scan::scan_dir(&self.matcher(), dir)
    }

    fn add_all(&self, secrets: Vec<(String, SecretValue)>) -> usize {
        let mut known = self.shared.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut taken = 0;
        for (name, value) in secrets {
            if value.expose().trim_end_matches(['\r', '\n']).len() < MIN_NEEDLE {
                if !known.skipped.contains(&name) {
                    known.skipped.push(name);
                }
                continue;
            }
            taken += 1;
            if !known.secrets.iter().any(|(old, held)| *old == name && *held == value) {
                known.secrets.push((name, value));
            }
        }
        known.matcher = Arc::new(Matcher::new(&known.secrets));
        taken
    }

    fn matcher(&self) -> Arc<Matcher> {
        self.read(|known| Arc::clone(&known.matcher))
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.shared.known.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("secrets", &self.secrets()).finish_non_exhaustive()
    }
}

/// Masks what is written to it. The last bytes may be held back until [`MaskingWriter::finish`]; dropping the writer
/// writes them too, but cannot report an error.
pub struct MaskingWriter<W: Write> {
    inner: Option<W>,
    flow: Flow,
    redactor: Redactor,
}

impl<W: Write> MaskingWriter<W> {
    /// Writes what was held back and gives the inner writer.
    ///
    /// # Errors
    /// Those of the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.pass(b"", true)?;
        let mut inner = self.inner.take().ok_or_else(|| io::Error::other("the writer is finished"))?;
        inner.flush()?;
        Ok(inner)
    }

    fn pass(&mut self, bytes: &[u8], last: bool) -> io::Result<()> {
        let Some(inner) = &mut self.inner else { return Ok(()) };
        let mut out = Vec::with_capacity(bytes.len());
        let count = self.flow.push(&self.redactor.matcher(), bytes, last, &mut out);
        self.redactor.shared.masked.fetch_add(count, Ordering::Relaxed);
        inner.write_all(&out)
    }
}

impl<W: Write> Write for MaskingWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.pass(buf, false)?;
        Ok(buf.len())
    }

    /// Flushes what is known to be harmless; what may yet become a secret stays back.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl<W: Write> Drop for MaskingWriter<W> {
    fn drop(&mut self) {
        // Nobody is left to hear of an error; who wants to know calls `finish`.
        let _ = self.pass(b"", true);
    }
}

/// Finds needles. Needles are wiped when it goes; the automaton's own tables cannot be.
#[derive(Default)]
pub(super) struct Matcher {
    automaton: Option<AhoCorasick>,
    /// By pattern: secret name and encoding.
    labels: Vec<(String, Encoding)>,
    /// Sorted, to find beginnings.
    sorted: Vec<Zeroizing<Vec<u8>>>,
    longest: usize,
}

impl Matcher {
    fn new(secrets: &[(String, SecretValue)]) -> Self {
        let mut all = Vec::new();
        for (name, value) in secrets {
            all.extend(needles(value.expose()).into_iter().map(|(encoding, needle)| (name.clone(), encoding, needle)));
        }
        if all.is_empty() {
            return Self::default();
        }
        let automaton = AhoCorasick::new(all.iter().map(|(_, _, needle)| needle.as_slice()));
        let labels = all.iter().map(|(name, encoding, _)| (name.clone(), *encoding)).collect();
        let mut sorted: Vec<Zeroizing<Vec<u8>>> = all.into_iter().map(|(_, _, needle)| needle).collect();
        sorted.sort_by(|a, b| a.as_slice().cmp(b.as_slice()));
        let longest = sorted.iter().map(|needle| needle.len()).max().unwrap_or(0);
        match automaton {
            Ok(automaton) => Self { automaton: Some(automaton), labels, sorted, longest },
            // Only beyond 2^31 states, some gigabytes of secrets.
            Err(_) => Self::default(),
        }
    }

    /// Longest needle, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Every match, overlapping ones too: start, end, secret, encoding.
    pub(super) fn find<'a, 'b>(
        &'a self,
        bytes: &'b [u8],
    ) -> impl Iterator<Item = (usize, usize, &'a str, Encoding)> + use<'a, 'b> {
        self.automaton.iter().flat_map(move |automaton| automaton.find_overlapping_iter(bytes)).map(|found| {
            let (name, encoding) = &self.labels[found.pattern().as_usize()];
            (found.start(), found.end(), name.as_str(), *encoding)
        })
    }

    /// Where the longest end of `bytes` starts that is the beginning of a needle; `bytes.len()` if there is none.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let from = bytes.len().saturating_sub(self.longest.saturating_sub(1));
        (from..bytes.len())
            .find(|start| {
                let end = &bytes[*start..];
                let at = self.sorted.partition_point(|needle| needle.as_slice() < end);
                self.sorted.get(at).is_some_and(|needle| needle.starts_with(end))
            })
            .unwrap_or(bytes.len())
    }
}

/// The state of a stream between two chunks.
#[derive(Default)]
struct Flow {
    /// Bytes that are not decided yet.
    held: Vec<u8>,
    /// How many of the held bytes belong to a secret whose mask is already written.
    covered: usize,
}

impl Flow {
    /// Takes a chunk, writes what is decided, and says how many masks it wrote. Overlapping secrets share one mask.
    fn push(&mut self, matcher: &Matcher, bytes: &[u8], last: bool, out: &mut Vec<u8>) -> u64 {
        self.held.extend_from_slice(bytes);
        let decided = if last { self.held.len() } else { matcher.open_end(&self.held) };
        let mut found: Vec<(usize, usize)> = matcher
            .find(&self.held)
            .filter(|(start, _, _, _)| *start < decided)
            .map(|(start, end, _, _)| (start, end))
            .collect();
        found.sort_unstable();
        // The first byte that is neither written nor behind a mask.
        let mut at = self.covered;
        let mut masks = 0;
        for (start, end) in found {
            if start >= at {
                out.extend_from_slice(&self.held[at..start]);
                out.extend_from_slice(MASK);
                masks += 1;
            }
            at = at.max(end);
        }
        if at < decided {
            out.extend_from_slice(&self.held[at..decided]);
            at = decided;
        }
        self.held.drain(..decided);
        self.covered = at - decided;
        masks
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::forms;
    use super::*;
    use proptest::prelude::*;

    fn knowing(values: &[&str]) -> Redactor {
        Redactor::new(values.iter().map(|value| ((*value).to_owned(), SecretValue::new(*value))).collect())
    }

    fn written(redactor: &Redactor, chunks: &[&[u8]]) -> Vec<u8> {
        let mut writer = redactor.writer(Vec::new());
        for chunk in chunks {
            writer.write_all(chunk).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn masks_and_counts() {
        let redactor = knowing(&["hunter2hunter2"]);
        assert_eq!(redactor.mask_str("pw=hunter2hunter2, again hunter2hunter2!"), "pw=***, again ***!");
        assert_eq!(redactor.mask_str("68756e7465723268756e74657232"), "***");
        assert_eq!((redactor.masked(), redactor.secrets()), (3, 1));
    }

    #[test]
    fn lines_are_not_held_back_needlessly() {
        let redactor = knowing(&["hunter2hunter2"]);
        let mut out = Vec::new();
        let mut writer = redactor.writer(&mut out);
        writer.write_all(b"starting\nhun").unwrap();
        assert_eq!(writer.inner.as_ref().map(|out| out.as_slice()), Some(&b"starting\n"[..]));
        writer.write_all(b"ger\n").unwrap();
        drop(writer);
        assert_eq!(out, b"starting\nhunger\n");
    }

    #[test]
    fn short_secrets_do_not_destroy_the_log() {
        let redactor = knowing(&["admin", "\nabc\n"]);
        assert_eq!(redactor.mask_str("admin abc"), "admin abc");
        assert_eq!((redactor.skipped().len(), redactor.secrets()), (2, 0));
        assert!(!redactor.add("tiny", &SecretValue::new("x")));
        assert!(redactor.add("long", &SecretValue::new("long enough")));
    }

    #[test]
    fn overlapping_secrets_leave_no_remainder() {
        let redactor = knowing(&["abcdefgh", "ghijklmn"]);
        for split in 0..=18 {
            let text = b"--abcdefghijklmn--";
            assert_eq!(written(&redactor, &[&text[..split], &text[split..]]), b"--***--", "{split}");
        }
    }

    #[test]
    fn a_secret_added_later_is_masked_by_writers_that_exist() {
        let redactor = Redactor::default();
        let mut writer = redactor.writer(Vec::new());
        writer.write_all(b"before laterlater ").unwrap();
        redactor.add("later", &SecretValue::new("laterlater"));
        writer.write_all(b"after laterlater").unwrap();
        assert_eq!(writer.finish().unwrap(), b"before laterlater after ***");
    }

    #[test]
    fn every_line_of_a_key_is_masked() {
        let redactor = knowing(&["-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA7bq1\nshort\n-----END KEY-----\n"]);
        assert_eq!(redactor.mask_str("  | MIIEpAIBAAKCAQEA7bq1"), "  | ***");
    }

    #[test]
    fn nothing_shows_a_value() {
        let value = SecretValue::new("hunter2hunter2");
        let shown = format!("{value:?} {:?}", knowing(&["hunter2hunter2"]));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    fn cut<'a>(text: &'a [u8], cuts: &[proptest::sample::Index]) -> Vec<&'a [u8]> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        /// However the text is cut, in every encoding: no needle comes out, and the rest is as it was.
        #[test]
        fn no_needle_comes_out(
            values in proptest::collection::vec("[!-),-~]{6,30}", 1..4),
            noise in proptest::collection::vec("[ a-z\n]{0,20}", 1..6),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let redactor = knowing(&values.iter().map(String::as_str).collect::<Vec<&str>>());
            for encoding in Encoding::ALL {
                let mut text = Vec::new();
                for (n, value) in values.iter().enumerate() {
                    text.extend_from_slice(noise[n % noise.len()].as_bytes());
                    for form in forms(*encoding, value) {
                        text.extend_from_slice(&form);
                        text.extend_from_slice(b"\n\n");
                    }
                }
                let out = written(&redactor, &cut(&text, &cuts));
                prop_assert_eq!(&out, &redactor.mask_bytes(&text));
                let left: Vec<_> = redactor.matcher().find(&out).map(|(_, _, _, encoding)| encoding).collect();
                prop_assert!(left.is_empty(), "{:?} {:?} {}", encoding, left, String::from_utf8_lossy(&out));
            }
        }

        /// What is not secret stays as it is, byte for byte.
        #[test]
        fn the_rest_is_unchanged(
            text in proptest::collection::vec(any::<u8>(), 0..300),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let redactor = knowing(&["Zq7-not-in-there-by-chance-Zq7"]);
            prop_assert_eq!(written(&redactor, &cut(&text, &cuts)), text);
            prop_assert_eq!(redactor.masked(), 0);
        }
    }
}
