//! Where log lines go: stderr, in the form that fits its reader.
//!
//! Promises: one record is one line, whatever a remote party put into it (keeps P10); lines of
//! other crates below WARN are not shown; no time is written where the supervisor adds one. Never:
//! decides what is logged.

use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{Config, ConfigBuilder, FormatItem, LevelPadding, WriteLogger, format_description};

use super::{host, log_json, stderr};
use crate::message;
use crate::plain;

/// The last line at WARN or ERROR, and how many there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub level: Level,
    pub text: String,
    pub count: u64,
}

static LAST_TROUBLE: Mutex<Option<Trouble>> = Mutex::new(None);

/// The last WARN or ERROR of this process, for `status`: the log may be on another machine.
pub fn last_trouble() -> Option<Trouble> {
    LAST_TROUBLE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn remember_trouble(level: Level, text: &str) {
    let mut last = LAST_TROUBLE.lock().unwrap_or_else(PoisonError::into_inner);
    let count = last.as_ref().map_or(0, |trouble| trouble.count) + 1;
    *last = Some(Trouble { level, text: text.to_owned(), count });
}

/// Overrides `log.level`.
pub const LEVEL_VARIABLE: &str = "S1_CORALOGIX_LOG";
/// Overrides the form of lines; for a supervisor that adds the time but is not recognized.
const STYLE_VARIABLE: &str = "S1_CORALOGIX_LOG_STYLE";

/// Lines of this crate are shown at the configured level, others at WARN and above.
const OUR_TARGET: &str = env!("CARGO_CRATE_NAME");

const TIME: &[FormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A person watches: time, level in colour.
    Terminal,
    /// systemd's journal: `<4>` before the text; time and level are the journal's.
    Journal,
    /// A supervisor that adds the time: level only.
    Bare,
    /// A file or pipe: time and level.
    Timed,
    /// A program: each line is a JSON object, as `log.format` can ask for too.
    Json,
}

impl Style {
    pub const ALL: [Style; 5] =
        [Style::Terminal, Style::Journal, Style::Bare, Style::Timed, Style::Json];

    pub fn name(self) -> &'static str {
        match self {
            Style::Terminal => "terminal",
            Style::Journal => "journal",
            Style::Bare => "bare",
            Style::Timed => "timed",
            Style::Json => "json",
        }
    }

    /// The form that fits the file behind stderr.
    pub fn detect() -> Style {
        let stderr = stream_name(io::stderr());
        let (wish, journal) = (variable(STYLE_VARIABLE), variable("JOURNAL_STREAM"));
        choose(wish.as_deref(), journal.as_deref(), &stderr, io::stderr().is_terminal())
    }
}

/// The text of a level that does not exist, from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLevel(String);

impl std::fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{LEVEL_VARIABLE} is {:?}, which is no level; log.level holds. Set it to error, warn, \
             info, debug or trace",
            self.0
        )
    }
}

/// The effective level: the environment's, else the config's.
pub fn level(configured: LevelFilter) -> Result<LevelFilter, UnknownLevel> {
    overridden(variable(LEVEL_VARIABLE).as_deref(), configured)
}

/// Whether the environment sets a level, valid or not.
pub fn is_level_overridden() -> bool {
    variable(LEVEL_VARIABLE).is_some()
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Begins to log. Only the first call in a process counts, so that tests can all call it.
pub fn init(level: LevelFilter, style: Style) {
    let logger =
        LOGGER.get_or_init(|| Logger::new(style, style == Style::Terminal && host::wants_colour()));
    if log::set_logger(logger).is_ok() {
        set_level(level);
    }
}

/// Writes the lines that stderr did not accept before, if it accepts them now.
pub fn catch_up() {
    LOGGER.get().inspect(|logger| logger.catch_up());
}

/// The message about lost lines, with its code, for log and status.
pub fn told_lost(lost: u64) -> String {
    let lines = plain::count(lost, "line");
    let code = message::LOG_LINES_LOST;
    format!("{code} {lines} of the log could not be written: stderr does not take it")
}

/// Changes the level from now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

/// Whether a stream goes to systemd's journal, which reads a prefix such as `<4>` as the priority.
pub fn is_journal(stream: impl std::os::fd::AsFd) -> bool {
    variable("JOURNAL_STREAM").is_some_and(|journal| journal == stream_name(stream))
}

/// Device and inode of a stream, as in `JOURNAL_STREAM`.
fn stream_name(stream: impl std::os::fd::AsFd) -> String {
    let stat = rustix::fs::fstat(stream);
    stat.map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino)).unwrap_or_default()
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
    let value = std::env::var_os(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned()).filter(|value| !value.is_empty())
}

