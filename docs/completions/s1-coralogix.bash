# Completion of s1-coralogix for bash. Made from the declaration in src; tests/shipped writes it.

_s1_coralogix() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local at= place=0 skip= word words= i
    # A value after = comes as a word of its own.
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $skip ]]; then
            [[ $word == = ]] || skip=
            continue
        fi
        case $word in
            --config | --limit | --stream | -c) skip=yes ;;
            -*) ;;
            *)
                case $at/$word in
                    /run | /check | /status | /queue | /queue/stats | /queue/list | /queue/show | /queue/verify | /queue/parked | /queue/parked/list | /queue/parked/show | /queue/parked/retry | /queue/parked/drop | /queue/doubt | /queue/doubt/list | /queue/doubt/show | /queue/doubt/retry | /queue/doubt/drop | /queue/export | /queue/import | /queue/adopt | /config | /config/show | /explain | /report | /completions | /version) at=$at/$word ;;
                    *) ((++place)) ;;
                esac
                ;;
        esac
    done
    case $prev in
        -c | --config)
            words="FILES" at=value
            ;;
        --stream)
            words="" at=value
            ;;
        --limit)
            words="" at=value
            ;;
    esac
    if [[ $cur == -* ]]; then
        case $at in
            '') words="--config --help --version" ;;
            /run) words="--once --config --help --version" ;;
            /check) words="--offline --json --strict --config --help --version" ;;
            /status) words="--json --alive --watch --config --help --version" ;;
            /queue) words="--config --help --version" ;;
            /queue/stats) words="--json --config --help --version" ;;
            /queue/list) words="--stream --limit --json --config --help --version" ;;
            /queue/show) words="--config --help --version" ;;
            /queue/verify) words="--config --help --version" ;;
            /queue/parked) words="--config --help --version" ;;
            /queue/parked/list) words="--json --config --help --version" ;;
            /queue/parked/show) words="--config --help --version" ;;
            /queue/parked/retry) words="--all --config --help --version" ;;
            /queue/parked/drop) words="--all --config --help --version" ;;
            /queue/doubt) words="--config --help --version" ;;
            /queue/doubt/list) words="--json --config --help --version" ;;
            /queue/doubt/show) words="--config --help --version" ;;
            /queue/doubt/retry) words="--all --config --help --version" ;;
            /queue/doubt/drop) words="--all --config --help --version" ;;
            /queue/export) words="--config --help --version" ;;
            /queue/import) words="--config --help --version" ;;
            /queue/adopt) words="--begin-anew --config --help --version" ;;
            /config) words="--config --help --version" ;;
            /config/show) words="--json --config --help --version" ;;
            /explain) words="--config --help --version" ;;
            /report) words="--json --config --help --version" ;;
            /completions) words="--config --help --version" ;;
            /version) words="--config --help --version" ;;
        esac
    else
        case $at:$place in
            :*) words="run check status queue config explain report completions version" ;;
            /queue:*) words="stats list show verify parked doubt export import adopt" ;;
            /queue/show:0) words="" ;;
            /queue/parked:*) words="list show retry drop" ;;
            /queue/parked/show:0) words="" ;;
            /queue/parked/retry:0) words="" ;;
            /queue/parked/drop:0) words="" ;;
            /queue/doubt:*) words="list show retry drop" ;;
            /queue/doubt/show:0) words="" ;;
            /queue/doubt/retry:0) words="" ;;
            /queue/doubt/drop:0) words="" ;;
            /queue/export:0) words="FILES" ;;
            /queue/import:0) words="FILES" ;;
            /queue/adopt:0) words="" ;;
            /queue/adopt:1) words="" ;;
            /config:*) words="show" ;;
            /explain:0) words="" ;;
            /report:0) words="FILES" ;;
            /completions:0) words="bash zsh fish" ;;
        esac
    fi
if [[ $words == FILES ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    fi
}

complete -F _s1_coralogix s1-coralogix
