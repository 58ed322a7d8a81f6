//! Lying peers: what the two services claim in a life that is not so, and when.
//!
//! Promises: the lies of a life follow from its seed and are drawn apart from all else, so that a
//! seed keeps its life but for them; each ends with the faults of the life, unless it is one of
//! those that last for ever. Never: says what a program should make of a lie; the oracle does.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;

use s1_coralogix::prng::Prng;
use s1_coralogix::time::{BUILT_AT, Span, Stamp};

use crate::tenant::{Order, PageLies};

const HOUR: u64 = 3_600_000;
const DAY: Span = Span::hours(24);
/// Of how many records one batch or one stamp tells a lie of this kind, where not of all.
const ONE_IN: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Source,
    Sink,
}

/// How a `Date` is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Off {
    /// By 30 hours, or by as much and the year that `start` may lie back.
    Ahead,
    YearsAhead,
    Behind,
    Epoch,
    BeforeBuild,
    Missing,
    Jumping,
}

/// What is claimed and not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    Date(Side, Off),
    /// A 200 with a web page, which takes nothing.
    WebPage,
    /// 203, 206 or 226, which takes nothing either.
    OddSuccess,
    /// A 200 that says how many records it dropped.
    DropsAll,
    DropsSome,
    /// A 200 with words nobody knows; everything is taken.
    Remark,
    /// Every batch that holds a marked record is answered with 403, and an empty one is not.
    ContentForbidden,
    ErrorsBeside,
    EmptyFirst,
    EmptyMiddle,
    NoRecords,
    LeadsBack,
    /// No page has a cursor, and a gateway gives up on long ones, so that full pages are not the last.
    NoCursor,
    NewestFirst,
    Shuffled,
    FilterIgnored,
    CursorsRefused,
    CursorsExpire,
    DataTwice,
    BlockPage,
    StreamForbidden,
    Portal,
    NoZone,
    PlainOffset,
    EpochMs,
    Unreadable,
    FarAhead,
    /// The console's clock and the stamps of its records are two days ahead, and then corrected.
    ClockAhead,
    /// A record dated far ahead, and a `Date` that is now and then beyond it.
    FarAheadBelieved,
    /// Pages that lead on lack some of their rows.
    LacksRows,
}

use Claim::*;

/// Each kind under its name. The last two are drawn apart, so that a seed keeps the life it had without them.
pub const KINDS: [(&str, Claim); 43] = [
    ("source-date-ahead", Date(Side::Source, Off::Ahead)),
    ("source-date-years-ahead", Date(Side::Source, Off::YearsAhead)),
    ("source-date-behind", Date(Side::Source, Off::Behind)),
    ("source-date-1970", Date(Side::Source, Off::Epoch)),
    ("source-date-before-build", Date(Side::Source, Off::BeforeBuild)),
    ("source-date-missing", Date(Side::Source, Off::Missing)),
    ("source-date-jumping", Date(Side::Source, Off::Jumping)),
    ("sink-date-ahead", Date(Side::Sink, Off::Ahead)),
    ("sink-date-years-ahead", Date(Side::Sink, Off::YearsAhead)),
    ("sink-date-behind", Date(Side::Sink, Off::Behind)),
    ("sink-date-1970", Date(Side::Sink, Off::Epoch)),
    ("sink-date-before-build", Date(Side::Sink, Off::BeforeBuild)),
    ("sink-date-missing", Date(Side::Sink, Off::Missing)),
    ("sink-date-jumping", Date(Side::Sink, Off::Jumping)),
    ("sink-web-page", WebPage),
    ("sink-odd-success", OddSuccess),
    ("sink-drops-all", DropsAll),
    ("sink-drops-some", DropsSome),
    ("sink-remark", Remark),
    ("sink-content-forbidden", ContentForbidden),
    ("page-errors", ErrorsBeside),
    ("page-empty-first", EmptyFirst),
    ("page-empty-middle", EmptyMiddle),
    ("page-no-records", NoRecords),
    ("page-leads-back", LeadsBack),
    ("order-newest-first", NewestFirst),
    ("order-shuffled", Shuffled),
    ("filter-ignored", FilterIgnored),
    ("cursors-refused", CursorsRefused),
    ("cursors-expire", CursorsExpire),
    ("page-data-twice", DataTwice),
    ("source-block-page", BlockPage),
    ("stream-forbidden", StreamForbidden),
    ("source-portal", Portal),
    ("stamps-no-zone", NoZone),
    ("stamps-plain-offset", PlainOffset),
    ("stamps-epoch-ms", EpochMs),
    ("stamps-unreadable", Unreadable),
    ("stamps-far-ahead", FarAhead),
    ("source-clock-ahead", ClockAhead),
    ("stamps-far-ahead-believed", FarAheadBelieved),
    ("page-no-cursor", NoCursor),
    ("page-lacks-rows", LacksRows),
];
/// So many of them are drawn together.
const DRAWN: u64 = 41;

