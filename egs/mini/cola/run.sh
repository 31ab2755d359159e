#!/usr/bin/env bash
# COLA and musical source association on the mini corpus, and the encoder that ships, gone on with: on a laptop.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
effort=minutes            # minutes, or hour: three seeds and paired differences; smoke: a test of the plumbing
seeds=                    # by default those of the effort
corpus_dir=../data
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $exp_dir == exp ]] && exp_dir=exp/$effort
if [[ -z $seeds ]]; then
  case $effort in hour) seeds="0 1 2" ;; *) seeds=0 ;; esac
fi

if stage 0 "manifests: $corpus_dir -> $exp_dir/cuts"; then
  run python ../local/labels.py "$corpus_dir" "$exp_dir/labels.csv"
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --output "$exp_dir/cuts"
fi

if stage 1 "stems: $corpus_dir, $exp_dir/cuts -> $exp_dir/stems"; then
  run $launch recipes.source_association.separate --config ../conf/given_stems.yaml \
    --cuts "$exp_dir/cuts" --originals "$corpus_dir" --output "$exp_dir/stems"
fi

# shellcheck disable=SC2034
{
  loop=(--config conf/encoder.yaml --config "conf/$effort.yaml")
  cola_options=(--config conf/cola.yaml "${loop[@]}")
  source_options=(--config conf/cola.yaml --config conf/source.yaml "${loop[@]}")
  probe_cuts=$exp_dir/cuts
  tasks=conf/tasks.yaml
  embed_options=(--embedding.layers "[clip, output]" --embedding.segments phones --resources.workers 2)
  fit_options=()
  [[ $effort == smoke ]] && fit_options=(--config conf/fit_smoke.yaml)
  at_once=true
  further_encoders=""
}
continued_options=(--config ../../../recipes/distillation/conf/small.yaml --config conf/continued.yaml)
[[ $effort == smoke ]] && continued_options+=(--config conf/smoke.yaml)
# Two architectures have random copies here, and those of the larger one cost minutes.
# shellcheck disable=SC2034
[[ $effort == hour ]] || random_seeds="[0]"
for seed in $seeds; do
  if stage 3 "the shipped encoder: audiossl:small, $exp_dir/cuts -> $exp_dir/continued_$seed"; then
    run $launch recipes.cola.pretrain "${continued_options[@]}" --loop.seed "$seed" \
      --cuts "$exp_dir/cuts" --output "$exp_dir/continued_$seed"
  fi
  further_encoders+="continued#$seed: $exp_dir/continued_$seed, "
done
further_encoders+="small: audiossl:small"
# shellcheck source-path=SCRIPTDIR source=../../utils/cola_source.sh
. ../../utils/cola_source.sh
