//! The doctor's look at the files that hold secrets: who may read them. Their content is none of its business.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Check, Health};

/// What the file system allows everybody, as bits of a mode.
const EVERYBODY: u32 = 0o007;

/// One finding for each file that is open to everybody, or one for all.
pub(super) fn look(files: &[PathBuf]) -> Vec<Check> {
    let open: Vec<Check> = files.iter().filter_map(|path| open_to_everybody(path, mode(path)?)).collect();
    if !open.is_empty() || files.is_empty() {
        return open;
    }
    vec![Check::new("secrets", Health::Good, format!("{} files, which not everybody can read", files.len()), "")]
}

fn mode(path: &Path) -> Option<u32> {
    // That it can be read at all has been seen when the configuration was read.
    path.metadata().ok().map(|meta| meta.permissions().mode())
}

fn open_to_everybody(path: &Path, mode: u32) -> Option<Check> {
    let (path, shown) = (path.display(), mode & 0o7777);
    (mode & EVERYBODY != 0).then(|| {
        let found = format!("every user of this host can read {path} (mode {shown:04o})");
        Check::new("secrets", Health::Warning, found, format!("chmod 600 {path}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let path = Path::new("/etc/cc-ci/secrets/x");
        for mode in [0o100_600, 0o100_400, 0o100_640, 0o100_660] {
            assert_eq!(open_to_everybody(path, mode), None, "{mode:o}");
        }
        let check = open_to_everybody(path, 0o100_644).unwrap();
        assert!(check.found.contains("(mode 0644)") && check.remedy == "chmod 600 /etc/cc-ci/secrets/x", "{check:?}");
        assert_eq!(look(&[]), Vec::new());
    }
}
