//! docs/MESSAGES.md, from the tables of messages.

use std::fmt::Write as _;

use s1_coralogix::message::{Entry, PARTS};

const HEAD: &str = "# Messages

Every message that the program writes to its log, to a terminal, into the status or into a record of its
own has a code, `S1C-E107`. A code never changes its meaning, and the number of one that is gone is not
given to another, so it can be searched for, alerted on and quoted. On the box itself
`s1-coralogix explain S1C-E107` says the same as this page.

The letter is the level: E needs a person, W would interest one, I is a change of state that is good to
know, D and T are shown at `log.level` debug and trace only. The first digit tells where a message
belongs:

";

const TAIL: &str = "
In the log the code stands at the beginning of the line, in a finding about the config behind its place
(`config.toml:3:1: S1C-E304 queue.max: ...`), in `check` behind the remedy. `status --json` and
`check --json` have it as `code`, and so have the records of type `gap` that the collector delivers. What
a command was asked to print (records, tables, help) has none.
";

pub fn render() -> String {
    let mut out = HEAD.to_owned();
    for (digit, part) in PARTS.iter().enumerate() {
        let _ = writeln!(out, "- {digit}xx [{}](#{})", part.title, anchor(part.title));
    }
    out += TAIL;
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
