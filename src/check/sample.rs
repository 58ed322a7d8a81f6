//! What a page of a stream costs over this link: a page of the size with which `run` would begin is
//! requested, timed and thrown away.
//!
//! Promises: says nothing about larger pages than the one that was received; where a page of that
//! size can't be had, smaller ones are tried as by `run`, three requests in all. Never: changes
//! what `run` learned.

use super::interpret;
use super::step::{Name, Outcome, Step};
use crate::cause::Cause;
use crate::core::size::fitting;
use crate::edge::Ask;
use crate::edge::system::{Service, ask};
use crate::limits::{PROBE_BACK_HOURS, SAMPLE_BYTES_MIN, SAMPLE_SMALLER};
use crate::net::client::Client;
use crate::os::clock::{self, mono};
use crate::plain::count;
use crate::record::{Answer, Bound, Kind, NetTrouble};
use crate::s1::page;
use crate::s1::request::{Query, page_path};
use crate::time::{Span, Stamp};

/// A stream, and with which page `run` would begin.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub kind: Kind,
    /// Rows requested in the first page.
    pub rows: u32,
    /// The time limit of an exchange, and the longest page in bytes.
    pub whole: Span,
    pub most: u64,
}

/// A page that was received.
#[derive(Clone, Copy, Debug)]
struct Came {
    asked: u32,
    rows: usize,
    /// As received: compressed.
    bytes: u64,
    took: Span,
}

/// The result of a request for a number of rows.
enum Tried {
    Answer(Answer, Came),
    Trouble(NetTrouble),
}

impl Sample {
    /// Whether the stream may be read, and how large its pages can be.
    pub fn step(self, service: &mut Service) -> Step {
        let begun = mono();
        let mut smaller = [self.rows / SAMPLE_SMALLER, 1].into_iter().filter(|rows| *rows > 0);
        let mut tried = self.page(service, self.rows);
        let failed = too_large(&tried).filter(|_| self.rows > 1);
        while failed.is_some() && too_large(&tried).is_some() {
            let Some(rows) = smaller.next() else { break };
            tried = self.page(service, rows);
        }
        let outcome = self.assess(&service.client, tried, failed.as_deref());
        Step { name: Name::Stream(self.kind), outcome, took: mono().since(begun) }
    }

    fn page(self, service: &mut Service, asked: u32) -> Tried {
        let from = clock::local().max(Stamp::EPOCH) - Span::hours(PROBE_BACK_HOURS);
        let (from, cursor) = (from.max(Stamp::EPOCH), None);
        let path =
            page_path(&Query { kind: self.kind, from, to: None, cursor, rows_max: asked, skip: 0 });
        let (before, begun) = (service.client.wire().received_bytes(), mono());
        match ask(service, &Ask::Page(path), self.most) {
            Err(trouble) => Tried::Trouble(trouble),
            Ok(answer) => {
                let rows = page::scan(&answer.body, self.kind).map_or(0, |page| page.rows.len());
                let bytes = service.client.wire().received_bytes() - before;
                Tried::Answer(answer, Came { asked, rows, bytes, took: mono().since(begun) })
            }
        }
    }

    fn assess(self, client: &Client, tried: Tried, before: Option<&str>) -> Outcome {
        match tried {
            Tried::Answer(answer, came) => {
                let outcome = interpret::stream(&answer, self.kind, client.base());
                match outcome {
                    Outcome::Passed(text) => self.paced(&text, came, before),
                    other => other,
                }
            }
            Tried::Trouble(trouble) => {
                let steps = client.wire().steps();
                let outcome = interpret::no_answer(&trouble, &steps, client.base(), "tenant");
                match (outcome, trouble) {
                    (Outcome::Failed(mut fault), NetTrouble::Timeout(late)) if self.rows > 1 => {
                        let (rows, next) = (self.rows, self.rows / 2);
                        fault.what += &format!(
                            "; {rows} rows were requested, and `run` would request {next} next"
                        );
                        if late.bound == Bound::Whole {
                            fault.remedy =
                                "No action needed: `run` finds the page size that this link can \
                                 carry; or raise network.exchange_timeout"
                                    .to_owned();
                        }
                        Outcome::Failed(fault)
                    }
                    (outcome, _) => outcome,
                }
            }
        }
    }

