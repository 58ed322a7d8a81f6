//! 3xx: the config, with file, line and column before the code.

super::codes! {
    CONFIG_UNREADABLE Error 301
        "The config file does not exist or can't be read."
        "Create it from the example config, name another with --config FILE, or let the user of the process read it.";
    CONFIG_SYNTAX Error 302
        "The file is not valid TOML at the marked place."
        "Usually a quotation mark or an equals sign is missing: key = \"value\".";
    SECTION_UNKNOWN Error 303
        "There is no section of this name, or a setting is outside of every section."
        "See s1-coralogix.toml(5) for the sections; the hint suggests a similar name.";
    SETTING_UNKNOWN Error 304
        "There is no setting of this name in the section."
        "See s1-coralogix.toml(5) for the settings; the hint suggests a similar name.";
    SECTION_SHAPE Error 305
        "A section has the wrong brackets: `[[integration]]` can be repeated, all others occur once."
        "Write the header as the hint says.";
    VALUE_TYPE Error 306
        "The value has the wrong type: e.g. a number without a unit, or a string instead of a list."
        "Write it like the example in the hint.";
    SETTING_MISSING Error 307
        "A required setting is missing."
        "Add it as the hint says.";
    SETTINGS_EXCLUDE Error 308
        "Two settings exclude each other."
        "Remove one of them.";
    INTEGRATION_MISSING Error 309
        "There is no `[[integration]]`, so there is nothing to collect."
        "Add one with name, tenant and api_token_file.";
    INTEGRATION_TWICE Error 310
        "Two integrations have the same name; their positions are stored under it."
        "Give each its own name.";
    TENANT_TWICE Warn 311
        "Two integrations collect the same streams of one tenant, so their records are delivered twice."
        "Remove the streams from one of them, unless this is intended.";
    SPAN_MISREAD Error 312
        "This is not a duration."
        "Write a whole number and one unit of ms, s, m, h or d, e.g. \"60s\" or \"5m\".";
    SIZE_MISREAD Error 313
        "This is not a size."
        "Write a whole number and a unit, e.g. \"1GiB\", \"64MiB\" or \"100MB\".";
    RATE_MISREAD Error 314
        "This is not a rate."
        "Write a size per second, e.g. \"256KiB/s\".";
    OUT_OF_RANGE Error 315
        "The value is below the minimum or above the maximum of the setting."
        "The hint gives the limit; s1-coralogix.toml(5) gives both.";
    ORDER_WRONG Error 316
        "Of two settings that belong together, the minimum is above the maximum, e.g. retry.min above retry.max."
        "Raise the one that the hint names, or lower the other.";
    WINDOW_MISREAD Error 317
        "This is not a time window, or the list is empty."
        "Write two times of day, e.g. \"22:00-06:00\"; remove the line to allow any time.";
    STREAM_MISREAD Error 318
        "This is not a stream, it is listed twice, or the list is empty."
        "The streams are \"threats\", \"activities\" and \"alerts\".";
    START_MISREAD Error 319
        "This is not a valid start, or a time before any tenant has records."
        "Write \"24h\", \"7d\", \"now\", or a time like \"2026-01-31T00:00:00Z\".";
    NAME_MISREAD Error 320
        "This can't be the name of an integration."
        "Use letters, digits, dot, hyphen and underscore, starting with a letter or digit.";
    LABEL_MISREAD Error 321
        "The application or subsystem name is empty, too long, or has a control character."
        "Write plain text within the given length; Coralogix rejects records without it.";
    PATH_MISREAD Error 322
        "This is not an absolute path."
        "Write the full path, starting with /.";
    CHOICE_MISREAD Error 323
        "This is not one of the values that the setting accepts."
        "Write one of those in the hint.";
    ADDRESS_MISREAD Error 324
        "This is not an address: scheme, host or port is not one, or it has a path it should not have."
        "Copy the address from the browser, or write it like the example in the hint.";
    ADDRESS_WITH_USER Error 325
        "An address contains a user name or password, which is not allowed there."
        "Remove everything before the @; tokens and keys have their own settings.";
    ADDRESS_PLAIN Error 326
        "http:// would send the token or key unencrypted."
        "Write https://; for tests alone, network.allow_http = true allows it.";
    TENANT_IS_CORALOGIX Error 327
        "integration.tenant is a host of Coralogix."
        "Write the SentinelOne console's address, e.g. https://usea1-acme.sentinelone.net.";
    DOMAIN_MISREAD Error 328
        "This is not a domain of Coralogix: a region's name, or with a port or path."
        "Write the domain of the team (Settings > Domain), e.g. \"eu2.coralogix.com\"; a full URL belongs in coralogix.url.";
    DOMAIN_IS_PAGE Error 329
        "This is the address of Coralogix' web interface or API, which does not accept records."
        "Write the domain given in the hint.";
    PROXY_MISREAD Error 330
        "This is not the address of a proxy."
        "Write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with @ : / in them as %40 %3A %2F.";
    SECRET_PATH_MISREAD Error 331
        "The file of a token or key is not an absolute path, nor the name of a credential. The text is not shown because it may be the secret itself."
        "Write a path that starts with / or $CREDENTIALS_DIRECTORY/; the secret itself belongs in api_token or api_key.";
    SECRET_MISREAD Error 332
        "This can't be a token or key: it is empty, contains spaces or line breaks, or has a prefix such as \"ApiToken\"."
        "Write only the token or key.";
    SECRET_IN_OPEN_FILE Error 333
        "The config contains a token, key or password, and every user of the machine can read it."
        "chmod 0600 the config, or move the secret to its own file.";
    SECRET_IN_GROUP_FILE Warn 334
        "The config contains a token, key or password, and its group can read it."
        "chmod 0600 the config, or move the secret to its own file, unless this is intended.";
    SECRET_UNUSED Warn 335
        "CORALOGIX_API_KEY or S1_API_TOKEN is set in the environment but not used, because the config takes precedence."
        "Unset one of them.";
    CREDENTIALS_UNSET Warn 336
        "The config names $CREDENTIALS_DIRECTORY, which only systemd sets; the service's own directory is used instead."
        "No action needed when you run `check` or `status` by hand; elsewhere write an absolute path.";
    NAME_WAS_CONFIGURED Error 337
        "name_was names an integration that the config still has, so its streams are in use."
        "Remove name_was, or the integration of the old name.";
    NAME_WAS_TWICE Error 338
        "Two integrations have the same name_was; only one of them can continue its streams."
        "Remove name_was from one of them.";
    START_IN_FUTURE Warn 340
        "`integration.start` is ahead of this machine's clock: usually a typo in the year. Nothing from before then would be collected."
        "Write a start in the past, e.g. \"24h\"; if the start is right, set this machine's clock (NTP).";
    CONFIG_SYSTEM Error 341
        "The system could not read the config just now: too many open files, no memory, a disk or mount that fails or hangs. Its content is not in question. A start exits with 75; a reload keeps the old config, and takes the new one of a mount that hung as soon as it answers."
        "Allow the process more (ulimit -n, ulimit -v, LimitNOFILE, MemoryMax), or repair the disk or mount; then start again.";
    FILE_NEEDED Error 342
        "`status.file` or `metrics.file` is a file that is needed for something else: a token or key, the certificates, the config, a file of the queue, or the other one of the two. Writing it would replace that file by one that everybody can read."
        "Give each a file of its own, e.g. in /run/s1-coralogix.";
}
