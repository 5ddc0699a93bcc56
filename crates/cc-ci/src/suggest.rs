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

/// How many letters must be put in, left out, replaced or swapped with their neighbour; over the first 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = match (i, j) {
                (0, far) | (far, 0) => far,
                _ => {
                    let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let best = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    if swapped { best.min(table[i - 2][j - 2] + 1) } else { best }
                }
            };
        }
    }
    table[a.len()][b.len()]
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
            ("mian", &["main", "dev"], Some("main")),
            ("MAIN", &["main", "mast"], Some("main")),
            ("", &["main"], None),
            ("x", &[], None),
        ] {
            assert_eq!(nearest(wanted, known.iter().copied()), found, "{wanted}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
