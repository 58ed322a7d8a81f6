//! Text in the man(7) macros, as groff and mandoc read them.
//!
//! Promises: no character of a text is taken as a command; no line of it is longer than 80 bytes
//! where words allow it.

use s1_coralogix::cli::declare::Text;
use s1_coralogix::cli::wrapped;

/// Written into the pages, which are to be the same bytes whenever they are made.
const DATE: &str = "2026-11-24";
/// Room for what stands for a hyphen or a bold word.
const LINE_CHARS: usize = 66;

pub struct Page {
    out: String,
}

impl Page {
    pub fn new(title: &str, section: u8) -> Page {
        let title = escape(&title.to_uppercase());
        let version = concat!("s1-coralogix ", env!("CARGO_PKG_VERSION"));
        let head = ".\\\" Made from the declarations in src; tests/shipped writes it.\n";
        let out = format!("{head}.TH {title} {section} {DATE} \"{}\"\n", escape(version));
        Page { out }
    }

    pub fn done(self) -> String {
        self.out
    }

    /// A section.
    pub fn head(&mut self, title: &str) {
        self.macro_line("SH", title);
    }

    /// A section below a section.
    pub fn subhead(&mut self, title: &str) {
        self.macro_line("SS", title);
    }

    /// Text that follows a heading or a tag. `` `words` `` in it are bold.
    pub fn text(&mut self, text: &str) {
        let mut bold = false;
        for line in wrapped(text, 0, LINE_CHARS).lines() {
            let mut shown = String::new();
            for (i, part) in line.split('`').enumerate() {
                if i > 0 {
                    bold = !bold;
                    shown += if bold { "\\fB" } else { "\\fR" };
                }
                shown += &escape(part);
            }
            // A dot or quote at the beginning would be a command.
            if shown.starts_with(['.', '\'']) {
                self.out += "\\&";
            }
            self.out += &shown;
            self.out.push('\n');
        }
        assert!(!bold, "bold words have no end: {text}");
    }

    /// Text after a break.
    pub fn paragraph(&mut self, text: &str) {
        self.out += ".PP\n";
        self.text(text);
    }

    /// A tag and what it means, indented below it.
    pub fn tagged(&mut self, tag: &str, text: &str) {
        self.out += ".TP\n";
        self.macro_line("B", tag);
        self.text(text);
    }

    /// More of what the last tag means.
    pub fn more(&mut self, text: &str) {
        self.out += ".IP\n";
        self.text(text);
    }

    /// Lines as they are.
    pub fn lines<'l>(&mut self, lines: impl IntoIterator<Item = &'l str>) {
        self.out += ".PP\n.RS 4\n.nf\n";
        for line in lines {
            let line = escape(line);
            let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
            self.out += &format!("{guard}{line}\n");
        }
        self.out += ".fi\n.RE\n";
    }

    /// What a declaration tells.
    pub fn texts(&mut self, texts: &[Text]) {
        for text in texts {
            match text {
                Text::Paragraph(text) => self.paragraph(text),
                Text::Rows(title, rows) => {
                    self.paragraph(&format!("{title}:"));
                    rows.iter().for_each(|(tag, text)| self.tagged(tag, text));
                }
                Text::Lines(title, lines) => {
                    self.paragraph(&format!("{title}:"));
                    self.lines(lines.iter().copied());
                }
            }
        }
    }

    /// A synopsis: bold name, the rest as it is.
    pub fn usage(&mut self, name: &str, rest: &str) {
        let (name, rest) = (escape(name), escape(rest));
        self.out += &format!(".HP 4\n\\fB{name}\\fR {rest}\n");
    }

    fn macro_line(&mut self, name: &str, text: &str) {
        self.out += &format!(".{name} \"{}\"\n", escape(text).replace('"', "\\(dq"));
    }
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out += "\\e",
            '-' => out += "\\-",
            '\'' => out += "\\(aq",
            '^' => out += "\\(ha",
            '~' => out += "\\(ti",
            c => out.push(c),
        }
    }
    out
}
