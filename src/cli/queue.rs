//! `queue` and the commands below it, as they are declared.

use std::path::PathBuf;

use super::declare::Text::{Lines, Paragraph};
use super::declare::{Action, Argument, Choice, CommandSpec, Value, ValueHint};
use super::{Command, Exit, Given, Usage, usage};
use crate::message;

/// What is asked of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueCommand {
    Stats {
        json: bool,
    },
    /// `limit` 0: all of them.
    List {
        stream: Option<String>,
        limit: u64,
        json: bool,
    },
    Show {
        id: String,
    },
    Verify,
    Export {
        file: PathBuf,
    },
    Import {
        file: PathBuf,
    },
    Adopt {
        name: String,
        how: Adopt,
    },
    ParkedList {
        json: bool,
    },
    ParkedShow {
        name: String,
    },
    ParkedRetry {
        which: Which,
    },
    ParkedDrop {
        which: Which,
    },
    DoubtList {
        json: bool,
    },
    DoubtShow {
        name: String,
    },
    DoubtRetry {
        which: Which,
    },
    DoubtDrop {
        which: Which,
    },
}

/// What becomes of the positions under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// They are another integration's.
    For(String),
    /// They hold for the address that the config names now.
    Keep,
    /// They are forgotten, with a gap.
    BeginAnew,
}

/// One parked record or batch in doubt by its name, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    One(String),
}

/// Records listed where nothing else is asked for.
const LIST_RECORDS: u64 = 50;

const JSON: Choice = Choice::flag("--json", "print it as JSON");
const ALL: Choice = Choice::flag("--all", "all of them");

/// What every command below has in common when it fails.
const LOOKING: &[(Exit, &str)] = &[
    (Exit::Done, "it was shown"),
    (Exit::Failed, "the queue can't be read, or the requested item does not exist"),
    (Exit::Config, "the config can't be used"),
];
const CHANGING: &[(Exit, &str)] = &[
    (Exit::Done, "it is done"),
    (Exit::Failed, "it failed: the daemon is running, or the queue or file can't be used"),
    (Exit::Config, "the config can't be used"),
];

pub(super) const QUEUE: CommandSpec = CommandSpec {
    name: "queue",
    line: "inspect the queue, or move it",
    about: &[Paragraph(
        "Inspects the queue on disk. stats, list, show, verify, and list and show of parked and \
         doubt take no lock and work while the daemon runs; the others change the queue and \
         require the daemon to be stopped.",
    )],
    more: &[Lines(
        "Examples",
        &[
            "s1-coralogix queue stats",
            "s1-coralogix queue show 1778148227837931640",
            "s1-coralogix queue export /mnt/usb/queue.s1c",
        ],
    )],
    arguments: &[],
    options: &[],
    exits: &[],
    action: Action::Group(&[STATS, LIST, SHOW, VERIFY, PARKED, DOUBT, EXPORT, IMPORT, ADOPT]),
};

const STATS: CommandSpec = CommandSpec {
    name: "stats",
    line: "how much is waiting, by stream",
    about: &[Paragraph(
        "Reads the headers of all frames in the log and sums up what is waiting. If the daemon did \
         not stop cleanly, the number is an upper bound and is marked as one. How far delivery has \
         come is read from the status file of the running daemon, or from the checkpoint; the \
         output says from which.",
    )],
    more: &[],
    arguments: &[],
    options: &[JSON],
    exits: LOOKING,
    action: Action::Run(|given: &Given| queue(QueueCommand::Stats { json: given.has("--json") })),
};

