//! A mount that never answers: the kernel's autofs, whose daemon is a test that mounts nothing.
//!
//! Promises: whoever looks for a name below it waits in the kernel, where no signal but SIGKILL is
//! heard, as on a network mount whose server is gone; a mount that a test forgets is taken away.
//! Processes of the test's own group do not wait: put the program into another one (`apart`).

use std::ffi::OsString;
use std::fs;
use std::io::PipeReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsRawFd;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::getpgrp;

use crate::support::temp::TempDir;

pub struct Autofs {
    mounted: PathBuf,
    /// Where the kernel asks for what should be mounted.
    asked: PipeReader,
}

impl Autofs {
    /// Whether the kernel has it and lets this process mount it.
    pub fn is_possible() -> bool {
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let is_known = known.split_whitespace().any(|name| name == "autofs");
        let tried = TempDir::new("autofs");
        is_known && Autofs::tried(tried.path().join("mounted")).is_ok()
    }

    /// Mounts it over a directory, which is made.
    pub fn over(mounted: PathBuf) -> Autofs {
        Autofs::tried(mounted).expect("it was possible before")
    }

    fn tried(mounted: PathBuf) -> Result<Autofs, String> {
        fs::create_dir_all(&mounted).expect("a folder in the scene's own");
        let (asked, asks) = std::io::pipe().expect("a pipe for the kernel");
        // For `mount` to inherit; the kernel then holds the pipe itself.
        fcntl_setfd(&asks, FdFlags::empty()).expect("the pipe is open");
        let (fd, group) = (asks.as_raw_fd(), getpgrp().as_raw_nonzero());
        let options = format!("fd={fd},pgrp={group},minproto=5,maxproto=5,indirect");
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "autofs", "-o", &options, "s1-coralogix-test"]).arg(&mounted);
        let output = mount.output().map_err(|why| why.to_string())?;
        match output.status.success() {
            true => Ok(Autofs { mounted, asked }),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// What runs a program in a process group of its own.
    pub fn apart() -> [OsString; 1] {
        ["setsid".into()]
    }

    /// Waits until somebody waits for it.
    pub fn holds(&self, within: Duration) -> bool {
        let mut asked = [PollFd::new(&self.asked, PollFlags::IN)];
        let within = Timespec::try_from(within).expect("some seconds");
        matches!(poll(&mut asked, Some(&within)), Ok(1))
    }

    pub fn path(&self) -> &Path {
        &self.mounted
    }
}

impl Drop for Autofs {
    fn drop(&mut self) {
        let taken = Command::new("umount").arg("-l").arg(&self.mounted).output();
        if !taken.is_ok_and(|output| output.status.success()) {
            eprintln!("{} stays mounted", self.mounted.display());
        }
    }
}
