//! The core and the order of rows: what a few that rise by chance may move, and what a doubt takes back.

use super::place_tests::{NOW, Stage, days, stood};
use super::walk::Known;
use super::*;
use crate::record::{RowKey, Start};

#[test]
fn a_few_rows_that_rise_move_no_position_before_the_walk_is_whole() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let before = stage.progress();
    let at = |minutes| NOW - Span::minutes(minutes);
    stage.page(&[at(90), at(80)], Some("a"));
    // It rises by chance: what lies between is still to come.
    stage.page(&[at(70), at(20)], Some("b"));
    assert_eq!(stage.progress(), before);
    let many: Vec<Stamp> = (5..16).rev().map(at).collect();
    stage.page(&many, Some("c"));
    assert_eq!(stage.progress().position, at(5), "ten that rise are no chance");
}

#[test]
fn a_walk_that_comes_to_be_doubted_takes_nothing_in_twice() {
    let mut stage = Stage::new(Start::Now, stood(NOW - days(1)));
    stage.begin();
    let at = |minutes| NOW - Span::minutes(minutes);
    let three = [at(60), at(40), at(39)];
    let stream = &mut stage.core.streams[0];
    stream.known = Known::new(three.map(|stamp| RowKey { stamp, id: stamp.0 as u64 }));
    let taken = stage.core.streams[0].collected;
    stage.page(&[at(60)], Some("a"));
    stage.page(&[at(40)], Some("b"));
    // What stood at 39 changed since.
    stage.page(&[at(20)], Some("c"));
    stage.core.streams[0].not_stored();
    stage.page(&[at(60), at(40), at(20)], Some("a"));
    assert_eq!(stage.core.streams[0].collected - taken, 1, "each once");
}
