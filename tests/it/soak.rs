//! Campaign 8, soak: tenants far busier than any test before it, and everything that may go wrong with
//! them at once, in the same few processes for as long as one likes.
//!
//! Promises: nothing is lost or changed, the program ends only when it is told to, and it never says
//! that it is at fault itself. `S1C_SOAK=600` soaks for 600 rounds of about a second.

use std::time::Duration;

use crate::campaign::Campaign;
use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::fault::{Fault, On, RetryAfter};
use crate::support::watched::Watched;
use crate::support::world::Integration;
use rustix::process::Signal;
use s1_coralogix::message;
use s1_coralogix::prng::Prng;

const ROUNDS: u64 = 12;
const ROUND: Duration = Duration::from_millis(800);
/// Records of one round at most: with those of a few rounds counts press each other.
const BURST: u64 = 4_000;
/// Longer than a drain of all takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// What may happen in a round.
const HAPPENINGS: [&str; 14] = [
    "nothing",
    "Coralogix away",
    "Coralogix busy",
    "Coralogix answers with errors",
    "answers of Coralogix are lost",
    "Coralogix slow",
    "SentinelOne away",
    "SentinelOne busy",
    "SentinelOne answers with errors",
    "answers of SentinelOne are cut",
    "SentinelOne refuses a stream",
    "a new token",
    "hurried and read again",
    "stopped or killed",
];

#[test]
fn a_busy_tenant_with_everything_going_wrong_loses_nothing() {
    let mut campaign = Campaign::new("soak", "S1C_SOAK", ROUNDS);
    let mut scene = Scene::with(|settings| {
        settings.be_impatient("3s");
        settings.log_level = "info".into();
        settings.integrations = ["acme", "beta"].map(Integration::new).to_vec();
        for (integration, reconcile) in settings.integrations.iter_mut().zip(["2s", "1h"]) {
            integration.reconcile = reconcile.into();
            integration.overlap = "10s".into();
        }
    });
    scene.run();
    while !campaign.is_over() {
        let outcome = one_round(&mut campaign, &mut scene);
        if !campaign.round(outcome) {
            break;
        }
    }
    let end = check_final_state(&mut scene);
    campaign.life(end);
    campaign.settle(&scene.ledger.balance());
    campaign.end();
}

fn one_round(campaign: &mut Campaign, scene: &mut Scene) -> Result<(), String> {
    let prng = &mut campaign.prng;
    let happening = HAPPENINGS[prng.below(HAPPENINGS.len() as u64) as usize];
    for tenant in &scene.tenants {
        // Mostly a little, now and then more than a poll takes in.
        let most = if prng.chance(30) { BURST } else { BURST / 50 };
        tenant.publish(Kind::Activities, prng.below(most) as usize);
        tenant.publish(Kind::Threats, prng.below(most / 10 + 1) as usize);
    }
    happen(prng, scene, happening);
    campaign.met(happening);
    Watched::new(()).wait(ROUND, |()| None::<()>);
    if scene.daemon().is_running() { Ok(()) } else { Err(scene.story()) }
}

fn happen(prng: &mut Prng, scene: &mut Scene, happening: &str) {
    let times = 1 + prng.below(4) as u32;
    let nth = prng.below(2) as usize;
    let patience = [None, Some(RetryAfter::Seconds(1))][prng.below(2) as usize];
    let pause = Duration::from_millis(100 + prng.below(1_500));
    let away = |scene: &Scene, wait: Duration| {
        scene.ingress.server.take_away();
        Watched::new(()).wait(wait, |()| None::<()>);
        scene.ingress.server.bring_back();
    };
    let tenant = &scene.tenants[nth];
    match happening {
        "Coralogix away" => away(scene, pause),
        "Coralogix busy" => scene.ingress.fail(On::Singles, times, Fault::too_many(patience)),
        "Coralogix answers with errors" => {
            scene.ingress.fail(On::Singles, times, Fault::bad_gateway_text());
        }
        "answers of Coralogix are lost" => scene.ingress.fail(On::Singles, times, Fault::LostReply),
        "Coralogix slow" => scene.ingress.fail(On::Singles, times, Fault::Slow(pause)),
        "SentinelOne away" => {
            tenant.server.take_away();
            Watched::new(()).wait(pause, |()| None::<()>);
            tenant.server.bring_back();
        }
        "SentinelOne busy" => tenant.fail(On::Anything, times, Fault::unavailable(patience)),
        "SentinelOne answers with errors" => {
            tenant.fail(On::Anything, times, Fault::internal_error_json());
        }
        "answers of SentinelOne are cut" => tenant.fail(On::Anything, times, Fault::Cut),
        "SentinelOne refuses a stream" => {
            tenant.fail(On::Stream(Kind::Threats), times, Fault::status(403));
        }
        "a new token" => {
            let token = tenant.rotate_token(86_400_000_000);
            Watched::new(()).wait(pause / 4, |()| None::<()>);
            scene.write_token(nth, &token);
        }
        "hurried and read again" => {
            let other = ["1s", "2s"][prng.below(2) as usize];
            scene.settings.integrations[nth].poll_interval = other.into();
            scene.write_config();
            scene.signal(Signal::HUP);
            scene.signal(Signal::USR1);
        }
        "stopped or killed" => {
            if prng.chance(50) {
                scene.kill();
            } else {
                scene.wait_up();
                scene.stop();
            }
            scene.run();
        }
        _ => {}
    }
}

fn check_final_state(scene: &mut Scene) -> Result<(), String> {
    scene.ingress.heal();
    scene.tenants.iter().for_each(|tenant| tenant.heal());
    scene.wait_up();
    scene.hurry();
    if !scene.ledger.wait_complete(PATIENCE) {
        return Err(format!("not all is delivered in the end\n{}", scene.story()));
    }
    scene.stop();
    let balance = scene.ledger.balance();
    let log = scene.log();
    for fault in [message::PANICKED, message::STALLED] {
        if let Some(line) = log.lines().find(|line| line.contains(&fault.to_string())) {
            return Err(line.to_owned());
        }
    }
    match (balance.lost, balance.changed) {
        (0, 0) => Ok(()),
        _ => Err(format!("{balance}\n{}", scene.story())),
    }
}
