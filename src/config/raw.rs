//! First stage: what was typed. TOML to known settings with their places.
//!
//! A section that stands once may be begun in one file and gone on with in the next: of a setting the
//! last one counts. One that can be repeated is another one each time.
//!
//! Promises: every key is in the table of settings or reported as unknown; every value has the TOML
//! type its setting asks for or is kept as `Value::Unusable`, so that the second stage does not
//! also call it missing. Never: judges what a value means.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::diagnostic::Diagnostic;
use crate::config::files::Files;
use crate::config::settings::{self, SECTIONS, Section, Setting, Shape};
use crate::config::suggest;
use crate::message::{self, Code};

/// What was typed, section by section.
#[derive(Default)]
pub struct Raw {
    pub tables: Vec<Table>,
    /// What is wrong so far.
    pub notes: Vec<Diagnostic>,
    /// Values that may be secrets and are never shown.
    pub masks: Vec<Range<usize>>,
    /// Sections that an unknown one was most likely meant to be.
    meant: Vec<&'static Section>,
    /// Where the file that is being read begins.
    from: usize,
}

/// One section as it was typed.
pub struct Table {
    pub section: &'static Section,
    /// Its header.
    pub span: Range<usize>,
    pub given: Vec<Given>,
    /// Settings that an unknown key was most likely meant to be.
    meant: Vec<&'static str>,
}

/// One setting as it was typed.
pub struct Given {
    pub setting: &'static Setting,
    pub key_span: Range<usize>,
    pub span: Range<usize>,
    pub value: Value,
}

pub enum Value {
    Text(String),
    Flag(bool),
    List(Vec<(String, Range<usize>)>),
    /// Of the wrong type, and already reported.
    Unusable,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.setting.key == key)
    }

    /// Whether a setting is only mistyped, not missing.
    pub fn is_mistyped(&self, key: &str) -> bool {
        self.meant.contains(&key)
    }

    /// Takes a setting of a later file, which counts instead of an earlier one.
    fn put(&mut self, new: Given) {
        match self.given.iter_mut().find(|given| given.setting.key == new.setting.key) {
            Some(given) => *given = new,
            None => self.given.push(new),
        }
    }
}

impl Raw {
    pub fn section(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.section.name == name)
    }

    /// Whether a section is only mistyped, not missing.
    pub fn is_mistyped(&self, name: &str) -> bool {
        self.section(name).is_none() && self.meant.iter().any(|section| section.name == name)
    }

    pub fn sections<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r Table> {
        self.tables.iter().filter(move |table| table.section.name == name)
    }

    /// A place of the file that is being read, in the whole text.
    fn place(&self, span: Range<usize>) -> Range<usize> {
        self.from + span.start..self.from + span.end
    }

    fn note(
        &mut self,
        code: Code,
        span: Range<usize>,
        key: &str,
        problem: String,
        hint: Option<String>,
    ) {
        let (span, key) = (Some(self.place(span)), key.to_owned());
        self.notes.push(Diagnostic { code, span, key, problem, hint });
    }
}

/// Reads the files, or says what is not TOML in them.
pub fn read(files: &Files<'_>) -> Result<Raw, Vec<Diagnostic>> {
    let mut raw = Raw::default();
    let mut broken = Vec::new();
    for part in files.parts() {
        raw.from = part.range.start;
        let text = &files.text[part.range.clone()];
        let (document, errors) = DeTable::parse_recoverable(text);
        match errors.is_empty() {
            true => read_document(&mut raw, document.get_ref()),
            false => broken.extend(errors.into_iter().map(|error| {
                let note = syntax(text, error);
                Diagnostic { span: note.span.map(|span| raw.place(span)), ..note }
            })),
        }
    }
    if broken.is_empty() { Ok(raw) } else { Err(broken) }
}

