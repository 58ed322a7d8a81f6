//! sled's own files damaged at random: whatever sled makes of it, the queue gives out what waits.

use super::Queue;
use super::real::RealDisk;
use super::testing::*;
use crate::prng::Prng;
use crate::time::Mono;

/// As many as asked for when building, for long runs; a few otherwise.
fn damages() -> u64 {
    let asked = option_env!("S1_CORALOGIX_QUEUE_DAMAGES").and_then(|text| text.parse().ok());
    asked.unwrap_or(12)
}

fn drained(queue: &mut Queue<RealDisk>) -> Vec<u64> {
    let mut drained = Vec::new();
    while let Some(peeked) = queue.peek(ALL).unwrap() {
        drained.extend(all_numbers(&peeked).iter().map(|(_, n)| *n));
        queue.ack(peeked.sent.end, Mono(1)).unwrap();
    }
    drained
}

#[test]
fn a_damaged_index_file_costs_no_record() {
    for seed in 0..damages() {
        let fixture = TempDir::new("queue");
        let mut prng = Prng::new(seed + 77);
        let (mut queue, _, _) = fixture.open();
        for at in (0..400).step_by(20) {
            let numbers: Vec<u64> = (at..at + 20).collect();
            let known: Vec<_> = numbers.iter().map(|n| key(*n)).collect();
            let frames = page(&threats(), &numbers, 7);
            queue.append(&threats(), &frames, progress(at + 19, at), &known).unwrap();
            if at == 200 {
                let end = queue.peek(ALL).unwrap().unwrap().pieces[0].take;
                let end = crate::record::QueuePosition { seq: crate::record::Seq(1), skip: end };
                queue.ack(end, Mono(1)).unwrap();
            }
        }
        queue.close(Mono(2));
        fixture.change("index.0/db", &|bytes| {
            let mut prng = prng.clone();
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0).max(4096);
            let at = prng.below(used as u64) as usize;
            match prng.below(3) {
                0 => bytes.truncate(at),
                1 => bytes[at..].iter_mut().take(4096).for_each(|byte| *byte = 0),
                _ => bytes[at..].iter_mut().take(8).for_each(|byte| *byte ^= 0x5a),
            }
        });
        prng.next_u64();
        // A panic of sled while reading ends the index, not the queue.
        let (mut queue, opened, findings) = fixture.open();
        assert_eq!(opened.streams[0].progress, Some(progress(399, 380)), "seed {seed}");
        let all = drained(&mut queue);
        let expected: Vec<u64> = (7..400).collect();
        assert!(all.ends_with(&expected), "seed {seed}: {findings:?} {all:?}");
    }
}
