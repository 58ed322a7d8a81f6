//! The SentinelOne side: tenants with their tokens, streams with their walks.
//!
//! A tenant's token:
//!
//! ```text
//!   good --401 on a stream--> doubted --401 on /system/info--> refused --token changed--> good
//!     ^--------------------------'  200: that stream lacks the permission, the token is good
//! ```
//!
//! Promises: the rejection of one stream never stops another; a position moves only together with
//! the records that it covers, and only as far as the time is confirmed; broken promises of a page
//! (order, range, cursors) are shown as long as they last (P1, P8).

use crate::limits;
use crate::plain::count;
use crate::record::{
    Covered, Cursor, GapReason, Hold, Kind, Progress, RowKey, Start, StreamLearned, StreamStatus,
    Unread,
};
use crate::time::{Clocks, Due, Mono, Span, Stamp};

use super::beyond::{self, Beyond, Rows as Beside};
use super::changed::Changed;
use super::known::Known;
use super::lane::{Backoff, Lane};
use super::left_out::LeftOut;
use super::place::CalledAhead;
use super::plan::StreamPlan;
use super::provisional::Provisional;
use super::reason::Reason;
use super::reconcile::Reconcile;
use super::retention::Retention;
use super::rows::Rows;
use super::source_clock::{Present, SourceClock};
use super::twin::Twin;
use super::unlisted::Unlistable;
use super::walk::{Next, Passed, Walk};

/// A page as the core sees it: the rows' keys, not their bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct PageFacts {
    pub keys: Vec<RowKey>,
    pub next: Option<Cursor>,
    /// The answer's `Date`.
    pub date: Option<Stamp>,
}

/// A request to a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    pub stream: usize,
    pub from: Stamp,
    /// Exclusive; only without a cursor.
    pub to: Option<Stamp>,
    pub cursor: Option<Cursor>,
    pub rows_max: u32,
    /// Rows to skip, without a cursor: one of them can't be fetched.
    pub skip: u32,
}

/// What is to be stored of a page, and the stream's progress with it.
#[derive(Clone, Debug, PartialEq)]
pub struct StorePage {
    pub stream: usize,
    /// Indices of the page's rows that are new. Empty: only the progress is stored.
    pub fresh: Vec<u32>,
    pub progress: Progress,
    /// Where walks started before this page; a page without a new row moves that without being
    /// stored.
    pub walks_from: Stamp,
    /// Keys at or after it stay known: where walks start, or where the stream may go back to.
    pub ids_from: Stamp,
    /// The keys of the new rows at or after `ids_from`.
    pub known: Vec<RowKey>,
    /// A range that is not collected, to be noted as a gap in the same write.
    pub missed: Option<Missed>,
    /// If this page completes a list: the stamps of the records that only the list has brought.
    pub late: Vec<Stamp>,
    /// When SentinelOne's count was last compared.
    pub compared: Option<Stamp>,
}

/// A range of a stream that is passed over, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    pub from: Stamp,
    pub to: Stamp,
    pub reason: GapReason,
    /// What is known of the row that could not be fetched.
    pub unread: Unread,
    pub found_by: FoundBy,
}

/// How a range that is passed over was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    Walk,
    /// SentinelOne counts more records in it than were collected: a walk may have passed over one
    /// of them already, with a gap.
    Count,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Good,
    Doubted,
    Refused,
}

#[derive(Clone, Debug)]
pub struct Tenant {
    pub lane: Lane,
    pub token: Token,
    /// The stream whose 401 made the token doubtful.
    pub doubted_by: Option<(usize, String)>,
    pub clock: SourceClock,
    /// `/system/info` was answered since the start, or a page that was requested in its place.
    pub was_informed: bool,
    /// Failures of `/system/info` in a row that are not about the token.
    pub info_failures: u32,
    pub token_end: Option<Stamp>,
    pub token_end_due: Due,
}

impl Tenant {
    pub fn new(now: Mono, first: Span) -> Tenant {
        Tenant {
            lane: Lane::new(now, first),
            token: Token::Good,
            doubted_by: None,
            clock: SourceClock::default(),
            was_informed: false,
            info_failures: 0,
            token_end: None,
            token_end_due: Due::Never,
        }
    }

