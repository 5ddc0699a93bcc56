//! A disk that is really full: what cannot be kept is not acknowledged, and nothing is lost by it.
//!
//! The disk is a small file system in memory that the test mounts for itself, which needs root.

use std::io::Write;
use std::path::{Path, PathBuf};

use cc_ci::store::triggers;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::scripted::Play;
use crate::world::World;

/// A file system of its own, gone with this value.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// None where mounting is not allowed; then it says why.
    fn small() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("cc-ci-full-disk-").tempdir().unwrap();
        match mount("tmpfs", folder.path(), "tmpfs", MountFlags::NODEV | MountFlags::NOSUID, Some(c"size=16m")) {
            Ok(()) => Some(Self { folder }),
            Err(error) => {
                eprintln!("skipped: a file system of {} cannot be mounted here: {error}", folder.path().display());
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes until nothing more fits. Gives the file to be removed.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        let page = [b'x'; 4096];
        let error = std::iter::repeat_with(|| file.write_all(&page)).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Detached, so that it goes even if something of a failed test has a file open.
        if let Err(error) = unmount(self.path(), UnmountFlags::DETACH) {
            eprintln!("{} could not be unmounted: {error}", self.path().display());
        }
    }
}

/// How the forge's deliveries of comments were answered.
fn answers(world: &World) -> Vec<Option<u16>> {
    let deliveries = world.sim.deliveries();
    deliveries.iter().filter(|log| log.event_type == "pull_request_comment").map(|log| log.status).collect()
}

#[tokio::test]
async fn a_full_disk_refuses_deliveries_and_everything_goes_on_when_there_is_room_again() {
    let Some(disk) = Disk::small() else { return };
    let world = World::without_server("").await;
    let state = disk.path().join("state").display().to_string();
    let mut world = world.set("CC_CI_RUNS_DIR", state).set("CC_CI_FORGE_POLL_EVERY", "1s");
    world.start().await;
    let (first, first_head) = world.pull_request("first");
    let (second, second_head) = world.pull_request("second");
    world.swarm.will(&first_head, &[Play::Holds]);
    let before = world.comment("alice", &first, "!testme");
    world.until_status(&first_head, "pending").await;
    world.until("install is over", || world.answers(&first).iter().any(|text| text.contains("| ✔ | install |"))).await;
    world.published().await;

    let filler = disk.fill();
    let while_full = world.comment("alice", &second, "!testme");
    world.sim.settle().await;
    let all = answers(&world);
    let (last, earlier) = all.split_last().unwrap();
    assert_eq!(*last, Some(503), "what is not on the disk is not acknowledged");
    assert!(earlier.iter().all(|status| *status == Some(202)), "{all:?}");
    // A run ends meanwhile, and its end cannot be written either.
    world.swarm.let_go();
    world.until("polling is in trouble", || world.app().board().all()["poll"].error.is_some()).await;
    assert_eq!(world.states(&first_head).last().map(String::as_str), Some("pending"));
    let known = async |comment| {
        let repo = *world.app().bridge().enrolled().unwrap().repositories.keys().next().unwrap();
        triggers::is_known(&mut world.store().read().await.unwrap(), repo, comment).await.unwrap()
    };
    assert!(known(before).await && !known(while_full).await);

    std::fs::remove_file(filler).unwrap();
    world.until_status(&first_head, "success").await;
    world.until_status(&second_head, "success").await;
    world.published().await;
    assert!(world.store().is_sound().await.unwrap());
    assert!(known(while_full).await);
    assert_eq!(world.swarm.begun(), [first_head, second_head], "each once");
    assert_eq!((world.answers(&first).len(), world.answers(&second).len()), (1, 1));
    let well = || world.app().board().all().values().all(|status| status.error.is_none());
    world.until("everything is well again", well).await;
    world.stop().await;
}
