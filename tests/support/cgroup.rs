//! A memory cgroup of one test, of whichever version the system has mounted.
//!
//! Promises: each is a new one, below the topmost, and is removed with its value. Never: changes another
//! group.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::program::Program;

pub struct MemoryGroup {
    path: PathBuf,
    is_first_version: bool,
}

impl MemoryGroup {
    /// A group with this limit, or why there can be none here.
    pub fn new(limit_bytes: u64) -> Result<MemoryGroup, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let first = Path::new("/sys/fs/cgroup/memory");
        let is_first_version = first.join("memory.limit_in_bytes").exists();
        let parent = if is_first_version { first } else { Path::new("/sys/fs/cgroup") };
        let nth = MADE.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("s1-coralogix-test-{}-{nth}", std::process::id()));
        let made = fs::create_dir(&path).and_then(|()| {
            let group = MemoryGroup { path: path.clone(), is_first_version };
            group.try_limit(limit_bytes).map(|()| group)
        });
        let group =
            made.map_err(|error| format!("no memory cgroup: {}: {error}", path.display()))?;
        // Nothing shall be paged out instead of killed; where swap is not counted there is none.
        let swap = if is_first_version { "memory.swappiness" } else { "memory.swap.max" };
        let _ = fs::write(group.path.join(swap), "0");
        Ok(group)
    }

    fn try_limit(&self, bytes: u64) -> std::io::Result<()> {
        let name = if self.is_first_version { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(self.path.join(name), bytes.to_string())
    }

    /// Who is in it may use so much from now on.
    pub fn limit(&self, bytes: u64) {
        self.try_limit(bytes).expect("the limit of a group of one's own can be changed");
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same program, living in this group from its beginning.
    pub fn around(&self, program: &Program) -> Program {
        let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
        let words = ["sh".into(), "-c".into(), script.into(), self.path.clone().into_os_string()];
        program.under(words)
    }

    /// The most that was ever in it, with the pages of files.
    pub fn peak(&self) -> u64 {
        let name = if self.is_first_version { "memory.max_usage_in_bytes" } else { "memory.peak" };
        let text = fs::read_to_string(self.path.join(name)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// How often the kernel killed for want of memory.
    pub fn killed(&self) -> u64 {
        let name = if self.is_first_version { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(self.path.join(name)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|number| number.parse().ok()).expect("the kernel counts them")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}
