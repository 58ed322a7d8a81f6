//! Every bound of the program, with its unit last in the name and its source beside it.
//!
//! Promises: nothing that a remote party or a disk can grow is without one of these. Relations
//! between bounds are checked when the program is compiled.

/// Rows asked for in one page. Source: Management API v2.1, `limit`: 1 to 1000.
pub const PAGE_ROWS_MAX: u32 = 1_000;
/// Rows taken from one answer, whatever was asked for: twelve million `1`s would fit into
/// `PAGE_BYTES_MAX`, and each row costs memory beside its bytes.
pub const PAGE_ROWS_TAKEN_MAX: usize = 10 * PAGE_ROWS_MAX as usize;
/// The highest `totalItems` that was ever sent for activities, on tenants that have more.
pub const TOTAL_CAP: u64 = 50_000;
/// Real cursors have 300 bytes; a request line above 8 KiB is refused by common servers.
pub const CURSOR_BYTES_MAX: usize = 4 << 10;
/// The longest answer of SentinelOne that is taken, inflated. A page of the largest threats seen
/// (9.2 KB) is 9 MB; a longer one is asked for again with fewer rows.
pub const PAGE_BYTES_MAX: u64 = 24 << 20;
/// Of a page whose head says that it is longer, so much is read: enough for the first ids of a record.
pub const EXCESS_HEAD_BYTES: u64 = 16 << 10;
/// The least `polling.max_page`, and the least that any budget of memory comes to: records of a megabyte
/// were seen, in threats with macros.
pub const PAGE_BYTES_MIN: u64 = 1 << 20;
/// Bytes of a memory budget that are not for pages: the idle program, a batch, TLS, the index, the
/// system's buffers for sockets and files (measured, docs/PERFORMANCE.md).
pub const MEMORY_BESIDE_PAGES_BYTES: u64 = 14 << 20;
/// So many times a page of one record, which nothing compresses, is in memory at the worst: as a page that
/// is not stored yet, and another record as it is read from the queue and as it is sent. That is three, and
/// a fourth for what is kept: a quarter for the next page, and what glibc's allocator keeps; the shipped
/// binaries' keeps nothing so long (measured).
pub const MEMORY_OF_A_PAGE: u64 = 4;
/// Of a machine's memory this share is the program's: the rest is other programs' and the system's.
pub const MEMORY_SHARE: u64 = 3;
/// What is told of memory is a number or two, and no machine has less.
pub const MEMORY_FILE_BYTES_MAX: u64 = 64 << 10;
pub const MEMORY_BYTES_MIN: u64 = 4 << 20;
const _: () = assert!(PAGE_BYTES_MIN < PAGE_BYTES_MAX && PAGE_BYTES_MIN > PIECE_BYTES as u64);
/// The memory of a page that is kept for the next one at most, and a quarter of the longest page there
/// may be: most pages are 2 to 4 MB long.
pub const SPARE_BYTES_MAX: usize = 4 << 20;
/// What is longer than a frame is rendered, deflated and inflated in pieces of this length.
pub const PIECE_BYTES: usize = 64 << 10;
/// The longest answer of Coralogix that is read. A longer one is not Coralogix': none of the bodies
/// that systems of its kind give is longer than a few hundred bytes.
pub const SINK_ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How much of an unexpected answer is kept for a person to read.
pub const EXCERPT_BYTES_MAX: usize = 200;
/// How much of a name in a certificate is shown. Source: ub-common-name and ub-organization-name, RFC 5280
/// appendix A.1, which count characters; of other scripts fewer are shown.
pub const CERTIFICATE_NAME_BYTES_MAX: usize = 64;
/// How far a web page is looked into for what it says to a person; block pages begin with kilobytes
/// of style.
pub const PAGE_TEXT_BYTES_MAX: usize = 16 << 10;

/// An endpoint's name as `computerName`, as it stands in the JSON. A longer one is not a name; the
/// collector's host is named instead.
pub const COMPUTER_NAME_BYTES_MAX: usize = 256;

/// JSON in one frame before compression. Frames are the unit of reading, checking and sending.
pub const FRAME_RAW_BYTES_MAX: usize = 256 << 10;
/// A frame may exceed `FRAME_RAW_BYTES_MAX` only by holding a single record, and that never
/// exceeds a page rendered with every byte escaped to six (`\u0000`). It is never whole in memory but
/// deflated.
pub const FRAME_RAW_BYTES_CEILING: usize = 6 * PAGE_BYTES_MAX as usize + (1 << 20);
/// Entries in one frame.
pub const FRAME_ENTRIES_MAX: usize = PAGE_ROWS_MAX as usize;
/// Numbers of frames beyond this are damage: at one each microsecond it takes 146,000 years. Below it
/// no sum of them can overflow.
pub const FRAME_NUMBER_MAX: u64 = 1 << 62;
/// Names of integrations, so that a frame's header stays small.
pub const INTEGRATION_NAME_BYTES_MAX: usize = 64;
/// Application and subsystem: Coralogix publishes no limit; this is far above what is in use.
pub const LABEL_BYTES_MAX: usize = 128;
/// Files in the config's directory; one for each tenant is natural.
pub const CONFIG_FILES_MAX: usize = 1_000;
/// The config, all its files; the example with every setting is 6 KB.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// A file with a token or key; the longest tokens seen are JWTs of 1 KB.
pub const SECRET_FILE_BYTES_MAX: u64 = 16 << 10;
/// The least `queue.max_size`: the reserve, an index at work and a few log files fit into it.
pub const QUEUE_BYTES_MIN: u64 = 16 << 20;

