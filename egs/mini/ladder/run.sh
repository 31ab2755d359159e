#!/usr/bin/env bash
# A ladder of experiments on the mini corpus: what one setting more or less does to an encoder, at equal audio, by cross-validation.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
effort=minutes            # minutes, or smoke: a test of the plumbing
seeds="0 1 2"
rungs=all                 # or some: "cola/base cola/dcl embed/whole"; the base of a rung has to be there, too
jobs=1                    # runs at a time
corpus_dir=../data
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $exp_dir == exp ]] && exp_dir=exp/$effort
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
cuts=$exp_dir/cuts
# Items of the test split are neither trained on nor embedded.
train="{split: [train, valid]}"
# shellcheck source-path=SCRIPTDIR source=../../utils/objectives.sh
. ../../utils/objectives.sh
[[ $rungs == all ]] && rungs=$(every_way)

# What rung $1 is: its name, the recipe and the settings that train it, its codes and how they are made, and how it is embedded.
# shellcheck disable=SC2034
describe() {
  name=${1/\//-} weights=${1/\//-} recipe=spear codes=$exp_dir/codes/spear-base
  settings=(--config conf/spear/base.yaml) embedding=() teacher=(--teacher log_mel:40)
  quantizer=(--config ../spear/conf/quantizer.yaml)
  case $1 in
    cola/*) recipe=cola settings=(--config conf/cola/base.yaml --config "conf/$1.yaml") ;;
    embed/*) recipe="" weights=cola-base embedding=(--config "conf/$1.yaml") ;;
    spear/*) settings+=(--config "conf/$1.yaml") ;;
    teacher/*) codes=$exp_dir/codes/$name teacher=(--config "conf/$1.yaml") ;;
    features/*)
      recipe=distillation codes="" settings=(--config "conf/$1.yaml" --targets "{${1#*/}: $exp_dir/targets/$name}") ;;
    quantizer/*) codes=$exp_dir/codes/$name quantizer+=(--config "conf/$1.yaml") ;;
  esac
  if [[ $effort == smoke ]]; then
    settings+=(--config conf/smoke.yaml) quantizer+=(--config ../spear/conf/quantizer_smoke.yaml)
  fi
  targets=$codes codes+=/codes
}

if stage 0 "manifests: $corpus_dir -> $cuts"; then
  run python ../local/labels.py "$corpus_dir" "$exp_dir/labels.csv"
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --min_duration 0.1 --output "$cuts"
fi

if stage 1 "codes and features: $cuts -> $exp_dir/codes, $exp_dir/targets"; then
  for rung in $rungs; do
    describe "$rung"
    case $rung in
      spear/base | teacher/* | quantizer/*) encode_into "$targets" ;;
      features/*)
        run $launch recipes.distillation.targets --config "conf/teacher/${rung#*/}.yaml" --cuts "$cuts" --where "$train" \
          --hours "{speech: 9, music: 9, sounds: 9}" --frame_rate 25 --max_skipped 0.1 --output "$exp_dir/targets/$name" ;;
    esac
  done
fi

if stage 2 "pretraining: $cuts -> $exp_dir/<rung>_<seed>"; then
  for rung in $rungs; do
    describe "$rung"
    for seed in $seeds; do
      [[ -z $recipe ]] || train_into "$recipe" "$exp_dir/${name}_$seed" "${settings[@]}" --loop.seed "$seed"
    done
  done
  end_of_runs
fi

if stage 3 "cross-validation: $exp_dir/<rung>_<seed> -> $exp_dir/scores/<rung>.json"; then
  for rung in $rungs; do
    describe "$rung"
    rows=("$name") embedding+=(--random_of "[]")
    if [[ $rung == */base ]]; then
      rows+=(random log-mel)
      embedding=(--random_of "[$name#${seeds%% *}]" --random_seeds "[${seeds// /, }]")
    fi
    encoders=$(for seed in $seeds; do printf '%s#%s: %s, ' "$name" "$seed" "$exp_dir/${weights}_$seed"; done)
    run $launch recipes.probe.embed --cuts "$cuts" --where "$train" --encoders "{${encoders%, }}" "${embedding[@]}" \
      --resources.cache "$exp_dir/cache" --output "$exp_dir/embeddings/$name"
    # What has been scored since it was embedded is not scored again.
    [[ $exp_dir/scores/$name.json -nt $exp_dir/embeddings/$name/embeddings.json ]] ||
      run python ../local/cross_validate.py "$cuts" "$exp_dir/embeddings/$name" "$exp_dir/scores/$name.json" \
        --config ../conf/tasks.yaml --config conf/probes.yaml --encoders "${rows[@]}"
  done
fi

if stage 4 "table: $exp_dir/scores"; then
  run $launch egs.mini.ladder.table conf "$exp_dir"
fi
