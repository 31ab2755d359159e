#!/usr/bin/env bash
# Three questions about contrast on the sounds of mini, over three seeds: DCL against InfoNCE in batches of 8 and 16 pairs;
# a kernel of the true category against one of a shuffled category; soft negatives against InfoNCE where every recording
# stands twice. One question takes minutes of one core (contrast.sh --questions dcl); RESULTS.md has the answers.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
questions="dcl kernel twice"
pairs=2400                # of each run, whatever the batches are
seeds="0 1 2"
corpus_dir=../data
exp_dir=exp/contrast
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
cosine="similarity: cosine, projection_dim: 128, noise: 0"
kernel="loss: {kind: uniformity, kernel: {}}"

if stage 0 "manifests, once and twice: $corpus_dir -> $exp_dir/cuts, $exp_dir/twice_cuts"; then
  run python ../local/labels.py "$corpus_dir" "$exp_dir/all.csv"
  run python ../local/variants.py "$corpus_dir" "$exp_dir/all.csv" "$exp_dir"
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/once.csv]" --only_labeled true \
    --output "$exp_dir/cuts"
  run $launch recipes.prepare.folder --folder "$exp_dir/doubled" --labels "[$exp_dir/twice.csv]" --only_labeled true \
    --output "$exp_dir/twice_cuts"
fi

# The arms of a question; the first is what others are compared with.
arms_of() {
  case $1 in
    dcl) arms="info_nce_8 dcl_8 info_nce_16 dcl_16" ;;
    kernel) arms="shuffled true without" ;;
    twice) arms="info_nce soft_negatives" ;;
  esac
}

# What an arm is trained by.
settings_of() {
  cuts=cuts size=32 method=$cosine priors="{}"
  case $1 in
    info_nce_* | dcl_*) size=${1##*_} ;;&
    dcl_*) method+=", loss: dcl" ;;
    true) method+=", $kernel" priors="{tags: [category]}" ;;
    shuffled) method+=", $kernel" priors="{tags: [shuffled]}" ;;
    without) method+=", loss: uniformity" ;;
    info_nce) cuts=twice_cuts ;;
    soft_negatives) cuts=twice_cuts method="kind: soft_negatives, queue: 256" ;;
  esac
}

for question in $questions; do
  output=$exp_dir/$question
  arms_of "$question"
  if stage 1 "pretraining -> $output"; then
    for arm in $arms; do
      settings_of "$arm"
      for seed in $seeds; do
        run $launch recipes.cola.pretrain --config conf/encoder.yaml --config conf/minutes.yaml \
          --cuts "$exp_dir/$cuts" --where "{split: [train]}" --batch_size "$size" --method "{$method}" \
          --views "{level: rms, short_cuts: shorten, priors: $priors}" --loop.steps $((pairs / size)) \
          --loop.seed "$seed" --output "$output/${arm}_$seed"
      done
    done
  fi
  if stage 2 "scores -> $output/fit"; then
    encoders=$(for arm in $arms; do
      for seed in $seeds; do printf '%s#%s: %s/%s_%s, ' "$arm" "$seed" "$output" "$arm" "$seed"; done
    done)
    run $launch recipes.probe.embed --cuts "$exp_dir/cuts" --encoders "{${encoders%, }}" --output "$output/embeddings"
    run $launch recipes.probe.fit --config conf/sounds.yaml --cuts "$exp_dir/cuts" \
      --embeddings "$output/embeddings" --map.projection pca --output "$output/fit"
  fi
  if stage 3 "answer: $output/fit"; then
    case $question in
      dcl)
        for size in 8 16; do
          run python -m audiossl compare "$output/fit" --reference "info_nce_$size" --encoder "dcl_$size"
        done
        ;;
      *) run python -m audiossl compare "$output/fit" --reference "${arms%% *}" ;;
    esac
  fi
done