const LIST: CommandSpec = CommandSpec {
    name: "list",
    line: "the waiting records, in order of delivery",
    about: &[Paragraph(
        "Lists the waiting records: place in the queue, time, stream, SentinelOne id and size as \
         sent, in bytes. With --json one object per line. A stream that is neither in the config \
         nor in the queue is an error.",
    )],
    more: &[],
    arguments: &[],
    options: &[
        Choice {
            name: "--stream",
            short: None,
            value: Some(Value { name: "NAME", hint: ValueHint::Word }),
            line: "only those of this stream, e.g. acme/threats",
        },
        Choice {
            name: "--limit",
            short: None,
            value: Some(Value { name: "N", hint: ValueHint::Word }),
            line: "at most this many, 50 by default; 0 for all",
        },
        JSON,
    ],
    exits: LOOKING,
    action: Action::Run(|given: &Given| {
        let limit = match given.value("--limit").map(|text| text.parse()) {
            None => LIST_RECORDS,
            Some(Ok(limit)) => limit,
            Some(Err(_)) => {
                return usage(message::WORD_UNKNOWN, "--limit needs a number", "write --limit 100");
            }
        };
        let (stream, json) = (given.value("--stream"), given.has("--json"));
        queue(QueueCommand::List { stream, limit, json })
    }),
};

const SHOW: CommandSpec = CommandSpec {
    name: "show",
    line: "the history of one record, by its SentinelOne id",
    about: &[Paragraph(
        "Searches the queue for a record and shows each version of it: waiting, with its place in \
         the queue; delivered; in doubt, or rejected by Coralogix, with the response; discarded by \
         an operator. If that can't be distinguished, both are shown. The record is printed as it \
         will be delivered. A record delivered longer ago is no longer in the queue; then the \
         output shows how far each stream is delivered.",
    )],
    more: &[],
    arguments: &[Argument {
        value: Value { name: "ID", hint: ValueHint::Word },
        line: "the id of a threat, activity or alert",
        needed: true,
    }],
    options: &[],
    exits: LOOKING,
    action: Action::Run(|given: &Given| {
        queue(QueueCommand::Show { id: given.argument(0).unwrap_or_default() })
    }),
};

const VERIFY: CommandSpec = CommandSpec {
    name: "verify",
    line: "read every frame and check every checksum",
    about: &[Paragraph(
        "Reads the whole log, all parked records and all batches in doubt. Damage is reported with \
         its place; nothing is changed, because the daemon moves damaged frames to quarantine by \
         itself and asks SentinelOne for their records again.",
    )],
    more: &[],
    arguments: &[],
    options: &[],
    exits: &[
        (Exit::Done, "no damage was found"),
        (Exit::Failed, "there is damage"),
        (Exit::Usage, "the queue could not be read"),
        (Exit::Config, "the config can't be used"),
    ],
    action: Action::Run(|_| queue(QueueCommand::Verify)),
};

const PARKED: CommandSpec = CommandSpec {
    name: "parked",
    line: "the records that Coralogix rejected",
    about: &[Paragraph(
        "A record that Coralogix rejects is parked with the response, so that it does not block \
         the others. It is kept until you send it again or drop it.",
    )],
    more: &[],
    arguments: &[],
    options: &[],
    exits: &[],
    action: Action::Group(&[PARKED_LIST, PARKED_SHOW, PARKED_RETRY, PARKED_DROP]),
};

const NAME: Argument = Argument {
    value: Value { name: "NAME", hint: ValueHint::Word },
    line: "the parked record, as parked list names it",
    needed: true,
};
const NAME_OR_ALL: Argument = Argument { needed: false, ..NAME };

const PARKED_LIST: CommandSpec = CommandSpec {
    name: "list",
    line: "list them, with the reason",
    about: &[Paragraph("Lists the parked records with the response of Coralogix.")],
    more: &[],
    arguments: &[],
    options: &[JSON],
    exits: LOOKING,
    action: Action::Run(|given: &Given| {
        queue(QueueCommand::ParkedList { json: given.has("--json") })
    }),
};

const PARKED_SHOW: CommandSpec = CommandSpec {
    name: "show",
    line: "show one in full",
    about: &[Paragraph("Prints a parked record and the full response.")],
    more: &[],
    arguments: &[NAME],
    options: &[],
    exits: LOOKING,
    action: Action::Run(|given: &Given| {
        queue(QueueCommand::ParkedShow { name: given.argument(0).unwrap_or_default() })
    }),
};

