//! Copies volumes out of the engine's folder, for restic to save, without ever following what the app put there.
//!
//! The app is running and untrusted: it may swap a folder for a symbolic link to `/etc` between two looks. So every step is taken from an
//! open folder ([`cap_std`]), links are copied as links, and devices and sockets are left out. The way back is through the engine's
//! archive API, which resolves paths inside the container; nothing is ever written into a volume's folder on the host.
//!
//! A file that grows while it is copied is copied as it is found: that is what a backup of a running app is.

use std::io;
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirEntry, MetadataExt, OpenOptions, OpenOptionsExt, PermissionsExt};
use rustix::fs::{AtFlags, Gid, OFlags, Uid, chownat, fchown};

/// Folders deeper than this are refused: nothing honest is that deep, and the copy recurses.
const MAX_DEPTH: usize = 64;

/// Why a volume could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum StagingError {
    /// A label names a path that leaves the volume.
    #[error("`{0}` is not a path below the volume's root")]
    Outside(String),
    /// A label names a path that is not there.
    #[error("there is no `{0}` in the volume")]
    Missing(String),
    /// A path goes through a symbolic link.
    #[error("`{0}` goes through a symbolic link, which is not followed")]
    Link(String),
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was to be copied.
        path: String,
        /// The system's word.
        source: io::Error,
    },
}

/// Where the content of a volume is below the folder that restic saves: as in the engine's own folder, `<name>/_data`.
#[must_use]
pub fn root_of(folder: &Path, full_name: &str) -> PathBuf {
    folder.join(full_name).join("_data")
}

/// Copies `paths` of the volume at `mountpoint`, or all of it if there are none, to [`root_of`] the folder.
///
/// # Errors
/// See [`StagingError`].
pub fn copy_volume(mountpoint: &Path, folder: &Path, full_name: &str, paths: &[String]) -> Result<(), StagingError> {
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |source| StagingError::Io { path, source }
    };
    let source = Dir::open_ambient_dir(mountpoint, ambient_authority()).map_err(at(mountpoint))?;
    let target = root_of(folder, full_name);
    std::fs::create_dir_all(&target).map_err(at(&target))?;
    let target = Dir::open_ambient_dir(&target, ambient_authority()).map_err(at(&target))?;
    if paths.is_empty() {
        return copy_entries(&source, &target, &mut PathBuf::new(), 0);
    }
    for path in paths {
        copy_path(&source, &target, path)?;
    }
    Ok(())
}

/// Copies one path that a label names, making the folders on the way.
fn copy_path(source: &Dir, target: &Dir, path: &str) -> Result<(), StagingError> {
    let names = plain_components(path).ok_or_else(|| StagingError::Outside(path.to_owned()))?;
    let Some((last, parents)) = names.split_last() else {
        return copy_entries(source, target, &mut PathBuf::new(), 0);
    };
    let io = |source| StagingError::Io { path: path.to_owned(), source };
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => StagingError::Missing(path.to_owned()),
        _ => StagingError::Io { path: path.to_owned(), source: error },
    };
    let mut from = source.try_clone().map_err(io)?;
    let mut to = target.try_clone().map_err(io)?;
    for name in parents {
        if from.symlink_metadata(name).map_err(told)?.is_symlink() {
            return Err(StagingError::Link(path.to_owned()));
        }
        from = open_dir(&from, name).map_err(told)?;
        to = make_dir(&from, &to, name).map_err(io)?;
    }
    copy_one(&from, &to, last, &mut PathBuf::from(path), 0).map_err(|error| match error {
        StagingError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            StagingError::Missing(path.to_owned())
        }
        other => other,
    })
}

/// The names of a relative path; none if it is anything else. A leading `/` means the volume's root.
fn plain_components(path: &str) -> Option<Vec<String>> {
    Path::new(path.trim_start_matches('/'))
        .components()
        .filter(|component| !matches!(component, Component::CurDir))
        .map(|component| match component {
            Component::Normal(name) => name.to_str().map(str::to_owned),
            _ => None,
        })
        .collect()
}

