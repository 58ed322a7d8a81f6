//! 1xx: SentinelOne and Coralogix, and what is between.

super::codes! {
    BUSY Warn 101
        "The service asks for patience (HTTP 429, 503, Retry-After). It is asked again when it said, or ever more slowly."
        "Nothing is to be done if it passes. If it lasts: another client uses up the quota of the same token, or poll_interval is too short for the tenant.";
    UNREACHABLE Warn 102
        "No answer came: the name was not resolved, there is no route, the connection was refused, TLS failed, or it took too long. The text says which. Everything is kept."
        "Where the link is not meant to be up, nothing. Otherwise `s1-coralogix check` finds the step that fails.";
    BROKEN_ANSWER Warn 103
        "The service answers with an error of its own (5xx) or with what makes no sense. It is asked again ever more slowly."
        "If it lasts: look at the service's status page, and for a proxy that answers in its place.";
    QUERY_REFUSED Error 104
        "SentinelOne refuses the question itself (HTTP 400)."
        "Take the stream out of streams if the tenant does not have it; otherwise report it with the answer in the line.";
    MISDIRECTED Error 105
        "The address answers with a redirect, 404 or a web page: it is not the service's API."
        "Correct integration.tenant, coralogix.domain or coralogix.url; `s1-coralogix check` tells what is there.";
    SECRET_UNREADABLE Error 106
        "The file with the token or key is not there, can't be read, or holds none."
        "Write the token or key alone into the file that is named and let the user of the process read it. It is taken up without a restart.";
    TOKEN_REFUSED Error 107
        "SentinelOne's API does not accept the API token (HTTP 401, also of /system/info): it is mistyped, another console's, has ended, or was revoked. SentinelOne's words are in the line."
        "See first that the token file holds the token of this tenant, whole. Only if it does, generate a new one (Settings > Users > Service Users), which ends the old one at once, and put it into the token file; no restart is needed. Polling goes on from where it was.";
    PERMISSION_MISSING Error 108
        "The API token is valid, but its role lacks a permission (HTTP 403, or a 401 that /system/info does not confirm). SentinelOne's words are in the line."
        "Add the permission to the role of the service user (Settings > Users > Roles), or take the stream out of streams.";
    KEY_REFUSED Error 109
        "Coralogix does not accept the API key (HTTP 401 or 403). Records are kept in the queue."
        "Put a valid Send-Your-Data key of the same region into the key file (Settings > API Keys); no restart is needed.";
    REFUSES_EVERYTHING Error 110
        "Coralogix refused one record after the other, so the fault is not the records'. Further ones are parked slowly."
        "`s1-coralogix queue parked list` shows the answers. When the cause is gone: `s1-coralogix queue parked retry --all`.";
    QUEUE_FULL Warn 111
        "The queue has reached queue.max_size. Polling waits; nothing is dropped."
        "Delivery makes room. If it stands still, see why; if it is too slow, raise delivery.max_rate or queue.max_size. Mind how long SentinelOne keeps records.";
    DISK_LOW Warn 112
        "The file system has less free than queue.min_free. Polling waits; nothing is dropped."
        "Make room on that file system, or lower queue.min_free.";
    STORE_TROUBLE Error 113
        "The queue can't be written. The lines before it say why."
        "Check the disk: mounted for writing, not full, healthy (dmesg, smartctl).";
    WORKS_AGAIN Info 114
        "What was told to be in trouble works again."
        "Nothing is to be done.";
    CAUGHT_UP Info 115
        "The stream has read everything that SentinelOne had; from now on it polls."
        "Nothing is to be done.";
    TOKEN_ENDS_SOON Warn 116
        "The API token ends within 30 days. Told at 30, 14 and 7 days."
        "Generate a new one in time (Settings > Users > Service Users) and put it into the token file; no restart is needed.";
    TOKEN_ENDS_NOW Error 117
        "The API token ends within 3 days. Told at 3 days and 1 day."
        "Generate a new one now (Settings > Users > Service Users) and put it into the token file; no restart is needed.";
    LATE_RECORDS Warn 118
        "Reconciliation found records that had become visible after every poll had passed them. They are collected now."
        "Nothing is to be done. If it comes often, raise integration.overlap (docs/RECONCILIATION.md).";
    COUNT_REFUSED Warn 119
        "SentinelOne refuses to count, so reconciliation is off until the next start. Polling goes on."
        "Set integration.reconcile to \"0s\" if the tenant does not offer it, or give the token the permission that is named.";
    REMARK Warn 120
        "Coralogix accepted a batch with words beside the 200. Further ones are counted in `status` only."
        "Read the remark: most often a quota or a limit of the team is near.";
    PARKED Error 121
        "Coralogix refused one record for what it is, or failed at it again and again while an empty request was taken. It lies in parked/ of the queue with the answer, and a gap is noted."
        "`s1-coralogix queue parked list` and `show NAME`; then `retry` when the cause is gone, or `drop`.";
    GAP_RETENTION Error 122
        "By the time SentinelOne could be asked it no longer held records as old as needed. What it deleted in between is lost; the range is written down and delivered as a record."
        "Find out why the box was away so long. Threats and activities are kept for the time the licence says; shorten outages or raise retention.";
    GAP_PURGED Warn 123
        "A person dropped parked records. The gap is written down and delivered as a record."
        "Nothing is to be done.";
    STAMP_UNREADABLE Warn 124
        "The stamp of a record can't be read as a time, or is a null date (1970). The record is collected and delivered as it came, without timestamp; it moves no position, so polling reads from the last stamp that could be read. Told once a stream; the count is in `status`."
        "Report it with the record, which Coralogix has: its form is not known yet. A few records without a date do no harm; where it is all of them, each poll reads everything since `start` again.";
    SCOPE_MISSING Error 125
        "SentinelOne does not offer this to the scope of the API token (HTTP 403): the site or account does not have the product, or the token is of too low a level. SentinelOne's words are in the line."
        "Go by these words: take the stream out of streams, or use the token of a service user whose scope has it. No role helps, and the token is good.";
    ADDRESS_REFUSED Error 126
        "Something before the service refuses this machine: a 401, 403 or 451 that the service's API did not give, most often a web page of an IP allow list, WAF or proxy. What it says is in the line. `run --once` ends with 75."
        "Allow the address that this machine is seen with, or let the proxy pass both services. Leave the token as it is: nothing says that it is bad.";
    IN_DOUBT Warn 130
        "Coralogix answered a batch with success and with words that some of it was not taken. The batch is kept in doubt/ of the queue, a gap is noted, and what follows is sent ever more slowly until an answer comes without such words."
        "Read the words: most often a quota, an age limit or a blocking rule of the team. When the cause is gone: `s1-coralogix queue doubt list`, then `retry` sends a batch again, or `drop` gives it up.";
    SINK_BLOCKED Error 131
        "A web page with HTTP 403 came in the place of Coralogix: a proxy, a firewall or an address list refuses this machine. The API key was not judged. Records are kept in the queue."
        "Have the filter that the page names let this machine reach Coralogix, or allow its address there.";
    GAP_IN_DOUBT Error 132
        "Coralogix said of a batch that some of it was not taken, and not which records. The batch lies in doubt/ of the queue with the answer, and a gap is noted for each of its streams."
        "`s1-coralogix queue doubt list` and `show NAME`; then `retry` sends it again (what had been taken comes twice), or `drop` gives it up.";
    DOUBT_GIVEN_UP Error 133
        "doubt/ of the queue has reached its bound, so the copy of the oldest batch in it was given up. Its gap stays noted and is delivered again."
        "Remove the cause that the answers name, then `s1-coralogix queue doubt retry --all`.";
    ENDED_IN_DOUBT Error 134
        "`run --once` sent everything, and the last answer said that some of its batch was not taken. That batch is kept in doubt/ of the queue."
        "`s1-coralogix queue doubt list` shows the answer; when its cause is gone, `queue doubt retry --all` and run again.";
    POSITION_AHEAD Warn 140
        "A stream's position was ahead of SentinelOne's clock, which hides every record until then: a wrong time was told when the stream began, or a queue was restored. It is set back as soon as every clock says so, and what may have been passed over is a gap."
        "Nothing is to be done unless it lasts: then the clocks disagree, and the one that is wrong has to be set.";
    PAGES_LEAD_BACK Warn 141
        "SentinelOne's cursors lead back to pages that were read before, so what lies behind them can't be reached by this walk. The next poll tries again."
        "If it lasts, tell whoever runs the console, or the proxy in front of it; reconciliation may find what is missing.";
    ORDER_IGNORED Warn 142
        "Rows come in another order than was asked for. The position stands still until each walk is whole, so nothing is passed over, but an interrupted walk begins anew."
        "Tell whoever runs the console, or the proxy in front of it, that sortBy and sortOrder are ignored.";
    FILTER_IGNORED Warn 143
        "Rows come from outside of the range that was asked for. They are passed over, and reconciliation is off until the next start, for counts can't be trusted either."
        "Tell whoever runs the console, or the proxy in front of it, that the time filter is ignored.";
    START_AHEAD Error 144
        "`start` lies in the future, so nothing would be collected. The stream does not begin."
        "Correct `start` in the config. A wrong clock of this machine looks the same: then set it (NTP).";
    EMPTY_PAGES Warn 145
        "SentinelOne answers with one empty page after the other, each with another cursor. The walk was ended after 100; the next poll tries again."
        "If it lasts, tell whoever runs the console, or the proxy in front of it.";
    CURSORS_REFUSED Warn 146
        "SentinelOne refuses its own cursors, and one page holds records of a single time only, so that there is no way past it. What lies behind waits at SentinelOne."
        "If it lasts, tell whoever runs the console, or the proxy in front of it: something shortens or changes the cursor.";
    CLOCKS_DISAGREE Warn 147
        "SentinelOne's clock disagrees with this machine's and Coralogix'. Positions go by the earliest that is plausible, so nothing is passed over."
        "Set the clock that is wrong: this machine's by NTP; the console's is up to whoever runs it, or runs the proxy in front of it.";
    GAP_POSITION Warn 148
        "A stream stood ahead of SentinelOne's clock and was set back. What was created before the time that is named may not have been collected."
        "Look in the console for the time before; `start` reaches further back under a new integration name.";
    SINK_TELLS_NO_TIME Warn 150
        "Coralogix' answers have no Date, or an impossible one, so it is not known how old a record looks there. Records go without `timestamp` and are dated by their arrival; their own times stay in their text."
        "Look for a proxy or relay in between that takes the Date off its answers, and have it pass it on. Nothing is lost meanwhile.";
    TIME_UNCONFIRMED Warn 151
        "This machine has no clock that can be right, and Coralogix has not told the time lately, so only SentinelOne says what time it is, or nobody. A stream that stands by a wrong time would miss records, and nothing would show it."
        "Give this machine the time (NTP, or a battery for its clock). Where that can't be, set `interval` below [heartbeat]: each one brings the time.";
}