/// A log file is closed for writing once it is this long.
pub const LOG_FILE_BYTES_MAX: u64 = 4 << 20;
/// An active log file with nothing left to deliver is given back once it is this long.
pub const LOG_FILE_KEEP_BYTES_MAX: u64 = 256 << 10;
/// Given up when the disk is full, so that draining can go on. To open the index, sled writes up to
/// 512 KiB and a snapshot (measured, docs/QUEUE.md).
pub const RESERVE_BYTES: u64 = 4 << 20;
/// sled's page cache. Measured: makes no difference from 1 MiB up with values this small.
pub const SLED_CACHE_BYTES: u64 = 2 << 20;
/// sled keeps 16 values in one page, and a page above 128 KiB becomes a file that is never synced, so
/// a value stays far below 8 KiB. A commit stays far below one segment of 512 KiB, because a power cut
/// inside a longer one can leave the index empty (measured, docs/QUEUE.md).
pub const INDEX_VALUE_BYTES_MAX: usize = 4 << 10;
pub const INDEX_COMMIT_BYTES_MAX: usize = 128 << 10;
/// When one question to the index takes longer, the disk is asked whether it is to blame. Where it
/// answers at once, and again after as long, the index is given up: over some damaged files sled
/// spins for ever. Opening takes 23 ms with a million records waiting (docs/QUEUE.md).
pub const INDEX_ANSWER_SECONDS_MAX: u64 = 20;
/// A disk that takes longer for a write of a few bytes and its fdatasync is slow; flash in order takes
/// milliseconds, an SD card that collects garbage seconds.
pub const DISK_QUICK_MS: u64 = 1_000;
/// By so much the kernel may delay the end of a wait of sled's threads. Each of the seven waits for work
/// for a second, again and again; work wakes them at once, as before. A 32-bit kernel takes 4.2 s.
pub const SLED_TIMER_SLACK_NS: u64 =
    if cfg!(target_pointer_width = "64") { 60_000_000_000 } else { 4_000_000_000 };
/// How often an index that is locked is tried again, and the pause between: sled's threads let go of
/// the file some milliseconds after its handle is gone, seconds on a box with more to do than it can.
pub const INDEX_LOCKED_TRIES_MAX: u32 = 200;
pub const INDEX_LOCKED_PAUSE_MS: u64 = 20;
const _: () =
    assert!(INDEX_LOCKED_TRIES_MAX as u64 * INDEX_LOCKED_PAUSE_MS < INDEX_ANSWER_SECONDS_MAX * 500);
/// Broken indexes replaced within one process before it gives up and lets the supervisor start a
/// fresh one: each leaves a leaked handle behind.
pub const INDEX_REPLACED_MAX: u32 = 3;
/// What `quarantine/` may hold; beyond it the oldest is removed, for P4 has no exception.
pub const QUARANTINE_BYTES_MAX: u64 = 32 << 20;

/// Ids remembered for one stream; beyond it the overlap gets shorter, never the memory larger.
pub const KNOWN_IDS_MAX: usize = 65_536;
/// How many of those may be of records that move no position, because they are dated in the future
/// or have an unreadable time: they stay until their time has come. The rest is for the overlap.
pub const UNPLACED_IDS_MAX: usize = KNOWN_IDS_MAX / 4 * 3;
/// Ids the queue keeps for one stream: a page and a chunk more than the core remembers, because the
/// core shortens the overlap one page after the ids came, and chunks go as a whole.
pub const STORED_IDS_MAX: usize = KNOWN_IDS_MAX + PAGE_ROWS_MAX as usize + KNOWN_IDS_CHUNK_MAX;
/// Ranges of time that one stream remembers as collected after a position that damage set back;
/// beyond it the shortest is forgotten, and collected again.
pub const COVERED_RANGES_MAX: usize = 64;
/// Keys of waiting records that are read after one damage; later ones count as not collected. That
/// is 20 MiB of tables, and more than the common `queue.max_size` holds.
pub const WAITING_KEYS_READ_MAX: usize = 1 << 20;
/// Ids in one index value: 16 bytes each.
pub const KNOWN_IDS_CHUNK_MAX: usize = 240;

