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
train="{split: [train]}"

# An objective is a file, conf/<recipe>/<name>.yaml: nothing else has to be added for a new one.
if [[ $objectives == all ]]; then
  files=(conf/*/*.yaml)
  objectives=${files[*]#conf/}
  objectives=${objectives//.yaml/}
fi

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
  steps=200
  [[ $effort == smoke ]] && steps=4
  run $launch recipes.spear.embed_sample --cuts "$cuts" --teacher log_mel:40 --where "$train" --num_frames 20000 \
    --max_hours 0.1 --max_skipped 0.1 --output "$exp_dir/codes/sample"
  run $launch recipes.spear.train_quantizer --frames "$exp_dir/codes/sample" --output "$exp_dir/codes/quantizer" \
    --quantizer "{kind: direct_sum, num_codebooks: 4, phase_steps: [$steps, $steps], batch_size: 256}"
  run $launch recipes.spear.encode --cuts "$cuts" --teacher log_mel:40 --where "$train" \
    --quantizer "$exp_dir/codes/quantizer" --field audio --max_skipped 0.1 --output "$exp_dir/codes/codes"
fi

# What a recipe reads, in the list `inputs`.
inputs_of() {
  case $1 in
    source_association | privileged) inputs=(--cuts "$cuts" --stems "$exp_dir/stems" --where "$train") ;;
    spear) inputs=(--corpora "[{cuts: $cuts, codes: [$exp_dir/codes/codes], domain: audio, where: $train}]") ;;
    *) inputs=(--cuts "$cuts" --where "$train") ;;
  esac
}

# A run that fails ends the others, which go on from their checkpoints the next time.
trap 'kill $(jobs -pr) 2> /dev/null || true' EXIT
if stage 3 "pretraining: $cuts -> $exp_dir/<objective>_<seed>"; then
  for seed in $seeds; do
    for objective in $objectives; do
      recipe=${objective%/*} name=${objective#*/}
      inputs_of "$recipe"
      while (($(jobs -pr | wc -l) >= jobs)); do wait -n; done
      run $launch "recipes.$recipe.pretrain" --config conf/encoder.yaml --config "conf/$effort.yaml" \
        --config "conf/$recipe.yaml" --config "conf/$objective.yaml" "${inputs[@]}" --loop.seed "$seed" \
        --output "$exp_dir/${name}_$seed" &
    done
  done
  while [[ -n $(jobs -p) ]]; do wait -n; done
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
