//! How long a page of SentinelOne may be: what the memory of this machine bears.
//!
//! Asked are the machine (sysinfo(2)), the control group this process is in and those above it (version
//! 2: memory.max and memory.high; version 1: memory.limit_in_bytes), and the setting `polling.max_page`;
//! the least holds. Promises: what can't be read, or is no amount of memory, is taken for not told; the
//! bound is between `limits::PAGE_BYTES_MIN` and `PAGE_BYTES_MAX` whatever is told. Never: watches; what
//! changes counts from the next start or SIGHUP on.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::limits::{
    MEMORY_BESIDE_PAGES_BYTES, MEMORY_BYTES_MIN, MEMORY_FILE_BYTES_MAX, MEMORY_OF_A_PAGE,
    MEMORY_SHARE, PAGE_BYTES_MAX, PAGE_BYTES_MIN,
};

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// No page need be longer.
    Most,
    /// The machine has so much.
    Machine,
    /// The control group may use so much.
    Group,
    /// The setting says so.
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

/// The longest page that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageBound {
    pub bytes: u64,
    pub by: By,
}

impl PageBound {
    /// What holds on this machine under this setting.
    pub fn of(setting: Option<u64>) -> PageBound {
        let machine = rustix::system::sysinfo();
        // Both are words of the machine's own width.
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

/// The least that a control group of this process, or one above it, may use. `root` is `/`.
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

/// A group and all above it. In a container those above may not be there, or the group be the topmost.
fn groups(path: &str) -> impl Iterator<Item = PathBuf> {
    let plain = Path::new(path).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let own: PathBuf = plain.collect();
    let all: Vec<PathBuf> = own.ancestors().map(Path::to_path_buf).collect();
    all.into_iter()
}

/// `max` is no limit.
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
    use crate::edge::loopback::scratch_dir;

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
    fn group_of(files: &[(&str, &str)]) -> Option<u64> {
        let dir = scratch_dir("memory");
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        group(dir.path())
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
}