/// Ids remembered for reconciliation, of all streams together: 2 MiB of index and memory. Each
/// stream has an equal share, within these bounds; a stream that has more records than its share
/// is compared sooner and no further back.
pub const TALLY_IDS_MAX: usize = 65_536;
pub const TALLY_IDS_OF_A_STREAM_MAX: usize = 32_768;
pub const TALLY_IDS_OF_A_STREAM_MIN: usize = 1_024;
/// Records created further apart than this are not in one chunk of those ids: chunks are forgotten as
/// a whole.
pub const TALLY_CHUNK_HOURS_MAX: u64 = 24;
/// Stale chunks of those ids removed in one commit.
pub const TALLY_CHUNKS_PER_COMMIT_MAX: usize = 256;
/// How far back SentinelOne is asked to count again: a record that becomes visible later than this
/// after its creation is not found.
pub const RECONCILE_BACK_HOURS: u64 = 7 * 24;

/// Failures of its requests in a row after which it is told that reconciliation compares nothing.
pub const RECONCILE_FAILURES_TOLD: u32 = 12;

/// What was created less than this ago, by SentinelOne's own clock, is not compared yet.
pub const RECONCILE_MARGIN_MINUTES: u64 = 5;
/// Requests of one round of one stream. A round that agrees takes two; finding one record among
/// 32,768 takes about twelve.
pub const RECONCILE_REQUESTS_MAX: u32 = 64;
/// A range of more pages than these is halved, not listed.
pub const RECONCILE_PAGES_MAX: u32 = 8;
/// A round may make this many more requests for each list or count that fails, and this many times
/// as many in all: a row that can't be fetched is found among those of a week in about twenty
/// lists, and tried in up to 32.
pub const UNLISTED_REQUESTS: u32 = 3;
pub const UNLISTED_ROUND_TIMES: u32 = 4;
/// After how many hours a second that could not be listed is listed again, and how many in one
/// round.
pub const UNLISTED_AGAIN_HOURS: u64 = 24;
pub const UNLISTED_AT_ONCE: usize = 8;
/// Requests of a round that follow each other at once, and the pace of the others; `retry.max` where that
/// is shorter.
pub const RECONCILE_REQUESTS_AT_ONCE: u32 = 4;
pub const RECONCILE_PACE_SECONDS: u64 = 15;
/// Bytes read of the file in which an init script says why settings could not be used.
pub const REFUSED_BYTES_MAX: u64 = 4 << 10;
/// Threats whose last change is remembered for one stream, to compare their number with SentinelOne's.
pub const CHANGED_IDS_MAX: usize = 2_048;
/// Differences that are remembered as explained, for one stream; without one a range is listed
/// once more and nothing is found.
pub const RECONCILE_SETTLED_MAX: usize = 1_024;

