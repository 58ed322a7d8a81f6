//! Many lives on all processors, and what came of them.
//!
//! Promises: a life that fails is named by its seed, with the lies that its peers told. Never: judges.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic;

use s1_coralogix::prng::Prng;
use s1_coralogix::time::Span;

use crate::lies::{self, Lies};

/// What a life met and what came of it.
#[derive(Debug)]
pub struct Lived {
    pub met: BTreeMap<&'static str, u64>,
    pub lies: Vec<&'static str>,
    pub outcome: &'static str,
    pub healed: Healed,
}

/// How long after the last fault it was seen that all had arrived, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Healed {
    pub took: Span,
    pub allowed: Span,
    pub seed: u64,
}

/// What came of the lives in which a lie was told.
#[derive(Default)]
struct LieSummary {
    outcomes: BTreeMap<&'static str, u64>,
    /// The first seed that failed, and the first line of why.
    failure: Option<(u64, String)>,
}

#[derive(Default)]
pub struct Campaign {
    lives: u64,
    pub failed: u64,
    pub met: BTreeMap<&'static str, u64>,
    lies: BTreeMap<&'static str, LieSummary>,
    /// The life that took longest to heal, of those whose services bear everything, and of the others.
    healed: BTreeMap<&'static str, Healed>,
}

impl Campaign {
    pub fn run(lives: Range<u64>, live: fn(u64) -> Lived) -> Campaign {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let shares: Vec<_> = (0..threads)
            .map(|share| {
                let lives = lives.clone();
                std::thread::spawn(move || {
                    let mut campaign = Campaign::default();
                    let seeds = (lives.start + share..lives.end).step_by(threads as usize);
                    seeds.for_each(|seed| campaign.add(seed, live));
                    campaign
                })
            })
            .collect();
        let mut whole = Campaign::default();
        for share in shares {
            whole.merge(share.join().expect("a life failed; its seed is printed above"));
        }
        whole
    }

    /// Whether each kind of lie was drawn as it came.
    pub fn is_ordinary(&self) -> bool {
        std::env::var("S1C_LIE").is_err()
    }

    /// Whether a life that fails ends nothing.
    pub fn goes_on(&self) -> bool {
        std::env::var("S1C_GO_ON").is_ok()
    }

    fn add(&mut self, seed: u64, live: fn(u64) -> Lived) {
        self.lives += 1;
        let why = match panic::catch_unwind(|| live(seed)) {
            Ok(lived) => {
                let is_limited = lived.met.contains_key("limited");
                self.heal(
                    if is_limited { "limits and bad rows" } else { "no limits" },
                    lived.healed,
                );
                for lie in lived.lies {
                    *self.met.entry(lie).or_default() += 1;
                    let summary = self.lies.entry(lie).or_default();
                    *summary.outcomes.entry(lived.outcome).or_default() += 1;
                }
                for (fault, n) in lived.met {
                    *self.met.entry(fault).or_default() += n;
                }
                return;
            }
            Err(why) => why,
        };
        let end = crate::faults(&mut Prng::new(seed)).end;
        let lies: Vec<&str> =
            Lies::draw(seed, end, lies::forced()).all.iter().map(|lie| lie.claim.name()).collect();
        eprintln!("\nseed {seed} failed with {lies:?}; live it again with S1C_SEED={seed}\n");
        if !self.goes_on() {
            panic::resume_unwind(why);
        }
        self.failed += 1;
        for lie in if lies.is_empty() { vec!["none"] } else { lies } {
            let summary = self.lies.entry(lie).or_default();
            *summary.outcomes.entry("failed").or_default() += 1;
            summary.failure.get_or_insert_with(|| (seed, first_line(&*why)));
        }
    }

    fn heal(&mut self, among: &'static str, healed: Healed) {
        let longest = self.healed.entry(among).or_insert(healed);
        *longest = (*longest).max(healed);
    }

    fn merge(&mut self, other: Campaign) {
        self.lives += other.lives;
        self.failed += other.failed;
        for (fault, n) in other.met {
            *self.met.entry(fault).or_default() += n;
        }
        for (among, healed) in other.healed {
            self.heal(among, healed);
        }
        for (lie, summary) in other.lies {
            let own = self.lies.entry(lie).or_default();
            for (outcome, n) in summary.outcomes {
                *own.outcomes.entry(outcome).or_default() += n;
            }
            own.failure = own.failure.take().or(summary.failure);
        }
    }
}

fn first_line(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<String>().map(String::as_str);
    let text = text.or(why.downcast_ref::<&str>().copied()).unwrap_or("?");
    text.lines().next().unwrap_or("").chars().take(160).collect()
}

impl fmt::Display for Campaign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} lives, {} failed; faults met: {:?}", self.lives, self.failed, self.met)?;
        for (among, Healed { took, allowed, seed }) in &self.healed {
            writeln!(
                f,
                "{among}: all had arrived {took} after the last fault at the latest, of {allowed} \
                 allowed (seed {seed})"
            )?;
        }
        for (lie, summary) in &self.lies {
            write!(f, "{lie:<26} {:?}", summary.outcomes)?;
            if let Some((seed, why)) = &summary.failure {
                write!(f, "; seed {seed}: {why}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
