//! Local time: the offset from UTC at a time, by this machine's time zone.
//!
//! Holds: the zone from `$TZ`, else `/etc/localtime`, else `/etc/TZ`, where OpenWrt keeps its zone.
//! Promises: a zone that can't be read is reported once, by the caller of `find`, and UTC is used.
//! Never: reads the clock.

use tz::TimeZone;

use crate::time::Stamp;

use super::host::variable;

/// Files that hold the time zone, the more common one first.
const LOCALTIME: &str = "/etc/localtime";
const OPENWRT: &str = "/etc/TZ";

#[derive(Debug)]
pub struct Zone(TimeZone);

impl Zone {
    pub fn utc() -> Zone {
        Zone(TimeZone::utc())
    }

    /// The zone of a rule.
    #[cfg(test)]
    pub fn of(rule: &str) -> Zone {
        Zone(TimeZone::from_posix_tz(rule).expect("a test gives a rule"))
    }

    /// The zone of this machine, and what is wrong with its setting.
    pub fn find() -> (Zone, Option<String>) {
        let (from, found) = match variable("TZ") {
            Some(name) => ("TZ".to_owned(), TimeZone::from_posix_tz(&name).map_err(text)),
            None => match (std::fs::read(LOCALTIME), std::fs::read_to_string(OPENWRT)) {
                (Ok(bytes), _) => {
                    (LOCALTIME.to_owned(), TimeZone::from_tz_data(&bytes).map_err(text))
                }
                (Err(_), Ok(words)) => {
                    (OPENWRT.to_owned(), TimeZone::from_posix_tz(words.trim()).map_err(text))
                }
                (Err(_), Err(_)) => return (Zone(TimeZone::utc()), None),
            },
        };
        match found {
            Ok(zone) => (Zone(zone), None),
            Err(why) => {
                let problem = format!(
                    "The time zone of {from} can't be read ({why}); the time windows use UTC. Set \
                     TZ to a zone like CET-1CEST,M3.5.0,M10.5.0/3"
                );
                (Zone(TimeZone::utc()), Some(problem))
            }
        }
    }

    /// Seconds since local midnight.
    pub fn second_of_day(&self, at: Stamp) -> u32 {
        let unix = at.0.div_euclid(1_000_000);
        let offset = self.0.find_local_time_type(unix).map_or(0, |found| found.ut_offset());
        let local = unix.saturating_add(i64::from(offset)).rem_euclid(86_400);
        u32::try_from(local).expect("a day has 86,400 seconds")
    }
}

fn text(why: impl std::fmt::Display) -> String {
    why.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_gives_winter_and_summer_time() {
        let zone = Zone::of("CET-1CEST,M3.5.0,M10.5.0/3");
        for (utc, second) in [
            ("2026-01-31T01:00:00Z", 2 * 3_600),
            ("2026-03-29T00:59:59Z", 2 * 3_600 - 1),
            ("2026-03-29T01:00:00Z", 3 * 3_600),
            ("2026-07-31T23:30:00Z", 5_400),
        ] {
            assert_eq!(zone.second_of_day(Stamp::parse(utc).unwrap()), second, "{utc}");
        }
    }

    #[test]
    fn a_time_far_off_is_still_a_time_of_day() {
        let zone = Zone(TimeZone::utc());
        for stamp in [Stamp::MIN, Stamp(-1), Stamp::UNREADABLE] {
            assert!(zone.second_of_day(stamp) < 86_400);
        }
        assert_eq!(zone.second_of_day(Stamp(-1)), 86_399);
    }
}
