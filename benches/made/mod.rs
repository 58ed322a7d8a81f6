//! Pages of threats that benchmarks run on: the members, lengths and repetitions of real ones; every value
//! made up, and the same in every run.

use s1_coralogix::prng::Prng;
use s1_coralogix::time::{Span, Stamp};

/// When the pages are read. Their records are of the hour before.
pub const NOW: Stamp = Stamp(1_800_000_000_000_000);
/// Records of a page, as many as SentinelOne gives at most.
pub const ROWS: usize = 1_000;

/// A page of records with the members, lengths and repetitions of threats; every value made up.
pub fn made_page(prng: &mut Prng) -> Vec<u8> {
    let mut page = String::from("{\"data\":[");
    for row in 0..ROWS {
        if row > 0 {
            page.push(',');
        }
        let at = NOW - Span::ms(prng.below(3_600_000));
        page.push_str(&made_record(prng, at));
    }
    page.push_str("],\"pagination\":{\"nextCursor\":null,\"totalItems\":0}}");
    page.into_bytes()
}

fn hex(prng: &mut Prng, digits: usize) -> String {
    (0..digits).map(|_| char::from(b"0123456789abcdef"[prng.below(16) as usize])).collect()
}

fn made_record(prng: &mut Prng, at: Stamp) -> String {
    let id = 1_900_000_000_000_000_000 + prng.below(1 << 50);
    let agent = prng.below(200);
    let sha1 = hex(prng, 40);
    let (md5, sha256) = (hex(prng, 32), hex(prng, 64));
    let uuid = format!("{:08x}-{:04x}-4c52-a3f1-{:012x}", agent * 7_919, agent, agent * 104_729);
    let confidence = ["malicious", "suspicious"][prng.below(2) as usize];
    let status = ["mitigated", "not_mitigated"][prng.below(2) as usize];
    let program = ["invoice", "setup", "update", "svchost32", "reader"][prng.below(5) as usize];
    let file = format!("{program}-{}.exe", prng.below(10_000));
    let oct = agent % 250;
    let (report, collection) = (id + 17, id - prng.below(1 << 40));
    let (size, storyline) = (prng.below(5_000_000), hex(prng, 16).to_uppercase());
    let values: [(&str, &dyn std::fmt::Display); 15] = [
        ("$agent", &agent),
        ("$at", &at),
        ("$collection", &collection),
        ("$confidence", &confidence),
        ("$file", &file),
        ("$id", &id),
        ("$md5", &md5),
        ("$oct", &oct),
        ("$report", &report),
        ("$sha1", &sha1),
        ("$sha256", &sha256),
        ("$size", &size),
        ("$status", &status),
        ("$storyline", &storyline),
        ("$uuid", &uuid),
    ];
    values
        .into_iter()
        .fold(include_str!("../threat.json").trim_end().to_owned(), |text, (name, value)| {
            text.replace(name, &value.to_string())
        })
}
