//! 0xx: the program itself, from its start to its end.

super::codes! {
    STARTS Info 1
        "The daemon, or `run --once`, starts; its version and config are named."
        "No action needed.";
    WAITING Info 2
        "How many records the queue holds at the start."
        "No action needed: they are delivered first.";
    STOPPED Info 3
        "The program was asked to stop, or `run --once` is done. The queue is closed."
        "No action needed: waiting records are kept for the next start.";
    ENDED_UNREACHED Error 4
        "`run --once` exited with 75: a service is unreachable or rate-limiting, or a firewall or proxy blocks this machine; or the position of a stream is in the future, or rests on one clock alone, so that current records may be missing; or there is no disk space to report a gap."
        "The lines before it name the service, the stream or the disk, and the reason. Waiting records are kept; run it again later.";
    ENDED_REFUSED Error 5
        "`run --once` exited with 77: a token or key is rejected or missing, or lacks a permission or the scope."
        "The lines before it name which and why; `s1-coralogix check` says what to do. Waiting records are kept.";
    ENDED_BROKEN Error 6
        "The queue's index failed repeatedly in one process, which therefore exited with 1."
        "The supervisor restarts it, which rebuilds the index from the log. If it happens again, check the disk (dmesg, smartctl) and memory.";
    CRASH_LOOP Warn 7
        "Several starts in a row ended within a minute, so the first requests are delayed longer than usual."
        "Find out why they ended: the log before this line, dmesg (out of memory), `systemctl status s1-coralogix`.";
    CONFIG_TAKEN Info 8
        "After SIGHUP the changed config is in use."
        "No action needed.";
    CONFIG_UNCHANGED Info 9
        "After SIGHUP the config was read again and says the same as before."
        "If you expected a change: check that the right file was edited (the first line of the log names it).";
    CONFIG_KEPT Error 10
        "After SIGHUP the new config is invalid or can't be used; the program continues with the old one."
        "Correct what the following lines report, check with `s1-coralogix check`, and send SIGHUP again.";
    QUEUE_DIR_MOVED Error 11
        "After SIGHUP the new config names another queue.dir; a running queue can't move, so the old config stays."
        "Stop the service, move the directory, start the service.";
    LOG_LEVEL_UNKNOWN Warn 12
        "S1_CORALOGIX_LOG is not a log level; log.level of the config applies."
        "Set the variable to error, warn, info, debug or trace, or unset it.";
    PANICKED Error 13
        "An assertion failed, which is a bug in this program. The supervisor restarts it; nothing queued is lost."
        "Report it with this line and the lines before it.";
    STATUS_UNWRITABLE Warn 14
        "The status file can't be written, so `status` shows nothing or old data. Collection continues."
        "Let the user of the process write there, or set status.file.";
    METRICS_UNWRITABLE Warn 15
        "The metrics file for Prometheus can't be written. Collection continues."
        "Let the user of the process write there (with systemd: ReadWritePaths=), or remove metrics.file.";
    ZONE_UNREADABLE Warn 16
        "The local time zone can't be read, so the time windows use UTC."
        "Set TZ or /etc/localtime to a zone that is installed (package tzdata, or OpenWrt's zoneinfo packages).";
    CLOCK_NOT_KEPT Warn 17
        "The time received from a service can't be saved in the queue's directory."
        "Let the user of the process write there and make sure that the disk has space. Until then, set the clock (NTP) after a power cut.";
    CLOCK_OFF Warn 18
        "This machine's clock differs from the services' by more than five minutes. Records keep their own times and nothing is lost."
        "Set the clock (NTP); certificate checks depend on it. If it is right, the services', or that of a proxy in between, is wrong.";
    CLOCK_BEFORE_BUILD Warn 19
        "This machine's clock is before the build date of the program, so it is wrong; certificates are checked against the build date or the last time received from a service."
        "Set the clock (NTP), or give the device a battery-backed clock.";
    CLOCK_RIGHT Info 20
        "This machine's clock agrees with the services' again."
        "No action needed.";
    STEP Trace 21
        "At log.level trace: the next step of the loop, for developers."
        "No action needed; set log.level to info for fewer lines.";
    CONNECTION_RENEWED Debug 22
        "At log.level debug: a kept-alive connection was closed by the other side or dropped in between, so the request is repeated on a new one."
        "No action needed.";
    LIBRARY_FAILED Error 23
        "A library of the program, named in the line, reports an error; usually the index (sled)."
        "If a line of this program follows, follow its advice. If it stands alone, report it.";
    LIBRARY_WARNED Warn 24
        "A library of the program, named in the line, reports a warning."
        "If a line of this program follows, follow its advice. If it stands alone and is frequent, report it.";
    SECRET_EXPOSED Warn 25
        "Every user of this machine can read or change a file with a token or key."
        "Restrict it: chmod o= FILE.";
    SETUP_FAILED Error 26
        "The proxy or the file of network.ca_file can't be used, or the system gives the process too few open files to start. The program ends with 78, or with 75 where the system refuses something just now."
        "Correct the setting or raise the limit that is named (LimitNOFILE of a systemd unit, ulimit -n elsewhere); `s1-coralogix check` tries the settings.";
    STALLED Warn 27
        "The main loop found due work that it could not do, waited a second, and continued. This is a bug in this program; nothing is lost."
        "Report it with the lines before it and the output of `s1-coralogix status --json`.";
    QUEUE_DIR_CHANGED Warn 28
        "At the last run the queue was in another directory, and records or positions are still there."
        "To go on with that queue: stop the service, set queue.dir back; to move it, move the directory while the service is stopped and then set queue.dir. Otherwise S1C-W047 says what to do.";
    ENDED_HELD Error 29
        "`run --once` exited with 78: a stream is not polled until its tenant's new address is confirmed."
        "The lines before it name the stream and both addresses; S1C-E220 says what to do. Everything else was done.";
    ENDED_MISCONFIGURED Error 30
        "`run --once` exits with 78 because the config is impossible to follow, e.g. a `start` in the future. Nothing is lost."
        "Correct what the lines before it report.";
    LOG_LINES_LOST Warn 31
        "The reader of stderr, or the disk of the file that it leads to, stalled, went away or ran out of space, so log lines were lost; `status` counts them. Collection and delivery continued."
        "Check what reads the log (journald, the log driver of a container, a terminal): it must keep reading. If stderr leads to a file, check its disk or mount (df, mount, dmesg).";
    REPORT_HANGS Warn 40
        "A write of the status file or the metrics file hangs: its disk or mount does not respond. Collection and delivery continue; the file is stale until the write returns, and only the newest content is kept for it."
        "Restore the mount (mount, dmesg), or set status.file or metrics.file to a path in memory, e.g. under /run, and restart.";
    REPORT_WRITTEN_AGAIN Info 41
        "The write of the status file or the metrics file returned; the file is up to date again."
        "No action needed.";
    STOP_FORCED Error 42
        "9.5 seconds after it was asked to stop, the program was still waiting for the disk: a busy SD card, or a mount that hangs. It exited with 1. Nothing is lost: what was not acknowledged is sent again."
        "Check the disk or mount that is named (mount, dmesg, smartctl).";
    STOP_ABANDONED Info 43
        "9.5 seconds after it was asked to stop, the program was still waiting for the network, and exited. Nothing is lost: what was not acknowledged is sent again."
        "No action needed.";
    PAGES_BOUNDED Info 44
        "The maximum size of a response of SentinelOne, and what set it: the built-in limit, the machine's memory, its control group's limit, or polling.max_page."
        "No action needed. Where the system does not report how much memory the program may use, set polling.max_page.";
    ACTS_AS_OWNER Info 45
        "It was started by root, and the queue's directory belongs to another user. It dropped root privileges and runs as that user, so that the service can read what it writes."
        "No action needed. To run as root, let root own the queue's directory.";
    PAGE_KILLED Warn 46
        "The kernel killed a process for lack of memory while this program read a large page. Smaller pages are used; one as large is tried again only after many of them. Nothing is lost."
        "Give the machine or the service more memory (MemoryMax, the container's limit), or set a smaller polling.max_page.";
    QUEUE_LEFT_BEHIND Warn 47
        "Records wait in a directory that queue.dir named before, and nothing delivers them. The state stays degraded until a start finds that nothing waits there. If a stream of the new queue starts later than it was collected to in the old one, the time in between is recorded and delivered as a gap."
        "Stop the service, and run `s1-coralogix run --once` with queue.dir set to the old directory, which delivers what waits there; what was collected since arrives twice. Or set queue.dir back for good. To discard the records, move that directory away. Then start the service.";
}
