//! Links of a few kbit/s with the settings that are shipped: all arrives, once, and the link carries
//! little more than the records.
//!
//! Promises: what is needed is what a link without a limit carries for as many records, which is each page
//! and each batch once, compressed as it goes, and the polls of two hours after it; no exchange is given
//! up, and none comes twice.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use s1_coralogix::core::{Mode, Plan, StreamPlan};
use s1_coralogix::prng::Prng;
use s1_coralogix::queue::mem::MemDisk;
use s1_coralogix::record::{Kind, Start, WriteMode};
use s1_coralogix::time::{Span, Stamp};

use crate::bears::Bears;
use crate::disk;
use crate::lies::Lies;
use crate::link::Link;
use crate::tenant::{Published, Tenant};
use crate::world::{BIRTH, Faults, Shared};

const RECORD_BYTES: usize = 2_600;
const UNLIMITED: u64 = 1 << 40;

fn no_faults() -> Faults {
    let never = 0..0;
    Faults {
        end: 0,
        percent: 0,
        cut_permille: 0,
        disk_permille: 0,
        rot_percent: 0,
        log_rots: false,
        disk_full: never.clone(),
        source_outage: never.clone(),
        sink_outage: never.clone(),
        token_refused: never.clone(),
        key_refused: never.clone(),
        threats_forbidden: never,
    }
}

fn shipped() -> Plan {
    let stream = |kind| StreamPlan {
        tenant: 0,
        kind,
        poll_interval: Span::minutes(1),
        start: Start::Ago(Span::hours(24)),
        overlap: Span::minutes(2),
        reconcile: Span::hours(1),
    };
    Plan {
        tenants: 1,
        streams: vec![stream(Kind::Threats), stream(Kind::Activities)],
        retry_min: Span::seconds(1),
        retry_max: Span::minutes(5),
        mode: Mode::Daemon,
        write: WriteMode::Always,
        heartbeat: None,
        bounds: Link::default().bounds(),
        tally_ids: None,
    }
}

/// Activities created so long before birth, one every `apart`, of what compresses to a tenth.
fn publish(count: u64, before: Span, apart: Span) -> Tenant {
    let mut prng = Prng::new(count);
    let row = |nth: u64| {
        let (id, stamp) = (1_000_000_000_000_000_000 + nth, BIRTH - before + apart.times(nth));
        let mut words = String::new();
        while words.len() < RECORD_BYTES {
            words += ["powershell.exe -EncodedCommand ", "C:/Windows/System32/", "svchost.exe "]
                [prng.below(3) as usize];
            words += &prng.below(100).to_string();
        }
        let json = format!(
            r#"{{"activityType":27,"createdAt":"{stamp}","data":{{"t":"{words}"}},"id":"{id}"}}"#
        );
        let (kind, hidden_from) = (Kind::Activities, None);
        Published { kind, stamp, id, created: stamp, visible: stamp, json, hidden_from }
    };
    Tenant { rows: (0..count).map(row).collect(), overlap: Span::minutes(2) }
}

/// Lives with such a link until all arrived, and two hours longer. Answers with the bytes it carried.
fn carried(bytes_a_second: u64, tenant: Tenant) -> u64 {
    let mut prng = Prng::new(1);
    let (plan, disk) = (shipped(), MemDisk::new(disk::CAPACITY));
    let lies = Lies::draw(1, 0, Some("none"));
    let published: BTreeSet<String> = tenant.rows.iter().map(|row| row.json.clone()).collect();
    let mut shared = Shared::new(prng.clone(), no_faults(), lies, tenant, 0);
    shared.bears = Bears::link(bytes_a_second);
    shared.set_clock();
    let shared = Rc::new(RefCell::new(shared));
    crate::live_on(&plan, &disk, &shared, &mut prng);
    let state = shared.borrow();
    let received: BTreeSet<String> = state.sink.received.iter().map(|r| r.text.clone()).collect();
    assert_eq!(received, published);
    assert_eq!(state.sink.received.len(), published.len(), "none came twice");
    assert!(!state.met.contains_key("too long for the link"), "an exchange was given up");
    state.bears.carried
}

/// Holds the cost of a tenant over a link against that of records as many, far apart, over one without a
/// limit.
fn holds(bytes_a_second: u64, count: u64, before: Span, apart: Span) -> String {
    let tenant = publish(count, before, apart);
    assert!(tenant.rows.iter().all(|row| row.stamp < BIRTH && row.stamp > Stamp::EPOCH));
    let needed = carried(UNLIMITED, publish(count, Span::hours(5), Span::seconds(4)));
    let carried = carried(bytes_a_second, tenant);
    let told =
        format!("{count} records at {bytes_a_second} bytes/s: {carried} bytes, {needed} needed");
    assert!(carried * 10 <= needed * 12, "{told}");
    told
}

#[test]
fn at_16_kbit_3300_records_cost_what_they_have_to() {
    println!("{}", holds(2_000, 3_300, Span::hours(5), Span::seconds(4)));
}

#[test]
fn at_2_kbit_100_records_cost_what_they_have_to() {
    println!("{}", holds(250, 100, Span::hours(5), Span::minutes(2)));
}

#[test]
fn a_burst_is_not_carried_again_with_each_poll() {
    println!("{}", holds(2_000, 3_300, Span::minutes(5), Span::ms(10)));
    println!("{}", holds(250, 100, Span::minutes(5), Span::ms(10)));
}
