//! Two small files beside the checkpoint: `id` identifies the queue, and `closed` says that the
//! last process ended regularly.
//!
//! Promises: an id is made once and stays with the directory; `closed` names the checkpoint that it
//! was written with and is removed, durably, before the next process changes anything, so that both
//! together prove the position of the head. Never: makes an id by itself, because the queue has no
//! source of randomness.

use std::io;

use super::Queue;
use super::disk::{self, Disk, Item};
use crate::errno::{Says, says};

pub(super) const ID: &str = "id";
pub(super) const CLOSED: &str = "closed";
/// 16 bytes in hexadecimal.
const ID_CHARS: usize = 32;

/// The identity of a queue, independent of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueId(String);

impl QueueId {
    /// Makes an id of random bits.
    pub fn of(halves: [u64; 2]) -> QueueId {
        QueueId(halves.map(|half| format!("{half:016x}")).concat())
    }

    /// `None`: the text is not an id.
    pub fn parse(text: &str) -> Option<QueueId> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_id = text.len() == ID_CHARS && text.bytes().all(is_hex);
        is_id.then(|| QueueId(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of a directory, if it has a readable one. An error does not mean that it has none.
    pub(super) fn read(disk: &mut impl Disk) -> io::Result<Option<QueueId>> {
        let text = match disk.read(ID, 0, ID_CHARS + 1) {
            Err(error) if says(&error) == Says::Medium => return Ok(None),
            read => read?,
        };
        let text = std::str::from_utf8(&text).ok();
        Ok(text.and_then(|text| QueueId::parse(text.trim_end())))
    }
}

/// The content of `closed`: the checksum of the checkpoint that it was written with.
fn name_of(checkpoint_crc: u32) -> String {
    format!("{checkpoint_crc:08x}\n")
}

/// Whether the process that wrote this checkpoint ended regularly, and none has started since.
pub(super) fn is_closed(disk: &mut impl Disk, checkpoint: &[u8]) -> bool {
    let Some(crc) = checkpoint.last_chunk() else { return false };
    let name = name_of(u32::from_le_bytes(*crc));
    disk.read(CLOSED, 0, name.len() + 1).is_ok_and(|found| found == name.as_bytes())
}

impl<D: Disk> Queue<D> {
    /// Reads the queue's id; a queue without one gets this one. If it can't be written, the queue
    /// stays without until a later start.
    pub(super) fn identify(&mut self, new: QueueId) {
        // Unknown because of a read error: the id that was read when the queue was opened stays.
        let Ok(id) = QueueId::read(&mut self.disk) else { return };
        self.id = id;
        if self.id.is_none() {
            let text = format!("{}\n", new.as_str());
            let made = disk::replace(&mut self.disk, ID, text.as_bytes(), true);
            self.id = made.is_ok().then_some(new);
            self.note_head_by_id();
        }
    }

    /// The queue's id; empty if it has none.
    pub fn id(&self) -> &str {
        self.id.as_ref().map_or("", QueueId::as_str)
    }

    /// Marks the checkpoint as outdated from now on: removes `closed`, durably.
    pub(super) fn note_opened(&mut self, items: &[Item]) -> io::Result<()> {
        if items.iter().all(|item| item.name != CLOSED) {
            return Ok(());
        }
        self.disk.remove(CLOSED)?;
        self.disk.sync_dir("")
    }

    /// Marks the checkpoint just written as final. After a write error it counts as outdated.
    pub(super) fn note_closed(&mut self, checkpoint_crc: u32) {
        let text = name_of(checkpoint_crc);
        let written = self.write_whole(CLOSED, text.as_bytes());
        let _ = written.and_then(|()| self.disk.sync_dir(""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prng::Prng;
    use crate::queue::checkpoint;
    use crate::queue::inspect::{DaemonStatus, HeadBy, Inspector};
    use crate::queue::mem::{Fault, MemDisk};
    use crate::queue::testing::*;
    use crate::record::{QueuePosition, Seq};
    use crate::time::Mono;

    fn head_by(disk: &MemDisk, daemon: Option<DaemonStatus>) -> HeadBy {
        Inspector::open(disk.clone(), daemon).unwrap().head().by
    }

    /// A queue of which one record is delivered and one waits.
    fn begun(disk: &MemDisk) -> (crate::queue::MemQueue, QueuePosition) {
        let (mut queue, ..) = disk.open();
        queue.append(&threats(), &page(&threats(), &[1, 2], 2), progress(2, 1), &[]).unwrap();
        let one = crate::record::Take { entries_max: 1, ..ALL };
        let end = queue.peek(one).unwrap().unwrap().sent.end;
        let head = queue.ack(end, Mono(1)).unwrap().head;
        (queue, head)
    }

    #[test]
    fn a_clean_end_tells_the_head_until_the_next_start() {
        let disk = MemDisk::new(128 << 20);
        let (queue, head) = begun(&disk);
        assert_eq!(head_by(&disk, None), HeadBy::Checkpoint);
        queue.close(Mono(2));
        let looked = Inspector::open(disk.clone(), None).unwrap();
        assert_eq!((looked.head().by, looked.head().place), (HeadBy::Close, head));
        let (queue, ..) = disk.open();
        assert_eq!(head_by(&disk, None), HeadBy::Checkpoint, "it is open again");
        drop(queue);
        disk.power_cut(&mut Prng::new(1));
        assert_eq!(head_by(&disk, None), HeadBy::Checkpoint, "durably");
    }

    #[test]
    fn another_checkpoint_than_that_of_the_clean_end_is_none() {
        let disk = MemDisk::new(128 << 20);
        begun(&disk).0.close(Mono(2));
        disk.tamper(checkpoint::FILE, |bytes| {
            let changed = bytes.len() - 5;
            bytes[changed] ^= 1;
            let crc = crc32fast::hash(&bytes[..changed + 1]);
            bytes.truncate(changed + 1);
            bytes.extend_from_slice(&crc.to_le_bytes());
        });
        assert_eq!(head_by(&disk, None), HeadBy::Checkpoint);
    }

    #[test]
    fn wherever_a_start_is_cut_nothing_is_called_closed_that_went_on() {
        let head_of = |disk: &MemDisk| Inspector::open(disk.clone(), None).unwrap().head();
        let mut met = 0;
        for n in 1..400 {
            let disk = MemDisk::new(128 << 20);
            let (queue, before) = begun(&disk);
            queue.close(Mono(2));
            disk.fail_after(n, Fault::PowerOff);
            let went_on = disk.try_open(LIMITS).is_ok_and(|(mut queue, ..)| {
                let Ok(Some(peeked)) = queue.peek(ALL) else { return false };
                let is_done = queue.ack(peeked.sent.end, Mono(3)).is_ok();
                queue.close(Mono(4));
                is_done
            });
            disk.power_cut(&mut Prng::new(n));
            let head = head_of(&disk);
            let (_, opened, _) = disk.open();
            if head.by == HeadBy::Close {
                assert_eq!(head.place, opened.held.head, "operation {n}");
            }
            met += u32::from(!went_on || opened.held.head == before);
            if went_on && head.by == HeadBy::Close && head.place > before {
                break;
            }
        }
        assert!(met > 5, "only {met} operations were cut");
    }

    #[test]
    fn an_id_is_made_once() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        let first = QueueId::of([1, 2]);
        assert_eq!(first.as_str(), "00000000000000010000000000000002");
        queue.identify(first.clone());
        assert_eq!(queue.id.as_ref(), Some(&first));
        drop(queue);
        let (mut queue, ..) = disk.open();
        queue.identify(QueueId::of([3, 4]));
        assert_eq!(queue.id.as_ref(), Some(&first));
        drop(queue);
        disk.tamper(ID, |bytes| bytes[3] = b'?');
        let (mut queue, ..) = disk.open();
        queue.identify(QueueId::of([3, 4]));
        assert_eq!(queue.id, Some(QueueId::of([3, 4])));
    }

    #[test]
    fn an_id_that_can_not_be_read_just_now_stays() {
        use std::io::ErrorKind::{Other, OutOfMemory, PermissionDenied};
        let (first, second) = (QueueId::of([1, 2]), QueueId::of([3, 4]));
        for kind in [OutOfMemory, PermissionDenied, Other] {
            let disk = MemDisk::new(128 << 20);
            let (mut queue, ..) = disk.open();
            queue.identify(first.clone());
            queue.close(Mono(1));
            let (mut queue, ..) = disk.open();
            disk.fail_after(1, Fault::Once(kind));
            queue.identify(second.clone());
            disk.heal();
            // What the medium does not give any more is lost.
            let expected = if kind == Other { &second } else { &first };
            assert_eq!(queue.id.as_ref(), Some(expected), "{kind}");
            assert_eq!(QueueId::read(&mut disk.clone()).unwrap().as_ref(), Some(expected));
        }
    }

    #[test]
    fn what_a_daemon_said_of_another_queue_is_not_believed() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, head) = begun(&disk);
        queue.identify(QueueId::of([1, 2]));
        let here = queue.id.clone();
        let far = QueuePosition { seq: Seq(900), skip: 0 };
        let status =
            |queue: Option<QueueId>, head, is_running| DaemonStatus { queue, head, is_running };
        for other in [None, Some(QueueId::of([1, 3]))] {
            let looked = Inspector::open(disk.clone(), Some(status(other, far, true))).unwrap();
            assert_eq!(
                (looked.head().by, looked.is_daemon_of_another()),
                (HeadBy::Checkpoint, true)
            );
            assert!(looked.head().place < far);
        }
        let looked = Inspector::open(disk.clone(), Some(status(here.clone(), head, true))).unwrap();
        assert_eq!((looked.head().by, looked.head().place), (HeadBy::Daemon, head));
        assert!(!looked.is_daemon_of_another());
        let ended = head_by(&disk, Some(status(here.clone(), head, false)));
        assert_eq!(ended, HeadBy::EndedDaemon);
        queue.close(Mono(2));
        assert_eq!(head_by(&disk, Some(status(here, far, false))), HeadBy::Close);
    }

    #[test]
    fn a_longer_text_is_no_id() {
        let disk = MemDisk::new(1 << 20);
        for (text, is_id) in [
            ("a".repeat(ID_CHARS), true),
            ("a".repeat(ID_CHARS) + "\n", true),
            ("a".repeat(ID_CHARS + 1), false),
            ("a".repeat(ID_CHARS - 1), false),
        ] {
            disk::replace(&mut disk.clone(), ID, text.as_bytes(), true).unwrap();
            let read = QueueId::read(&mut disk.clone()).unwrap();
            assert_eq!(read.is_some(), is_id, "{text}");
        }
    }

    #[test]
    fn the_mark_of_a_clean_end_is_of_one_checkpoint_and_nothing_more() {
        let disk = MemDisk::new(128 << 20);
        let (mut queue, ..) = disk.open();
        queue.note_closed(0x0102_0304);
        let of =
            |crc: u32| is_closed(&mut disk.clone(), &[&[9; 9][..], &crc.to_le_bytes()].concat());
        assert!(of(0x0102_0304) && !of(0x0102_0305) && !of(0));
        disk.tamper(CLOSED, |bytes| bytes.push(b'0'));
        assert!(!of(0x0102_0304));
        disk.tamper(CLOSED, |bytes| bytes.truncate(3));
        assert!(!of(0x0102_0304));
    }
}
