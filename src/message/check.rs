//! 5xx: why a step of `check` failed or needs attention. `cause` holds their names for scripts.

super::codes! {
    CHECK_CONFIG_INVALID Error 501
        "The config can't be read or is invalid."
        "Correct what the findings report with file, line and setting; each has its own code.";
    CHECK_QUEUE_UNUSABLE Error 502
        "The queue's directory can't be used."
        "Let the user the daemon runs as own the directory (chown -R).";
    CHECK_QUEUE_LOW_ROOM Warn 503
        "The free space on the queue's file system is below queue.min_free."
        "Free space, or lower `queue.min_free`: polling waits until then.";
    CHECK_STATUS_UNWRITABLE Warn 504
        "The status file can't be written."
        "Let that user write there, or set `status.file`.";
    CHECK_CLOCK_BEFORE_BUILD Warn 505
        "The clock is before the program's build date."
        "Set the clock (NTP).";
    CHECK_SECRET_UNREADABLE Error 506
        "A token or key can't be read."
        "Create the file, or let the user the daemon runs as read it.";
    CHECK_SECRET_EXPOSED Warn 507
        "Every user of the machine can read a secret."
        "Restrict the file with `chmod o= FILE`.";
    CHECK_NAME_NOT_RESOLVED Error 508
        "The host name does not resolve."
        "Check for a typo, and check `/etc/resolv.conf`.";
    CHECK_NO_ROUTE Error 509
        "There is no route to the host."
        "Check `ip route`; if the only way out is a proxy, set `network.proxy`.";
    CHECK_CONNECTION_REFUSED Error 510
        "Nothing listens at this address."
        "Check host and port, and look for a firewall that rejects the connection.";
    CHECK_CONNECT_TIMEOUT Error 511
        "The connection attempt timed out."
        "Look for a firewall that drops packets; if the only way out is a proxy, set `network.proxy`.";
    CHECK_CONNECT_FAILED Error 512
        "The connection failed for another reason."
        "See the system's error in the text.";
    CHECK_PROXY_UNREACHABLE Error 513
        "The proxy is unreachable."
        "Check host and port of `network.proxy` or `HTTPS_PROXY`.";
    CHECK_PROXY_AUTHENTICATION Error 514
        "The proxy requires a user name and password (HTTP 407)."
        "Write `http://USER:PASSWORD@HOST:PORT` into `network.proxy`.";
    CHECK_PROXY_FORBIDS Error 515
        "The proxy does not allow this host (HTTP 403)."
        "Have the proxy allow both services.";
    CHECK_PROXY_REFUSES Error 516
        "The proxy refuses to open a tunnel."
        "Ask the operator of the proxy; the text has its response.";
    CHECK_TLS_UNTRUSTED Error 517
        "The issuer of the certificate is not trusted: most likely TLS inspection in between."
        "Set `network.ca_file` to that authority's certificate, or have the two services exempted.";
    CHECK_CERTIFICATE_EXPIRED Error 518
        "The certificate has expired, by the server's own clock too."
        "The server must renew it: contact its operator.";
    CHECK_CERTIFICATE_NOT_YET_VALID Error 519
        "The certificate is not valid yet, by the server's own clock too."
        "The server needs another one: contact its operator.";
    CHECK_CLOCK_AHEAD Error 520
        "This machine's clock is ahead, so a valid certificate looks expired."
        "Set the clock (NTP).";
    CHECK_CLOCK_BEHIND Error 521
        "This machine's clock is behind, so a valid certificate looks not yet valid."
        "Set the clock (NTP).";
    CHECK_CERTIFICATE_OTHER_NAME Error 522
        "The certificate is for another host."
        "Check for a typo, or for something that answers in place of the host.";
    CHECK_TLS_FAILED Error 523
        "TLS failed for another reason."
        "Check for a device in between, or a port, that does not speak TLS.";
    CHECK_NO_ANSWER Error 524
        "The connection was established, but no response came in time."
        "Try again; on a slow link raise `network.timeout`.";
    CHECK_CONNECTION_BROKEN Error 525
        "The connection was closed during the response."
        "Try again; if it persists, check the firewall or proxy in between.";
    CHECK_CLOCK_OFF Warn 526
        "The clock is more than five minutes off the service's."
        "Set the clock (NTP). If it is right, the service's, or that of a proxy in between, is wrong.";
    CHECK_LOGIN_PAGE Error 527
        "The tenant's address answers with a web page."
        "Write the address that the browser shows when you are logged in to the console.";
    CHECK_NOT_A_CONSOLE Error 528
        "The tenant's address is not that of a console."
        "Write the address that the browser shows when you are logged in to the console.";
    CHECK_TOKEN_REFUSED Error 529
        "SentinelOne rejects the token (HTTP 401 from its API)."
        "Check that the token file contains the complete token of this tenant. Only then generate a new one (Settings > Users > Service Users), which revokes the old one.";
    CHECK_PERMISSION_MISSING Error 530
        "The token is valid, but its role may not read this stream (HTTP 403, or 401 on the stream alone)."
        "Add the permission that is named to the role of the service user (Settings > Users > Roles).";
    CHECK_QUERY_REFUSED Error 531
        "SentinelOne rejects the query (HTTP 400)."
        "Remove the stream from `streams` if the tenant does not have it.";
    CHECK_TOKEN_ENDS_SOON Warn 532
        "The token expires within 30 days."
        "Put a new token into the same file; no restart is needed.";
    CHECK_NOT_AN_INGRESS Error 533
        "The Coralogix address does not accept logs."
        "Set `coralogix.domain` to the team's (Settings > Domain).";
    CHECK_KEY_UNKNOWN Error 534
        "Coralogix does not recognise the key (HTTP 401): mistyped, or from another region."
        "Use a Send-Your-Data key and the domain of the same team.";
    CHECK_KEY_WRONG_KIND Error 535
        "Coralogix recognises the key, but it is not allowed to send data (HTTP 403)."
        "Use a key with the role preset SendData (Settings > API Keys).";
    CHECK_BUSY Error 536
        "The service is rate-limiting."
        "Wait and try again; the daemon does so by itself.";
    CHECK_UNKNOWN_ANSWER Error 537
        "The response is not one that is known."
        "Try again; then ask the service's support, with the response in the text.";
    CHECK_SCOPE_MISSING Error 538
        "The scope of the token, or the console, does not have the product or the level that is asked for (HTTP 403)."
        "Follow SentinelOne's message in the text: use a service user of a scope that has it, or remove the stream from `streams`. Roles don't matter here.";
    CHECK_ADDRESS_REFUSED Error 539
        "Something in front of the service blocks this machine (HTTP 401, 403 or 451 that did not come from the API): an IP allow list, WAF or proxy."
        "Allow the address that this machine connects from. Leave token and key as they are.";
    CHECK_KEYS_UNCHECKED Error 544
        "The address accepts an empty array, or a record, with a made-up key: it does not check keys, so it is not Coralogix, or a relay that accepts anything."
        "Set `coralogix.domain` to the team's (Settings > Domain), or let your relay (`coralogix.url`) reject unknown keys with 401.";
    CHECK_SINK_BLOCKED Error 545
        "Something between this machine and Coralogix blocks this machine (HTTP 401 or 403, as a web page or with words about an address): a proxy, a firewall or an address list."
        "Have that filter allow this machine to reach Coralogix; the key is not the cause.";
    CHECK_NOT_CORALOGIX Error 546
        "Something other than Coralogix answers: a web page, no JSON or plain text, a status that Coralogix' endpoint does not use, or one that rejects any content with HTTP 400 and no key."
        "Set `coralogix.domain` to the team's (Settings > Domain), and look for a proxy or filter that answers in its place.";
    CHECK_KEY_UNPROVEN Warn 547
        "The address rejects a made-up key, but an empty array whatever the key is, so your key could not be checked."
        "Start the daemon: the first record shows whether the key is accepted.";
    CHECK_SERVICE_CLOCK_OFF Error 548
        "The service's clock is more than ten minutes off this machine's and the other service's."
        "Have the operator of the console set its clock (NTP); a proxy or relay in between that sends its own `Date` is another cause.";
    CHECK_CLOCKS_DIFFER Error 549
        "Two clocks differ, and no third one decides: a service's and this machine's by an hour or more, or the two services' on a machine whose clock is not set."
        "Set this machine's clock if it is wrong (NTP); otherwise have the service's set.";
    CHECK_DATE_IMPOSSIBLE Error 550
        "The service sends a time before this program's build date, so its clock is wrong. That time is not used."
        "Have the operator of the console set its clock (NTP); a proxy or relay in between that sends its own `Date` is another cause.";
    CHECK_START_IN_FUTURE Error 551
        "`integration.start` is in the future, so nothing from before then would be collected."
        "Write a start in the past, e.g. \"24h\", or a time with the right year.";
    CHECK_TENANT_CHANGED Error 552
        "The address of the tenant differs from the one that its positions in the queue belong to, so `run` does not poll it."
        "Stop the daemon, then `s1-coralogix queue adopt NAME` for the same tenant under a new address, or with --begin-anew for another tenant; correct a mistyped address. If names or addresses were swapped, give each integration its former name back.";
    CHECK_STREAM_ORPHANED Warn 553
        "The queue has the position of a stream that no integration collects."
        "If its integration was renamed, write `name_was = \"OLD NAME\"` into the new one.";
    CHECK_PAGES_SMALLER Warn 554
        "A page of the initial size does not arrive, or takes more than half of `network.exchange_timeout`, so smaller pages are requested."
        "No action needed. Larger pages are slightly more efficient: raise `network.exchange_timeout` on a link this slow.";
    CHECK_SYSTEM_REFUSES Error 555
        "The system could not read the config or a secret just now: too many open files, no memory, a disk or mount that fails. Their content is not in question."
        "Allow more (ulimit -n, ulimit -v), or check the disk or mount that is named.";
    CHECK_METRICS_UNWRITABLE Warn 556
        "The file for metrics can't be written."
        "Let that user write there (with systemd: ReadWritePaths=), or remove `metrics.file`.";
    CHECK_QUEUE_LEFT_BEHIND Warn 557
        "Records wait, or positions are, in a directory that `queue.dir` named before, and the config names another one now."
        "Set `queue.dir` back, or move the directory before the first start with the new one. If the new one is in use already: stop the service, and run `s1-coralogix run --once` with `queue.dir` set to the old directory, which delivers what waits there; what was collected since arrives twice. To discard it, move that directory away.";
    CHECK_CONFIG_DOUBTFUL Warn 560
        "The config can be used, but something in it is probably not intended."
        "Follow the hint next to it; it has its own code.";
    CHECK_ANSWERED_BETWEEN Error 561
        "Something between this machine and the console answered in its place: a cache, or a proxy with a login page or a block page."
        "Let requests to the console pass the proxy or filter unchanged, and exempt its host from caching. Leave streams and token as they are.";
}