    /// Whether `/system/info` keeps failing: it is requested on, and nothing waits for it.
    pub fn info_fails(&self) -> bool {
        self.info_failures >= limits::INFO_FAILURES_MAX
    }

    /// One of its streams was answered with the present token, so an earlier failure of the
    /// tenant's own request is over; that request may never be made again.
    pub fn answers(&mut self, now: Mono) {
        if self.token == Token::Good && self.lane.failures > 0 && !self.info_fails() {
            let due = Due::At(now.max(self.lane.not_before));
            self.lane.succeed(now, due, Reason::Working);
        }
    }
}

/// What follows from a page, applied once the page is stored.
#[derive(Clone, Debug)]
pub struct Pending {
    pub keep: StorePage,
    pub(super) then: Then,
    /// How many rows of a page of the walk were read, and how long that took.
    pub(super) read: Option<(usize, Span)>,
    /// The earliest possible time of the answer, by SentinelOne's clock.
    pub(super) date: Option<Stamp>,
}

/// Where a stream without progress begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beginning {
    Known(Progress),
    /// More answers are needed to know the time.
    Untimed,
    /// `start` is ahead of every clock.
    Ahead,
}

#[derive(Clone, Debug)]
pub(super) enum Then {
    /// How the walk continues.
    Walk(Next),
    /// The page was listed to find late records: how many of its rows were collected without being
    /// counted so, and the stamps of those that were not collected.
    Listed(PageFacts, u64, Vec<Stamp>),
    /// No page: a list of late records keeps failing in this range.
    PassedOver(Unlistable),
    /// No page: SentinelOne counts more than it lists in the range that begins there.
    Overcounted(Stamp),
    /// No page: SentinelOne counts more threats by their last change than walks have read.
    Changed,
    /// The rows were requested by their place, near one that fails alone.
    Beside(beyond::Then),
    /// The page was requested to see whether anything is answered.
    Twin,
}

#[derive(Clone, Debug)]
pub struct Stream {
    pub plan: StreamPlan,
    pub lane: Lane,
    pub progress: Option<Progress>,
    pub known: Known,
    pub(super) walk: Option<Walk>,
    /// A position up to which everything was seen, while the stream has that position.
    pub(super) quiet: Option<Stamp>,
    /// Everything visible from before this was passed by the last walk, by a time on which two clocks
    /// agree.
    pub(super) walked: Option<Stamp>,
    pub rows: Rows,
    pub(super) beyond: Beyond,
    pub(super) twin: Twin,
    /// A walk has ended since the start.
    pub caught_up: bool,
    /// Records stored since the start.
    pub collected: u64,
    pub retention: Retention,
    pub(super) changed: Changed,
    pub reconcile: Reconcile,
    /// Why it is doubtful that the last walk saw everything, in words; shown until a walk ends
    /// without such a problem.
    pub condition: Option<(Reason, String)>,
    /// Whether the present walk has had such a problem, and whether any two of its rows came in
    /// order.
    pub(super) flawed: bool,
    shows_order: bool,
    /// Rows came in another order, and no walk has shown since that the order is kept.
    is_order_doubted: bool,
    /// Walks in a row that ended and had a blank page.
    blank_walks: u32,
    /// When the stream's beginning was stored, if that was in this process.
    pub began: Option<Mono>,
    /// Set if the position was ahead of SentinelOne's clock and nothing has contradicted that clock
    /// since.
    pub(super) called_ahead: Option<CalledAhead>,
    /// Set while its position has moved and no two clocks have agreed on the time since.
    pub(super) provisional: Option<Provisional>,
    /// A position that is ruled out is not set back before this.
    pub set_back_due: Mono,
    /// Why the stream must not be polled, whatever its lane says.
    pub hold: Option<Hold>,
    /// The console rejected a request to skip rows.
    pub(super) takes_no_skip: bool,
    pub(super) left_out: LeftOut,
    /// Rows outside of the requested range that the present or last walk has read.
    outside: u64,
}

