//! The files `learned` and `asking`: what the program learned of the services' and the link's
//! limits, and the pages it is requesting that are larger than any it has received, by stream name.
//!
//! `asking` also has the number of processes that the kernel had killed for lack of memory. Each
//! file is one line of JSON, written under another name and renamed. Promises: an unreadable file
//! counts as missing, and a disk that can't take one stops nothing; `learned` survives a power cut.
//! `asking` need not, because it only shows that a process was killed during a page. Never:
//! contains anything that a promise depends on, but for the position that was confirmed last: where
//! that is lost, wrong clocks of an earlier process are believed.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::Queue;
use super::disk::{self, Disk};
use super::schema::StreamRow;
use super::streams::earlier;
use crate::json;
use crate::limits::LEARNED_BYTES_MAX;
use crate::record::{Kills, Learned, Progress, SinkLearned, StreamLearned, StreamName};

const LEARNED: &str = "learned";
const ASKING: &str = "asking";
/// A member beside the streams' names, which all contain a slash.
const BOOT: &str = "boot";
const KILLS: &str = "oom_kills";

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct File {
    sink: SinkLearned,
    streams: BTreeMap<String, StreamLearned>,
}

impl<D: Disk> Queue<D> {
    pub(super) fn read_learned(&mut self) -> Learned {
        let file: File = read_json(&mut self.disk, LEARNED);
        let asking: BTreeMap<String, u32> = read_json(&mut self.disk, ASKING);
        let streams = self.configured.iter().map(|stream| {
            let name = stream.name.to_string();
            let learned = file.streams.get(&name).copied().unwrap_or_default();
            StreamLearned { asking: asking.get(&name).copied(), ..learned }
        });
        let kills = asking.get(BOOT).zip(asking.get(KILLS));
        let kills = kills.map(|(boot, count)| Kills { boot: *boot, count: *count });
        Learned { sink: file.sink, streams: streams.collect(), kills }
    }

    /// Stores it for the next process, if the disk permits it. `kills`: the kernel's present count.
    pub fn learn(&mut self, learned: &Learned, kills: Option<Kills>) {
        let names = self.configured.iter().map(|stream| stream.name.to_string());
        let named = names.zip(&learned.streams);
        let mut asking: BTreeMap<String, u32> =
            named.clone().filter_map(|(name, stream)| Some((name, stream.asking?))).collect();
        if let Some(kills) = kills.filter(|_| !asking.is_empty()) {
            asking.insert(BOOT.to_owned(), kills.boot);
            asking.insert(KILLS.to_owned(), kills.count);
        }
        let streams = named
            .map(|(name, stream)| (name, StreamLearned { asking: None, ..*stream }))
            .filter(|(_, stream)| !stream.is_nothing())
            .collect();
        let mut file = File { sink: learned.sink, streams };
        let before = match self.learned.take() {
            Some(written) => written,
            None => (read_json(&mut self.disk, LEARNED), read_json(&mut self.disk, ASKING)),
        };
        // Of streams that the config does not name now, and that may be adopted later.
        for orphan in self.orphans() {
            let name = orphan.name.to_string();
            if let Some(stream) = before.0.streams.get(&name) {
                file.streams.insert(name, *stream);
            }
        }
        let asking_written = asking == before.1 || self.write_json(ASKING, &asking, false).is_ok();
        let file_written = file == before.0 || self.write_json(LEARNED, &file, true).is_ok();
        // What the disk did not take is written with the next news.
        if asking_written && file_written {
            self.learned = Some((file, asking));
        }
    }

    fn write_json(&mut self, name: &str, value: &impl Serialize, durable: bool) -> io::Result<()> {
        disk::replace(&mut self.disk, name, &serde_json::to_vec(value)?, durable)
    }
}

/// What was learned of one stream, for commands that only read; without the pages being requested
/// now.
pub fn of_stream(disk: &mut impl Disk, name: &StreamName) -> StreamLearned {
    let file: File = read_json(disk, LEARNED);
    file.streams.get(&name.to_string()).copied().unwrap_or_default()
}

fn read_json<T: Default + serde::de::DeserializeOwned>(disk: &mut impl Disk, name: &str) -> T {
    let bytes = disk.read(name, 0, LEARNED_BYTES_MAX).unwrap_or_default();
    json::read(&bytes).unwrap_or_default()
}