/// JSON in one request to Coralogix. Documented limit: 2 MB (MB or MiB, compressed or not: not
/// said), official SDKs: 1.5 MiB. A single larger record travels alone.
pub const BODY_RAW_BYTES_MAX: u64 = 3 << 19;
/// Entries in one request, so that the list of the current frames stays short.
pub const BODY_ENTRIES_MAX: u32 = 20_000;
/// After a 413 the limit falls to half the refused size, never below this.
pub const BODY_RAW_BYTES_MIN: u64 = 4 << 10;
/// JSON of the first request, if nothing was learned, so that the link's speed is known before much
/// is sent: compressed it takes half a minute at 2 kbit/s.
pub const BODY_RAW_BYTES_FIRST: u64 = 64 << 10;
/// Successes before a size grows again after a failure; each growth that fails doubles the number,
/// up to the second.
pub const SIZE_RAISE_AFTER: u32 = 2;
pub const SIZE_RAISE_AFTER_MAX: u32 = 4_096;
/// Full pages before a size that killed a process is tried again; each kill doubles the number, up
/// to the second.
pub const KILLED_RAISE_AFTER: u32 = 64;
pub const KILLED_RAISE_AFTER_MAX: u32 = 65_536;
/// A small transfer that took less than this part of the time limit shows nothing of the link's
/// speed: the connection and the service's own work take as long.
pub const PACE_SHOWS_PART: u64 = 16;
/// Fewer bytes than this within `network.timeout` are no progress: a peer that sends a byte now and
/// then is given up as soon as a silent one.
pub const PROGRESS_BYTES: u64 = 1 << 10;
/// The pause after reading the kernel's table of connections, as a multiple of the time that it
/// took: the table may be long.
pub const ACKNOWLEDGED_REST_TIMES: u64 = 20;
/// At which rejection a record is parked that is rejected alone, with an empty array accepted right
/// after each.
pub const LONE_REFUSALS: u32 = 4;
/// At which failure a record is parked that fails alone in a way that may be the sink's fault (5xx,
/// reset, silence), with an empty array accepted right after each; and how many times `retry.max`
/// (half an hour in all by default) have to pass since the first one. Where others around it are seen to
/// come or to be accepted between its failures, one such wait is enough.
pub const LONE_FAILURES: u32 = 8;
pub const LONE_WAITS: u32 = 6;
/// For how long it is known whether the sink refuses a key that nobody issued.
pub const KEY_CHECK_HOURS: u64 = 1;
/// How often in a row a sink says of one batch that it is busy, before an empty array is sent to
/// see whether it accepts anything.
pub const BATCH_BUSY_IN_A_ROW: u32 = 3;
/// Where a record fails alone and an empty array does not show that others are accepted, one behind
/// it is sent ahead of its turn, less than this many after it.
pub const AHEAD_ENTRIES_MAX: u32 = 64;
/// How many records may be accepted ahead of their turn. If the process ends before their turn, they
/// are sent again.
pub const AHEAD_MAX: usize = 24;
/// How many times as many tries replace that time in a process that never lives for so long
/// (`--once`, a device that is offline).
pub const LONE_TIMES: u32 = 4;
/// Bytes read of the file `learned`: a line has room for thousands of streams.
pub const LEARNED_BYTES_MAX: usize = 1 << 20;
/// Queues of other directories that one remembers as used before it, and the bytes read of that file:
/// there is room for thousands of streams.
pub const LEFT_BEHIND_MAX: usize = 8;
pub const LEFT_BEHIND_BYTES_MAX: usize = 1 << 20;
/// A look at such a queue that takes longer is given up: only headers of frames are read.
pub const LEFT_BEHIND_LOOK_SECONDS: u64 = 10;
/// Where the paths of the config lead: a look that takes longer is given up, and then they are compared
/// as texts.
pub const PLACES_LOOK_SECONDS: u64 = 2;
/// Each further record needs twice as many tries and twice the time of the last, while nothing else
/// is accepted in between; doubled this often at most (8 hours by default).
pub const LONE_DOUBLINGS_MAX: u32 = 4;
/// How often everything around a row that fails alone has to be seen as expected, each time after
/// the row itself failed, before it is passed over.
pub const LONE_CONFIRMS: u32 = 3;
/// The search for a row that can't be fetched ends at a range of this many milliseconds, or of what
/// the console's filter distinguishes, at most this many seconds. It begins with a step of this
/// many seconds, and without a known time it ends with a step of this many hours.
pub const BEYOND_GRAIN_MS: u64 = 1;
pub const BEYOND_GRAIN_SECONDS_MAX: u64 = 60;
pub const BEYOND_STEP_SECONDS: u64 = 1;
pub const BEYOND_STEP_HOURS_MAX: u64 = 20 * 366 * 24;
/// The longest step of that search after it has waited for time to pass, in hours.
pub const BEYOND_AGAIN_HOURS: u64 = 1;
/// SentinelOne lets no more rows be skipped in a query (swagger 2.1: `skip`, 0 to 1000).
pub const SKIP_MAX: u32 = 1_000;
/// The supervisor's watchdog is fed by steps of the loop, no more often than this.
pub const WATCHDOG_FED_MS: u64 = 1_000;
/// How many passes over the rows with nearly the stamp of a row that can't be fetched have to bring
/// nothing new before it is passed over.
pub const BEYOND_IDLE_PASSES: u32 = 2;
/// Rows with nearly the stamp of one that can't be fetched are requested 1, 2, 4, ... at once, at
/// most this many.
pub const BEYOND_ROWS_MAX: u32 = 256;
/// For how long further records that fail in the same way need not be tried over such a time again.
pub const BLAME_HOURS: u64 = 24;
/// Older than this, or further ahead, and an entry travels without `timestamp`: Coralogix drops
/// what is older than 24 h or more than 4 h ahead (IBM Cloud Logs limits), possibly with a 200.
pub const STAMP_AGE_HOURS_MAX: u64 = 23;
pub const STAMP_AHEAD_HOURS_MAX: u64 = 1;
/// What was older than this when it arrived, or further ahead, was dropped for all that is known.
pub const STAMP_DROPPED_AGE_HOURS: u64 = 24;
pub const STAMP_DROPPED_AHEAD_HOURS: u64 = 4;
const _: () = assert!(
    60 * STAMP_AGE_HOURS_MAX + STAMP_AHEAD_OF_SOURCE_MINUTES_MAX < 60 * STAMP_DROPPED_AGE_HOURS
);
/// A record longer than this is delivered whole and counted: Coralogix publishes no limit for
/// one record, its OEM says 32 K.
pub const LONG_RECORD_BYTES: usize = 30_000;
/// Records parked in a row without one accepted in between, before parking slows down to one a
/// `retry.max`: a sink that refuses everything is not made of poisoned records.
pub const PARKED_IN_A_ROW_MAX: u32 = 16;

