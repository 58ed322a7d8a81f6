//! Root acting as the user who owns the queue.
//!
//! Root can read every file and write everywhere, so its `check` would accept what the daemon can't
//! use, and the daemon could not read what root's `run` and `queue` commands write. Promises:
//! rights are only given up, and only those that this program was started with are taken back.
//!
//! The kernel keeps these rights for each thread. The program has one thread when this is called,
//! and threads started later inherit them.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid, getuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::made;
use crate::problem::Problem;

/// The error: root can't become the owner of the queue.
#[derive(Debug)]
pub struct NotTheOwner {
    dir: PathBuf,
    owner: String,
    call: &'static str,
    why: Errno,
}

impl NotTheOwner {
    pub fn problem(&self) -> Problem {
        let NotTheOwner { dir, owner, call, why } = self;
        let dir = dir.display();
        Problem::new(
            format!("Failed to become {owner}, who owns the queue {dir}: {call}: {why}"),
            format!(
                "What root writes there {owner} could not use, so nothing was changed: run this as \
                 {owner} (systemd: User=, containers: --user), or allow it CAP_SETUID and \
                 CAP_SETGID"
            ),
        )
    }
}

impl fmt::Display for NotTheOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}

impl std::error::Error for NotTheOwner {}

/// Becomes the owner of the queue's directory, with the groups that a service of that user has, and
/// returns the user's name. `None`: this is not root, or the queue is root's own or not there yet.
/// An error: a sandbox forbids it, and this is root still, or root without its groups.
pub fn act_as_owner(dir: &Path) -> Result<Option<String>, NotTheOwner> {
    let Ok(found) = std::fs::metadata(dir) else { return Ok(None) };
    let uid = found.uid();
    if !geteuid().is_root() || uid == 0 {
        return Ok(None);
    }
    let text = |file| std::fs::read_to_string(file).unwrap_or_default();
    let user = User::find(&text("/etc/passwd"), uid);
    let gid = user.as_ref().map_or(found.gid(), |user| user.gid);
    let name = user.map(|user| user.name);
    let mut groups: Vec<Gid> = name
        .as_deref()
        .map_or(vec![], |name| groups_of(&text("/etc/group"), name))
        .into_iter()
        .map(Gid::from_raw)
        .collect();
    groups.push(Gid::from_raw(gid));
    let owner = name.unwrap_or_else(|| format!("uid {uid}"));
    let failed = |call| {
        let (dir, owner) = (dir.to_owned(), owner.clone());
        move |why| NotTheOwner { dir, owner, call, why }
    };
    set_thread_groups(&groups).map_err(failed("setgroups"))?;
    // The real and saved ids stay, so that `act_as_root_again` is possible.
    set_thread_res_gid(None, Gid::from_raw(gid), None).map_err(failed("setresgid"))?;
    set_thread_res_uid(None, Uid::from_raw(uid), None).map_err(failed("setresuid"))?;
    Ok(Some(owner))
}

/// The owner of the queue or of a secret, where this process is neither that owner nor of root, who may
/// act as another: it does not see what the daemon sees. `None` too where root owns it, because then no
/// service of another user uses it yet.
pub fn is_another(path: &Path) -> Option<String> {
    let uid = std::fs::metadata(path).ok()?.uid();
    let is_stranger =
        !getuid().is_root() && !geteuid().is_root() && uid != geteuid().as_raw() && uid != 0;
    is_stranger.then(|| name_of(uid))
}

/// The owner of one of these files that this process can't read because it is another's, and the file:
/// whoever owns the secrets is the user of the service, or its administrator.
pub fn of_unreadable<'p>(files: impl Iterator<Item = &'p Path>) -> Option<(String, &'p Path)> {
    let mut unreadable = files.filter(|file| made::may(file, Access::READ_OK).is_err());
    unreadable.find_map(|file| Some((is_another(file)?, file)))
}

/// What such a user is to do: nothing that takes the file from its owner.
pub fn ask_owner(file: &Path, owner: &str) -> String {
    let shown = file.display();
    format!("{shown} belongs to {owner}: run this command as {owner}, or with sudo")
}

