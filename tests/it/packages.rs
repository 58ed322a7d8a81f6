//! The scripts of the packages, as they are shipped, run by the shell of this machine with the places of
//! a scene for those of a system.
//!
//! Never: touches a place outside of the test's own directory, or a service of this machine.

use std::path::Path;
use std::process::Command;

use crate::scene::Scene;
use crate::support::data::Kind;
use crate::support::temp::TempDir;

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

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// The places in the tree of a page that its links name: those of this repository, without what is
/// within a page.
fn links(page: &str) -> Vec<&str> {
    let ends = page.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let places = ends.map(|(place, _)| place.split('#').next().unwrap_or_default());
    places.filter(|place| !place.is_empty() && !place.contains("://")).collect()
}

/// Every link of each page in this directory leads to something that is in the package.
fn assert_links_lead_somewhere(dir: &Path) -> usize {
    let pages = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let mut followed = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for place in links(&text) {
            assert!(dir.join(place).exists(), "{}: {place} is not shipped", page.display());
            followed += 1;
        }
    }
    followed
}

/// On the device there is nothing but what the package brings.
#[test]
fn what_the_readme_and_the_pages_link_to_is_in_the_packages() {
    let temp = TempDir::new("stage");
    let tree = temp.path().join("tree");
    let line = ". packaging/lib.sh && stage \"$1\" /bin/true && papers \"$2\"";
    let off = temp.path().join("off");
    let done = Command::new("sh")
        .args(["-ec", line, "sh"])
        .args([&tree, &off])
        .current_dir(TOP)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for papers in [&tree.join("usr/share/doc/s1-coralogix"), &off] {
        let followed = assert_links_lead_somewhere(papers);
        assert!(followed > 30, "README has its links: {followed}");
        let followed = assert_links_lead_somewhere(&papers.join("docs"));
        assert!(followed > 100, "the pages have theirs: {followed}");
    }
    let check = Command::new(env!("CARGO_BIN_EXE_s1-coralogix")).args(["check", "--help"]).output();
    let help = String::from_utf8(check.unwrap().stdout).unwrap();
    let words = help.split_whitespace().map(|word| word.trim_end_matches(','));
    let cited: Vec<&str> = words.filter(|word| word.contains("docs/")).collect();
    assert_eq!(cited, ["/usr/share/doc/s1-coralogix/docs/CHECK.md"], "{help}");
    assert!(tree.join(&cited[0][1..]).exists());
}
