# SPDX-License-Identifier: MIT OR Apache-2.0
# Completion of asyncmem for fish.

set -l commands types snapshot run plan report

complete -c asyncmem -f -n "not __fish_seen_subcommand_from $commands" -a types \
    -d 'List every future type with what it keeps at each await'
complete -c asyncmem -f -n "not __fish_seen_subcommand_from $commands" -a plan \
    -d 'Show what can be read from a binary'
complete -c asyncmem -f -n "not __fish_seen_subcommand_from $commands" -a report -d 'Show what a run did, or a snapshot'
complete -c asyncmem -f -n "not __fish_seen_subcommand_from $commands" -a snapshot \
    -d 'Show the tasks of a process or core at their awaits'
complete -c asyncmem -f -n "not __fish_seen_subcommand_from $commands" -a run \
    -d 'Run a program and record its allocations by task'
complete -c asyncmem -f -n "not __fish_seen_subcommand_from $commands" -l version -d 'Print the version'
complete -c asyncmem -l help -d 'Print a summary'

complete -c asyncmem -F -n "__fish_seen_subcommand_from $commands"
complete -c asyncmem -n "__fish_seen_subcommand_from $commands" -l json -d 'Print one JSON document'
complete -c asyncmem -n "__fish_seen_subcommand_from types plan snapshot" -l no-cache \
    -d 'Neither read nor write the cache'
complete -c asyncmem -n "__fish_seen_subcommand_from types plan snapshot" -r -F -l symbols \
    -d 'Take layouts from this file'
complete -c asyncmem -n "__fish_seen_subcommand_from $commands" -x -l color -a 'auto always never' \
    -d 'Whether to use colour'

complete -c asyncmem -n "__fish_seen_subcommand_from types" -x -l min-bytes -d 'Leave out smaller futures'
complete -c asyncmem -n "__fish_seen_subcommand_from types" -x -l match \
    -d 'Keep futures whose full name contains the text'
complete -c asyncmem -n "__fish_seen_subcommand_from types" -x -l sort -a 'size waste name' \
    -d 'What to order by'
complete -c asyncmem -n "__fish_seen_subcommand_from types" -x -l top -d 'Show the first N futures'
complete -c asyncmem -n "__fish_seen_subcommand_from types" -l all -d 'Show all futures'
complete -c asyncmem -n "__fish_seen_subcommand_from types" -l full-names \
    -d 'Print names with all generic arguments'

complete -c asyncmem -n "__fish_seen_subcommand_from snapshot report" -x -l task -d 'Show one task whole'
complete -c asyncmem -n "__fish_seen_subcommand_from snapshot report" -x -l match \
    -d 'Keep tasks with the text in a name, file or status'
complete -c asyncmem -n "__fish_seen_subcommand_from snapshot report" -x -l group -a 'type await variable' \
    -d 'What to group by'
complete -c asyncmem -n "__fish_seen_subcommand_from snapshot report" -x -l top -d 'Show the first N groups'

complete -c asyncmem -f -n "__fish_seen_subcommand_from snapshot" -a '(__fish_complete_pids)'
complete -c asyncmem -n "__fish_seen_subcommand_from snapshot" -r -F -l core -d 'Read a core file'
complete -c asyncmem -n "__fish_seen_subcommand_from snapshot" -r -F -l exe \
    -d 'The program that left the core'
complete -c asyncmem -n "__fish_seen_subcommand_from snapshot" -x -l every -d 'Again every S seconds'
complete -c asyncmem -n "__fish_seen_subcommand_from snapshot" -x -l count -d 'How often'
complete -c asyncmem -n "__fish_seen_subcommand_from snapshot" -l no-heap \
    -d 'Leave out what tasks hold in the heap'
complete -c asyncmem -n "__fish_seen_subcommand_from snapshot" -x -l stop-limit \
    -d 'Leave it out if it would stop the process for longer'
complete -c asyncmem -n "__fish_seen_subcommand_from snapshot" -r -F -s o -l output \
    -d 'Keep the snapshot in a file'

complete -c asyncmem -n "__fish_seen_subcommand_from run" -r -F -s o -l output \
    -d 'Keep the recording in a file'
complete -c asyncmem -n "__fish_seen_subcommand_from run" -r -F -l report -d 'Write the report to a file'
complete -c asyncmem -n "__fish_seen_subcommand_from run" -l no-report -d 'Record only'
complete -c asyncmem -n "__fish_seen_subcommand_from run" -l follow-children -d 'Record its children, too'
complete -c asyncmem -n "__fish_seen_subcommand_from run" -x -l stacks -a 'all sampled none' \
    -d 'Of which allocations'
complete -c asyncmem -n "__fish_seen_subcommand_from run" -x -l checkpoint \
    -d 'Write the recording every S seconds'
complete -c asyncmem -n "__fish_seen_subcommand_from report" -x -l by -a 'type task site await time' \
    -d 'One table of a run, longer'
complete -c asyncmem -n "__fish_seen_subcommand_from report" -l all -d 'Every line of each table'
