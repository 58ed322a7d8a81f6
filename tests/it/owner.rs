//! Root at the prompt, and a queue that belongs to the daemon's user: what `check` calls good must be
//! good for the daemon, and what `queue` writes must be the daemon's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::scene::Scene;
use crate::support::data::Kind;

/// Debian's nobody; whether it has a name here does not matter.
const SOMEBODY: u32 = 65_534;

/// Everything below a directory, and the directory.
pub fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(tree(&path)),
            false => found.push(path),
        }
    }
    found
}

pub fn give(path: &Path) {
    chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
}

pub fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        crate::support::skip::skipped("only root can give files away");
    }
    is_root
}

#[test]
fn a_check_by_root_sees_what_the_owner_of_the_queue_sees() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.queue_dir()).unwrap();
    give(&scene.queue_dir());
    let check = || {
        let ended = scene.command(&["check"]);
        (ended.code, ended.out)
    };
    let (code, out) = check();
    assert_eq!(code, Some(78), "{out}");
    assert!(out.contains("config.toml: permission denied"), "{out}");
    assert!(out.contains("S1C-E501") && !out.contains("secret"), "nothing is claimed\n{out}");

    for file in ["config.toml", "coralogix.key"] {
        give(&scene.path(file));
    }
    fs::set_permissions(scene.path("ca.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let (code, out) = check();
    assert_eq!(code, Some(78), "{out}");
    assert!(out.contains("the owner of the queue"), "{out}");
    assert!(out.contains("acme.token") && out.contains("permission denied"), "{out}");
    assert!(out.contains(&format!("chown {SOMEBODY} ")), "the remedy is the owner's\n{out}");
    assert_eq!(out.matches("read from ").count(), 1, "the key can be read\n{out}");
    // Root could write it, the daemon can't.
    assert!(out.contains("note status file"), "{out}");

    give(&scene.path("acme.token"));
    let (code, out) = check();
    assert_eq!(code, Some(0), "{out}");
}

/// A group that root is in does not make readable for the daemon what it lets root's group read.
#[test]
fn a_check_by_root_has_none_of_roots_groups() {
    if !is_root() {
        return;
    }
    /// Of no user.
    const GROUP: u32 = 54_321;
    let scene = Scene::new();
    fs::create_dir(scene.queue_dir()).unwrap();
    for name in ["queue", "config.toml", "coralogix.key", "acme.token"] {
        give(&scene.path(name));
    }
    fs::set_permissions(scene.path("ca.pem"), PermissionsExt::from_mode(0o644)).unwrap();
    let token = scene.path("acme.token");
    chown(&token, Some(0), Some(GROUP)).unwrap();
    fs::set_permissions(&token, PermissionsExt::from_mode(0o640)).unwrap();
    // The kernel keeps groups by thread, and a child has those of the thread that starts it.
    let ended = std::thread::scope(|scope| {
        let root = scope.spawn(|| {
            let groups = [0, GROUP].map(rustix::process::Gid::from_raw);
            rustix::thread::set_thread_groups(&groups).unwrap();
            scene.command(&["check"])
        });
        root.join().unwrap()
    });
    assert_eq!(ended.code, Some(78), "{}", ended.out);
    assert!(ended.out.contains("S1C-E506"), "{}", ended.out);
}

/// Somebody who is neither root nor the service.
const STRANGER: u32 = 65_533;

#[test]
fn a_stranger_is_told_to_use_sudo_and_not_to_take_the_queue_away() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    fs::create_dir(scene.queue_dir()).unwrap();
    give(&scene.queue_dir());
    let open = |file: &str, mode| {
        fs::set_permissions(scene.path(file), PermissionsExt::from_mode(mode)).unwrap();
    };
    open("", 0o755);
    let ended = scene.command_as(STRANGER, &["check"]);
    assert_eq!(ended.code, Some(78), "{}", ended.err);
    assert!(ended.err.contains("permission denied"), "{}", ended.err);
    assert!(ended.err.contains("run this command with sudo"), "{}", ended.err);
    assert!(!ended.err.contains("chown") && !ended.err.contains("chmod"), "{}", ended.err);

    open("config.toml", 0o644);
    open("ca.pem", 0o644);
    let ended = scene.command_as(STRANGER, &["check"]);
    assert_eq!(ended.code, Some(78), "{}", ended.out);
    assert!(ended.out.contains("Run this command with sudo: it then runs as"), "{}", ended.out);
    assert!(!ended.out.contains("chown") && !ended.out.contains("secret"), "{}", ended.out);

    // What writes to the queue says the same.
    let queue = scene.queue_dir().display().to_string();
    for args in [&["run", "--once"][..], &["queue", "adopt", "acme"]] {
        let ended = scene.command_as(STRANGER, args);
        assert_eq!(ended.code, Some(1), "{args:?} {}", ended.err);
        let told = ended.err.contains("S1C-E202") && ended.err.contains(&queue);
        assert!(told && ended.err.contains("run this command with sudo"), "{}", ended.err);
        assert!(!ended.err.contains("chown"), "{}", ended.err);
    }
}