fn read_document(raw: &mut Raw, document: &DeTable<'_>) {
    for (key, value) in document {
        match SECTIONS.iter().find(|section| section.name == key.get_ref().as_ref()) {
            Some(section) => read_section(raw, section, key.span(), value),
            None => unknown_section(raw, key, value),
        }
    }
}

fn syntax(text: &str, error: toml::de::Error) -> Diagnostic {
    let end = text.trim_end().len();
    let span = error.span().unwrap_or(end..end);
    // An error at the very end is better shown on the last line than below it.
    let span = if span.start > end { end..end } else { span };
    let before = text.get(..span.start).unwrap_or("");
    let line = before.rsplit('\n').next().unwrap_or("").trim_start();
    let key = line.split(|c: char| c == '=' || c.is_whitespace()).next().unwrap_or("");
    let setting = settings::SETTINGS.iter().find(|setting| setting.key == key);
    Diagnostic {
        code: message::CONFIG_SYNTAX,
        span: Some(span),
        key: "syntax".to_owned(),
        problem: error.message().to_owned(),
        hint: setting.map(|setting| format!("for example: {key} = {}", setting.example)),
    }
}

/// A name that is no section, nor a setting of the top level, for there is none.
fn unknown_section(raw: &mut Raw, key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) {
    mask_all(raw, value);
    let name: &str = key.get_ref();
    let is_table = |value: &Spanned<DeValue<'_>>| value.get_ref().is_table();
    let problem = match value.get_ref() {
        DeValue::Table(_) => format!("there is no section [{name}]"),
        DeValue::Array(tables) if !tables.is_empty() && tables.iter().all(is_table) => {
            format!("there is no section [[{name}]]")
        }
        _ => "settings are not allowed outside a section".to_owned(),
    };
    let hint = hint_for_section(name);
    // What was meant is there, so that it is not called missing too.
    raw.meant.extend(nearest_section(name));
    raw.note(message::SECTION_UNKNOWN, key.span(), name, problem, hint);
}

fn read_section(
    raw: &mut Raw,
    section: &'static Section,
    span: Range<usize>,
    value: &Spanned<DeValue<'_>>,
) {
    let name = section.name;
    match (value.get_ref(), section.repeated) {
        (DeValue::Table(table), false) => read_table(raw, section, span, table),
        (DeValue::Array(tables), true) => {
            for element in tables.iter() {
                match element.get_ref().as_table() {
                    Some(table) => read_table(raw, section, element.span(), table),
                    None => {
                        mask_all(raw, element);
                        raw.meant.push(section);
                        let problem = format!("each must be a section [[{name}]]");
                        raw.note(message::SECTION_SHAPE, element.span(), name, problem, None);
                    }
                }
            }
        }
        (DeValue::Table(table), true) => {
            let hint = Some(format!("write [[{name}]], with two brackets on each side"));
            raw.note(
                message::SECTION_SHAPE,
                span.clone(),
                name,
                "this section can be repeated".to_owned(),
                hint,
            );
            read_table(raw, section, span, table);
        }
        _ => {
            mask_all(raw, value);
            raw.meant.push(section);
            let hint = Some(format!("write [{name}], with one bracket on each side"));
            raw.note(
                message::SECTION_SHAPE,
                span,
                name,
                "this section occurs only once".to_owned(),
                hint,
            );
        }
    }
}

