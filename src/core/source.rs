//! The SentinelOne side: tenants with their tokens, streams with their walks.
//!
//! A tenant's token:
//!
//! ```text
//!   good --401 on a stream--> doubted --401 on /system/info--> refused --token changed--> good
//!     ^--------------------------'  200: that stream lacks the permission, the token is good
//! ```
//!
//! Promises: one stream's refusal never stops another; a position moves only together with the
//! records it speaks of, and only as far as the time is confirmed; what a page claims and does not
//! keep (order, range, cursors) is shown for as long as it lasts (P1, P8).

use crate::limits;
use crate::plain::count;
use crate::record::{
    Cursor, GapReason, Hold, Kind, Progress, RowKey, Start, StreamHeld, StreamLearned, Unread,
};
use crate::time::{Clocks, Due, Mono, Span, Stamp};

use super::beyond::{self, Beyond, Rows as Beside};
use super::doubt::Doubt;
use super::lane::{Backoff, Lane, Why};
use super::plan::StreamPlan;
use super::reconcile::Reconcile;
use super::rows::Rows;
use super::source_clock::{Present, SourceClock};
use super::walk::{Known, Next, Passed, Walk};

/// What a page holds, as far as the core cares: the rows' keys, not their bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct PageFacts {
    pub keys: Vec<RowKey>,
    pub next: Option<Cursor>,
    /// The answer's `Date`.
    pub date: Option<Stamp>,
}

/// What to ask a tenant for.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetch {
    pub stream: usize,
    pub from: Stamp,
    /// Exclusive; only without a cursor.
    pub to: Option<Stamp>,
    pub cursor: Option<Cursor>,
    pub rows_max: u32,
    /// Rows to pass over, without a cursor: one of them can't be fetched.
    pub skip: u32,
}

/// What of a page is to be kept, and how far the stream is then.
#[derive(Clone, Debug, PartialEq)]
pub struct Keep {
    pub stream: usize,
    /// Indices of the page's rows that were not seen before. Empty: only the progress is stored.
    pub fresh: Vec<u32>,
    pub progress: Progress,
    /// Where walks began before this page; a page without a new row moves it without being stored.
    pub walks_from: Stamp,
    /// The fresh keys at or after `progress.from`.
    pub known: Vec<RowKey>,
    /// A range that is not collected: to be noted as a gap in the same write.
    pub missed: Option<Missed>,
    /// When SentinelOne's count was last compared.
    pub compared: Option<Stamp>,
}

/// A range of a stream that is passed over, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    pub from: Stamp,
    pub to: Stamp,
    pub reason: GapReason,
    /// What is known of the row that could not be fetched.
    pub unread: Unread,
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
    /// The stream whose 401 put the token in doubt.
    pub doubted_by: Option<(usize, String)>,
    pub clock: SourceClock,
    /// `/system/info` was answered since the start.
    pub was_informed: bool,
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
            token_end: None,
            token_end_due: Due::Never,
        }
    }

    /// One of its streams was answered with the token that counts, so whatever an earlier question of
    /// its own met is over; nobody may ever ask that question again.
    pub fn answers(&mut self, now: Mono) {
        if self.token == Token::Good && self.lane.failures > 0 {
            let due = Due::At(now.max(self.lane.not_before));
            self.lane.succeed(now, due, Why::Working);
        }
    }
}

/// What follows from a page, done once the page is stored.
#[derive(Clone, Debug)]
pub struct Pending {
    pub keep: Keep,
    pub(super) then: Then,
    /// How many rows were read, and how long that took.
    pub(super) read: (usize, Span),
    /// The earliest that SentinelOne's time of the answer can be.
    pub(super) date: Option<Stamp>,
}

/// Where a stream without progress begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beginning {
    Known(Progress),
    /// More answers are needed to know the time.
    Untimed,
    /// `start` lies ahead of every clock.
    Ahead,
}

#[derive(Clone, Debug)]
pub(super) enum Then {
    /// How the walk goes on.
    Walk(Next),
    /// The page was no walk's but listed to find late records; so many of its rows were collected
    /// without being counted as such.
    Listed(PageFacts, u64),
    /// The rows were asked for by their place, near one that fails alone.
    Beside(beyond::Then),
}

