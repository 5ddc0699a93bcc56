//! Short forms of compose: `volume:/path:ro`, `8080:80/tcp`, and command lines in one string.

use crate::compose::model::MountKind;

/// A mount in short form: what, target, read-only.
pub(super) fn mount(spec: &str) -> Result<(MountKind, String, bool), String> {
    let parts = sections(spec);
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!("{spec:?} has an empty part"));
    }
    let (source, target, options) = match parts.as_slice() {
        [target] => return Ok((MountKind::Anonymous, (*target).to_owned(), false)),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(format!("{spec:?} has too many colons")),
    };
    let (mut read_only, mut nocopy) = (false, false);
    for option in options.split(',') {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "nocopy" => nocopy = true,
            _ => {}
        }
    }
    let is_path = source.starts_with(['.', '/', '~', '\\']) || source.contains(':');
    let kind = if is_path {
        MountKind::Bind { source: source.to_owned() }
    } else {
        MountKind::Volume { key: source.to_owned(), nocopy }
    };
    Ok((kind, target.to_owned(), read_only))
}

/// The parts between colons. As docker/cli does it, a single letter in front of a colon is a Windows drive and no part of its own, which
/// is why a volume cannot have a name of one letter.
fn sections(spec: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let mut start = 0;
    for (at, _) in spec.match_indices(':') {
        let section = &spec[start..at];
        if section.len() == 1 && section.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        sections.push(section);
        start = at + 1;
    }
    sections.push(&spec[start..]);
    sections
}

/// Ports in short form, `[ip:][published[-end]:]target[-end][/protocol]`, as (published or 0, target, protocol).
pub(super) fn ports(spec: &str) -> Result<Vec<(u16, u16, String)>, String> {
    let bad = || format!("{spec:?} is no port: write published:target, for example 8080:80/tcp");
    let (numbers, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
    if !["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str()) {
        return Err(bad());
    }
    let (published, target) = match numbers.rsplit_once(':') {
        None => (None, numbers),
        Some((front, target)) => (Some(front.rsplit_once(':').map_or(front, |(_, published)| published)), target),
    };
    let targets = range(target).ok_or_else(bad)?;
    let published = match published {
        None | Some("") => vec![0; targets.len()],
        Some(text) => range(text).ok_or_else(bad)?,
    };
    if published.len() != targets.len() {
        return Err(bad());
    }
    Ok(published
        .into_iter()
        .zip(targets)
        .map(|(published, target)| (published, target, protocol.to_ascii_lowercase()))
        .collect())
}

fn range(text: &str) -> Option<Vec<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then(|| (first..=last).collect())
}

/// Splits a command line as a POSIX shell would, without expanding anything.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '#' if word.is_none() => {
                for skipped in chars.by_ref() {
                    if skipped == '\n' {
                        break;
                    }
                }
            }
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a single quote is not closed".into()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => word.extend(chars.next()),
                        Some(c) => word.push(c),
                        None => return Err("a double quote is not closed".into()),
                    }
                }
            }
            '\\' => match chars.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("it ends with a backslash".into()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let volume = |key: &str, nocopy| MountKind::Volume { key: key.into(), nocopy };
        let bind = |source: &str| MountKind::Bind { source: source.into() };
        for (spec, expected) in [
            ("data:/d", Ok((volume("data", false), "/d", false))),
            ("data:/d:ro", Ok((volume("data", false), "/d", true))),
            ("data:/d:nocopy,ro,z", Ok((volume("data", true), "/d", true))),
            ("/d", Ok((MountKind::Anonymous, "/d", false))),
            ("/etc:/d", Ok((bind("/etc"), "/d", false))),
            ("./x:/d:rw", Ok((bind("./x"), "/d", false))),
            ("~/x:/d", Ok((bind("~/x"), "/d", false))),
            ("..:/d", Ok((bind(".."), "/d", false))),
            ("d:/d", Ok((MountKind::Anonymous, "d:/d", false))),
            ("d:/d:ro", Ok((bind("d:/d"), "ro", false))),
            ("data::b", Err(())),
            ("aa:bb:cc:dd", Err(())),
            ("", Err(())),
        ] {
            let got = mount(spec);
            assert_eq!(
                got.as_ref().map(|(kind, target, ro)| (kind.clone(), target.as_str(), *ro)).map_err(|_| ()),
                expected,
                "{spec}"
            );
        }
    }

    #[test]
    fn port_specs() {
        let one = |p, t, proto: &str| Ok(vec![(p, t, proto.to_owned())]);
        for (spec, expected) in [
            ("80", one(0, 80, "tcp")),
            ("8080:80", one(8080, 80, "tcp")),
            ("127.0.0.1:53:53/UDP", one(53, 53, "udp")),
            ("8000-8001:80-81", Ok(vec![(8000, 80, "tcp".into()), (8001, 81, "tcp".into())])),
            ("8000-8002:80-81", Err(())),
            ("x:80", Err(())),
            ("80/icmp", Err(())),
            ("70000:1", Err(())),
            ("0", Err(())),
        ] {
            assert_eq!(ports(spec).map_err(|_| ()), expected, "{spec}");
        }
    }

    #[test]
    fn command_lines() {
        for (text, expected) in [
            ("a b  c", Ok(vec!["a", "b", "c"])),
            ("sh -c 'x y' \"z \\\" w\"", Ok(vec!["sh", "-c", "x y", "z \" w"])),
            ("a\\ b ''", Ok(vec!["a b", ""])),
            ("a#b # c", Ok(vec!["a#b"])),
            ("", Ok(vec![])),
            ("'", Err(())),
            ("\"", Err(())),
            ("\\", Err(())),
        ] {
            assert_eq!(
                words(text).map_err(|_| ()),
                expected.map(|list| list.into_iter().map(str::to_owned).collect()),
                "{text}"
            );
        }
    }
}
