//! Which frames in the log count, and how far they move their streams. Pure.
//!
//! A page counts if all its frames are there, with consecutive numbers. Where numbers are missing,
//! records of unknown streams are missing: from there on no stream's progress moves, so that
//! everything after the hole is polled again, while the frames after it stay in the queue and their
//! ids are known (keeps P1 without duplicates). Bytes that are no frame mean nothing by themselves:
//! a crash leaves a torn page, and the next page reuses its numbers.

use super::schema::Entry;
use crate::frame::{EntryMeta, Header};
use crate::record::{Progress, RowKey, Seq, StreamName};
use crate::time::Stamp;

/// What is done with the frames of an incomplete page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Partial {
    /// They were never acknowledged: the page is polled again.
    Drop,
    /// They may have been acknowledged: they stay, and the page is polled again all the same.
    Keep,
}

/// Frames that count.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Page {
    pub stream: StreamName,
    pub entries: Vec<Entry>,
    pub ids: Vec<RowKey>,
    /// The stream's progress after this page, if nothing is missing before it.
    pub progress: Option<Progress>,
    /// The oldest stamp in it.
    pub oldest: Stamp,
}

/// A walk through the log, frame by frame.
#[derive(Debug)]
pub(super) struct Replay {
    /// Frames before this are delivered or already in the index.
    floor: Seq,
    /// The number of the next frame; `None` before the first one.
    expected: Option<Seq>,
    partial: Partial,
    counted: Seq,
    page: Option<Page>,
    page_index: u32,
    /// Whether frames are missing before this. That alone may be a page torn by a crash.
    broken: bool,
    /// Whether frames are missing before a page that counts, so that records are missing.
    pub hole: bool,
    /// Frames that did not count.
    pub dropped: u32,
}

impl Replay {
    /// `expected`: the number of the next frame, if known.
    pub fn new(floor: Seq, expected: Option<Seq>, partial: Partial) -> Replay {
        let (page, page_index, broken, hole) = (None, 0, false, false);
        Replay {
            floor,
            expected,
            partial,
            counted: floor,
            page,
            page_index,
            broken,
            hole,
            dropped: 0,
        }
    }

    /// Frames may be missing before the very first one.
    pub fn missing_before(&mut self) {
        self.broken = true;
    }

    /// The number after the last frame that counts.
    pub fn next_seq(&self) -> Seq {
        self.counted
    }

    /// Takes the next frame of the log; returns the pages that are complete with it.
    pub fn feed(
        &mut self,
        file: u64,
        offset: u64,
        header: &Header,
        table: &[EntryMeta],
    ) -> Vec<Page> {
        let mut done = Vec::new();
        if header.seq < self.floor {
            return done;
        }
        match self.expected {
            Some(expected) if header.seq < expected => {
                let replaced = self
                    .page
                    .take_if(|page| page.entries[0].seq == header.seq && header.page_index == 0);
                let Some(replaced) = replaced else {
                    self.dropped += 1;
                    return done;
                };
                self.dropped += replaced.entries.len() as u32;
            }
            Some(expected) if header.seq > expected => done.extend(self.broken_off()),
            Some(_) => {
                let goes_on = self.page.as_ref().is_none_or(|page| {
                    page.stream == header.stream && self.page_index == header.page_index
                });
                if !goes_on {
                    done.extend(self.broken_off());
                }
            }
            None => {}
        }
        self.expected = Some(header.seq.next());
        if self.page.is_none() && header.page_index > 0 {
            if self.partial == Partial::Drop {
                self.broken = true;
                self.dropped += 1;
                return done;
            }
            // The beginning of the first page may have been delivered and removed.
            let begins_the_log = !self.broken && self.page_index == 0;
            self.broken |= !begins_the_log;
        }
        self.add(file, offset, header, table);
        if header.last_of_page {
            done.extend(self.page.take());
        }
        self.hole |= self.broken && !done.is_empty();
        let last = done.last().and_then(|page| page.entries.last());
        self.counted = last.map_or(self.counted, |entry| entry.seq.next());
        done
    }

    fn add(&mut self, file: u64, offset: u64, header: &Header, table: &[EntryMeta]) {
        self.page_index = header.page_index + 1;
        let page = self.page.get_or_insert_with(|| Page {
            stream: header.stream.clone(),
            entries: Vec::new(),
            ids: Vec::new(),
            progress: None,
            oldest: header.oldest,
        });
        page.entries.push(Entry {
            seq: header.seq,
            file,
            offset,
            len: header.disk_len() as u32,
            entries: header.entries,
            raw_len: header.raw_len,
            stream: 0,
            progress: header.progress,
            oldest: header.oldest,
            newest: header.newest,
        });
        page.ids.extend(table.iter().map(|entry| entry.key));
        page.oldest = page.oldest.min(header.oldest);
        if header.last_of_page && !self.broken {
            page.progress = Some(header.progress);
        }
    }

    /// Notes that records are missing, and ends the current page.
    fn broken_off(&mut self) -> Option<Page> {
        self.broken = true;
        let page = self.page.take()?;
        match self.partial {
            Partial::Keep => Some(page),
            Partial::Drop => {
                self.dropped += page.entries.len() as u32;
                None
            }
        }
    }

