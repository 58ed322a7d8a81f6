//! The OpenWrt package: that every setting can be reached from UCI, through the init script as it
//! is shipped, run by the shell of this machine with a stand-in for OpenWrt's own functions.
//!
//! Never: touches a place outside of the test's own directory.

use std::collections::BTreeSet;
use std::process::Command;

use s1_coralogix::config::{
    self,
    settings::{SECTIONS, SETTINGS, Setting, Shape},
};

use crate::support::temp::TempDir;

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/openwrt");
const INIT: &str = include_str!("../../packaging/openwrt/files/s1-coralogix.init");

/// What the init script makes of a UCI file.
fn rendered(uci: &str) -> String {
    let temp = TempDir::new("openwrt");
    std::fs::write(temp.path().join("s1-coralogix"), uci).unwrap();
    let script = format!(
        ". {PACKAGING}/stub/functions.sh\n. {PACKAGING}/files/s1-coralogix.init\n\
         read_settings\nQUEUE_MAX_SIZE=${{QUEUE_MAX_SIZE:-fitted}}\n\
         QUEUE_MIN_FREE=${{QUEUE_MIN_FREE:-fitted}}\nrender"
    );
    let mut shell = Command::new("sh");
    let done = shell.args(["-ec", &script]).env("UCI_DIR", temp.path()).output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && err.is_empty(), "{err}");
    String::from_utf8(done.stdout).unwrap()
}

/// The lines of a table, without its head.
fn table<'a>(toml: &'a str, head: &str) -> Vec<&'a str> {
    let lines = toml.lines().skip_while(|line| *line != head).skip(1);
    lines.take_while(|line| !line.starts_with('[')).collect()
}

/// As a person would write it in UCI: without TOML's quotes, a list as one line an item.
fn uci(key: &str, toml: &str) -> String {
    let plain = |item: &str| item.trim().trim_matches('"').replace('\'', r"'\''");
    match toml.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        None => format!("\toption {key} '{}'\n", plain(toml)),
        Some(items) => {
            items.split(',').map(|item| format!("\tlist {key} '{}'\n", plain(item))).collect()
        }
    }
}

#[test]
fn every_setting_is_reached_from_uci() {
    let mut file = String::new();
    for section in &SECTIONS {
        file += &format!("config {0} '{0}'\n", section.name);
        for setting in SETTINGS.iter().filter(|setting| setting.section == section.name) {
            file += &uci(setting.key, setting.example);
        }
    }
    let toml = rendered(&file);
    for section in &SECTIONS {
        let head = match section.repeated {
            true => format!("[[{}]]", section.name),
            false => format!("[{}]", section.name),
        };
        let lines = table(&toml, &head);
        for setting in SETTINGS.iter().filter(|setting| setting.section == section.name) {
            let line = format!("{} = {}", setting.key, setting.example);
            let times = lines.iter().filter(|one| **one == line).count();
            assert_eq!(times, 1, "{}: {line} is not once in\n{toml}", setting.full_name());
        }
    }
}

#[test]
fn the_init_script_knows_which_settings_are_true_or_false() {
    let named = INIT.lines().find_map(|line| line.strip_prefix("FLAGS=\"")?.strip_suffix('"'));
    let named: BTreeSet<&str> = named.unwrap().split(' ').collect();
    let keys = |is_flag: bool| -> BTreeSet<&str> {
        let of_kind = |setting: &&Setting| (setting.shape == Shape::Flag) == is_flag;
        SETTINGS.iter().filter(of_kind).map(|setting| setting.key).collect()
    };
    assert_eq!(named, keys(true), "FLAGS of the init script are the settings of Shape::Flag");
    assert!(named.is_disjoint(&keys(false)), "one name, two shapes: the script can't tell");
}

#[test]
fn what_uci_leaves_open_is_filled_in_once() {
    let toml = rendered("config coralogix\n\toption domain ''\nconfig integration 'a_b'\n");
    assert!(table(&toml, "[coralogix]").is_empty(), "{toml}");
    assert_eq!(table(&toml, "[[integration]]"), ["name = \"a_b\""]);
    assert_eq!(
        table(&toml, "[queue]"),
        ["dir = \"/srv/s1-coralogix\"", "max_size = \"fitted\"", "min_free = \"fitted\""]
    );
    assert_eq!(table(&toml, "[status]"), ["file = \"/var/run/s1-coralogix/status.json\""]);

    let named = "config integration 'a'\n\toption name 'b-c'\nconfig queue\n\toption dir '/q'\n";
    let toml = rendered(named);
    assert_eq!(table(&toml, "[[integration]]"), ["name = \"b-c\""]);
    assert_eq!(table(&toml, "[queue]")[0], "dir = \"/q\"");
    assert_eq!(toml.matches("[queue]").count(), 1);

    // An unnamed section has a number for a name, which may change: the program asks for one.
    assert!(table(&rendered("config integration\n"), "[[integration]]").is_empty());
}

#[test]
fn no_value_breaks_out_of_its_line() {
    let file = "config integration 'a'\n\toption application_name 'x\"]\\n[queue]'\n\
                \tlist streams 'one \"two\"'\n\tlist streams 'it'\\''s'\n";
    let toml = rendered(file);
    assert_eq!(
        table(&toml, "[[integration]]"),
        [
            r#"application_name = "x\"]\\n[queue]""#,
            r#"streams = ["one \"two\"", "it's"]"#,
            "name = \"a\""
        ]
    );
}

#[test]
fn the_shipped_uci_config_needs_domain_and_tenant_only() {
    let shipped = std::fs::read_to_string(format!("{PACKAGING}/files/s1-coralogix.config"));
    let filled = shipped
        .unwrap()
        .replace("option domain ''", "option domain 'eu2.coralogix.com'")
        .replace("option tenant ''", "option tenant 'https://usea1-acme.sentinelone.net'");
    let toml = rendered(&filled).replace("\"fitted\"", "\"16MiB\"");
    let read = config::parse("config.toml", &toml, &config::Environment::default());
    assert!(read.is_ok(), "{toml}\n{:?}", read.err());
}
