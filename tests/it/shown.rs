//! What the program shows of itself: `config show`, `report`, `explain` of a state, and the log as
//! JSON. No secret is in any of it, wherever it was planted.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::scene::{PATIENCE, Scene};
use crate::support::data::Kind;
use crate::support::fault::{Fault, On};

const PROXY_PASSWORD: &str = "planted-proxy-password";
const ENVIRONMENT_TOKEN: &str = "planted-environment-token";
const INLINE_KEY: &str = "cxtp_planted-inline-key";

/// The settings of `config show --json` by name.
fn settings(scene: &Scene, environment: &[(&str, String)]) -> BTreeMap<String, Value> {
    let ended = scene.command_with(&["config", "show", "--json"], environment);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let document: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(document["schema"], 1, "{document:#}");
    let rows = document["settings"].as_array().unwrap().iter();
    rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row.clone())).collect()
}

#[test]
fn each_setting_is_shown_with_its_origin() {
    let scene = Scene::new();
    std::fs::create_dir(scene.path("config.d")).unwrap();
    scene.write_file("config.d/10-more.toml", "# more\n[retry]\nmax = \"7m\"\n");
    let config = scene.config();
    let line = |what: &str| config.lines().position(|l| l.starts_with(what)).unwrap() + 1;
    let level = [("S1_CORALOGIX_LOG", "trace".to_owned())];
    let shown = settings(&scene, &level);
    let main = scene.config_file().display().to_string();
    let more = scene.path("config.d/10-more.toml").display().to_string();
    for (name, value, origin, file, line) in [
        ("queue.max_size", "1GiB", "file", Some(&main), Some(line("max_size"))),
        ("retry.max", "7m", "file", Some(&more), Some(3)),
        ("integration.subsystem_name", "SentinelOne", "default", None, None),
        ("log.level", "trace", "environment", None, None),
    ] {
        let row = &shown[name];
        let found = (row["value"].as_str(), row["origin"].as_str());
        assert_eq!(found, (Some(value), Some(origin)), "{row:#}");
        assert_eq!(row["file"].as_str(), file.map(String::as_str), "{row:#}");
        assert_eq!(row["line"].as_u64(), line.map(|line| line as u64), "{row:#}");
    }
    assert_eq!(shown["log.level"]["variable"], "S1_CORALOGIX_LOG");
    assert_eq!(shown["integration.name"]["integration"], "acme");
    let text = scene.command_with(&["config", "show"], &level).out;
    for line in ["max = \"7m\"", "# config.d/10-more.toml:3", "# environment S1_CORALOGIX_LOG"] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_config_show_prints_is_a_config() {
    let scene = Scene::new();
    let before = settings(&scene, &[]);
    let text = scene.command(&["config", "show"]).out;
    scene.write_file("config.toml", &text);
    let values = |all: BTreeMap<String, Value>| {
        all.into_iter().map(|(name, row)| (name, row["value"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(values(settings(&scene, &[])), values(before));
}

#[test]
fn a_config_that_can_t_be_used_is_not_shown() {
    let scene = Scene::new();
    scene.write_file("config.toml", &scene.config().replace("max_size", "max_sizes"));
    let ended = scene.command(&["config", "show"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(78), ""), "{}", ended.err);
    assert!(ended.err.contains("S1C-E303") || ended.err.contains("max_size"), "{}", ended.err);
}

/// A stage with a secret in the config, in the environment, in a file, in the address of a proxy,
/// and in what a service said of it; with all of them.
fn planted() -> (Scene, Vec<(&'static str, String)>, Vec<String>) {
    let mut scene = Scene::new();
    let (key, token) = (scene.ingress.key(), scene.tenant().token());
    // The first by its form, as one that was used before; the others because they are known. The last
    // one is cut in the status.
    let remark = format!(
        "3 of your logs were not to our taste, for these: cxtp_planted-before, {token}, \
         {ENVIRONMENT_TOKEN}, {PROXY_PASSWORD}"
    );
    scene.ingress.fail(On::Singles, 1, Fault::Remark(remark.leak()));
    scene.tenant().publish(Kind::Activities, 5);
    scene.once_with_code(0);
    let status = scene.status().unwrap().to_string();
    assert!(status.contains("planted-prox") && !status.contains(PROXY_PASSWORD), "{status}");
    let file = format!("api_key_file = \"{}\"", scene.path("coralogix.key").display());
    let config = scene.config().replace(&file, &format!("api_key = \"{INLINE_KEY}\""));
    let proxy = format!("[network]\nproxy = \"http://planted-user:{PROXY_PASSWORD}@127.0.0.1:9\"");
    scene.write_file("config.toml", &config.replace("[network]", &proxy));
    let environment = vec![
        ("S1_API_TOKEN", ENVIRONMENT_TOKEN.to_owned()),
        ("CORALOGIX_API_KEY", key.clone()),
        ("HTTPS_PROXY", "http://other-user:planted-environment-proxy@127.0.0.1:9".to_owned()),
    ];
    let mut secrets: Vec<String> = vec![key, token, INLINE_KEY.into(), PROXY_PASSWORD.into()];
    secrets.extend(["planted", "planted-user", "other-user"].map(String::from));
    (scene, environment, secrets)
}

#[test]
fn no_secret_is_in_a_report_or_in_the_settings_shown() {
    let (scene, environment, secrets) = planted();
    // The name of the directory may hold anything but them.
    let (text, json) = (scene.path("report.txt"), scene.path("report.json"));
    for args in [
        &["config", "show"][..],
        &["config", "show", "--json"],
        &["report", "-"],
        &["report", "-", "--json"],
        &["report", text.to_str().unwrap()],
        &["report", json.to_str().unwrap()],
    ] {
        let ended = scene.command_with(args, &environment);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.err);
        let file = args.get(1).map(std::path::Path::new).filter(|file| file.is_absolute());
        let written = file.map(|file| std::fs::read_to_string(file).unwrap()).unwrap_or_default();
        let all = format!("{}{}{written}", ended.out, ended.err);
        for secret in &secrets {
            assert!(!all.contains(secret), "{secret} is in {args:?}:\n{all}");
        }
        assert!(all.contains("***"), "{args:?}:\n{all}");
    }
    let report: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    for part in ["config", "status", "messages", "check", "queue"] {
        assert!(report[part].is_object() && report[part]["error"].is_null(), "{part}: {report:#}");
    }
    assert_eq!(report["messages"]["remarks"], 1, "{report:#}");
    for heading in ["config show", "status", "messages", "check --offline", "queue stats"] {
        let report = std::fs::read_to_string(&text).unwrap();
        assert!(report.contains(&format!("\n==== {heading} ====\n")), "{heading}: {report}");
    }
}

#[test]
fn a_report_is_a_new_file_of_its_owner_s_and_is_made_without_a_config_too() {
    let scene = Scene::new();
    let file = scene.path("report.txt");
    let args = ["report", file.to_str().unwrap()];
    scene.write_file("config.toml", "[coralogix]\napi_key = \"planted-key\"\nx = 1\n");
    let ended = scene.command(&args);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("S1C-E3") && !written.contains("planted"), "{written}");
    let again = scene.command(&args);
    assert_eq!(again.code, Some(1), "{}", again.err);
    assert!(again.err.starts_with("S1C-E438 "), "{}", again.err);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written, "it is left as it was");
}

#[test]
fn the_log_as_json_is_one_object_a_line_with_the_same_messages() {
    let scene = Scene::new();
    let config = scene.config().replace("[log]\n", "[log]\nformat = \"json\"\n");
    scene.write_file("config.toml", &config);
    scene.tenant().revoke_all_tokens();
    scene.tenant().publish(Kind::Activities, 1);
    let ended = scene.command(&["run", "--once"]);
    assert_eq!(ended.code, Some(77), "{}", ended.err);
    let mut codes = vec![];
    for line in ended.err.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys.len(), 4, "{line}");
        let text = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}"));
        assert!(text("time").ends_with('Z') && !text("message").starts_with("S1C-"), "{line}");
        let levels = ["error", "warn", "info", "debug", "trace"];
        assert!(levels.contains(&text("level")), "{line}");
        codes.push(text("code").to_owned());
    }
    assert!(codes.iter().any(|code| code == "S1C-E107"), "{codes:?}");
    // Commands answer people; their errors stay text unless the environment asks.
    let unknown = scene.command(&["explain", "E999"]);
    assert!(unknown.err.starts_with("S1C-E426 "), "{}", unknown.err);
    let style = [("S1_CORALOGIX_LOG_STYLE", "json".to_owned())];
    let unknown = scene.command_with(&["explain", "E999"], &style);
    let line: Value = serde_json::from_str(unknown.err.trim_end()).unwrap();
    assert_eq!(line["code"], "S1C-E426", "{line}");
}

