//! s1-coralogix(1).

use s1_coralogix::cli::declare::{CommandSpec, Text};
use s1_coralogix::cli::table::{ABOUT, ENVIRONMENT, EVERYWHERE, FILES, LINE, SIGNALS};
use s1_coralogix::cli::{Exit, shape};

use crate::joined;
use crate::roff::Page;
use crate::tree::paths;

const HOW: [&str; 3] = [
    "The position of each stream is stored together with its records, so that a restart, a kill or \
     a power cut loses none. A record is removed from the queue only after Coralogix has accepted \
     it. A full queue stops polling, and SentinelOne keeps the records meanwhile. If a response is \
     lost, one request is sent again: Coralogix may then show up to one batch of records twice.",
    "A rejected credential, an unreachable service and a wrong clock only stop what depends on \
     them. A problem is logged once when it starts and once when it is resolved; in between, \
     `status` shows it.",
    "The config is described in s1\u{2d}coralogix.toml(5).",
];

const SECURITY: [&str; 4] = [
    "Secrets are in their own files, read again when they change, or in systemd credentials. They \
     are never logged, shown, or put into a URL or an argument, and the process dumps no core. A \
     secret in the config itself is accepted only if others can't read that file.",
    "TLS is always verified, against the built-in roots and network.ca_file; there is no option to \
     turn that off. Plain HTTP is only possible with network.allow_http. Redirects are never \
     followed.",
    "The queue contains SentinelOne's records, compressed but not encrypted, in a directory that \
     only the daemon's user can read. The status file contains no secret and no record, and every \
     user may read it.",
    "No privileges are needed: a dedicated user that can read the config and the secret files and \
     write the queue and the status file is enough. The token needs only the permissions Endpoint \
     Threats: View and Activity: View; the key only needs to send data.",
];

pub fn render() -> String {
    let mut page = Page::new("s1-coralogix", 1);
    page.head("NAME");
    page.text(&format!("s1-coralogix - {LINE}"));
    page.head("SYNOPSIS");
    for path in commands() {
        let last = path.last().expect("a command has a name");
        page.usage("s1-coralogix", &shape(&joined(&path, " "), last));
    }
    page.head("DESCRIPTION");
    for (i, text) in ABOUT.iter().enumerate() {
        match text {
            Text::Paragraph(text) if i == 0 => page.text(text),
            text => page.texts(&[*text]),
        }
    }
    HOW.iter().for_each(|text| page.paragraph(text));
    page.head("COMMANDS");
    commands().iter().for_each(|path| command(&mut page, path));
    page.head("OPTIONS");
    page.text("These can be used with every command, before or after it.");
    EVERYWHERE.iter().for_each(|option| page.tagged(&option.typed(), &whole(option.line)));
    page.head("EXIT STATUS");
    for exit in Exit::ALL {
        page.tagged(&exit.code().to_string(), &whole(exit.explain()));
    }
    tail(&mut page);
    page.done()
}

fn command(page: &mut Page, path: &[&'static CommandSpec]) {
    let last = path.last().expect("a command has a name");
    page.subhead(&shape(&joined(path, " "), last));
    for (i, text) in last.about.iter().enumerate() {
        match text {
            Text::Paragraph(text) if i == 0 => page.text(text),
            text => page.texts(&[*text]),
        }
    }
    for argument in last.arguments {
        page.tagged(argument.value.name, &whole(argument.line));
    }
    for option in last.options {
        page.tagged(&option.typed(), &whole(option.line));
    }
    for text in last.more {
        match text {
            // They have a section of their own.
            Text::Rows(_, rows) if *rows == SIGNALS => {}
            text => page.texts(&[*text]),
        }
    }
    page.paragraph("Exit status:");
    for (exit, text) in last.exits {
        page.tagged(&exit.code().to_string(), &whole(text));
    }
}

fn tail(page: &mut Page) {
    page.head("SIGNALS");
    page.text("Of s1-coralogix run:");
    SIGNALS.iter().for_each(|(name, text)| page.tagged(name, &whole(text)));
    page.head("ENVIRONMENT");
    ENVIRONMENT.iter().for_each(|(name, text)| page.tagged(name, &whole(text)));
    page.head("FILES");
    FILES.iter().for_each(|(name, text)| page.tagged(name, &whole(text)));
    page.head("SECURITY");
    page.text(SECURITY[0]);
    SECURITY[1..].iter().for_each(|text| page.paragraph(text));
    page.head("EXAMPLES");
    page.text("See whether everything works, as the user the daemon runs as:");
    page.lines(["sudo -u s1-coralogix s1-coralogix check"]);
    page.paragraph("A relay that is online for an hour a day, from a file in cron.d:");
    page.lines(["5 3 * * * s1-coralogix s1-coralogix run --once"]);
    page.paragraph("Take over a changed config, and look at once for new records:");
    page.lines(["systemctl kill -s HUP s1-coralogix", "systemctl kill -s USR1 s1-coralogix"]);
    page.head("SEE ALSO");
    page.text("s1-coralogix.toml(5), systemd.exec(5)");
}

/// Commands without those that only lead to others.
fn commands() -> Vec<Vec<&'static CommandSpec>> {
    let is_command = |path: &Vec<&CommandSpec>| path.last().is_some_and(|c| c.below().is_empty());
    paths().into_iter().filter(is_command).collect()
}

/// The lines of the declaration, for columns, as a sentence.
fn whole(line: &str) -> String {
    let mut chars = line.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let keep = line.starts_with("log.") || line.starts_with("queue.");
    let first = if keep { line[..1].to_owned() } else { first };
    let end = if line.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}
