//! One HTTP exchange with one service, over ureq.
//!
//! Promises: an answer is whole and within its size limit, or an error; redirects are answers,
//! never followed; a dead idle connection is not an error where sending again is safe (keeps P2).
//! Never: interprets an answer, or prints a header.

use std::fmt;
use std::io::Read;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, DATE,
    HeaderName, LOCATION, PRAGMA, RETRY_AFTER,
};
use ureq::http::{self, HeaderMap, HeaderValue, Method};
use ureq::{Agent, Body, Error, Timeout};

use super::clock_blame::{self, Finding};
use super::dial::{Dialer, Names};
use super::proxy::{self, BadProxy, ProxyEnvironment};
use super::spare::Spare;
use super::tls::{CutShort, Tls};
use super::wire::{Dialing, Wire, is_cut};
use crate::answer;
use crate::cause::Cause;
use crate::config::Network;
use crate::limits::{
    CLOCK_DOUBT_MINUTES, CONNECTION_BUFFER_BYTES, DATE_ANSWER_BYTES_MAX, EXCESS_HEAD_BYTES,
    IDLE_CONNECTION_SECONDS_MAX,
};
use crate::message::log_message;
use crate::os::clock::{Source, mono};
use crate::os::secret::plain;
use crate::problem::Problem;
use crate::record::{Answer, Bound, Excess, NetTrouble};
use crate::time::{Mono, Span, Stamp};

/// What is read of an answer in one step.
const READ_PIECE_BYTES: usize = 16 << 10;
const USER_AGENT: &str = concat!("s1-coralogix/", env!("CARGO_PKG_VERSION"));

/// A service at one address. Keeps at most one connection.
pub struct Client {
    agent: Agent,
    /// Scheme and authority, no path.
    base: String,
    wire: Arc<Wire>,
    tls: Tls,
    /// Host and port of the proxy, where one is used.
    pub proxied: Option<String>,
    /// The server's `Date` when its certificate did not fit the time, and when it was asked for.
    clock_asked: Mutex<Option<(Mono, Option<Stamp>)>>,
    /// What was found out about the certificate in the last exchange that failed for it.
    finding: Mutex<Option<Finding>>,
    /// Where the memory for an answer comes from.
    spare: Spare,
}

/// The agent is left out, for it knows the proxy's password.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

/// A request to a service.
#[derive(Debug)]
pub struct Request<'a> {
    /// Path and query, percent-encoded.
    pub path: &'a str,
    pub authorization: Option<HeaderValue>,
    /// `None`: GET.
    pub post: Option<Post<'a>>,
    /// The longest body accepted, in bytes after decompression.
    pub answer_bytes_max: u64,
    /// How long an answer is waited for after a request to stop.
    pub grace: Duration,
}

/// What is done with a body that is longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beyond {
    /// It is an error: a truncated page can't be used.
    Refused,
    /// It is cut off one byte beyond the limit: the status is enough. A 2xx whose body does not end
    /// is distinguished from a connection that broke.
    CutOff,
}

/// A JSON body.
#[derive(Debug)]
pub struct Post<'a> {
    pub body: &'a [u8],
    pub gzip: bool,
    /// The next request goes over another connection.
    pub is_last: bool,
}

impl Client {
    pub fn new(
        base: &str,
        network: &Network,
        tls: &Tls,
        environment: &ProxyEnvironment,
        stop: Arc<AtomicBool>,
    ) -> Result<Client, BadProxy> {
        let https = base.starts_with("https://");
        let authority = base.split_once("://").map_or(base, |(_, rest)| rest);
        let proxy = proxy::choose(network.proxy.as_ref(), environment, https, host_of(authority))?;
        let proxied = proxy.as_ref().map(proxy::address);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .https_only(!network.allow_http)
            .proxy(proxy)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(USER_AGENT)
            .accept("application/json")
            .timeout_connect(Some(network.connect_timeout.as_duration()))
            .timeout_global(Some(network.whole().as_duration()))
            .input_buffer_size(CONNECTION_BUFFER_BYTES)
            .output_buffer_size(CONNECTION_BUFFER_BYTES)
            .max_response_header_size(CONNECTION_BUFFER_BYTES)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(Duration::from_secs(IDLE_CONNECTION_SECONDS_MAX))
            .build();
        let wire = Arc::new(Wire::new(stop, network.timeout));
        Ok(Client::over(config, base, tls.for_another_client(), proxied, wire))
    }

