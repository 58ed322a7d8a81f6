//! A file system of a test's own, in a file, mounted where the queue lies; and the fuse that cuts
//! its power.
//!
//! Promises: a cut is the kernel's own shutdown without flushing the journal: from then on nothing
//! reaches the disk, and what was not synced is gone; a mount that a test forgets is taken away,
//! and its image with it. Never: touches a mount it did not make.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use crate::support::watched::Watched;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
    Btrfs,
}

impl FileSystem {
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    fn make(self) -> String {
        format!("mkfs.{}", self.name())
    }

    /// Whether this kernel knows it, and `mkfs` for it is installed.
    pub fn is_there(self) -> bool {
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        known.split_whitespace().any(|name| name == self.name()) && is_installed(&self.make())
    }
}

fn is_installed(tool: &str) -> bool {
    let dirs = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    dirs.iter().any(|dir| Path::new(dir).join(tool).exists())
}

pub struct MountedFs {
    image: PathBuf,
    mounted: PathBuf,
}

impl MountedFs {
    /// What must be there for any ground at all.
    pub fn possible(tools: &[&str]) -> Result<(), String> {
        if !rustix::process::geteuid().is_root() {
            return Err("a file system can be mounted by root only".into());
        }
        let missing = ["mount", "umount"].iter().chain(tools).find(|tool| !is_installed(tool));
        if let Some(tool) = missing {
            return Err(format!(
                "{tool} is missing (packages mount, e2fsprogs, xfsprogs, btrfs-progs)"
            ));
        }
        match Path::new("/dev/loop-control").exists() {
            true => Ok(()),
            false => Err("there are no loop devices".into()),
        }
    }

    /// Makes a file system of this many bytes and mounts it. The image lies in memory where it
    /// can: how durable it is itself does not matter, for this machine keeps its power.
    pub fn new(mounted: PathBuf, kind: FileSystem, bytes: u64, options: &[&str]) -> MountedFs {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let memory = PathBuf::from("/dev/shm");
        let dir = if memory.is_dir() { memory } else { env::temp_dir() };
        let image = dir.join(format!("s1-coralogix-{}-{nth}.img", process::id()));
        fs::create_dir_all(&mounted).expect("a folder in the scene's own");
        let file = fs::File::create(&image).expect("a file for the image");
        file.set_len(bytes).expect("a sparse file");
        let ground = MountedFs { image, mounted };
        let force = if kind == FileSystem::Ext4 { "-F" } else { "-f" };
        let mut arguments = vec!["-q".as_ref(), force.as_ref()];
        arguments.extend(options.iter().map(Path::new));
        arguments.push(&ground.image);
        tool(&kind.make(), &arguments);
        ground.mount("loop");
        if kind == FileSystem::Btrfs {
            // What fills it lies where the others have such a directory.
            fs::create_dir(ground.mounted.join("lost+found")).expect("a directory of its own");
        }
        ground
    }

    pub fn place(&self) -> &Path {
        &self.mounted
    }

    fn mount(&self, options: &str) {
        tool("mount", &["-o".as_ref(), options.as_ref(), &self.image, &self.mounted]);
    }

    /// The journal is replayed, as at a boot. Nobody may have a file open there.
    pub fn mount_again(&self) {
        tool("umount", &[&self.mounted]);
        self.wait_gone();
        self.mount("loop");
    }

    /// A process elsewhere that copied our mounts keeps the file system as it is: what is mounted
    /// then is the one that was cut.
    fn wait_gone(&self) {
        for _ in 0..500 {
            if !self.is_held() {
                return;
            }
            Watched::new(()).wait(Duration::from_millis(20), |()| None::<()>);
        }
        panic!("another mount namespace holds {}; run under `unshare -m`", self.image.display());
    }

    fn is_held(&self) -> bool {
        let loops = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        loops.into_iter().any(|item| {
            let backing = fs::read_to_string(item.path().join("loop/backing_file"));
            backing.is_ok_and(|text| Path::new(text.trim()) == self.image)
        })
    }
}

impl Drop for MountedFs {
    fn drop(&mut self) {
        // Lazily: when a test fails the program may still be there.
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
        let _ = fs::remove_file(&self.image);
    }
}

pub fn tool(name: &str, arguments: &[&Path]) {
    let status = Command::new(name).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{name} {arguments:?}");
}

/// `xfs_io`, started beforehand with the file system open, so that between the wish for a cut and
/// the cut lies one system call.
pub struct Fuse {
    waiting: Mutex<Option<Child>>,
    blown: Watched<Option<Instant>>,
}

impl Fuse {
    pub fn armed(ground: &MountedFs) -> Fuse {
        let child = Command::new("xfs_io")
            .arg("-x")
            .arg(ground.place())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("xfs_io is installed");
        Fuse { waiting: Mutex::new(Some(child)), blown: Watched::default() }
    }

    /// Cuts, unless it was done. Returns when nothing reaches the disk any more.
    pub fn blow(&self) {
        // Whoever comes second waits here until it is done.
        let mut waiting = self.waiting.lock().unwrap();
        let Some(mut child) = waiting.take() else { return };
        self.blown.change(|blown| *blown = Some(Instant::now()));
        let mut stdin = child.stdin.take().expect("it is a pipe");
        stdin.write_all(b"shutdown\nquit\n").expect("xfs_io waits");
        drop(stdin);
        assert!(child.wait().is_ok_and(|status| status.success()), "the power can be cut");
    }

    /// When the wish for the cut was, which is just before the cut.
    pub fn blown_at(&self) -> Option<Instant> {
        self.blown.look(|blown| *blown)
    }

    /// Waits until somebody blows it.
    pub fn wait(&self, within: Duration) {
        self.blown.wait(within, |blown| *blown);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        if let Some(mut child) = self.waiting.lock().unwrap().take() {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}
