//! What goes wrong, where and how often: rules that both servers look up before they answer.
//!
//! Promises: rules are used in the order they were made; one with a count ends by itself.

use std::time::Duration;

use super::clock::Clock;
use super::data::Kind;
use super::http::{Act, After, Reply};

/// Which requests a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Anything,
    Stream(Kind),
    /// Pages asked for with a cursor.
    Cursor,
    SystemInfo,
    TokenDetails,
    Singles,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Seconds(u64),
    /// As an HTTP date this far ahead of the server's own clock.
    Date(Duration),
    Text(&'static str),
}

impl RetryAfter {
    pub fn text(self, clock: &Clock) -> String {
        match self {
            RetryAfter::Seconds(seconds) => seconds.to_string(),
            RetryAfter::Date(ahead) => {
                let us = i64::try_from(ahead.as_micros()).unwrap();
                super::clock::http_date(clock.now_us() + us)
            }
            RetryAfter::Text(text) => text.to_string(),
        }
    }
}

/// What happens instead of, or to, the real answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This answer instead of the real one; the request has no effect.
    Answer {
        status: u16,
        content_type: &'static str,
        body: Vec<u8>,
        retry_after: Option<RetryAfter>,
    },
    /// Elsewhere, for a client that would follow.
    Redirect {
        status: u16,
        to: String,
    },
    /// The real answer, late.
    Slow(Duration),
    /// The real answer, this many bytes at a time with this pause between.
    Drip(usize, Duration),
    /// The real answer without its second half.
    Cut,
    /// The real answer, and then something about the connection.
    Then(After),
    /// The request has its effect, and the connection closes without an answer.
    LostReply,
    /// The request has its effect, and the connection is reset.
    LostReplyByReset,
    /// No effect and no answer.
    Close,
    Reset,
    /// Reset while the body is still on its way.
    ResetBeforeBody,
    Stall,
    /// Tenant: `"data": null`.
    DataNull,
    /// Tenant: `data` is an object.
    DataObject,
    /// Tenant: no `pagination` at all.
    NoPagination,
    /// Tenant: the real answer as a cache repeats it that has had it for so many seconds.
    Aged(u32),
    /// Ingress: takes the batch and answers 200 with this body.
    Remark(&'static str),
}

impl Fault {
    pub fn status(status: u16) -> Fault {
        Fault::Answer {
            status,
            content_type: "application/json",
            body: Vec::new(),
            retry_after: None,
        }
    }

    pub fn answer(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Fault {
        Fault::Answer { status, content_type, body: body.into(), retry_after: None }
    }

    /// The edge's own words, in HTML whatever was asked for.
    pub fn too_many(retry_after: Option<RetryAfter>) -> Fault {
        let body = html("429 Too Many Requests").into_bytes();
        Fault::Answer { status: 429, content_type: "text/html", body, retry_after }
    }

    pub fn unavailable(retry_after: Option<RetryAfter>) -> Fault {
        let body = html("503 Service Temporarily Unavailable").into_bytes();
        Fault::Answer { status: 503, content_type: "text/html", body, retry_after }
    }

    pub fn bad_gateway_text() -> Fault {
        Fault::answer(502, "text/plain", "Bad Gateway")
    }

    pub fn internal_error_json() -> Fault {
        let body = error_body(5_000_010, "Internal server error", "\"The server gave up.\"");
        Fault::answer(500, "application/json", body)
    }

    /// As the parts written in Java answer.
    pub fn internal_error_spring() -> Fault {
        let body = r#"{"timestamp":"2026-01-01T00:00:00.000+00:00","status":500,"error":"Internal Server Error","path":"/x"}"#;
        Fault::answer(500, "application/json", body)
    }

    /// A login page with a 200, as a portal in between shows it.
    pub fn html_with_200() -> Fault {
        Fault::answer(200, "text/html; charset=utf-8", html("Please sign in"))
    }

    pub fn json_garbage_with_200() -> Fault {
        Fault::answer(200, "application/json", "{\"data\": [{\"id\": \"1")
    }

    /// What this fault does without an answer of the server's own, if it is one of those.
    pub fn act(&self, clock: &Clock) -> Option<Act> {
        Some(match self {
            Fault::Answer { status, content_type, body, retry_after } => {
                let mut reply = Reply::new(*status, content_type, body.clone());
                if let Some(after) = retry_after {
                    reply = reply.with("Retry-After", after.text(clock));
                }
                reply.with("Date", clock.http_date()).into()
            }
            Fault::Redirect { status, to } => {
                Reply::new(*status, "text/html", html("Moved")).with("Location", to.clone()).into()
            }
            Fault::Close => Act::Close,
            Fault::Reset | Fault::ResetBeforeBody => Act::Reset,
            Fault::Stall => Act::Stall,
            _ => return None,
        })
    }

    /// What this fault makes of the server's own answer.
    pub fn spoil(&self, mut reply: Reply) -> Act {
        match self {
            Fault::Slow(wait) => reply.wait_before = *wait,
            Fault::Drip(bytes, pause) => reply.drip = Some((*bytes, *pause)),
            Fault::Cut => {
                reply.chunked = true;
                reply.cut_after = Some(reply.body.len() / 2);
            }
            Fault::Then(after) => reply.after = *after,
            Fault::LostReply => return Act::Close,
            Fault::LostReplyByReset => return Act::Reset,
            Fault::Aged(seconds) => reply = reply.with("Age", seconds.to_string()),
            Fault::Remark(text) => reply.body = text.as_bytes().to_vec(),
            _ => {}
        }
        reply.into()
    }
}

pub fn html(title: &str) -> String {
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"
    )
}

/// An error as the API writes it; `detail` is JSON.
pub fn error_body(code: u32, title: &str, detail: &str) -> String {
    format!("{{\"errors\": [{{\"code\": {code}, \"detail\": {detail}, \"title\": \"{title}\"}}]}}")
}

struct Rule {
    on: On,
    left: Option<u32>,
    fault: Fault,
}

#[derive(Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// `times: None` is until `clear`.
    pub fn add(&mut self, on: On, times: Option<u32>, fault: Fault) {
        self.rules.push(Rule { on, left: times, fault });
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The fault for a request that answers to these names, counted as used.
    pub fn take(&mut self, names: &[On], wanted: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let at = self.rules.iter().position(|rule| {
            (rule.on == On::Anything || names.contains(&rule.on)) && wanted(&rule.fault)
        })?;
        let rule = &mut self.rules[at];
        let fault = rule.fault.clone();
        if let Some(left) = &mut rule.left {
            *left -= 1;
            if *left == 0 {
                self.rules.remove(at);
            }
        }
        Some(fault)
    }
}
