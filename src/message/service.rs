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
        "SentinelOne does not accept the API token (HTTP 401): it has ended, was revoked, or is another console's."
        "Generate a new token (Settings > Users > Service Users) and put it into the token file; no restart is needed. Polling goes on from where it was.";
    PERMISSION_MISSING Error 108
        "The API token is valid but may not read this stream (HTTP 403)."
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
        "Coralogix refused one record for what it is. It lies in parked/ of the queue with the answer, and a gap is noted."
        "`s1-coralogix queue parked list` and `show NAME`; then `retry` when the cause is gone, or `drop`.";
    GAP_RETENTION Error 122
        "By the time SentinelOne could be asked it no longer held records as old as needed. What it deleted in between is lost; the range is written down and delivered as a record."
        "Find out why the box was away so long. Threats and activities are kept for the time the licence says; shorten outages or raise retention.";
    GAP_PURGED Warn 123
        "A person dropped parked records. The gap is written down and delivered as a record."
        "Nothing is to be done.";
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
}
