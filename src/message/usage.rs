//! 4xx: the command line, and commands that could not do what they were asked.

super::codes! {
    COMMAND_MISSING Error 401
        "No command is given, or a group without the command after it."
        "Write one, such as s1-coralogix run; --help lists them.";
    COMMAND_UNKNOWN Error 402
        "There is no command of this name."
        "See s1-coralogix --help; a typing error is guessed in the hint.";
    COMMAND_TWICE Error 403
        "Two commands are given."
        "Give one command at a time.";
    ARGUMENT_SPARE Error 404
        "The command takes no further argument."
        "See --help of the command; names with blanks need quotation marks.";
    ARGUMENT_MISSING Error 405
        "The command needs an argument that is not given."
        "Write it as the hint says.";
    OPTION_UNKNOWN Error 406
        "There is no option of this name."
        "See --help; a typing error is guessed in the hint.";
    OPTION_ELSEWHERE Error 407
        "The option belongs to another command."
        "The hint names those that have it.";
    OPTION_VALUE Error 408
        "An option lacks its value, or has one and takes none."
        "Write it as the hint says.";
    OPTION_TWICE Error 409
        "An option is given twice."
        "Give the option once.";
    WORD_UNKNOWN Error 410
        "The value is none of those that the option or argument knows, or not a number."
        "Write it as the hint says.";
    OPTIONS_EXCLUDE Error 411
        "Of what is given together, one excludes the other, or one of two is needed."
        "Give one of them, as the hint says.";
    NO_TERMINAL Error 412
        "--watch draws on a terminal, and the output is none."
        "Leave it out, or take --json.";
    NOT_RUNNING Error 413
        "There is no status file: the daemon is not running, or writes it elsewhere. The exit code is 3."
        "Start the service, or name its config with --config FILE.";
    STATUS_UNREADABLE Error 414
        "The status file is there and can't be read."
        "Look at who may read it; if the daemon is of another version, restart it.";
    PRINT_FAILED Error 415
        "The output could not be written."
        "See where it leads: a full disk, or a pipe whose reader failed.";
    QUEUE_UNSEEN Error 416
        "The queue's directory can't be looked into."
        "Ask as the user that runs the daemon, or as root. Before the first `run` there is no queue.";
    QUEUE_IN_USE Error 417
        "The command changes the queue, and the daemon is using it. Nothing was changed."
        "Stop the service, run the command, start the service.";
    PARKED_STAYS Error 418
        "A parked record could not be sent again or dropped."
        "`s1-coralogix queue parked list` names those there are; the text says what failed.";
    PARKED_UNREADABLE Error 419
        "A parked record can't be read."
        "`s1-coralogix queue parked list` names those there are; one whose file is damaged can be given up with `queue parked drop`.";
    EXPORT_IN_THE_WAY Error 420
        "The file to export to is there already."
        "Name another file, or remove that one.";
    EXPORT_FAILED Error 421
        "The queue could not be exported. Nothing of it was changed."
        "The text says why: most often the file can't be written, or its disk is full.";
    IMPORT_FAILED Error 422
        "The file could not be imported."
        "The text says why, and whether anything was changed.";
    IMPORT_TOO_LARGE Error 423
        "The file holds more than queue.max_size. Nothing was changed."
        "Raise queue.max_size.";
    ID_EMPTY Error 424
        "`queue show` was given no id."
        "Copy the id from SentinelOne's console or a log.";
    QUEUE_DAMAGED Error 425
        "`queue verify` found damaged frames. Nothing was changed."
        "The daemon sets them aside and asks SentinelOne again. Check the disk (dmesg, smartctl).";
    CODE_UNKNOWN Error 426
        "`explain` was given a code that this version does not know."
        "Copy it from the message; `s1-coralogix explain` without a code lists all.";
    DOUBT_STAYS Error 427
        "A batch in doubt could not be sent again or dropped."
        "`s1-coralogix queue doubt list` names those there are; the text says what failed.";
    DOUBT_UNREADABLE Error 428
        "A batch in doubt can't be read."
        "`s1-coralogix queue doubt list` names those there are; one whose file is damaged can be given up with `queue doubt drop`.";
    ADOPT_NOTHING Error 432
        "`queue adopt` was given a name that the queue has no position of. Nothing was changed."
        "`s1-coralogix queue stats` lists the streams that can be adopted.";
    ADOPT_REFUSED Error 433
        "`queue adopt` was given a name that is in use, or one that the config does not have. Nothing was changed."
        "Change the config first: adopt leads from a name that it does not have to one that it has.";
    ADOPT_FAILED Error 434
        "Streams could not be adopted, or their positions not be given up."
        "The text says why; run it again once that is mended, which goes on where it stopped.";
    DAEMON_SILENT Error 435
        "The daemon holds its queue and has written no status for longer than any step of it takes: it hangs, was stopped, or can't write its status file."
        "Look at its log, for S1C-W014 too, and whether its disk answers (dmesg); then restart it. Nothing queued is lost.";
    QUEUE_DIR_REMOVED Error 436
        "The queue directory of a running daemon was removed. What it collects from now on does not survive its end."
        "Let it deliver what waits, which `status` shows, then restart it: the queue begins anew.";
    STREAM_UNKNOWN Error 437
        "`queue list` was given a stream that neither the config nor the queue has."
        "The text names those there are.";
}