impl Stream {
    pub fn new(plan: StreamPlan, held: StreamStatus, now: Mono, first: Span) -> Stream {
        let reconcile = Reconcile::new(plan.reconcile, held.compared, now);
        Stream {
            reconcile,
            beyond: Beyond::default(),
            twin: Twin::default(),
            plan,
            lane: match &held.hold {
                None => Lane::new(now, first),
                Some(hold) => Lane::held(now, hold),
            },
            hold: held.hold,
            progress: held.progress,
            known: Known::beside(held.known, held.covered),
            walk: None,
            quiet: None,
            walked: None,
            rows: Rows::new(None),
            caught_up: false,
            collected: 0,
            retention: Retention::default(),
            changed: Changed::default(),
            condition: None,
            flawed: false,
            shows_order: false,
            is_order_doubted: false,
            blank_walks: 0,
            began: None,
            called_ahead: None,
            provisional: None,
            set_back_due: now,
            takes_no_skip: false,
            left_out: LeftOut::default(),
            outside: 0,
        }
    }

    /// Begins with what earlier processes learned. `whole`: the time limit of an exchange.
    pub fn remembering(mut self, learned: &StreamLearned, whole: Option<Span>) -> Stream {
        self.rows = Rows::new(whole).remembering(learned);
        let from = self.progress.map(|progress| progress.from);
        self.beyond = Beyond::remembering(learned, from);
        self.provisional = Provisional::of_an_earlier_process(learned);
        self
    }

    /// The queue was opened again: its state of this stream counts, and the pending page is gone.
    /// Polled not before `soon`: a disk that keeps damaging frames must not make a loop of it (P6).
    pub fn reset(&mut self, held: StreamStatus, now: Mono, soon: Mono) {
        // While its position was ahead it passed over unseen records, even if the time has reached
        // it by now.
        let covered = if self.called_ahead.is_some() { Covered::default() } else { held.covered };
        let known = Known::beside(held.known, covered);
        if self.progress != held.progress || known.lacks_some_of(&self.known) {
            // It was set back, or records at its position were lost: it has to catch up again.
            self.caught_up = false;
            if self.lane.reason == Reason::PollInterval {
                self.lane.rest(now, Due::At(soon), Reason::Working);
            }
        }
        self.lane.due = self.lane.due.max(Due::At(soon));
        let place = |progress: Option<Progress>| progress.map(|progress| progress.position);
        if place(held.progress) < place(self.progress) {
            self.called_ahead = None;
        }
        self.progress = held.progress;
        self.known = known;
        (self.walk, self.quiet, self.walked) = (None, None, None);
        (self.left_out, self.twin) = (LeftOut::default(), Twin::default());
        self.beyond.acquit();
        self.changed.forget();
        self.reconcile.abandon();
    }

    pub fn kind(&self) -> Kind {
        self.plan.kind
    }

    /// Where a stream without progress begins.
    pub fn beginning(&self, tenant: &Tenant, now: Mono, clocks: Clocks) -> Beginning {
        let known = |from| Beginning::Known(Progress { position: from, from });
        let timed = tenant.clock.for_beginning(now, clocks);
        match self.plan.start {
            Start::At(stamp) => {
                let present = tenant.clock.present(now, clocks);
                // A tenant that sends no time can't be asked for it again.
                let is_mute = tenant.was_informed && !tenant.clock.was_told();
                match present {
                    // A `start` ahead by less than what clocks may differ is now: what comes until then is
                    // collected, and a correction of it finds no position ahead.
                    _ if present.allows(stamp) => {
                        known(present.earliest().map_or(stamp, |time| stamp.min(time)))
                    }
                    _ if timed.is_none() && !is_mute => Beginning::Untimed,
                    _ if present.rules_out(stamp) => Beginning::Ahead,
                    _ => known(stamp),
                }
            }
            Start::Now => timed.map_or(Beginning::Untimed, known),
            Start::Ago(span) => timed.map_or(Beginning::Untimed, |time| known(time - span)),
        }
    }

    /// The time up to which it claims to have collected: its position, or the position before
    /// damage set it back.
    pub fn stands(&self) -> Option<Stamp> {
        let position = self.progress?.position;
        Some(self.known.covered_to().map_or(position, |to| to.max(position)))
    }

    /// Whether its position is the one that SentinelOne's time gave it at its beginning, and it has
    /// seen no record since.
    pub fn is_at_its_start(&self) -> bool {
        let begins_by_time = !matches!(self.plan.start, Start::At(_));
        let stands = self.progress.is_some_and(|progress| progress.position == progress.from);
        let knows_none = self.known.count() == 0 && self.known.covered_to().is_none();
        begins_by_time && stands && knows_none
    }

