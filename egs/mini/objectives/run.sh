#!/usr/bin/env bash
# Every objective on the mini corpus: one small encoder, as many seconds of audio for each, one table of what came of it.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
effort=minutes            # minutes, or hour: three seeds, 8 h of audio each; smoke: a test of the plumbing
seeds=                    # by default those of the effort
objectives=all            # or some: "cola/dcl waveforms/masked_patches"
jobs=2                    # runs at a time
corpus_dir=../data
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $exp_dir == exp ]] && exp_dir=exp/$effort
if [[ -z $seeds ]]; then
  case $effort in hour) seeds="0 1 2" ;; *) seeds=0 ;; esac
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
cuts=$exp_dir/cuts
# shellcheck disable=SC2034
{
  train="{split: [train]}" stems=$exp_dir/stems codes=$exp_dir/codes/codes
  teacher=(--teacher log_mel:40) quantizer=(--config ../spear/conf/quantizer.yaml)
  [[ $effort == smoke ]] && quantizer=(--config ../spear/conf/quantizer_smoke.yaml)
}
# shellcheck source-path=SCRIPTDIR source=../../utils/objectives.sh
. ../../utils/objectives.sh
[[ $objectives == all ]] && objectives=$(every_way)

if stage 0 "manifests: $corpus_dir -> $cuts"; then
  run python ../local/labels.py "$corpus_dir" "$exp_dir/labels.csv"
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --min_duration 0.1 --output "$cuts"
fi

if stage 1 "stems: $corpus_dir, $cuts -> $exp_dir/stems"; then
  run $launch recipes.source_association.separate --config ../conf/given_stems.yaml \
    --cuts "$cuts" --originals "$corpus_dir" --output "$exp_dir/stems"
fi

if stage 2 "codes: $cuts -> $exp_dir/codes"; then
  encode_into "$exp_dir/codes"
fi

if stage 3 "pretraining: $cuts -> $exp_dir/<objective>_<seed>"; then
  for seed in $seeds; do
    for objective in $objectives; do
      recipe=${objective%/*} name=${objective#*/}
      train_into "$recipe" "$exp_dir/${name}_$seed" --config conf/encoder.yaml --config "conf/$effort.yaml" \
        --config "conf/$recipe.yaml" --config "conf/$objective.yaml" --loop.seed "$seed"
    done
  done
  end_of_runs
fi

encoders="small: 'audiossl:small'" trained="" runs=""
for objective in $objectives; do
  name=${objective#*/}
  runs+="$name: $exp_dir/${name}_${seeds%% *}, "
  for seed in $seeds; do
    encoders+=", $name#$seed: $exp_dir/${name}_$seed"
    trained+="$name#$seed, "
  done
done

if stage 4 "probes: encoders, $cuts -> $exp_dir/embeddings -> $exp_dir/fit"; then
  # With the cache, more objectives cost no more than themselves: remove embeddings and fit, and run again.
  run $launch recipes.probe.embed --cuts "$cuts" --encoders "{$encoders}" --random_of "[${trained%, }]" \
    --random_seeds "[${seeds// /, }]" --resources.cache "$exp_dir/cache" --resources.workers "$jobs" \
    --output "$exp_dir/embeddings"
  run $launch recipes.probe.fit --config ../conf/tasks.yaml --resources.workers "$jobs" --cuts "$cuts" \
    --embeddings "$exp_dir/embeddings" --map.projection pca --output "$exp_dir/fit"
fi

if stage 5 "report: $exp_dir/fit, curves, pairs -> $exp_dir/report/report.html"; then
  run python -m recipes.probe.report --fitted "$exp_dir/fit" --runs "{${runs%, }}" --title "Objectives" \
    --batches 1 --inspected 8 --output "$exp_dir/report"
fi
