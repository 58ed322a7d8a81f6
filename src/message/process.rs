//! 0xx: the program itself, from its start to its end.

super::codes! {
    STARTS Info 1
        "The daemon, or `run --once`, starts; its version and config are named."
        "Nothing is to be done.";
    WAITING Info 2
        "How many records the queue holds at the start."
        "Nothing is to be done: they are delivered first.";
    STOPPED Info 3
        "The program was told to stop, or `run --once` is done. The queue is closed."
        "Nothing is to be done: what waits is kept for the next start.";
    ENDED_UNREACHED Error 4
        "`run --once` ended with 75: a service could not be reached, asked to come back later, or something before it does not let this machine in; or a stream stands ahead of the time, or at a time that one clock alone gives, so that what is dated now may be missing; or the space for telling of a gap is missing."
        "The lines before it name the service, the stream or the space, and why. What waits is kept; run it again later.";
    ENDED_REFUSED Error 5
        "`run --once` ended with 77: a token or key is refused or missing, or lacks a permission or the scope."
        "The lines before it name which and why; `s1-coralogix check` says what to do. What waits is kept.";
    ENDED_BROKEN Error 6
        "The queue's index broke again and again in one process, which therefore ended with 1."
        "The supervisor starts it again, which rebuilds the index from the log. If it comes back, check the disk (dmesg, smartctl) and memory.";
    CRASH_LOOP Warn 7
        "Several starts in a row ended within a minute of their beginning, so the first requests wait longer than usual."
        "Find out why they ended: the log before this line, dmesg (out of memory), `systemctl status s1-coralogix`.";
    CONFIG_TAKEN Info 8
        "After SIGHUP the changed config is in use."
        "Nothing is to be done.";
    CONFIG_UNCHANGED Info 9
        "After SIGHUP the config was read again and says the same as before."
        "If a change was expected: look whether the right file was edited (the first line of the log names it).";
    CONFIG_KEPT Error 10
        "After SIGHUP the new config is wrong or can't be used; the program goes on with the old one."
        "Correct what the following lines name, check with `s1-coralogix check`, and send SIGHUP again.";
    QUEUE_DIR_MOVED Error 11
        "After SIGHUP the new config names another queue.dir; a running queue can't move, so the old config stays."
        "Stop the service, move the directory, start the service.";
    LOG_LEVEL_UNKNOWN Warn 12
        "S1_CORALOGIX_LOG names no level; log.level of the config holds."
        "Set the variable to error, warn, info, debug or trace, or unset it.";
    PANICKED Error 13
        "An assertion of the program failed: that is a fault of it. The supervisor starts it again; nothing queued is lost."
        "Report it with this line and the lines before it.";
    STATUS_UNWRITABLE Warn 14
        "The status file can't be written, so `status` shows nothing or what is old. Collecting goes on."
        "Let the user of the process write there, or set status.file.";
    METRICS_UNWRITABLE Warn 15
        "The file for Prometheus can't be written. Collecting goes on."
        "Let the user of the process write there (with systemd: ReadWritePaths=), or remove metrics.file.";
    ZONE_UNREADABLE Warn 16
        "The local time zone that windows go by can't be read, so they go by UTC."
        "Set TZ or /etc/localtime to a zone that is installed (package tzdata, or OpenWrt's zoneinfo packages).";
    CLOCK_NOT_KEPT Warn 17
        "The time that a service told can't be written into the queue's directory."
        "Let the user of the process write there and see that the disk has room. Until then, set the clock (NTP) after a power cut.";
    CLOCK_OFF Warn 18
        "This machine's clock differs from the services' by more than five minutes. Records keep their own times and nothing is lost."
        "Set the clock (NTP): certificates are judged by it.";
    CLOCK_BEFORE_BUILD Warn 19
        "This machine's clock is before the date of the program, so it is wrong; certificates are judged at the program's date or the last time a service told."
        "Set the clock (NTP), or give the box a battery for it.";
    CLOCK_RIGHT Info 20
        "This machine's clock agrees with the services' again."
        "Nothing is to be done.";
    STEP Trace 21
        "At log.level trace: the next step of the loop, for whoever works on the program."
        "Nothing is to be done; set log.level to info for fewer lines.";
    CONNECTION_RENEWED Debug 22
        "At log.level debug: a connection kept open was closed by the other side or forgotten on the way, so the request is made again on a new one."
        "Nothing is to be done.";
    LIBRARY_FAILED Error 23
        "A library in the program, named in the line, reports an error; most often the index' (sled)."
        "If a line of this program follows, go by that one. If it comes alone, report it.";
    LIBRARY_WARNED Warn 24
        "A library in the program, named in the line, warns."
        "If a line of this program follows, go by that one. If it comes alone and often, report it.";
    SECRET_EXPOSED Warn 25
        "Everyone on this machine can read, or change, a file with a token or key."
        "Close it: chmod o= FILE.";
    SETUP_FAILED Error 26
        "The proxy or the file of network.ca_file can't be used, or the system grants no signal handler. The program ends with 78, or with 75 where the system could not read that file just now."
        "Correct the setting that is named; `s1-coralogix check` tries it.";
    STALLED Warn 27
        "The loop found something due that it could not do, waited a second, and went on. That is a fault of the program; nothing is lost."
        "Report it with the lines before it and the output of `s1-coralogix status --json`.";
    QUEUE_DIR_CHANGED Warn 28
        "At the last run the queue was in another directory, and records or positions are still there."
        "To go on with that queue: stop the service, set queue.dir back; to move it, move the directory while the service is stopped and then set queue.dir. If it is meant so, nothing is to be done.";
    ENDED_HELD Error 29
        "`run --once` ended with 78: a stream is not polled until a person has confirmed its tenant's address."
        "The lines before it name the stream and both addresses; S1C-E220 says what to do. Everything else was done.";
    ENDED_MISCONFIGURED Error 30
        "`run --once` ends because the config asks for what can't be, such as a `start` in the future. Nothing is lost; it ends with 78."
        "Correct what the lines before name.";
    LOG_LINES_LOST Warn 31
        "Whoever reads stderr stalled, is gone or has no room, so lines of the log were lost; `status` counts them. Collecting and delivering went on."
        "Look at what reads the log (journald, the log driver of a container, a terminal): it has to keep reading.";
    REPORT_HANGS Warn 40
        "Writing the status file, or the file for Prometheus, does not come back: its disk or mount hangs. Collecting and delivering go on; the file is old until it does, and only the newest content waits."
        "Bring the mount back (mount, dmesg), or set status.file or metrics.file to a place in memory such as /run and restart.";
    REPORT_WRITTEN_AGAIN Info 41
        "Writing the status file, or the file for Prometheus, came back; it is up to date again."
        "Nothing is to be done.";
    STOP_FORCED Error 42
        "Told to stop, the program still waited for the disk after 9.5 seconds: a card that is busy with itself, or a mount that hangs. It ended with 1 all the same. Nothing is lost: what was not acknowledged is sent again."
        "Check the disk or mount that is named (mount, dmesg, smartctl).";
    STOP_ABANDONED Info 43
        "Told to stop, the program still waited for the network after 9.5 seconds, and ended. Nothing is lost: what was not acknowledged is sent again."
        "Nothing is to be done.";
    PAGES_BOUNDED Info 44
        "How long an answer of SentinelOne may be, and what decided it: the program's own bound, the machine's memory, that of its control group, or polling.max_page."
        "Nothing is to be done. Where the system does not tell what memory the program may have, set polling.max_page.";
    ACTS_AS_OWNER Info 45
        "Root started it, and the queue's directory belongs to another user. It gave up root's rights and acts as that user, so that the service can read what it writes."
        "Nothing is to be done. To run as root, let root own the queue's directory.";
}
