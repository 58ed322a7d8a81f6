//! systemd notifications: `READY=1`, `WATCHDOG=1` and a line of status over the notify socket.
//!
//! Promises: without a supervisor it does nothing; a supervisor that does not read stops nothing.
//! The watchdog is fed by steps of the loop and by bytes that are transferred, never by a timer, so
//! that a hang is noticed.
//! Protocol: sd_notify(3).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::limits;
use crate::plain;
use crate::time::{Mono, Span};

use super::clock::mono;
use super::host::variable;
use super::regular;
use super::watch::{self, On};

pub struct Notify {
    socket: Option<UnixDatagram>,
    /// How often the watchdog is fed: half of the interval that systemd allows.
    feed_every: Option<Span>,
    fed: Option<Mono>,
    sent: String,
}

/// A sign of life from within an exchange that makes progress: such an exchange may last longer
/// than systemd waits, and longer than the status file may be old. And one from a step, where that
/// file can't be written.
#[derive(Debug)]
pub struct Pulse {
    /// The notify socket, where a watchdog is to be fed.
    watchdog: Option<UnixDatagram>,
    /// A file whose modification time is a sign of life, as that of the status file is.
    sign: PathBuf,
    every: Span,
    pulsed: AtomicU64,
}

impl Pulse {
    /// `sign`: a file of the program's own in the queue's directory, which exists while it runs.
    pub fn new(sign: PathBuf) -> Pulse {
        let Notify { socket, feed_every, .. } = Notify::from_environment();
        let usual = Span::seconds(limits::STATUS_SECONDS_MAX);
        Pulse {
            watchdog: socket.filter(|_| feed_every.is_some()),
            sign,
            every: feed_every.map_or(usual, |every| every.min(usual)),
            pulsed: AtomicU64::new(mono().0),
        }
    }

    /// There was progress.
    pub fn beat(&self) {
        let now = mono();
        if now.since(Mono(self.pulsed.load(Ordering::Relaxed))) < self.every {
            return;
        }
        self.pulsed.store(now.0, Ordering::Relaxed);
        // Ignore the error: the supervisor may be gone.
        if let Some(watchdog) = &self.watchdog {
            let _ = watchdog.send(b"WATCHDOG=1\n");
        }
        let touch = || regular::open(&self.sign).and_then(|file| file.set_modified(wall_time()));
        let _ = watch::within("touching its lock", On::Queue, touch);
    }
}

#[expect(clippy::disallowed_methods, reason = "this module dates its files by the local clock")]
fn wall_time() -> SystemTime {
    SystemTime::now()
}

impl Notify {
    /// Reads `$NOTIFY_SOCKET` and `$WATCHDOG_USEC`, which systemd sets for `Type=notify`.
    pub fn from_environment() -> Notify {
        let socket = variable("NOTIFY_SOCKET").and_then(|name| connect(&name).ok());
        let watched =
            variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let usec = variable("WATCHDOG_USEC").and_then(|text| text.parse::<u64>().ok());
        let feed_every =
            usec.filter(|usec| watched && *usec > 0).map(|usec| Span::ms(usec / 2_000));
        Notify { socket, feed_every, fed: None, sent: String::new() }
    }

    pub fn ready(&mut self) {
        self.send("READY=1\n");
    }

    pub fn stopping(&mut self) {
        self.send("STOPPING=1\n");
    }

