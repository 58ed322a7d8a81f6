//! What both services' answers have in common: `Retry-After`, a cache's age, where a redirect leads, and
//! their words fit for a log line.
//!
//! Promises: nothing of a remote party gets out of here longer than its bound, on more than one
//! line, or with a control character in it (keeps P10). Never: reads a clock; a date is measured
//! against the answer's own `Date` (keeps P8).

use crate::limits;
use crate::plain::one_line;
use crate::record::Answer;
use crate::time::{BUILT_AT, Span, Stamp};

/// The time that an answer tells. A `Date` before the program's own date is none: no clock can rightly
/// stand there, and what is measured by it would be wrong by years (keeps P8).
pub fn date(answer: &Answer) -> Option<Stamp> {
    answer.sent_date.filter(|date| *date >= BUILT_AT)
}

/// Whether it is HTML, by its type or its first byte: a service refuses so at most, and what stands
/// between may say anything. What no ingress sends is more: `coralogix::verdict::is_web_page`.
pub fn is_html(answer: &Answer) -> bool {
    let said = answer.content_type.as_deref().unwrap_or("").to_ascii_lowercase();
    said.contains("html") || begins_with_a_tag(&answer.body)
}

/// Whether `<` stands first, after blanks, other control characters, and the marks of an encoding: of
/// UTF-8, or of UTF-16, in which every other byte of it is 0.
pub fn begins_with_a_tag(body: &[u8]) -> bool {
    let is_skipped = |byte: u8| byte <= b' ' || matches!(byte, 0xef | 0xbb | 0xbf | 0xfe | 0xff);
    body.iter().copied().find(|byte| !is_skipped(*byte)) == Some(b'<')
}

/// How old an answer is that a cache repeated: older than anything that could be asked for now.
pub fn cached(answer: &Answer) -> Option<Span> {
    answer.age.filter(|age| *age > Span::seconds(limits::ANSWER_AGE_SECONDS_MAX))
}

/// The value of `Date`.
pub fn parse_date(text: Option<&str>) -> Option<Stamp> {
    text.and_then(Stamp::parse_http_date)
}

/// The value of `Retry-After`, in either form of RFC 9110 section 10.2.3.
///
/// A date without a `Date` beside it says nothing: the local clock may be years off. Nor does anyone
/// confirm that `Date`, so a date never means more than an hour.
pub fn parse_retry_after(text: Option<&str>, sent_date: Option<Stamp>) -> Option<Span> {
    let text = text?.trim();
    let most = Span::hours(limits::RETRY_AFTER_HOURS_MAX);
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number can hold is still a wish to be left alone for long.
        return Some(text.parse().map_or(most, Span::seconds).min(most));
    }
    let until = Stamp::parse_http_date(text)?;
    Some(until.since(sent_date?).min(Span::hours(limits::RETRY_AFTER_DATE_HOURS_MAX)))
}

/// The beginning of a body as one line of text.
pub fn excerpt(body: &[u8]) -> String {
    // Only the head is looked at: the rest of a 24 MB body would be decoded for nothing. Twice the
    // bound, because white space is squeezed.
    let head = &body[..body.len().min(2 * limits::EXCERPT_BYTES_MAX)];
    one_line(&String::from_utf8_lossy(head))
}

/// What a web page says to who looks at it, as one line; a body that is none is taken as it is.
pub fn page_text(body: &[u8]) -> String {
    let head = String::from_utf8_lossy(&body[..body.len().min(limits::PAGE_TEXT_BYTES_MAX)]);
    if !head.trim_start().starts_with('<') {
        return one_line(&head);
    }
    let mut text = String::new();
    let mut rest = head.as_ref();
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        let small = tag.get(..7).unwrap_or(tag).to_ascii_lowercase();
        // What these hold is for the browser.
        let hidden = ["script", "style", "!--"].into_iter().find(|name| small.starts_with(name));
        let end = match hidden {
            Some("script") => "</script>",
            Some("style") => "</style>",
            Some(_) => "-->",
            None => ">",
        };
        let at = match hidden {
            Some(_) => tag.to_ascii_lowercase().find(end),
            None => tag.find(end),
        };
        rest = at.map_or("", |at| &tag[at + end.len()..]);
    }
    text.push_str(rest);
    let entities =
        [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")];
    let text = entities.iter().fold(text, |text, (entity, plain)| text.replace(entity, plain));
    match one_line(&text) {
        line if line.is_empty() => excerpt(body),
        line => line,
    }
}

