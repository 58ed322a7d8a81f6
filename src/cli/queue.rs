//! `queue` and the commands below it, as they are declared.

use std::path::PathBuf;

use super::declare::Text::{Lines, Paragraph};
use super::declare::{Argument, Choice, Declared, Is, Leads, Value};
use super::{Command, Exit, Given, Usage, usage};
use crate::message;

/// What is asked of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
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
    (Exit::Failed, "the queue can't be read, or what was asked for is not there"),
    (Exit::Config, "the config can't be used"),
];
const CHANGING: &[(Exit, &str)] = &[
    (Exit::Done, "it is done"),
    (Exit::Failed, "it is not: the daemon runs, or the queue or file can't be used"),
    (Exit::Config, "the config can't be used"),
];

pub(super) const QUEUE: Declared = Declared {
    name: "queue",
    line: "look at what waits, or move it",
    about: &[Paragraph(
        "Looks at the queue on disk. stats, list, show, verify, and list and show of parked and \
         doubt take no lock and work while the daemon runs; the others change the queue and ask \
         for the daemon to be stopped.",
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
    leads: Leads::Below(&[STATS, LIST, SHOW, VERIFY, PARKED, DOUBT, EXPORT, IMPORT, ADOPT]),
};

const STATS: Declared = Declared {
    name: "stats",
    line: "how much waits, by stream",
    about: &[Paragraph(
        "Reads the headers of all frames in the log and sums up what waits. After a daemon that \
         did not end in order the number is an upper bound, and is called one. Where delivery stands \
         is told by the status file of the running daemon, or by the checkpoint; which, is said.",
    )],
    more: &[],
    arguments: &[],
    options: &[JSON],
    exits: LOOKING,
    leads: Leads::To(|given: &Given| queue(Ask::Stats { json: given.has("--json") })),
};

const LIST: Declared = Declared {
    name: "list",
    line: "the records that wait, in order of delivery",
    about: &[Paragraph(
        "Lists the records that wait: place in the queue, position stamp, stream, SentinelOne id \
         and bytes as an entry. With --json one object a line. A stream that neither the config nor the \
         queue has is an error.",
    )],
    more: &[],
    arguments: &[],
    options: &[
        Choice {
            name: "--stream",
            short: None,
            value: Some(Value { name: "NAME", is: Is::Word }),
            line: "only those of this stream, such as acme/threats",
        },
        Choice {
            name: "--limit",
            short: None,
            value: Some(Value { name: "N", is: Is::Word }),
            line: "at most so many, 50 by default; 0 for all",
        },
        JSON,
    ],
    exits: LOOKING,
    leads: Leads::To(|given: &Given| {
        let limit = match given.value("--limit").map(|text| text.parse()) {
            None => LIST_RECORDS,
            Some(Ok(limit)) => limit,
            Some(Err(_)) => {
                return usage(message::WORD_UNKNOWN, "--limit is no number", "write --limit 100");
            }
        };
        let (stream, json) = (given.value("--stream"), given.has("--json"));
        queue(Ask::List { stream, limit, json })
    }),
};

const SHOW: Declared = Declared {
    name: "show",
    line: "the life of one record, by its SentinelOne id",
    about: &[Paragraph(
        "Searches the queue for a record and tells each version of it: waiting, with its place in \
         line; delivered; in doubt, or refused by Coralogix, with the answer; given up by a person. \
         Where that can't be told apart, both are said. The record is \
         printed as it will be delivered. A record that was delivered longer ago is no longer in the queue; then \
         it is told how far each stream is delivered.",
    )],
    more: &[],
    arguments: &[Argument {
        value: Value { name: "ID", is: Is::Word },
        line: "the id of a threat, activity or alert",
        needed: true,
    }],
    options: &[],
    exits: LOOKING,
    leads: Leads::To(|given: &Given| {
        queue(Ask::Show { id: given.argument(0).unwrap_or_default() })
    }),
};

const VERIFY: Declared = Declared {
    name: "verify",
    line: "read every frame and check every checksum",
    about: &[Paragraph(
        "Reads the whole log, all parked records and all batches in doubt. What is damaged is told with its place; \
         nothing is changed, for the daemon sets damaged frames aside by itself and asks \
         SentinelOne for their records again.",
    )],
    more: &[],
    arguments: &[],
    options: &[],
    exits: &[
        (Exit::Done, "everything is whole"),
        (Exit::Failed, "something is damaged"),
        (Exit::Usage, "the queue could not be looked at"),
        (Exit::Config, "the config can't be used"),
    ],
    leads: Leads::To(|_| queue(Ask::Verify)),
};

const PARKED: Declared = Declared {
    name: "parked",
    line: "the records that Coralogix refused",
    about: &[Paragraph(
        "A record that Coralogix refuses is set aside with the answer, so that it does not stand \
         in the way of the others. It stays until a person decides.",
    )],
    more: &[],
    arguments: &[],
    options: &[],
    exits: &[],
    leads: Leads::Below(&[PARKED_LIST, PARKED_SHOW, PARKED_RETRY, PARKED_DROP]),
};

const NAME: Argument = Argument {
    value: Value { name: "NAME", is: Is::Word },
    line: "the parked record, as parked list names it",
    needed: true,
};
const NAME_OR_ALL: Argument = Argument { needed: false, ..NAME };

const PARKED_LIST: Declared = Declared {
    name: "list",
    line: "which there are, and why",
    about: &[Paragraph("Lists the parked records with what Coralogix answered.")],
    more: &[],
    arguments: &[],
    options: &[JSON],
    exits: LOOKING,
    leads: Leads::To(|given: &Given| queue(Ask::ParkedList { json: given.has("--json") })),
};

const PARKED_SHOW: Declared = Declared {
    name: "show",
    line: "one of them, whole",
    about: &[Paragraph("Prints a parked record and the whole answer.")],
    more: &[],
    arguments: &[NAME],
    options: &[],
    exits: LOOKING,
    leads: Leads::To(|given: &Given| {
        queue(Ask::ParkedShow { name: given.argument(0).unwrap_or_default() })
    }),
};

const PARKED_RETRY: Declared = Declared {
    name: "retry",
    line: "send one again, or all",
    about: &[Paragraph("Puts parked records back at the end of the queue and closes their gaps.")],
    more: &[],
    arguments: &[NAME_OR_ALL],
    options: &[ALL],
    exits: CHANGING,
    leads: Leads::To(|given: &Given| queue(Ask::ParkedRetry { which: which(given)? })),
};

const PARKED_DROP: Declared = Declared {
    name: "drop",
    line: "give one up for good, or all",
    about: &[Paragraph(
        "Removes parked records. That they are gone stays in the ledger of gaps, which Coralogix \
         is told.",
    )],
    more: &[],
    arguments: &[NAME_OR_ALL],
    options: &[ALL],
    exits: CHANGING,
    leads: Leads::To(|given: &Given| queue(Ask::ParkedDrop { which: which(given)? })),
};

const DOUBT: Declared = Declared {
    name: "doubt",
    line: "the batches that Coralogix may not have taken whole",
    about: &[Paragraph(
        "A batch that Coralogix answers with success and with words that some of it was not \
         taken is set aside with the answer, for nobody can tell which records are missing. It \
         is never sent again by itself. It stays until a person decides, or until newer ones \
         need its room: doubt/ holds at most 64 MiB or an eighth of queue.max_size.",
    )],
    more: &[],
    arguments: &[],
    options: &[],
    exits: &[],
    leads: Leads::Below(&[DOUBT_LIST, DOUBT_SHOW, DOUBT_RETRY, DOUBT_DROP]),
};

const BATCH: Argument = Argument {
    value: Value { name: "NAME", is: Is::Word },
    line: "the batch, as doubt list names it",
    needed: true,
};
const BATCH_OR_ALL: Argument = Argument { needed: false, ..BATCH };

const DOUBT_LIST: Declared = Declared {
    name: "list",
    line: "which there are, and what was answered",
    about: &[Paragraph(
        "Lists the batches in doubt: name, what Coralogix answered, and for each stream how many \
         records of which time are in it. With --json one object a line.",
    )],
    more: &[],
    arguments: &[],
    options: &[JSON],
    exits: LOOKING,
    leads: Leads::To(|given: &Given| queue(Ask::DoubtList { json: given.has("--json") })),
};

const DOUBT_SHOW: Declared = Declared {
    name: "show",
    line: "the records of one of them",
    about: &[Paragraph("Prints the answer to a batch in doubt and each of its records, whole.")],
    more: &[],
    arguments: &[BATCH],
    options: &[],
    exits: LOOKING,
    leads: Leads::To(|given: &Given| {
        queue(Ask::DoubtShow { name: given.argument(0).unwrap_or_default() })
    }),
};

const DOUBT_RETRY: Declared = Declared {
    name: "retry",
    line: "send one again, or all",
    about: &[Paragraph(
        "Puts batches in doubt back at the end of the queue and closes their gaps. What Coralogix \
         had taken of them comes twice.",
    )],
    more: &[],
    arguments: &[BATCH_OR_ALL],
    options: &[ALL],
    exits: CHANGING,
    leads: Leads::To(|given: &Given| {
        queue(Ask::DoubtRetry { which: which_of(given, "batch in doubt")? })
    }),
};

const DOUBT_DROP: Declared = Declared {
    name: "drop",
    line: "give one up for good, or all",
    about: &[Paragraph(
        "Removes batches in doubt. That they are gone stays in the ledger of gaps, which \
         Coralogix is told.",
    )],
    more: &[],
    arguments: &[BATCH_OR_ALL],
    options: &[ALL],
    exits: CHANGING,
    leads: Leads::To(|given: &Given| {
        queue(Ask::DoubtDrop { which: which_of(given, "batch in doubt")? })
    }),
};

const FILE: Argument = Argument {
    value: Value { name: "FILE", is: Is::File },
    line: "the new file to write; it must not be there yet",
    needed: true,
};
const EXPORTED: Argument = Argument { line: "the file that export wrote", ..FILE };

const EXPORT: Declared = Declared {
    name: "export",
    line: "write the whole queue to one file, for another box",
    about: &[Paragraph(
        "Writes what waits, what is parked or in doubt and how far each stream is to one file with \
         a checksum, which any other machine can import. This queue stays as it is: do not start its daemon \
         again once the other one has imported the file.",
    )],
    more: &[],
    arguments: &[FILE],
    options: &[],
    exits: CHANGING,
    leads: Leads::To(|given: &Given| {
        queue(Ask::Export { file: given.file(0).unwrap_or_default() })
    }),
};

const IMPORT: Declared = Declared {
    name: "import",
    line: "take over a file that export wrote",
    about: &[Paragraph(
        "Reads the whole file and its checksum first, then takes it over. The queue must not have \
         collected the same streams before. Parked records wait again; batches in doubt stay so. An \
         import that was cut short goes on when it is repeated before the next run.",
    )],
    more: &[],
    arguments: &[EXPORTED],
    options: &[],
    exits: CHANGING,
    leads: Leads::To(|given: &Given| {
        queue(Ask::Import { file: given.file(0).unwrap_or_default() })
    }),
};

const ADOPT: Declared = Declared {
    name: "adopt",
    line: "say what the positions of a changed integration mean",
    about: &[
        Paragraph(
            "After the name or the address of an integration was changed in the config. With NAME and \
             NEW: the streams of NAME, which the config does not have any more, become those of NEW: \
             positions, known records and what waits of them. Where NEW has positions of its own, the \
             earlier ones count, and some records may be delivered a second time. It is what name_was \
             in the config does at the next start.",
        ),
        Paragraph(
            "With NAME alone: its new address is the same tenant, and the positions are kept. With \
             --begin-anew: the positions under NAME are forgotten, and its streams begin at `start`; \
             what lies between is written down as a gap. What waits in the queue is delivered in each \
             case.",
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
            value: Value { name: "NAME", is: Is::Word },
            line: "the integration that the positions are of",
            needed: true,
        },
        Argument {
            value: Value { name: "NEW", is: Is::Word },
            line: "the integration of the config that goes on with them",
            needed: false,
        },
    ],
    options: &[Choice::flag("--begin-anew", "forget the positions, with a gap")],
    exits: CHANGING,
    leads: Leads::To(|given: &Given| {
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
        queue(Ask::Adopt { name, how })
    }),
};

fn queue(ask: Ask) -> Result<Command, Usage> {
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
