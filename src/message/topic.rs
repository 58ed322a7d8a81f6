//! The states that records, the queue and the daemon can be in and that have a word of their own:
//! what each means, where it is seen, and what to do.
//!
//! Promises: a word is the one that `status`, the commands and docs/GLOSSARY.md use. Never: a
//! message.

/// One word.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    pub word: &'static str,
    /// What people may type for it.
    pub also: &'static [&'static str],
    pub meaning: &'static str,
    pub seen: &'static str,
    pub remedy: &'static str,
}

/// All there are: first those of records, then those of the queue, then those of the daemon.
pub const TOPICS: &[Topic] = &[
    Topic {
        word: "gap",
        also: &["gaps"],
        meaning: "A time range of a stream in which records were not collected or not delivered. It is \
                  recorded and delivered as a record of its own, until it is closed.",
        seen: "status, status --json (gaps), and in Coralogix as records of type gap",
        remedy: "Explain the code that status shows with it; look in the SentinelOne console for the \
                 records of that time.",
    },
    Topic {
        word: "parked",
        also: &["rejected", "dead-letter"],
        meaning: "A record that Coralogix rejects even when it is sent alone. It is kept in parked/ with \
                  the response; everything else is delivered.",
        seen: "status, queue parked list, queue parked show NAME",
        remedy: "Fix the cause that the response names, then queue parked retry NAME with the daemon \
                 stopped; or discard it with queue parked drop NAME.",
    },
    Topic {
        word: "doubt",
        also: &["in-doubt", "in doubt", "in_doubt"],
        meaning: "A batch that Coralogix answered with success and a message that some of it was not \
                  accepted, or with a time by which its timestamps were too old or too far ahead. It is kept in \
                  doubt/ and not sent again automatically.",
        seen: "status, queue doubt list, queue doubt show NAME",
        remedy: "Fix the cause in Coralogix (a quota, a blocking rule, old records), then queue doubt \
                 retry --all with the daemon stopped; or queue doubt drop if Coralogix has them.",
    },
    Topic {
        word: "quarantine",
        also: &["quarantined", "damaged"],
        meaning: "Where damaged files of the queue are moved to. SentinelOne is asked for the records \
                  again; nothing there is deleted until its size limit is reached.",
        seen: "queue stats, and quarantine/ in queue.dir",
        remedy: "Check the disk (dmesg, smartctl). The files can be deleted once no gap is open.",
    },
    Topic {
        word: "orphan",
        also: &["orphans", "orphaned"],
        meaning: "A position of a stream that no integration in the config collects any more, usually \
                  because an integration was renamed. The position is kept.",
        seen: "status, queue stats, check",
        remedy: "Add name_was to the renamed integration; or discard the position with queue adopt NAME \
                 --begin-anew.",
    },
    Topic {
        word: "full",
        also: &["queue_full", "disk_low", "queue full", "disk full"],
        meaning: "The queue has reached queue.max_size, or the disk has less free than queue.min_free. \
                  Polling waits; SentinelOne keeps the records.",
        seen: "status, status --json (queue.room)",
        remedy: "Restore delivery first. Free space on the disk, or raise queue.max_size.",
    },
    Topic {
        word: "degraded",
        also: &[],
        meaning: "A temporary problem; it is retried and may resolve by itself.",
        seen: "status, status --json (state)",
        remedy: "Wait; if it lasts, explain the code that status shows.",
    },
    Topic {
        word: "stuck",
        also: &[],
        meaning: "Retrying alone will not resolve it. Everything is kept meanwhile.",
        seen: "status, status --json (state)",
        remedy: "Explain the code that status shows, and run check.",
    },
    Topic {
        word: "silent",
        also: &["hangs", "does not answer"],
        meaning: "The daemon has its queue open but has not written its status for longer than any step \
                  takes.",
        seen: "status, status --alive, status --json (liveness)",
        remedy: "Check its log and its disk (dmesg), then restart it; nothing queued is lost.",
    },
];

/// The state that a person means by this word.
pub fn find(typed: &str) -> Option<&'static Topic> {
    let typed = typed.trim().to_lowercase();
    TOPICS.iter().find(|topic| topic.word == typed || topic.also.contains(&typed.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_one_meaning() {
        let all = || TOPICS.iter().flat_map(|topic| topic.also.iter().chain([&topic.word]));
        for word in all() {
            assert_eq!(all().filter(|other| *other == word).count(), 1, "{word}");
            assert!(super::super::find(word).is_none(), "{word} is a code too");
        }
        assert_eq!(find(" Gaps").unwrap().word, "gap");
        assert!(find("").is_none() && find("e107").is_none());
    }
}