    /// Where a stream begins whose position can't be right, and of which no earlier record is
    /// known; and whether records may have been missed before that. `None`: its `start` is ahead
    /// too.
    pub fn begins_anew(&self, earliest: Stamp, now: Mono) -> Option<(Progress, bool)> {
        let (from, is_open) = match self.plan.start {
            Start::At(stamp) => (stamp, false),
            Start::Now => self.first_contact(earliest, now),
            Start::Ago(span) => {
                let (contact, is_open) = self.first_contact(earliest, now);
                (contact - span, is_open)
            }
        };
        (from <= earliest).then_some((Progress { position: from, from }, is_open))
    }

    /// When the tenant was first contacted, and whether that may have been earlier.
    fn first_contact(&self, earliest: Stamp, now: Mono) -> (Stamp, bool) {
        match self.began {
            Some(began) => (earliest - now.since(began), false),
            None => (earliest, true),
        }
    }

    /// The stream's first progress, to be stored before its first page.
    pub fn begin(&mut self, keep: StorePage) -> Pending {
        let walk = Walk::starting(keep.progress.from);
        let then = Then::Walk(Next::page(walk));
        Pending { keep, then, read: None, date: None }
    }

    /// Whether the first row of a page makes it doubtful that SentinelOne still has everything
    /// since the last walk. Returns a time after the creation of the newest record that was read:
    /// if there still is any record from before it, nothing after that was deleted for its age.
    pub fn doubts(&mut self, page: &PageFacts, date: Option<Stamp>) -> Option<Stamp> {
        let (progress, walk) = (self.progress?, self.walk.as_ref()?);
        // A row that was read without a position, as the only one of its page, shows nothing of
        // earlier records.
        let began =
            progress.position != progress.from || self.known.reaches_back_to(progress.position);
        // The surroundings of a row that fails alone do not show which row is the first.
        let is_walk = self.beyond.asks().is_none() && !self.twin.is_asked();
        let mut dated = page.keys.iter().filter(|key| key.stamp != Stamp::UNREADABLE);
        let is_known =
            |key: &RowKey| self.known.has(key) || self.known.covers(key) || self.changed.has(key);
        let first = dated.next().filter(|key| is_walk && !is_known(key));
        match (first, date) {
            (Some(first), Some(date)) if began && walk.is_new() => {
                let read = progress.position.max(walk.from) + coarseness();
                self.retention.is_in_question(walk.from, first.stamp, date, read).then_some(read)
            }
            _ => None,
        }
    }

    pub fn fetch(&mut self, stream: usize) -> Fetch {
        let progress = self.progress.expect("a stream is fetched once it knows where from");
        if let Some(twin) = self.twin_fetch(stream) {
            return twin;
        }
        if let Some(Beside { from, to, skip, rows }) = self.beyond.asks() {
            return Fetch { stream, from, to, cursor: None, rows_max: rows, skip };
        }
        if self.beyond.takes_beginning() {
            self.walk = None;
        }
        if self.walk.is_none() {
            (self.flawed, self.outside) = (false, 0);
        }
        let start = self.next_start(progress);
        let begin = match self.walk.is_none() && self.kind() == Kind::Threats {
            true => self.changed.begins(start),
            false => start,
        };
        let walk = self.walk.get_or_insert_with(|| Walk::reading_again(begin, start));
        let (from, cursor, skip) = (walk.from, walk.cursor.clone(), walk.skip);
        Fetch { stream, from, to: None, cursor, rows_max: self.rows.now(), skip }
    }

