//! What a stranger writes reaches no terminal, log or file with a character that commands, reorders or
//! hides.

use rcgen::DnType;

use crate::scene::{Scene, files_holding};
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};
use crate::support::process::Ended;
use crate::support::tls::{Authority, Flaw};

/// One or more of each class, behind a word that must arrive.
const STRANGE: &str = "seen\u{1b}[2J\u{7}\u{7f}\u{85}\u{9b}2J\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}\
     \u{e0001}\u{e0041}\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}\u{180e}\u{2028}\u{2029}\
     \u{34f}\u{115f}\u{17b4}\u{180b}\u{2061}\u{206a}\u{3164}\u{fe0f}\u{ffa0}\u{fff0}\u{fff9}\u{1bca0}\u{1d173}\
     \u{e01ef}unseen";

fn assert_plain(what: &str, text: &str) {
    assert!(text.contains("seen"), "{what} has what was written\n{text}");
    let strange = |c: &char| STRANGE.contains(*c) && !c.is_ascii_graphic();
    let found: Vec<char> = text.chars().filter(strange).collect();
    assert!(found.is_empty(), "{what} has {found:?}\n{text:?}");
}

#[test]
fn the_name_of_an_authority_is_plain() {
    for kind in [DnType::CommonName, DnType::OrganizationName] {
        let mut scene = Scene::new();
        let stranger = Authority::named(&[(kind, STRANGE)]);
        scene.tenant().server.set_tls(stranger.server(Flaw::None));
        for args in [&["check"][..], &["check", "--json"]] {
            assert_plain("check", &scene.command(args).out);
        }
        scene.once_with_code(75);
        assert_plain("the log", &scene.log());
        let status = std::fs::read_to_string(scene.path("status.json")).unwrap();
        assert_plain("the status file", &status);
    }
}

#[test]
fn the_words_of_a_refusal_are_plain_wherever_they_are_shown() {
    let (mut scene, list) = Scene::where_one_is_parked((400, "text/plain", STRANGE));
    assert_plain("queue parked list", &list);
    let json = scene.command(&["queue", "parked", "list", "--json"]).out;
    assert_plain("queue parked list --json", &json);
    let parked: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    let show = |name: &str| scene.command(&["queue", "parked", "show", name]).out;
    assert_plain("queue parked show", &show(parked["name"].as_str().unwrap()));
    let id = parked["id"].as_str().unwrap();
    assert_plain("queue show", &scene.command(&["queue", "show", id]).out);
    assert_plain("the log", &scene.log());
    let notes = files_holding(&scene.queue_dir().join("parked"), b"unseen");
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_plain("the note beside it", &std::fs::read_to_string(&notes[0]).unwrap());

    let detail = STRANGE.replace('\u{1b}', "\\u001b").replace('\u{7}', "\\u0007");
    let body = format!("{{\"errors\":[{{\"code\":4030010,\"detail\":\"{detail}\"}}]}}");
    scene.tenant().fail(On::Anything, None, Fault::answer(403, "application/json", body));
    scene.tenant().publish(Kind::Activities, 1);
    scene.wait_unhealthy();
    let file = std::fs::read_to_string(scene.path("status.json")).unwrap();
    for (what, text) in [
        ("status", scene.command(&["status"]).out),
        ("status --json", scene.command(&["status", "--json"]).out),
        ("the status file", file),
    ] {
        assert_plain(what, &text);
    }
    scene.stop();
    assert_plain("the log", &scene.log());
}

/// A path of the config, and what stands in a status file that another program has written.
#[test]
fn the_names_of_files_are_plain() {
    let mut scene = Scene::with(|settings| {
        settings.extra =
            "[metrics]\nfile = \"/seen\\u001b[8m\\u001b[2J\\u202e\\u200b\\u009b/s1.prom\"\n".into();
    });
    let strange = "seen\u{1b}[8m\u{1b}[2J\u{202e}\u{200b}\u{9b}";
    let escaped = "seen\\u001b[8m\\u001b[2J\\u202e\\u200b\\u009b";
    let (status, queue) = (scene.path("status.json"), scene.queue_dir());
    let mut config = scene.config();
    for name in ["status.json", "queue"] {
        let (from, to) = (scene.path(name), scene.path(&format!("{escaped}/{name}")));
        config = config.replace(from.to_str().unwrap(), to.to_str().unwrap());
    }
    scene.write_file("config.toml", &config);
    std::fs::create_dir(scene.path(strange)).unwrap();
    scene.tenant().publish(Kind::Activities, 3);
    scene.ingress.server.take_away();
    scene.once_with_code(75);
    assert!(!status.exists() && !queue.exists(), "the config names others");
    // As another queue's daemon would have left it.
    let file = scene.path(strange).join("status.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut status: serde_json::Value = serde_json::from_str(&text).unwrap();
    status["queue"]["id"] = "another".into();
    status["version"] = "seen\u{1b}[8m\n".into();
    std::fs::write(&file, status.to_string()).unwrap();
    for args in [
        &["check", "--offline"][..],
        &["status"],
        &["queue", "list"],
        &["queue", "stats"],
        &["queue", "show", "9\u{1b}[8m"],
        &["report", "-"],
    ] {
        let ended = scene.command(args);
        let text = format!("{}{}", ended.out, ended.err);
        assert!(
            !text.contains(|c: char| "\u{1b}\u{202e}\u{200b}\u{9b}".contains(c)),
            "{args:?}\n{text:?}"
        );
        assert!(text.contains("seen\\u001b"), "{args:?}\n{text}");
    }
}

/// It may have been copied from anywhere.
#[test]
fn what_was_typed_is_shown_plain() {
    let mut scene = Scene::new();
    scene.once_with_code(0);
    let both = |ended: Ended| format!("{}{}", ended.out, ended.err);
    for args in [
        &[STRANGE][..],
        &["run", STRANGE],
        &["queue", "show", STRANGE],
        &["queue", "parked", "show", STRANGE],
        &["explain", STRANGE],
    ] {
        assert_plain(&format!("{args:?}"), &both(scene.command(args)));
    }
    let typed: String = STRANGE.chars().filter(|c| !c.is_control()).collect();
    scene.write_file("config.toml", &format!("{}\n\"{typed}\" = 1\n", scene.config()));
    for args in [&["run"][..], &["check", "--offline"], &["check", "--offline", "--json"]] {
        assert_plain(&format!("{args:?}"), &both(scene.command(args)));
    }
}
