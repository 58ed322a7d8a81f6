//! 2xx: the queue's directory, its log and its index.

super::codes! {
    QUEUE_LOCKED Error 201
        "Another process has the queue open."
        "Stop that one first, or set another queue.dir.";
    QUEUE_DENIED Error 202
        "The queue's directory can't be created or written."
        "Let the user that runs s1-coralogix own the directory (chown), on a file system that is mounted for writing.";
    QUEUE_DISK_FULL Error 203
        "The disk is so full that the queue can't even be opened."
        "Free about 8 MiB on that file system and start again; nothing queued is lost.";
    QUEUE_NO_THREAD Error 204
        "The system grants the process no thread."
        "Raise the limit on processes or threads (ulimit -u, TasksMax) to at least 16.";
    QUEUE_FAILED Error 205
        "Neither the old index nor a new one works."
        "Check the disk (dmesg, smartctl). The records in log/ are kept as they are; a start on a sound disk adopts them.";
    QUEUE_GIVEN_UP Error 206
        "The index was replaced too often in one process."
        "Start again. If it comes back, check the disk (dmesg, smartctl) and memory.";
    CHECKPOINT_DAMAGED Warn 207
        "The checkpoint, a copy for the worst day, is damaged. It was set aside in quarantine/; index and log are used."
        "Nothing is to be done. If it comes back, check the disk (dmesg, smartctl).";
    INDEX_REPLACED Warn 208
        "The index could not be used, most often after a power cut. A new one was built from the log; the old one lies in quarantine/."
        "Nothing is to be done; some records may be delivered a second time. If it comes back, check the disk (dmesg, smartctl).";
    PAGE_ADOPTED Warn 209
        "Records were in the log and not yet in the index when the last run was cut off. They were taken in."
        "Nothing is to be done.";
    LOG_DAMAGED Warn 210
        "Frames are missing or damaged in the middle of the log. Every stream goes back to before them, and SentinelOne is asked again."
        "Check the disk (dmesg, smartctl). Some records will be delivered a second time.";
    LOG_TAIL_DROPPED Warn 211
        "The end of the log was cut off, most often by a power cut within a write. It was never counted, and SentinelOne is asked for it again."
        "Nothing is to be done.";
    FRAME_DAMAGED Error 212
        "A frame of the queue fails its checksum. It is set aside in quarantine/, and SentinelOne is asked for its records again."
        "Check the disk (dmesg, smartctl): it returns other bytes than were written.";
    INDEX_FAILED Error 213
        "The index failed in the middle of the work. It is rebuilt from the log; nothing queued is lost."
        "If it comes back, check the disk (dmesg, smartctl) and whether it is full.";
    DISK_SLOW Warn 214
        "The disk of the queue took longer than 20 seconds for one step, or still has not answered. Nothing else is done meanwhile and nothing is lost; a slow disk is not taken for a broken index. Told at most once an hour."
        "Check the disk or card (dmesg, smartctl): cards near their end do this. Or set queue.dir to a better one.";
    TENANT_CHANGED Error 220
        "The address of a tenant is not the one that the positions under the integration's name were collected from. Another tenant would be read from the wrong place, so none of its streams is polled; everything else goes on."
        "With the daemon stopped: for the same tenant under a new address `s1-coralogix queue adopt NAME`, which keeps the positions; for another tenant `s1-coralogix queue adopt NAME --begin-anew`, or a new name for it. A mistyped address: correct it.";
    STREAM_ORPHANED Warn 221
        "The queue has the position of a stream that no integration of the config collects any more. It stays; what waits of it is delivered."
        "If its integration was renamed: write name_was = \"OLD NAME\" into the new one and restart. If it was removed for good: `s1-coralogix queue adopt NAME --begin-anew` with the daemon stopped forgets it.";
    STREAM_ADOPTED Info 222
        "A stream has another name now, as name_was says: its position and what waits of it are those of the new name."
        "Nothing is to be done; name_was may be removed from the config.";
    STREAM_NOT_ADOPTED Error 223
        "name_was could not be followed: both names have positions, collected from two addresses. Nothing was changed."
        "If both are one tenant: `s1-coralogix queue adopt OLD NEW` with the daemon stopped; else remove name_was.";
    GAP_CONFIG_CHANGED Error 224
        "The config was changed so that a stream begins later than its tenant was collected to under another name, or its position was given up by hand. The range is written down and delivered as a record."
        "If the integration was renamed: write name_was = \"OLD NAME\" into it and restart; the stream goes back to the old position. Else nothing is to be done.";
    GAP_UNFETCHABLE Error 225
        "SentinelOne could not give a record of a stream, or not in a form that can be read, in request after request for it alone, while the records after it came. Those were collected; the range with the record is written down and delivered as a gap."
        "Look in the console for the records of that time. A record longer than the bound of a page, or one that makes the console fail, is a case for SentinelOne's support. Reconciliation collects it once it can be fetched.";
    QUEUE_SYSTEM Error 226
        "The system refused what the queue asked of it: too many open files, no memory, no locks, a file server that is away. It says nothing of what is on the disk, and nothing was changed."
        "Allow the process more (ulimit -n, ulimit -v, LimitNOFILE, MemoryMax), or mend the mount; then start again.";
    QUEUE_NEWER Error 227
        "A newer version of s1-coralogix wrote some of the queue, in a form that this one can't read. Nothing was changed, and nothing is lost."
        "Install that version again, or a newer one; or write the records with its `queue export` and start with an empty queue.dir.";
    GAP_DAMAGED Error 228
        "Records that waited in the queue were damaged on its disk, or part of its log is missing. SentinelOne is asked for them again; what it has changed or deleted since can't be had as it was. The gap is closed once each of them came again, or in a newer version."
        "Check the disk (dmesg, smartctl). Until the gap is closed, look in the console for the changes of that time.";
    IMPORT_UNFINISHED Warn 229
        "An import into the queue was cut short, and the daemon was started before it was repeated. What was taken over is delivered; SentinelOne is asked for the rest. Parked records and batches in doubt that were not taken over are only in the file."
        "Nothing is to be done where SentinelOne still has the rest. Else stop the daemon once what waits is delivered, and import the file into an empty queue.dir: what was delivered comes twice.";
    INDEX_NO_SPACE Warn 230
        "The disk is so full that the queue's index can't be written, even after what is held back for this was given up. What waits is delivered from the log all the same, and its files are given back; nothing is polled, set aside or counted meanwhile. SentinelOne keeps the records."
        "Free space on the file system of queue.dir. Once there is space for the index and what is held back, the daemon goes on by itself.";
    INDEX_WRITTEN_AGAIN Info 231
        "There is space for the queue's index again: it says what was delivered without it, and polling goes on."
        "Nothing is to be done.";
}
