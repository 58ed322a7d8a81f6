# Completion of s1-coralogix for fish. Made from the declaration in src; tests/shipped writes it.

# Whether the words so far lead to this command and, if a place is named, so many arguments.
function __s1_coralogix_at
    set -l at ''
    set -l place 0
    set -l skip no
    for word in (commandline -opc)[2..-1]
        if test $skip = yes
            set skip no
            continue
        end
        switch $word
            case --config --limit --stream -c
                set skip yes
            case '-*'
            case '*'
                switch $at/$word
                    case /run /check /status /queue /queue/stats /queue/list /queue/show /queue/verify /queue/parked /queue/parked/list /queue/parked/show /queue/parked/retry /queue/parked/drop /queue/doubt /queue/doubt/list /queue/doubt/show /queue/doubt/retry /queue/doubt/drop /queue/export /queue/import /queue/adopt /config /config/show /explain /report /completions /version
                        set at $at/$word
                    case '*'
                        set place (math $place + 1)
                end
        end
    end
    test "$at" = "$argv[1]"; and test (count $argv) = 1 -o "$place" = "$argv[2]"
end

complete -c s1-coralogix -f
complete -c s1-coralogix -s c -l config -r -F -d 'the config to read'
complete -c s1-coralogix -s h -l help -d 'show a summary (-h) or the whole help (--help), of a command or of all'
complete -c s1-coralogix -s V -l version -d 'the version, and the commit it was built from'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a run -d 'collect from SentinelOne and deliver to Coralogix'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a check -d 'test the config and each step to both services'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a status -d 'show what the daemon is doing'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a queue -d 'inspect the queue, or move it'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a config -d 'show the settings in effect'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a explain -d 'explain a message by its code, or a state by its word'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a report -d 'write what support needs to know into a file'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a completions -d 'print the completion of a shell'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a version -d 'show the version, like --version'
complete -c s1-coralogix -n "__s1_coralogix_at '/run'" -l once -d 'catch up, deliver everything, and exit'
complete -c s1-coralogix -n "__s1_coralogix_at '/check'" -l offline -d 'test only what needs no network'
complete -c s1-coralogix -n "__s1_coralogix_at '/check'" -l json -d 'print one JSON document at the end, for scripts'
complete -c s1-coralogix -n "__s1_coralogix_at '/check'" -l strict -d 'exit with 1 if there are only warnings'
complete -c s1-coralogix -n "__s1_coralogix_at '/status'" -l json -d 'print it as JSON, for monitoring'
complete -c s1-coralogix -n "__s1_coralogix_at '/status'" -l alive -d 'check only whether the daemon works, for probes: 0 or 1'
complete -c s1-coralogix -n "__s1_coralogix_at '/status'" -s w -l watch -d 'refresh every two seconds until interrupted; with --json one line each'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue'" -a stats -d 'how much is waiting, by stream'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue'" -a list -d 'the waiting records, in order of delivery'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue'" -a show -d 'the history of one record, by its SentinelOne id'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue'" -a verify -d 'read every frame and check every checksum'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue'" -a parked -d 'the records that Coralogix rejected'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue'" -a doubt -d 'the batches that Coralogix may not have accepted in full'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue'" -a export -d 'write the whole queue to one file, for another machine'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue'" -a import -d 'import a file that export wrote'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue'" -a adopt -d 'keep or discard the positions of a changed integration'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/stats'" -l json -d 'print it as JSON'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/list'" -l stream -x -d 'only those of this stream, e.g. acme/threats'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/list'" -l limit -x -d 'at most this many, 50 by default; 0 for all'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/list'" -l json -d 'print it as JSON'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/parked'" -a list -d 'list them, with the reason'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/parked'" -a show -d 'show one in full'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/parked'" -a retry -d 'send one again, or all'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/parked'" -a drop -d 'discard one, or all'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/parked/list'" -l json -d 'print it as JSON'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/parked/retry'" -l all -d 'all of them'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/parked/drop'" -l all -d 'all of them'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/doubt'" -a list -d 'list them, with the response'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/doubt'" -a show -d 'show the records of one'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/doubt'" -a retry -d 'send one again, or all'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/doubt'" -a drop -d 'discard one, or all'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/doubt/list'" -l json -d 'print it as JSON'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/doubt/retry'" -l all -d 'all of them'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/doubt/drop'" -l all -d 'all of them'
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/export' 0" -F
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/import' 0" -F
complete -c s1-coralogix -n "__s1_coralogix_at '/queue/adopt'" -l begin-anew -d 'discard the positions, recording a gap'
complete -c s1-coralogix -n "__s1_coralogix_at '/config'" -a show -d 'show every setting in effect and where it is from'
complete -c s1-coralogix -n "__s1_coralogix_at '/config/show'" -l json -d 'print it as JSON'
complete -c s1-coralogix -n "__s1_coralogix_at '/report'" -l json -d 'as JSON, whatever the name of the file'
complete -c s1-coralogix -n "__s1_coralogix_at '/report' 0" -F
complete -c s1-coralogix -n "__s1_coralogix_at '/completions' 0" -a 'bash zsh fish'
