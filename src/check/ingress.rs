//! Whether Coralogix answers at the configured address, and whether keys are checked there.
//!
//! Promises: a made-up key is tried before the real one, which is sent to nothing but Coralogix.
//! Never: IO.

use super::step::Outcome;
use crate::answer::excerpt;
use crate::cause::Cause;
use crate::coralogix::verdict::{is_blocked, is_web_page, not_coralogix};
use crate::record::Answer;

/// Whether something other than Coralogix answers; `None`: it may be Coralogix.
pub fn stranger(answer: &Answer, base: &str) -> Option<Outcome> {
    let status = status_line(answer);
    if is_blocked(answer) {
        let what = if is_web_page(answer) { "a web page" } else { "a refusal" };
        return Some(Outcome::failed(
            Cause::SinkBlocked,
            format!("{base} answers with {what} that blocks this machine ({status})"),
            "Have the proxy, firewall or address list that sent this allow this machine to \
             reach Coralogix; the API key is not the cause",
        ));
    }
    let why = not_coralogix(answer)?;
    Some(Outcome::failed(
        Cause::NotCoralogix,
        format!("{base}: {why} ({status})"),
        "Set coralogix.domain to the domain of your team (Settings > Domain); if it is right, have \
         the proxy or filter in between exempt it. Your own relay (coralogix.url) must answer 200, \
         201, 202 or 204, with an empty body, JSON or plain text, and call it that",
    ))
}

/// What the answer to a made-up key says of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    Checked,
    /// The made-up key was accepted.
    Unchecked,
    /// The content is rejected before the key is checked.
    Unproven,
    /// This answer does not show it.
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

/// A record as Coralogix documents it was rejected, and not for the made-up key.
pub fn rejects_everything(answer: &Answer, base: &str) -> Outcome {
    Outcome::failed(
        Cause::NotCoralogix,
        format!(
            "{base} rejects an empty array and a record alike ({}), and not because of the made-up \
             key they were sent with, so it does not show that it is Coralogix; your key was not \
             sent to it",
            status_line(answer)
        ),
        "Set coralogix.domain to the domain of your team (Settings > Domain). If this is your own \
         relay (coralogix.url), let it answer 401 to every key other than the one in \
         coralogix.api_key",
    )
}

pub fn unproven(answer: &Answer) -> Outcome {
    Outcome::noted(
        Cause::KeyUnproven,
        format!(
            "a made-up key is rejected, but an empty array is rejected whatever the key is ({}), so \
             your key could not be checked",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_accepts_a_made_up_key_checks_none() {
        for (statuses, keys_are) in [
            (&[200, 201, 204, 299][..], Keys::Unchecked),
            (&[401, 403], Keys::Checked),
            (&[400, 422], Keys::Unproven),
            (&[199, 300, 402, 404, 429, 500, 503], Keys::Unknown),
        ] {
            for status in statuses {
                let answer = Answer { status: *status, ..Answer::default() };
                assert_eq!(keys(&answer), keys_are, "{status}");
            }
        }
    }
}
