//! What another version wrote, and what the system refused: neither is damage, and nothing is touched.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::scene::Scene;
use crate::support::data::Kind;

/// Where a log file's header ends, and where a frame's has its checksum and its name (docs/QUEUE.md).
const FILE_HEADER: usize = 24;
const FRAME_CRC: usize = 76;

/// A box whose 300 records wait.
fn where_records_wait() -> Scene {
    let mut scene = Scene::new();
    scene.ingress.server.take_away();
    scene.tenant().publish(Kind::Activities, 300);
    scene.run();
    scene.wait_waiting(300);
    scene.stop();
    scene
}

fn put_crc(bytes: &mut [u8], of: &[u8], at: usize) {
    bytes[at..at + 4].copy_from_slice(&crc32fast::hash(of).to_le_bytes());
}

/// Gives every frame of a log file, or its header alone, version 2 and the checksum that belongs to it.
fn raise(file: &Path, what: &str) {
    let mut bytes = fs::read(file).unwrap();
    if what == "file" {
        bytes[8] = 2;
        let of = bytes[..20].to_vec();
        put_crc(&mut bytes, &of, 20);
    }
    let frames: Vec<usize> = (FILE_HEADER..bytes.len().saturating_sub(4))
        .filter(|at| what == "frames" && bytes[*at..].starts_with(b"S1F\x01"))
        .collect();
    for at in frames {
        let name = usize::from(u16::from_le_bytes([bytes[at + 6], bytes[at + 7]]));
        bytes[at + 3] = 2;
        let (head, rest) = bytes[at..].split_at(FRAME_CRC);
        let of = [head, &rest[4..4 + name]].concat();
        put_crc(&mut bytes, &of, at + FRAME_CRC);
    }
    fs::write(file, bytes).unwrap();
}

fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut read: Vec<_> = files
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    read.sort();
    read
}

#[test]
fn a_queue_that_a_newer_version_wrote_is_refused_and_not_touched() {
    for what in ["frames", "file"] {
        let mut scene = where_records_wait();
        let logs = scene.queue_dir().join("log");
        for (file, _) in contents(&logs) {
            raise(Path::new(&file), what);
        }
        let before = contents(&logs);
        scene.ingress.server.bring_back();
        let ended = scene.once_with_code(78);
        assert!(
            ended.err.contains("S1C-E227") && ended.err.contains("newer version"),
            "{}",
            ended.err
        );
        assert_eq!(contents(&logs), before);
        assert_eq!(contents(&scene.queue_dir().join("quarantine")), []);
        for command in ["stats", "list"] {
            let told = scene.command(&["queue", command]);
            assert_eq!(told.code, Some(78), "{command}: {}{}", told.out, told.err);
            assert!(told.err.contains("S1C-E227") && !told.err.contains("dmesg"), "{}", told.err);
        }
        assert_eq!(scene.ingress.requests(), 0);
    }
}

#[test]
fn a_limit_on_the_size_of_files_damages_nothing_and_is_told() {
    // In units of 512 bytes: nothing at all, within the index, within the first log file.
    for units in [0, 1, 8, 40, 200] {
        let mut scene = where_records_wait();
        let plain = scene.program.clone();
        let shell = format!("ulimit -f {units}; exec \"$@\"");
        let runner = ["sh", "-c", &shell, "sh"].map(OsString::from);
        scene.tenant().publish(Kind::Activities, 3_000);
        scene.program = plain.under(runner);
        let ended = scene.once();
        let is_told = matches!(ended.code, Some(1 | 75)) && ended.err.contains("S1C-");
        assert!(is_told, "{units}: {:?} {}", ended.code, ended.err);
        assert_eq!(contents(&scene.queue_dir().join("quarantine")), [], "{units}");
        scene.program = plain;
        scene.ingress.server.bring_back();
        scene.once_with_code(0);
        let balance = scene.ledger.balance();
        assert_eq!((balance.lost, balance.duplicates), (0, 0), "{units}: {balance}");
    }
}

#[test]
fn too_few_descriptors_damage_nothing_and_blame_no_secret() {
    for descriptors in 5..26 {
        let mut scene = where_records_wait();
        let plain = scene.program.clone();
        let shell = format!("ulimit -n {descriptors}; exec \"$@\"");
        let runner = ["sh", "-c", &shell, "sh"].map(OsString::from);
        scene.ingress.server.bring_back();
        scene.program = plain.under(runner);
        let ended = scene.once();
        let is_told = matches!(ended.code, Some(0 | 1 | 75));
        assert!(is_told, "{descriptors}: {:?} {}", ended.code, ended.err);
        assert_eq!(contents(&scene.queue_dir().join("quarantine")), [], "{descriptors}");
        scene.program = plain;
        scene.once_with_code(0);
        let balance = scene.ledger.balance();
        assert_eq!((balance.lost, balance.duplicates), (0, 0), "{descriptors}: {balance}");
    }
}
