//! Whether Coralogix answers at the address of `check`, and whether keys are looked at there.
//!
//! Promises: a key that nobody issued is tried before the real one, which is not sent to what is not
//! Coralogix. Never: IO.

use super::cause::Cause;
use super::step::Outcome;
use crate::answer::excerpt;
use crate::coralogix::verdict::{is_web_page, not_coralogix};
use crate::record::Answer;

/// Something else than Coralogix; `None`: it may be it.
pub fn stranger(answer: &Answer, base: &str) -> Option<Outcome> {
    let told = status_line(answer);
    if matches!(answer.status, 401 | 403) && is_web_page(answer) {
        return Some(Outcome::failed(
            Cause::SinkBlocked,
            format!("{base} answers with a web page that blocks this machine ({told})"),
            "Have the proxy, firewall or address list that sent the page allow this machine to \
             reach Coralogix; the API key is not the cause",
        ));
    }
    let why = (200..300).contains(&answer.status).then(|| not_coralogix(answer)).flatten()?;
    Some(Outcome::failed(
        Cause::NotCoralogix,
        format!("{base}: {why} ({told})"),
        "Set coralogix.domain to the domain of your team (Settings > Domain); if it is right, have \
         the proxy or filter in between exempt it. Your own relay (coralogix.url) must answer 200, \
         201, 202 or 204, without a web page or the Content-Type of one",
    ))
}

/// What the answer to an empty array with a key that nobody issued says of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    Checked,
    /// It is taken.
    Unchecked,
    /// An empty array is refused before the key is looked at.
    Unproven,
    /// It can't be told now.
    Unknown,
}

pub fn keys(answer: &Answer) -> Keys {
    match answer.status {
        200..=299 => Keys::Unchecked,
        401 | 403 => Keys::Checked,
        400 | 422 => Keys::Unproven,
        _ => Keys::Unknown,
    }
}

pub fn unchecked(answer: &Answer, base: &str) -> Outcome {
    Outcome::failed(
        Cause::KeysUnchecked,
        format!(
            "{base} accepted a made-up key ({}): it does not check keys, so it is not Coralogix, \
             or a relay that accepts anything; your key was not sent to it",
            status_line(answer)
        ),
        "Set coralogix.domain to the domain of your team (Settings > Domain). If this is your own \
         relay (coralogix.url), let it answer 401 to every key other than the one in \
         coralogix.api_key: otherwise it can't be distinguished from a server that discards \
         everything",
    )
}

pub fn unproven(answer: &Answer) -> Outcome {
    Outcome::noted(
        Cause::KeyUnproven,
        format!(
            "an empty array is rejected whatever the key is ({}), so the key could not be checked",
            status_line(answer)
        ),
        "Start the daemon and check `status`: the first record shows whether the key is accepted",
    )
}

fn status_line(answer: &Answer) -> String {
    let words = excerpt(&answer.body);
    match words.is_empty() {
        true => format!("HTTP {}", answer.status),
        false => format!("HTTP {}: {words}", answer.status),
    }
}