    fn over(
        config: ureq::config::Config,
        base: &str,
        tls: Tls,
        proxied: Option<String>,
        wire: Arc<Wire>,
    ) -> Client {
        let dialer = Dialer { tls: tls.clone(), wire: Arc::clone(&wire) };
        let names = Names::new(Arc::clone(&wire));
        let agent = Agent::with_parts(config, dialer, names);
        let (clock_asked, finding) = (Mutex::default(), Mutex::default());
        let (base, spare) = (base.to_owned(), Spare::default());
        Client { agent, base, wire, tls, proxied, clock_asked, finding, spare }
    }

    /// Uses the memory that others give back.
    pub fn share(&mut self, spare: &Spare) {
        self.spare = spare.clone();
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// What the transports noticed of the last exchange.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    pub fn tls(&self) -> &Tls {
        &self.tls
    }

    /// One exchange. A connection that was idle and dies before a byte of the answer was already
    /// dead: a GET is sent again at once. A POST only if it was not sent whole, for the service
    /// may have taken it (keeps P2).
    pub fn exchange(&self, request: &Request) -> Result<Answer, NetTrouble> {
        self.exchanged(request, Beyond::Refused)
    }

    /// As `exchange`; but a body longer than its limit is cut off, one byte too long.
    pub fn exchange_cut_off(&self, request: &Request) -> Result<Answer, NetTrouble> {
        self.exchanged(request, Beyond::CutOff)
    }

    fn exchanged(&self, request: &Request, beyond: Beyond) -> Result<Answer, NetTrouble> {
        *lock(&self.finding) = None;
        let made = self.wire.begin(request.grace, request.post.is_none());
        let mut result = self.once(request, beyond);
        // Settles whether the idle connection of the exchange before was dead because of its age.
        self.wire.idle().ended(result.is_ok());
        if result.as_ref().is_err_and(|error| self.was_dead(error, made, request)) {
            log_message!(
                CONNECTION_RENEWED,
                "{}: an idle connection was dead, retrying on a new one",
                self.base
            );
            self.wire.begin(request.grace, request.post.is_none());
            result = self.once(request, beyond);
            self.wire.idle().ended(result.is_ok());
        }
        match result.map_err(|error| self.with_clock_blame(self.explain(error)))? {
            // Whatever the status means, it can't acknowledge a body that was not sent (keeps P1).
            answer if answer.status < 300 && self.wire.is_unsent() => {
                Err(NetTrouble::Broken("it was closed before the request was sent".to_owned()))
            }
            answer => Ok(answer),
        }
    }

    /// Whether the request is to be sent again at once, which has to be safe. Also notes what the
    /// failure says about the address or about idle connections. `made`: the number of connections
    /// before the exchange.
    fn was_dead(&self, error: &Error, made: u64, request: &Request) -> bool {
        if self.wire.is_answered() {
            return false;
        }
        let (is_silent, is_given_up) = (is_silence(error), is_given_up(error));
        let is_gone = is_given_up || hung_up(error);
        if self.wire.connections_made() != made {
            if is_silent {
                self.wire.blame_address();
            }
            return false;
        }
        let is_safe = request.post.is_none() || self.wire.is_unsent();
        // A connection closed by the peer costs nothing where sending again is safe.
        let is_costly = is_silent || is_given_up || is_gone && !is_safe;
        let was_old = is_costly && self.wire.idle().was_dead();
        is_safe && is_gone || request.post.is_none() && is_silent && was_old
    }

