//! 5xx: why a step of `check` failed or wants a look. `edge::cause` holds their words for scripts.

super::codes! {
    CHECK_CONFIG_INVALID Error 501
        "The config can't be read or does not make sense."
        "Correct what the findings name with file, line and setting; each has a code of its own.";
    CHECK_QUEUE_UNUSABLE Error 502
        "The queue's directory can't be used."
        "Let the user the daemon runs as own the directory (chown -R).";
    CHECK_QUEUE_LOW_ROOM Warn 503
        "Less is free on the queue's file system than queue.min_free."
        "Make room, or lower `queue.min_free`: polling waits until then.";
    CHECK_STATUS_UNWRITABLE Warn 504
        "The status file can't be written."
        "Let that user write there, or set `status.file`.";
    CHECK_CLOCK_BEFORE_BUILD Warn 505
        "The clock is before the program's own date."
        "Set the clock (NTP).";
    CHECK_SECRET_UNREADABLE Error 506
        "A token or key can't be read."
        "Create the file, or let the user the daemon runs as read it.";
    CHECK_SECRET_EXPOSED Warn 507
        "Everyone on the machine can read a secret."
        "Close the file with `chmod o= FILE`.";
    CHECK_NAME_NOT_RESOLVED Error 508
        "The host name has no address."
        "Look for a typing error, and at `/etc/resolv.conf`.";
    CHECK_NO_ROUTE Error 509
        "The network has no way to the host."
        "Look at `ip route`; where only a proxy leads out, set `network.proxy`.";
    CHECK_CONNECTION_REFUSED Error 510
        "Nothing listens at this address."
        "Look at host and port, and for a firewall that rejects.";
    CHECK_CONNECT_TIMEOUT Error 511
        "Connecting got no answer."
        "Look for a firewall that drops; where only a proxy leads out, set `network.proxy`.";
    CHECK_CONNECT_FAILED Error 512
        "Connecting failed in another way."
        "Go by the system's error in the text.";
    CHECK_PROXY_UNREACHABLE Error 513
        "The proxy can't be reached."
        "Look at host and port of `network.proxy` or `HTTPS_PROXY`.";
    CHECK_PROXY_AUTHENTICATION Error 514
        "The proxy wants a name and password (HTTP 407)."
        "Write `http://USER:PASSWORD@HOST:PORT` into `network.proxy`.";
    CHECK_PROXY_FORBIDS Error 515
        "The proxy does not allow this host (HTTP 403)."
        "Have the proxy allow both services.";
    CHECK_PROXY_REFUSES Error 516
        "The proxy opens no tunnel."
        "Ask whoever runs the proxy; the text has its answer.";
    CHECK_TLS_UNTRUSTED Error 517
        "An authority that is not known signed the certificate: most likely TLS inspection on the way."
        "Set `network.ca_file` to that authority's certificate, or have the two services exempted.";
    CHECK_CERTIFICATE_EXPIRED Error 518
        "The certificate has ended, by the server's own clock too."
        "The server has to renew it: tell whoever runs it.";
    CHECK_CERTIFICATE_NOT_YET_VALID Error 519
        "The certificate has not begun, by the server's own clock too."
        "The server needs another one: tell whoever runs it.";
    CHECK_CLOCK_AHEAD Error 520
        "This machine's clock is ahead, so a good certificate looks ended."
        "Set the clock (NTP).";
    CHECK_CLOCK_BEHIND Error 521
        "This machine's clock is behind, so a good certificate looks too new."
        "Set the clock (NTP).";
    CHECK_CERTIFICATE_OTHER_NAME Error 522
        "The certificate is for another host."
        "Look for a typing error, or for something that answers in the host's place.";
    CHECK_TLS_FAILED Error 523
        "TLS failed in another way."
        "Look for something on the way, or a port, that does not speak TLS.";
    CHECK_NO_ANSWER Error 524
        "The connection was made, but no answer came in time."
        "Try again; on a slow link raise `network.timeout`.";
    CHECK_CONNECTION_BROKEN Error 525
        "The connection ended within the answer."
        "Try again; if it stays, look at the firewall or proxy in between.";
    CHECK_CLOCK_OFF Warn 526
        "The clock is more than five minutes off the service's."
        "Set the clock (NTP).";
    CHECK_LOGIN_PAGE Error 527
        "The tenant's address answers with a web page."
        "Write the address that the browser shows once you are in the console.";
    CHECK_NOT_A_CONSOLE Error 528
        "The tenant's address is not that of a console."
        "Write the address that the browser shows once you are in the console.";
    CHECK_TOKEN_REFUSED Error 529
        "SentinelOne does not accept the token (HTTP 401, in the words of its API)."
        "See that the token's file holds the token of this tenant, whole. Only then generate a new one (Settings > Users > Service Users), which ends the old one.";
    CHECK_PERMISSION_MISSING Error 530
        "The token is good, but its role may not read this stream (HTTP 403, or 401 on the stream alone)."
        "Add the permission that is named to the role of the service user (Settings > Users > Roles).";
    CHECK_QUERY_REFUSED Error 531
        "SentinelOne refuses the query (HTTP 400)."
        "Take the stream out of `streams` if the tenant does not have it.";
    CHECK_TOKEN_ENDS_SOON Warn 532
        "The token ends within 30 days."
        "Put a new token into the same place; no restart is needed.";
    CHECK_NOT_AN_INGRESS Error 533
        "The Coralogix address takes no logs."
        "Set `coralogix.domain` to the team's (Settings > Domain).";
    CHECK_KEY_UNKNOWN Error 534
        "Coralogix does not know the key (HTTP 401): mistyped, or of another region."
        "Take a Send-Your-Data key and the domain of one team.";
    CHECK_KEY_WRONG_KIND Error 535
        "Coralogix knows the key, but it may not send data (HTTP 403)."
        "Take a key with the role preset SendData (Settings > API Keys).";
    CHECK_BUSY Error 536
        "The service asks to come back later."
        "Wait and try again; the collector does so by itself.";
    CHECK_UNKNOWN_ANSWER Error 537
        "The answer says nothing known."
        "Try again; then ask the service, with the answer in the text.";
    CHECK_SCOPE_MISSING Error 538
        "The scope of the token, or the console, does not have the product or the level that is asked for (HTTP 403)."
        "Go by SentinelOne's words in the text: a service user of the scope that has it, or take the stream out of `streams`. No role helps.";
    CHECK_ADDRESS_REFUSED Error 539
        "Something before the service refuses this machine (HTTP 401, 403 or 451 that the API did not give): an IP allow list, WAF or proxy."
        "Allow the address that this machine is seen with. Leave token and key as they are.";
    CHECK_KEYS_UNCHECKED Error 544
        "The address takes an empty array with a key that nobody issued: it does not check keys, so it is not Coralogix, or a relay that takes anything."
        "Set `coralogix.domain` to the team's (Settings > Domain), or let your relay (`coralogix.url`) refuse unknown keys with 401.";
    CHECK_SINK_BLOCKED Error 545
        "A web page refuses the request in Coralogix' place (HTTP 403): a proxy, a firewall or an address list."
        "Have that filter let this machine reach Coralogix; the key is not to blame.";
    CHECK_NOT_CORALOGIX Error 546
        "Something else than Coralogix answers: a web page, or a status that no ingress gives."
        "Set `coralogix.domain` to the team's (Settings > Domain), and look for a proxy or filter that answers in its place.";
    CHECK_KEY_UNPROVEN Warn 547
        "The address refuses an empty array whatever the key is, so that the key could not be tried."
        "Start the collector: the first record tells whether the key is taken.";
    CHECK_SERVICE_CLOCK_OFF Error 548
        "The service's clock is more than ten minutes off this machine's and the other service's."
        "Have whoever runs the console set its clock (NTP); a proxy or relay in between that makes a `Date` of its own is another cause.";
    CHECK_CLOCKS_DIFFER Error 549
        "The service's clock and this machine's differ by an hour or more, and no third clock could be asked."
        "Set this machine's clock if it is the wrong one (NTP); else have the service's set.";
    CHECK_DATE_IMPOSSIBLE Error 550
        "The service tells a time from before this program was made, so its clock is wrong. It is not gone by."
        "Have whoever runs the console set its clock (NTP); a proxy or relay in between that makes a `Date` of its own is another cause.";
    CHECK_START_IN_FUTURE Error 551
        "`integration.start` lies ahead of the present, so nothing from before then would be collected."
        "Write a start that has been, such as \"24h\", or a time with the right year.";
    CHECK_TENANT_CHANGED Error 552
        "The address of the tenant is not the one that its positions in the queue were collected from, so `run` does not poll it."
        "Stop the daemon, then `s1-coralogix queue adopt NAME` for the same tenant under a new address, or with --begin-anew for another tenant; correct a mistyped address.";
    CHECK_STREAM_ORPHANED Warn 553
        "The queue has the position of a stream that no integration collects."
        "If its integration was renamed, write `name_was = \"OLD NAME\"` into the new one.";
    CHECK_PAGES_SMALLER Warn 554
        "A page of the size that is asked for first does not come, or takes more than half of `network.exchange_timeout`, so smaller ones are asked for."
        "Nothing has to be done. Larger pages are a little cheaper: raise `network.exchange_timeout` on a link as slow as this.";
    CHECK_SYSTEM_REFUSES Error 555
        "The system could not read the config or a secret just now: too many open files, no memory, a disk or mount that fails. It says nothing of what is in them."
        "Allow more (ulimit -n, ulimit -v), or look at the disk or mount that is named.";
    CHECK_CONFIG_DOUBTFUL Warn 560
        "The config can be used, but something in it is most likely not meant so."
        "Go by the hint beside it; it has a code of its own.";
}