#[test]
fn a_state_is_explained_by_its_word() {
    let scene = Scene::new();
    for word in ["parked", "quarantine", "gap", "doubt"] {
        let ended = scene.command(&["explain", word]);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert!(ended.out.starts_with(word) && ended.out.contains("What to do"), "{}", ended.out);
        let all = scene.command(&["explain"]).out;
        let (_, table) = all.split_once("\nStates\n").unwrap();
        assert!(table.contains(&format!("\n  {word} ")) || table.starts_with("  gap"), "{table}");
    }
}

/// What is written to a terminal of this width, up to the first page and a Ctrl-C; `script` makes
/// one.
fn watched_at(scene: &Scene, columns: usize) -> Option<String> {
    let program = env!("CARGO_BIN_EXE_s1-coralogix");
    let config = scene.config_file();
    let line =
        format!("stty cols {columns} rows 60; exec {program} -c {} status -w", config.display());
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.env("TERM", "xterm").spawn().ok()?;
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    let mut interrupted = false;
    loop {
        let count = stdout.read(&mut piece).unwrap();
        if count == 0 {
            break;
        }
        seen.extend_from_slice(&piece[..count]);
        if !interrupted && String::from_utf8_lossy(&seen).contains("\x1b[J") {
            stdin.write_all(b"\x03").unwrap();
            interrupted = true;
        }
    }
    assert!(child.wait().unwrap().success(), "{}", String::from_utf8_lossy(&seen));
    Some(String::from_utf8_lossy(&seen).into_owned())
}

