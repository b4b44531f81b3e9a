# SPDX-License-Identifier: MIT OR Apache-2.0
# Completion of asyncmem for bash.

_asyncmem() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local command='' word options
	COMPREPLY=()

	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $word in
		types | plan | snapshot | run | report) command=$word; break ;;
		esac
	done

	case $previous in
	--sort) mapfile -t COMPREPLY < <(compgen -W 'size waste name' -- "$current"); return ;;
	--by) mapfile -t COMPREPLY < <(compgen -W 'type task site await time' -- "$current"); return ;;
	--group) mapfile -t COMPREPLY < <(compgen -W 'type await variable' -- "$current"); return ;;
	--color) mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$current"); return ;;
	--stacks) mapfile -t COMPREPLY < <(compgen -W 'all sampled sampled= none' -- "$current"); return ;;
	--report | --symbols | --core | --exe | --output | -o) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
	--min-bytes | --match | --top | --task | --every | --count | --stop-limit | --checkpoint) return ;;
	esac

	case $command in
	types) options='--json --min-bytes --match --sort --top --all --full-names --symbols --no-cache --color --help' ;;
	plan) options='--json --no-cache --symbols --color --help' ;;
	snapshot) options='--core --exe --symbols --json --task --match --group --top --every --count --no-heap --stop-limit --output --no-cache --color --help' ;;
	run) options='--output --report --json --no-report --follow-children --stacks --checkpoint --help' ;;
	report) options='--json --by --match --task --top --all --group --color --help' ;;
	*) options='types snapshot run plan report --help --version' ;;
	esac

	if [[ $current == -* || -z $command ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
	elif [[ $command == snapshot ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(ps -eo pid=)" -- "$current")
	else
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
	fi
}

complete -F _asyncmem asyncmem
