//! What a changed name or address of an integration means for the positions in the queue. The
//! config is a claim, not a proof.
//!
//! ```text
//!   orphan: a position that no configured stream has --adopt--> the new name's
//!                                                    '--begin anew--> nobody's, with a gap
//!   held:   a position from another address --confirm--> polled on
//!                                           '--begin anew--> polled from `start`, with a gap
//! ```
//!
//! Promises: a position, its ids and its frames get their new stream in one commit, and everything
//! done before that commit may be repeated; a stream that begins later than an orphan of its tenant
//! had reached leaves a gap, in the commit of its first position. Never: guesses that two tenants
//! are one.

use std::fmt;

use super::append::chunk_pairs;
use super::disk::Disk;
use super::gaps;
use super::index::Batch;
use super::left_behind::LeftBehind;
use super::schema;
use super::streams::{Stream, earlier};
use super::{Finding, Queue, QueueError, put_stream};
use crate::limits::{STALE_CHUNKS_PER_COMMIT_MAX, TAKE_FRAMES_MAX, TALLY_CHUNKS_PER_COMMIT_MAX};
use crate::message;
use crate::record::{
    Category, Gap, GapReason, Hold, Mention, Opened, Orphan, Progress, StreamName,
};
use crate::time::Stamp;

/// What the config says of an integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub name: String,
    /// The integration's previous name.
    pub name_was: Option<String>,
    /// Its normalized address.
    pub tenant: String,
}

/// A stream that got another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    pub was: StreamName,
    pub now: StreamName,
    pub position: Stamp,
}

/// Who claims that two names are one tenant although their addresses differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaidBy {
    /// The config, which may have been changed in other places too: this is not enough.
    Config,
    /// A person, with `queue adopt`.
    Person,
}

/// What a discarded position leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Gap,
    /// The queue that discarded it has noted the gap.
    NoGap,
}

