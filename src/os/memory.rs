//! What the memory of this machine allows: how long a page of SentinelOne may be, and how many
//! processes the kernel has killed for lack of memory.
//!
//! The bound is the least that follows from the machine (sysinfo(2)), from the control group of
//! this process and those above it (version 2: memory.max and memory.high; version 1:
//! memory.limit_in_bytes), and from the setting `polling.max_page`. Promises: a value that can't be
//! read or parsed counts as absent; the bound is between `limits::PAGE_BYTES_MIN` and
//! `PAGE_BYTES_MAX` in any case. Never: watches; a changed value counts from the next start or
//! SIGHUP on.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::limits::{
    MEMORY_BESIDE_PAGES_BYTES, MEMORY_BYTES_MIN, MEMORY_FILE_BYTES_MAX, MEMORY_OF_A_PAGE,
    MEMORY_SHARE, PAGE_BYTES_MAX, PAGE_BYTES_MIN,
};
use crate::record::Kills;

/// What limits the length of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The upper limit of the program: no page needs more.
    Most,
    /// The memory of the machine.
    Machine,
    /// The memory that the control group may use.
    Group,
    /// The setting `polling.max_page`.
    Setting,
}

impl By {
    pub fn explain(self) -> &'static str {
        match self {
            By::Most => "the default",
            By::Machine => "because this machine has little memory",
            By::Group => "because the control group of this process has little memory",
            By::Setting => "as set by polling.max_page",
        }
    }
}

/// The longest page that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageBound {
    pub bytes: u64,
    pub by: By,
}

impl PageBound {
    /// The bound on this machine with this setting.
    pub fn of(setting: Option<u64>) -> PageBound {
        let machine = rustix::system::sysinfo();
        // Both values have the width of the machine's word.
        #[expect(clippy::useless_conversion, reason = "u32 on 32 bits")]
        let machine =
            u64::from(machine.totalram).saturating_mul(u64::from(machine.mem_unit.max(1)));
        PageBound::choose(Some(machine), group(Path::new("/")), setting)
    }

    fn choose(machine: Option<u64>, group: Option<u64>, setting: Option<u64>) -> PageBound {
        let is_told = |bytes: &u64| *bytes >= MEMORY_BYTES_MIN;
        let bears = |memory: u64| {
            let pages = memory.saturating_sub(MEMORY_BESIDE_PAGES_BYTES) / MEMORY_OF_A_PAGE;
            pages.max(PAGE_BYTES_MIN)
        };
        let machine = machine.filter(is_told).map(|bytes| bears(bytes / MEMORY_SHARE));
        let group = group.filter(is_told).map(bears);
        let bounds = [(machine, By::Machine), (group, By::Group), (setting, By::Setting)];
        let most = PageBound { bytes: PAGE_BYTES_MAX, by: By::Most };
        bounds.into_iter().fold(most, |least, (bytes, by)| match bytes {
            Some(bytes) if bytes < least.bytes => {
                PageBound { bytes: bytes.max(PAGE_BYTES_MIN), by }
            }
            _ => least,
        })
    }
}

/// How many processes the kernel has killed for lack of memory since it booted, in any control group.
/// `None`: a kernel before 4.13 does not count them. `root` is `/`.
pub fn kills(root: &Path) -> Option<Kills> {
    let counters = read(&root.join("proc/vmstat"))?;
    let count = counters.lines().find_map(|line| line.strip_prefix("oom_kill "))?;
    let boot = read(&root.join("proc/sys/kernel/random/boot_id"))?;
    // Identifies the boot: any 32 bits of its id are enough to tell two boots apart.
    let boot = u32::from_str_radix(boot.get(..8)?, 16).ok()?;
    Some(Kills { boot, count: count.trim().parse().ok()? })
}

/// The lowest limit of this process's control group and those above it. `root` is `/`.
fn group(root: &Path) -> Option<u64> {
    let own = read(&root.join("proc/self/cgroup"))?;
    let limits = own.lines().flat_map(|line| {
        // `0::/a/b` of version 2, `4:memory:/a/b` of version 1.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (top, names): (_, &[&str]) = match controllers {
            "" => ("sys/fs/cgroup", &["memory.max", "memory.high"]),
            some if some.split(',').any(|one| one == "memory") => {
                ("sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
            }
            _ => ("", &[]),
        };
        let top = root.join(top);
        let limits = groups(path).flat_map(move |group| {
            let group = top.join(group);
            names.iter().filter_map(move |name| limit(&read(&group.join(name))?))
        });
        limits.collect::<Vec<u64>>()
    });
    limits.min()
}

/// A control group and all above it. In a container those above may not be visible.
fn groups(path: &str) -> impl Iterator<Item = PathBuf> {
    let plain = Path::new(path).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let own: PathBuf = plain.collect();
    let all: Vec<PathBuf> = own.ancestors().map(Path::to_path_buf).collect();
    all.into_iter()
}

