//! The oracle of the campaigns: what was certain when a fault came, and whether it still holds.
//!
//! The program does one thing after the other and keeps what it has before it asks for more. So of
//! all requests it made before the fault, all but the last were dealt with: a page that was followed
//! by any request is stored, a batch that was followed by any request is acknowledged.
//!
//! Promises: what is stored must be delivered, though the tenant can't be asked again (P1); what is
//! acknowledged must not come again (P2), so that only the last request can. Never: asks the
//! program what it thinks it has.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::ledger::{Book, Published};

/// What is certain of one queue's life so far.
#[derive(Default)]
pub struct Oracle {
    /// How far each stream is stored.
    stored: HashMap<Kind, i64>,
    /// Records that a request brought which was acknowledged in the queue.
    acknowledged: HashSet<usize>,
    /// Requests that were taken when the last fault came: what came later is judged.
    taken: u32,
    /// Entries that were judged.
    judged: usize,
    seen: usize,
    got: usize,
    /// The index was deleted, so that what was acknowledged may come again.
    is_lenient: bool,
    /// What had come twice until then.
    pub repeated_before_leniency: Option<usize>,
}

/// What the program's last requests were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Doings {
    pub requests: usize,
    pub batches: usize,
    /// Whether the last request was answered with a page that had something new.
    pub last_was_a_new_page: bool,
}

impl Oracle {
    /// The index is about to be deleted.
    pub fn be_lenient(&mut self, scene: &Scene) {
        self.is_lenient = true;
        self.repeated_before_leniency.get_or_insert(scene.ledger.balance().duplicates);
    }

    /// A boot begins: only what it asks for tells what it does.
    pub fn boots(&mut self, scene: &Scene) {
        self.seen = scene.tenant().requests();
        self.got = scene.ingress.requests();
    }

    /// Takes in what the boot did before this instant, at which a fault came. What came twice
    /// although it was acknowledged is an error.
    pub fn fault(&mut self, scene: &Scene, at: Instant) -> Result<Doings, String> {
        let judged = self.repeated(scene);
        let (requests, taken) = self.requests(scene, at);
        let mut doings = Doings { requests: requests.len(), ..Doings::default() };
        doings.batches = requests.iter().filter(|request| request.batch.is_some()).count();
        if let Some((last, done)) = requests.split_last() {
            doings.last_was_a_new_page = last.page.is_some_and(|(kind, reached)| {
                self.stored.get(&kind).is_none_or(|stored| reached > *stored)
            });
            for request in done {
                if let Some((kind, reached)) = request.page {
                    let stored = self.stored.entry(kind).or_insert(i64::MIN);
                    *stored = reached.max(*stored);
                }
            }
            let done: HashSet<u32> = done.iter().filter_map(|request| request.batch).collect();
            scene.ingress.look(|state| {
                let new = state.stored.iter().filter(|stored| done.contains(&stored.request));
                self.acknowledged.extend(new.filter_map(|stored| stored.published));
            });
        }
        self.taken = taken;
        judged.map(|()| doings)
    }

    /// All requests of this boot in their order, and how many batches were ever taken.
    fn requests(&self, scene: &Scene, at: Instant) -> (Vec<Request>, u32) {
        let seen = scene.tenant().seen();
        let got = scene.ingress.got();
        let mut requests: Vec<Request> = seen[self.seen..]
            .iter()
            .map(|seen| Request { at: seen.at, page: seen.kind.zip(seen.reached_us), batch: None })
            .collect();
        let mut taken = 0;
        for (nth, got) in got.iter().enumerate() {
            taken += u32::from(got.taken);
            if nth >= self.got {
                let batch = Some(taken).filter(|_| got.taken);
                requests.push(Request { at: got.at, page: None, batch });
            }
        }
        requests.retain(|request| request.at < at);
        requests.sort_by_key(|request| request.at);
        (requests, taken)
    }

    /// What came since the last fault although it was acknowledged before it.
    pub fn repeated(&mut self, scene: &Scene) -> Result<(), String> {
        let (from, taken) = (self.judged, self.taken);
        let (came, judged) = scene.ingress.look(|state| {
            let new = state.stored[from..].iter().filter(|stored| stored.request > taken);
            let came: Vec<usize> = new.filter_map(|stored| stored.published).collect();
            (came, state.stored.len())
        });
        self.judged = judged;
        if self.is_lenient {
            return Ok(());
        }
        let again = came.iter().filter(|at| self.acknowledged.contains(at)).count();
        match again {
            0 => Ok(()),
            _ => Err(format!(
                "{again} of {} acknowledged records came again (P2)\n{}",
                self.acknowledged.len(),
                scene.story()
            )),
        }
    }

    fn is_stored(&self, entry: &Published) -> bool {
        self.stored.get(&entry.stream.kind).is_some_and(|stored| entry.position_us <= *stored)
    }

    pub fn has_stored(&self) -> bool {
        !self.stored.is_empty()
    }

    /// How many records are stored for certain and not delivered.
    pub fn owed(&self, book: &Book) -> usize {
        book.missing().filter(|entry| self.is_stored(entry)).count()
    }
}

struct Request {
    at: Instant,
    page: Option<(Kind, i64)>,
    batch: Option<u32>,
}
