# shellcheck shell=bash disable=SC2154
# Sourced by every cola_source/run.sh after its stages 0 (prepare) and 1 (separate): both arms, their
# probes and a report. Wants exp_dir, launch, seeds, and, as lists of options:
#   cola_options, source_options    of the two arms: settings of encoder, views, loop
#   probe_cuts, tasks               what is probed
#   embed_options, fit_options      how

encoders="" runs=""
for seed in $seeds; do
  if stage 2 "COLA: $exp_dir/cuts -> $exp_dir/cola_$seed"; then
    run $launch recipes.cola.pretrain "${cola_options[@]}" --loop.seed "$seed" \
      --cuts "$exp_dir/cuts" --output "$exp_dir/cola_$seed"
  fi

  if stage 3 "source association: $exp_dir/cuts, $exp_dir/stems -> $exp_dir/source_$seed"; then
    run $launch recipes.source_association.pretrain "${source_options[@]}" --loop.seed "$seed" \
      --cuts "$exp_dir/cuts" --stems "$exp_dir/stems" --output "$exp_dir/source_$seed"
  fi
  encoders+="cola#$seed: $exp_dir/cola_$seed, source#$seed: $exp_dir/source_$seed, "
  [[ -z $runs ]] && runs="cola: $exp_dir/cola_$seed, source: $exp_dir/source_$seed"
done

if stage 4 "embeddings of $probe_cuts -> $exp_dir/embeddings"; then
  run $launch recipes.probe.embed "${embed_options[@]}" --cuts "$probe_cuts" \
    --encoders "{${encoders%, }}" --output "$exp_dir/embeddings"
fi

if stage 5 "probes: $exp_dir/embeddings -> $exp_dir/probes"; then
  run $launch recipes.probe.fit --config "$tasks" "${fit_options[@]}" --cuts "$probe_cuts" \
    --embeddings "$exp_dir/embeddings" --output "$exp_dir/probes"
fi

if stage 6 "report: $exp_dir/probes -> $exp_dir/report"; then
  run $launch recipes.probe.report --fitted "$exp_dir/probes" --runs "{$runs}" --output "$exp_dir/report"
  run python -m audiossl compare "$exp_dir/probes" --reference cola --probe linear --format markdown
fi
