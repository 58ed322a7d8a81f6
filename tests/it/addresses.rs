//! Names with several addresses of which one is no good, and connections that outlive a poll.
//!
//! Promises: the machine's own names stay as they are; where a file can't be put over `/etc/hosts`
//! for the program alone, the test says so and ends.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::campaign::Campaign;
use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::tenant::Seen;

/// A world whose program takes `localhost` for `::1` first, then for 127.0.0.1, where the servers
/// are. `None`: this machine does not allow that.
fn with_two_addresses(connect_timeout: &str) -> Option<Scene> {
    let mut scene = Scene::with(|s| {
        s.connect_timeout = connect_timeout.to_string();
        s.timeout = "5m".to_string();
    });
    scene.write_file("hosts", "::1 localhost\n127.0.0.1 localhost\n");
    let script = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    let hosts = scene.path("hosts").into_os_string();
    let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script];
    let runner: Vec<OsString> = words.map(OsString::from).into_iter().chain([hosts]).collect();
    let asked = Command::new(&runner[0])
        .args(&runner[1..])
        .args(["getent", "ahosts", "localhost"])
        .output();
    let ground = match asked {
        Ok(output) if output.stdout.starts_with(b"::1 ") => Ok(()),
        other => Err(format!("localhost can't be given a second address: {other:?}")),
    };
    Campaign::given("addresses", ground)?;
    scene.program = scene.program.under(runner);
    Some(scene)
}

/// Listens at the tenant's port of `::1`, with room for so many that nobody accepts.
fn listen_beside(scene: &Scene, room: i32) -> TcpListener {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        rustix::net::socket_with(AddressFamily::INET6, SocketType::STREAM, flags, None).unwrap();
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, scene.tenant().server.port()));
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, room).unwrap();
    TcpListener::from(socket)
}

/// Publishes, and sees it delivered over a connection that is made for it.
fn deliver_over_a_new_connection(scene: &Scene) {
    let before = scene.tenant().server.connections();
    scene.tenant().server.drop_connections();
    scene.tenant().publish(Kind::Activities, 10);
    scene.poll_again();
    assert!(scene.tenant().server.connections() > before);
}

/// Five minutes to connect: a share of them for the dead address is more than any test waits.
#[test]
fn an_address_that_does_not_answer_holds_nobody_up() {
    let Some(mut scene) = with_two_addresses("5m") else { return };
    let listener = listen_beside(&scene, 0);
    let address = listener.local_addr().unwrap();
    let mut full = Vec::new();
    while let Ok(one) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        full.push(one);
    }
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.settle();
    deliver_over_a_new_connection(&scene);
    scene.stop();
    scene.assert_exactly_once();
}

/// What accepts and then says nothing is as good as dead, and asked once in a while.
#[test]
fn an_address_that_is_mute_once_connected_is_tried_after_the_other() {
    let Some(mut scene) = with_two_addresses("2s") else { return };
    let mute = listen_beside(&scene, 64);
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.settle();
    for _ in 0..3 {
        deliver_over_a_new_connection(&scene);
    }
    scene.stop();
    mute.set_nonblocking(true).unwrap();
    let asked = mute
        .incoming()
        .take_while(|one| !one.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    assert_eq!(asked.count(), 1, "connections to the mute address");
    scene.assert_exactly_once();
}

/// The default of `poll_interval` is a minute; what once was the longest that an idle connection
/// was kept, 20 s, is what has to be outlived here.
#[test]
fn a_connection_outlives_the_poll_interval() {
    let mut scene = Scene::with(|s| {
        s.integrations[0].poll_interval = "22s".to_string();
        s.integrations[0].streams = vec!["activities"];
    });
    scene.tenant().publish(Kind::Activities, 10);
    scene.run();
    scene.settle();
    scene.wait_while_alive("a poll after the interval", |within| {
        let is_late = |seen: &[Seen]| {
            let first = seen.first()?.at;
            seen.iter().any(|s| s.at.duration_since(first) > Duration::from_secs(21)).then_some(())
        };
        scene.tenant().wait(within, is_late)
    });
    let seen = scene.tenant().seen();
    assert!(seen.iter().all(|one| one.connection == 1), "{}", scene.story());
    scene.stop();
}