const PARKED_RETRY: CommandSpec = CommandSpec {
    name: "retry",
    line: "send one again, or all",
    about: &[Paragraph("Puts parked records back at the end of the queue and closes their gaps.")],
    more: &[],
    arguments: &[NAME_OR_ALL],
    options: &[ALL],
    exits: CHANGING,
    action: Action::Run(|given: &Given| queue(QueueCommand::ParkedRetry { which: which(given)? })),
};

const PARKED_DROP: CommandSpec = CommandSpec {
    name: "drop",
    line: "discard one, or all",
    about: &[Paragraph(
        "Removes parked records. Their gap stays recorded and is delivered to Coralogix.",
    )],
    more: &[],
    arguments: &[NAME_OR_ALL],
    options: &[ALL],
    exits: CHANGING,
    action: Action::Run(|given: &Given| queue(QueueCommand::ParkedDrop { which: which(given)? })),
};

const DOUBT: CommandSpec = CommandSpec {
    name: "doubt",
    line: "the batches that Coralogix may not have accepted in full",
    about: &[Paragraph(
        "A batch that Coralogix answers with success and a message that some of it was not \
         accepted is kept with the response, because it is unknown which records are missing. It \
         is not sent again automatically. It is kept until you send it again or drop it, or until \
         newer ones need its space: doubt/ holds at most 64 MiB or an eighth of queue.max_size.",
    )],
    more: &[],
    arguments: &[],
    options: &[],
    exits: &[],
    action: Action::Group(&[DOUBT_LIST, DOUBT_SHOW, DOUBT_RETRY, DOUBT_DROP]),
};

const BATCH: Argument = Argument {
    value: Value { name: "NAME", hint: ValueHint::Word },
    line: "the batch, as doubt list names it",
    needed: true,
};
const BATCH_OR_ALL: Argument = Argument { needed: false, ..BATCH };

const DOUBT_LIST: CommandSpec = CommandSpec {
    name: "list",
    line: "list them, with the response",
    about: &[Paragraph(
        "Lists the batches in doubt: name, response of Coralogix, and for each stream the number \
         of records and their time range. With --json one object per line.",
    )],
    more: &[],
    arguments: &[],
    options: &[JSON],
    exits: LOOKING,
    action: Action::Run(|given: &Given| {
        queue(QueueCommand::DoubtList { json: given.has("--json") })
    }),
};

const DOUBT_SHOW: CommandSpec = CommandSpec {
    name: "show",
    line: "show the records of one",
    about: &[Paragraph("Prints the response to a batch in doubt and each of its records in full.")],
    more: &[],
    arguments: &[BATCH],
    options: &[],
    exits: LOOKING,
    action: Action::Run(|given: &Given| {
        queue(QueueCommand::DoubtShow { name: given.argument(0).unwrap_or_default() })
    }),
};

const DOUBT_RETRY: CommandSpec = CommandSpec {
    name: "retry",
    line: "send one again, or all",
    about: &[Paragraph(
        "Puts batches in doubt back at the end of the queue and closes their gaps. Records already \
         accepted arrive twice.",
    )],
    more: &[],
    arguments: &[BATCH_OR_ALL],
    options: &[ALL],
    exits: CHANGING,
    action: Action::Run(|given: &Given| {
        queue(QueueCommand::DoubtRetry { which: which_of(given, "batch in doubt")? })
    }),
};

const DOUBT_DROP: CommandSpec = CommandSpec {
    name: "drop",
    line: "discard one, or all",
    about: &[Paragraph(
        "Removes batches in doubt. Their gaps stay recorded and are delivered to Coralogix.",
    )],
    more: &[],
    arguments: &[BATCH_OR_ALL],
    options: &[ALL],
    exits: CHANGING,
    action: Action::Run(|given: &Given| {
        queue(QueueCommand::DoubtDrop { which: which_of(given, "batch in doubt")? })
    }),
};

const FILE: Argument = Argument {
    value: Value { name: "FILE", hint: ValueHint::File },
    line: "the new file to write; it must not exist yet",
    needed: true,
};
const EXPORTED: Argument = Argument { line: "the file that export wrote", ..FILE };