fn choose(wish: Option<&str>, journal: Option<&str>, stderr: &str, is_terminal: bool) -> Style {
    let wished = wish.and_then(|wish| Style::ALL.into_iter().find(|style| style.name() == wish));
    match wished {
        Some(style) => style,
        None if is_terminal => Style::Terminal,
        // The variable is inherited by every process that a service starts, so it counts only while
        // stderr is the stream it names.
        None if journal == Some(stderr) => Style::Journal,
        None => Style::Timed,
    }
}

fn overridden(wish: Option<&str>, configured: LevelFilter) -> Result<LevelFilter, UnknownLevel> {
    match wish {
        None => Ok(configured),
        Some(wish) => wish.trim().parse().map_err(|_| UnknownLevel(wish.to_owned())),
    }
}

/// simplelog behind a filter; the parts of a line are put together here.
struct Logger {
    style: Style,
    colours: bool,
    pen: Mutex<Pen>,
}

/// Formats a record as bytes.
struct Pen {
    inner: Box<WriteLogger<Page>>,
    page: Page,
}

/// The bytes that simplelog has written of the current line.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logger {
    fn new(style: Style, colours: bool) -> Logger {
        let page = Page::default();
        let inner = WriteLogger::new(LevelFilter::Trace, line_shape(style), page.clone());
        Logger { style, colours, pen: Mutex::new(Pen { inner, page }) }
    }

    /// The text of a record as one line; `None`: it is not shown.
    fn text_of(&self, record: &Record<'_>) -> Option<String> {
        if !self.enabled(record.metadata()) {
            return None;
        }
        let origin = match record.target().split("::").next() {
            Some(OUR_TARGET) | None => String::new(),
            Some(other) if record.level() == Level::Error => {
                format!("{} {other}: ", message::LIBRARY_FAILED)
            }
            Some(other) => format!("{} {other}: ", message::LIBRARY_WARNED),
        };
        Some(format!("{origin}{}", plain::line(&record.args().to_string())))
    }

    /// A record as a complete line.
    fn line(&self, record: &Record<'_>, text: &str) -> Vec<u8> {
        let priority = match self.style {
            Style::Journal => priority(record.level()),
            _ => "",
        };
        if self.style == Style::Json || log_json::is_on() {
            return format!("{priority}{}", log_json::line(record.level(), text)).into_bytes();
        }
        let args = format_args!("{priority}{text}");
        let record = Record::builder().metadata(record.metadata().clone()).args(args).build();
        let pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        pen.inner.log(&record);
        let line = std::mem::take(&mut *pen.page.bytes());
        match self.colours {
            true => coloured(line, record.level()),
            false => line,
        }
    }

    /// Writes the rest of an interrupted line, and the number of lines that were lost.
    fn catch_up(&self) {
        stderr::catch_up(|lost| {
            let (level, text) = (message::LOG_LINES_LOST.level(), told_lost(lost));
            remember_trouble(level, &text);
            self.line(&Record::builder().level(level).target(OUR_TARGET).build(), &text)
        });
    }
}

/// The level in its colour.
fn coloured(line: Vec<u8>, level: Level) -> Vec<u8> {
    let colour = match level {
        Level::Error => 31,
        Level::Warn => 33,
        Level::Info => 34,
        Level::Debug => 36,
        Level::Trace => 37,
    };
    let shown = format!("[{level:<5}]");
    let text = String::from_utf8_lossy(&line);
    text.replacen(&shown, &format!("\x1b[{colour}m{shown}\x1b[0m"), 1).into_bytes()
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_ours = metadata.target().split("::").next() == Some(OUR_TARGET);
        metadata.level() <= log::max_level() && (is_ours || metadata.level() <= Level::Warn)
    }

    fn log(&self, record: &Record<'_>) {
        let Some(text) = self.text_of(record) else { return };
        if record.level() <= Level::Warn {
            remember_trouble(record.level(), &text);
        }
        self.catch_up();
        stderr::put(&self.line(record, &text));
    }

    fn flush(&self) {
        self.catch_up();
    }
}

fn line_shape(style: Style) -> Config {
    let with_time = matches!(style, Style::Terminal | Style::Timed);
    let with_level = style != Style::Journal;
    // simplelog shows a part from the given level on; `Error` means always.
    let shown = |is_shown| if is_shown { LevelFilter::Error } else { LevelFilter::Off };
    ConfigBuilder::new()
        .set_time_format_custom(TIME)
        .set_time_level(shown(with_time))
        .set_max_level(shown(with_level))
        .set_level_padding(LevelPadding::Right)
        .set_target_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build()
}

