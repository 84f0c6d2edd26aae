complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l serve
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l nodes
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l speed
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l unassigned
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l tour
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l pictures
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l theme
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l ascii
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l mouse
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l low-bandwidth
complete -c dsv4-console -n '__fish_seen_subcommand_from demo' -l no-hints
complete -c dsv4-console -n '__fish_seen_subcommand_from layouts' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from layouts' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from validate' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from validate' -l explain
complete -c dsv4-console -n '__fish_seen_subcommand_from validate' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from plan' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from plan' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from plan' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from plan' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from plan' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from plan' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from plan' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l swap
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l move
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l take
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l size
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l reset
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l auto
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l undo
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l redo
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from assign' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from import' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from import' -l name
complete -c dsv4-console -n '__fish_seen_subcommand_from import' -l version
complete -c dsv4-console -n '__fish_seen_subcommand_from import' -l set
complete -c dsv4-console -n '__fish_seen_subcommand_from import' -l hardware
complete -c dsv4-console -n '__fish_seen_subcommand_from import' -l save
complete -c dsv4-console -n '__fish_seen_subcommand_from import' -l force
complete -c dsv4-console -n '__fish_seen_subcommand_from upgrade' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from upgrade' -l to
complete -c dsv4-console -n '__fish_seen_subcommand_from upgrade' -l from
complete -c dsv4-console -n '__fish_seen_subcommand_from upgrade' -l save
complete -c dsv4-console -n '__fish_seen_subcommand_from upgrade' -l force
complete -c dsv4-console -n '__fish_seen_subcommand_from upgrade' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from upgrade' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from export' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from export' -l format
complete -c dsv4-console -n '__fish_seen_subcommand_from export' -l save
complete -c dsv4-console -n '__fish_seen_subcommand_from export' -l force
complete -c dsv4-console -n '__fish_seen_subcommand_from export' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from export' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from export' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from export' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from export' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from diagnose' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from diagnose' -l signatures
complete -c dsv4-console -n '__fish_seen_subcommand_from diagnose' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l network
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l full-mesh
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l last
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l all
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from preflight' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l verbose
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l takeover
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from containers' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l undo
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l verbose
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l takeover
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from tune' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l from
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l verbose
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l takeover
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from weights' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l no-wait
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l override
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l verbose
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l takeover
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from start' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l no-wait
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l unmanaged
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l yes-stop
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l drain
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l verbose
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l takeover
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from stop' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l no-wait
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l drain
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l rolling
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l override
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l verbose
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l takeover
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from restart' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l no-wait
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l unmanaged
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l yes-stop
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l verbose
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l takeover
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from kill' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l on
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l no-wait
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l drain
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l override
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l verbose
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l takeover
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from scale' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l verbose
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l takeover
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from sync-proxy' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from auto-restart' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from auto-restart' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from auto-restart' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from auto-restart' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from auto-restart' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from auto-restart' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from auto-restart' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from watch' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from watch' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from watch' -l alerts
complete -c dsv4-console -n '__fish_seen_subcommand_from watch' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from watch' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from watch' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from watch' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from watch' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from keys' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from keys' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from status' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from status' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from status' -l prove
complete -c dsv4-console -n '__fish_seen_subcommand_from status' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from status' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from status' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from status' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from status' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from verify' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from verify' -l prompt
complete -c dsv4-console -n '__fish_seen_subcommand_from verify' -l requests
complete -c dsv4-console -n '__fish_seen_subcommand_from verify' -l timeout
complete -c dsv4-console -n '__fish_seen_subcommand_from verify' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from verify' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from verify' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from verify' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from verify' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from verify' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l follow
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l tail
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l since
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l grep
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l all
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l run
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l color
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from logs' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from journal' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from journal' -l last
complete -c dsv4-console -n '__fish_seen_subcommand_from journal' -l grep
complete -c dsv4-console -n '__fish_seen_subcommand_from journal' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from journal' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from journal' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from journal' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from journal' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from journal' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from shell' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from shell' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from shell' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from shell' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from shell' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from shell' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from shell' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from support-bundle' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from support-bundle' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from support-bundle' -l lines
complete -c dsv4-console -n '__fish_seen_subcommand_from support-bundle' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from support-bundle' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from support-bundle' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from support-bundle' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from support-bundle' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l tool
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l input-len
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l output-len
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l num-prompts
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l warmups
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l concurrency
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l request-rate
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l seed
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l sweep
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l sweep-rate
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l on
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l endpoint
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l model
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l config
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l program
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l generation
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l baseline
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l threshold
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l detach
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l cancel
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from bench' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l max-out-tokens
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l concurrency
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l num-prompts
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l on
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l endpoint
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l model
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l config
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l program
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l generation
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l baseline
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l threshold
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l yes
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l dry-run
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l detach
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l cancel
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l cluster
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l layout
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l assign
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l readonly
complete -c dsv4-console -n '__fish_seen_subcommand_from eval' -l write
complete -c dsv4-console -n '__fish_seen_subcommand_from results' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from results' -l compare
complete -c dsv4-console -n '__fish_seen_subcommand_from results' -l sweep
complete -c dsv4-console -n '__fish_seen_subcommand_from results' -l targets
complete -c dsv4-console -n '__fish_seen_subcommand_from results' -l export
complete -c dsv4-console -n '__fish_seen_subcommand_from results' -l remove
complete -c dsv4-console -n '__fish_seen_subcommand_from results' -l deployment
complete -c dsv4-console -n '__fish_seen_subcommand_from results' -l subject
complete -c dsv4-console -n '__fish_seen_subcommand_from results' -l limit
complete -c dsv4-console -n '__fish_seen_subcommand_from results' -l output
complete -c dsv4-console -n '__fish_seen_subcommand_from completion' -l help
complete -c dsv4-console -n '__fish_seen_subcommand_from completion' -a bash
complete -c dsv4-console -n '__fish_seen_subcommand_from completion' -a zsh
complete -c dsv4-console -n '__fish_seen_subcommand_from completion' -a fish
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a demo
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a layouts
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a validate
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a plan
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a assign
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a import
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a upgrade
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a export
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a diagnose
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a preflight
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a containers
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a tune
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a weights
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a start
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a stop
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a restart
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a kill
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a scale
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a sync-proxy
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a auto-restart
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a watch
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a keys
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a status
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a verify
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a logs
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a journal
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a shell
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a support-bundle
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a bench
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a eval
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a results
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -a completion
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l version
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l help
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l cluster
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l layout
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l assign
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l readonly
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l write
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l theme
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l ascii
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l mouse
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l low-bandwidth
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l no-hints
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l record
complete -c dsv4-console -n 'not __fish_seen_subcommand_from demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion' -l replay
complete -c dsv4-console -l to -x -a 'v0.18.0 v0.19.1rc1 v0.20.2rc1 v0.21.0rc1 v0.22.1rc1 v0.23.0rc1 v0.23.0 v0.23.0.post1 v0.24.0rc1 v0.25.1rc1 v0.26.0rc1 v0.27.1rc1 v0.28.0rc1 v0.29.0rc1 v0.30.0rc1 v0.30.0rc2'
complete -c dsv4-console -l layout -x -a 'a2-flash a2-flash-dspark a2-mixed a2-pd a2-pd-flash a2-v41-flash a3-flash a3-flash-dspark a3-mixed a3-pd a3-pd-1m a3-pd-flash a3-pd-flash-dspark a3-v41-flash a3-v41-flash-offload'
