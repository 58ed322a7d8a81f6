//! How a connection is made: name, TCP or tunnel, TLS; and what is noticed on the way.
//!
//! Promises: every failure names the step at which it happened; a wait for the network, or for the
//! resolver, ends soon after a request to stop. Never: knows of HTTP.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time as span;
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, Transport, TransportAdapter,
};
use ureq::{Error, Timeout};

use super::addresses::{self, Lost};
use super::proxy;
use super::tcp::{Kernel, Tcp};
use super::tls::{CertificateProblem, HandshakeFailed, Tls};
use super::wire::{Dialing, Interruptible, Meter, Wire, told_to_stop, trouble};
use crate::cause::Cause;
use crate::errno::shortage_remedy;
use crate::limits::ADDRESSES_MAX;
use crate::os::clock::mono;
use crate::os::secret::plain;
use crate::os::timeout_thread::{NoReply, Pending, TimeoutThread};
use crate::problem::Problem;
use crate::record::NetTrouble;
use crate::time::Span;

/// The result of a look-up.
type Found = io::Result<Vec<SocketAddr>>;

/// Looks names up, each in a thread of its own: the system's resolver may take minutes, and can't
/// be interrupted. A device that has no memory for one more thread still resolves, in this one.
#[derive(Debug)]
pub struct Names {
    pub wire: Arc<Wire>,
    /// The host whose look-up was given up; another look-up begins once that one has returned.
    late: Mutex<Option<(String, Pending<Found>)>>,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let (host, port) = host_and_port(uri)?;
        let failed = |why: Problem| {
            self.wire.blame(Cause::NameNotResolved);
            trouble(NetTrouble::Dns(why.after(format_args!("{host}: "))))
        };
        let found = self.look_up(&host, port).map_err(&failed)?.map_err(|error| {
            let text = plain(&error);
            let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
            failed(text.into())
        })?;
        let mut addresses = self.empty();
        for address in found.into_iter().take(ADDRESSES_MAX) {
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(failed("the name has no address".into()));
        }
        self.wire.note(|steps| {
            steps.resolved = Some(mono());
            steps.addresses = addresses.iter().map(|address| address.ip().to_string()).collect();
        });
        Ok(addresses)
    }
}

impl Names {
    pub fn new(wire: Arc<Wire>) -> Names {
        Names { wire, late: Mutex::default() }
    }

    /// The resolver's result; an error says why it is no longer waited for.
    fn look_up(&self, host: &str, port: u16) -> Result<Found, Problem> {
        let name = (host.to_owned(), port);
        // A numeric address needs no look-up.
        if let Ok(ip) = host.parse() {
            return Ok(Ok(vec![SocketAddr::new(ip, port)]));
        }
        self.ask(host, move || name.to_socket_addrs().map(Iterator::collect))
    }

    fn ask(
        &self,
        host: &str,
        look_up: impl FnOnce() -> Found + Send + 'static,
    ) -> Result<Found, Problem> {
        let timeout = self.wire.silence();
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = match late.take() {
            // A late answer is as good; the port is always the same for a host.
            Some((name, pending)) if name == host => pending,
            _ => {
                let Ok(helper) = TimeoutThread::start("names", timeout, || ()) else {
                    return Ok(look_up());
                };
                helper.begin(move |()| look_up()).map_err(|_| Problem::from(GONE))?
            }
        };
        match pending.wait_unless(timeout, || self.wire.is_stopping()) {
            Ok(found) => Ok(found),
            Err(NoReply::Gone) => Err(GONE.into()),
            Err(NoReply::TooLong) => {
                *late = Some((host.to_owned(), pending));
                Err(match self.wire.is_stopping() {
                    true => "aborted, because the program was asked to stop".into(),
                    false => Problem::new(
                        format!("no answer within {}s", timeout.as_secs()),
                        "Check the name servers in /etc/resolv.conf",
                    ),
                })
            }
        }
    }
}

const GONE: &str = "the thread that looked it up ended";