/// A limit in bytes; `max`, or a value too small to be one, is none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes >= MEMORY_BYTES_MIN)
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(MEMORY_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::test_world::temp::TempDir;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_least_holds_and_what_is_no_memory_is_not_told() {
        for (machine, group, setting, mib, by) in [
            (None, None, None, 24, By::Most),
            (Some(u64::MAX), Some(9_223_372_036_854_771_712), None, 24, By::Most),
            (Some(24 << 30), None, None, 24, By::Most),
            (Some(128 * MIB), None, None, 7, By::Machine),
            (Some(64 * MIB), None, None, 1, By::Machine),
            (Some(57 * MIB), None, None, 1, By::Machine),
            (Some(32 * MIB), None, None, 1, By::Machine),
            (Some(0), Some(0), None, 24, By::Most),
            (Some(24 << 30), Some(40 * MIB), None, 6, By::Group),
            (Some(24 << 30), Some(1), None, 24, By::Most),
            (Some(24 << 30), Some(8 * MIB), None, 1, By::Group),
            (Some(24 << 30), Some(40 * MIB), Some(4 * MIB), 4, By::Setting),
            (Some(24 << 30), Some(40 * MIB), Some(20 * MIB), 6, By::Group),
        ] {
            let bound = PageBound::choose(machine, group, setting);
            let told = (bound.bytes / MIB, bound.by);
            assert_eq!(told, (mib, by), "{machine:?} {group:?} {setting:?}");
        }
        assert!(PageBound::of(None).bytes >= PAGE_BYTES_MIN);
    }

    /// A root of files, as the kernel would show them.
    fn with_files<R>(files: &[(&str, &str)], ask: impl FnOnce(&Path) -> R) -> R {
        let dir = TempDir::new("memory");
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        ask(dir.path())
    }

    fn group_of(files: &[(&str, &str)]) -> Option<u64> {
        with_files(files, group)
    }

    #[test]
    fn a_group_and_those_above_it_are_asked() {
        let own = ("proc/self/cgroup", "0::/system.slice/it.service\n");
        let max = "sys/fs/cgroup/system.slice/it.service/memory.max";
        assert_eq!(group_of(&[own, (max, "41943040\n")]), Some(40 * MIB));
        assert_eq!(group_of(&[own, (max, "max\n")]), None);
        let above = ("sys/fs/cgroup/system.slice/memory.max", "20971520\n");
        assert_eq!(group_of(&[own, (max, "41943040\n"), above]), Some(20 * MIB));
        let high = ("sys/fs/cgroup/system.slice/it.service/memory.high", "31457280\n");
        assert_eq!(group_of(&[own, (max, "41943040\n"), high]), Some(30 * MIB));
    }

    #[test]
    fn the_first_version_is_asked_and_a_container_that_sees_its_own_group_on_top() {
        let own = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n");
        let at = "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes";
        assert_eq!(group_of(&[own, (at, "41943040\n")]), Some(40 * MIB));
        let top = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        assert_eq!(group_of(&[own, (top, "41943040\n")]), Some(40 * MIB));
        let of_another = ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "20971520\n");
        assert_eq!(group_of(&[own, (at, "41943040\n"), of_another]), Some(40 * MIB));
    }

    #[test]
    fn what_cannot_be_read_is_not_told() {
        assert_eq!(group_of(&[]), None);
        assert_eq!(group_of(&[("proc/self/cgroup", "nonsense")]), None);
        let outside = ("proc/self/cgroup", "0::/../../etc\n");
        assert_eq!(group_of(&[outside]), None);
        let own = ("proc/self/cgroup", "0::/a\n");
        for text in ["", "-1", "4k", "0", "\u{fffd}"] {
            assert_eq!(group_of(&[own, ("sys/fs/cgroup/a/memory.max", text)]), None, "{text}");
        }
    }

    #[test]
    fn what_the_kernel_killed_is_told_with_the_boot_or_not_at_all() {
        let of = |files: &[(&str, &str)]| with_files(files, kills);
        let boot = ("proc/sys/kernel/random/boot_id", "0000002a-1c2d-4e5f-8a9b-0c1d2e3f4a5b\n");
        let counters = ("proc/vmstat", "pgfault 8\noom_kill 3\nunevictable_pgs_culled 0\n");
        assert_eq!(of(&[boot, counters]), Some(Kills { boot: 42, count: 3 }));
        assert_eq!(of(&[boot, ("proc/vmstat", "pgfault 8\n")]), None);
        assert_eq!(of(&[counters]), None);
        assert_eq!(of(&[counters, ("proc/sys/kernel/random/boot_id", "zz")]), None);
        assert_eq!(of(&[]), None);
    }
}
