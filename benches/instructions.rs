//! One step of a record's way, done as often as it is told, so that its instructions can be counted:
//! `benches/instructions.sh` does that, and holds them to what is committed.
//!
//! Usage: `instructions STEP ROUNDS`. Everything a step needs is made before it, once, so the difference
//! between two counts of rounds is the step's own. Never: reads a clock, a file or a random number.
#![expect(clippy::print_stdout, reason = "a benchmark's result is its output")]

mod made;

use s1_coralogix::coralogix::body;
use s1_coralogix::coralogix::entry::{self, Labels};
use s1_coralogix::frame::{self, Frame, FrameMeta, Piece};
use s1_coralogix::pack::Packer;
use s1_coralogix::prng::Prng;
use s1_coralogix::record::{Kind, Progress, Seq, StreamName};
use s1_coralogix::s1::page::{self, Page};
use s1_coralogix::time::{Span, Stamp};

use made::{NOW, ROWS, made_page};

/// Frames of a request: 1.5 MiB of JSON.
const FRAMES_OF_A_BODY: usize = 5;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [step, rounds] = args.as_slice() else {
        println!("{ROWS} records; run benches/instructions.sh");
        return;
    };
    let rounds: usize = rounds.parse().expect("a number of rounds");
    let sent = made_page(&mut Prng::new(1));
    let labels = Labels::new("acme", "SentinelOne", "acme", "edge-1");
    let page = page::scan(&sent, Kind::Threats).expect("a page");
    let frames = pack(&page, &sent, &labels);
    let pieces = pieces(&frames);
    let bytes: usize = (0..rounds)
        .map(|_| match step.as_str() {
            "scan" => page::scan(&sent, Kind::Threats).expect("a page").rows.len(),
            "pack" => pack(&page, &sent, &labels).len(),
            "frame" => through_the_log(&frames).len(),
            "body" => assemble(&pieces, NOW),
            "body-cut" => assemble(&pieces, NOW + Span::hours(72)),
            "way" => {
                let page = page::scan(&sent, Kind::Threats).expect("a page");
                let frames = through_the_log(&pack(&page, &sent, &labels));
                assemble(&self::pieces(&frames), NOW)
            }
            _ => panic!("no such step: {step}"),
        })
        .sum();
    println!("{step}: {rounds} rounds of {ROWS} records, {bytes}");
}

fn pack(page: &Page, sent: &[u8], labels: &Labels) -> Vec<Frame> {
    let mut packer = Packer::new(StreamName::polled("acme", Kind::Threats));
    let mut out = Vec::new();
    for row in &page.rows {
        out.clear();
        entry::render(&mut out, labels, Kind::Threats, row, sent);
        packer.push(&out, row.key, row.stamped);
    }
    packer.finish(Progress { position: NOW, from: NOW })
}

/// The frames as they are written to the disk and read again.
fn through_the_log(frames: &[Frame]) -> Vec<Frame> {
    let mut read = Vec::with_capacity(frames.len());
    for (index, frame) in (0..).zip(frames) {
        let mut bytes = Vec::with_capacity(frame::disk_len(frame) as usize);
        let (last_of_page, progress) = (frame.last_of_page, frame.progress);
        let seq = Seq(u64::from(index));
        let slot = FrameMeta { seq, page_index: index, last_of_page, progress };
        frame::encode(&mut bytes, frame, slot);
        read.push(frame::take(bytes).expect("what was just written").1);
    }
    read
}

fn pieces(frames: &[Frame]) -> Vec<Piece> {
    let whole =
        |frame: &Frame| Piece { skip: 0, take: frame.entries.len() as u32, frame: frame.clone() };
    frames.iter().map(whole).collect()
}

fn assemble(pieces: &[Piece], now: Stamp) -> usize {
    let bodies = pieces.chunks(FRAMES_OF_A_BODY);
    bodies.map(|pieces| body::assemble(pieces, now).expect("sound frames").gzip.len()).sum()
}
