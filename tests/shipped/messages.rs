//! docs/MESSAGES.md, from the tables of messages.

use std::fmt::Write as _;

use s1_coralogix::message::topic::{TOPICS, Topic};
use s1_coralogix::message::{Entry, PARTS};

const HEAD: &str = "# Messages

Every message that the program writes to its log, to a terminal, to the status or to a record of its own has a
code, e.g. `S1C-E107`. A code never changes its meaning, and the number of a removed one is not reused, so it can be
searched for, alerted on and quoted. On the device itself `s1-coralogix explain S1C-E107` shows the same as this page.

The letter is the level: E requires action, W may require action, I is information about a change of state, D and
T are only shown at `log.level` debug and trace. The first digit is the area of a message:

";

const TAIL: &str = "
In the log the code is at the beginning of the line, in a finding about the config after its place
(`config.toml:3:1: S1C-E304 queue.max: ...`), in `check` after the remedy. `status --json` and `check --json` have it
as `code`, and so do the records of type `gap` that the collector delivers. Regular output of a command (records,
tables, help) has no code.
";

pub fn render() -> String {
    let mut out = HEAD.to_owned();
    for (digit, part) in PARTS.iter().enumerate() {
        let _ = writeln!(out, "- {digit}xx [{}](#{})", part.title, anchor(part.title));
    }
    out += TAIL;
    out += "\n## States\n\n`s1-coralogix explain WORD` shows a row of this table.\n\n\
            | word | what it means | where it is seen | what to do |\n|---|---|---|---|\n";
    for Topic { word, meaning, seen, remedy, .. } in TOPICS {
        let _ = writeln!(out, "| {word} | {meaning} | {seen} | {remedy} |");
    }
    for part in PARTS {
        let _ = write!(out, "\n## {}\n", part.title);
        for Entry { code, meaning, remedy } in part.entries {
            let _ = write!(out, "\n### {code}\n\n{meaning}\n\n*What to do:* {remedy}\n");
        }
    }
    out
}

/// As the forges make it from a heading.
fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}
