#!/usr/bin/env bash
# What the machinery of training is worth in minutes: students with and without it, three seeds each, scored by
# cross-validation over training and validation items. Takes the cuts and codes of run.sh (stages 0 to 2).
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
exp_dir=exp/minutes       # where run.sh has left cuts and codes; output goes to its folder machinery
steps=1600                # of each student
seeds="0 1 2"
jobs=1                    # students that are trained at once
device=auto
processes=2               # for embeddings and probes
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

recipe=../../../recipes/spear/conf
output=$exp_dir/machinery
cuts=$exp_dir/cuts
train="split: [train]"

# One student. Arguments: with (true) or without (false) machinery, seed.
student() {
  OMP_NUM_THREADS=${pretraining_threads:-2} OMP_WAIT_POLICY=${wait_policy:-active} $launch recipes.spear.pretrain \
    --config $recipe/tiny.yaml --config conf/encoder.yaml --config conf/masking.yaml --config conf/minutes.yaml \
    --corpora "[
    {cuts: $cuts, codes: [$exp_dir/speech/codes], domain: speech, where: {domain: [speech], $train}},
    {cuts: $cuts, codes: [$exp_dir/speech/codes, $exp_dir/audio/codes], domain: audio,
      where: {domain: [sounds, music], $train}}]" \
    --data.domain_shares "{speech: 0.5, audio: 0.5}" --data.max_missing 0.1 --encoder.machinery "$1" \
    --loop.steps "$steps" --loop.seed "$2" --plan.seed "$2" --resources.device "$device" --output "$output/$1_$2"
}

# The arms take turns, so that what else the machine does is the same for both.
if stage 0 "students: $steps steps -> $output"; then
  for seed in $seeds; do
    for machinery in false true; do
      while (($(jobs -rp | wc -l) >= jobs)); do wait -n; done
      student "$machinery" "$seed" &
    done
  done
  for job in $(jobs -p); do wait "$job"; done
fi

if stage 1 "embeddings -> $output/embeddings"; then
  encoders=$(for seed in $seeds; do
    printf 'without#%s: %s/false_%s, with#%s: %s/true_%s, ' "$seed" "$output" "$seed" "$seed" "$output" "$seed"
  done)
  OMP_NUM_THREADS=1 $launch recipes.probe.embed --cuts "$cuts" --output "$output/embeddings" --encoders "{${encoders%, }}" \
    --random_seeds "[0]" --config conf/probe.yaml --resources.workers "$processes" --resources.device "$device"
fi

if stage 2 "scores -> $output/scores.json"; then
  OMP_NUM_THREADS=1 python ../local/cross_validate.py "$cuts" "$output/embeddings" "$output/scores.json" \
    --config conf/tasks.yaml --processes "$processes"
fi