    /// The end of the log: an incomplete page was never acknowledged, and is dropped.
    pub fn finish(&mut self) {
        if let Some(page) = self.page.take() {
            self.dropped += page.entries.len() as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{self, Frame, FrameMeta};
    use crate::record::Kind;

    /// `seq:index` with `.` for the last of its page; `a` and `b` are streams.
    fn header(text: &str) -> (Header, Vec<EntryMeta>) {
        let last = text.ends_with('.');
        let (stream, rest) = text.trim_end_matches('.').split_at(1);
        let (seq, index) = rest.split_once(':').unwrap();
        let seq: u64 = seq.parse().unwrap();
        let stamp = Stamp(seq as i64);
        let entry = EntryMeta { key: RowKey { stamp, id: seq }, raw_len: 2, stamped: true };
        let progress = Progress { position: stamp, from: stamp };
        let frame = Frame {
            stream: StreamName::polled(stream, Kind::Threats),
            progress,
            last_of_page: last,
            entries: vec![entry],
            raw_len: 2,
            raw_crc: 0,
            deflated: Vec::new(),
        };
        let page_index = index.parse().unwrap();
        let mut bytes = Vec::new();
        frame::encode(
            &mut bytes,
            &frame,
            FrameMeta { seq: Seq(seq), page_index, last_of_page: last, progress },
        );
        (frame::decode(&bytes).unwrap().0, frame.entries)
    }

    /// The frames that count, page by page, with `>` before a page that moves its stream.
    fn played(floor: u64, expected: Option<u64>, partial: Partial, log: &str) -> String {
        let mut replay = Replay::new(Seq(floor), expected.map(Seq), partial);
        let mut pages = Vec::new();
        for text in log.split_whitespace() {
            let (header, table) = header(text);
            pages.extend(replay.feed(0, 0, &header, &table));
        }
        replay.finish();
        let told = pages.iter().map(|page| {
            let seqs: Vec<String> = page.entries.iter().map(|e| e.seq.0.to_string()).collect();
            format!("{}{}", if page.progress.is_some() { ">" } else { "" }, seqs.join("+"))
        });
        let hole = if replay.hole { " hole" } else { "" };
        let dropped = match replay.dropped {
            0 => String::new(),
            some => format!(" dropped {some}"),
        };
        let told = told.collect::<Vec<_>>().join(" ");
        format!("{told} next {}{hole}{dropped}", replay.next_seq().0)
    }

    #[test]
    fn whole_pages_count_and_nothing_passes_a_hole() {
        use Partial::{Drop, Keep};
        for (floor, expected, partial, log, told) in [
            (0, None, Keep, "", " next 0"),
            (1, Some(1), Drop, "a1:0.", ">1 next 2"),
            (1, Some(1), Drop, "a1:0 a2:1. b3:0.", ">1+2 >3 next 4"),
            // A page cut off by a crash.
            (1, Some(1), Drop, "a1:0. a2:0 a3:1", ">1 next 2 dropped 2"),
            // A crash between two pages that took the same numbers.
            (1, None, Keep, "a1:0. a2:0 b2:0 b3:1. b4:0.", ">1 >2+3 >4 next 5 dropped 1"),
            (1, None, Keep, "a1:0. a2:0. b2:0. a3:0.", ">1 >2 >3 next 4 dropped 1"),
            (1, None, Keep, "a1:0. a2:0 a3:1 b3:0. a4:2.", ">1 >2+3+4 next 5 dropped 1"),
            (1, None, Keep, "a1:0. a2:0 a3:1 a2:1 a4:2.", ">1 >2+3+4 next 5 dropped 1"),
            // A page delivered in part, its first file given back.
            (1, None, Keep, "a5:2 a6:3. b7:0.", ">5+6 >7 next 8"),
            // The beginning of the last page, torn by a crash.
            (5, Some(5), Drop, "a6:1 a7:2.", " next 5 dropped 2"),
            (5, Some(5), Drop, "a5:1. b6:0.", "6 next 7 hole dropped 1"),
            // Missing at the beginning of a page nobody has seen.
            (5, Some(5), Drop, "a6:1. b7:0.", "7 next 8 hole dropped 1"),
            // Missing in the middle.
            (1, None, Keep, "a1:0. a3:1. b4:0.", ">1 3 4 next 5 hole"),
            (1, None, Keep, "a1:0. a2:0 b4:0. a5:0.", ">1 2 4 5 next 6 hole"),
            (1, Some(1), Drop, "a1:0. a2:0 b4:0. a5:0.", ">1 4 5 next 6 hole dropped 1"),
            // A whole page is missing between two others.
            (1, None, Keep, "a1:0. a3:0. b4:0.", ">1 3 4 next 5 hole"),
            // The rest of a page is missing, though the numbers go on.
            (1, None, Keep, "a1:0. a2:0 a3:0.", ">1 2 3 next 4 hole"),
            (1, None, Keep, "a1:0. a2:0 b3:1.", ">1 2 3 next 4 hole"),
            // The beginning of a page is missing, though the numbers go on.
            (1, None, Keep, "a1:0. a2:1. b3:0.", ">1 2 3 next 4 hole"),
            // Already delivered.
            (3, Some(3), Keep, "a1:0. a2:0. a3:0.", ">3 next 4"),
        ] {
            assert_eq!(played(floor, expected, partial, log), told, "{log}");
        }
    }

    #[test]
    fn a_page_is_as_old_as_the_oldest_of_its_frames() {
        for stamps in [[7, 9], [9, 7]] {
            let mut replay = Replay::new(Seq(1), None, Partial::Keep);
            let mut pages = Vec::new();
            for (text, stamp) in ["a1:0", "a2:1."].iter().zip(stamps) {
                let (mut header, table) = header(text);
                header.oldest = Stamp(stamp);
                pages.extend(replay.feed(0, 0, &header, &table));
            }
            assert_eq!(pages.remove(0).oldest, Stamp(7));
        }
    }
}
