# shellcheck shell=bash disable=SC2154,SC2086
# Sourced by every cola_source/run.sh after its stages 0 (prepare) and 1 (separate): both arms, their
# probes and a report. Wants exp_dir, launch, seeds, and, as lists of options:
#   cola_options, source_options    of the two arms: settings of encoder, views, loop
#   probe_cuts, tasks               what is probed
#   embed_options, fit_options      how
# Besides, if they are set: at_once=true, both arms of a seed run at the same time, with one thread each; further_encoders,
# more rows of the tables; random_seeds, a list.

# Runs a command, beside others if both arms are to run at once.
arm() {
  if [[ ${at_once:-false} == true && ${dry_run:-false} == false ]]; then
    OMP_NUM_THREADS=1 run "$@" &
    arms+=($!)
  else
    run "$@"
  fi
}

# Random encoders have three seeds unless random_seeds says otherwise: one draw can be lucky.
encoders="" runs=""
for seed in $seeds; do
  arms=()
  if stage 2 "COLA: $exp_dir/cuts -> $exp_dir/cola_$seed"; then
    arm $launch recipes.cola.pretrain "${cola_options[@]}" --loop.seed "$seed" \
      --cuts "$exp_dir/cuts" --output "$exp_dir/cola_$seed"
  fi

  if stage 3 "source association: $exp_dir/cuts, $exp_dir/stems -> $exp_dir/source_$seed"; then
    arm $launch recipes.source_association.pretrain "${source_options[@]}" --loop.seed "$seed" \
      --cuts "$exp_dir/cuts" --stems "$exp_dir/stems" --output "$exp_dir/source_$seed"
  fi
  # Processes in the background do not get Ctrl-C, and one that fails ends the recipe and the other.
  trap 'kill "${arms[@]}" 2>/dev/null || true' EXIT
  for process in "${arms[@]}"; do
    wait "$process"
  done
  trap - EXIT
  encoders+="cola#$seed: $exp_dir/cola_$seed, source#$seed: $exp_dir/source_$seed, "
  [[ -z $runs ]] && runs="cola: $exp_dir/cola_$seed, source: $exp_dir/source_$seed"
done

if stage 4 "probes: encoders, $probe_cuts -> $exp_dir/embeddings -> $exp_dir/fit"; then
  run $launch recipes.probe.embed "${embed_options[@]}" --cuts "$probe_cuts" \
    --encoders "{$encoders${further_encoders:-}}" --random_seeds "${random_seeds:-[0, 1, 2]}" --output "$exp_dir/embeddings"
  run $launch recipes.probe.fit --config "$tasks" "${fit_options[@]}" --resources.workers 2 \
    --cuts "$probe_cuts" --embeddings "$exp_dir/embeddings" --output "$exp_dir/fit"
fi

if stage 5 "report: $exp_dir/fit, curves, pairs -> $exp_dir/report/report.html"; then
  run python -m recipes.probe.report --fitted "$exp_dir/fit" --runs "{$runs}" --output "$exp_dir/report"
  table=/dev/null
  [[ ${dry_run:-false} == true ]] || table=$exp_dir/report/table.md
  run python -m audiossl compare "$exp_dir/fit" --reference cola --probe linear --format markdown |
    tee "$table"
fi