/// An answer that says it is older is one that a cache repeats, and not of the present. `Age` has whole
/// seconds and counts the way too (RFC 9111 section 4.2.3); a poll is a minute by default.
pub const ANSWER_AGE_SECONDS_MAX: u64 = 60;
/// Retry-After is honoured up to a day: a daily quota is the longest wait with a reason.
pub const RETRY_AFTER_HOURS_MAX: u64 = 24;
/// The same where it is a date, which is as right as the one `Date` beside it.
pub const RETRY_AFTER_DATE_HOURS_MAX: u64 = 1;
/// A stamp further ahead of SentinelOne's own clock than this moves no position: a record dated
/// 2185 (one was seen) must not end the stream.
pub const STAMP_AHEAD_OF_SOURCE_MINUTES_MAX: u64 = 10;
/// Coralogix is asked for its time, with an empty array, no more often than this.
pub const TIME_ASKED_HOURS: u64 = 1;
/// No record is older: SentinelOne was founded in 2013. In seconds since 1970.
pub const RECORD_SECONDS_MIN: i64 = 1_356_998_400;
/// Answers of a tenant after which a stream begins at the earliest time they sent, though no two in
/// a row agreed.
pub const CLOCK_ANSWERS_MAX: u32 = 4;
/// So many rows have to rise, each over the one before it in the same query, before a console is believed to
/// keep the order. By chance that happens once in 39,916,800 times on one page, and once in 1,024 where
/// each page has two rows and the walk goes on by time.
pub const ORDER_SHOWN_BY_ROWS: u32 = 10;
/// Rows of a walk that are remembered, so that pages which lead back are recognised: 16 pages.
pub const PASSED_IDS_MAX: usize = 16 * PAGE_ROWS_MAX as usize;
/// Rows in a row without a new one, beyond those that are known or were passed, before pages are said to
/// lead in a circle.
pub const REPEATED_ROWS_MAX: usize = 100;
/// Where nobody tells the time, a stamp later than this after the program's date moves no position:
/// longer than any version is in use.
pub const UNKNOWN_TIME_AHEAD_HOURS_MAX: u64 = 20 * 366 * 24;
/// Walks in a row with a page that led on without a new record, before a position follows what came
/// after it: some may be missing from it, and the next walk brings them.
pub const BLANK_WALKS: u32 = 30;
/// Pages without a record in a row that are followed in one walk: a console may thin its pages after
/// it has cut them, but not for ever.
pub const EMPTY_PAGES_MAX: u32 = 100;
/// Cursors refused in one walk before it goes on by time without trying them.
pub const CURSORS_REFUSED_MAX: u32 = 2;
/// Redirects or rejections of pages with a cursor for which the cursor is blamed, while nothing new comes: more than a walk needs
/// that goes on by time.
pub const CURSORS_BLAMED_MAX: u32 = CURSORS_REFUSED_MAX + 1;
/// Rejections of pages with a cursor for which the cursor is blamed, after a search for a row that is rejected alone found
/// none: some hours at the longest wait, for the search takes many requests.
pub const CURSORS_BLAMED_AFTER_SEARCH: u32 = 100;
/// Rejections of a query of one row for which one request is made that no row answers, where that one was rejected too:
/// more often would be needless where the stream is not offered, less often would make a row wait that is rejected alone.
pub const QUERIES_REFUSED_A_TWIN: u32 = 8;
/// Failures of `/system/info` in a row that are not about the token, after which its tenant's streams go on without it.
pub const INFO_FAILURES_MAX: u32 = 3;
/// A record this far before the time asked for was not found by that stamp: SentinelOne's filter may
/// compare in whole seconds, but no more coarsely.
pub const SOURCE_COARSENESS_SECONDS: u64 = 1;
/// The earliest stamp that is one: 2013-01-01, when SentinelOne was founded. Null dates are written as
/// 1970, as the year 1, or as 1601.
pub const SOURCE_STAMP_MIN_SECONDS: i64 = 1_356_998_400;
/// A pipe that poll(2) calls writable takes so much without waiting. Source: PIPE_BUF, pipe(7).
pub const STDERR_PIECE_BYTES: usize = 4 << 10;
/// Lines of the log that wait for a file that is slow: as much as a pipe holds by default (pipe(7)).
pub const STDERR_WAITING_BYTES_MAX: usize = 64 << 10;
/// How often room on a full disk is measured again.
pub const ROOM_CHECK_SECONDS: u64 = 15;
/// How often a token's end is asked for.
pub const EXPIRY_CHECK_HOURS: u64 = 24;
/// Failures of one lane in a row before `run --once` gives up on it.
pub const ONCE_FAILURES_MAX: u32 = 4;
/// In `--once`, how often the question for an older record has to fail, each time right after a page
/// that came, until it is to blame: fewer than end the lane.
pub const ONCE_QUESTION_FAILURES_MAX: u32 = 3;
const _: () = assert!(ONCE_QUESTION_FAILURES_MAX < ONCE_FAILURES_MAX);
/// The same while it finds out what stands beside a row that is to blame.
pub const ONCE_FAILURES_BESIDE_MAX: u32 = 12;
/// And no wait is longer then, but one that SentinelOne asked for.
pub const ONCE_WAIT_BESIDE_SECONDS: u64 = 15;
/// So many of them do not count that are to be expected, as where bad rows stand side by side: eight for each
/// that stands behind another one, and up to six for each that is asked for by its place.
pub const BEYOND_EXPECTED_MAX: u32 = 64;
/// Each repair of the queue without a delivery in between doubles the rest after it, so often:
/// with the default `retry.min` to half a minute, so that a damaged file is still soon sorted out.
pub const REPAIRS_DOUBLING_MAX: u32 = 5;
/// Mendings of the queue without a delivery in between before `run --once` gives up.
pub const ONCE_REPAIRS_MAX: u32 = 16;
/// The status file is rewritten at least this often, so that a reader sees that the daemon lives.
pub const STATUS_SECONDS_MAX: u64 = 30;
/// The longest sleep, so that files and limits are looked at now and then.
pub const SLEEP_SECONDS_MAX: u64 = 60;