/// The name of a user, or the number where it has none.
fn name_of(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    User::find(&passwd, uid).map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// Takes back what `act_as_owner` gave up: for a file that only the caller may open.
pub fn act_as_root_again() {
    if getuid().is_root() && !geteuid().is_root() {
        // Ignore errors: the later call that needs the rights reports them.
        let _ = set_thread_res_uid(None, getuid(), None);
        let _ = set_thread_res_gid(None, rustix::process::getgid(), None);
    }
}

/// A line of /etc/passwd. Source: passwd(5).
#[derive(Debug, PartialEq)]
struct User {
    name: String,
    gid: u32,
}

impl User {
    fn find(passwd: &str, uid: u32) -> Option<User> {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let is_it = fields.nth(1)?.parse() == Ok(uid);
            let gid = fields.next()?.parse().ok()?;
            is_it.then(|| User { name: name.to_owned(), gid })
        })
    }
}

/// The numbers of the groups that name a user. Source: group(5).
fn groups_of(group: &str, user: &str) -> Vec<u32> {
    let number = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_member = fields.get(3)?.split(',').any(|member| member.trim() == user);
        fields.get(2)?.parse().ok().filter(|_| is_member)
    };
    group.lines().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number_and_its_groups_by_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nodd line\ns1:x:102:105::/var/lib/s1:/bin/false\n";
        assert_eq!(User::find(passwd, 102), Some(User { name: "s1".to_owned(), gid: 105 }));
        assert_eq!(User::find(passwd, 105), None);
        let group = "root:x:0:\nadm:x:4:daemon,s1\ns1:x:105:\nbad:x:nine:s1\nssl:x:9:s11, s1\n";
        assert_eq!(groups_of(group, "s1"), [4, 9]);
        assert_eq!(groups_of(group, "s"), [0; 0]);
    }

    /// In a thread of its own, which alone gives its rights up.
    fn as_somebody<R: Send>(act: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| scope.spawn(act).join().unwrap())
    }

    const NOBODYS: u32 = 64_123;

    /// A directory of such a user, where this process may give it away.
    fn given_away(name: &str, uid: u32, gid: u32) -> Option<crate::test_world::temp::TempDir> {
        let dir = crate::test_world::temp::TempDir::new(name);
        let given = std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid));
        (geteuid().is_root() && given.is_ok()).then_some(dir)
    }

    #[test]
    fn root_acts_as_the_owner_without_its_own_groups_and_takes_its_rights_back() {
        let Some(dir) = given_away("owner", NOBODYS, NOBODYS + 1) else { return };
        as_somebody(|| {
            let ids =
                || (getuid().as_raw(), geteuid().as_raw(), rustix::process::getegid().as_raw());
            let before = ids();
            let told = act_as_owner(dir.path()).unwrap();
            assert_eq!(told, Some(format!("uid {NOBODYS}")));
            assert_eq!(ids(), (0, NOBODYS, NOBODYS + 1));
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
            assert_eq!(groups.trim(), (NOBODYS + 1).to_string());
            // Root that acts as the owner is no stranger.
            assert_eq!(is_another(Path::new("/proc/1")), None);
            assert_eq!(act_as_owner(dir.path()).unwrap(), None, "it is no root any more");
            act_as_root_again();
            assert_eq!(ids(), before);
        });
    }

    #[test]
    fn a_stranger_is_who_is_neither_the_owner_nor_root() {
        let given = [("owner-own", NOBODYS), ("owner-of-another", NOBODYS + 1), ("owner-root", 0)]
            .map(|(name, uid)| given_away(name, uid, uid));
        let [Some(own), Some(of_another), Some(of_root)] = given else { return };
        let asked = [&own, &of_another, &of_root].map(|dir| dir.path());
        assert_eq!(asked.map(is_another), [None, None, None], "this is root");
        as_somebody(|| {
            let user = Uid::from_raw(NOBODYS);
            set_thread_res_uid(user, user, user).unwrap();
            let told = Some(format!("uid {}", NOBODYS + 1));
            assert_eq!(asked.map(is_another), [None, told, None]);
            act_as_root_again();
            assert_eq!(geteuid(), user, "only what it was started with is taken back");
        });
        as_somebody(|| {
            let [real, effective] = [NOBODYS, NOBODYS + 1].map(Uid::from_raw);
            set_thread_res_uid(real, effective, effective).unwrap();
            act_as_root_again();
            assert_eq!(geteuid(), effective, "who is not root takes nothing back");
        });
    }

    #[test]
    fn a_user_is_named_where_it_has_a_name() {
        assert_eq!(name_of(NOBODYS), format!("uid {NOBODYS}"));
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        if passwd.starts_with("root:x:0:") {
            assert_eq!(name_of(0), "root");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_or_ones_own_changes_nothing() {
        let before = geteuid();
        for dir in ["/nonexistent", "/proc/self"] {
            assert_eq!(act_as_owner(Path::new(dir)).unwrap(), None);
        }
        assert_eq!(geteuid(), before);
    }
}
