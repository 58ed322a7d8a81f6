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
    let read = config::parse(
        &[config::Source::text("config.toml", &toml)],
        &config::Environment::default(),
    );
    assert!(read.is_ok(), "{toml}\n{:?}", read.err());
}

/// The init script's own steps in a directory of the test, with a program that judges as it is told, and
/// with nothing that would change this machine: what they print, and whether they succeed.
struct Router {
    temp: TempDir,
}

impl Router {
    fn new() -> Router {
        let temp = TempDir::new("openwrt-box");
        std::fs::write(temp.path().join("resolv.conf"), "").unwrap();
        Router { temp }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.temp.path().join(name)
    }

    /// Runs steps with this queue directory, and a program that ends with this code.
    fn runs(&self, queue_dir: &str, judged: u8, steps: &str) -> (bool, String) {
        let uci = format!(
            "config coralogix\n\toption domain 'a.b'\nconfig integration 'a'\n\toption tenant 'c.d'\n\
             config queue\n\toption dir '{queue_dir}'\nconfig log\n\toption level 'judged-{judged}'\n"
        );
        std::fs::write(self.path("s1-coralogix"), uci).unwrap();
        let here = self.temp.path().display();
        let script = format!(
            ". {PACKAGING}/stub/functions.sh\n. {PACKAGING}/files/s1-coralogix.init\n\
             SECRETS_DIR={here}/etc RUN_DIR={here}/run MADE_DIR={here}/made\n\
             TOML=$MADE_DIR/config.toml NEW=$MADE_DIR/config.new\n\
             program() {{ echo judged $2; return {judged}; }}\nPROG=program\n\
             logger() {{ echo \"log: $*\"; }}\nid() {{ echo 400; }}\nchown() {{ echo chown $*; }}\n\
             chmod() {{ case \"$2\" in {here}/*) command chmod \"$@\" ;; *) echo chmod $* ;; esac; }}\n\
             start() {{ echo started; start_service; }}\nstop() {{ echo stopped; }}\n\
             restart() {{ stop; start; }}\n{steps}"
        );
        let mut shell = Command::new("sh");
        let done = shell.args(["-c", &script]).env("UCI_DIR", self.temp.path()).output().unwrap();
        let said = [done.stdout, done.stderr].map(|said| String::from_utf8(said).unwrap());
        (done.status.success(), said.concat())
    }
}

#[test]
fn a_setting_that_can_not_be_used_leaves_the_running_service_as_it_is() {
    let place = Router::new();
    let queue = place.path("queue").display().to_string();
    let (good, said) = place.runs(&queue, 0, "start");
    assert!(good && said.contains("procd_open_instance"), "{said}");
    assert!(said.contains("made/config.toml] [program]"), "a new program is a new start\n{said}");
    let former = std::fs::read_to_string(place.path("made/config.toml")).unwrap();
    assert!(former.contains("judged-0"), "{former}");
    for steps in ["reload_service", "cmp() { return 1; }; online"] {
        let (good, said) = place.runs(&queue, 78, steps);
        assert!(!good, "{steps}: {said}");
        assert!(said.contains("judged "), "the program was not asked\n{said}");
        // An offer without an instance would stop it.
        for done in ["procd_", "started", "stopped"] {
            assert!(!said.contains(done), "{steps}: {said}");
        }
        let left = std::fs::read_to_string(place.path("made/config.toml")).unwrap();
        assert_eq!(left, former, "procd would start it again with what can't be used");
        let told = std::fs::read_to_string(place.path("made/config.refused")).unwrap();
        assert!(told.starts_with("judged "), "what `status` tells: {told}");
    }
    let (_, said) = place.runs(&queue, 78, "reload_service");
    assert!(said.contains("goes on with the former ones"), "{said}");
    let (_, said) = place.runs("/proc", 0, "reload_service");
    let told = std::fs::read_to_string(place.path("made/config.refused")).unwrap();
    assert!(told.contains("queue.dir /proc can not be"), "{told}{said}");
    let (good, said) = place.runs(&queue, 0, "reload_service");
    assert!(good && !place.path("made/config.refused").exists(), "{said}");
}

#[test]
fn a_directory_is_given_to_the_program_only_if_it_is_for_a_queue_alone() {
    let place = Router::new();
    let at = |name: &str| place.path(name).display().to_string();
    std::fs::create_dir_all(place.path("full/other")).unwrap();
    std::fs::create_dir_all(place.path("empty")).unwrap();
    std::fs::create_dir_all(place.path("restored/log")).unwrap();
    std::fs::write(place.path("restored/lock"), "").unwrap();
    for dir in ["/", "/proc", &at("full")] {
        let (good, said) = place.runs(dir, 0, "start_service");
        assert!(!good && !said.contains("procd_"), "{dir}: {said}");
        assert!(said.contains("is a whole disk or holds other things"), "{dir}: {said}");
        let taken =
            said.lines().any(|line| line.ends_with(&format!(" {dir}")) && !line.contains("log:"));
        assert!(!taken, "{dir} was taken: {said}");
    }
    for dir in ["new/queue", "empty", "restored"] {
        let (good, said) = place.runs(&at(dir), 0, "start_service");
        assert!(good && said.contains("procd_open_instance"), "{dir}: {said}");
        assert!(said.contains(&format!("chown s1-coralogix:s1-coralogix {}\n", at(dir))), "{said}");
    }
    // Nothing is made for settings that the program does not take.
    let (good, _) = place.runs(&at("typo"), 78, "start_service");
    assert!(!good && !place.path("typo").exists());
}

/// The feed's Makefile copies the sources it builds from; what it forgets is missed only on a build host.
#[test]
fn the_makefile_takes_everything_that_a_build_needs() {
    let makefile = std::fs::read_to_string(format!("{PACKAGING}/Makefile")).unwrap();
    let (_, copied) = makefile.split_once("&& cp -a ").unwrap();
    let (copied, _) = copied.split_once("$(PKG_BUILD_DIR)").unwrap();
    let temp = TempDir::new("feed");
    let copied: Vec<&str> = copied.split_whitespace().filter(|word| *word != "\\").collect();
    let mut copy = Command::new("cp");
    copy.arg("-a").args(&copied).arg(temp.path()).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(copy.status().unwrap().success(), "{copied:?}");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // Of this platform alone: a fresh machine holds no more of the dependencies than it has built.
    let says = Command::new("rustc").arg("-vV").output().unwrap().stdout;
    let says = String::from_utf8(says).unwrap();
    let host = says.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut reads = Command::new(cargo);
    reads.args(["metadata", "--offline", "--locked", "--format-version", "1"]);
    reads.args(["--filter-platform", host]);
    let read = reads.current_dir(temp.path()).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let sources = Command::new("grep")
        .args(["-rhoE", r#"include_(str|bytes)!\("[^"]+""#, "src", "build.rs"])
        .current_dir(temp.path())
        .output()
        .unwrap();
    let included = String::from_utf8(sources.stdout).unwrap();
    assert!(included.contains("../../docs/"), "{included}");
    for path in included.lines().filter_map(|line| line.split_once("../../")) {
        let path = path.1.trim_end_matches('"');
        assert!(temp.path().join(path).exists(), "{path}");
    }
}