fn copy_entries(from: &Dir, to: &Dir, path: &mut PathBuf, depth: usize) -> Result<(), StagingError> {
    let entries = from.entries().map_err(|source| StagingError::Io { path: path.display().to_string(), source })?;
    for entry in entries {
        let entry: DirEntry = entry.map_err(|source| StagingError::Io { path: path.display().to_string(), source })?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        path.push(name);
        match copy_one(from, to, name, path, depth) {
            // What went away since the listing was not there when the backup was made.
            Err(StagingError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        path.pop();
    }
    Ok(())
}

fn copy_one(from: &Dir, to: &Dir, name: &str, path: &mut PathBuf, depth: usize) -> Result<(), StagingError> {
    let io = |source| StagingError::Io { path: path.display().to_string(), source };
    let meta = from.symlink_metadata(name).map_err(io)?;
    let kind = meta.file_type();
    if kind.is_symlink() {
        let link = from.read_link_contents(name).map_err(io)?;
        to.symlink_contents(link, name).map_err(io)?;
        own_link(to, name, &meta);
    } else if kind.is_dir() {
        if depth >= MAX_DEPTH {
            return Err(io(io::Error::other(format!("deeper than {MAX_DEPTH} folders"))));
        }
        let inner = open_dir(from, name).map_err(io)?;
        let target = make_dir(&inner, to, name).map_err(io)?;
        copy_entries(&inner, &target, path, depth + 1)?;
    } else if kind.is_file() {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32);
        let mut source = from.open_with(name, &options).map_err(io)?;
        let mut target = to.create(name).map_err(io)?;
        io::copy(&mut source, &mut target).map_err(io)?;
        // Only root can give files away; without it the copy is ours, and so the restore's. The mode comes after it, because
        // a new owner takes setuid and setgid away.
        let _ = fchown(&target, Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())));
        target.set_permissions(cap_std::fs::Permissions::from_mode(meta.mode() & 0o7777)).map_err(io)?;
    }
    Ok(())
}

/// Opens a folder without following a link in its place.
fn open_dir(from: &Dir, name: &str) -> io::Result<Dir> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::DIRECTORY).bits() as i32);
    let file = from.open_with(name, &options)?;
    Ok(Dir::from_std_file(file.into_std()))
}

/// Makes (or opens) a folder like `model` in `to`.
fn make_dir(model: &Dir, to: &Dir, name: &str) -> io::Result<Dir> {
    match to.create_dir(name) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let made = open_dir(to, name)?;
    let meta = model.dir_metadata()?;
    let _ = fchown(&made, Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())));
    made.set_permissions(".", cap_std::fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    Ok(made)
}

/// How the files below two folders differ: missing, or of other content. Empty if `found` holds all of `wanted`.
#[must_use]
pub fn differences(wanted: &Path, found: &Path) -> Vec<String> {
    let mut out = Vec::new();
    compare(wanted, found, &mut PathBuf::new(), &mut out);
    out
}

fn compare(wanted: &Path, found: &Path, path: &mut PathBuf, out: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(wanted.join(&*path)) else { return };
    for entry in entries.flatten() {
        path.push(entry.file_name());
        let here = path.display().to_string();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => compare(wanted, found, path, out),
            Ok(kind) if kind.is_file() => match (std::fs::read(wanted.join(&*path)), std::fs::read(found.join(&*path)))
            {
                (Ok(a), Ok(b)) if a == b => {}
                (Ok(_), Ok(_)) => out.push(format!("{here} has other content than what was saved")),
                (_, Err(_)) => out.push(format!("{here} was saved and is not back")),
                (Err(error), Ok(_)) => out.push(format!("{here}: {error}")),
            },
            _ => {}
        }
        path.pop();
    }
}