/// An idle connection is kept this long: three times the default `poll_interval`. The balancers and
/// translators that drop idle connections without a word wait longer (Azure 240 s, AWS 350 s); those
/// that wait less say so or are found out.
pub const IDLE_CONNECTION_SECONDS_MAX: u64 = 180;
/// So long every balancer and translator known keeps one: where an older one was found dead only by
/// a request, none older than this is used from then on.
pub const IDLE_CONNECTION_SURE_SECONDS: u64 = 20;
/// An idle connection is probed by the kernel after so long, then so often, and is dead after so many
/// probes without an acknowledgement: before the default `poll_interval` is over.
pub const IDLE_PROBE_SECONDS: u64 = 30;
pub const IDLE_PROBE_EVERY_SECONDS: u64 = 5;
pub const IDLE_PROBES: u32 = 3;
const _: () = assert!(IDLE_PROBE_SECONDS + IDLE_PROBE_EVERY_SECONDS * (IDLE_PROBES as u64) < 60);
const _: () = assert!(IDLE_CONNECTION_SURE_SECONDS < IDLE_CONNECTION_SECONDS_MAX);
/// What is asked on a connection that was idle for longer than the sure time has to be acknowledged
/// (not answered) within this: a living kernel does so at once, over the slowest link in a few seconds.
pub const IDLE_ACKNOWLEDGED_SECONDS_MAX: u64 = 10;
/// A wait for the network is cut into pieces this long, so that a request to stop is heard.
pub const NETWORK_WAIT_PIECE_MS: u64 = 1_000;
/// A delivery in flight gets this long to be answered after a request to stop; dropping it
/// earlier could deliver its records twice. Shorter than the ten seconds of container runtimes.
pub const STOP_GRACE_SECONDS: u64 = 8;
/// A process that was told to stop ends after this whatever it waits for: after the grace above, its
/// last piece of a wait and a commit, and before the ten seconds of container runtimes.
pub const STOP_MS_MAX: u64 = 9_500;
const _: () = assert!(STOP_GRACE_SECONDS * 1_000 + NETWORK_WAIT_PIECE_MS < STOP_MS_MAX);
/// What is to be reported at such an end may take so long; then it ends without it.
pub const LAST_WORDS_MS: u64 = 250;
/// How often a wait for a helping thread looks for a request to stop.
pub const STOP_LOOK_MS: u64 = 100;
/// A look at a secret file or `network.ca_file`, or a reading of the config while the program runs,
/// that takes longer is given up: what lies on a disk takes milliseconds, on a network a round trip
/// or two.
pub const SECRET_ANSWER_MS: u64 = 2_000;
/// So long the loop waits for the status file and that of the metrics to be written; if it takes
/// longer, they are written beside the loop. In memory, where they usually lie, it takes microseconds.
pub const REPORT_ANSWER_MS: u64 = 250;
/// The last content of each is waited for longer, so that a machine with much to do still says how it
/// ended; two of them, each behind an earlier one, are well within `STOP_MS_MAX`.
pub const REPORT_LAST_ANSWER_MS: u64 = 2_000;
const _: () = assert!(4 * REPORT_LAST_ANSWER_MS < STOP_MS_MAX);
/// Writing one of these files hangs, and that is reported, when it takes longer.
pub const REPORT_HANG_SECONDS: u64 = 10;
/// A step that only needs the queue's disk and takes longer is reported: this is far above what a card
/// takes that collects garbage.
pub const DISK_SLOW_SECONDS: u64 = 20;
/// ... but no more often.
pub const DISK_SLOW_TOLD_HOURS: u64 = 1;
/// How often it is looked whether a step takes that long.
pub const WATCH_SECONDS: u64 = 10;
/// Addresses of one name that are tried. ureq's own list holds no more than 16.
pub const ADDRESSES_MAX: usize = 16;
/// An address that did not answer is tried after the others for so long: it then costs a moment six
/// times an hour, and one that is back is soon used again.
pub const DEAF_ADDRESS_MINUTES: u64 = 10;
/// Such addresses remembered for one service; names that give others each time have no more in use.
pub const DEAF_ADDRESSES_MAX: usize = 4 * ADDRESSES_MAX;
/// The next address is begun so long after one that has not answered yet: the delay of RFC 8305 and
/// its upper bound, the latter for links that were seen to be slow.
pub const NEXT_ADDRESS_MS_MIN: u64 = 250;
pub const NEXT_ADDRESS_MS_MAX: u64 = 2_000;
/// The buffer of one connection in each direction, and so the longest header of an answer.
pub const CONNECTION_BUFFER_BYTES: usize = 64 << 10;
/// How often secret files are looked at while one is missing or was refused, and a config that is to
/// be read again and does not answer.
pub const CREDENTIAL_LOOK_MS: u64 = 1_000;
/// `network.ca_file` is no longer than this; the bundle of a whole system is 250 KB.
pub const CA_FILE_BYTES_MAX: u64 = 4 << 20;
/// `check` asks each stream for a page from this long ago, as a new `run` does by default.
pub const PROBE_BACK_HOURS: u64 = 24;
/// A page of fewer bytes says nothing of the link's pace: connections and the console's own work take as
/// long.
pub const SAMPLE_BYTES_MIN: u64 = 8 << 10;
/// Where a page is too large for the console, `check` tries one this many times smaller, then one row.
pub const SAMPLE_SMALLER: u32 = 10;
/// `check` asks for a new token when less than this is left, as the first warning of `run` does.
pub const TOKEN_END_WARN_DAYS: u64 = 30;
/// A clock that is off by more is reported: what it would harm (certificates' first and last minutes,
/// the retention of logs) begins about there, and no NTP client ever lets it come so far.
pub const CLOCK_OFF_MINUTES: u64 = 5;
/// For how many minutes Coralogix' `Date` judges the age of entries, from when it was received or a
/// tenant last sent a time that fits it. A pause of a virtual machine, which stops the monotonic
/// clock without a trace, is then found out before a batch is sent with the old time. Longer than
/// any usual `poll_interval`, so that a quiet link loses no timestamp.
pub const SINK_CLOCK_MINUTES_MAX: u64 = 60;
/// Two clocks that differ by more, and no third to say which is wrong, fail `check`: what is written by
/// either of them lands in another day's records.
pub const CLOCKS_APART_HOURS: u64 = 1;
/// The time kept over a power cut may be this old: one small write a day spares the flash, and
/// certificates are issued for weeks.
pub const CLOCK_KEPT_HOURS: u64 = 24;
/// A time as text has 20 bytes.
pub const CLOCK_FILE_BYTES_MAX: u64 = 64;
/// A server whose certificate does not fit this machine's clock is asked for its time no more often.
pub const CLOCK_DOUBT_MINUTES: u64 = 10;
/// The answer of which only the `Date` is wanted: a page of any console is shorter.
pub const DATE_ANSWER_BYTES_MAX: u64 = 1 << 20;

