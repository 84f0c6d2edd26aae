autoload -U +X bashcompinit && bashcompinit
_dsv4_console() {
  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words= each
  case "$before" in
    --layout) words='a2-flash a2-flash-dspark a2-mixed a2-pd a2-pd-flash a2-v41-flash a3-flash a3-flash-dspark a3-mixed a3-pd a3-pd-1m a3-pd-flash a3-pd-flash-dspark a3-v41-flash a3-v41-flash-offload'; COMPREPLY=($(compgen -f -W "$words" -- "$word")); return;;
    --to) COMPREPLY=($(compgen -W 'v0.18.0 v0.19.1rc1 v0.20.2rc1 v0.21.0rc1 v0.22.1rc1 v0.23.0rc1 v0.23.0 v0.23.0.post1 v0.24.0rc1 v0.25.1rc1 v0.26.0rc1 v0.27.1rc1 v0.28.0rc1 v0.29.0rc1 v0.30.0rc1 v0.30.0rc2' -- "$word")); return;;
    -c|--cluster|--save|--record|--replay) COMPREPLY=($(compgen -f -- "$word")); return;;
  esac
  words='demo layouts validate plan assign import upgrade export diagnose preflight containers tune weights start stop restart kill scale sync-proxy auto-restart watch keys status verify logs journal shell support-bundle bench eval results completion --version --help --cluster --layout --assign --readonly --write --theme --ascii --mouse --low-bandwidth --no-hints --record --replay'
  for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$each" in
      demo) words='--help --serve --layout --nodes --speed --unassigned --tour --pictures --theme --ascii --mouse --low-bandwidth --no-hints'; break;;
      layouts) words='--help --output'; break;;
      validate) words='--help --explain --output'; break;;
      plan) words='--help --output --cluster --layout --assign --readonly --write'; break;;
      assign) words='--help --swap --move --take --size --reset --auto --undo --redo --dry-run --cluster --layout --assign --readonly --write'; break;;
      import) words='--help --name --version --set --hardware --save --force'; break;;
      upgrade) words='--help --to --from --save --force --cluster --output'; break;;
      export) words='--help --format --save --force --cluster --layout --assign --readonly --write'; break;;
      diagnose) words='--help --signatures --output'; break;;
      preflight) words='--help --network --full-mesh --last --all --output --cluster --layout --assign --readonly --write'; break;;
      containers) words='--help --yes --dry-run --verbose --takeover --output --cluster --layout --assign --readonly --write'; break;;
      tune) words='--help --undo --yes --dry-run --verbose --takeover --output --cluster --layout --assign --readonly --write'; break;;
      weights) words='--help --from --yes --dry-run --verbose --takeover --output --cluster --layout --assign --readonly --write'; break;;
      start) words='--help --no-wait --override --yes --dry-run --verbose --takeover --output --cluster --layout --assign --readonly --write'; break;;
      stop) words='--help --no-wait --unmanaged --yes-stop --drain --yes --dry-run --verbose --takeover --output --cluster --layout --assign --readonly --write'; break;;
      restart) words='--help --no-wait --drain --rolling --override --yes --dry-run --verbose --takeover --output --cluster --layout --assign --readonly --write'; break;;
      kill) words='--help --no-wait --unmanaged --yes-stop --yes --dry-run --verbose --takeover --output --cluster --layout --assign --readonly --write'; break;;
      scale) words='--help --on --no-wait --drain --override --yes --dry-run --verbose --takeover --output --cluster --layout --assign --readonly --write'; break;;
      sync-proxy) words='--help --yes --dry-run --verbose --takeover --output --cluster --layout --assign --readonly --write'; break;;
      auto-restart) words='--help --output --cluster --layout --assign --readonly --write'; break;;
      watch) words='--help --output --alerts --cluster --layout --assign --readonly --write'; break;;
      keys) words='--help --output'; break;;
      status) words='--help --output --prove --cluster --layout --assign --readonly --write'; break;;
      verify) words='--help --prompt --requests --timeout --output --cluster --layout --assign --readonly --write'; break;;
      logs) words='--help --follow --tail --since --grep --all --run --color --output --cluster --layout --assign --readonly --write'; break;;
      journal) words='--help --last --grep --output --cluster --layout --assign --readonly --write'; break;;
      shell) words='--help --dry-run --cluster --layout --assign --readonly --write'; break;;
      support-bundle) words='--help --output --lines --cluster --layout --assign --readonly --write'; break;;
      bench) words='--help --tool --input-len --output-len --num-prompts --warmups --concurrency --request-rate --seed --sweep --sweep-rate --on --endpoint --model --config --program --generation --baseline --threshold --yes --dry-run --detach --cancel --output --cluster --layout --assign --readonly --write'; break;;
      eval) words='--help --max-out-tokens --concurrency --num-prompts --on --endpoint --model --config --program --generation --baseline --threshold --yes --dry-run --detach --cancel --output --cluster --layout --assign --readonly --write'; break;;
      results) words='--help --compare --sweep --targets --export --remove --deployment --subject --limit --output'; break;;
      completion) words='--help bash zsh fish'; break;;
    esac
  done
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$word"));;
    *) COMPREPLY=($(compgen -f -W "$words" -- "$word"));;
  esac
}
complete -o filenames -F _dsv4_console dsv4-console