    /// What is to be stored of a page.
    pub fn page(
        &mut self,
        stream: usize,
        page: &PageFacts,
        took: Span,
        present: Present,
    ) -> Pending {
        let progress = self.progress.expect("a page follows a fetch");
        if let Some(twin) = self.twin_page(stream, progress, present) {
            return twin;
        }
        if let Some(asked) = self.beyond.asks() {
            return self.rows_beside(stream, progress, asked, page, (took, present));
        }
        let overlap = self.plan.overlap;
        let mut walk = self.walk.take().unwrap_or_else(|| Walk::starting(progress.from));
        self.look_for_outside(&walk, &page.keys);
        let was_in_order = !walk.disordered;
        let is_joined = walk.is_joined(&self.known, &page.keys);
        let mut fresh = if is_joined { self.fresh_in(&walk, &page.keys) } else { vec![] };
        let missed = self.leave_out(&mut walk, &page.keys, &mut fresh, present);
        let passed = Passed {
            keys: &page.keys,
            fresh: fresh.len(),
            next: page.next.as_ref(),
            known: self.known.count(),
            covered: walk.covered(&self.known, &page.keys),
            asked: self.rows.now(),
            is_joined,
            may_skip: !self.takes_no_skip,
        };
        walk.has_blank |= walk.is_blank(&passed);
        walk.pass(&page.keys, present, took, overlap);
        walk.weigh(&self.known, self.is_order_doubted, passed.fresh);
        self.is_order_doubted = walk.disordered || (self.is_order_doubted && !walk.proves_order());
        if walk.disordered && was_in_order {
            let text = "the position does not move until all pages were read".to_owned();
            self.flaw(Reason::OrderIgnored, text);
        }
        let waits = self.waits_after_blank(&walk, walk.is_end(&passed));
        let is_whole = walk.is_end(&passed) && walk.has_seen_all() && !waits;
        if is_whole {
            walk.end(overlap);
        }
        // A record dated far in the future moves no position, because it would hide everything
        // until that day; nor do rows that came before others that are missing, or a few that are
        // in order by chance (keeps P1).
        let stands_still = waits || !walk.moves_on(&passed) && !is_whole;
        let position =
            if stands_still { progress.position } else { progress.position.max(walk.reached()) };
        // Pages before the first row out of order may have moved the start of the next walk: if
        // this walk breaks off, the next one starts where this one did.
        let from = match stands_still {
            true if walk.proves_order() => progress.from,
            true => progress.from.min(walk.start),
            false => walk.next_from(position, overlap).max(progress.from),
        };
        let progress = Progress { position, from };
        let keep = StorePage { missed, ..self.keep(stream, &page.keys, fresh, progress) };
        self.shows_order = walk.rose;
        if is_whole {
            self.walk_ends_at(position, &walk);
        }
        let read = Some((page.keys.len(), took));
        let then = Then::Walk(walk.after(passed));
        Pending { keep, then, read, date: present.earliest() }
    }

    /// Whether the position waits before a page that led on without a new row: one page does not show
    /// that nothing is there (keeps P1). A console may have such pages in each walk, and the ids of what
    /// comes after them are kept, so it waits for some walks only, and not for too many ids.
    fn waits_after_blank(&mut self, walk: &Walk, is_end: bool) -> bool {
        let waits = walk.has_blank
            && self.blank_walks < limits::BLANK_WALKS
            && self.known.count() < limits::KNOWN_IDS_MAX / 2;
        if is_end {
            self.blank_walks = if walk.has_blank { self.blank_walks.saturating_add(1) } else { 0 };
        }
        waits
    }

    fn look_for_outside(&mut self, walk: &Walk, keys: &[RowKey]) {
        let outside = keys.iter().filter(|key| key.stamp < walk.from - coarseness()).count();
        if outside > 0 {
            self.outside += outside as u64;
            let outside = count(self.outside, "record");
            self.ignores_filter(&format!(
                "{outside} outside of the requested range; skipped, and read again by each poll"
            ));
        }
    }

    /// Rows came that were not requested, so counts can't be trusted either.
    pub(super) fn ignores_filter(&mut self, text: &str) {
        if self.reconcile.is_on() {
            self.reconcile.refuse(text.to_owned());
        }
        self.flaw(Reason::FilterIgnored, text.to_owned());
    }

    /// The present walk has had a problem that makes it doubtful whether everything was seen. What it
    /// did read stays compared with the counts, which show what it missed.
    pub(super) fn flaw(&mut self, reason: Reason, text: String) {
        self.flawed = true;
        self.condition = Some((reason, text));
    }

