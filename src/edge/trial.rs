//! An empty array posted to Coralogix: whether a key is let by, and whether keys are looked at.
//!
//! Promises: delivers nothing; a made-up key has the shape of the real one and none of its letters or
//! digits but by chance. Never: judges the answer.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::host;
use super::net::{Peer, Post, Request, hidden};
use super::real::{Door, SINGLES_PATH};
use crate::limits::SINK_ANSWER_BYTES_MAX;
use crate::prng::Prng;
use crate::record::{Answer, NetTrouble, TrialKey};
use crate::secret::Secret;

/// What a key looks like where there is none to copy.
const COMMON_SHAPE: &str = "cxtp_000000000000000000000000000000";

/// Posts an empty array with the key that the config names, or with a made-up one.
pub fn try_key(door: &mut Door, which: TrialKey) -> Result<Answer, NetTrouble> {
    let key = door.keeper.current()?;
    match which {
        TrialKey::Own => {
            let answer = post_nothing(&door.peer, &key)?;
            door.keeper.judge(answer.status);
            Ok(answer)
        }
        TrialKey::MadeUp => post_nothing(&door.peer, &made_up(Some(&key))),
    }
}

pub fn post_nothing(peer: &Peer, key: &Secret) -> Result<Answer, NetTrouble> {
    let nothing = empty_batch();
    peer.exchange_cut_off(&Request {
        path: SINGLES_PATH,
        authorization: Some(hidden("Bearer", key)),
        post: Some(Post { body: &nothing, gzip: true }),
        answer_bytes_max: SINK_ANSWER_BYTES_MAX,
        grace: Duration::ZERO,
    })
}

/// A key that nobody issued. What stands before the first underscore of a real one is its kind.
pub fn made_up(like: Option<&Secret>) -> Secret {
    let shape = like.map_or(COMMON_SHAPE, Secret::reveal);
    let kind = shape.find('_').map_or(0, |at| at + 1);
    let mut prng = Prng::new(host::seed());
    let mut one_of = |first: u8, count: u64| {
        char::from(first + u8::try_from(prng.below(count)).expect("there are few letters"))
    };
    let letters = shape.char_indices().map(|(at, c)| match c {
        c if at < kind => c,
        '0'..='9' => one_of(b'0', 10),
        'a'..='f' => one_of(b'a', 6),
        'g'..='z' => one_of(b'g', 20),
        'A'..='Z' => one_of(b'A', 26),
        c => c,
    });
    Secret::new(&letters.collect::<String>()).expect("it has the letters of a secret")
}

fn empty_batch() -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(b"[]").expect("writing to memory does not fail");
    gzip.finish().expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_key_has_the_shape_of_the_real_one_and_is_another() {
        for text in ["cxtp_0123456789abcXYZ", "5f0a3c9e-77b1-4c0d-9a51-2d1f00aa31bc", "_"] {
            let real = Secret::new(text).unwrap();
            let made = made_up(Some(&real));
            let made = made.reveal();
            assert_eq!(made.len(), text.len());
            assert_eq!(made.starts_with("cxtp_"), text.starts_with("cxtp_"));
            assert_eq!(made.matches('-').count(), text.matches('-').count());
            assert!(text == "_" || made != text, "{text}");
        }
        assert!(made_up(None).reveal().starts_with("cxtp_"));
    }
}