fn read_table(raw: &mut Raw, section: &'static Section, span: Range<usize>, table: &DeTable<'_>) {
    let header = raw.place(span);
    let (mut given, mut meant) = (Vec::new(), Vec::new());
    for (key, value) in table {
        let name: &str = key.get_ref();
        let Some(setting) = settings::find(section.name, name) else {
            mask_all(raw, value);
            let full = format!("{}.{name}", section.name);
            let hint = hint_for_key(section.name, name);
            meant.extend(nearest_key(section.name, name));
            raw.note(
                message::SETTING_UNKNOWN,
                key.span(),
                &full,
                "there is no such setting".to_owned(),
                hint,
            );
            continue;
        };
        if is_secret(setting, value.get_ref()) {
            mask_all(raw, value);
        }
        let (key_span, span) = (raw.place(key.span()), raw.place(value.span()));
        let value = read_value(raw, setting, value);
        given.push(Given { setting, key_span, span, value });
    }
    let earlier = raw.tables.iter_mut().find(|table| table.section.name == section.name);
    match earlier.filter(|_| !section.repeated) {
        Some(earlier) => {
            earlier.meant.extend(meant);
            given.into_iter().for_each(|given| earlier.put(given));
        }
        None => raw.tables.push(Table { section, span: header, given, meant }),
    }
}

/// Whether a value must not be shown: it is a secret, or looks like one put in the wrong place.
fn is_secret(setting: &Setting, value: &DeValue<'_>) -> bool {
    let text = value.as_str().unwrap_or("");
    match setting.shape {
        Shape::Secret => true,
        Shape::SecretFile => !text.starts_with(['/', '$']),
        Shape::Address => setting.key == "proxy" || text.contains('@'),
        _ => false,
    }
}

fn mask_all(raw: &mut Raw, value: &Spanned<DeValue<'_>>) {
    match value.get_ref() {
        DeValue::Table(table) => table.iter().for_each(|(_, value)| mask_all(raw, value)),
        DeValue::Array(array) => array.iter().for_each(|value| mask_all(raw, value)),
        _ => raw.masks.push(raw.place(value.span())),
    }
}

fn read_value(raw: &mut Raw, setting: &Setting, value: &Spanned<DeValue<'_>>) -> Value {
    let (wanted, example) = match (setting.shape, value.get_ref()) {
        (Shape::Flag, DeValue::Boolean(flag)) => return Value::Flag(*flag),
        (Shape::Flag, _) => ("true or false, without quotes", setting.example),
        (Shape::Streams | Shape::Windows, DeValue::Array(array)) => match read_list(raw, array) {
            Some(list) => return Value::List(list),
            None => ("a list of quoted strings", setting.example),
        },
        (Shape::Streams | Shape::Windows, _) => ("a list of quoted strings", setting.example),
        (_, DeValue::String(text)) => return Value::Text(text.clone().into_owned()),
        (Shape::Start, DeValue::Datetime(time)) => return Value::Text(time.to_string()),
        (Shape::Size { min: 0, .. }, DeValue::Integer(n)) if n.as_str() == "0" => {
            return Value::Text("0".to_owned());
        }
        _ => ("a quoted string", setting.example),
    };
    let problem = format!("this must be {wanted}, and is {}", kind_of(value.get_ref()));
    let hint = format!("for example: {} = {example}", setting.key);
    raw.note(message::VALUE_TYPE, value.span(), &setting.full_name(), problem, Some(hint));
    Value::Unusable
}

fn read_list(raw: &Raw, array: &[Spanned<DeValue<'_>>]) -> Option<Vec<(String, Range<usize>)>> {
    let item = |element: &Spanned<DeValue<'_>>| {
        Some((element.get_ref().as_str()?.to_owned(), raw.place(element.span())))
    };
    array.iter().map(item).collect()
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number without a unit",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn nearest_section(name: &str) -> Option<&'static Section> {
    let known = suggest::nearest(name, SECTIONS.iter().map(|section| section.name))?;
    SECTIONS.iter().find(|section| section.name == known)
}

fn hint_for_section(name: &str) -> Option<String> {
    let homes: Vec<String> = settings::SETTINGS
        .iter()
        .filter(|setting| setting.key == name)
        .map(|setting| header(setting.section))
        .collect();
    if !homes.is_empty() {
        return Some(format!("{name} belongs below {}", homes.join(" or ")));
    }
    match nearest_section(name) {
        Some(section) => Some(format!("did you mean {}?", header(section.name))),
        None => {
            let all = SECTIONS.each_ref().map(|section| header(section.name));
            Some(format!("the sections are {}", all.join(", ")))
        }
    }
}

