//! Where a stream begins, and when that is taken back.

use super::Action;
use super::place_tests::{NOW, Stage, back, days, stood};
use crate::record::Start;

/// Nothing was collected from there, so nothing is sent twice for it.
#[test]
fn a_beginning_goes_back_once_the_tenant_alone_takes_its_time_back() {
    let mut stage = Stage::new(Start::Now, stood(NOW + days(2)));
    stage.local = Some(NOW + days(2));
    stage.begin();
    // One answer is no clock yet.
    assert!(matches!(stage.page(&[], None), Action::Fetch(_)));
    back(stage.page(&[], None));
}