fn own_link(to: &Dir, name: &str, meta: &cap_std::fs::Metadata) {
    let _ =
        chownat(to, name, Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())), AtFlags::SYMLINK_NOFOLLOW);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn world() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("tempdir");
        let volume = dir.path().join("volume");
        fs::create_dir_all(volume.join("sub/deep")).expect("mkdir");
        fs::write(volume.join("a"), "A").expect("write");
        fs::write(volume.join("sub/deep/b"), "B").expect("write");
        fs::write(dir.path().join("secret"), "host").expect("write");
        let out = dir.path().join("out");
        (dir, volume, out)
    }

    #[test]
    fn copies_everything_with_modes_and_links_as_links() {
        let (dir, volume, out) = world();
        fs::set_permissions(volume.join("a"), fs::Permissions::from_mode(0o640)).expect("chmod");
        fs::set_permissions(volume.join("sub/deep/b"), fs::Permissions::from_mode(0o6755)).expect("chmod");
        fs::set_permissions(volume.join("sub"), fs::Permissions::from_mode(0o2770)).expect("chmod");
        symlink("../secret", volume.join("link")).expect("link");
        symlink(dir.path(), volume.join("dirlink")).expect("link");
        copy_volume(&volume, &out, "s_data", &[]).expect("copied");
        let root = root_of(&out, "s_data");
        assert_eq!(fs::read_to_string(root.join("sub/deep/b")).expect("b"), "B");
        let mode = |path: &str| fs::metadata(root.join(path)).expect("there").permissions().mode() & 0o7777;
        assert_eq!((mode("a"), mode("sub/deep/b"), mode("sub")), (0o640, 0o6755, 0o2770));
        assert_eq!(fs::read_link(root.join("link")).expect("link"), Path::new("../secret"));
        assert!(fs::symlink_metadata(root.join("dirlink")).expect("dirlink").is_symlink());
    }

    #[test]
    fn copies_only_the_paths_that_are_named() {
        let (_dir, volume, out) = world();
        copy_volume(&volume, &out, "s_data", &["sub/deep".into()]).expect("copied");
        let root = root_of(&out, "s_data");
        assert!(root.join("sub/deep/b").exists() && !root.join("a").exists());
    }

    #[test]
    fn differences_are_seen() {
        let (_dir, volume, out) = world();
        copy_volume(&volume, &out, "s_data", &[]).expect("copied");
        let copy = root_of(&out, "s_data");
        assert!(differences(&copy, &volume).is_empty());
        fs::write(volume.join("a"), "changed").expect("write");
        fs::remove_file(volume.join("sub/deep/b")).expect("rm");
        let mut seen = differences(&copy, &volume);
        seen.sort();
        assert_eq!(seen, ["a has other content than what was saved", "sub/deep/b was saved and is not back"]);
    }

    #[test]
    fn no_path_leads_out_of_the_volume() {
        let (dir, volume, out) = world();
        symlink(dir.path(), volume.join("out")).expect("link");
        for (path, want) in [
            ("../secret", "not a path below"),
            ("sub/../../secret", "not a path below"),
            ("nope", "there is no"),
            ("sub/nope", "there is no"),
            ("out/secret", "symbolic link"),
        ] {
            let error = copy_volume(&volume, &out, "s_data", &[path.to_owned()]).expect_err(path).to_string();
            assert!(error.contains(want), "{path}: {error}");
        }
        // Named by an absolute path, the volume's own root is meant.
        copy_volume(&volume, &out, "s_data", &["/a".to_owned()]).expect("below the root");
        assert!(!out.join("s_data/_data/secret").exists());
        // A link itself is saved as a link.
        copy_volume(&volume, &out, "s_data", &["out".to_owned()]).expect("the link");
        assert!(fs::symlink_metadata(root_of(&out, "s_data").join("out")).expect("out").is_symlink());
    }
}
