//! 4xx: the command line, and commands that failed.

super::codes! {
    COMMAND_MISSING Error 401
        "No command is given, or a command group without a command."
        "Write one, e.g. s1-coralogix run; --help lists them.";
    COMMAND_UNKNOWN Error 402
        "There is no command of this name."
        "See s1-coralogix --help; the hint suggests a similar name.";
    COMMAND_TWICE Error 403
        "Two commands are given."
        "Give one command at a time.";
    ARGUMENT_SPARE Error 404
        "Unexpected argument."
        "See --help of the command; names with spaces need quotation marks.";
    ARGUMENT_MISSING Error 405
        "The command needs an argument."
        "Write it as the hint says.";
    OPTION_UNKNOWN Error 406
        "There is no option of this name."
        "See --help; the hint suggests a similar name.";
    OPTION_ELSEWHERE Error 407
        "This option belongs to another command."
        "The hint names the commands that have it.";
    OPTION_VALUE Error 408
        "An option needs a value, or was given one and takes none."
        "Write it as the hint says.";
    OPTION_TWICE Error 409
        "An option is given twice."
        "Give the option once.";
    WORD_UNKNOWN Error 410
        "The value is not one that the option or argument accepts, or not a number."
        "Write it as the hint says.";
    OPTIONS_EXCLUDE Error 411
        "Two options exclude each other, or one of two is required."
        "Give one of them, as the hint says.";
    NO_TERMINAL Error 412
        "--watch needs a terminal."
        "Leave it out, or use --json.";
    NOT_RUNNING Error 413
        "There is no status file: the daemon is not running, or writes it elsewhere. The exit code is 3."
        "Start the service, or name its config with --config FILE.";
    STATUS_UNREADABLE Error 414
        "The status file exists but can't be read."
        "Check its permissions; if the daemon is another version, restart it.";
    PRINT_FAILED Error 415
        "The output could not be written."
        "Check where it goes: a full disk, or a pipe whose reader failed.";
    QUEUE_UNSEEN Error 416
        "The queue's directory can't be read."
        "Run this as the daemon's user or as root. Before the first `run` there is no queue.";
    QUEUE_IN_USE Error 417
        "The command changes the queue, and the daemon is using it. Nothing was changed."
        "Stop the service (systemctl stop s1-coralogix; on OpenWrt service s1-coralogix stop), run the command, start the service.";
    PARKED_STAYS Error 418
        "A parked record could not be sent again or dropped."
        "`s1-coralogix queue parked list` shows the existing ones; the text says what failed.";
    PARKED_UNREADABLE Error 419
        "A parked record can't be read."
        "`s1-coralogix queue parked list` shows the existing ones; one whose file is damaged can be discarded with `queue parked drop`.";
    EXPORT_IN_THE_WAY Error 420
        "The file to export to exists already."
        "Name another file, or remove that one.";
    EXPORT_FAILED Error 421
        "The queue could not be exported. It was not changed."
        "The text says why: usually the file can't be written, or its disk is full.";
    IMPORT_FAILED Error 422
        "The file could not be imported, or an earlier import into this queue was interrupted."
        "The text says why, and whether anything was changed.";
    IMPORT_TOO_LARGE Error 423
        "The file contains more than queue.max_size. Nothing was changed."
        "Raise queue.max_size.";
    ID_EMPTY Error 424
        "`queue show` was given no id."
        "Copy the id from SentinelOne's console or a log.";
    QUEUE_DAMAGED Error 425
        "`queue verify` found damaged frames, or fewer frames than were counted. Nothing was changed."
        "The daemon moves damaged frames to quarantine, reports what is missing as a gap, and asks SentinelOne again. Check the disk (dmesg, smartctl).";
    CODE_UNKNOWN Error 426
        "`explain` was given a code that this version does not know."
        "Copy it from the message; `s1-coralogix explain` without a code lists all.";
    DOUBT_STAYS Error 427
        "A batch in doubt could not be sent again or dropped."
        "`s1-coralogix queue doubt list` shows the existing ones; the text says what failed.";
    DOUBT_UNREADABLE Error 428
        "A batch in doubt can't be read."
        "`s1-coralogix queue doubt list` shows the existing ones; one whose file is damaged can be discarded with `queue doubt drop`.";
    ADOPT_NOTHING Error 432
        "`queue adopt` was given a name that the queue has no position of. Nothing was changed."
        "`s1-coralogix queue stats` lists the streams that can be adopted.";
    ADOPT_REFUSED Error 433
        "`queue adopt` was given a name that is in use, or one that the config does not have, or the positions are of the address that another integration has in the config. Nothing was changed."
        "Change the config first: adopt moves positions from a name that it no longer has to one that it has. If names or addresses were swapped, give each integration its former name back.";
    ADOPT_FAILED Error 434
        "Streams could not be adopted, or their positions could not be discarded."
        "The text says why; fix that and run it again, it continues where it stopped.";
    DAEMON_SILENT Error 435
        "The daemon has the queue open but has not written its status for longer than any step takes: it hangs, was stopped (SIGSTOP), or can't write its status file."
        "Check its log, also for S1C-W014, and its disk (dmesg); then restart it. Nothing queued is lost.";
    QUEUE_DIR_REMOVED Error 436
        "The queue directory of a running daemon was removed. What it collects from now on is lost when it stops."
        "Let it deliver the waiting records, which `status` shows, then restart it: it creates a new queue.";
    STREAM_UNKNOWN Error 437
        "`queue list` was given a stream that is neither in the config nor in the queue."
        "The text lists the existing ones.";
    REPORT_IN_THE_WAY Error 438
        "The file that `report` was to write exists already."
        "Name another file, or remove that one.";
    REPORT_FAILED Error 439
        "The report could not be written."
        "The text says why; `report -` prints it instead.";
}
