//! What a record costs on its way, step by step: `cargo bench --bench way`.
//!
//! Prints microseconds a record for each pure step, and what deflate's levels cost and gain. Runs on
//! records of its own making, or on the pages (whole answers of `threats`) named as arguments.
#![expect(clippy::print_stdout, reason = "a benchmark's result is its output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod made;

use std::time::Instant;

use s1_coralogix::coralogix::body;
use s1_coralogix::coralogix::entry::{self, Labels};
use s1_coralogix::frame::{Frame, Piece};
use s1_coralogix::pack::{Deflater, Effort, Packer};
use s1_coralogix::prng::Prng;
use s1_coralogix::record::{Kind, Progress, StreamName};
use s1_coralogix::s1::page;
use s1_coralogix::time::Span;

use made::{NOW, made_page};

const ROUNDS: usize = 20;
const PAGES: usize = 4;

fn main() {
    let files: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let mut prng = Prng::new(1);
    let pages: Vec<Vec<u8>> = if files.is_empty() {
        (0..PAGES).map(|_| made_page(&mut prng)).collect()
    } else {
        files.iter().map(|file| std::fs::read(file).expect("the page can be read")).collect()
    };
    let labels = Labels::new("acme", "SentinelOne", "acme", "edge-1");

    let scanned: Vec<_> =
        pages.iter().map(|page| page::scan(page, Kind::Threats).expect("a page")).collect();
    let records: usize = scanned.iter().map(|page| page.rows.len()).sum();
    let raw: usize = scanned.iter().flat_map(|page| &page.rows).map(|row| row.range.len()).sum();
    println!("{records} records of {} bytes", raw / records);

    time("validate with serde_json, for comparison", records, || {
        for page in &pages {
            let _: Envelope<'_> = serde_json::from_slice(page).expect("JSON");
        }
    });
    time("scan", records, || {
        for page in &pages {
            page::scan(page, Kind::Threats).expect("a page");
        }
    });
    let mut out = Vec::new();
    time("render", records, || {
        for (page, body) in scanned.iter().zip(&pages) {
            for row in &page.rows {
                out.clear();
                entry::render(&mut out, &labels, Kind::Threats, row, body);
            }
        }
    });
    let packed = || -> Vec<Frame> {
        let page_frames = |(page, body): (&page::Page, &Vec<u8>)| pack(page, body, &labels);
        scanned.iter().zip(&pages).flat_map(page_frames).collect()
    };
    time("render and pack", records, || drop(packed()));
    let frames = packed();
    deflate_levels(&frames, records);

    let pieces: Vec<Piece> = frames
        .into_iter()
        .map(|frame| Piece { skip: 0, take: frame.entries.len() as u32, frame })
        .collect();
    for (name, now) in [("assemble", NOW), ("assemble, three days old", NOW + Span::hours(72))] {
        time(name, records, || {
            for batch in pieces.chunks(5) {
                body::assemble(batch, now).expect("sound frames");
            }
        });
    }
}

#[derive(serde::Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, rename = "data")]
    _data: Vec<&'a serde_json::value::RawValue>,
}

/// The quickest round counts: on a shared machine the others measure the neighbours.
fn time(name: &str, records: usize, mut work: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{name:<45} {:7.2} us a record", best * 1e6 / records as f64);
}

fn pack(page: &page::Page, body: &[u8], labels: &Labels) -> Vec<Frame> {
    let mut packer = Packer::new(StreamName::polled("acme", Kind::Threats));
    let mut out = Vec::new();
    for row in &page.rows {
        out.clear();
        entry::render(&mut out, labels, Kind::Threats, row, body);
        packer.push(&out, row.key, row.stamped);
    }
    packer.finish(Progress { position: NOW, from: NOW })
}

fn deflate_levels(frames: &[Frame], records: usize) {
    let raw: Vec<Vec<u8>> =
        frames.iter().map(|frame| s1_coralogix::pack::inflate(frame).expect("sound")).collect();
    let raw_bytes: usize = raw.iter().map(Vec::len).sum();
    let zlib = (1..=6).map(|level| (format!("zlib's level {level}"), Deflater::with_level(level)));
    let ours = ("our own".to_owned(), Deflater::new(Effort::Bulk));
    for (name, mut deflater) in std::iter::once(ours).chain(zlib) {
        let mut out = Vec::new();
        time(&format!("deflate, {name}"), records, || {
            out.clear();
            for json in &raw {
                deflater.deflate(json, &mut out);
            }
        });
        println!("{:45} {:7.3} of its size", "", out.len() as f64 / raw_bytes as f64);
    }
}
