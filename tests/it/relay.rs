//! A queue that moves to a box with another processor: what one binary wrote, the next reads.
//!
//! Promises: without binaries of other architectures it is run between two of the one at hand, so
//! that the scene itself stays whole. S1C_RELAY names them in order, each with its runner:
//! `qemu-aarch64-static target/dist/aarch64-unknown-linux-musl/s1-coralogix; ...`.

use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};
use crate::support::program::Program;

/// Each fills a queue that the next one drains, by turns after a stop and after a kill.
#[test]
fn a_queue_written_by_one_binary_is_read_by_the_next() {
    let mut scene = Scene::new();
    let relay = match Program::relay() {
        relay if relay.is_empty() => vec![scene.program.clone(); 2],
        relay => relay,
    };
    let next = relay.iter().cycle().skip(1);
    for (nth, (writer, reader)) in relay.iter().zip(next).enumerate() {
        scene.tenant().publish_with(Kind::Activities, 1_200, |draft| draft.size = 2_600);
        scene.tenant().publish(Kind::Threats, 300);
        scene.ingress.fail(On::Singles, None, Fault::status(503));
        scene.program = writer.clone();
        scene.run();
        scene.wait_waiting(1_500);
        match nth % 2 {
            0 => scene.kill(),
            _ => drop(scene.stop()),
        }
        scene.ingress.heal();
        scene.program = reader.clone();
        scene.run();
        scene.settle();
        scene.stop();
    }
    scene.run();
    scene.poll_again();
    scene.stop();
    scene.assert_exactly_once();
    scene.assert_in_order();
}
