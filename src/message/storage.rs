//! 2xx: the queue's directory, its log and its index.

super::codes! {
    QUEUE_LOCKED Error 201
        "Another process has the queue open."
        "Stop that process first, or set another queue.dir.";
    QUEUE_DENIED Error 202
        "The queue's directory can't be created, or something in it can't be read or written; the text names it."
        "Let the user that runs s1-coralogix own the directory and all in it (chown -R), on a file system mounted for writing; or run the command as that user (sudo).";
    QUEUE_DISK_FULL Error 203
        "The disk is too full to open the queue."
        "Free about 8 MiB on that file system and start again; nothing queued is lost.";
    QUEUE_NO_THREAD Error 204
        "The system does not let the process create a thread."
        "Raise the limit on processes or threads (ulimit -u, TasksMax) to at least 16.";
    QUEUE_FAILED Error 205
        "Neither the old index nor a new one works."
        "Check the disk (dmesg, smartctl). The records in log/ are kept as they are; a start on a healthy disk imports them.";
    QUEUE_GIVEN_UP Error 206
        "The index was replaced too often in one process."
        "Start again. If it happens again, check the disk (dmesg, smartctl) and memory.";
    CHECKPOINT_DAMAGED Warn 207
        "The checkpoint, a backup copy of the index, is damaged. It was moved to quarantine/; index and log are used."
        "No action needed. If it happens again, check the disk (dmesg, smartctl).";
    INDEX_REPLACED Warn 208
        "The index could not be used, usually after a power cut. A new one was built from the log; the old one is in quarantine/."
        "No action needed; some records may be delivered twice. If it happens again, check the disk (dmesg, smartctl).";
    PAGE_ADOPTED Warn 209
        "Records were in the log but not yet in the index when the last run was interrupted. They were added."
        "No action needed.";
    LOG_DAMAGED Warn 210
        "Frames are missing in the log, or damaged in its middle. Every stream goes back to before them, and SentinelOne is asked again."
        "Check the disk (dmesg, smartctl). Some records will be delivered twice.";
    LOG_TAIL_DROPPED Warn 211
        "The end of the log was cut off, usually by a power cut during a write. It was never counted, and SentinelOne is asked for it again."
        "No action needed.";
    FRAME_DAMAGED Error 212
        "A frame of the queue fails its checksum. It is moved to quarantine/, and SentinelOne is asked for its records again."
        "Check the disk (dmesg, smartctl): it returned other bytes than were written.";
    INDEX_FAILED Error 213
        "The index failed during operation. It is rebuilt from the log; nothing queued is lost."
        "If it happens again, check the disk (dmesg, smartctl) and whether it is full.";
    DISK_SLOW Warn 214
        "The disk of the queue took longer than 20 seconds for one operation, or has not completed it yet. Everything else waits and nothing is lost; a slow disk is not treated as a broken index. Reported at most once an hour."
        "Check the disk or SD card (dmesg, smartctl): worn-out cards do this. Or move queue.dir to a better one.";
    TENANT_CHANGED Error 220
        "The address of a tenant differs from the one that the positions of this integration belong to. Another tenant would be read from the wrong position, so none of its streams is polled; everything else continues."
        "With the daemon stopped: for the same tenant under a new address `s1-coralogix queue adopt NAME`, which keeps the positions; for another tenant `s1-coralogix queue adopt NAME --begin-anew`, or a new name for it. A mistyped address: correct it. If the text says that the earlier address is that of another integration, names or addresses were swapped: give each integration its former name back.";
    STREAM_ORPHANED Warn 221
        "The queue has the position of a stream that no integration in the config collects any more. The position is kept; waiting records of it are delivered."
        "If its integration was renamed: write name_was = \"OLD NAME\" into the new one and restart; if that is there and not followed, see S1C-E223. If it was removed for good: `s1-coralogix queue adopt NAME --begin-anew` with the daemon stopped discards it.";
    STREAM_ADOPTED Info 222
        "A stream was renamed, as name_was says: its position and its waiting records belong to the new name."
        "No action needed; name_was can be removed from the config.";
    STREAM_NOT_ADOPTED Error 223
        "name_was could not be followed: both names have positions, collected from two addresses. Nothing was changed."
        "If both are one tenant: `s1-coralogix queue adopt OLD NEW` with the daemon stopped; else remove name_was.";
    GAP_CONFIG_CHANGED Error 224
        "After a change of the config, a stream starts later than it was collected to under another name or in another queue.dir, or its position was discarded by hand. The time range is recorded and delivered as a gap."
        "If the integration was renamed: write name_was = \"OLD NAME\" into it and restart; the stream returns to the old position. After another queue.dir: set it back, and the stream continues there. Otherwise no action is needed.";
    GAP_UNFETCHABLE Error 225
        "SentinelOne could not return a record of a stream, or not in a readable form, in repeated requests for it alone, while it returned the records after it. Those were collected; the time range of the record is recorded and delivered as a gap. So is a time of which SentinelOne counts more records than it lists (S1C-W154)."
        "Look in the console for the records of that time. Contact SentinelOne's support about a record that exceeds the maximum page size or makes the console fail. Reconciliation collects it once it can be fetched.";
    QUEUE_SYSTEM Error 226
        "The system refused an operation of the queue: too many open files, no memory, no locks, an unreachable file server. The data on the disk is not in question, and nothing was changed."
        "Allow the process more (ulimit -n, ulimit -v, LimitNOFILE, MemoryMax), or repair the mount; then start again.";
    QUEUE_NEWER Error 227
        "A newer version of s1-coralogix wrote parts of the queue in a format that this one can't read. Nothing was changed, and nothing is lost."
        "Install that version again, or a newer one; or save the records with its `queue export` and start with an empty queue.dir.";
    GAP_DAMAGED Error 228
        "Records waiting in the queue were damaged on its disk, or part of its log is missing. SentinelOne is asked for them again; what it has changed or deleted since can't be restored. The gap is closed once each of them was collected again, or in a newer version. If it is not known any more which records they were, e.g. where the list of them was damaged too, it stays open: nothing closes it, and it costs nothing."
        "Check the disk (dmesg, smartctl). While the gap is open, look in the console for changes of that time; for a gap that stays open that is all there is to do.";
    IMPORT_UNFINISHED Warn 229
        "An import into the queue was interrupted, and the daemon was started before it was repeated. What was imported is delivered; SentinelOne is asked for the rest. Parked records and batches in doubt that were not imported are only in the file."
        "No action needed if SentinelOne still has the rest. Otherwise stop the daemon once everything waiting is delivered, and import the file into an empty queue.dir: records already delivered arrive twice.";
    INDEX_NO_SPACE Warn 230
        "The disk is too full to write the queue's index, even after the reserved space was released. Waiting records are still delivered from the log, and its files are deleted as they are delivered; polling, parking and counting are paused. SentinelOne keeps the records."
        "Free space on the file system of queue.dir. Once there is space for the index and the reserve, the daemon continues by itself.";
    INDEX_WRITTEN_AGAIN Info 231
        "There is space for the queue's index again: it records what was delivered without it, and polling continues."
        "No action needed.";
    QUEUE_NOT_AS_OWNER Error 232
        "Root started it, the queue's directory belongs to another user, and this process may not become that user. What root wrote there that user could not use, so nothing was changed."
        "Run it as the owner of the queue (systemd: User=, containers: --user), or allow CAP_SETUID and CAP_SETGID. To run as root, let root own the queue's directory.";
    IMPORT_ADDRESS_UNKNOWN Warn 233
        "The imported file does not say from which address the positions of an integration were collected: an earlier version wrote it, or never learned the address. The next run takes the address in the config for it."
        "Before the next run compare `tenant` of that integration in the config with that of the old machine. If it is another tenant, give it another name.";
}