#[derive(Clone, Debug)]
pub struct Stream {
    pub plan: StreamPlan,
    pub lane: Lane,
    pub progress: Option<Progress>,
    pub known: Known,
    pub(super) walk: Option<Walk>,
    /// A position up to which all was seen, while the stream stands there.
    pub(super) quiet: Option<Stamp>,
    pub rows: Rows,
    pub(super) beyond: Beyond,
    /// A walk has reached its end since the start.
    pub caught_up: bool,
    /// Records taken in since the start.
    pub collected: u64,
    pub doubt: Doubt,
    pub reconcile: Reconcile,
    /// What its last walk met that leaves it doubtful whether all was seen, in words; shown until a
    /// walk comes to its end without.
    pub condition: Option<(Why, String)>,
    /// Whether the walk under way met such a thing, and whether any two of its rows came in order.
    pub(super) flawed: bool,
    shows_order: bool,
    /// Rows came in another order, and no walk has shown since that it is kept.
    is_order_doubted: bool,
    /// When the stream's beginning was stored, if that was in this process.
    pub began: Option<Mono>,
    /// A position that is ruled out is set back no sooner.
    pub set_back_due: Mono,
    /// Why it must not be polled, whatever its lane says.
    pub hold: Option<Hold>,
}

impl Stream {
    pub fn new(plan: StreamPlan, held: StreamHeld, now: Mono, first: Span) -> Stream {
        let reconcile = Reconcile::new(plan.reconcile, held.compared, now);
        Stream {
            reconcile,
            beyond: Beyond::default(),
            plan,
            lane: match &held.hold {
                None => Lane::new(now, first),
                Some(hold) => Lane::held(now, hold),
            },
            hold: held.hold,
            progress: held.progress,
            known: Known::new(held.known),
            walk: None,
            quiet: None,
            rows: Rows::new(None),
            caught_up: false,
            collected: 0,
            doubt: Doubt::default(),
            condition: None,
            flawed: false,
            shows_order: false,
            is_order_doubted: false,
            began: None,
            set_back_due: now,
        }
    }

    /// Begins with what earlier processes learned. `whole`: how long an exchange may take.
    pub fn remembering(mut self, learned: &StreamLearned, whole: Option<Span>) -> Stream {
        self.rows = Rows::new(whole).remembering(learned);
        let from = self.progress.map(|progress| progress.from);
        self.beyond = Beyond::remembering(learned, from);
        self
    }

