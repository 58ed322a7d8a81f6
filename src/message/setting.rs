//! 3xx: the config, with file, line and column before the code.

super::codes! {
    CONFIG_UNREADABLE Error 301
        "The config file is not there, or can't be read."
        "Write it after the example config, name another with --config FILE, or let the user of the process read it.";
    CONFIG_SYNTAX Error 302
        "The file is not TOML at the place that is marked."
        "Most often a quotation mark or an equals sign is missing: key = \"value\".";
    SECTION_UNKNOWN Error 303
        "There is no section of this name, or a setting stands outside of every section."
        "See s1-coralogix.toml(5) for the sections; a typing error is guessed in the hint.";
    SETTING_UNKNOWN Error 304
        "There is no setting of this name in the section."
        "See s1-coralogix.toml(5) for the settings; a typing error is guessed in the hint.";
    SECTION_SHAPE Error 305
        "A section has the wrong brackets: `[[integration]]` can be repeated, all others stand once."
        "Write the header as the hint says.";
    VALUE_TYPE Error 306
        "The value is of another type than the setting's: a number without a unit, a text where a list belongs."
        "Write it as the example in the hint.";
    SETTING_MISSING Error 307
        "A setting without a default is not given."
        "Add it as the hint says.";
    SETTINGS_EXCLUDE Error 308
        "Two settings are given of which only one may be."
        "Remove one of them.";
    INTEGRATION_MISSING Error 309
        "There is no `[[integration]]`, so there is nothing to collect."
        "Add one with name, tenant and api_token_file.";
    INTEGRATION_TWICE Error 310
        "Two integrations have one name; their progress is kept under it."
        "Give each a name of its own.";
    TENANT_TWICE Warn 311
        "Two integrations collect the same streams of one tenant, so their records are delivered twice."
        "Take the streams out of one of them, unless it is meant so.";
    SPAN_MISREAD Error 312
        "This is not a length of time."
        "Write a whole number and one unit of ms, s, m, h or d, such as \"60s\" or \"5m\".";
    SIZE_MISREAD Error 313
        "This is not a size."
        "Write a whole number and a unit, such as \"1GiB\", \"64MiB\" or \"100MB\".";
    RATE_MISREAD Error 314
        "This is not a rate."
        "Write a size for each second, such as \"256KiB/s\".";
    OUT_OF_RANGE Error 315
        "The value is below the least or above the most that the setting allows."
        "The hint names the bound; s1-coralogix.toml(5) names both.";
    ORDER_WRONG Error 316
        "Of two settings that belong together, the lower is above the higher, such as retry.min above retry.max."
        "Raise the one that the hint names, or lower the other.";
    WINDOW_MISREAD Error 317
        "This is not a window of the day, or the list is empty."
        "Write two times of the day, such as \"22:00-06:00\"; remove the line if it is to be always.";
    STREAM_MISREAD Error 318
        "This is not a stream, it stands twice, or the list is empty."
        "The streams are \"threats\", \"activities\" and \"alerts\".";
    START_MISREAD Error 319
        "This is not a start, or lies where no records of a tenant begin."
        "Write \"24h\", \"7d\", \"now\", or a time such as \"2026-01-31T00:00:00Z\".";
    NAME_MISREAD Error 320
        "This can't be the name of an integration."
        "Use letters, digits, dot, hyphen and underscore, beginning with a letter or digit.";
    LABEL_MISREAD Error 321
        "The application or subsystem name is empty, too long, or has a control character."
        "Write plain text of the length that is named; Coralogix refuses records without it.";
    PATH_MISREAD Error 322
        "This is not an absolute path."
        "Write the whole path, beginning with /.";
    CHOICE_MISREAD Error 323
        "This is none of the words that the setting knows."
        "Write one of those in the hint.";
    ADDRESS_MISREAD Error 324
        "This is not an address: scheme, host or port is not one, or it has a path it should not have."
        "Copy the address from the browser, or write it as the example in the hint.";
    ADDRESS_WITH_USER Error 325
        "An address holds a user name or password, which has no place there."
        "Remove what stands before the @; tokens and keys have settings of their own.";
    ADDRESS_PLAIN Error 326
        "http:// would send the token or key unencrypted."
        "Write https://; for tests alone, network.allow_http = true allows it.";
    TENANT_IS_CORALOGIX Error 327
        "integration.tenant names a host of Coralogix."
        "Write the SentinelOne console's address, such as https://usea1-acme.sentinelone.net.";
    DOMAIN_MISREAD Error 328
        "This is not a domain of Coralogix: a region's name, or with a port or path."
        "Write the domain of the team (Settings > Domain), such as \"eu2.coralogix.com\"; a whole address belongs into coralogix.url.";
    DOMAIN_IS_PAGE Error 329
        "This is the address of Coralogix' web page or API, which takes no records."
        "Write the domain that the hint names.";
    PROXY_MISREAD Error 330
        "This is not the address of a proxy."
        "Write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with @ : / in them as %40 %3A %2F.";
    SECRET_PATH_MISREAD Error 331
        "The file of a token or key is not an absolute path, nor the name of a credential. The text is not shown, for it may be the secret itself."
        "Write a path that begins with / or $CREDENTIALS_DIRECTORY/; the secret itself belongs into api_token or api_key.";
    SECRET_MISREAD Error 332
        "What is given as a token or key can't be one: empty, with blanks or line ends within, or with a name before it."
        "Give the token or key alone.";
    SECRET_IN_OPEN_FILE Error 333
        "A token, key or password stands in a config that everyone on the machine can read."
        "chmod 0600 the config, or move the secret to a file of its own.";
    SECRET_IN_GROUP_FILE Warn 334
        "A token, key or password stands in a config that its group can read."
        "chmod 0600 the config, or move the secret to a file of its own, unless it is meant so.";
    SECRET_UNUSED Warn 335
        "CORALOGIX_API_KEY or S1_API_TOKEN is set in the environment and not used, for the config comes first."
        "Unset one of them.";
    CREDENTIALS_UNSET Warn 336
        "The config names $CREDENTIALS_DIRECTORY, which only systemd sets; the service's own directory is taken instead."
        "Nothing is to be done where `check` or `status` is called by hand; elsewhere write an absolute path.";
    NAME_WAS_CONFIGURED Error 337
        "name_was names an integration that the config still has, so its streams are in use."
        "Remove name_was, or the integration of the old name.";
    NAME_WAS_TWICE Error 338
        "Two integrations say that they were called the same; only one of them can go on with its streams."
        "Remove name_was from one of them.";
    START_IN_FUTURE Warn 340
        "`integration.start` lies ahead of this machine's clock: most often a typing error in the year. Nothing from before then would be collected."
        "Write a start that has been, such as \"24h\"; if the start is right, set this machine's clock (NTP).";
    CONFIG_SYSTEM Error 341
        "The system could not read the config just now: too many open files, no memory, a disk or mount that fails. It says nothing of what is in it. A start ends with 75; a reload keeps the old config."
        "Allow the process more (ulimit -n, ulimit -v, LimitNOFILE, MemoryMax), or mend the disk or mount; then start again.";
}
