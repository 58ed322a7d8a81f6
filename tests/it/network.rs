//! The network between: TLS, proxies, plain HTTP only where allowed.

use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::ingress::Got;
use crate::support::proxy::Proxy;
use crate::support::tls::{Authority, Flaw, Signs};

#[test]
fn without_the_ca_nothing_is_sent_to_either_side() {
    let mut scene = Scene::with(|s| s.ca_file = false);
    scene.tenant().publish(Kind::Activities, 10);
    scene.once_with_code(75);
    assert_eq!((scene.tenant().requests(), scene.ingress.requests()), (0, 0));
    assert!(scene.log().contains("TLS"), "{}", scene.log());
    scene.settings.ca_file = true;
    scene.write_config();
    scene.once_with_code(0);
    scene.assert_exactly_once();
}

#[test]
fn a_flawed_certificate_holds_delivery_and_a_good_one_lets_it_go_on() {
    let stranger = Authority::new("somebody else");
    for flaw in [Flaw::Expired, Flaw::NotYetValid, Flaw::OtherName, Flaw::None] {
        let mut scene = Scene::new();
        // The last round: a good certificate of somebody else.
        let authority = if flaw == Flaw::None { &stranger } else { &scene.authority };
        scene.ingress.server.set_tls(authority.server(flaw));
        scene.tenant().publish(Kind::Activities, 100);
        scene.run();
        scene.wait_waiting(100);
        scene.wait_status_is("/coralogix/reason", "unreachable");
        // Where the certificate does not fit the clock its time is asked for, without a secret.
        let asks_time_only = |got: &Got| got.path == "/" && got.header("authorization").is_none();
        assert!(scene.ingress.got().iter().all(asks_time_only), "{flaw:?}");
        scene.ingress.server.set_tls(scene.authority.server(Flaw::None));
        scene.settle();
        scene.assert_exactly_once();
    }
}

/// A chain is public: who copies it and takes the address has all but the key.
#[test]
fn who_shows_the_right_chain_and_signs_with_another_key_gets_no_request() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut scene = Scene::new();
        let tls = |scene: &Scene, signs| scene.authority.server_signing(version, signs);
        let (good, bad) = (tls(&scene, Signs::WithItsKey), tls(&scene, Signs::WithAnotherKey));
        scene.tenant().publish(Kind::Activities, 10);
        scene.tenant().server.set_tls(good.clone());
        scene.ingress.server.set_tls(bad.clone());
        scene.once_with_code(75);
        assert_eq!(scene.ingress.requests(), 0, "{version:?}");
        assert!(scene.log().contains("does not have its key"), "{}", scene.log());
        scene.ingress.server.set_tls(good.clone());
        scene.tenant().server.set_tls(bad);
        scene.tenant().publish(Kind::Activities, 10);
        let asked = scene.tenant().requests();
        scene.once_with_code(75);
        assert_eq!(scene.tenant().requests(), asked, "{version:?}");
        scene.tenant().server.set_tls(good);
        scene.once_with_code(0);
        scene.assert_exactly_once();
    }
}

#[test]
fn plain_http_only_where_the_config_allows_it() {
    let mut scene = Scene::with(|s| s.tls = false);
    scene.tenant().publish(Kind::Activities, 10);
    scene.once_with_code(0);
    scene.assert_exactly_once();
    let strict = scene.config().replace("allow_http = true", "allow_http = false");
    scene.write_file("config.toml", &strict);
    scene.once_with_code(78);
}

#[test]
fn everything_goes_through_the_proxy_with_its_password() {
    let proxy = Proxy::start(Some("user:pass word"));
    let setting = format!("http://user:pass%20word@{}", proxy.authority());
    let mut scene = Scene::with(|s| s.proxy = Some(setting));
    scene.tenant().publish(Kind::Activities, 1_100);
    scene.run();
    scene.settle();
    let seen = proxy.seen();
    assert!(seen.len() >= 2 && seen.iter().all(|connect| connect.status == 200), "{seen:?}");
    for side in [&scene.tenant().server, &scene.ingress.server] {
        let authority = format!("localhost:{}", side.port());
        assert!(seen.iter().any(|connect| connect.authority == authority));
        assert_eq!(
            side.connections(),
            seen.iter().filter(|c| c.authority == authority).count() as u64
        );
    }
    scene.assert_secrets_kept(&["pass word".to_string(), "pass%20word".to_string()]);
    scene.assert_exactly_once();
}

#[test]
fn a_proxy_that_refuses_is_told_and_waited_for() {
    for status in [407, 502] {
        let proxy = Proxy::start(None);
        proxy.refuse_with(Some(status));
        let setting = format!("http://{}", proxy.authority());
        let mut scene = Scene::with(|s| s.proxy = Some(setting));
        scene.tenant().publish(Kind::Activities, 10);
        scene.run();
        scene.wait_log(&status.to_string());
        proxy.refuse_with(None);
        scene.settle();
        scene.assert_exactly_once();
    }
}

#[test]
fn the_proxy_of_the_environment_is_used_unless_no_proxy_says_otherwise() {
    for (no_proxy, used) in [("elsewhere.example", true), ("localhost", false)] {
        let proxy = Proxy::start(None);
        let mut scene = Scene::new();
        scene.tenant().publish(Kind::Activities, 10);
        scene.run_with(&[
            ("HTTPS_PROXY", format!("http://{}", proxy.authority())),
            ("NO_PROXY", no_proxy.to_string()),
        ]);
        scene.settle();
        assert_eq!(!proxy.seen().is_empty(), used, "NO_PROXY={no_proxy}");
        scene.assert_exactly_once();
    }
}