#[test]
fn a_stranger_who_can_not_read_the_config_is_told_to_use_sudo_and_nothing_else() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    fs::set_permissions(scene.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    let words = "let its user (uid 65533) read it";
    let ended = scene.command_as(STRANGER, &["check"]);
    assert_eq!(ended.code, Some(78), "{}", ended.err);
    assert!(ended.err.contains("S1C-E301") && ended.err.contains("sudo"), "{}", ended.err);
    assert!(!ended.err.contains(words), "{}", ended.err);
    let ended = scene.command_as(STRANGER, &["check", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let step = &document["sections"][0]["steps"][0];
    assert_eq!(step["remedy"], "At a prompt, run this command with sudo", "{document:#}");
    assert!(!step["text"].as_str().unwrap().contains(words), "{document:#}");
    // Who starts a service has no prompt.
    let ended = scene.command_as(STRANGER, &["run"]);
    assert!(ended.err.contains("sudo") && ended.err.contains(words), "{}", ended.err);
}

/// Before the first start there is no queue that shows whose it will be; the secrets do.
#[test]
fn a_stranger_is_told_whose_the_secrets_are() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let open = |file: &str, mode| {
        fs::set_permissions(scene.path(file), PermissionsExt::from_mode(mode)).unwrap();
    };
    ["coralogix.key", "acme.token"].iter().for_each(|file| give(&scene.path(file)));
    [("", 0o755), ("config.toml", 0o644), ("ca.pem", 0o644)]
        .iter()
        .for_each(|(file, mode)| open(file, *mode));
    let assert_told = |args: &[&str], code: &str| {
        let ended = scene.command_as(STRANGER, args);
        let text = format!("{}{}", ended.out, ended.err);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(code) && flat.contains(" belongs to "), "{args:?}\n{text}");
        assert!(flat.contains("with sudo") && !flat.contains("chown"), "{args:?}\n{text}");
    };
    assert_told(&["check", "--offline"], "S1C-E502");
    assert_told(&["check", "--offline"], "S1C-E506");
    assert_told(&["run", "--once"], "S1C-E202");
    fs::create_dir(scene.queue_dir()).unwrap();
    chown(scene.queue_dir(), Some(STRANGER), Some(STRANGER)).unwrap();
    assert_told(&["check", "--offline"], "S1C-E506");
    // What nobody can read but root is given to who asks, as before.
    chown(scene.path("acme.token"), Some(0), Some(0)).unwrap();
    let ended = scene.command_as(STRANGER, &["check", "--offline"]);
    assert!(ended.out.contains(&format!("chown {STRANGER} ")), "{}", ended.out);
}

#[test]
fn what_root_does_to_a_queue_is_its_owners() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    scene.ingress.server.take_away();
    scene.tenant().publish(Kind::Activities, 40);
    fs::create_dir(scene.queue_dir()).unwrap();
    tree(&scene.path(".")).iter().for_each(|path| give(path));
    scene.run();
    scene.wait_waiting(40);
    scene.stop();
    let uid = |path: &PathBuf| path.metadata().unwrap().uid();
    let of_root: Vec<_> = tree(&scene.queue_dir()).into_iter().filter(|p| uid(p) == 0).collect();
    assert!(of_root.is_empty(), "the daemon acts as the owner too: {of_root:?}");
    assert!(scene.log().contains("S1C-I045"), "{}", scene.log());
    // Where only root may write.
    let closed = scene.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, PermissionsExt::from_mode(0o700)).unwrap();
    let file = closed.join("queue.s1c").display().to_string();
    let ended = scene.command(&["queue", "export", &file]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let all = |dir: &Path| tree(dir).iter().map(|path| path.metadata().unwrap().uid()).collect();
    let owners: Vec<u32> = all(&scene.queue_dir());
    assert!(owners.iter().all(|uid| *uid == SOMEBODY), "{owners:?}");
    assert_eq!(fs::metadata(&file).unwrap().uid(), 0);

    fs::remove_dir_all(scene.queue_dir()).unwrap();
    fs::create_dir(scene.queue_dir()).unwrap();
    give(&scene.queue_dir());
    let ended = scene.command(&["queue", "import", &file]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let owners: Vec<u32> = all(&scene.queue_dir());
    assert!(owners.len() > 5 && owners.iter().all(|uid| *uid == SOMEBODY), "{owners:?}");
    let file = fs::metadata(scene.path("closed/queue.s1c")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);

    scene.ingress.server.bring_back();
    scene.run();
    scene.settle();
    scene.stop();
}

/// As in a container that has no capability left.
#[test]
fn root_that_may_not_become_the_owner_leaves_the_queue_alone() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    scene.tenant().publish(Kind::Activities, 10);
    scene.once_with_code(0);
    tree(&scene.path(".")).iter().for_each(|path| give(path));
    let before = tree(&scene.queue_dir());
    for right in ["setuid", "setgid"] {
        let bounded = ["setpriv".into(), format!("--bounding-set=-{right}")];
        let plain = scene.program.clone();
        scene.program = plain.under(bounded.map(Into::into));
        for (args, code) in [
            (&["run", "--once"][..], 1),
            (&["queue", "adopt", "acme"], 1),
            (&["check", "--offline"], 78),
        ] {
            let ended = scene.command(args);
            assert_eq!(ended.code, Some(code), "{args:?} {}{}", ended.out, ended.err);
            let said = ended.out + &ended.err;
            assert!(said.contains("S1C-E232") && said.contains("User="), "{args:?} {said}");
        }
        scene.program = plain;
    }
    let uid = |path: &PathBuf| path.metadata().unwrap().uid();
    assert!(tree(&scene.queue_dir()) == before && before.iter().all(|path| uid(path) == SOMEBODY));
    scene.once_with_code(0);
}