const EXPORT: CommandSpec = CommandSpec {
    name: "export",
    line: "write the whole queue to one file, for another machine",
    about: &[Paragraph(
        "Writes the waiting records, those parked or in doubt and the position of each stream to \
         one file with a checksum, which any other machine can import. This queue is not changed: \
         do not start its daemon again once the other one has imported the file.",
    )],
    more: &[],
    arguments: &[FILE],
    options: &[],
    exits: CHANGING,
    action: Action::Run(|given: &Given| {
        queue(QueueCommand::Export { file: given.file(0).unwrap_or_default() })
    }),
};

const IMPORT: CommandSpec = CommandSpec {
    name: "import",
    line: "import a file that export wrote",
    about: &[Paragraph(
        "Reads the whole file and verifies its checksum first, then imports it. The queue must not \
         have collected the same streams before. Parked records are queued again; batches in doubt \
         stay in doubt. An interrupted import continues when it is repeated before the next run.",
    )],
    more: &[],
    arguments: &[EXPORTED],
    options: &[],
    exits: CHANGING,
    action: Action::Run(|given: &Given| {
        queue(QueueCommand::Import { file: given.file(0).unwrap_or_default() })
    }),
};

const ADOPT: CommandSpec = CommandSpec {
    name: "adopt",
    line: "keep or discard the positions of a changed integration",
    about: &[
        Paragraph(
            "For use after the name or the address of an integration was changed in the config. \
             With NAME and NEW: the streams of NAME, which is no longer in the config, become \
             those of NEW: positions, known records and waiting records. If NEW has its own \
             positions, the earlier ones are used, and some records may be delivered twice. \
             name_was in the config does the same at the next start.",
        ),
        Paragraph(
            "With NAME alone: its new address is the same tenant, and the positions are kept. With \
             --begin-anew: the positions of NAME are discarded, and its streams start at `start`; \
             the time in between is recorded as a gap. Waiting records are delivered in each case.",
        ),
    ],
    more: &[Lines(
        "Examples",
        &[
            "s1-coralogix queue adopt acme-old acme",
            "s1-coralogix queue adopt acme",
            "s1-coralogix queue adopt acme --begin-anew",
        ],
    )],
    arguments: &[
        Argument {
            value: Value { name: "NAME", hint: ValueHint::Word },
            line: "the integration that the positions belong to",
            needed: true,
        },
        Argument {
            value: Value { name: "NEW", hint: ValueHint::Word },
            line: "the integration in the config that continues with them",
            needed: false,
        },
    ],
    options: &[Choice::flag("--begin-anew", "discard the positions, recording a gap")],
    exits: CHANGING,
    action: Action::Run(|given: &Given| {
        let name = given.argument(0).unwrap_or_default();
        let how = match (given.argument(1), given.has("--begin-anew")) {
            (Some(new), false) => Adopt::For(new),
            (None, false) => Adopt::Keep,
            (None, true) => Adopt::BeginAnew,
            (Some(_), true) => {
                return usage(
                    message::OPTIONS_EXCLUDE,
                    "both NEW and --begin-anew are given",
                    "give one of them",
                );
            }
        };
        queue(QueueCommand::Adopt { name, how })
    }),
};

fn queue(ask: QueueCommand) -> Result<Command, Usage> {
    Ok(Command::Queue(ask))
}

fn which(given: &Given) -> Result<Which, Usage> {
    which_of(given, "parked record")
}

fn which_of(given: &Given, what: &str) -> Result<Which, Usage> {
    match (given.argument(0), given.has("--all")) {
        (Some(name), false) => Ok(Which::One(name)),
        (None, true) => Ok(Which::All),
        (Some(_), true) => {
            usage(message::OPTIONS_EXCLUDE, "both a name and --all are given", "give one of them")
        }
        (None, false) => {
            let text = format!("no {what} is named");
            usage(message::OPTIONS_EXCLUDE, text, "give its NAME, or --all")
        }
    }
}
