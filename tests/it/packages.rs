//! The scripts of the packages, as they are shipped, run by the shell of this machine with the places of
//! a scene for those of a system.
//!
//! Never: touches a place outside of the test's own directory, or a service of this machine.

use std::process::Command;

use crate::scene::Scene;
use crate::support::data::Kind;

const DEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/deb");

/// Runs a script of the .deb within the scene. Service managers are not called.
fn script(scene: &Scene, name: &str, step: &str) -> String {
    let here = scene.path("");
    let text = std::fs::read_to_string(format!("{DEB}/{name}")).unwrap();
    let text = text
        .replace("$(s1-coralogix ", concat!("$(", env!("CARGO_BIN_EXE_s1-coralogix"), " "))
        .replace("/var/lib/s1-coralogix", &scene.queue_dir().display().to_string())
        .replace("/etc/s1-coralogix", &here.join("etc").display().to_string())
        .replace("/run/systemd/system", "/nonexistent")
        .replace("deb-systemd-", "no-such-command-");
    let done = Command::new("sh").args(["-c", &text, name, step]).output().unwrap();
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    assert!(done.status.success(), "{name} {step}: {said}");
    said
}

#[test]
fn a_purge_says_what_it_deletes() {
    for waiting in [40, 0] {
        let mut scene = Scene::new();
        std::fs::create_dir(scene.path("etc")).unwrap();
        scene.tenant().publish(Kind::Activities, 40);
        if waiting > 0 {
            scene.ingress.server.take_away();
            scene.run();
            scene.wait_waiting(waiting);
        } else {
            scene.run();
            scene.settle();
        }
        scene.stop();
        assert_eq!(script(&scene, "prerm", "upgrade"), "");
        assert!(!scene.path("etc/left-in-queue").exists(), "an upgrade deletes nothing");
        script(&scene, "prerm", "remove");
        let kept = script(&scene, "postrm", "remove");
        assert!(!kept.contains("deleting") && scene.queue_dir().exists(), "{kept}");
        let said = script(&scene, "postrm", "purge");
        assert!(!scene.queue_dir().exists());
        let told =
            "with up to 40 records waiting for delivery, 0 that Coralogix rejected, 0 batches";
        assert_eq!(said.contains(told), waiting > 0, "{said}");
    }
}
