//! First stage: what was typed. TOML to known settings with their places.
//!
//! Promises: every key is in the table of settings or told as unknown; every value has the TOML
//! type its setting asks for or is kept as `Value::Unusable`, so that the second stage does not
//! also call it missing. Never: judges what a value means.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::cite::Note;
use crate::config::settings::{self, SECTIONS, Section, Setting, Shape};
use crate::config::suggest;
use crate::message::{self, Code};

/// What was typed, section by section.
pub struct Raw {
    pub tables: Vec<Table>,
    /// What is wrong so far.
    pub notes: Vec<Note>,
    /// Values that may be secrets and are never shown.
    pub masks: Vec<Range<usize>>,
}

/// One section as it was typed.
pub struct Table {
    pub section: &'static Section,
    /// Its header.
    pub span: Range<usize>,
    pub given: Vec<Given>,
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
    /// Of the wrong type, and already told.
    Unusable,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Given> {
        self.given.iter().find(|given| given.setting.key == key)
    }
}

impl Raw {
    pub fn section(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.section.name == name)
    }

    pub fn sections<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r Table> {
        self.tables.iter().filter(move |table| table.section.name == name)
    }

    fn note(
        &mut self,
        code: Code,
        span: Range<usize>,
        key: &str,
        problem: String,
        hint: Option<String>,
    ) {
        let (span, key) = (Some(span), key.to_owned());
        self.notes.push(Note { code, span, key, problem, hint });
    }
}

/// Reads the text, or says what is not TOML in it.
pub fn read(text: &str) -> Result<Raw, Vec<Note>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.into_iter().map(|error| syntax(text, error)).collect());
    }
    let mut raw = Raw { tables: Vec::new(), notes: Vec::new(), masks: Vec::new() };
    for (key, value) in document.get_ref() {
        match SECTIONS.iter().find(|section| section.name == key.get_ref().as_ref()) {
            Some(section) => read_section(&mut raw, section, key.span(), value),
            None => {
                mask_all(&mut raw, value);
                let hint = hint_for_section(key.get_ref());
                let problem = match value.get_ref().is_table() {
                    true => "there is no such section",
                    false => "no setting stands outside a section",
                };
                raw.note(
                    message::SECTION_UNKNOWN,
                    key.span(),
                    key.get_ref(),
                    problem.to_owned(),
                    hint,
                );
            }
        }
    }
    Ok(raw)
}

fn syntax(text: &str, error: toml::de::Error) -> Note {
    let end = text.trim_end().len();
    let span = error.span().unwrap_or(end..end);
    // An error at the very end is better shown on the last line than below it.
    let span = if span.start > end { end..end } else { span };
    let before = text.get(..span.start).unwrap_or("");
    let line = before.rsplit('\n').next().unwrap_or("").trim_start();
    let key = line.split(|c: char| c == '=' || c.is_whitespace()).next().unwrap_or("");
    let setting = settings::SETTINGS.iter().find(|setting| setting.key == key);
    Note {
        code: message::CONFIG_SYNTAX,
        span: Some(span),
        key: "syntax".to_owned(),
        problem: error.message().to_owned(),
        hint: setting.map(|setting| format!("for example: {key} = {}", setting.example)),
    }
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
            let hint = Some(format!("write [{name}], with one bracket on each side"));
            raw.note(
                message::SECTION_SHAPE,
                span,
                name,
                "this is a section that stands once".to_owned(),
                hint,
            );
        }
    }
}

fn read_table(raw: &mut Raw, section: &'static Section, span: Range<usize>, table: &DeTable<'_>) {
    let mut given = Vec::new();
    for (key, value) in table {
        let name: &str = key.get_ref();
        let Some(setting) = settings::find(section.name, name) else {
            mask_all(raw, value);
            let full = format!("{}.{name}", section.name);
            let hint = hint_for_key(section.name, name);
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
        let (key_span, span) = (key.span(), value.span());
        let value = read_value(raw, setting, value);
        given.push(Given { setting, key_span, span, value });
    }
    raw.tables.push(Table { section, span, given });
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
        _ => raw.masks.push(value.span()),
    }
}

fn read_value(raw: &mut Raw, setting: &Setting, value: &Spanned<DeValue<'_>>) -> Value {
    let (wanted, example) = match (setting.shape, value.get_ref()) {
        (Shape::Flag, DeValue::Boolean(flag)) => return Value::Flag(*flag),
        (Shape::Flag, _) => ("true or false, without quotes", setting.example),
        (Shape::Streams | Shape::Windows, DeValue::Array(array)) => match read_list(array) {
            Some(list) => return Value::List(list),
            None => ("a list of texts in quotes", setting.example),
        },
        (Shape::Streams | Shape::Windows, _) => ("a list of texts in quotes", setting.example),
        (_, DeValue::String(text)) => return Value::Text(text.clone().into_owned()),
        (Shape::Start, DeValue::Datetime(time)) => return Value::Text(time.to_string()),
        (Shape::Size { min: 0, .. }, DeValue::Integer(n)) if n.as_str() == "0" => {
            return Value::Text("0".to_owned());
        }
        _ => ("a text in quotes", setting.example),
    };
    let problem = format!("this must be {wanted}, and is {}", kind_of(value.get_ref()));
    let hint = format!("for example: {} = {example}", setting.key);
    raw.note(message::VALUE_TYPE, value.span(), &setting.full_name(), problem, Some(hint));
    Value::Unusable
}

fn read_list(array: &[Spanned<DeValue<'_>>]) -> Option<Vec<(String, Range<usize>)>> {
    array
        .iter()
        .map(|element| Some((element.get_ref().as_str()?.to_owned(), element.span())))
        .collect()
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

fn hint_for_section(name: &str) -> Option<String> {
    let homes: Vec<String> = settings::SETTINGS
        .iter()
        .filter(|setting| setting.key == name)
        .map(|setting| format!("[{}]", setting.section))
        .collect();
    if !homes.is_empty() {
        return Some(format!("{name} belongs below {}", homes.join(" or ")));
    }
    let known = SECTIONS.iter().map(|section| section.name);
    match suggest::nearest(name, known) {
        Some(section) => Some(format!("did you mean {section}?")),
        None => {
            Some(format!("the sections are {}", SECTIONS.map(|section| section.name).join(", ")))
        }
    }
}

fn hint_for_key(section: &str, key: &str) -> Option<String> {
    let ours = || settings::of_section(section).map(|setting| setting.key);
    if let Some(known) = suggest::nearest(key, ours()) {
        return Some(format!("did you mean {known}?"));
    }
    let habit = settings::OTHER_NAMES
        .iter()
        .find(|(other, name)| *other == key.to_ascii_lowercase() && ours().any(|our| our == *name));
    if let Some((_, known)) = habit {
        return Some(format!("here it is called {known}"));
    }
    if let Some(other) = settings::SETTINGS.iter().find(|setting| setting.key == key) {
        return Some(format!("{key} belongs below [{}]", other.section));
    }
    Some(format!("the settings of {section} are {}", ours().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("integration", "console_url", "here it is called tenant"),
            ("retry", "zzz", "the settings of retry are min, max"),
        ] {
            assert_eq!(hint_for_key(section, key).unwrap(), hint);
        }
        assert_eq!(hint_for_section("domain").unwrap(), "domain belongs below [coralogix]");
        assert_eq!(hint_for_section("integrations").unwrap(), "did you mean integration?");
    }
}