/// The journal's priorities. Source: sd-daemon(3).
pub fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(style: Style, level: Level, target: &str, text: &str) -> String {
        // The level is the process's; every test that sets it sets the same.
        set_level(LevelFilter::Info);
        let logger = Logger::new(style, false);
        let args = format_args!("{text}");
        let record = Record::builder().level(level).target(target).args(args).build();
        let text = logger.text_of(&record);
        let line = text.map(|text| logger.line(&record, &text)).unwrap_or_default();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn only_the_level_has_a_colour() {
        let line = coloured(b"T [WARN ] a [WARN ]\n".to_vec(), Level::Warn);
        assert_eq!(line, b"T \x1b[33m[WARN ]\x1b[0m a [WARN ]\n");
    }

    #[test]
    fn each_style_has_its_line() {
        let warn = |style| line(style, Level::Warn, "s1_coralogix::work", "queue full");
        assert_eq!(warn(Style::Journal), "<4>queue full\n");
        assert_eq!(warn(Style::Bare), "[WARN ] queue full\n");
        let timed = warn(Style::Timed);
        assert_eq!(timed.len(), "2026-01-31T00:00:00Z [WARN ] queue full\n".len(), "{timed}");
        let json = warn(Style::Json);
        assert!(json.starts_with('{') && json.ends_with("\"message\":\"queue full\"}\n"), "{json}");
        assert!(timed.ends_with("Z [WARN ] queue full\n"), "{timed}");
    }

    #[test]
    fn others_are_heard_from_warn_on_and_named() {
        let said = |level, target| line(Style::Journal, level, target, "x");
        assert_eq!(said(Level::Info, "s1_coralogix::queue"), "<6>x\n");
        assert_eq!(said(Level::Debug, "s1_coralogix::queue"), "");
        assert_eq!(said(Level::Info, "sled::pagecache"), "");
        assert_eq!(said(Level::Error, "sled::pagecache"), "<3>S1C-E023 sled: x\n");
        let warned = message::LIBRARY_WARNED;
        assert_eq!(said(Level::Warn, "sled::pagecache"), format!("<4>{warned} sled: x\n"));
        assert_eq!(said(Level::Info, "s1_coralogix_like"), "");
    }

    #[test]
    fn a_record_is_one_line() {
        let said =
            line(Style::Journal, Level::Info, "s1_coralogix", "a\n<0>b\r\u{1b}[2Jc\té\u{61c}");
        assert_eq!(said, "<6>a\\n<0>b\\r\\u001b[2Jc é\\u061c\n");
    }

    /// One test, for what it looks at is the process's.
    #[test]
    fn the_last_trouble_is_told_with_how_many_there_were() {
        set_level(LevelFilter::Info);
        let logger = Logger::new(Style::Bare, false);
        let log = |level, text: &str| {
            let args = format_args!("{text}");
            logger.log(&Record::builder().level(level).target(OUR_TARGET).args(args).build());
        };
        let before = last_trouble().map_or(0, |trouble| trouble.count);
        for (nth, level) in [(1, Level::Error), (2, Level::Warn), (3, Level::Warn)] {
            let count = before + nth;
            let text = format!("a test of the log, {count}");
            log(level, &text);
            log(Level::Info, "a test of the log: this is no trouble");
            assert_eq!(last_trouble(), Some(Trouble { level, text, count }));
        }
    }

    #[test]
    fn a_stream_is_named_by_its_device_and_inode() {
        use std::os::unix::fs::MetadataExt;

        let file = std::fs::File::open("/dev/null").unwrap();
        let found = file.metadata().unwrap();
        assert_eq!(stream_name(&file), format!("{}:{}", found.dev(), found.ino()));
        assert!(!is_journal(&file), "nobody names it so");
        assert_eq!(is_level_overridden(), variable(LEVEL_VARIABLE).is_some());
        assert!(variable("PATH").is_some_and(|path| path.contains('/')), "every test has one");
        assert_eq!(variable("S1_CORALOGIX_NO_SUCH_VARIABLE"), None);
    }

    #[test]
    fn the_style_follows_where_stderr_leads() {
        for (wish, journal, is_terminal, style) in [
            (None, None, true, Style::Terminal),
            (None, Some("8:1"), false, Style::Journal),
            (None, Some("8:2"), false, Style::Timed),
            (None, Some("8:2"), true, Style::Terminal),
            (None, None, false, Style::Timed),
            (Some("bare"), Some("8:1"), true, Style::Bare),
            (Some("nonsense"), None, false, Style::Timed),
        ] {
            assert_eq!(choose(wish, journal, "8:1", is_terminal), style, "{wish:?} {journal:?}");
        }
    }

    #[test]
    fn the_environment_overrides_the_level() {
        assert_eq!(overridden(None, LevelFilter::Warn), Ok(LevelFilter::Warn));
        assert_eq!(overridden(Some("debug"), LevelFilter::Warn), Ok(LevelFilter::Debug));
        let told = overridden(Some("loud"), LevelFilter::Warn).unwrap_err().to_string();
        assert!(told.contains("S1_CORALOGIX_LOG is \"loud\""), "{told}");
    }
}
