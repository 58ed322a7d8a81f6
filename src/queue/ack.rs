//! Acknowledging what is delivered, and the checkpoint.

use super::checkpoint::Checkpoint;
use super::disk::Disk;
use super::index::Batch;
use super::log;
use super::schema::{self, StreamRow};
use super::streams::earlier;
use super::{Queue, QueueError, put_state, put_stream};
use crate::limits::{
    CHECKPOINT_KNOWN_IDS_MAX, CHECKPOINT_MINUTES_MIN, LOG_FILE_KEEP_BYTES_MAX, TAKE_FRAMES_MAX,
};
use crate::record::{QueuePosition, QueueStatus};
use crate::time::{Mono, Span};

/// When the checkpoint was last written, and what it said.
#[derive(Debug, Default)]
pub(super) struct Checkpointed {
    at: Option<Mono>,
    crc: u32,
}

impl<D: Disk> Queue<D> {
    /// Removes everything before `end` from the queue, durably. Positions before the head are
    /// removed already, so it may be called again after a `reopen`.
    pub fn ack(&mut self, end: QueuePosition, now: Mono) -> Result<QueueStatus, QueueError> {
        if self.is_unindexed() {
            return self.ack_unindexed(end);
        }
        self.index()?;
        let mut batch = Batch::default();
        let settled = self.settle_doubts(end, &mut batch);
        self.let_go(end, batch)?;
        for at in settled {
            self.forget_doubt(at)?;
        }
        // Only a copy: the index has the head too.
        let _ = self.note_head(false);
        self.give_back_files();
        self.checkpoint_now_and_then(now);
        self.renew_index(now);
        Ok(self.held())
    }

    /// Moves the head, first in memory and then in the index: Coralogix has the records even if the
    /// commit fails, and a new index has to be built with that head.
    pub(super) fn let_go(
        &mut self,
        end: QueuePosition,
        mut batch: Batch,
    ) -> Result<(), QueueError> {
        let end = end.min(QueuePosition { seq: self.state.next_seq, skip: 0 });
        while self.state.head < end {
            let entries = self.entries(self.state.head.seq, TAKE_FRAMES_MAX)?;
            let mut reached = end;
            if let Some(last) = entries.get(TAKE_FRAMES_MAX - 1) {
                reached = reached.min(QueuePosition { seq: last.seq.next(), skip: 0 });
            }
            for entry in &entries {
                let before = self.state.head.skip_in(entry.seq);
                if entry.seq < reached.seq {
                    batch.remove(schema::entry_key(entry.seq));
                    let gone = u64::from(entry.entries.saturating_sub(before));
                    self.state.records = self.state.records.saturating_sub(gone);
                    if let Some(stream) = self.streams.numbered(entry.stream) {
                        // At most the stream's own progress: after damage that was set back, and
                        // what will be polled again does not count as delivered. A stream without
                        // progress has delivered nothing for certain.
                        if let Some(progress) = stream.row.progress {
                            stream.row.delivered = Some(earlier(entry.progress, progress));
                        }
                    }
                } else if entry.seq == reached.seq {
                    let gone = u64::from(reached.skip.saturating_sub(before));
                    self.state.records = self.state.records.saturating_sub(gone);
                }
            }
            self.state.head = reached;
            for stream in self.streams.iter() {
                if entries.iter().any(|entry| entry.stream == stream.number) {
                    put_stream(&mut batch, stream);
                }
            }
            put_state(&mut batch, &self.state);
            self.commit(&std::mem::take(&mut batch))?;
        }
        self.note_oldest()
    }

    /// Removes the files in which nothing waits; also the active one once it is long, because
    /// otherwise it would only grow. A failure does no harm: the next start removes them.
    pub(super) fn give_back_files(&mut self) {
        let mut files = match self.unindexed.as_ref() {
            Some(unindexed) => unindexed.delivered(&self.log, self.state.head.seq),
            None => self.log.delivered(self.state.head.seq, self.state.next_seq),
        };
        files.retain(|file| {
            let is_active = self.log.active == Some(*file);
            !is_active || self.log.lens[file] >= LOG_FILE_KEEP_BYTES_MAX
        });
        // A process without an index must not take the removed frames for missing ones, so `head`
        // is written first.
        if files.is_empty() || (self.note_head(true).is_err() && self.is_unindexed()) {
            return;
        }
        for file in files {
            self.give_back_file(file);
        }
    }

    /// Removes a file, or quarantines it if damage was found in it. Returns whether it is gone.
    pub(super) fn give_back_file(&mut self, file: u64) -> bool {
        let path = log::path(file);
        let gone = match self.log.damaged.get(&file).cloned() {
            Some(why) => self.set_aside(&path, &format!("{file:016x}.log"), &why),
            None => self.disk.remove(&path),
        };
        let is_gone = match gone {
            Ok(()) => true,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if is_gone {
            self.log.lens.remove(&file);
            self.log.damaged.remove(&file);
            self.log.active.take_if(|active| *active == file);
        }
        is_gone
    }

    /// Writes the checkpoint at once: for a stream that is not in it yet, because otherwise, with
    /// index and log lost, the stream would begin at the config's `start`, perhaps too late; and
    /// for a gap, which only the index has.
    pub(super) fn checkpoint_out_of_turn(&mut self) {
        let at = self.checkpointed.at;
        self.write_checkpoint(Mono::ZERO);
        self.checkpointed.at = at;
    }

    fn checkpoint_now_and_then(&mut self, now: Mono) {
        let pause = Span::minutes(CHECKPOINT_MINUTES_MIN);
        let is_time = self.checkpointed.at.is_none_or(|at| now.since(at) >= pause);
        if is_time {
            self.write_checkpoint(now);
        }
    }

    /// Writes the checkpoint if its content changed. A failure is ignored: the old one is still
    /// true, only older. Returns its checksum, if the file is up to date.
    pub(super) fn write_checkpoint(&mut self, now: Mono) -> Option<u32> {
        let is_empty = self.state.records == 0;
        let streams = self.streams.iter().map(|stream| {
            let settled = if is_empty { stream.row.progress } else { stream.row.delivered };
            let name = stream.row.name.clone();
            let row = StreamRow { name, progress: settled, delivered: settled };
            // An id in the checkpoint is never requested again, so it has only ids of delivered
            // records.
            let from = settled.filter(|_| is_empty).map(|progress| progress.from);
            let mut ids = from.map_or(Vec::new(), |from| stream.known(from));
            let too_many = ids.len().saturating_sub(CHECKPOINT_KNOWN_IDS_MAX);
            ids.drain(..too_many);
            (row, ids)
        });
        let streams = streams.collect();
        let (head, next_seq) = (self.state.head, self.state.next_seq);
        let (gap_log, origins) = (self.gap_log.clone(), self.origins.clone());
        let awaited = self.awaited.clone();
        let bytes = Checkpoint { head, next_seq, streams, gap_log, origins, awaited }.encode();
        // The checksum at the end shows whether the content changed.
        let crc = bytes.last_chunk().map_or(0, |crc| u32::from_le_bytes(*crc));
        self.checkpointed.at = Some(now);
        if crc != self.checkpointed.crc && Checkpoint::write(&bytes, &mut self.disk).is_ok() {
            self.checkpointed.crc = crc;
        }
        (crc == self.checkpointed.crc).then_some(crc)
    }
}