    /// The queue was opened anew: what it says of this stream holds, what was in hand is gone.
    /// Not before `soon`: a disk that damages what it is given must not make a loop of it (P6).
    pub fn reset(&mut self, held: StreamHeld, now: Mono, soon: Mono) {
        let known = Known::new(held.known);
        if self.progress != held.progress || known.lacks_some_of(&self.known) {
            // It went back, or what lay at its very position was lost: there is something to catch
            // up with again.
            self.caught_up = false;
            if self.lane.why == Why::PollInterval {
                self.lane.rest(now, Due::At(soon), Why::Working);
            }
        }
        self.lane.due = self.lane.due.max(Due::At(soon));
        self.progress = held.progress;
        self.known = known;
        (self.walk, self.quiet) = (None, None);
        self.beyond.acquit();
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
                // A tenant that tells no time can't be asked for more of it.
                let is_mute = tenant.was_informed && !tenant.clock.was_told();
                match present {
                    _ if present.allows(stamp) => known(stamp),
                    _ if timed.is_none() && !is_mute => Beginning::Untimed,
                    _ if present.rules_out(stamp) => Beginning::Ahead,
                    _ => known(stamp),
                }
            }
            Start::Now => timed.map_or(Beginning::Untimed, known),
            Start::Ago(span) => timed.map_or(Beginning::Untimed, |time| known(time - span)),
        }
    }

    /// Whether it stands where SentinelOne's time made it begin, and has seen no record since.
    pub fn is_at_its_start(&self) -> bool {
        let begins_by_time = !matches!(self.plan.start, Start::At(_));
        let stands = self.progress.is_some_and(|progress| progress.position == progress.from);
        begins_by_time && stands && self.known.count() == 0
    }

    /// Where a stream begins that was found to stand where it can't, and of which nothing is known
    /// that was collected; and whether something may lie before that. `None`: its `start` lies
    /// ahead too.
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

    /// When the tenant was first asked, and whether that may have been earlier.
    fn first_contact(&self, earliest: Stamp, now: Mono) -> (Stamp, bool) {
        match self.began {
            Some(began) => (earliest - now.since(began), false),
            None => (earliest, true),
        }
    }

    /// The stream's first progress, to be stored before its first page.
    pub fn begin(&mut self, keep: Keep) -> Pending {
        let walk = Walk::starting(keep.progress.from);
        let then = Then::Walk(Next::Page(walk));
        Pending { keep, then, read: (0, Span::ZERO), date: None }
    }

    /// Whether what comes first on a page makes it doubtful that SentinelOne still has all there
    /// was since the last walk. Answers with a time that the newest record read was created
    /// before: if there is any such record still, nothing after it was deleted for its age.
    pub fn doubts(&mut self, page: &PageFacts, date: Option<Stamp>) -> Option<Stamp> {
        let (progress, walk) = (self.progress?, self.walk.as_ref()?);
        // A row that was read without a position, as the only one of its page, tells of nothing before it.
        let began =
            progress.position != progress.from || self.known.reaches_back_to(progress.position);
        // What stands around a row that fails alone says nothing of what comes first.
        let is_walk = self.beyond.asks().is_none();
        let first = page.keys.first().filter(|key| is_walk && !self.known.has(key));
        match (first, date) {
            (Some(first), Some(date)) if began && walk.is_new() => {
                let read = progress.position.max(walk.from) + coarseness();
                self.doubt.rises(walk.from, first.stamp, date).then_some(read)
            }
            _ => None,
        }
    }

    pub fn fetch(&mut self, stream: usize) -> Fetch {
        let progress = self.progress.expect("a stream is fetched once it knows where from");
        if let Some(Beside { from, to, skip, rows }) = self.beyond.asks() {
            return Fetch { stream, from, to, cursor: None, rows_max: rows, skip };
        }
        if self.beyond.takes_beginning() {
            self.walk = None;
        }
        if self.walk.is_none() {
            self.flawed = false;
        }
        let begin = self.next_start(progress);
        let walk = self.walk.get_or_insert_with(|| Walk::starting(begin));
        let (from, cursor) = (walk.from, walk.cursor.clone());
        Fetch { stream, from, to: None, cursor, rows_max: self.rows.now(), skip: 0 }
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
        if let Some(asked) = self.beyond.asks() {
            return self.rows_beside(stream, progress, asked, page, (took, present));
        }
        let overlap = self.plan.overlap;
        let mut walk = self.walk.take().unwrap_or_else(|| Walk::starting(progress.from));
        let outside = page.keys.iter().filter(|key| key.stamp < walk.from - coarseness()).count();
        if outside > 0 {
            let text = format!(
                "{outside} of {} outside of the requested range; skipped",
                count(page.keys.len(), "record")
            );
            self.reconcile.refuse(text.clone());
            self.flaw(Why::FilterIgnored, text);
        }
        let was_in_order = !walk.disordered;
        let mut fresh = self.known.fresh(&page.keys, walk.from);
        fresh.retain(|at| !walk.has_passed(&page.keys[*at as usize]));
        walk.pass(&page.keys, present, took, overlap);
        walk.weigh(&self.known, self.is_order_doubted);
        self.is_order_doubted = walk.disordered || (self.is_order_doubted && !walk.proves_order());
        if walk.disordered && was_in_order {
            let text = "the position does not move until all pages were read".to_owned();
            self.flaw(Why::OrderIgnored, text);
        }
        let is_whole = page.next.is_none();
        if is_whole {
            walk.end(overlap);
        }
        // A record dated far ahead moves no position, else it would hide everything until that day; nor do
        // rows that came before others that are owed, or a few that rise by chance (keeps P1).
        let stands_still = !walk.proves_order() && !is_whole;
        let position =
            if stands_still { progress.position } else { progress.position.max(walk.reached()) };
        // Pages before the first row out of order may have moved where the next walk begins: should
        // this one break off, it begins where this one did.
        let from = match stands_still {
            true => progress.from.min(walk.start),
            false => walk.next_from(position, overlap).max(progress.from),
        };
        let progress = Progress { position, from };
        let keep = self.keep(stream, &page.keys, fresh, progress);
        let (next, known) = (page.next.as_ref(), self.known.count());
        let passed = Passed { keys: &page.keys, fresh: keep.fresh.len(), next, known };
        self.shows_order = walk.rose;
        if is_whole {
            self.walk_ends_at(position, &walk);
        }
        let read = (page.keys.len(), took);
        let then = Then::Walk(walk.after(passed));
        Pending { keep, then, read, date: present.earliest() }
    }

    /// The walk under way met what leaves it doubtful whether all is seen.
    pub(super) fn flaw(&mut self, why: Why, text: String) {
        self.flawed = true;
        self.condition = Some((why, text));
    }

    /// The page is in the queue, or had nothing new: go on after it.
    pub fn stored(&mut self, now: Mono, pace: Span, pending: Pending, backoff: &mut Backoff) {
        let taken = pending.keep.fresh.len() as u64;
        self.collected += taken;
        self.progress = Some(self.known.remember(&pending.keep.known, pending.keep.progress));
        let next = match pending.then {
            Then::Beside(then) => return self.stored_beside(now, then, backoff),
            Then::Walk(next) => next,
            Then::Listed(page, unmatched) => {
                self.rows.read(page.keys.len(), Span::ZERO);
                return self.reconcile.listed(now, pace, &page, taken, unmatched);
            }
        };
        let (rows, took) = pending.read;
        self.rows.read(rows, took);
        let reached = match &next {
            Next::Page(walk) => Some(walk.reached()),
            _ => None,
        };
        self.beyond.passed(reached);
        let (why, text) = match next {
            Next::Page(walk) => {
                self.walk = Some(walk);
                // Pages that bring nothing new may be the same ones again: no failure is over yet.
                match taken == 0 && self.lane.failures > 0 {
                    true => self.lane.due = Due::At(now),
                    false => self.lane.succeed(now, Due::At(now), Why::Working),
                }
                return;
            }
            Next::Whole => {
                self.caught_up = true;
                self.progress = self.progress.map(|progress| self.known.after_whole_walk(progress));
                self.doubt.walk_ended(pending.date);
                // Order shows only where a walk has rows that rise.
                let is_order = matches!(self.condition, Some((Why::OrderIgnored, _)));
                if !self.flawed && (!is_order || self.shows_order) {
                    self.condition = None;
                }
                let due = Due::At(now + self.plan.poll_interval);
                return self.lane.succeed(now, due, Why::PollInterval);
            }
            Next::Circle => (Why::PagesLeadBack, "polling stops there".to_owned()),
            Next::NothingButEmptyPages => {
                let text =
                    format!("{} in a row, each with another cursor", limits::EMPTY_PAGES_MAX);
                (Why::EmptyPages, text)
            }
            Next::Stuck => (Why::CursorsRefused, self.lane.detail.clone()),
        };
        self.flaw(why, text.clone());
        let wait = backoff.after(self.lane.failures, None).max(self.plan.poll_interval);
        self.lane.fail(now, wait, why, text);
    }

    /// Whether everything that a walk sees was seen, up to where the next one begins.
    pub fn is_between_walks(&self) -> bool {
        self.caught_up && self.walk.is_none()
    }

    /// The page could not be stored: it is forgotten and will be asked for again by time.
    pub fn not_stored(&mut self) {
        (self.walk, self.quiet) = (None, None);
        self.beyond.not_stored();
        self.reconcile.restart_listing();
    }
}

fn coarseness() -> Span {
    Span::seconds(limits::SOURCE_COARSENESS_SECONDS)
}