    /// A step of the loop was made. `text` is one line for `systemctl status`.
    pub fn step(&mut self, now: Mono, text: &str) {
        if self.socket.is_none() {
            return;
        }
        let mut message = String::new();
        if text != self.sent {
            message.push_str(&format!("STATUS={}\n", plain::line(text)));
            text.clone_into(&mut self.sent);
        }
        let is_hungry = match (self.feed_every, self.fed) {
            // The first step that may take long begins with the full interval.
            (Some(_), Some(fed)) => now.since(fed) >= Span::ms(limits::WATCHDOG_FED_MS),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if is_hungry {
            message.push_str("WATCHDOG=1\n");
            self.fed = Some(now);
        }
        if !message.is_empty() {
            self.send(&message);
        }
    }

    /// The longest that the loop may sleep so that the watchdog is fed in time.
    pub fn sleep_max(&self) -> Option<Span> {
        self.socket.as_ref().and(self.feed_every)
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.socket {
            // Ignore the error: a full or closed socket is for the supervisor to mend.
            let _ = socket.send(message.as_bytes());
        }
    }
}

/// A name that begins with `@` is in the abstract namespace.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(name: &str) -> (UnixDatagram, String) {
        let name = format!("s1-coralogix-notify-{}-{name}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}"))
    }

    fn heard(socket: &UnixDatagram) -> String {
        socket.set_nonblocking(true).unwrap();
        let mut all = String::new();
        let mut bytes = [0; 500];
        while let Ok(n) = socket.recv(&mut bytes) {
            all.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
        all
    }

    #[test]
    fn the_watchdog_is_fed_by_steps_in_time_and_status_told_when_it_changes() {
        let (socket, name) = listener("steps");
        let feed_every = Some(Span::seconds(30));
        let socket_of_ours = Some(connect(&name).unwrap());
        let mut notify =
            Notify { socket: socket_of_ours, feed_every, fed: None, sent: String::new() };
        notify.ready();
        assert_eq!(heard(&socket), "READY=1\n");
        notify.step(Mono(0), "healthy");
        assert_eq!(heard(&socket), "STATUS=healthy\nWATCHDOG=1\n");
        notify.step(Mono(999), "healthy");
        assert_eq!(heard(&socket), "", "many quick steps are no more words");
        notify.step(Mono(1_000), "healthy");
        assert_eq!(heard(&socket), "WATCHDOG=1\n", "a long step begins with all of the time");
        notify.step(Mono(1_001), "degraded");
        assert_eq!(heard(&socket), "STATUS=degraded\n");
        notify.stopping();
        assert_eq!(heard(&socket), "STOPPING=1\n");
    }

    #[test]
    fn progress_feeds_the_watchdog_and_touches_the_sign_of_life_at_intervals() {
        let (socket, name) = listener("pulse");
        let dir = crate::test_world::temp::TempDir::new("notify-pulse");
        let sign = dir.path().join("lock");
        let file = std::fs::File::create(&sign).unwrap();
        // Half as long as the machine runs is longer than a test.
        let every = Span::ms(mono().0 / 2);
        let pulse = |pulsed: Mono, every| Pulse {
            watchdog: Some(connect(&name).unwrap()),
            sign: sign.clone(),
            every,
            pulsed: AtomicU64::new(pulsed.0),
        };
        let is_touched = || {
            let old = SystemTime::UNIX_EPOCH;
            let is_touched = file.metadata().unwrap().modified().unwrap() != old;
            file.set_modified(old).unwrap();
            is_touched
        };
        is_touched();
        pulse(mono(), every).beat();
        assert_eq!((heard(&socket), is_touched()), (String::new(), false), "it was just now");
        let pulse_of_old = pulse(Mono::ZERO, every);
        for (words, touched) in [("WATCHDOG=1\n", true), ("", false)] {
            pulse_of_old.beat();
            assert_eq!((heard(&socket), is_touched()), (words.to_owned(), touched));
        }
        pulse(mono(), Span::ZERO).beat();
        assert_eq!((heard(&socket), is_touched()), ("WATCHDOG=1\n".to_owned(), true));
    }

    #[test]
    fn a_supervisor_that_does_not_read_stops_nothing_and_a_sleep_is_as_long_as_it_waits() {
        let (_socket, name) = listener("deaf");
        let feed_every = Some(Span::seconds(30));
        let sent = String::new();
        let socket = Some(connect(&name).unwrap());
        let mut notify = Notify { socket, feed_every, fed: None, sent };
        (0..10_000).for_each(|_| notify.ready());
        assert_eq!(notify.sleep_max(), feed_every);
        notify.feed_every = None;
        assert_eq!(notify.sleep_max(), None);
        (notify.socket, notify.feed_every) = (None, feed_every);
        assert_eq!(notify.sleep_max(), None, "nobody is to be told");
    }

    #[test]
    fn a_supervisor_that_is_gone_stops_nothing() {
        let (socket, name) = listener("gone");
        let mut notify = Notify {
            socket: Some(connect(&name).unwrap()),
            feed_every: Some(Span::seconds(1)),
            fed: None,
            sent: String::new(),
        };
        drop(socket);
        notify.ready();
        notify.step(Mono(0), "healthy");
    }
}
