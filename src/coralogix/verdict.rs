//! What an answer of Coralogix asks for.
//!
//! Promises: every status has a verdict, and only a 2xx is `Accepted`, the one verdict that deletes
//! (keeps P1). Never: reads a body for a decision. No body is documented, so one that was not seen
//! before is only told.

use crate::answer::{excerpt, retry_after};
use crate::record::{Answer, SinkVerdict};

pub fn verdict(answer: &Answer) -> SinkVerdict {
    let why = || told(answer);
    match answer.status {
        200..=299 => SinkVerdict::Accepted { remark: remark(answer) },
        413 => SinkVerdict::TooLarge(why()),
        401 | 403 => SinkVerdict::KeyRefused(why()),
        // 402: an account's matter, which passes; no record is to blame.
        402 | 408 | 425 | 429 => SinkVerdict::Busy { retry_after: retry_after(answer), why: why() },
        // A redirect is never followed: the key would go with it (keeps P7). 407 and 421 are a
        // proxy's or a gateway's, and 410 and 451 an address's; none of them is about a record.
        300..=399 | 404 | 405 | 407 | 410 | 421 | 451 => SinkVerdict::Misdirected(why()),
        // The content is refused; halving finds the record at fault.
        400..=499 => SinkVerdict::Malformed(why()),
        // 5xx, and what is no HTTP status at all.
        _ => SinkVerdict::Busy { retry_after: retry_after(answer), why: why() },
    }
}

/// What a 2xx says beyond yes. It may say that not all was accepted, and a person should know.
fn remark(answer: &Answer) -> Option<String> {
    let body = answer.body.trim_ascii();
    let usual = body.is_empty()
        || body == b"{}"
        || body == b"[]"
        || body == b"null"
        || body.eq_ignore_ascii_case(b"ok")
        || body.eq_ignore_ascii_case(b"\"ok\"");
    (!usual).then(|| excerpt(body))
}

fn told(answer: &Answer) -> String {
    let words = excerpt(&answer.body);
    if words.is_empty() {
        format!("HTTP {}", answer.status)
    } else {
        format!("HTTP {}: {words}", answer.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() }
    }

    #[test]
    fn every_answer_has_a_verdict() {
        use SinkVerdict::*;
        let accepted = |remark: Option<&str>| Accepted { remark: remark.map(str::to_owned) };
        for (status, body, expected) in [
            (200, "", accepted(None)),
            (200, " {} \n", accepted(None)),
            (204, "OK", accepted(None)),
            (202, "\"ok\"", accepted(None)),
            (200, "2 logs\nwere dropped", accepted(Some("2 logs were dropped"))),
            (413, "", TooLarge("HTTP 413".into())),
            (400, "bad\x07", Malformed("HTTP 400: bad".into())),
            (415, "", Malformed("HTTP 415".into())),
            (422, "", Malformed("HTTP 422".into())),
            (401, "", KeyRefused("HTTP 401".into())),
            (403, "<html>", KeyRefused("HTTP 403: <html>".into())),
            (301, "", Misdirected("HTTP 301".into())),
            (404, "", Misdirected("HTTP 404".into())),
            (405, "", Misdirected("HTTP 405".into())),
            (402, "", Busy { retry_after: None, why: "HTTP 402".into() }),
            (408, "", Busy { retry_after: None, why: "HTTP 408".into() }),
            (429, "slow", Busy { retry_after: None, why: "HTTP 429: slow".into() }),
            (500, "", Busy { retry_after: None, why: "HTTP 500".into() }),
            (503, "", Busy { retry_after: None, why: "HTTP 503".into() }),
            (599, "", Busy { retry_after: None, why: "HTTP 599".into() }),
        ] {
            assert_eq!(verdict(&answer(status, body)), expected);
        }
    }

    #[test]
    fn only_2xx_is_accepted() {
        for status in 0..=999 {
            let accepted = matches!(verdict(&answer(status, "")), SinkVerdict::Accepted { .. });
            assert_eq!(accepted, (200..=299).contains(&status), "{status}");
        }
    }

    #[test]
    fn a_wish_to_wait_is_heard() {
        let asked = Answer { retry_after: Some("9".into()), ..answer(429, "") };
        let retry_after = Some(Span::seconds(9));
        assert_eq!(verdict(&asked), SinkVerdict::Busy { retry_after, why: "HTTP 429".into() });
    }
}