    /// `text`: says that the stream may be read.
    fn paced(self, text: &str, came: Came, before: Option<&str>) -> Outcome {
        let Came { rows, bytes, took, .. } = came;
        let text = format!("{text}; {}, {} in {took}", count(rows, "row"), count(bytes, "byte"));
        let makes_smaller = |why: String| {
            Outcome::noted(
                Cause::PagesSmaller,
                format!("{text}; {why}"),
                "No action needed: smaller pages are requested until they arrive in time",
            )
        };
        if let Some(words) = before {
            let (asked, came) = (count(self.rows, "row"), came.asked);
            return makes_smaller(format!(
                "a page of {asked} did not arrive ({words}), one of {came} did"
            ));
        }
        match self.fitting(came) {
            None => Outcome::Passed(text),
            Some((full, fit)) => {
                let (asked, whole) = (count(self.rows, "row"), self.whole);
                let bound = if full > whole { "longer than" } else { "more than half of" };
                makes_smaller(format!(
                    "a page of {asked} would take {full} here, {bound} \
                     network.exchange_timeout ({whole}), so `run` requests {fit} at a time"
                ))
            }
        }
    }

    /// How long a page of the requested size would take, and how many rows take half of the time
    /// limit; `None`: the requested size is possible, or too little was received to tell.
    fn fitting(self, came: Came) -> Option<(Span, u32)> {
        if came.bytes < SAMPLE_BYTES_MIN || came.rows == 0 {
            return None;
        }
        let (rows, took) = (came.rows as u64, came.took.as_ms().max(1));
        let full = Span::ms(took.saturating_mul(u64::from(came.asked)) / rows);
        let fit = fitting(rows, came.took, self.whole);
        let fit = u32::try_from(fit).unwrap_or(u32::MAX).max(1);
        (full.as_ms() > self.whole.as_ms() / 2 && fit < came.asked).then_some((full, fit))
    }
}