impl Claim {
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, claim)| *claim == self).expect("each has a name").0
    }

    /// Whether it is in the records from when they are made.
    pub fn is_of_records(self) -> bool {
        matches!(
            self,
            NoZone
                | PlainOffset
                | EpochMs
                | Unreadable
                | FarAhead
                | ClockAhead
                | FarAheadBelieved
                | ContentForbidden
        )
    }

    pub fn is_of_pages(self) -> bool {
        matches!(
            self,
            EmptyFirst
                | EmptyMiddle
                | NoRecords
                | LeadsBack
                | NoCursor
                | NewestFirst
                | Shuffled
                | FilterIgnored
                | CursorsRefused
                | CursorsExpire
                | DataTwice
                | LacksRows
        )
    }

    /// Whether it tells a wrong time, by which a position may have to be set back.
    pub fn is_of_time(self) -> bool {
        matches!(self, Date(..) | FarAhead | ClockAhead | FarAheadBelieved)
    }

    /// Whether records may arrive twice for it: positions that were truly ahead are set back, and
    /// what lay at them is no longer known; so are those that SentinelOne alone calls ahead, on a box where
    /// nobody else tells the time. Pages whose first rows came in order move where the next walk begins,
    /// and what is older is not known to a walk that breaks off.
    pub fn repeats(self) -> bool {
        let is_behind = matches!(self, Date(Side::Source, Off::Behind | Off::Jumping));
        is_behind || matches!(self, ClockAhead | FarAheadBelieved | NewestFirst | Shuffled)
    }

    /// Whether records may come in another order than they stand in. Rows of a console without cursors are
    /// asked for by their place, and what moves meanwhile comes with the next walk.
    pub fn reorders(self) -> bool {
        let is_of_time = matches!(self, ClockAhead | FarAheadBelieved);
        is_of_time || matches!(self, NewestFirst | Shuffled | NoCursor | LacksRows)
    }

    /// Whether the source tells no time that can be one.
    pub fn is_mute(self) -> bool {
        matches!(self, Date(Side::Source, Off::Missing | Off::Epoch | Off::BeforeBuild))
    }

    /// Whether by the sink's clock everything is older than it is, or further ahead.
    pub fn misdates(self) -> bool {
        let off = matches!(self, Date(Side::Sink, Off::Ahead | Off::YearsAhead | Off::Jumping));
        off || self == Date(Side::Sink, Off::Behind)
    }

    pub fn drops(self) -> bool {
        matches!(self, DropsAll | DropsSome)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum When {
    /// The first so many times that it can be told.
    First(u64),
    /// Once, at or after this time; in milliseconds since birth, as below.
    Once(u64),
    While(Range<u64>),
    Ever(u64),
}

#[derive(Clone, Debug)]
pub struct Lie {
    pub claim: Claim,
    when: When,
    /// Which of its variants is told.
    variant: u64,
    /// How often it could have been told, and how often it was.
    chances: u64,
    told: u64,
}

#[derive(Clone, Debug)]
pub struct Lies {
    pub all: Vec<Lie>,
    prng: Prng,
}

impl Lie {
    fn draw(claim: Claim, end: u64, prng: &mut Prng) -> Lie {
        let from = prng.below(end);
        let longest = if claim.drops() { 3 * HOUR } else { 20 * HOUR };
        let lasting = When::While(from..(from + 1 + prng.below(longest)).min(end));
        let ever = When::Ever(from);
        let when = match (claim, prng.below(100)) {
            (ClockAhead | FarAheadBelieved, _) => lasting,
            (ContentForbidden, _) => When::Ever(0),
            (Date(..), 0..35) => When::First(1 + prng.below(3)),
            (Date(..), 35..55) => When::Once(from),
            (_, 0..25) if !claim.is_of_records() && !claim.is_of_time() => When::Once(from),
            (_, 90..) => ever,
            _ => lasting,
        };
        Lie { claim, when, variant: prng.next_u64(), chances: 0, told: 0 }
    }

    /// Whether it is in a record made then.
    fn is_in(&self, made_at: u64) -> bool {
        match &self.when {
            When::While(range) => range.contains(&made_at),
            When::Ever(from) => made_at >= *from,
            When::First(_) | When::Once(_) => false,
        }
    }

    fn is_told(&mut self, now: u64) -> bool {
        let is_told = match &self.when {
            When::First(times) => self.chances < *times,
            When::Once(from) => now >= *from && self.told == 0,
            _ => self.is_in(now),
        };
        self.chances += 1;
        self.told += u64::from(is_told);
        is_told
    }
}

/// The lie that is told in every life: `S1C_LIE` names it, or `none`.
pub fn forced() -> Option<&'static str> {
    static FORCED: OnceLock<Option<String>> = OnceLock::new();
    FORCED.get_or_init(|| std::env::var("S1C_LIE").ok()).as_deref()
}