    /// Finds out more of a certificate that did not fit the time.
    fn with_clock_blame(&self, trouble: NetTrouble) -> NetTrouble {
        let flaw = self.wire.steps().flaw;
        let (NetTrouble::Tls(problem), Some(flaw)) = (&trouble, flaw) else { return trouble };
        let Some((validity, valid_at)) = clock_blame::time_flaw(Some(flaw)) else { return trouble };
        let now = mono();
        let asked = *lock(&self.clock_asked);
        let date = match asked {
            Some((at, date)) if now.since(at) < Span::minutes(CLOCK_DOUBT_MINUTES) => {
                date.map(|date| date + now.since(at))
            }
            _ => {
                let date = self.date_over(self.tls.at(valid_at));
                *lock(&self.clock_asked) = Some((now, date));
                date
            }
        };
        let host = self.base.split_once("://").map_or(self.base.as_str(), |(_, host)| host);
        let finding = clock_blame::find(host, flaw, validity, date);
        let what = &problem.what;
        let what = match finding.cause {
            // The problem with the clock is stated first, since it has to be corrected first.
            Cause::ClockAhead | Cause::ClockBehind => format!("{}; so {what}", finding.what),
            _ => format!("{what}; {}", finding.what),
        };
        let problem = Problem::new(what, &finding.remedy);
        *lock(&self.finding) = Some(finding);
        NetTrouble::Tls(problem)
    }

    /// The server's `Date`, asked over another connection.
    pub fn date(&self) -> Option<Stamp> {
        self.date_over(self.tls.for_another_client())
    }

    /// The server's `Date`, asked over a connection of its own, whose certificate may be verified
    /// at another time than that of real ones. No secret is sent over it, and it is closed at the
    /// end of this function.
    fn date_over(&self, tls: Tls) -> Option<Stamp> {
        let config = self.agent.config().clone();
        let client =
            Client::over(config, &self.base, tls, self.proxied.clone(), self.wire.another());
        client.wire.begin(Duration::ZERO, true);
        let request = Request {
            path: "/",
            authorization: None,
            post: None,
            answer_bytes_max: DATE_ANSWER_BYTES_MAX,
            grace: Duration::ZERO,
        };
        answer::date(&client.once(&request, Beyond::Refused).ok()?)
    }

    /// Lets the `Date` of an answer count for what certificates are judged at, if it came over a
    /// verified connection.
    pub fn trust_time(&self, source: Source, answer: &Answer) {
        if let (true, Some(date)) = (self.base.starts_with("https://"), answer::date(answer)) {
            self.tls.observe_date(source, date);
        }
    }

    /// What was found out of the last exchange, if its certificate did not fit the time.
    pub fn finding(&self) -> Option<Finding> {
        lock(&self.finding).clone()
    }

    fn explain(&self, error: Error) -> NetTrouble {
        match error {
            Error::Timeout(reason) if reason != Timeout::Connect => {
                let whole = self.agent.config().timeouts().global.unwrap_or_default();
                self.wire.late(Bound::Whole, Span::ms(whole.as_millis() as u64))
            }
            error => explain(error),
        }
    }