/// The line that begins a section.
fn header(section: &str) -> String {
    match settings::is_repeated(section) {
        true => format!("[[{section}]]"),
        false => format!("[{section}]"),
    }
}

/// The setting of this section that a key was most likely meant to be.
fn nearest_key(section: &str, key: &str) -> Option<&'static str> {
    let ours = || settings::of_section(section).map(|setting| setting.key);
    let habit = || {
        let mut names = suggest::OTHER_NAMES.iter();
        let lower = key.to_ascii_lowercase();
        names.find(|(other, name)| *other == lower && ours().any(|our| our == *name))
    };
    suggest::nearest(key, ours()).or_else(|| habit().map(|(_, name)| *name))
}

fn hint_for_key(section: &str, key: &str) -> Option<String> {
    let ours = || settings::of_section(section).map(|setting| setting.key);
    if let Some(known) = nearest_key(section, key) {
        return Some(match suggest::nearest(key, [known]) {
            Some(_) => format!("did you mean {known}?"),
            None => format!("here it is called {known}"),
        });
    }
    if let Some(other) = settings::SETTINGS.iter().find(|setting| setting.key == key) {
        return Some(format!("{key} belongs below {}", header(other.section)));
    }
    Some(format!("the settings of {section} are {}", ours().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::files::Source;

    fn read(text: &str) -> Result<Raw, Vec<Diagnostic>> {
        super::read(&Files::join(&[Source::text("c", text)]))
    }

    #[test]
    fn what_is_no_toml_is_all_told() {
        let notes = read("[coralogix\ndomain = \n[x]\ny = @\n").err().unwrap();
        assert!(notes.len() >= 2, "{notes:?}");
    }

    #[test]
    fn values_keep_their_place_and_secrets_are_masked() {
        let text =
            "[coralogix]\ndomain = \"d\"\napi_key = \"k\"\napi_key_file = \"pasted\"\nx = 3\n";
        let raw = read(text).ok().unwrap();
        let table = raw.section("coralogix").unwrap();
        assert_eq!(&text[table.span.clone()], "coralogix");
        assert_eq!(&text[table.get("domain").unwrap().span.clone()], "\"d\"");
        let mut masked: Vec<&str> = raw.masks.iter().map(|mask| &text[mask.clone()]).collect();
        masked.sort_unstable();
        assert_eq!(masked, ["\"k\"", "\"pasted\"", "3"]);
    }

    #[test]
    fn repeated_sections_keep_their_order_and_headers() {
        let text = "[[integration]]\nname = \"b\"\n[[integration]]\nname = \"a\"\n";
        let raw = read(text).ok().unwrap();
        let headers: Vec<&str> =
            raw.sections("integration").map(|table| &text[table.span.clone()]).collect();
        assert_eq!(headers, ["[[integration]]", "[[integration]]"]);
        assert!(raw.notes.is_empty());
    }

    #[test]
    fn hints_lead_to_the_right_setting() {
        for (section, key, hint) in [
            ("coralogix", "domian", "did you mean domain?"),
            ("coralogix", "private_key", "here it is called api_key_file"),
            ("coralogix", "level", "level belongs below [log]"),
            ("queue", "poll_interval", "poll_interval belongs below [[integration]]"),
            ("integration", "console_url", "here it is called tenant"),
            ("retry", "zzz", "the settings of retry are min, max"),
        ] {
            assert_eq!(hint_for_key(section, key).unwrap(), hint);
        }
        assert_eq!(hint_for_section("domain").unwrap(), "domain belongs below [coralogix]");
        assert_eq!(hint_for_section("integrations").unwrap(), "did you mean [[integration]]?");
        assert_eq!(hint_for_section("quue").unwrap(), "did you mean [queue]?");
    }
}