/// Where a redirect leads, for people: the host alone, for what follows it may hold a secret.
pub fn redirect_host(answer: &Answer) -> Option<String> {
    let to = answer.location.as_deref()?.trim();
    let Some((_, rest)) = to.split_once("//").filter(|(scheme, _)| {
        scheme.is_empty() || scheme.ends_with(':') && !scheme.contains(['/', '?', '#'])
    }) else {
        return Some("another path of the same host".to_owned());
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(one_line(host)).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(retry_after: &str, date: Option<&str>) -> Option<Span> {
        retry_after_of(Some(retry_after), date)
    }

    fn retry_after_of(retry_after: Option<&str>, date: Option<&str>) -> Option<Span> {
        parse_retry_after(retry_after, parse_date(date))
    }

    #[test]
    fn retry_after_is_read_in_both_forms_against_the_answers_own_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let day = Span::hours(24);
        for (text, date, span) in [
            ("0", None, Some(Span::ZERO)),
            (" 120 ", None, Some(Span::seconds(120))),
            ("86401", None, Some(day)),
            ("99999999999999999999999999", None, Some(day)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", date, Some(Span::minutes(1))),
            ("Sun, 06 Nov 1994 08:49:00 GMT", date, Some(Span::ZERO)),
            ("Sat, 06 Nov 2094 08:49:00 GMT", date, Some(Span::hours(1))),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, None),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some("yesterday"), None),
            ("-5", None, None),
            ("1.5", None, None),
            ("", None, None),
            ("soon", date, None),
        ] {
            assert_eq!(asked(text, date), span, "{text}");
        }
        assert_eq!(retry_after_of(None, date), None);
    }

    #[test]
    fn a_date_before_the_program_is_no_date() {
        let told =
            |text: &str| date(&Answer { sent_date: parse_date(Some(text)), ..Answer::default() });
        assert_eq!(told("Thu, 01 Jan 1970 00:00:00 GMT"), None);
        let at = |stamp: Stamp| {
            httpdate::fmt_http_date(std::time::UNIX_EPOCH + stamp.since(Stamp::EPOCH).as_duration())
        };
        assert_eq!(told(&at(BUILT_AT - Span::seconds(1))), None);
        assert_eq!(told(&at(BUILT_AT)), Some(BUILT_AT));
        assert_eq!(told("Sat, 06 Nov 2094 08:49:37 GMT"), Some(Stamp::from_seconds(3_939_871_777)));
        assert_eq!(told("yesterday"), None);
        assert_eq!(date(&Answer::default()), None);
    }

    #[test]
    fn a_page_is_told_by_what_it_shows() {
        for (page, text) in [
            ("", ""),
            ("plain < text", "plain < text"),
            ("<html><title>403</title>\n<p>No &amp; <b>no</b></p>", "403 No & no"),
            ("<SCRIPT>if (a < b) {}</SCRIPT><style>p > q {}</style><!-- <p> -->Hi", "Hi"),
            ("<p>cut in <a href=", "cut in"),
            ("<script>never ended", "<script>never ended"),
            ("<p>\u{202e}\u{1b}[2Jx", "[2Jx"),
        ] {
            assert_eq!(page_text(page.as_bytes()), text, "{page}");
        }
        let long = format!("<style>{}</style><p>Blocked{}", "x".repeat(2_000), "y".repeat(2_000));
        let text = page_text(long.as_bytes());
        assert!(text.starts_with("Blockedy") && text.len() <= limits::EXCERPT_BYTES_MAX, "{text}");
    }

    #[test]
    fn of_a_redirect_the_host_is_told_and_nothing_that_could_be_a_secret() {
        for (location, host) in [
            ("https://new.sentinelone.net/web/api?token=s3cret", Some("new.sentinelone.net")),
            ("https://new.sentinelone.net:8443", Some("new.sentinelone.net:8443")),
            ("//sso.example/login#s3cret", Some("sso.example")),
            ("https://user:s3cret@sso.example?x", Some("sso.example")),
            ("/login?next=https://s3cret//x", Some("another path of the same host")),
            ("https://\u{1b}[2J\u{202e}x\r\ny/", Some("[2J x y")),
            ("https:///", None),
        ] {
            let answer = Answer { location: Some(location.to_owned()), ..Answer::default() };
            assert_eq!(redirect_host(&answer).as_deref(), host, "{location}");
        }
        assert_eq!(redirect_host(&Answer::default()), None);
    }

    #[test]
    fn an_excerpt_is_one_short_line_without_controls() {
        assert_eq!(excerpt(b"<html>\r\n <b>429\x1b[31m</b>\t\n"), "<html> <b>429 [31m</b>");
        assert_eq!(excerpt("a\u{202e}b\u{0}c".as_bytes()), "a b c");
        assert_eq!(excerpt(b" \n "), "");
        assert_eq!(excerpt(b"caf\xe9"), "caf\u{fffd}");
        for body in ["x".repeat(5_000), "\u{20ac}".repeat(5_000)] {
            let line = excerpt(body.as_bytes());
            assert!(line.len() <= limits::EXCERPT_BYTES_MAX && line.len() > 190, "{}", line.len());
        }
    }
}