fn host_and_port(uri: &Uri) -> Result<(String, u16), Error> {
    let host = uri.host().ok_or_else(|| Error::BadUri("no host".to_owned()))?;
    let port = match (uri.port_u16(), uri.scheme_str()) {
        (Some(port), _) => port,
        (None, Some("http")) => 80,
        (None, _) => 443,
    };
    Ok((host.trim_matches(['[', ']']).to_owned(), port))
}

/// Makes connections: TCP or a proxy's tunnel, then TLS where the address asks for it.
#[derive(Debug)]
pub struct Dialer {
    pub tls: Tls,
    pub wire: Arc<Wire>,
}

impl Connector<()> for Dialer {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _chained: Option<()>,
    ) -> Result<Option<Self::Out>, Error> {
        let (host, port) = host_and_port(details.uri)?;
        let raw = match self.tunnel(details)? {
            Some(tunnel) => tunnel,
            None => {
                let tcp = self.tcp(details).map_err(|error| {
                    self.wire.blame(cause_of(&error));
                    not_connected(&host, port, error)
                })?;
                Box::new(tcp) as Box<dyn Transport>
            }
        };
        self.wire.restart();
        let interruptible = Interruptible { inner: raw, wire: Arc::clone(&self.wire) };
        let ready: Box<dyn Transport> = match details.needs_tls() {
            true => self.secure(details, &host, interruptible)?,
            false => Box::new(interruptible),
        };
        self.wire.restart();
        self.wire.made.fetch_add(1, Ordering::Relaxed);
        let wire = Arc::clone(&self.wire);
        Ok(Some(Box::new(Meter { inner: ready, wire, hung_up: false })))
    }
}

impl Dialer {
    /// A connection to the first address that answers.
    fn tcp(&self, details: &ConnectionDetails) -> Result<Tcp, Error> {
        let limit = what_is_left(details).not_zero().map_or(Span(u64::MAX), |limit| {
            Span::ms(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
        });
        let mut kernel = Kernel::new(&self.wire);
        match addresses::connect(&self.wire.addresses, &details.addrs, limit, &mut kernel) {
            Ok((stream, address)) => {
                self.wire.note(|steps| {
                    (steps.connected, steps.address) = (Some(mono()), Some(address));
                });
                Ok(Tcp::new(stream, Arc::clone(&self.wire)))
            }
            Err(Lost::Late) => Err(Error::Timeout(details.timeout.reason)),
            Err(Lost::Failed(error)) => Err(Error::Io(error)),
            Err(Lost::Stopped) => Err(told_to_stop()),
        }
    }

    /// A tunnel through the proxy; `None` where there is no proxy.
    fn tunnel(&self, details: &ConnectionDetails) -> Result<Option<Box<dyn Transport>>, Error> {
        let Some(proxy) = details.config.proxy() else { return Ok(None) };
        let address = proxy::address(proxy);
        let tunnel =
            ConnectProxyConnector::default().connect(details, None::<()>).map_err(|error| {
                self.blame_proxy(&error);
                not_tunnelled(&address, error)
            })?;
        // The proxy answered, so a later timeout is not blamed on the proxy's address.
        self.wire.note(|steps| (steps.tunnelled, steps.address) = (Some(mono()), None));
        Ok(tunnel.map(|tunnel| Box::new(tunnel) as Box<dyn Transport>))
    }

    fn blame_proxy(&self, error: &Error) {
        let cause = match error {
            Error::ConnectProxyFailed(text) => match proxy::status_in(text) {
                Some("407") => Cause::ProxyAuthentication,
                Some("403") => Cause::ProxyForbids,
                _ => Cause::ProxyRefuses,
            },
            // A TLS failure with the proxy itself has its cause already.
            _ if self.wire.steps().flaw.is_some() => return,
            _ if self.wire.steps().connected.is_some() => Cause::ProxyRefuses,
            _ => Cause::ProxyUnreachable,
        };
        self.wire.blame(cause);
    }

    fn secure(
        &self,
        details: &ConnectionDetails,
        host: &str,
        below: Interruptible,
    ) -> Result<Box<dyn Transport>, Error> {
        let mut sock = TransportAdapter::new(
            Box::new(below) as Box<dyn Transport>,
            Arc::clone(&details.current_time),
        );
        sock.set_timeout(what_is_left(details));
        match self.tls.connect(host, sock) {
            Ok(transport) => {
                let version = transport.version;
                self.wire.note(|steps| steps.secured = Some((mono(), version)));
                Ok(Box::new(transport))
            }
            Err(HandshakeFailed::Refused(refusal)) => {
                self.wire.note(|steps| {
                    steps.cause = Some(match refusal.flaw {
                        CertificateProblem::Untrusted => Cause::TlsUntrusted,
                        CertificateProblem::Ended(_) => Cause::CertificateExpired,
                        CertificateProblem::NotBegun(_) => Cause::CertificateNotYetValid,
                        CertificateProblem::OtherName => Cause::CertificateOtherName,
                        CertificateProblem::Other => Cause::TlsFailed,
                    });
                    steps.flaw = Some(refusal.flaw);
                });
                Err(trouble(NetTrouble::Tls(refusal.problem)))
            }
            Err(HandshakeFailed::Transport(Error::Timeout(Timeout::Connect))) => {
                self.wire.blame(Cause::TlsFailed);
                self.wire.blame_address();
                let what = format!(
                    "the handshake with {host} was not complete within network.connect_timeout"
                );
                Err(trouble(NetTrouble::Tls(what.into())))
            }
            Err(HandshakeFailed::Transport(error)) => Err(error),
        }
    }
}

/// Why there is no TCP connection.
fn cause_of(error: &Error) -> Cause {
    use std::io::ErrorKind;
    match error {
        Error::Timeout(_) => Cause::ConnectTimeout,
        Error::Io(error) if shortage_remedy(error).is_some() => Cause::SystemRefuses,
        Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused => Cause::ConnectionRefused,
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => Cause::NoRoute,
            ErrorKind::TimedOut => Cause::ConnectTimeout,
            _ => Cause::ConnectFailed,
        },
        _ => Cause::ConnectFailed,
    }
}