    fn once(&self, request: &Request, beyond: Beyond) -> Result<Answer, Error> {
        let mut builder = http::Request::builder().uri(format!("{}{}", self.base, request.path));
        if let Some(authorization) = &request.authorization {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        let response = match &request.post {
            None => {
                // Each poll of a quiet stream asks the same, which a cache would answer for ever. One
                // that knows HTTP/1.0 alone knows Pragma alone.
                for name in [CACHE_CONTROL, PRAGMA] {
                    builder = builder.header(name, HeaderValue::from_static("no-cache"));
                }
                self.agent.run(builder.method(Method::GET).body(()).map_err(Error::Http)?)
            }
            Some(post) => {
                builder = builder.method(Method::POST).header(CONTENT_TYPE, "application/json");
                if post.gzip {
                    builder = builder.header(CONTENT_ENCODING, "gzip");
                }
                if post.is_last {
                    builder = builder.header(CONNECTION, "close");
                }
                self.agent.run(builder.body(post.body).map_err(Error::Http)?)
            }
        }?;
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let begun = mono();
        let body = match (self.read(body, request.answer_bytes_max, beyond), beyond) {
            (Err(error), Beyond::CutOff) if is_late(&error) && (200..300).contains(&status) => {
                let endless = Dialing(NetTrouble::Endless(status));
                return Err(Error::Other(Box::new(endless)));
            }
            (body, _) => body?,
        };
        let date = answer::parse_date(text(&parts.headers, &DATE).as_deref());
        let retry_after = text(&parts.headers, &RETRY_AFTER);
        // It was so when the body began, which on a slow link is minutes ago.
        let sent_date = date.map(|date| date + mono().since(begun));
        Ok(Answer {
            status,
            sent_date,
            retry_after: answer::parse_retry_after(retry_after.as_deref(), date),
            // Seconds, as `Retry-After` may have them.
            age: answer::parse_retry_after(text(&parts.headers, &AGE).as_deref(), None),
            content_type: text(&parts.headers, &CONTENT_TYPE),
            location: text(&parts.headers, &LOCATION),
            body,
        })
    }

    /// A peer that hangs up on a request that is still being sent often cuts its own answer too.
    /// Its status says what is wrong, so such an answer is taken as far as it came.
    fn read(&self, body: Body, bytes_max: u64, beyond: Beyond) -> Result<Vec<u8>, Error> {
        let expected = body.content_length().unwrap_or(0);
        // A compressed body above the limit is above it decompressed too.
        if expected > bytes_max && beyond == Beyond::Refused {
            let (mut head, limit) = (vec![], EXCESS_HEAD_BYTES);
            let reader = body.into_with_config().limit(u64::MAX).reader();
            // Whatever ends the read: the head is only shown in the error.
            let _ = reader.take(limit).read_to_end(&mut head);
            return Err(too_long(expected, head));
        }
        // Reserve the limit at once: a vector that grows is copied, and then the page is in memory
        // twice. Memory that is not written to is not used.
        let room = if beyond == Beyond::Refused { bytes_max } else { expected.min(bytes_max) };
        let mut bytes = if beyond == Beyond::Refused { self.spare.take() } else { Vec::new() };
        bytes.reserve_exact(usize::try_from(room).unwrap_or(0));
        let read = match beyond {
            Beyond::Refused => {
                read_whole(body.into_with_config().limit(bytes_max).reader(), &mut bytes)
            }
            Beyond::CutOff => {
                let reader = body.into_with_config().limit(u64::MAX).reader();
                read_whole(reader.take(bytes_max + 1), &mut bytes)
            }
        };
        match read.map_err(Error::from) {
            Err(Error::BodyExceedsLimit(_)) if !self.wire.is_unsent() => {
                Err(too_long(bytes_max.saturating_add(1), bytes))
            }
            Err(error) if !self.wire.is_unsent() => Err(error),
            _ => {
                bytes.shrink_to_fit();
                Ok(bytes)
            }
        }
    }
}

/// `Read::read_to_end` zeroes two to three bytes for each that it reads, in memory not used before.
fn read_whole(mut reader: impl Read, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    let mut piece = [0; READ_PIECE_BYTES];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn too_long(bytes_min: u64, head: Vec<u8>) -> Error {
    super::wire::trouble(NetTrouble::TooLong(Excess { bytes_min, head }))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A header value that does not show in any debug output.
pub fn hidden(scheme: &str, secret: &crate::secret::Secret) -> HeaderValue {
    let mut value = HeaderValue::from_str(&format!("{scheme} {}", secret.reveal()))
        .expect("a secret is made of visible ASCII only");
    value.set_sensitive(true);
    value
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn hung_up(error: &Error) -> bool {
    match error {
        Error::Io(error) => is_cut(error.kind()) || is_cut_short(error),
        _ => false,
    }
}

fn is_cut_short(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<CutShort>())
}

/// The kernel gave the connection up: its data was not acknowledged in time.
fn is_given_up(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
}

/// Nothing moved for `network.timeout`.
fn is_silence(error: &Error) -> bool {
    bound_of(error) == Some(Bound::Silence)
}

fn is_late(error: &Error) -> bool {
    matches!(error, Error::Timeout(_)) || bound_of(error).is_some()
}

/// The time limit that one of our transports reached.
fn bound_of(error: &Error) -> Option<Bound> {
    let Error::Other(other) = error else { return None };
    match other.downcast_ref::<Dialing>() {
        Some(Dialing(NetTrouble::Timeout(late))) => Some(late.bound),
        _ => None,
    }
}

fn explain(error: Error) -> NetTrouble {
    match error {
        Error::Other(other) => match other.downcast::<Dialing>() {
            Ok(dialing) => dialing.0,
            Err(other) => NetTrouble::Broken(other.to_string()),
        },
        Error::Timeout(Timeout::Connect) => {
            NetTrouble::Connect("no answer within network.connect_timeout".to_owned())
        }
        Error::Io(error) if is_cut(error.kind()) || is_cut_short(&error) => {
            NetTrouble::Broken("it was closed before the answer was whole".to_owned())
        }
        Error::Io(error) => NetTrouble::Broken(plain(&error)),
        Error::Protocol(error) => NetTrouble::Broken(format!("the answer is not HTTP: {error}")),
        Error::LargeResponseHeader(..) => {
            NetTrouble::Broken("the header of the response is too long".to_owned())
        }
        Error::RequireHttpsOnly(_) => {
            NetTrouble::Broken("http is refused because network.allow_http is not set".to_owned())
        }
        other => NetTrouble::Broken(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};

    use super::*;
    use crate::net::loopback::{Server, answer, network, receive};
    use crate::test_world::tls::Authority;

    fn client(base: &str, environment: &ProxyEnvironment) -> Client {
        let tls = Tls::new(None, &Arc::default()).unwrap();
        Client::new(base, &network(), &tls, environment, Arc::default()).unwrap()
    }

    fn request(post: Option<Post<'_>>) -> Request<'_> {
        Request {
            path: "/",
            authorization: None,
            post,
            answer_bytes_max: 1 << 10,
            grace: Duration::ZERO,
        }
    }

    fn io(kind: ErrorKind) -> Error {
        Error::Io(kind.into())
    }

    fn silence() -> Error {
        super::super::wire::trouble(Wire::default().late(Bound::Silence, Span::ZERO))
    }

    fn cut_short() -> Error {
        Error::Io(io::Error::other(CutShort))
    }

    /// What may be sent twice is; what the service may have is not (P2).
    #[test]
    fn a_request_is_sent_again_only_over_a_connection_that_was_dead_and_where_that_is_safe() {
        const YOUNG: bool = false;
        const OLD: bool = true;
        const GET: bool = false;
        const POST: bool = true;
        for (error, is_post, was_old, is_again) in [
            (io(ErrorKind::ConnectionReset), GET, YOUNG, true),
            (io(ErrorKind::ConnectionReset), POST, YOUNG, false),
            (io(ErrorKind::ConnectionReset), POST, OLD, false),
            (cut_short(), GET, YOUNG, true),
            (cut_short(), POST, OLD, false),
            (io(ErrorKind::TimedOut), GET, YOUNG, true),
            (io(ErrorKind::TimedOut), POST, OLD, false),
            (silence(), GET, YOUNG, false),
            (silence(), GET, OLD, true),
            (silence(), POST, OLD, false),
            (io(ErrorKind::PermissionDenied), GET, OLD, false),
            (Error::Timeout(Timeout::Global), GET, OLD, false),
            (super::super::wire::told_to_stop(), GET, OLD, false),
        ] {
            let client = client("http://127.0.0.1:9", &ProxyEnvironment::default());
            if was_old {
                client.wire.idle().take_each_for_old();
            }
            let made = client.wire.begin(Duration::ZERO, !is_post);
            client.wire.reuse(Span::seconds(1));
            let post = is_post.then_some(Post { body: b"[]", gzip: true, is_last: false });
            let request = request(post);
            let told = client.was_dead(&error, made, &request);
            assert_eq!(told, is_again, "{error:?} {is_post} {was_old}");
            let over_a_new_one = client.was_dead(&error, made + 1, &request);
            assert!(!over_a_new_one, "{error:?} {is_post}");
        }
    }

    #[test]
    fn what_broke_an_exchange_is_told_apart() {
        let client = client("http://127.0.0.1:9", &ProxyEnvironment::default());
        let cut = "it was closed before the answer was whole";
        for (error, is_late, told) in [
            (io(ErrorKind::ConnectionReset), false, NetTrouble::Broken(cut.into())),
            (cut_short(), false, NetTrouble::Broken(cut.into())),
            (Error::Io(io::Error::other("odd")), false, NetTrouble::Broken("odd".into())),
            (
                Error::Timeout(Timeout::Connect),
                true,
                NetTrouble::Connect("no answer within network.connect_timeout".into()),
            ),
            (
                Error::Timeout(Timeout::Global),
                true,
                client.wire.late(Bound::Whole, Span::minutes(1)),
            ),
            (silence(), true, Wire::default().late(Bound::Silence, Span::ZERO)),
        ] {
            assert_eq!(super::is_late(&error), is_late, "{error:?}");
            assert_eq!(client.explain(error), told);
        }
    }

    #[test]
    fn a_host_is_exempt_from_the_proxy_with_and_without_a_port() {
        let environment = ProxyEnvironment {
            https: Some("http://proxy.net:3128".into()),
            no: Some("a.net,::1".into()),
            ..ProxyEnvironment::default()
        };
        for (base, is_exempt) in [
            ("https://a.net", true),
            ("https://a.net:8443", true),
            ("https://b.net", false),
            ("https://[::1]", true),
            ("https://[::1]:8443", true),
            ("https://[::2]", false),
        ] {
            assert_eq!(client(base, &environment).proxied.is_none(), is_exempt, "{base}");
        }
    }

    #[test]
    fn a_servers_time_is_carried_on_until_it_is_asked_for_again() {
        let authority = Authority::new("Test CA");
        let config = authority.server_of("localhost", [2090, 2095], rustls::DEFAULT_VERSIONS);
        let server = Server::start(Some(Arc::new(config)), |wire, _| {
            while receive(wire).is_some() {
                answer(wire, "200 OK", "Date: Sat, 06 Nov 2094 08:49:37 GMT\r\n", b"");
            }
        });
        let tls = Tls::new(Some(authority.pem().as_bytes()), &Arc::default()).unwrap();
        let base = format!("https://localhost:{}", server.port);
        let (environment, stop) = (ProxyEnvironment::default(), Arc::default());
        let client = Client::new(&base, &network(), &tls, &environment, stop).unwrap();
        let sent = Stamp::parse("2094-11-06T08:49:37Z").unwrap();
        let ask = || {
            let Err(NetTrouble::Tls(why)) = client.exchange(&request(None)) else { panic!() };
            // The clock comes first, as it has to be set first.
            assert!(why.what.starts_with("this machine's clock says"), "{why}");
            assert!(why.what.contains("; so the certificate of localhost"), "{why}");
            let finding = client.finding().unwrap();
            assert_eq!(finding.cause, Cause::ClockBehind);
            finding.date.unwrap().since(sent)
        };
        assert!(ask() < Span::minutes(1));
        let ago = |span: Span| Mono(mono().0.saturating_sub(span.as_ms()));
        *lock(&client.clock_asked) = Some((ago(Span::seconds(5)), Some(sent)));
        let carried = ask();
        assert!(carried >= Span::seconds(5) && carried < Span::minutes(1), "{carried:?}");
        // A machine that has just booted has no time so long ago.
        let long_ago = ago(Span::minutes(CLOCK_DOUBT_MINUTES));
        if long_ago > Mono::ZERO {
            *lock(&client.clock_asked) = Some((long_ago, None));
            assert!(ask() < Span::minutes(1));
        }
    }
}