#[test]
fn a_watched_page_is_as_wide_as_its_terminal_on_a_screen_of_its_own() {
    let mut scene = Scene::new();
    scene.tenant().revoke_all_tokens();
    scene.once_with_code(77);
    let Some(wide) = watched_at(&scene, 160) else {
        crate::support::skip::skipped("there is no script(1) here");
        return;
    };
    let narrow = watched_at(&scene, 60).unwrap();
    let longest = |page: &str| {
        let page = page.split("\x1b[J").next().unwrap_or_default();
        let plain = |line: &str| {
            let pieces = line.split('\x1b').enumerate();
            let text = |(nth, piece): (usize, &str)| {
                let skip = if nth == 0 {
                    0
                } else {
                    piece.find(char::is_alphabetic).map_or(0, |at| at + 1)
                };
                piece[skip..].chars().count()
            };
            pieces.map(text).sum::<usize>()
        };
        page.split("\r\n").map(plain).max().unwrap_or(0)
    };
    assert!(longest(&wide) > 80 && longest(&wide) <= 160, "{} {wide:?}", longest(&wide));
    assert!(longest(&narrow) <= 60, "{} {narrow:?}", longest(&narrow));
    for page in [&wide, &narrow] {
        assert!(page.contains("\x1b[?1049h") && page.contains("\x1b[?1049l"), "{page:?}");
    }
}

#[test]
fn watching_as_json_is_one_document_a_line() {
    let mut scene = Scene::new();
    scene.run();
    scene.settle();
    let process = scene.start(&["status", "--json", "--watch"], &[]);
    assert!(process.wait_out("}\n{", PATIENCE), "{}", process.err());
    process.signal(rustix::process::Signal::INT);
    let ended = process.wait(PATIENCE).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for line in ended.out.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        assert_eq!(line["running"], true, "{line}");
    }
}
