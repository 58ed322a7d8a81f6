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
//! records it speaks of; nothing but SentinelOne's own clock says where a stream starts (P8).

use crate::limits;
use crate::record::{Cursor, Hold, Kind, Progress, RowKey, SourceTrouble, Start, StreamHeld};
use crate::time::{Due, Mono, Span, Stamp};

use super::doubt::Doubt;
use super::lane::{Backoff, Lane, Why};
use super::plan::StreamPlan;
use super::reconcile::{Listed, Reconcile};
use super::walk::{Known, Walk};

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
    pub cursor: Option<Cursor>,
    pub rows_max: u32,
}

/// What of a page is to be kept, and how far the stream is then.
#[derive(Clone, Debug, PartialEq)]
pub struct Keep {
    pub stream: usize,
    /// Indices of the page's rows that were not seen before. Empty: only the progress is stored.
    pub fresh: Vec<u32>,
    pub progress: Progress,
    /// The fresh keys at or after `progress.from`.
    pub known: Vec<RowKey>,
    /// A range that SentinelOne does not have any more: to be noted as a gap in the same write.
    pub gone: Option<(Stamp, Stamp)>,
    /// When SentinelOne's count was last compared.
    pub compared: Option<Stamp>,
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
    pub doubted_by: Option<usize>,
    /// SentinelOne's clock, and when it said so.
    pub clock: Option<(Stamp, Mono)>,
    pub token_end: Option<Stamp>,
    pub token_end_due: Due,
}

impl Tenant {
    pub fn new(now: Mono, first: Span) -> Tenant {
        Tenant {
            lane: Lane::new(now, first),
            token: Token::Good,
            doubted_by: None,
            clock: None,
            token_end: None,
            token_end_due: Due::Never,
        }
    }

    /// SentinelOne's time now, by its own last word and the monotonic clock.
    pub fn now(&self, now: Mono) -> Option<Stamp> {
        self.clock.map(|(said, at)| said + now.since(at))
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
    then: Then,
    /// SentinelOne's time of the answer.
    date: Option<Stamp>,
}

#[derive(Clone, Debug)]
enum Then {
    /// The walk goes on here, or is at its end.
    Walk(Option<Walk>),
    /// The page was no walk's but listed to find late records; so many of its rows were collected
    /// without being counted as such.
    Listed(PageFacts, u64),
}

#[derive(Clone, Debug)]
pub struct Stream {
    pub plan: StreamPlan,
    pub lane: Lane,
    pub progress: Option<Progress>,
    pub known: Known,
    walk: Option<Walk>,
    pub rows_max: u32,
    /// A walk has reached its end since the start.
    pub caught_up: bool,
    /// Records taken in since the start.
    pub collected: u64,
    pub doubt: Doubt,
    pub reconcile: Reconcile,
    /// Why it must not be polled, whatever its lane says.
    pub hold: Option<Hold>,
}

impl Stream {
    pub fn new(plan: StreamPlan, held: StreamHeld, now: Mono, first: Span) -> Stream {
        let reconcile = Reconcile::new(plan.reconcile, held.compared, now);
        Stream {
            reconcile,
            plan,
            lane: match &held.hold {
                None => Lane::new(now, first),
                Some(hold) => Lane::held(now, hold),
            },
            hold: held.hold,
            progress: held.progress,
            known: Known::new(held.known),
            walk: None,
            rows_max: limits::PAGE_ROWS_MAX,
            caught_up: false,
            collected: 0,
            doubt: Doubt::default(),
        }
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
        self.walk = None;
        self.reconcile.abandon();
    }

    pub fn kind(&self) -> Kind {
        self.plan.kind
    }

    /// Where a stream without progress begins; `None` while SentinelOne's clock is not known.
    pub fn first_progress(&self, source_now: Option<Stamp>) -> Option<Progress> {
        let from = match self.plan.start {
            Start::At(stamp) => stamp,
            Start::Now => source_now?,
            Start::Ago(span) => source_now? - span,
        };
        Some(Progress { position: from, from })
    }

    /// The stream's first progress, to be stored before its first page.
    pub fn begin(&mut self, keep: Keep) -> Pending {
        let walk = Walk::starting(keep.progress.from);
        Pending { keep, then: Then::Walk(Some(walk)), date: None }
    }

    /// Whether what comes first on a page makes it doubtful that SentinelOne still has all there
    /// was since the last walk. Answers with a time that the newest record read was created
    /// before: if there is any such record still, nothing after it was deleted for its age.
    pub fn doubts(&mut self, page: &PageFacts) -> Option<Stamp> {
        let (progress, walk) = (self.progress?, self.walk.as_ref()?);
        let began = progress.position != progress.from || self.known.count() > 0;
        let first = page.keys.first().filter(|key| !self.known.has(key));
        match (first, page.date, &walk.cursor) {
            (Some(first), Some(date), None) if began => {
                let coarseness = Span::seconds(limits::SOURCE_COARSENESS_SECONDS);
                let read = progress.position.max(walk.from) + coarseness;
                self.doubt.rises(walk.from, first.stamp, date).then_some(read)
            }
            _ => None,
        }
    }

    pub fn fetch(&mut self, stream: usize) -> Fetch {
        let progress = self.progress.expect("a stream is fetched once it knows where from");
        let walk = self.walk.get_or_insert_with(|| Walk::starting(progress.from));
        Fetch { stream, from: walk.from, cursor: walk.cursor.clone(), rows_max: self.rows_max }
    }

