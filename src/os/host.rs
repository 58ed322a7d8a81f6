//! What is read of the machine once: environment, name, terminal; and how the process protects the
//! secrets in its memory.
//!
//! Never: prints a value of the environment.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// A variable of the environment, if it is set, readable and not empty.
#[expect(clippy::disallowed_methods, reason = "this module reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// A random number, different in each process, for jitter.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// The name of this machine, for records that name no endpoint.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

/// Kernel, processor and distribution, for people.
pub fn system_name() -> String {
    let uname = rustix::system::uname();
    let [system, release, machine] =
        [uname.sysname(), uname.release(), uname.machine()].map(|text| text.to_string_lossy());
    let named = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let named = named.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let named = named.map_or(String::new(), |name| format!(", {}", name.trim_matches(['"', '\''])));
    format!("{system} {release} {machine}{named}")
}

/// Bytes that this process has made the kernel write to disks since it started, without file
/// systems in memory. Source: proc(5), `write_bytes` of /proc/self/io. `None` where the kernel does
/// not count or a sandbox hides it.
pub fn disk_written_bytes() -> Option<u64> {
    let mut text = [0; IO_BYTES_MAX];
    let len = io_file()?.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(&text[..len]).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "))?;
    line.trim().parse().ok()
}

/// Bytes of the file: seven counters of at most 20 digits with their names.
const IO_BYTES_MAX: usize = 512;

/// Opened once, before `keep_memory_private`: from then on the file belongs to root, and a daemon
/// with a user of its own could not open it. A file that is open stays readable.
fn io_file() -> Option<&'static File> {
    static IO: OnceLock<Option<File>> = OnceLock::new();
    IO.get_or_init(|| File::open("/proc/self/io").ok()).as_ref()
}

/// Columns and rows of the terminal on stdout. `None`: stdout is no terminal, or its size is
/// unknown.
pub fn terminal() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    let (columns, rows) = (usize::from(size.ws_col), usize::from(size.ws_row));
    (columns > 0 && rows > 0).then_some((columns, rows))
}

/// Whether stdout is a terminal on which colours are wanted.
pub fn shows_colour() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal() && wants_colour()
}

/// Whether the terminal supports colours and the user has not switched them off (no-color.org).
pub fn wants_colour() -> bool {
    let is_dumb = variable("TERM").is_none_or(|term| term == "dumb");
    !is_dumb && variable("NO_COLOR").is_none()
}

/// Whether the locale is UTF-8, so that a check mark can be shown.
pub fn speaks_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable);
    locale.is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        name.contains("utf-8") || name.contains("utf8")
    })
}

/// Forbids core dumps, and other processes of this user to read this one's memory (keeps P7).
/// `false`: the kernel refuses; the program works without.
pub fn keep_memory_private() -> bool {
    io_file();
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    let limited = rustix::process::setrlimit(Resource::Core, no_core).is_ok();
    let hidden = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
    limited && hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_private_after_the_call() {
        assert!(keep_memory_private());
        assert_eq!(rustix::process::getrlimit(Resource::Core).current, Some(0));
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }

    #[test]
    fn a_machine_has_a_name() {
        let known = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert!(known.trim().is_empty() || host_name() == known.trim());
        let system = system_name();
        assert!(system.starts_with("Linux ") && system.split(' ').count() >= 3, "{system}");
    }

    #[test]
    fn a_variable_that_is_set_is_read() {
        assert!(variable("PATH").is_some_and(|path| path.contains('/')), "every test has one");
        assert_eq!(variable("S1_CORALOGIX_NO_SUCH_VARIABLE"), None);
    }

    #[test]
    fn each_process_has_a_seed_of_its_own() {
        // The standard library makes another for each call.
        assert_ne!(seed(), seed());
    }

    #[test]
    fn what_is_written_to_a_disk_is_counted() {
        let dir = crate::test_world::temp::TempDir::new("host-written");
        let is_told = File::open("/proc/self/io").is_ok();
        let before = disk_written_bytes();
        assert!(before.is_some() || !is_told);
        let mut file = File::create(dir.path().join("file")).unwrap();
        std::io::Write::write_all(&mut file, &[1; 64 << 10]).unwrap();
        file.sync_all().unwrap();
        const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;
        let is_in_memory = rustix::fs::fstatfs(&file).unwrap().f_type == TMPFS_MAGIC;
        if let Some(before) = before {
            let written = disk_written_bytes().unwrap() - before;
            assert!(is_in_memory || written >= 64 << 10, "{written}");
        }
    }
}