/// What `run` would take for a sign that the page was too large, in words. A link that is too slow
/// takes long to show it, and is not asked again.
fn too_large(tried: &Tried) -> Option<String> {
    match tried {
        Tried::Answer(answer, _) if matches!(answer.status, 400 | 500 | 502 | 504) => {
            Some(format!("HTTP {}", answer.status))
        }
        Tried::Trouble(trouble @ NetTrouble::TooLong(_)) => Some(trouble.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::edge::system::Services;
    use crate::limits::PAGE_BYTES_MAX;
    use crate::net::loopback::{Server, answer, config, inline, receive};
    use crate::net::proxy::ProxyEnvironment;
    use crate::record::Late;

    const SAMPLE: Sample = Sample {
        kind: Kind::Activities,
        rows: 1_000,
        whole: Span::minutes(15),
        most: PAGE_BYTES_MAX,
    };

    fn came(rows: usize, bytes: u64, took: Span) -> Came {
        Came { asked: 1_000, rows, bytes, took }
    }

    #[test]
    fn a_page_that_takes_more_than_half_of_the_time_is_told_with_what_fits() {
        for (rows, bytes, took, fitting) in [
            (1_000, 260_000, Span::minutes(2), None),
            (1_000, 260_000, Span::minutes(10), Some((Span::minutes(10), 750))),
            // A tenth of it came, at a pace that leaves no doubt.
            (100, 26_000, Span::seconds(104), Some((Span::seconds(1_040), 432))),
            // A quiet stream over a satellite says nothing of large pages.
            (1, 900, Span::seconds(2), None),
            (0, 90_000, Span::minutes(14), None),
        ] {
            assert_eq!(SAMPLE.fitting(came(rows, bytes, took)), fitting, "{rows} {bytes} {took}");
        }
        let Outcome::Noted(fault) =
            SAMPLE.paced("readable", came(100, 26_000, Span::seconds(104)), None)
        else {
            panic!("a person is told")
        };
        assert!(fault.what.contains("100 rows, 26000 bytes in 1m 44s"), "{}", fault.what);
        assert!(fault.what.contains("longer than network.exchange_timeout"), "{}", fault.what);
        assert!(fault.what.contains("so `run` requests 432 at a time"), "{}", fault.what);
    }

    /// A tenant that has pages of so many rows at most, and tells each number that is asked for.
    fn tenant(most: u32, too_large: &'static str) -> (Service, Server, Receiver<(u32, Stamp)>) {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let server = Server::start(None, move |wire, _| {
            while let Some(request) = receive(wire) {
                let value = |name: &str| {
                    let (_, rest) = request.head.split_once(name).unwrap();
                    rest.split(['&', ' ']).next().unwrap().replace("%3A", ":")
                };
                let rows = value("limit=").parse().unwrap();
                tell.lock().unwrap().send((rows, Stamp::parse(&value("__gte=")).unwrap())).unwrap();
                let status = if rows > most { too_large } else { "200 OK" };
                // A page is too large by its length, or by what its status says.
                let blanks = if rows > most && status == "200 OK" { 4 << 10 } else { 0 };
                let body = format!("{{\"data\":[]}}{}", " ".repeat(blanks));
                answer(wire, status, "", body.as_bytes());
            }
        });
        let base = format!("http://127.0.0.1:{}", server.port);
        let config = config(&base, inline("tok"), inline("key"));
        let environment = ProxyEnvironment::default();
        let services = Services::new(&config, &environment, &Arc::default(), &Arc::default());
        (services.unwrap().tenants.remove(0), server, told)
    }

    #[test]
    fn where_a_page_can_not_be_had_smaller_ones_are_tried_until_one_comes() {
        // What a console says of a page that it can't make, and a page that is longer than it may be.
        for too_large in ["504 Late", "500 Error", "502 Bad", "400 Bad", "200 OK"] {
            for (rows, most, asked, came) in [
                (1_000, 1_000, &[1_000][..], "0 rows"),
                (1_000, 100, &[1_000, 100], "one of 100 did"),
                (1_000, 1, &[1_000, 100, 1], "one of 1 did"),
                (1_000, 0, &[1_000, 100, 1], ""),
                (5, 1, &[5, 1], "one of 1 did"),
                (1, 0, &[1], ""),
            ] {
                let (mut service, _server, told) = tenant(most, too_large);
                let sample = Sample { rows, most: 1 << 10, ..SAMPLE };
                let step = sample.step(&mut service);
                let (seen, from): (Vec<u32>, Vec<Stamp>) = told.try_iter().unzip();
                assert_eq!(seen, asked, "{too_large} {most}");
                let day_ago = clock::local() - Span::hours(PROBE_BACK_HOURS);
                assert!(from.iter().all(|from| *from <= day_ago), "{from:?}");
                match &step.outcome {
                    Outcome::Passed(text) => assert!(text.contains(came), "{text}"),
                    Outcome::Noted(fault) => assert!(fault.what.ends_with(came), "{fault:?}"),
                    other => assert!(came.is_empty(), "{other:?}"),
                }
                assert_eq!(matches!(step.outcome, Outcome::Failed(_)), came.is_empty(), "{step:?}");
            }
        }
        let (mut service, _server, told) = tenant(0, "503 Busy");
        SAMPLE.step(&mut service);
        assert_eq!(told.try_iter().count(), 1, "that says nothing of its size");
    }

    #[test]
    fn each_page_is_measured_alone() {
        let (mut service, _server, _told) = tenant(1_000, "504 Late");
        let mut bytes = || {
            let step = SAMPLE.step(&mut service);
            let Outcome::Passed(text) = step.outcome else { panic!("{step:?}") };
            text.split_once("0 rows, ").unwrap().1.split_once(" in ").unwrap().0.to_owned()
        };
        let first = bytes();
        assert_eq!((bytes(), bytes()), (first.clone(), first));
    }

    #[test]
    fn a_page_that_does_not_come_in_time_is_told_with_the_next_size() {
        let (service, _server, _told) = tenant(0, "504 Late");
        let late = |bound| {
            let after = Span::seconds(60);
            Tried::Trouble(NetTrouble::Timeout(Late { bound, after, sent: 1, received: 0 }))
        };
        for (rows, bound, next, remedy) in [
            (
                1_000,
                Bound::Whole,
                "; 1000 rows were requested, and `run` would request 500 next",
                true,
            ),
            (
                1_000,
                Bound::Silence,
                "; 1000 rows were requested, and `run` would request 500 next",
                false,
            ),
            (1, Bound::Whole, "", false),
        ] {
            let sample = Sample { rows, ..SAMPLE };
            let told = sample.assess(&service.client, late(bound), None);
            let Outcome::Failed(fault) = told else { panic!("{told:?}") };
            assert!(fault.what.ends_with(next), "{}", fault.what);
            assert_eq!(fault.what.contains("were requested"), rows > 1, "{}", fault.what);
            assert_eq!(fault.remedy.starts_with("No action needed"), remedy, "{}", fault.remedy);
        }
    }

    #[test]
    fn what_fails_for_its_size_is_told_with_the_size_that_came() {
        let small = Came { asked: 100, ..came(100, 26_000, Span::seconds(1)) };
        let Outcome::Noted(fault) = SAMPLE.paced("readable", small, Some("HTTP 504")) else {
            panic!("a person is told")
        };
        assert!(
            fault.what.ends_with("a page of 1000 rows did not arrive (HTTP 504), one of 100 did"),
            "{}",
            fault.what
        );
    }
}
