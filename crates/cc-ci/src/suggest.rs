//! "Did you mean": the nearest known name to one that is not known.

/// The known name nearest to `wanted`, if it is near enough to be a slip of the finger: at most a third of the
/// letters differ, or one contains the other.
pub(crate) fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    let allowed = (lower.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(far, name)| {
            *far <= allowed
                || (lower.len() >= 3 && (name.contains(wanted) || (name.len() >= 3 && wanted.contains(name))))
        })
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// ` (did you mean …?)`, or nothing.
pub(crate) fn hint<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wanted, known).map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

/// Levenshtein distance over the first 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        for (wanted, known, found) in [
            ("statsu", &["path", "status", "timeout"][..], Some("status")),
            ("timout", &["path", "status", "timeout"], Some("timeout")),
            ("colour", &["path", "status", "timeout"], None),
            ("1.0.0", &["1.0.0+2.3", "2.0.0+1.0"], Some("1.0.0+2.3")),
            ("MAIN", &["main", "mast"], Some("main")),
            ("", &["main"], None),
            ("x", &[], None),
        ] {
            assert_eq!(nearest(wanted, known.iter().copied()), found, "{wanted}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