/// Why streams could not be adopted. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdoptError {
    /// Both names have positions, of two different addresses.
    OtherTenant {
        was: String,
        now: String,
    },
    Queue(QueueError),
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdoptError::OtherTenant { was, now } => write!(
                f,
                "both names have positions, one collected from {was} and one from {now}, and these \
                 may be different tenants"
            ),
            AdoptError::Queue(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for AdoptError {}

impl From<QueueError> for AdoptError {
    fn from(why: QueueError) -> AdoptError {
        AdoptError::Queue(why)
    }
}

pub(super) fn has_position(stream: &Stream) -> bool {
    matches!(stream.row.name.category, Category::Polled(_)) && stream.row.progress.is_some()
}

impl<D: Disk> Queue<D> {
    /// Applies the names and addresses of the config: adopts renamed integrations, learns unknown
    /// addresses, and holds streams that were collected from another address. May be called again
    /// after a failure. Returns what `open` returns.
    pub fn claim(&mut self, claims: &[Claim]) -> Result<(Opened, Vec<Finding>), QueueError> {
        if self.is_unindexed() {
            // Nothing is polled while the index is not readable; the claims are applied then.
            self.claims = Some(claims.to_vec());
            return Ok((self.opened(), std::mem::take(&mut self.findings)));
        }
        self.index()?;
        for claim in claims {
            let Some(was) = &claim.name_was else { continue };
            match self.adopt_streams(was, &claim.name, SaidBy::Config) {
                Ok(adopted) => adopted.iter().for_each(|adopted| self.report_adopted(adopted)),
                Err(AdoptError::Queue(why)) => return Err(why),
                Err(why) => self.find(
                    message::STREAM_NOT_ADOPTED,
                    "stream-not-adopted",
                    format!(
                        "The streams of {was} do not become those of {}: {why}. If they are one \
                         tenant, stop the daemon and run s1-coralogix queue adopt {was} {}; \
                         otherwise remove name_was",
                        claim.name, claim.name
                    ),
                ),
            }
        }
        self.learn_tenants(claims)?;
        self.holds.clear();
        for Claim { name, tenant, .. } in claims {
            let was = self.origins.tenant(name).filter(|was| was != tenant);
            if let Some(was) = was.map(str::to_owned)
                && self.has_positions(name)
            {
                let other = claims.iter().find(|other| other.tenant == was);
                let other = other.map(|other| other.name.clone());
                let hold = Hold::TenantChanged { was, now: tenant.clone(), other };
                self.holds.push((name.clone(), hold));
            }
        }
        for orphan in self.orphans() {
            let names = claims.iter().map(|claim| (&*claim.name, claim.name_was.as_deref()));
            let remedy = match Mention::of(&orphan.name.integration, names) {
                // The finding before this one has the remedy.
                Mention::NameWas(new) => {
                    format!("name_was of {new} is not followed; S1C-E223 says what to do")
                }
                other => orphan.remedy(other),
            };
            let text = format!(
                "{} was collected up to {}{} but no integration in the config collects it any \
                 more. {remedy}",
                orphan.name,
                orphan.position.to_the_second(),
                orphan.tenant.as_ref().map_or(String::new(), |tenant| format!(" from {tenant}")),
            );
            self.find(message::STREAM_ORPHANED, "stream-orphaned", text);
        }
        Ok((self.opened(), std::mem::take(&mut self.findings)))
    }

    fn report_adopted(&mut self, adopted: &Adopted) {
        let Adopted { was, now, position } = adopted;
        let text = format!("{was} is now {now}; it continues from {}", position.to_the_second());
        self.find(message::STREAM_ADOPTED, "stream-adopted", text);
    }

    /// The streams that have a position and are not in the config.
    pub fn orphans(&self) -> Vec<Orphan> {
        let orphans = self.streams.iter().filter(|stream| self.is_orphan(stream));
        let orphans = orphans.filter_map(|stream| {
            let name = stream.row.name.clone();
            let tenant = self.origins.tenant(&name.integration).map(str::to_owned);
            Some(Orphan { position: stream.row.progress?.position, name, tenant })
        });
        orphans.collect()
    }

    fn is_orphan(&self, stream: &Stream) -> bool {
        has_position(stream) && self.configured.iter().all(|known| known.name != stream.row.name)
    }

    /// Whether any stream of this integration has a position.
    pub fn has_positions(&self, integration: &str) -> bool {
        let mut streams = self.streams.iter();
        streams.any(|stream| has_position(stream) && stream.row.name.integration == integration)
    }

    /// The address that an integration was collected from, if that is known.
    pub fn tenant_of(&self, integration: &str) -> Option<&str> {
        self.origins.tenant(integration)
    }

    /// Renames the streams of an integration that is no longer in the config: positions, ids and
    /// waiting frames become those of another integration. If that has a position of its own, the
    /// earlier one counts, and the ids of both stay known. Nothing to adopt is no error.
    pub fn adopt_streams(
        &mut self,
        was: &str,
        now: &str,
        said_by: SaidBy,
    ) -> Result<Vec<Adopted>, AdoptError> {
        self.index()?;
        let orphans: Vec<StreamName> =
            self.orphans().into_iter().map(|orphan| orphan.name).collect();
        let orphans = orphans.into_iter().filter(|name| name.integration == was && was != now);
        let orphans: Vec<StreamName> = orphans.collect();
        let tenants = self.origins.tenant(was).zip(self.origins.tenant(now));
        let differ = tenants.filter(|(was, now)| was != now && said_by == SaidBy::Config);
        if let Some((was, other)) = differ
            && !orphans.is_empty()
            && self.has_positions(now)
        {
            let (was, now) = (was.to_owned(), other.to_owned());
            return Err(AdoptError::OtherTenant { was, now });
        }
        let mut adopted = Vec::new();
        for name in orphans {
            adopted.push(self.adopt_stream(name, now)?);
        }
        if !adopted.is_empty() {
            self.checkpoint_out_of_turn();
        }
        Ok(adopted)
    }

    fn adopt_stream(&mut self, was: StreamName, now: &str) -> Result<Adopted, QueueError> {
        let name = StreamName { integration: now.to_owned(), category: was.category };
        let absorbed = self.streams.find(&name).map(|stream| stream.number);
        let number = self.streams.named(&was).number;
        if let Some(other) = absorbed {
            self.absorb(other, number)?;
        }
        let other = self.streams.find(&name).map(|stream| stream.row.clone());
        let mut row = self.streams.named(&was).row.clone();
        row.progress = self.confirmed_progress(&row);
        let both = |a: Option<Progress>, b: Option<Progress>| match (a, b) {
            (Some(a), Some(b)) => Some(earlier(a, b)),
            (a, b) => a.or(b),
        };
        if let Some(other) = &other {
            row.progress = both(row.progress, other.progress);
            row.delivered = both(row.delivered, other.delivered);
        }
        row.name = name.clone();
        let position = row.progress.map_or(Stamp::MIN, |progress| progress.position);

        let (mut batch, mut origins) = (Batch::default(), self.origins.clone());
        let mut gap_log = self.gap_log.clone();
        if !self.has_positions(now) {
            match origins.tenant(&was.integration).map(str::to_owned) {
                Some(tenant) => origins.learn(now, &tenant, &mut batch),
                None => origins.forget(now, &mut batch),
            }
        }
        let before = self.state.next_seq;
        if absorbed.is_some() {
            // Frames written under the new name before this do not show where the merged stream is.
            origins.note(name.clone(), None, before, &mut batch);
        }
        origins.note(was.clone(), Some(now.to_owned()), before, &mut batch);
        // A range that the stream under the new name passed over is collected after all.
        gap_log.change(|row| reclaimed(row, &name, position), &mut batch);
        gap_log.change(|row| renamed(row, &was, &name), &mut batch);
        if let Some(other) = absorbed {
            self.forget_known(other)?;
            batch.remove(schema::stream_key(other));
            // A range that one of the two collected is not collected of both.
            for number in [number, other] {
                let stream = self.streams.numbered(number);
                stream.into_iter().for_each(|stream| stream.uncover(&mut batch));
            }
        }
        let mut value = Vec::new();
        row.encode(&mut value);
        batch.put(schema::stream_key(number), value);
        self.commit(&batch)?;
        if let Some(other) = absorbed {
            self.streams.remove(other);
        }
        self.streams.named(&was).row = row;
        (self.origins, self.gap_log) = (origins, gap_log);
        Ok(Adopted { was, now: name, position })
    }

    /// Gives a stream's frames and ids to another one. The queue is consistent after each step: an
    /// id may only be known twice. The tally is forgotten.
    fn absorb(&mut self, from: u16, to: u16) -> Result<(), QueueError> {
        let mut at = self.state.head.seq;
        let mut batch = Batch::default();
        loop {
            let entries = self.entries(at, TAKE_FRAMES_MAX)?;
            let Some(last) = entries.last() else { break };
            at = last.seq.next();
            for entry in entries.into_iter().filter(|entry| entry.stream == from) {
                batch.put(
                    schema::entry_key(entry.seq),
                    schema::Entry { stream: to, ..entry }.encode(),
                );
            }
            if !batch.is_empty() {
                self.commit(&std::mem::take(&mut batch))?;
            }
        }
        let chunks: Vec<_> = match self.streams.numbered(from) {
            Some(stream) => stream.chunks().map(|(chunk, ids)| (chunk, ids.clone())).collect(),
            None => Vec::new(),
        };
        if !chunks.is_empty() {
            self.commit_with(Batch::default(), chunk_pairs(to, &chunks))?;
        }
        if let Some(stream) = self.streams.numbered(to) {
            chunks.into_iter().for_each(|(chunk, ids)| stream.learn(chunk, ids));
        }
        self.forget_tally(from)?;
        self.forget_tally(to)
    }

    /// Forgets a stream's tally; its row first, because without that the rest does not count.
    fn forget_tally(&mut self, number: u16) -> Result<(), QueueError> {
        let Some(stream) = self.streams.numbered(number) else { return Ok(()) };
        let chunks = stream.tally.clear();
        let mut batch = Batch::default();
        batch.remove(schema::tally_key(number));
        for some in chunks.chunks(TALLY_CHUNKS_PER_COMMIT_MAX) {
            some.iter().for_each(|chunk| batch.remove(schema::tally_chunk_key(number, *chunk)));
            self.commit(&std::mem::take(&mut batch))?;
        }
        match batch.is_empty() {
            true => Ok(()),
            false => self.commit(&batch),
        }
    }

    /// Forgets the ids of a stream's overlap: a missing id only causes a duplicate.
    fn forget_known(&mut self, number: u16) -> Result<(), QueueError> {
        let Some(stream) = self.streams.numbered(number) else { return Ok(()) };
        let chunks = stream.forget_all();
        let mut batch = Batch::default();
        for some in chunks.chunks(STALE_CHUNKS_PER_COMMIT_MAX) {
            some.iter().for_each(|chunk| batch.remove(schema::chunk_key(number, *chunk)));
            self.commit(&std::mem::take(&mut batch))?;
        }
        Ok(())
    }

    /// Takes an integration's new address as the same tenant: its positions stay.
    pub fn confirm_tenant(&mut self, integration: &str, tenant: &str) -> Result<(), QueueError> {
        let (mut batch, mut origins) = (Batch::default(), self.origins.clone());
        origins.learn(integration, tenant, &mut batch);
        self.commit(&batch)?;
        self.origins = origins;
        self.checkpoint_out_of_turn();
        Ok(())
    }

    /// Removes the positions of an integration, each with a gap whose end is unknown. Its waiting
    /// records are delivered. `tenant`: the address from which it is collected now, if the config
    /// names it.
    pub fn begin_anew(
        &mut self,
        integration: &str,
        tenant: Option<&str>,
    ) -> Result<Vec<(StreamName, Stamp)>, QueueError> {
        self.index()?;
        let begun = self.streams.iter().filter(|stream| has_position(stream));
        let begun = begun.filter(|stream| stream.row.name.integration == integration);
        let numbers: Vec<u16> = begun.map(|stream| stream.number).collect();
        let mut forgotten = Vec::new();
        for number in numbers {
            forgotten.extend(self.begin_stream_anew(number, tenant, Leaves::Gap)?);
        }
        if let Some(tenant) = tenant {
            self.confirm_tenant(integration, tenant)?;
        }
        self.checkpoint_out_of_turn();
        Ok(forgotten)
    }

    /// Removes the position that an import gave a stream of which it was discarded before.
    pub(super) fn discard_position(&mut self, name: &StreamName) -> Result<(), QueueError> {
        let number = self.streams.named(name).number;
        self.begin_stream_anew(number, None, Leaves::NoGap)?;
        self.checkpoint_out_of_turn();
        Ok(())
    }

    fn begin_stream_anew(
        &mut self,
        number: u16,
        tenant: Option<&str>,
        leaves: Leaves,
    ) -> Result<Option<(StreamName, Stamp)>, QueueError> {
        self.forget_tally(number)?;
        self.forget_known(number)?;
        let (mut origins, mut gap_log) = (self.origins.clone(), self.gap_log.clone());
        let before = self.state.next_seq;
        let Some(stream) = self.streams.numbered(number) else { return Ok(None) };
        let Some(progress) = stream.row.progress else { return Ok(None) };
        let name = stream.row.name.clone();
        let mut batch = Batch::default();
        let mut emptied = stream.clone();
        (emptied.row.progress, emptied.row.delivered) = (None, None);
        emptied.uncover(&mut batch);
        put_stream(&mut batch, &emptied);
        if leaves == Leaves::Gap {
            gap_log.note(
                Gap::open(&name, progress.position, Stamp::UNREADABLE, GapReason::ConfigChanged),
                &mut batch,
            );
        }
        origins.note(name.clone(), None, before, &mut batch);
        if let Some(tenant) = tenant {
            origins.learn(&name.integration, tenant, &mut batch);
        }
        self.commit(&batch)?;
        if let Some(stream) = self.streams.numbered(number) {
            *stream = emptied;
        }
        (self.origins, self.gap_log) = (origins, gap_log);
        Ok(Some((name, progress.position)))
    }

    /// The gap that a stream with this beginning leaves: an orphan of the same tenant, or the stream
    /// in a queue that was used before, had been collected to an earlier time. `None` too for a
    /// stream whose integration has no known address.
    pub(super) fn gap_before(&self, stream: &StreamName, begins: Stamp) -> Option<Gap> {
        let own = self.origins.tenant(&stream.integration)?;
        let orphans = self.orphans().into_iter().filter(|orphan| orphan.name != *stream);
        let reached = orphans
            .chain(self.left_behind.iter().flat_map(LeftBehind::streams))
            .filter(|orphan| orphan.name.category == stream.category)
            // An orphan without a known address may be of this tenant.
            .filter(|orphan| orphan.tenant.as_deref().is_none_or(|tenant| tenant == own))
            .map(|orphan| orphan.position)
            .max()?;
        // A failed commit may have left the gap in memory already.
        let gap = Gap::open(stream, reached, begins, GapReason::ConfigChanged);
        (reached < begins && !self.gap_log.has(&gap)).then_some(gap)
    }

    /// Learns unknown addresses, and changed ones of integrations without a position; forgets
    /// integrations of which the queue has nothing any more.
    fn learn_tenants(&mut self, claims: &[Claim]) -> Result<(), QueueError> {
        let (mut batch, mut origins) = (Batch::default(), self.origins.clone());
        for Claim { name, tenant, .. } in claims {
            let known = origins.tenant(name);
            if known != Some(tenant) && (known.is_none() || !self.has_positions(name)) {
                origins.learn(name, tenant, &mut batch);
            }
            if batch.is_half_full() {
                self.commit(&std::mem::take(&mut batch))?;
            }
        }
        let names: Vec<String> = origins.tenants().map(|(name, _)| name.clone()).collect();
        for name in names {
            if claims.iter().all(|claim| claim.name != name) && !self.has_positions(&name) {
                origins.forget(&name, &mut batch);
            }
        }
        if !batch.is_empty() {
            self.commit(&batch)?;
        }
        if origins != self.origins {
            self.origins = origins;
            self.checkpoint_out_of_turn();
        }
        Ok(())
    }
}

/// Closes a gap if its stream goes back to before it.
fn reclaimed(row: &gaps::Row, stream: &StreamName, position: Stamp) -> Option<gaps::Row> {
    let is_it = row.gap.reason == GapReason::ConfigChanged
        && row.gap.stream == *stream
        && row.gap.to != Stamp::UNREADABLE
        && row.gap.from >= position
        && !row.gap.closed;
    is_it.then(|| gaps::Row { gap: Gap { closed: true, ..row.gap.clone() }, reported_in: None })
}

/// An unreported gap is reported under the stream's present name.
fn renamed(row: &gaps::Row, was: &StreamName, now: &StreamName) -> Option<gaps::Row> {
    let is_it = row.reported_in.is_none() && row.gap.stream == *was;
    is_it.then(|| gaps::Row {
        gap: Gap { stream: now.clone(), ..row.gap.clone() },
        reported_in: None,
    })
}