    /// What is to be stored of a page.
    pub fn page(&mut self, stream: usize, page: &PageFacts) -> Pending {
        let progress = self.progress.expect("a page follows a fetch");
        let walk = self.walk.take().unwrap_or_else(|| Walk::starting(progress.from));
        // A record dated far ahead of SentinelOne's own clock moves no position, else it would
        // hide everything until that day (P1).
        let ahead = Span::minutes(limits::STAMP_AHEAD_OF_SOURCE_MINUTES_MAX);
        let believable = |stamp: Stamp| {
            stamp != Stamp::UNREADABLE && page.date.is_none_or(|date| stamp <= date + ahead)
        };
        let stamps = page.keys.iter().map(|key| key.stamp).filter(|stamp| believable(*stamp));
        let last = stamps.max().unwrap_or(progress.position);
        let position = progress.position.max(last);
        let after = walk.after_page(last, page.date, page.next.clone(), self.plan.overlap);
        let from = after.next_from(position, self.plan.overlap).max(progress.from);
        let progress = Progress { position, from };
        let fresh = self.known.fresh(&page.keys, walk.from);
        let keys = fresh.iter().map(|at| page.keys[*at as usize]);
        let known = keys.filter(|key| key.stamp >= from).collect();
        let after = after.counting(&fresh, page.keys.len());
        let goes_on = page.next.is_some() && !page.keys.is_empty() && !after.goes_in_circles();
        self.walk = Some(walk);
        let compared = self.reconcile.tale.compared;
        let keep = Keep { stream, fresh, progress, known, compared, gone: None };
        Pending { keep, then: Then::Walk(goes_on.then_some(after)), date: page.date }
    }

    /// What is to be stored of a page that was listed to find late records. The position stays.
    pub fn listed_page(&mut self, stream: usize, listed: Listed) -> Pending {
        let progress = self.progress.expect("only a stream that has begun is reconciled");
        let fresh = self.reconcile.fresh(&listed, |key| self.known.has(key));
        let keys = fresh.iter().map(|at| listed.page.keys[*at as usize]);
        // A walk may meet those again that changed lately.
        let known = keys.filter(|key| key.stamp >= progress.from).collect();
        let compared = self.reconcile.tale.compared;
        let keep = Keep { stream, fresh, progress, known, compared, gone: None };
        let unseen = listed.unseen.iter().filter(|unseen| **unseen).count();
        let unmatched = (unseen - keep.fresh.len()) as u64;
        Pending { keep, date: listed.page.date, then: Then::Listed(listed.page, unmatched) }
    }

    /// The page is in the queue, or had nothing new: go on after it.
    pub fn stored(&mut self, now: Mono, pace: Span, pending: Pending) {
        let taken = pending.keep.fresh.len() as u64;
        self.collected += taken;
        self.progress = Some(self.known.remember(&pending.keep.known, pending.keep.progress));
        match pending.then {
            Then::Walk(walk) => self.walk = walk,
            Then::Listed(page, unmatched) => {
                return self.reconcile.listed(now, pace, &page, taken, unmatched);
            }
        }
        if self.walk.is_some() {
            self.lane.succeed(now, Due::At(now), Why::Working);
        } else {
            self.caught_up = true;
            self.doubt.walk_ended(pending.date);
            self.lane.succeed(now, Due::At(now + self.plan.poll_interval), Why::PollInterval);
        }
        // A page that was too long is the exception; go back to full pages step by step.
        self.rows_max = self.rows_max.saturating_mul(2).min(limits::PAGE_ROWS_MAX);
    }

    /// Whether everything that a walk sees was seen, up to where the next one begins.
    pub fn is_between_walks(&self) -> bool {
        self.caught_up && self.walk.is_none()
    }

    /// The page could not be stored: it is forgotten and will be asked for again by time.
    pub fn not_stored(&mut self) {
        self.walk = None;
        self.reconcile.restart_listing();
    }

    /// The page has no room although nothing waits that could make some: fewer rows may have.
    pub fn shrink(&mut self) {
        self.rows_max = (self.rows_max / 2).max(1);
    }

    /// What a failed fetch means for this stream. Doubts about the token are the tenant's.
    pub fn fail(&mut self, now: Mono, trouble: SourceTrouble, backoff: &mut Backoff) {
        let failures = self.lane.failures;
        let (wait, why, detail) = match trouble {
            SourceTrouble::Busy { retry_after } => {
                let told = retry_after.map_or_else(String::new, |s| format!("Retry-After {s}"));
                self.lane.heed(now, retry_after);
                (backoff.after(failures, retry_after), Why::Busy, told)
            }
            SourceTrouble::Unreachable(net) => {
                (backoff.after(failures, None), Why::of(&net), net.to_string())
            }
            SourceTrouble::BrokenAnswer(text) => {
                (backoff.after(failures, None), Why::BrokenAnswer, text)
            }
            SourceTrouble::TooLong => {
                // Fewer rows make a shorter page.
                self.shrink();
                let text = "the page is longer than allowed; asking for fewer rows".to_owned();
                (backoff.after(failures, None), Why::BrokenAnswer, text)
            }
            SourceTrouble::QueryRefused(text) => {
                // A cursor that is refused is given up at once: the walk goes on by time.
                match self.walk.take().is_some_and(|walk| walk.cursor.is_some()) {
                    true => (backoff.after(failures, None), Why::BrokenAnswer, text),
                    false => (backoff.long(), Why::QueryRefused, text),
                }
            }
            SourceTrouble::Misdirected(text) => (backoff.long(), Why::Misdirected, text),
            SourceTrouble::Forbidden => {
                let text = format!("grant \"{}\"", self.plan.kind.permission());
                (backoff.long(), Why::PermissionMissing, text)
            }
            SourceTrouble::TokenDoubted | SourceTrouble::TokenRefused => {
                (backoff.long(), Why::TokenRefused, String::new())
            }
        };
        self.lane.fail(now, wait, why, detail);
    }
}
