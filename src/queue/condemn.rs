//! Giving a damaged frame up: its stream goes back to before it, and SentinelOne is asked again.

use super::append::chunk_pairs;
use super::disk::Disk;
use super::index::{Batch, Opener};
use super::keys::{self, Entry};
use super::streams::{chunked, earlier};
use super::{Queue, QueueError, log, put_state, put_stream};
use crate::frame::{EntryMeta, FRAME_HEADER_BYTES_MAX, Header};
use crate::limits::{KNOWN_IDS_MAX, STALE_CHUNKS_PER_COMMIT_MAX, TAKE_FRAMES_MAX};
use crate::record::{Opened, Place, Progress, RowKey, Seq};
use crate::time::Stamp;

impl<D: Disk, O: Opener> Queue<D, O> {
    /// Takes a frame that can't be read out of the queue and sets its stream back, so that its
    /// records are polled again. Records of the stream that still wait are known, so they are not
    /// taken twice. Its file goes to `quarantine/` once the rest of it is delivered.
    pub fn condemn(&mut self, seq: Seq, why: &str) -> Result<Opened, QueueError> {
        self.index()?;
        let found = self.entries(seq, 1)?.first().copied().filter(|entry| entry.seq == seq);
        let Some(entry) = found else { return Ok(self.opened()) };
        let low = entry.oldest;
        let lost = self.read_table(&entry).ok();
        let skip = if self.state.head.seq == seq { self.state.head.skip } else { 0 };
        let mut known = self.known_of_others(&entry, lost.as_deref(), skip)?;
        known.truncate(KNOWN_IDS_MAX);

        let Some(stream) = self.streams.numbered(entry.stream) else {
            return Err(QueueError::Broken("a frame's stream is not in the index".into()));
        };
        let back = Progress { position: low, from: low };
        stream.row.progress = Some(stream.row.progress.map_or(back, |now| earlier(now, back)));
        stream.row.delivered = Some(stream.row.delivered.map_or(back, |now| earlier(now, back)));
        let old_chunks = stream.unlearn_all();
        let mut batch = Batch::default();
        // Ids are forgotten before anything else: too few of them are only duplicates.
        for some in old_chunks.chunks(STALE_CHUNKS_PER_COMMIT_MAX) {
            for chunk in some {
                batch.remove(keys::chunk_key(entry.stream, *chunk));
            }
            self.commit(&std::mem::take(&mut batch))?;
        }
        batch.remove(keys::entry_key(seq));
        self.ledger.untell(|told| told == seq, &mut batch);
        self.state.records =
            self.state.records.saturating_sub(u64::from(entry.entries.saturating_sub(skip)));
        if self.state.head.seq == seq {
            self.state.head = Place { seq: seq.next(), skip: 0 };
        }
        let chunks = chunked(&known, &mut self.state.next_chunk);
        put_state(&mut batch, &self.state);
        if let Some(stream) = self.streams.numbered(entry.stream) {
            put_stream(&mut batch, stream);
            for (chunk, ids) in &chunks {
                stream.learn(*chunk, ids.clone());
            }
        }
        self.commit_with(batch, chunk_pairs(entry.stream, &chunks))?;
        self.log.damaged.insert(entry.file, why.to_owned());
        self.note_oldest()?;
        self.give_back_files();
        Ok(self.opened())
    }

    /// The ids of this stream at or after the damaged frame that are not in it.
    fn known_of_others(
        &mut self,
        damaged: &Entry,
        lost: Option<&[EntryMeta]>,
        delivered: u32,
    ) -> Result<Vec<RowKey>, QueueError> {
        // Not from the tally: it still has what an earlier damage took, and that is polled again.
        let before = self.streams.numbered(damaged.stream);
        let mut known = before.map_or(Vec::new(), |stream| stream.known(damaged.oldest));
        match lost {
            Some(lost) => {
                let (gone, lost) = lost.split_at((delivered as usize).min(lost.len()));
                let mut lost: Vec<RowKey> = lost.iter().map(|entry| entry.key).collect();
                lost.sort_unstable();
                known.retain(|key| lost.binary_search(key).is_err());
                known.extend(gone.iter().map(|entry| entry.key));
            }
            // Its ids can't be told from the others, but none of them is newer than this.
            None => known.retain(|key| key.stamp > damaged.newest),
        }
        self.add_waiting(damaged.stream, damaged.oldest, Some(damaged.seq), &mut known)?;
        Ok(known)
    }

    /// Adds the keys at or after `oldest` of what waits of a stream, but for one frame; sorted, and
    /// each once.
    pub(super) fn add_waiting(
        &mut self,
        stream: u16,
        oldest: Stamp,
        but: Option<Seq>,
        known: &mut Vec<RowKey>,
    ) -> Result<(), QueueError> {
        let mut from = self.state.head.seq;
        while known.len() < KNOWN_IDS_MAX {
            let entries = self.entries(from, TAKE_FRAMES_MAX)?;
            let Some(last) = entries.last() else { break };
            from = last.seq.next();
            let others = entries.iter().filter(|entry| {
                entry.stream == stream && Some(entry.seq) != but && entry.newest >= oldest
            });
            for entry in others {
                // A table that can't be read belongs to a frame that is condemned in its turn.
                let table = self.read_table(entry).unwrap_or_default();
                let keys = table.iter().map(|entry| entry.key);
                known.extend(keys.filter(|key| key.stamp >= oldest));
            }
        }
        known.sort_unstable();
        known.dedup();
        Ok(())
    }

    /// Reads only what a frame says of its entries.
    fn read_table(&mut self, entry: &Entry) -> Result<Vec<EntryMeta>, ()> {
        let len = FRAME_HEADER_BYTES_MAX + Header::table_bytes(entry.entries);
        let len = len.min(entry.len as usize);
        let bytes = self.disk.read(&log::path(entry.file), entry.offset, len).map_err(|_| ())?;
        let header = Header::decode(&bytes).map_err(|_| ())?;
        if header.seq != entry.seq || header.entries != entry.entries {
            return Err(());
        }
        header.table(&bytes).map_err(|_| ())
    }
}