impl<D: Disk> Queue<D> {
    /// A stream's progress, no further than two clocks confirmed its position: from there another
    /// machine or another name continues.
    pub(super) fn confirmed_progress(&mut self, row: &StreamRow) -> Option<Progress> {
        let progress = row.progress?;
        let confirmed = of_stream(&mut self.disk, &row.name).confirmed_progress();
        Some(confirmed.map_or(progress, |confirmed| earlier(progress, confirmed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::mem::MemDisk;
    use crate::queue::testing::{Fixture, SMALL};
    use crate::record::{Bears, Lone, QueuePosition, RowPlace, Seq, Way};
    use crate::time::{Span, Stamp};

    /// As version 0.1 writes it: it can be read for ever.
    const GOLDEN: &str = concat!(
        r#"{"sink":{"body_bytes":16384,"lone":{"at":{"seq":7,"skip":2},"way":"failed","tries":3,"for_ms":9000}},"#,
        r#""streams":{"acme/threats":{"rows":125,"lone":"#,
        r#"{"at":{"from":1800000000000000,"is_after":true},"way":"refused","tries":1,"for_ms":0}}}}"#
    );

    fn learned() -> Learned {
        let place = QueuePosition { seq: Seq(7), skip: 2 };
        let failed = Lone { at: place, way: Way::Failed, tries: 3, for_ms: Span::seconds(9) };
        let row = RowPlace { from: Stamp(1_800_000_000_000_000), is_after: true };
        let lone = Lone { at: row, way: Way::Refused, tries: 1, for_ms: Span::ZERO };
        let threats = StreamLearned {
            rows: Some(125),
            asking: Some(250),
            lone: Some(lone),
            ..StreamLearned::default()
        };
        let sink = SinkLearned { body_bytes: Some(16_384), body_entries: None, lone: Some(failed) };
        Learned { sink, streams: vec![threats, StreamLearned::default()], kills: None }
    }

    #[test]
    fn what_was_learned_survives_a_kill_in_a_form_that_stays() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, opened, _) = disk.open();
        assert_eq!(opened.learned.sink, SinkLearned::default());
        assert!(opened.learned.streams.iter().all(StreamLearned::is_nothing));
        queue.learn(&learned(), None);
        drop(queue);
        disk.kill();
        let mut files = disk.clone();
        assert_eq!(files.read(LEARNED, 0, 1 << 20).unwrap(), GOLDEN.as_bytes());
        assert_eq!(files.read(ASKING, 0, 1 << 20).unwrap(), br#"{"acme/threats":250}"#);
        assert_eq!(disk.open().1.learned, learned());
        for seed in 0..20 {
            disk.power_cut(&mut crate::prng::Prng::new(seed));
            let mut survives = learned();
            survives.streams[0].asking = None;
            let mut opened = disk.open().1.learned;
            opened.streams[0].asking = None;
            assert_eq!(opened, survives, "{seed}");
        }
    }

    #[test]
    fn the_position_confirmed_last_is_kept_beside_the_rest() {
        let disk = MemDisk::new(128 << 20);
        let mut told = learned();
        let at = Stamp(1_800_000_000_000_000);
        told.streams[1].confirmed = Some(at);
        told.streams[1].confirmed_from = Some(at);
        let (mut queue, ..) = disk.open();
        queue.learn(&told, None);
        drop(queue);
        disk.power_cut(&mut crate::prng::Prng::new(1));
        let written = disk.clone().read(LEARNED, 0, 1 << 20).unwrap();
        let member = concat!(
            r#""acme/activities":{"confirmed":1800000000000000,"#,
            r#""confirmed_from":1800000000000000}"#
        );
        assert!(String::from_utf8(written).unwrap().contains(member));
        assert_eq!(disk.open().1.learned.streams[1], told.streams[1]);
    }

    #[test]
    fn how_many_the_kernel_had_killed_stands_beside_what_is_asked_for() {
        let disk = MemDisk::new(128 << 20);
        let kills = Some(Kills { boot: 7, count: 3 });
        let (mut queue, ..) = disk.open();
        let mut told = learned();
        told.streams[0].bears = Some(Bears { rows: 125, after: 64 });
        queue.learn(&told, kills);
        drop(queue);
        disk.kill();
        let asking = disk.clone().read(ASKING, 0, 1 << 20).unwrap();
        assert_eq!(asking, br#"{"acme/threats":250,"boot":7,"oom_kills":3}"#);
        let (mut queue, opened, _) = disk.open();
        told.kills = kills;
        assert_eq!(opened.learned, told);
        told.streams[0].asking = None;
        queue.learn(&told, kills);
        assert_eq!(disk.clone().read(ASKING, 0, 1 << 20).unwrap(), b"{}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_as_good_as_none() {
        for text in ["", "{", r#"{"sink":7}"#, "\0\0\0"] {
            let file: File = json::read(text.as_bytes()).unwrap_or_default();
            assert_eq!(file, File::default(), "{text}");
        }
        let newer = r#"{"sink":{"colour":"red"},"streams":{},"links":[]}"#;
        assert_eq!(json::read::<File>(newer.as_bytes()).unwrap(), File::default());
    }

    /// Whichever of the two files was not written, it is with the next news.
    #[test]
    fn what_the_disk_did_not_take_is_written_with_the_next_news() {
        for n in 1..30 {
            let disk = MemDisk::new(128 << 20);
            let (mut queue, ..) = disk.try_open(SMALL).unwrap();
            disk.fail_after(n, crate::queue::mem::Fault::Once(io::ErrorKind::Other));
            queue.learn(&learned(), None);
            let has_failed = disk.has_failed();
            disk.heal();
            queue.learn(&learned(), None);
            drop(queue);
            disk.kill();
            assert_eq!(disk.try_open(SMALL).unwrap().1.learned, learned(), "operation {n}");
            if !has_failed {
                return;
            }
        }
        panic!("it never ends");
    }
}
