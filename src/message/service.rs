//! 1xx: SentinelOne and Coralogix, and the path to them.

super::codes! {
    BUSY Warn 101
        "The service is rate-limiting (HTTP 429, 503, Retry-After). Requests are retried when it asked, otherwise with growing delays."
        "No action needed if it passes. If it lasts: another client uses up the quota of the same token, or poll_interval is too short for the tenant.";
    UNREACHABLE Warn 102
        "The service is unreachable: the name was not resolved, there is no route, the connection was refused, TLS failed, or it timed out. The text says which. Everything is kept."
        "No action needed where the link is meant to be down. Otherwise `s1-coralogix check` finds the step that fails.";
    BROKEN_ANSWER Warn 103
        "The service answers with an error of its own (5xx) or with an invalid response: a web page, a part of a list, an answer that a cache repeats. Requests are retried with growing delays."
        "If it lasts: check the service's status page, and look for a proxy that answers in its place; exempt the host from its caching.";
    QUERY_REFUSED Error 104
        "SentinelOne rejects the query itself (HTTP 400, and not with a web page)."
        "Remove the stream from streams if the tenant does not have it; otherwise report it with the response in the line.";
    MISDIRECTED Error 105
        "The address answers with a redirect, 404 or a web page, or rejects everything alike: it is not the service's API."
        "Correct integration.tenant, coralogix.domain or coralogix.url, or let the proxy that answers in its place pass the requests; `s1-coralogix check` shows what answers there.";
    SECRET_UNREADABLE Error 106
        "The file with the token or key does not exist, can't be read, or is empty."
        "Put only the token or key into the file that is named and let the user of the process read it. It is picked up without a restart.";
    TOKEN_REFUSED Error 107
        "SentinelOne's API rejects the API token (HTTP 401, also for /system/info): it is mistyped, belongs to another console, has expired, or was revoked. SentinelOne's message is in the line."
        "First check that the token file contains the complete token of this tenant. Only if it does, generate a new one (Settings > Users > Service Users), which revokes the old one at once, and put it into the token file; no restart is needed. Polling continues from where it was.";
    PERMISSION_MISSING Error 108
        "The API token is valid, but its role lacks a permission (HTTP 403, or a 401 that /system/info does not confirm). SentinelOne's message is in the line."
        "Add the permission to the role of the service user (Settings > Users > Roles), or remove the stream from streams.";
    KEY_REFUSED Error 109
        "Coralogix rejects the API key (HTTP 401 or 403). Records are kept in the queue."
        "Put a valid Send-Your-Data key of the same region into the key file (Settings > API Keys); no restart is needed.";
    REFUSES_EVERYTHING Error 110
        "Coralogix rejects every record, so the records are not the cause. Further ones are parked slowly."
        "`s1-coralogix queue parked list` shows the responses. When the cause is fixed: `s1-coralogix queue parked retry --all`.";
    QUEUE_FULL Warn 111
        "The queue has reached queue.max_size. Polling waits; nothing is dropped."
        "Delivery frees space. If it has stopped, `status` shows why; if it is too slow, raise delivery.max_rate or queue.max_size. SentinelOne deletes records after its retention time.";
    DISK_LOW Warn 112
        "The file system has less free than queue.min_free. Polling waits; nothing is dropped."
        "Free space on that file system, or lower queue.min_free.";
    STORE_TROUBLE Error 113
        "The queue can't be written. The lines before it give the reason."
        "Check that the disk is mounted for writing, not full, and healthy (dmesg, smartctl).";
    WORKS_AGAIN Info 114
        "A problem reported earlier is resolved."
        "No action needed.";
    CAUGHT_UP Info 115
        "The stream has read everything that SentinelOne had; from now on it polls."
        "No action needed.";
    TOKEN_ENDS_SOON Warn 116
        "The API token expires within 30 days. Reported at 30, 14 and 7 days."
        "Generate a new one in time (Settings > Users > Service Users) and put it into the token file; no restart is needed.";
    TOKEN_ENDS_NOW Error 117
        "The API token expires within 3 days. Reported at 3 days and 1 day."
        "Generate a new one now (Settings > Users > Service Users) and put it into the token file; no restart is needed.";
    LATE_RECORDS Warn 118
        "Reconciliation found records that became visible only after polling had passed their time. They are collected now."
        "No action needed. If it is frequent, raise integration.overlap (docs/RECONCILIATION.md).";
    COUNT_REFUSED Warn 119
        "SentinelOne rejects count queries, or its counts can't be trusted, so reconciliation is off until the next start. Polling continues."
        "Set integration.reconcile to \"0s\" if the tenant does not offer it, or give the token the permission that is named.";
    REMARK Warn 120
        "Coralogix accepted a batch with a message in the response. Further ones are only counted in `status`."
        "Read the message: usually a quota or limit of the team is near.";
    PARKED Error 121
        "Coralogix rejects one record because of its content, or failed on it repeatedly while it accepted an empty request. The record is stored in parked/ of the queue with the response, and a gap is recorded."
        "See `s1-coralogix queue parked list` and `show NAME`; then `retry` when the cause is fixed, or `drop`.";
    GAP_RETENTION Error 122
        "When SentinelOne could be queried again, it no longer had records as old as needed. What it deleted in between is lost; the time range is recorded and delivered as a gap."
        "Find out why the device was offline so long. The licence sets how long threats and activities are kept; shorten outages or raise the retention.";
    GAP_PURGED Warn 123
        "An operator dropped parked records. The gap is recorded and delivered."
        "No action needed.";
    STAMP_UNREADABLE Warn 124
        "The time of a record can't be parsed, or is a null date (1970). The record is collected and delivered as it is, without timestamp; it does not move the position, so polling continues from the last time that could be parsed. Reported once for each stream; `status` has the count."
        "Report it with the record, which Coralogix has: its time format is not known yet. A few records without a time do no harm; if all are without, each poll reads everything since `start` again.";
    SCOPE_MISSING Error 125
        "The scope of the API token does not include this (HTTP 403): the site or account does not have the product, or the token's scope level is too low. SentinelOne's message is in the line."
        "Follow that message: remove the stream from streams, or use the token of a service user whose scope has it. Roles don't matter here.";
    ADDRESS_REFUSED Error 126
        "Something in front of the service blocks this machine: a 400, 401, 403 or 451 that did not come from the service's API, usually a web page of an IP allow list, WAF or proxy. Its message is in the line. `run --once` exits with 75."
        "Allow the address that this machine connects from, or let the proxy pass both services. Leave the token as it is: nothing says that it is bad.";
    IN_DOUBT Warn 130
        "Coralogix answered a batch with success and a message that some of it was not accepted, or with a time by which its timestamps were too old or too far ahead on arrival. The batch is kept in doubt/ of the queue, a gap is recorded, and further batches are sent with growing delays until a response comes without such a message."
        "Read the message: usually a quota, an age limit or a blocking rule of the team; timestamps are too old after a pause of a virtual machine. When the cause is fixed: `s1-coralogix queue doubt list`, then `retry` sends a batch again, or `drop` discards it.";
    SINK_BLOCKED Error 131
        "Something between this machine and Coralogix answered with 401 or 403: a web page, or a message about an address, a network or a firewall rule. The API key was not checked. Records are kept in the queue."
        "Have the filter that the response names allow this machine to reach Coralogix.";
    GAP_IN_DOUBT Error 132
        "Coralogix reported that some records of a batch were not accepted, but not which; or its time shows that their timestamps were too old or too far ahead on arrival. The batch is stored in doubt/ of the queue with the response, and a gap is recorded for each of its streams."
        "See `s1-coralogix queue doubt list` and `show NAME`; then `retry` sends it again (records already accepted arrive twice), or `drop` discards it.";
    DOUBT_GIVEN_UP Error 133
        "doubt/ of the queue has reached its size limit, so the copy of its oldest batch was discarded. The gap stays recorded and is delivered again."
        "Fix the cause that the responses name, then `s1-coralogix queue doubt retry --all`.";
    ENDED_IN_DOUBT Error 134
        "`run --once` sent everything, and the last response said that some of its batch was not accepted, or showed that it was too old, or too far ahead, on arrival. That batch is kept in doubt/ of the queue."
        "`s1-coralogix queue doubt list` shows the response; when the cause is fixed, `queue doubt retry --all` and run again.";
    POSITION_AHEAD Warn 140
        "A stream's position was ahead of SentinelOne's clock, which would hide every record until then: a service sent a wrong time when the stream began, or a queue was restored. The position is set back as soon as all clocks agree, and what may have been skipped is recorded as a gap."
        "No action needed unless it lasts: then the clocks disagree; set the one that is wrong.";
    PAGES_LEAD_BACK Warn 141
        "SentinelOne's cursors lead back to pages that were read before, so the pages after them can't be reached now. The next poll tries again."
        "If it lasts, report it to the operator of the console, or of the proxy in front of it; reconciliation may find what is missing.";
    ORDER_IGNORED Warn 142
        "Rows arrive in another order than requested. The position moves only after a complete pass, so nothing is skipped, but an interrupted pass starts again."
        "Report to the operator of the console, or of the proxy in front of it, that sortBy and sortOrder are ignored.";
    FILTER_IGNORED Warn 143
        "Rows outside the requested range arrive. They are skipped, and reconciliation is off until the next start, because counts can't be trusted either. Each poll reads all of them again; the text says how many."
        "Report to the operator of the console, or of the proxy in front of it, that the time filter is ignored. Until that is corrected, set a longer poll_interval or polling.max_rate if traffic costs money.";
    START_AHEAD Error 144
        "`start` is in the future, so nothing would be collected. The stream is not started."
        "Correct `start` in the config. If `start` is right, this machine's clock is wrong: set it (NTP).";
    EMPTY_PAGES Warn 145
        "SentinelOne answers with one empty page after another, each with a new cursor. The poll was stopped after 100; the next one tries again."
        "If it lasts, report it to the operator of the console, or of the proxy in front of it.";
    CURSORS_REFUSED Warn 146
        "SentinelOne rejects its own cursors, and all records of a page have the same time, so that polling can't move past it. The records after it stay at SentinelOne."
        "If it lasts, report it to the operator of the console, or of the proxy in front of it: something shortens or changes the cursor.";
    CLOCKS_DISAGREE Warn 147
        "The clock of SentinelOne or Coralogix disagrees with this machine's and the other service's. Positions use the earliest plausible time, so nothing is skipped. While Coralogix' clock disagrees, records are sent without `timestamp`; their own times stay in their text."
        "Set the clock that is wrong: this machine's by NTP; for the console's, ask its operator, or that of the proxy in front of it; for Coralogix', look for a proxy or relay in between that sends its own Date.";
    GAP_POSITION Warn 148
        "The position of a stream was ahead of SentinelOne's clock and was set back. Records created before the time that is named may not have been collected."
        "Look in the console for records of the time before; to collect from further back, use a new integration name with `start`.";
    CURSORS_MISSING Warn 149
        "A page from SentinelOne is full and has no cursor, and what is behind it can't be requested by time or by its place either: too many records have the same time, or they arrive in no order. The records behind it stay at SentinelOne; the next poll tries again."
        "If it lasts, report it to the operator of the console, or of the proxy in front of it: `pagination.nextCursor` is removed or changed.";
    SINK_TELLS_NO_TIME Warn 150
        "Coralogix' responses have no Date, or an impossible one, so it is not known whether a record is too old for Coralogix. Records are sent without `timestamp` and get their arrival time; their own times stay in their text."
        "Look for a proxy or relay in between that removes the Date header, and have it pass it on. Nothing is lost meanwhile.";
    TIME_UNCONFIRMED Warn 151
        "No two of SentinelOne, Coralogix and this machine's clock have recently told the same time, so it comes from one of them alone, or from nowhere. A stream positioned by a wrong time would miss records without any sign of it. So once two agree, a stream goes back to the position that was confirmed last; a record that is known is not sent again."
        "Set this machine's clock (NTP, or a battery-backed clock). Where that is not possible, set `interval` in [heartbeat]: each heartbeat brings the time.";
    IDS_FULL Warn 153
        "SentinelOne has sent so many records whose time is in the future or can't be read that more of their ids can't be remembered. Such records move no position and are read again by each poll. To send none again and again, those whose ids are not remembered are not collected, and a gap (`ids_full`) notes their days. All other records are."
        "Have the console's clock corrected; records dated ahead are collected once their time has come. If their times can't be read, report it to SentinelOne, and look in the console for the records that are not collected.";
    COUNTS_MORE Warn 154
        "SentinelOne counts more records of a time than its list of the same time has, and than were collected; two rounds of reconciliation have found the same. Either its count or its list is wrong, and it is not known which, so the time is recorded and delivered as a gap (`unfetchable`). It is compared again by each round and listed again once a day; the state ends when the count agrees."
        "Compare the list in the console with what has arrived for the time of the gap. If the count of the API is wrong or its list has too few records, report it to SentinelOne, or to the operator of the proxy in front of it.";
    COUNTS_FAIL Warn 155
        "SentinelOne, or a device in front of it, has not answered the requests of reconciliation for a stream for a long time, while it answers its polls. So records that become visible late are not found meanwhile. They are requested ever more slowly; polling continues."
        "Read the response that is named. If the tenant does not offer counts, set integration.reconcile to \"0s\"; otherwise give the token the permission, or have the device let the requests with `countOnly` pass.";
}