const _: () = assert!(FRAME_RAW_BYTES_MAX as u64 * 2 <= BODY_RAW_BYTES_MAX);
const _: () = assert!(KNOWN_IDS_CHUNK_MAX * 16 <= INDEX_VALUE_BYTES_MAX);
const _: () = assert!(25 + COVERED_RANGES_MAX * 16 <= INDEX_VALUE_BYTES_MAX);
const _: () = assert!(LOG_FILE_KEEP_BYTES_MAX < LOG_FILE_BYTES_MAX);
const _: () = assert!(RESERVE_BYTES + 2 * LOG_FILE_BYTES_MAX < QUEUE_BYTES_MIN);
const _: () = assert!(BODY_RAW_BYTES_MIN < BODY_RAW_BYTES_MAX);
const _: () = assert!(FRAME_RAW_BYTES_CEILING < u32::MAX as usize);

/// How often `checkpoint` is rewritten at most: it only shortens what is asked for again after the
/// index and the log are both damaged, and each rewrite costs the flash about 60 KB.
pub const CHECKPOINT_MINUTES_MIN: u64 = 5;
/// Ids of the overlap that `checkpoint` carries for each stream; without the rest they are only
/// delivered twice, after a damaged index.
pub const CHECKPOINT_KNOWN_IDS_MAX: usize = 8_192;
/// Kept free of records within `queue.max_size`, for what the index may grow to (0.5 to 1.3 MiB were
/// measured when this was chosen) and for a record to be parked when the queue is full.
pub const QUEUE_SLACK_BYTES: u64 = 2 << 20;
/// Polling stops when less than this is left below `queue.max_size`: about one common page.
pub const ROOM_MARGIN_BYTES: u64 = 512 << 10;
/// Frames in one request, so that an acknowledgement is one small commit.
pub const TAKE_FRAMES_MAX: usize = 1_024;
/// Keys of stale overlap ids removed in one commit; the rest goes with the next.
pub const STALE_CHUNKS_PER_COMMIT_MAX: usize = 512;
/// Starts in a row that did not survive opening the index before it is set aside.
pub const INDEX_OPEN_ATTEMPTS_MAX: u32 = 2;
/// What `doubt/` may hold: over two hundred common batches. Beyond it, or an eighth of a small
/// `queue.max_size`, the oldest is given up, for P4 has no exception.
pub const DOUBT_BYTES_MAX: u64 = 64 << 20;
/// What Coralogix said of a batch in doubt, as kept for a person.
pub const DOUBT_WORDS_BYTES_MAX: usize = 1 << 10;
/// A batch in doubt that never was in the log is named after an entry from here on, which no frame
/// has.
pub const DOUBT_ENTRY_MIN: u32 = 1 << 20;
const _: () = assert!(DOUBT_ENTRY_MIN as usize > FRAME_ENTRIES_MAX);
/// Why a record was parked, as kept for a person.
pub const PARKED_WHY_BYTES_MAX: usize = 1 << 10;