/// What is left of the time to connect after the steps before TLS.
fn what_is_left(details: &ConnectionDetails) -> NextTimeout {
    let mut timeout = details.timeout;
    let now = (details.current_time)();
    if let (span::Duration::Exact(limit), span::Instant::Exact(begun), span::Instant::Exact(now)) =
        (timeout.after, details.now, now)
    {
        let spent = now.saturating_duration_since(begun);
        timeout.after = span::Duration::Exact(limit.saturating_sub(spent));
    }
    timeout
}

fn not_connected(host: &str, port: u16, error: Error) -> Error {
    match error {
        Error::Io(error) => {
            let what = format!("{host}:{port}: {}", plain(&error));
            trouble(match shortage_remedy(&error) {
                Some(remedy) => {
                    NetTrouble::System(Problem::new(format!("no connection: {what}"), remedy))
                }
                None => NetTrouble::Connect(what),
            })
        }
        Error::Timeout(Timeout::Connect) => trouble(NetTrouble::Connect(format!(
            "{host}:{port}: no answer within network.connect_timeout"
        ))),
        other => other,
    }
}

fn not_tunnelled(address: &str, error: Error) -> Error {
    trouble(match error {
        Error::ConnectProxyFailed(text) => NetTrouble::Proxy(proxy::refusal(address, &text)),
        Error::Other(other) => match other.downcast::<Dialing>() {
            Ok(dialing) => match dialing.0 {
                NetTrouble::Dns(why) => NetTrouble::Dns(why.after("the proxy ")),
                NetTrouble::Connect(why) => NetTrouble::Connect(format!("the proxy {why}")),
                NetTrouble::Tls(why) => {
                    NetTrouble::Tls(why.after(format_args!("the proxy {address}: ")))
                }
                other => other,
            },
            Err(other) => NetTrouble::Proxy(format!("{address}: {other}").into()),
        },
        Error::Timeout(_) => {
            let what = format!("{address}: no answer within network.connect_timeout");
            NetTrouble::Proxy(what.into())
        }
        other => NetTrouble::Proxy(format!("{address}: {other}").into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_the_port_of_its_scheme() {
        for (uri, host, port) in [
            ("https://a.net", "a.net", 443),
            ("http://a.net", "a.net", 80),
            ("https://[::1]:8443", "::1", 8443),
        ] {
            let found = host_and_port(&uri.parse().unwrap()).unwrap();
            assert_eq!(found, (host.to_owned(), port));
        }
    }

    #[test]
    fn a_look_up_that_hangs_is_given_up_and_is_the_only_one_until_it_answers() {
        let wire = Arc::new(Wire::new(Arc::default(), crate::time::Span::ms(1)));
        let names = Names::new(wire);
        let (answer, answers) = std::sync::mpsc::channel();
        let hangs = move || Ok(vec![answers.recv().unwrap()]);
        let told = names.ask("a", hangs).unwrap_err().to_string();
        assert!(told.contains("no answer within 0s. Check the name servers"), "{told}");
        assert!(names.ask("a", || panic!("a second thread")).is_err());
        let address: SocketAddr = "192.0.2.1:443".parse().unwrap();
        answer.send(address).unwrap();
        let (_, late) = names.late.lock().unwrap().take().unwrap();
        assert_eq!(late.wait_on().unwrap().unwrap(), [address], "it is worth as much late");
        assert_eq!(names.look_up("::1", 443).unwrap().unwrap(), ["[::1]:443".parse().unwrap()]);
    }

    #[test]
    fn a_name_does_not_get_the_late_answer_of_another() {
        let names = Names::new(Arc::new(Wire::new(Arc::default(), Span::ms(1))));
        let (answer, answers) = std::sync::mpsc::channel::<SocketAddr>();
        names.ask("a", move || Ok(vec![answers.recv().unwrap()])).unwrap_err();
        answer.send("192.0.2.1:443".parse().unwrap()).unwrap();
        let of_b: SocketAddr = "192.0.2.2:443".parse().unwrap();
        // It may be late as well.
        let found = loop {
            if let Ok(found) = names.ask("b", move || Ok(vec![of_b])) {
                break found;
            }
        };
        assert_eq!(found.unwrap(), [of_b]);
    }

    #[test]
    fn what_a_name_resolves_to_is_noted_and_so_is_one_that_does_not_resolve() {
        let wire = Arc::new(Wire::new(Arc::default(), Span::ms(1)));
        let names = Names::new(Arc::clone(&wire));
        let config = ureq::Agent::config_builder().build();
        let resolve =
            |uri: &str| names.resolve(&uri.parse().unwrap(), &config, NextTimeout::default());
        assert_eq!(resolve("http://127.0.0.1:1").unwrap()[..], ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!(wire.steps().addresses, ["127.0.0.1"]);
        assert_eq!((wire.steps().resolved.is_some(), wire.steps().cause), (true, None));
        let (answer, answers) = std::sync::mpsc::channel::<SocketAddr>();
        let hangs = move || answers.recv().map(|one| vec![one]).map_err(io::Error::other);
        names.ask("a.example", hangs).unwrap_err();
        resolve("http://a.example").unwrap_err();
        assert_eq!(wire.steps().cause, Some(Cause::NameNotResolved));
        drop(answer);
    }

    #[test]
    fn the_time_to_connect_is_one_for_all_its_steps() {
        let config = ureq::Agent::config_builder().build();
        let (uri, names) = ("http://a.example".parse().unwrap(), Names::new(Arc::default()));
        let begun = span::Instant::now();
        for (spent, left) in [(0, 10), (3, 7), (10, 0), (12, 0)] {
            let now = begun + span::Duration::from_secs(spent);
            let after = span::Duration::from_secs(10);
            let timeout = NextTimeout { after, reason: Timeout::Connect, ..NextTimeout::default() };
            let details = ConnectionDetails {
                uri: &uri,
                addrs: names.empty(),
                config: &config,
                request_level: false,
                resolver: &names,
                now: begun,
                timeout,
                current_time: Arc::new(move || now),
                run_connector: Arc::new(|_: &ConnectionDetails<'_>| panic!("no connection")),
                register_shutdown: Arc::new(|_| Ok(())),
            };
            let after = span::Duration::from_secs(left);
            assert_eq!(what_is_left(&details), NextTimeout { after, ..timeout }, "{spent}");
        }
    }

    #[test]
    fn why_there_is_no_connection_is_told_by_its_cause() {
        use rustix::io::Errno;

        let io = |errno: Errno| Error::Io(errno.into());
        for (error, cause) in [
            (Error::Timeout(Timeout::Connect), Cause::ConnectTimeout),
            (io(Errno::TIMEDOUT), Cause::ConnectTimeout),
            (io(Errno::CONNREFUSED), Cause::ConnectionRefused),
            (io(Errno::NETUNREACH), Cause::NoRoute),
            (io(Errno::HOSTUNREACH), Cause::NoRoute),
            (io(Errno::PERM), Cause::ConnectFailed),
            (told_to_stop(), Cause::ConnectFailed),
        ] {
            assert_eq!(cause_of(&error), cause, "{error:?}");
        }
    }

    #[test]
    fn a_proxy_is_blamed_by_how_far_the_way_to_it_went() {
        let tls = Tls::new(None, &Arc::default()).unwrap();
        let refused = |status| Error::ConnectProxyFailed(format!("responded {status}/{status}"));
        let broken = || Error::Io(io::ErrorKind::ConnectionReset.into());
        for (error, is_connected, flaw, cause) in [
            (refused(407), true, None, Some(Cause::ProxyAuthentication)),
            (refused(403), true, None, Some(Cause::ProxyForbids)),
            (refused(502), true, None, Some(Cause::ProxyRefuses)),
            (broken(), true, None, Some(Cause::ProxyRefuses)),
            (broken(), false, None, Some(Cause::ProxyUnreachable)),
            (broken(), true, Some(CertificateProblem::Untrusted), None),
        ] {
            let wire = Arc::new(Wire::default());
            wire.note(|steps| {
                (steps.connected, steps.flaw) = (is_connected.then(mono), flaw);
            });
            Dialer { tls: tls.clone(), wire: Arc::clone(&wire) }.blame_proxy(&error);
            assert_eq!(wire.steps().cause, cause, "{error:?} {is_connected} {flaw:?}");
        }
    }

    #[test]
    fn a_connection_that_the_system_has_no_file_for_blames_no_host() {
        for (errno, is_short) in
            [(rustix::io::Errno::MFILE, true), (rustix::io::Errno::CONNREFUSED, false)]
        {
            let error = Error::Io(errno.into());
            assert_eq!(cause_of(&error) == Cause::SystemRefuses, is_short);
            let Error::Other(other) = not_connected("a.example", 443, error) else {
                panic!("{errno:?}")
            };
            let told = other.downcast::<Dialing>().unwrap().0;
            assert_eq!(matches!(told, NetTrouble::System(_)), is_short, "{told:?}");
            assert_eq!(told.to_string().contains("LimitNOFILE"), is_short, "{told}");
        }
    }

    #[test]
    fn a_look_up_ends_soon_after_a_request_to_stop() {
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let names = Names::new(Arc::new(Wire::new(stop, crate::time::Span::hours(1))));
        let (answer, answers) = std::sync::mpsc::channel();
        let told =
            names.ask("a", move || Ok(vec![answers.recv().unwrap()])).unwrap_err().to_string();
        assert!(told.contains("asked to stop"), "{told}");
        drop(answer);
    }
}
