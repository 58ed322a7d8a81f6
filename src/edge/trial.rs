//! Posts an empty array to Coralogix, to find out whether a key is accepted, and whether keys are
//! checked at all; or one record, with a made-up key only.
//!
//! Promises: delivers nothing to whoever checks keys; a made-up key has the shape of the real one, with another letter or
//! digit in each place. Its connection is not used again: a record that failed alone is next, and
//! what is in front of Coralogix may serve one request a connection. Never: interprets the answer.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::system::Service;
use crate::coralogix::SINGLES_PATH;
use crate::limits::SINK_ANSWER_BYTES_MAX;
use crate::net::client::{Client, Post, Request, hidden};
use crate::os::host;
use crate::prng::Prng;
use crate::record::{Answer, NetTrouble, TrialKey};
use crate::secret::Secret;

/// The shape of the made-up key where no real one is known.
const COMMON_SHAPE: &str = "cxtp_000000000000000000000000000000";

/// Posts an empty array with the key that the config names, or with a made-up one.
pub fn try_key(service: &mut Service, which: TrialKey) -> Result<Answer, NetTrouble> {
    let key = service.credential.current()?;
    match which {
        TrialKey::Own => {
            let answer = post_nothing(&service.client, &key)?;
            service.credential.observe_answer(answer.status);
            Ok(answer)
        }
        TrialKey::MadeUp => MadeUp::like(Some(&key)).post_nothing(&service.client),
    }
}

pub fn post_nothing(client: &Client, key: &Secret) -> Result<Answer, NetTrouble> {
    post(client, key, b"[]")
}

/// It says what it is, should whoever takes any key show it to a person.
const RECORD: &[u8] = br#"[{"applicationName":"s1-coralogix","subsystemName":"check","severity":1,"text":"s1-coralogix check sent this with a made-up key, which has to be rejected"}]"#;

fn post(client: &Client, key: &Secret, entries: &[u8]) -> Result<Answer, NetTrouble> {
    let body = compress(entries);
    client.exchange_cut_off(&Request {
        path: SINGLES_PATH,
        authorization: Some(hidden("Bearer", key)),
        post: Some(Post { body: &body, gzip: true, is_last: true }),
        answer_bytes_max: SINK_ANSWER_BYTES_MAX,
        grace: Duration::ZERO,
    })
}

/// A key that was never issued. In a real one the part before the first underscore is its kind,
/// which is kept.
pub struct MadeUp(Secret);

impl MadeUp {
    pub fn like(real: Option<&Secret>) -> MadeUp {
        MadeUp(made_up_by(real, &mut Prng::new(host::seed())))
    }

    pub fn post_nothing(&self, client: &Client) -> Result<Answer, NetTrouble> {
        post_nothing(client, &self.0)
    }

    /// A record, which shows whether keys are checked where an empty array is rejected whatever the
    /// key is.
    pub fn post_record(&self, client: &Client) -> Result<Answer, NetTrouble> {
        post(client, &self.0, RECORD)
    }
}

fn made_up_by(like: Option<&Secret>, prng: &mut Prng) -> Secret {
    let shape = like
        .map(Secret::reveal)
        .filter(|key| key[kind_length(key)..].contains(|c: char| c.is_ascii_alphanumeric()))
        .unwrap_or(COMMON_SHAPE);
    let kind = kind_length(shape);
    let mut another = |c: char, first: u8, count: u8| {
        let step = 1 + prng.below(u64::from(count) - 1);
        let step = u8::try_from(step).expect("there are few letters");
        char::from(first + (c as u8 - first + step) % count)
    };
    let letters = shape.char_indices().map(|(at, c)| match c {
        c if at < kind => c,
        '0'..='9' => another(c, b'0', 10),
        'a'..='f' => another(c, b'a', 6),
        'g'..='z' => another(c, b'g', 20),
        'A'..='Z' => another(c, b'A', 26),
        c => c,
    });
    Secret::new(&letters.collect::<String>()).expect("it has the letters of a secret")
}

fn kind_length(key: &str) -> usize {
    key.find('_').map_or(0, |at| at + 1)
}

fn compress(entries: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(entries).expect("writing to memory does not fail");
    gzip.finish().expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_key_has_the_shape_of_the_real_one_and_is_another() {
        let mut prng = Prng::new(1);
        for text in ["cxtp_0123456789abcXYZ", "5f0a3c9e-77b1-4c0d-9a51-2d1f00aa31bc", "key", "0"] {
            let real = Secret::new(text).unwrap();
            for _ in 0..1_000 {
                let made = made_up_by(Some(&real), &mut prng);
                let made = made.reveal();
                assert_eq!(made.len(), text.len());
                assert_eq!(made.starts_with("cxtp_"), text.starts_with("cxtp_"));
                let kind = kind_length(text);
                for (real, made) in text[kind..].chars().zip(made[kind..].chars()) {
                    assert_eq!(real == '-', made == '-', "{text}");
                    assert!(real == '-' || made != real, "{made} stays in {text}");
                }
            }
        }
        for nothing_to_change in ["_", "cxtp_", "--"] {
            let real = Secret::new(nothing_to_change).unwrap();
            let made = made_up_by(Some(&real), &mut prng);
            assert!(made.reveal().starts_with("cxtp_") && made.reveal() != nothing_to_change);
        }
        assert!(made_up_by(None, &mut prng).reveal().starts_with("cxtp_"));
    }
}