const _: () = assert!(TAKE_FRAMES_MAX * 64 <= INDEX_COMMIT_BYTES_MAX);
const _: () = assert!(TALLY_CHUNKS_PER_COMMIT_MAX * 64 <= INDEX_COMMIT_BYTES_MAX / 4);
const _: () = assert!(STALE_CHUNKS_PER_COMMIT_MAX * 64 <= INDEX_COMMIT_BYTES_MAX / 2);
/// An index longer than this is written anew once the queue is empty: sled gives nothing back by
/// itself (measured: 12 MiB after a million records, 2.5 MB in steady state, docs/QUEUE.md).
pub const INDEX_BYTES_MAX: u64 = 4 << 20;
/// While the disk is full, the reserve is tried for again after at most so many questions for
/// room: an hour at one every `ROOM_CHECK_SECONDS`.
pub const RESERVE_PAUSE_ASKED_MAX: u32 = 240;

/// How often one process writes an index anew because the one it had could not be written. Each leaks a handle and
/// its threads; the next process opens what counts.
pub const INDEX_NO_SPACE_MAX: u32 = 8;
/// A process that lived this long has settled: what follows is no crash loop.
pub const SETTLED_SECONDS: u64 = 60;
/// The pause where the loop finds something due that it can't do, which no test has seen: long enough
/// to spare the processor, short enough to delay nothing that matters.
pub const STALL_SECONDS: u64 = 1;
/// A page of a multiple of one of these rows may be cut by a limit of the console's own: 10, 20, 25, 50, 100 and
/// the like.
pub const CUT_AT: [usize; 2] = [10, 25];
/// A range is listed so often in one round, as long as more is counted after a list than it brought.
pub const RECONCILE_LISTS_MAX: u32 = 3;
/// Starts in a row that did not settle are counted up to this: with the shortest `retry.min` the wait
/// before the next one is then the longest `retry.max`.
pub const UNSETTLED_STARTS_MAX: u32 = 21;
/// Gaps kept one by one. Beyond it the oldest that were reported are folded to a number; where none was
/// reported yet, neighbours of one stream and reason become one. 256 of them are 40 KB of memory.
pub const GAPS_MAX: usize = 256;
/// The latest gaps in the status file: enough to see what goes on; all of them are records.
pub const GAPS_SHOWN_MAX: usize = 10;
/// Gaps reported in one page of the queue: their entries stay far below one frame.
pub const GAPS_TOLD_AT_ONCE: usize = 64;
/// How far behind SentinelOne's clock a walk begins before it is asked what the oldest record is
/// that it still has. The shortest retention known is weeks, a busy stream is minutes behind: a
/// day is never an ordinary poll, and well before anything is deleted.
pub const RETENTION_DOUBT_HOURS: u64 = 24;
/// Changes of a stream's name that are kept, the oldest going first. More than a person makes while one
/// queue is drained; one too few costs duplicates, and only once the index is lost.
pub const NAME_MOVES_MAX: usize = 256;
/// The address of a tenant that is kept to tell whether it changed: a host name has at most 253.
pub const TENANT_URL_BYTES_MAX: usize = 512;
/// Streams in one checkpoint: more than anyone has tenants, times three kinds.
pub const STREAMS_MAX: u32 = 20_000;
/// One part of an exported queue: the largest frame, or the ids of a stream.
pub const EXPORT_PART_BYTES_MAX: usize = 2 * FRAME_RAW_BYTES_CEILING + (1 << 20);

const _: () = assert!(STORED_IDS_MAX * 16 < EXPORT_PART_BYTES_MAX);
