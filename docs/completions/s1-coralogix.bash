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
            --config | -c) skip=yes ;;
            -*) ;;
            *)
                case $at/$word in
                    /run | /check | /status) at=$at/$word ;;
                    *) ((++place)) ;;
                esac
                ;;
        esac
    done
    case $prev in
        -c | --config)
            words="FILES" at=value
            ;;
    esac
    if [[ $cur == -* ]]; then
        case $at in
            '') words="--config --help --version" ;;
            /run) words="--once --config --help --version" ;;
            /check) words="--offline --config --help --version" ;;
            /status) words="--json --config --help --version" ;;
        esac
    else
        case $at:$place in
            :*) words="run check status" ;;
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
