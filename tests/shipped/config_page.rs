//! s1-coralogix.toml(5).

use s1_coralogix::config::settings::{self, Fallback, SECTIONS, Setting, Shape};
use s1_coralogix::config::units;

use crate::roff::Page;

const HEAD: [&str; 5] = [
    "The config is TOML. An unknown key or section is an error, with a hint at what may have been \
     meant. All errors are reported at once, with file, line and column; the exit status is then \
     78. `s1-coralogix check --offline` reads the config and changes nothing.",
    "If there is a directory next to the file with the same name, but .d instead of .toml, its \
     files whose names end with .toml and do not start with a dot are read after it, in byte order \
     of their names: config.toml, then config.d/10-acme.toml. If a setting occurs in several \
     files, the last one applies; each [[integration]] is a new one, so that there can be one file \
     for each tenant. A file with a secret in it must itself be private.",
    "A running daemon reads it again on SIGHUP. An invalid one is reported and the old one stays \
     in effect. The name of an integration and queue.dir should not be changed: see below.",
    "A duration is a whole number and one unit of ms, s, m, h or d: \"60s\". A size is a \
     whole number and one unit of B, KB, KiB, MB, MiB, GB, GiB, TB or TiB: \"64MiB\".",
    "A secret should be in its own file with nothing else in it, readable by the daemon's user \
     only; white space around it is removed. $CREDENTIALS_DIRECTORY/NAME names a credential \
     provided by systemd (LoadCredential=).",
];

const EXAMPLE: [&str; 9] = [
    "[coralogix]",
    "domain = \"eu2.coralogix.com\"",
    "api_key_file = \"/etc/s1-coralogix/coralogix.key\"",
    "",
    "[[integration]]",
    "name = \"acme\"",
    "tenant = \"https://usea1-acme.sentinelone.net\"",
    "api_token_file = \"/etc/s1-coralogix/acme.token\"",
    "streams = [\"threats\", \"activities\"]",
];

pub fn render() -> String {
    let mut page = Page::new("s1-coralogix.toml", 5);
    page.head("NAME");
    page.text("s1-coralogix.toml - the config of s1-coralogix");
    page.head("SYNOPSIS");
    page.text("/etc/s1-coralogix/config.toml, /etc/s1-coralogix/config.d/*.toml");
    page.head("DESCRIPTION");
    page.text(HEAD[0]);
    HEAD[1..].iter().for_each(|text| page.paragraph(text));
    for section in &SECTIONS {
        page.head(&match section.repeated {
            true => format!("SECTION [[{}]]", section.name),
            false => format!("SECTION [{}]", section.name),
        });
        page.text(section.doc);
        for setting in settings::of_section(section.name) {
            page.tagged(&format!("{} = {}", setting.key, setting.example), setting.doc);
            page.more(&format!("{} {}", shape(setting), fallback(setting)));
        }
    }
    page.head("EXAMPLE");
    page.text("All required settings:");
    page.lines(EXAMPLE);
    page.paragraph(
        "A commented file with every setting and its default is shipped as config.example.toml.",
    );
    page.head("SEE ALSO");
    page.text("s1-coralogix(1), systemd.exec(5)");
    page.done()
}

fn shape(setting: &Setting) -> String {
    let list = |words: &[&str]| words.join(", ");
    match setting.shape {
        Shape::Text { bytes_max } => format!("Text of at most {bytes_max} bytes."),
        Shape::Name => "Letters, digits, dot, hyphen and underscore.".to_owned(),
        Shape::Address => "An address.".to_owned(),
        Shape::Path => "An absolute path.".to_owned(),
        Shape::SecretFile => "An absolute path, or $CREDENTIALS_DIRECTORY/NAME.".to_owned(),
        Shape::Secret => "A secret.".to_owned(),
        Shape::Span { min, max } => {
            let (min, max) = (units::of_span(min), units::of_span(max));
            format!("A duration from {min} to {max}.")
        }
        Shape::Size { min, max } => {
            format!("A size from {} to {}.", units::of_size(min), units::of_size(max))
        }
        Shape::Start => "A duration, a time in RFC 3339, or now.".to_owned(),
        Shape::Rate { min, max } => {
            format!(
                "A size per second from {}/s to {}/s.",
                units::of_size(min),
                units::of_size(max)
            )
        }
        Shape::Windows => "A list of times of day, hh:mm-hh:mm.".to_owned(),
        Shape::Flag => "Either true or false.".to_owned(),
        Shape::Streams => "A list of threats, activities and alerts.".to_owned(),
        Shape::Choice(words) => format!("One of {}.", list(words)),
    }
}

fn fallback(setting: &Setting) -> String {
    match setting.fallback {
        Fallback::Required => "Required.".to_owned(),
        Fallback::Value(value) => format!("Default: {value}."),
        Fallback::Words(words) => format!("Without it: {words}."),
    }
}
