//! Campaign 3, kill: SIGKILL at any moment of a program that takes in and delivers at once.
//!
//! Promises: nothing is lost (P1), order is kept within each stream (P3), and what comes twice after
//! a kill is at most the one request whose acknowledgement the kill may have prevented (P2): each
//! record is held against that, not only their number. A kill is set off by what the program does to
//! its files or by its requests. `S1C_KILLS=10000` kills more often.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use s1_coralogix::prng::Prng;

use crate::campaign::Campaign;
use crate::inotify::{Trail, What};
use crate::oracle::Oracle;
use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};
use crate::support::watched::Watched;

const KILLS: u64 = 300;
/// A new queue after this many: so young ones are met too.
const KILLS_PER_QUEUE: u64 = 30;
/// A boot that never comes to where it was to be killed is killed when this is over.
const LONGEST_BOOT: Duration = Duration::from_millis(1_500);
/// The tenant's clock goes on by so much before each kill.
const MINUTE_US: i64 = 60_000_000;
/// Longer than a drain takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What sets a kill off.
#[derive(Clone, Copy, Debug)]
enum Trip {
    /// The nth step of this sort.
    File(What, &'static str, u64),
    Pages(usize),
    Batches(usize),
    /// While a batch is being answered.
    InAnswer,
}

impl Trip {
    fn name(self) -> String {
        match self {
            Trip::File(what, name, _) => {
                format!("{what:?} {}", name.trim_end_matches(['.', '/'])).to_lowercase()
            }
            Trip::Pages(_) => "after a page".into(),
            Trip::Batches(_) => "after a batch".into(),
            Trip::InAnswer => "in an answer".into(),
        }
    }
}

#[test]
fn kills_lose_nothing_and_repeat_at_most_a_request() {
    let mut campaign = Campaign::new("kill", "S1C_KILLS", KILLS);
    while !campaign.is_over() {
        one_queue(&mut campaign);
    }
    campaign.end();
}

fn one_queue(campaign: &mut Campaign) {
    let mut scene = Scene::with(|settings| {
        settings.retry_max = "100ms".into();
        // What was lost shall not be found again by looking twice.
        settings.integrations[0].overlap = "0s".into();
    });
    std::fs::create_dir_all(scene.queue_dir()).expect("a folder in the scene's own");
    let mut oracle = Oracle::default();
    let mut died_young = false;
    let mut all_well = true;
    for nth in 1..=KILLS_PER_QUEUE.min(campaign.wanted - campaign.rounds) {
        scene.pass(MINUTE_US * i64::try_from(nth).expect("small"));
        // Rarely twice in a row: the index would be given up, and nothing be held against it.
        let wants_work = died_young && campaign.prng.chance(95);
        let trip = if wants_work { Trip::Pages(3) } else { trip(&mut campaign.prng) };
        let killed = one_kill(campaign, &mut scene, &mut oracle, trip);
        died_young = killed.as_ref().is_ok_and(|young| *young);
        campaign.met(if died_young { "before any request".into() } else { trip.name() });
        let outcome = killed.map(|_| ()).map_err(|why| format!("{trip:?}: {why}"));
        all_well = campaign.round(outcome);
        if !all_well {
            break;
        }
    }
    if all_well {
        let end = check_final_state(&mut scene, &mut oracle);
        campaign.life(end);
    }
    let balance = scene.ledger.balance();
    campaign.settle(&balance);
    let before = oracle.repeated_before_leniency.unwrap_or(balance.duplicates);
    campaign.note("duplicated where no index was given up", before as u64);
}

fn check_final_state(scene: &mut Scene, oracle: &mut Oracle) -> Result<(), String> {
    scene.run();
    if !scene.ledger.wait_complete(PATIENCE) {
        return Err(format!("not all is delivered in the end\n{}", scene.story()));
    }
    scene.poll_again();
    scene.stop();
    oracle.repeated(scene)?;
    let balance = scene.ledger.balance();
    match (balance.lost, balance.changed, balance.out_of_order) {
        (0, 0, 0) => Ok(()),
        _ => Err(format!("{balance}\n{}", scene.story())),
    }
}

fn trip(prng: &mut Prng) -> Trip {
    let count = |prng: &mut Prng| usize::try_from(1 + prng.below(3)).expect("small");
    let nth = 1 + prng.below(4);
    match prng.below(8) {
        0 => Trip::Pages(count(prng)),
        1 => Trip::Batches(count(prng)),
        2 => Trip::InAnswer,
        3 => Trip::File(What::Made, "", nth),
        4 => Trip::File(What::Written, "log/", nth),
        5 => Trip::File(What::Removed, "log/", 1),
        _ => Trip::File(What::Written, "index.", nth),
    }
}

/// Answers whether the boot was killed before it asked anybody for anything.
fn one_kill(
    campaign: &mut Campaign,
    scene: &mut Scene,
    oracle: &mut Oracle,
    trip: Trip,
) -> Result<bool, String> {
    let few = 20 + usize::try_from(campaign.prng.below(180)).expect("small");
    // Spread over the minute that the tenant's clock went on since the last kill.
    let now_us = scene.tenant().clock().now_us();
    let (from_us, to_us) = (now_us - MINUTE_US + 10_000_000, now_us - 1_000_000);
    scene.tenant().publish_between(Kind::Activities, few, from_us, to_us, |_| {});
    scene.tenant().publish_between(Kind::Threats, few / 5, from_us, to_us, |_| {});
    if campaign.prng.chance(30) {
        scene.ingress.fail(On::Singles, 1, Fault::status(503));
    }
    let delay = Duration::from_micros(campaign.prng.below(2_000));
    let slow = if matches!(trip, Trip::InAnswer) { 30 } else { 0 };
    scene.ingress.turn(|knobs| knobs.slow = Duration::from_millis(slow));
    oracle.boots(scene);
    let log = scene.log().len();
    let tripped = Arc::new(Watched::new(false));
    let trail = {
        let (tripped, count) = (Arc::clone(&tripped), AtomicU64::new(0));
        Trail::follow(&scene.queue_dir(), move |step| {
            if let Trip::File(what, beginning, nth) = trip
                && step.is(what, beginning)
                && count.fetch_add(1, Ordering::Relaxed) + 1 == nth
            {
                tripped.change(|tripped| *tripped = true);
            }
        })
    };
    let (pages, batches) = (scene.tenant().requests(), scene.ingress.requests());
    scene.run();
    match trip {
        Trip::File(..) => {
            tripped.wait(LONGEST_BOOT, |tripped| tripped.then_some(()));
        }
        Trip::Pages(count) => {
            scene.tenant().wait(LONGEST_BOOT, |seen| (seen.len() >= pages + count).then_some(()));
        }
        Trip::Batches(count) => {
            let enough = |got: usize| (got >= batches + count).then_some(());
            scene.ingress.wait(LONGEST_BOOT, |state| enough(state.got.len()));
        }
        Trip::InAnswer => {
            let begun = |got: usize| (got > batches).then_some(());
            scene.ingress.wait(LONGEST_BOOT, |state| begun(state.got.len()));
        }
    }
    Watched::new(()).wait(delay, |()| None::<()>);
    let at = Instant::now();
    scene.kill();
    drop(trail);
    // Two starts in a row that do not live through opening the index cost it its trust, and what
    // was acknowledged since the checkpoint comes again: that is by design.
    if scene.log()[log..].contains("opening it did not complete") {
        oracle.be_lenient(scene);
        campaign.note("indexes given up after two kills while opening", 1);
    }
    let doings = oracle.fault(scene, at)?;
    campaign.at_stake += scene.ledger.look(|book| oracle.owed(book)) as u64;
    Ok(doings.requests == 0)
}
