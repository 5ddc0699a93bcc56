//! The files of one commit, read from the object store.
//!
//! Links and submodules are left out and listed, so that a `README` that is a link does not spoil a recipe; a compose
//! file that is one is then simply missing. Names that could leave the folder or reach into git's own are refused: no
//! honest recipe has them.

use super::Files;

/// The files of a commit, and what was left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Content by path.
    pub files: Files,
    /// What was left out: symbolic links, submodules, and names that are not UTF-8.
    pub skipped: Vec<Skipped>,
}

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its path.
    pub path: String,
    /// What it is: `symbolic link`, `submodule` or `name that is not UTF-8`.
    pub what: &'static str,
}

impl Tree {
    /// A file as text; none if it is missing or not UTF-8.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.files.get(path)?).ok()
    }
}

/// A file to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) path: String,
    pub(super) object: String,
    pub(super) size: u64,
}

/// What `git ls-tree -r -z -l` lists: the files to read and what is left out.
///
/// # Errors
/// In words, for an entry that is refused or a list that is not understood.
pub(super) fn parse_listing(listing: &[u8]) -> Result<(Vec<Blob>, Vec<Skipped>), String> {
    let (mut blobs, mut skipped) = (Vec::new(), Vec::new());
    for entry in listing.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let tab = entry.iter().position(|byte| *byte == b'\t').ok_or("git lists an entry without a name")?;
        let (head, name) = (String::from_utf8_lossy(&entry[..tab]), &entry[tab + 1..]);
        let mut fields = head.split_ascii_whitespace();
        let (mode, object) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
        let path = String::from_utf8_lossy(name).into_owned();
        if let Some(why) = refusal(&path) {
            return Err(format!("{}: {why}", path.escape_debug()));
        }
        let what = match mode {
            _ if std::str::from_utf8(name).is_err() => "name that is not UTF-8",
            "100644" | "100755" | "100664" => {
                let size = fields.next().and_then(|size| size.parse().ok()).unwrap_or(0);
                blobs.push(Blob { path, object: object.to_owned(), size });
                continue;
            }
            "120000" => "symbolic link",
            "160000" => "submodule",
            other => return Err(format!("{path}: {other} is not the mode of a file")),
        };
        skipped.push(Skipped { path, what });
    }
    Ok((blobs, skipped))
}

/// The contents that `git cat-file --batch` writes for these blobs, in their order.
///
/// # Errors
/// In words, if it is not what was asked for.
pub(super) fn parse_contents(blobs: &[Blob], mut output: &[u8]) -> Result<Files, String> {
    let mut files = Files::new();
    for blob in blobs {
        let broken = || format!("git did not give the content of {}", blob.path);
        let end = output.iter().position(|byte| *byte == b'\n').ok_or_else(broken)?;
        let head = String::from_utf8_lossy(&output[..end]).into_owned();
        let mut fields = head.split(' ');
        let (object, kind) = (fields.next(), fields.next());
        let size: usize = fields.next().and_then(|size| size.parse().ok()).ok_or_else(broken)?;
        if object != Some(blob.object.as_str()) || kind != Some("blob") {
            return Err(broken());
        }
        let content = output.get(end + 1..end + 1 + size).ok_or_else(broken)?;
        files.insert(blob.path.clone(), content.to_vec());
        output = output.get(end + 2 + size..).ok_or_else(broken)?;
    }
    Ok(files)
}

/// Why a path is refused, if it is.
fn refusal(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.len() > 1024 {
        return Some("a name must have between 1 and 1024 bytes");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Some("a name must not hold control characters or backslashes");
    }
    path.split('/').find_map(|part| match part {
        "" | "." | ".." => Some("a name must not leave its folder"),
        part if is_git_folder(part) => Some("a name must not stand for git's own folder"),
        _ => None,
    })
}

/// `.git` as some file system may understand it: any case, with what HFS+ ignores, NTFS drops, or shortens.
fn is_git_folder(part: &str) -> bool {
    let ignored =
        |c: char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let plain: String = part.chars().filter(|c| !ignored(*c)).collect::<String>().to_lowercase();
    let plain = plain.split(':').next().unwrap_or_default().trim_end_matches([' ', '.']);
    plain == ".git" || plain == "git~1"
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn honest_names_pass_and_others_do_not() {
        for path in
            ["compose.yml", ".gitignore", ".gitea/x.yml", ".github/a", ".gitattributes", "a/.gitkeep", "git", "ü..x"]
        {
            assert_eq!(refusal(path), None, "{path}");
        }
        for path in [
            "../x",
            "a/../../x",
            "/etc/passwd",
            "a//b",
            ".git/config",
            "a/.GIT/x",
            ".Git",
            "git~1/x",
            ".git /x",
            ".git./x",
            ".g\u{200c}it/config",
            ".git::$INDEX_ALLOCATION/x",
            "a\nb",
            "a\\b",
            "./a",
            "",
        ] {
            assert!(refusal(path).is_some(), "{path:?}");
        }
    }

    #[test]
    fn a_listing_is_sorted_into_files_and_what_is_left_out() {
        let listing = format!(
            "100644 blob {ID}      12\tcompose.yml\0120000 blob {ID}       4\tREADME\0160000 commit {ID}       -\tsub\0100755 blob {ID}       3\tabra.sh\0"
        );
        let (blobs, skipped) = parse_listing(listing.as_bytes()).unwrap();
        assert_eq!(
            blobs.iter().map(|blob| (blob.path.as_str(), blob.size)).collect::<Vec<_>>(),
            [("compose.yml", 12), ("abra.sh", 3)]
        );
        assert_eq!(
            skipped.iter().map(|skip| (skip.path.as_str(), skip.what)).collect::<Vec<_>>(),
            [("README", "symbolic link"), ("sub", "submodule")]
        );
        let odd = [format!("100644 blob {ID} 1\t").as_bytes(), b"\xff\xfe\0"].concat();
        assert_eq!(parse_listing(&odd).unwrap().1[0].what, "name that is not UTF-8");
        for bad in
            [format!("100644 blob {ID} 1\t.GIT/x\0"), format!("040000 tree {ID} -\tx\0"), "nonsense\0".to_owned()]
        {
            assert!(parse_listing(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn contents_that_are_cut_or_mixed_up_are_not_believed() {
        let blob = |path: &str| Blob { path: path.to_owned(), object: ID.to_owned(), size: 3 };
        let good = format!("{ID} blob 3\na\nb\n{ID} blob 0\n\n");
        let files = parse_contents(&[blob("x"), blob("y")], good.as_bytes()).unwrap();
        assert_eq!((files["x"].as_slice(), files["y"].as_slice()), (&b"a\nb"[..], &b""[..]));
        for bad in [
            String::new(),
            format!("{ID} missing\n"),
            format!("{ID} blob 9\nabc\n"),
            good.replace('0', "1"),
            format!("{ID} tree 1\na\n"),
        ] {
            assert!(parse_contents(&[blob("x")], bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
