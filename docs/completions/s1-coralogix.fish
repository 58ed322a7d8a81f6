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
            case --config -c
                set skip yes
            case '-*'
            case '*'
                switch $at/$word
                    case /run /check /status
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
complete -c s1-coralogix -s h -l help -d 'this text, or that of a command'
complete -c s1-coralogix -s V -l version -d 'the version, and the commit it was built from'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a run -d 'collect from SentinelOne and deliver to Coralogix'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a check -d 'test the config and each step to both services'
complete -c s1-coralogix -n "__s1_coralogix_at ''" -a status -d 'show what the daemon is doing'
complete -c s1-coralogix -n "__s1_coralogix_at '/run'" -l once -d 'catch up, deliver everything, and exit'
complete -c s1-coralogix -n "__s1_coralogix_at '/check'" -l offline -d 'test only what needs no network'
complete -c s1-coralogix -n "__s1_coralogix_at '/status'" -l json -d 'print it as JSON, for monitoring'