impl Lies {
    /// Half of all lives are told the truth, and most others one lie, unless one is forced.
    pub fn draw(seed: u64, end: u64, forced: Option<&str>) -> Lies {
        let mut prng = Prng::new(seed ^ 0x11e5_11e5);
        let many = [0, 0, 0, 0, 0, 1, 1, 1, 2, 3][prng.below(10) as usize];
        let mut claims: BTreeSet<Claim> =
            (0..many).map(|_| KINDS[prng.below(DRAWN) as usize].1).collect();
        if claims.is_empty() && Prng::new(seed ^ 0x0c02_50e8).chance(8) {
            claims.insert(NoCursor);
        }
        if claims.is_empty() && Prng::new(seed ^ 0x1ac5_4055).chance(8) {
            claims.insert(LacksRows);
        }
        if let Some(name) = forced {
            let forced = KINDS.iter().filter(|(known, _)| *known == name);
            claims = forced.map(|(_, claim)| *claim).collect();
            assert!(claims.len() == 1 || name == "none", "S1C_LIE is none of {KINDS:?}");
        }
        let all = claims.into_iter().map(|claim| Lie::draw(claim, end, &mut prng)).collect();
        Lies { all, prng }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The names of those that were told.
    pub fn told(&self) -> Vec<&'static str> {
        self.all.iter().filter(|lie| lie.told > 0).map(|lie| lie.claim.name()).collect()
    }

    /// Whether one was told for which this is so.
    pub fn told_any(&self, is_so: impl Fn(Claim) -> bool) -> bool {
        self.all.iter().any(|lie| lie.told > 0 && is_so(lie.claim))
    }

    /// Whether pages lacked a row.
    pub fn lack(&self, id: u64) -> bool {
        let mut told = self.all.iter().filter(|lie| lie.claim == LacksRows && lie.told > 0);
        told.any(|lie| is_lacked(id, lie.variant))
    }

    /// Whether the source's clock and the sink's lie in one life: they may agree with each other, and two that
    /// agree and that nobody outvotes can't be told from the truth.
    pub fn may_agree(&self) -> bool {
        let is_source = |claim| matches!(claim, ClockAhead | Date(Side::Source, _));
        self.told_any(is_source) && self.told_any(|claim| matches!(claim, Date(Side::Sink, _)))
    }

    /// How often a time was told that was wrong, three times of a kind at most: each may shut a window.
    pub fn dates_told(&self) -> u64 {
        let dates = self.all.iter().filter(|lie| lie.claim.is_of_time());
        dates.map(|lie| lie.told.min(3)).sum()
    }

    /// Whether one is to come, or was told, for which this is so.
    pub fn any(&self, is_so: impl Fn(Claim) -> bool) -> bool {
        self.all.iter().any(|lie| is_so(lie.claim))
    }

    /// Whether one never ends, so that not everything has to arrive.
    pub fn last_for_ever(&self) -> bool {
        let mut lasting = self.all.iter().filter(|lie| matches!(lie.when, When::Ever(_)));
        lasting.any(|lie| !lie.claim.is_of_records())
    }

    /// Whether such a lie is told now; answers with its variant.
    pub fn tells(&mut self, claim: Claim, now: u64) -> Option<u64> {
        let lie = self.all.iter_mut().find(|lie| lie.claim == claim)?;
        lie.is_told(now).then_some(lie.variant)
    }

    /// The `Date` of an answer; `None`: it has none.
    pub fn date(&mut self, side: Side, now: u64, truth: Stamp) -> Option<Stamp> {
        let year = DAY.times(365);
        for at in 0..self.all.len() {
            let lie = &mut self.all[at];
            let of_time = match lie.claim {
                Date(of, _) => of == side,
                ClockAhead | FarAheadBelieved => side == Side::Source,
                _ => false,
            };
            if !of_time || !lie.is_told(now) {
                continue;
            }
            let variant = lie.variant;
            return match lie.claim {
                Date(_, Off::Ahead) if variant.is_multiple_of(2) => Some(truth + Span::hours(30)),
                Date(_, Off::Ahead) => Some(truth + Span::hours(30) + year),
                Date(_, Off::YearsAhead) => Some(truth + year.times(10)),
                Date(_, Off::Behind) => Some(truth - Span::hours(30)),
                Date(_, Off::Epoch) => Some(Stamp::EPOCH + Span(now)),
                Date(_, Off::BeforeBuild) => Some(BUILT_AT - year + Span(now)),
                Date(_, Off::Missing) => None,
                Date(_, Off::Jumping) => {
                    Some(truth - DAY.times(400) + Span(self.prng.below(DAY.times(800).0)))
                }
                ClockAhead => Some(truth + DAY.times(2)),
                _ if self.prng.below(ONE_IN) == 0 => Some(far_ahead() + DAY),
                _ => continue,
            };
        }
        Some(truth)
    }

