#!/usr/bin/env bash
# What continued pretraining on one domain does to the others, and what the term against forgetting changes of it.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
effort=minutes            # that of run.sh, which goes before
seeds=0
base=distillation         # the objective whose encoder goes on
domain=sounds             # what it goes on with
weight=1.0                # of the term
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $exp_dir == exp ]] && exp_dir=exp/$effort
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
cuts=$exp_dir/cuts

encoders=""
for seed in $seeds; do
  from=$exp_dir/${base}_$seed
  continued=(--config conf/encoder.yaml --config "conf/$effort.yaml" --config conf/cola.yaml
    --config conf/cola/info_nce.yaml --cuts "$cuts" --where "{split: [train], domain: [$domain]}"
    --initial_weights "$from" --loop.seed "$seed")
  if stage 0 "without the term: $from -> $exp_dir/forgetting/without_$seed"; then
    run $launch recipes.cola.pretrain "${continued[@]}" --output "$exp_dir/forgetting/without_$seed"
  fi
  if stage 1 "with the term: $from -> $exp_dir/forgetting/with_$seed"; then
    run $launch recipes.cola.pretrain "${continued[@]}" --forgetting "{weight: $weight, stage: 10}" \
      --output "$exp_dir/forgetting/with_$seed"
  fi
  encoders+=", before#$seed: $from"
  for arm in without with; do encoders+=", $arm#$seed: $exp_dir/forgetting/${arm}_$seed"; done
done

if stage 2 "probes: $exp_dir/forgetting/fit"; then
  # Whole, because the objectives present clips differently.
  run $launch recipes.probe.embed --cuts "$cuts" --encoders "{${encoders#, }}" --embedding.whole true \
    --output "$exp_dir/forgetting/embeddings"
  run $launch recipes.probe.fit --config ../conf/tasks.yaml --cuts "$cuts" --embeddings "$exp_dir/forgetting/embeddings" \
    --output "$exp_dir/forgetting/fit"
fi

if stage 3 "report: $exp_dir/forgetting/fit -> $exp_dir/forgetting/report"; then
  run python -m recipes.probe.report --fitted "$exp_dir/forgetting/fit" --title "Continued pretraining on $domain" \
    --output "$exp_dir/forgetting/report"
fi
