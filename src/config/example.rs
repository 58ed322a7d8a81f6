//! The example config, written from the table of settings.
//!
//! Promises: names every setting; holds once `EMPTY` is filled in, and with each `#key` line's `#`
//! removed. Never: names an address that may be somebody's, where a daemon could take it.
//! `packaging/config.example.toml` and `packaging/config.toml`, what of it must be given, are these
//! texts; tests compare them.

use crate::config::settings::{self, Fallback, SECTIONS, Section, Setting, Shape};

const WIDTH_CHARS: usize = 88;

const HEAD: &str = "\
The configuration of s1-coralogix. Lines without # must be set, and fill in the empty ones; \
`s1-coralogix check` then tells whether everything works, step by step. A line that is #key = value shows a default, or an example \
where there is none: remove the # to change it. The daemon reads this file again on SIGHUP.";

/// Addresses that nobody but the reader knows. A config with the example's would send one customer's
/// token to another's console, so these are empty, which is an error.
const EMPTY: [(&str, &str); 2] = [("coralogix", "domain"), ("integration", "tenant")];

/// Settings that stand in for another one, so that both must not be given.
const INSTEAD: [(&str, &str); 3] =
    [("coralogix", "url"), ("coralogix", "api_key"), ("integration", "api_token")];

/// Settings without a default that most people give in this form.
const USUAL: [(&str, &str); 3] =
    [("coralogix", "domain"), ("coralogix", "api_key_file"), ("integration", "api_token_file")];

/// The whole text.
pub fn render() -> String {
    let mut out = String::new();
    comment(&mut out, HEAD);
    for section in &SECTIONS {
        out.push('\n');
        comment(&mut out, section.doc);
        out.push_str(&header(section));
        for setting in settings::of_section(section.name) {
            out.push('\n');
            comment(&mut out, &words(setting));
            out.push_str(&line(setting));
        }
    }
    out
}

const MINIMAL_HEAD: &str = "\
The configuration of s1-coralogix. Fill in the empty lines; `s1-coralogix check` then tells whether \
everything works. Every other setting is in s1-coralogix.toml(5) and, with comments, in \
config.example.toml. Settings may also stand in files of the directory config.d beside this one, such \
as one NAME.toml for each [[integration]]: they are read after it in the order of their names, and the \
last one counts.";

/// What a package puts where there is no config yet: only what must be given.
pub fn minimal() -> String {
    let mut out = String::new();
    comment(&mut out, MINIMAL_HEAD);
    for section in &SECTIONS {
        let lines = settings::of_section(section.name).map(line);
        let lines: String = lines.filter(|line| !line.starts_with('#')).collect();
        if !lines.is_empty() {
            out += &format!("\n{}{lines}", header(section));
        }
    }
    out
}

fn header(section: &Section) -> String {
    match section.repeated {
        true => format!("[[{}]]\n", section.name),
        false => format!("[{}]\n", section.name),
    }
}

fn words(setting: &Setting) -> String {
    let range = match setting.shape {
        Shape::Choice(words) if setting.key == "level" => format!(" One of {}.", words.join(", ")),
        _ => String::new(),
    };
    let without = match setting.fallback {
        Fallback::Words(words) if !is_alternative(setting) => format!(" Without it: {words}."),
        _ => String::new(),
    };
    format!("{}{range}{without}", setting.doc)
}

fn line(setting: &Setting) -> String {
    let Setting { section, key, example, .. } = setting;
    if EMPTY.contains(&(section, key)) {
        return format!("{key} = \"\"  # e.g. {example}\n");
    }
    match setting.fallback {
        Fallback::Required => format!("{key} = {example}\n"),
        Fallback::Value(value) => format!("#{key} = {value}\n"),
        Fallback::Words(_) if USUAL.contains(&(section, key)) => format!("{key} = {example}\n"),
        Fallback::Words(_) if INSTEAD.contains(&(section, key)) => {
            format!("#     {key} = {example}\n")
        }
        Fallback::Words(_) => format!("#{key} = {example}\n"),
    }
}

fn is_alternative(setting: &Setting) -> bool {
    let name = (setting.section, setting.key);
    USUAL.contains(&name) || INSTEAD.contains(&name)
}

fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > WIDTH_CHARS {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    #[test]
    fn the_shipped_example_is_this_text() {
        let shipped = include_str!("../../packaging/config.example.toml");
        let rendered = render();
        assert!(shipped == rendered, "packaging/config.example.toml should be:\n{rendered}");
    }

    /// The text with its empty lines filled in.
    fn filled(mut text: String) -> String {
        for (section, key) in EMPTY {
            let example = settings::find(section, key).unwrap().example;
            text = text.replacen(&format!("\n{key} = \"\""), &format!("\n{key} = {example}"), 1);
        }
        text
    }

    #[test]
    fn the_example_holds_once_it_is_filled_in() {
        let (_, warnings) =
            config::parse(&[config::Source::text("e", &filled(render()))], &Environment::default())
                .unwrap();
        assert_eq!(warnings, []);
    }

    #[test]
    fn the_least_that_a_package_lays_down_wants_the_same_two_lines_and_no_more() {
        let read =
            |text: &str| config::parse(&[config::Source::text("m", text)], &Environment::default());
        let told = read(&minimal()).unwrap_err();
        let keys: Vec<&str> = told.0.iter().map(|finding| finding.key.as_str()).collect();
        assert_eq!(keys, ["coralogix.domain", "integration.tenant"]);
        assert_eq!(read(&filled(minimal())).unwrap(), read(&filled(render())).unwrap());
    }

    #[test]
    fn the_example_as_shipped_names_nobody_and_says_what_to_fill_in() {
        let told = config::parse(&[config::Source::text("e", &render())], &Environment::default())
            .unwrap_err();
        let keys: Vec<&str> = told.0.iter().map(|finding| finding.key.as_str()).collect();
        assert_eq!(keys, ["coralogix.domain", "integration.tenant"]);
        let told = told.to_string();
        assert!(told.contains("integration.tenant: it is empty"), "{told}");
        assert!(told.contains("hint: fill it in, e.g. tenant = \"https://"), "{told}");
        for line in render().lines().filter(|line| !line.starts_with('#')) {
            let value = line.split(" # ").next().unwrap_or(line);
            assert!(!value.contains(".com") && !value.contains(".net"), "{line}");
        }
    }

    #[test]
    fn the_example_shows_the_defaults() {
        let open: String = render()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting,
                _ => line,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let (open, warnings) =
            config::parse(&[config::Source::text("e", &filled(open))], &Environment::default())
                .unwrap();
        assert_eq!(warnings, []);
        let (mut closed, _) =
            config::parse(&[config::Source::text("e", &filled(render()))], &Environment::default())
                .unwrap();
        // These have no default and stand as examples.
        closed.network.proxy = open.network.proxy.clone();
        closed.network.ca_file = open.network.ca_file.clone();
        closed.integrations[0].name_was = open.integrations[0].name_was.clone();
        closed.metrics_file = open.metrics_file.clone();
        closed.delivery = open.delivery.clone();
        closed.polling = open.polling.clone();
        assert_eq!(open, closed);
    }

    #[test]
    fn the_example_names_every_setting() {
        let text = render();
        for setting in settings::SETTINGS {
            let named = |start: &str| text.contains(&format!("\n{start}{} = ", setting.key));
            assert!(named("") || named("#") || named("#     "), "{}", setting.full_name());
        }
    }
}