    /// What is wrong with the answer to a question that is put now.
    pub fn page(&mut self, now: u64, path: &str) -> PageLies {
        let has_cursor = path.contains("cursor=");
        let is_list = path.contains("sortBy=") && path.contains("__gte=");
        let pages = self.all.iter().find(|lie| lie.claim.is_of_pages());
        let rows_max = pages.filter(|lie| lie.claim != NoCursor).map(few_rows);
        let issued = if self.any(|claim| claim == CursorsExpire) { now } else { 0 };
        let mut page = PageLies { rows_max, issued, ..PageLies::default() };
        for lie in &mut self.all {
            let can_be = match lie.claim {
                EmptyFirst => is_list && !has_cursor,
                EmptyMiddle | CursorsRefused | CursorsExpire => has_cursor,
                StreamForbidden => path.contains("/activities?"),
                NoCursor => is_list && !path.contains("__lt="),
                FilterIgnored | DataTwice | ErrorsBeside => true,
                claim => is_list && claim.is_of_pages(),
            };
            if !can_be || !lie.is_told(now) {
                continue;
            }
            let few = 1 + lie.variant % 3;
            match lie.claim {
                ErrorsBeside => page.errors = true,
                EmptyFirst | EmptyMiddle => page.blanks = few,
                NoRecords => (page.blanks, page.filled_up) = (few, true),
                LeadsBack => page.period = few,
                NoCursor => page.without_cursor = Some(few_rows(lie)),
                NewestFirst => page.order = Order::NewestFirst,
                Shuffled if lie.variant.is_multiple_of(2) => page.order = Order::Shuffled,
                Shuffled => page.order = Order::ShuffledWithin,
                FilterIgnored => page.unfiltered = true,
                CursorsRefused => page.cursor_refused = true,
                CursorsExpire => page.cursor_lives = Some(100 + lie.variant % 2_000),
                DataTwice => page.data_twice = true,
                LacksRows => page.lacks = Some(lie.variant),
                StreamForbidden => page.forbidden = true,
                _ => {}
            }
        }
        page
    }

    /// The stamp of a record made then, as the console tells it.
    pub fn stamp(&mut self, made: Stamp, made_at: u64, id: u64) -> Stamp {
        for lie in &mut self.all {
            let is_one = id.wrapping_add(lie.variant).is_multiple_of(ONE_IN);
            let told = match lie.claim {
                ClockAhead => made + DAY.times(2),
                FarAhead if is_one && lie.variant % 3 == 0 => made + DAY.times(2),
                // Each version of a threat has a stamp of its own, within a day.
                FarAhead | FarAheadBelieved if is_one => {
                    far_ahead() + Span(made.0.unsigned_abs() / 1_000 % 80_000_000)
                }
                _ => continue,
            };
            if lie.is_in(made_at) {
                lie.told += 1;
                return told;
            }
        }
        made
    }

    /// A stamp in a record made then, as the JSON value that tells it.
    pub fn stamp_text(&mut self, stamp: Stamp, made_at: u64) -> String {
        let text = stamp.to_string();
        let plain = text.trim_end_matches('Z');
        for lie in self.all.iter_mut().filter(|lie| lie.is_in(made_at)) {
            let told = match lie.claim {
                NoZone => format!("\"{plain}\""),
                PlainOffset => format!("\"{plain}+0000\""),
                EpochMs => (stamp.0 / 1_000).to_string(),
                Unreadable => "null".to_owned(),
                _ => continue,
            };
            lie.told += 1;
            return told;
        }
        format!("\"{text}\"")
    }
}

/// Each third row; which ones, the variant says.
pub fn is_lacked(id: u64, variant: u64) -> bool {
    id.wrapping_add(variant).is_multiple_of(3)
}

fn few_rows(lie: &Lie) -> usize {
    [2, 5, 20][(lie.variant % 3) as usize]
}

/// The one such stamp that public samples hold.
fn far_ahead() -> Stamp {
    Stamp::from_seconds(6_800_000_000)
}