    /// The page is stored, or had nothing new: the walk goes on after it.
    pub fn stored(&mut self, now: Mono, pace: Span, pending: Pending, backoff: &mut Backoff) {
        let taken = pending.keep.fresh.len() as u64;
        self.collected += taken;
        if let Some(missed) = &pending.keep.missed {
            self.left_out.noted(missed);
        }
        self.progress = Some(self.known.remember(&pending.keep.known, pending.keep.progress));
        let next = match pending.then {
            Then::Beside(then) => return self.stored_beside(now, then, backoff),
            Then::Twin => return self.twin_came(now, backoff),
            Then::PassedOver(range) => return self.reconcile.set_aside(now, range),
            Then::Overcounted(from) => return self.reconcile.overcounts.told(from),
            Then::Changed => return self.changed.told(),
            Then::Walk(next) => next,
            Then::Listed(page, unmatched, late) => {
                self.rows.read(page.keys.len(), Span::ZERO);
                self.changed.passed(&page.keys);
                return self.reconcile.listed(now, pace, &page, late, unmatched);
            }
        };
        if let Some((rows, took)) = pending.read {
            self.twin.page_came(taken > 0 || next == Next::Whole);
            self.rows.accepted();
            self.rows.page_read(rows, took, taken > 0);
        }
        let reached = match &next {
            Next::Page(walk) => Some(walk.next_row().from),
            _ => None,
        };
        self.beyond.passed(reached);
        self.go_on(now, next, taken, pending.date, backoff);
    }

    /// Goes on after a page of the walk with `taken` new rows; `date`: the earliest possible time of its
    /// answer, by SentinelOne's clock.
    fn go_on(
        &mut self,
        now: Mono,
        next: Next,
        taken: u64,
        date: Option<Stamp>,
        backoff: &mut Backoff,
    ) {
        let (reason, text) = match next {
            Next::Page(walk) => {
                self.walk = Some(*walk);
                // A question beside the page may have been put off.
                let due = Due::At(now.max(self.lane.not_before));
                // Pages without new rows may be the same ones again: no failure is over yet.
                match taken == 0 && self.lane.failures > 0 {
                    true => self.lane.due = due,
                    false => self.lane.succeed(now, due, Reason::Working),
                }
                return;
            }
            Next::Whole => {
                self.caught_up = true;
                self.progress = self.progress.map(|progress| self.known.after_whole_walk(progress));
                self.retention.walk_ended(date);
                // The order shows only if a walk has rows that are in order.
                let is_order = matches!(self.condition, Some((Reason::OrderIgnored, _)));
                if !self.flawed && (!is_order || self.shows_order) {
                    self.condition = None;
                }
                let due = Due::At(now + self.plan.poll_interval);
                return self.lane.succeed(now, due, Reason::PollInterval);
            }
            Next::Circle => (Reason::PagesLeadBack, "polling stops there".to_owned()),
            Next::NothingButEmptyPages => {
                let text =
                    format!("{} in a row, each with another cursor", limits::EMPTY_PAGES_MAX);
                (Reason::EmptyPages, text)
            }
            Next::Stuck => (Reason::CursorsRefused, self.lane.detail.clone()),
            Next::Unproven => {
                let text = "too few records came to show that they come in order".to_owned();
                (Reason::CursorsRefused, text)
            }
            Next::Again => return self.lane.succeed(now, Due::At(now), Reason::Working),
            Next::NoCursor => {
                let text = "the records behind it can't be requested in another way".to_owned();
                (Reason::CursorsMissing, text)
            }
            Next::RowsMoved => {
                let text = "records moved while those behind it were requested".to_owned();
                (Reason::CursorsMissing, text)
            }
        };
        self.flaw(reason, text.clone());
        let wait = backoff.after(self.lane.failures, None).max(self.plan.poll_interval);
        self.lane.fail(now, wait, reason, text);
    }

    /// Whether everything visible to walks was seen, up to where the next one starts.
    pub fn is_between_walks(&self) -> bool {
        self.caught_up && self.walk.is_none()
    }

    /// The page could not be stored: it is dropped, and requested again by time.
    pub fn not_stored(&mut self) {
        (self.walk, self.quiet, self.walked) = (None, None, None);
        self.twin = Twin::default();
        self.beyond.not_stored();
        self.changed.forget();
        self.reconcile.restart_listing();
    }
}

fn coarseness() -> Span {
    Span::seconds(limits::SOURCE_COARSENESS_SECONDS)
}

#[cfg(test)]
#[path = "tests/source.rs"]
mod tests;
