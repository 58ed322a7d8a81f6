//! `check` on ways that do not lead there: names, routes, ports, proxies, certificates, clocks.

use std::net::TcpListener;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{Says, json, scene, steps};
use crate::scene::Scene;
use crate::support::clock::{DAY, at};
use crate::support::proxy::Proxy;
use crate::support::tls::{Authority, Flaw};

fn tenant_at(scene: &Scene, url: &str) {
    scene.write_file("config.toml", &scene.config().replace(&scene.tenant().url(), url));
}

#[test]
fn a_name_that_does_not_exist() {
    let scene = scene();
    tenant_at(&scene, "https://tenant.invalid");
    Says {
        at: ("acme", "dns"),
        cause: "name_not_resolved",
        code: 75,
        what: "tenant.invalid",
        remedy: "Check the tenant in the config",
    }
    .hold(&scene);
}

/// The kernel has no route for a TCP connection to a multicast address, on any network.
#[test]
fn no_route_to_the_host() {
    let scene = scene();
    tenant_at(&scene, "https://224.0.0.1");
    Says {
        at: ("acme", "tcp"),
        cause: "no_route",
        code: 75,
        what: "Network is unreachable",
        remedy: "ip route",
    }
    .hold(&scene);
}

#[test]
fn nothing_listens_there() {
    let scene = scene();
    scene.ingress.server.take_away();
    Says {
        at: ("coralogix", "tcp"),
        cause: "connection_refused",
        code: 75,
        what: "Connection refused",
        remedy: "port",
    }
    .hold(&scene);
}

/// A listener that accepts nobody and whose queue is full: what comes then gets no answer at all.
#[test]
fn connecting_gets_no_answer() {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    rustix::net::bind(&socket, &std::net::SocketAddrV4::new([127, 0, 0, 1].into(), 0)).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let wait = std::time::Duration::from_millis(300);
    let mut full = Vec::new();
    while let Ok(one) = std::net::TcpStream::connect_timeout(&address, wait) {
        full.push(one);
    }
    let scene = Scene::with(|settings| settings.connect_timeout = "2s".to_string());
    tenant_at(&scene, &format!("https://127.0.0.1:{}", address.port()));
    Says {
        at: ("acme", "tcp"),
        cause: "connect_timeout",
        code: 75,
        what: "network.connect_timeout",
        remedy: "firewall",
    }
    .hold(&scene);
}

#[test]
fn a_proxy_that_wants_a_password_forbids_or_is_not_there() {
    let proxy = Proxy::start(Some("user:right"));
    let refusing = Proxy::start(None);
    let gone = Proxy::start(None).authority();
    let wrong = format!("http://user:wrong@{}", proxy.authority());
    for (address, refuse_with, step, cause, code, remedy) in [
        (wrong, None, "proxy", "proxy_authentication", 77, "USER:PASSWORD"),
        (format!("http://{}", refusing.authority()), Some(403), "proxy", "proxy_forbids", 75, ""),
        (format!("http://{}", refusing.authority()), Some(502), "proxy", "proxy_refuses", 75, ""),
        (format!("http://{gone}"), None, "tcp", "proxy_unreachable", 75, "network.proxy"),
    ] {
        refusing.refuse_with(refuse_with);
        let scene = Scene::with(|settings| settings.proxy = Some(address.clone()));
        let document = json(&scene.command(&["check", "--json"]));
        let failed: Vec<_> =
            steps(&document).into_iter().filter(|(_, step)| step["outcome"] == "failed").collect();
        // Both ways lead through the proxy.
        assert_eq!(failed.len(), 2, "{document:#}");
        for (_, told) in failed {
            assert_eq!((told["step"].as_str(), told["cause"].as_str()), (Some(step), Some(cause)));
            assert!(told["remedy"].as_str().unwrap().contains(remedy), "{told}");
            assert!(!told.to_string().contains("wrong"), "a password is shown: {told}");
        }
        assert_eq!(document["exit_code"], code);
    }
}

#[test]
fn an_authority_that_is_not_known_is_named() {
    let scene = scene();
    let stranger = Authority::new("Acme TLS Inspection CA");
    scene.ingress.server.set_tls(stranger.server(Flaw::None));
    Says {
        at: ("coralogix", "tls"),
        cause: "tls_untrusted",
        code: 75,
        what: "Acme TLS Inspection CA",
        remedy: "This looks like TLS inspection by CN=Acme TLS Inspection CA: set network.ca_file to \
                 that authority's certificate",
    }
    .hold(&scene);
}

#[test]
fn a_certificate_that_really_ended_or_has_not_begun() {
    for (flaw, cause, what) in [
        (Flaw::Expired, "certificate_expired", "expired at 2020-01-01"),
        (Flaw::NotYetValid, "certificate_not_yet_valid", "is valid from 2095-01-01"),
    ] {
        let scene = scene();
        scene.tenant().server.set_tls(scene.authority.server(flaw));
        let says = Says {
            at: ("acme", "tls"),
            cause,
            code: 75,
            what,
            remedy: "This machine's clock is right",
        };
        says.hold(&scene);
        let asked = scene.tenant().seen();
        assert!(asked.iter().all(|seen| seen.header("authorization").is_none()), "{asked:?}");
    }
}

/// To a server of the year 2095 this machine's clock is behind.
#[test]
fn a_clock_that_is_behind_is_told_with_by_how_much() {
    let scene = scene();
    let tls = scene.authority.server(Flaw::NotYetValid);
    scene.tenant().server.set_tls(tls);
    let ahead = at(2095, 6, 1) - scene.tenant().clock().now_us();
    scene.tenant().set_clock_ahead(ahead);
    let days = ahead / DAY;
    Says {
        at: ("acme", "tls"),
        cause: "clock_behind",
        code: 75,
        what: &format!("{days}d"),
        remedy: "Set this machine's clock",
    }
    .hold(&scene);
    let asked = scene.tenant().seen();
    assert!(!asked.is_empty(), "its clock was asked");
    assert!(asked.iter().all(|seen| seen.header("authorization").is_none()), "{asked:?}");
}

#[test]
fn a_certificate_for_another_host() {
    let scene = scene();
    scene.tenant().server.set_tls(scene.authority.server(Flaw::OtherName));
    Says {
        at: ("acme", "tls"),
        cause: "certificate_other_name",
        code: 75,
        what: "for elsewhere.example and not for localhost",
        remedy: "typo",
    }
    .hold(&scene);
}
