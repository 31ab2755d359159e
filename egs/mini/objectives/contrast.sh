#!/usr/bin/env bash
# Three questions about contrast on the sounds of mini, three seeds each, scored by cross-validation over training and
# validation items: DCL against InfoNCE in batches of 8 and 16; a kernel of the true category against one of a shuffled
# category; soft negatives against InfoNCE where every recording stands twice.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
steps=300                 # of each run
seeds="0 1 2"
corpus_dir=../data
exp_dir=exp/contrast
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $corpus_dir == ../data ]] || corpus_dir=$(from_caller "$corpus_dir" "$invoked_from")
[[ $exp_dir == exp/contrast ]] || exp_dir=$(from_caller "$exp_dir" "$invoked_from")
cosine="similarity: cosine, projection_dim: 128, noise: 0"
kernel="loss: {kind: uniformity, kernel: {width: 1}}"

if stage 0 "manifests, once and twice: $corpus_dir -> $exp_dir/cuts, $exp_dir/twice"; then
  run python ../local/labels.py "$corpus_dir" "$exp_dir/all.csv"
  run python ../local/variants.py "$corpus_dir" "$exp_dir/all.csv" "$exp_dir"
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/once.csv]" --only_labeled true \
    --output "$exp_dir/cuts"
  run $launch recipes.prepare.folder --folder "$exp_dir/doubled" --labels "[$exp_dir/twice.csv]" --only_labeled true \
    --output "$exp_dir/twice"
fi

# One run. Arguments: name, cuts, pairs in a batch, method, views.
train() {
  for seed in $seeds; do
    run $launch recipes.cola.pretrain --config ../cola/conf/encoder.yaml --config ../cola/conf/minutes.yaml \
      --cuts "$exp_dir/$2" --where "{split: [train]}" --batch_size "$3" --method "{$4}" \
      --views "{level: rms, short_cuts: shorten, $5}" --loop.steps "$steps" --loop.seed "$seed" \
      --output "$exp_dir/$1_$seed"
  done
}

names="info_nce_8 dcl_8 info_nce_16 dcl_16 plain true shuffled info_nce_twice soft_twice"
if stage 1 "pretraining -> $exp_dir"; then
  for pairs in 8 16; do
    train "info_nce_$pairs" cuts $pairs "$cosine" ""
    train "dcl_$pairs" cuts $pairs "$cosine, loss: dcl" ""
  done
  train plain cuts 32 "$cosine, loss: uniformity" ""
  train true cuts 32 "$cosine, $kernel" "priors: {tags: [category]}"
  train shuffled cuts 32 "$cosine, $kernel" "priors: {tags: [shuffled]}"
  train info_nce_twice twice 32 "$cosine" ""
  train soft_twice twice 32 "kind: soft_negatives, queue: 256" ""
fi

if stage 2 "scores -> $exp_dir/scores.json"; then
  encoders=$(for name in $names; do
    for seed in $seeds; do printf '%s#%s: %s/%s_%s, ' "$name" "$seed" "$exp_dir" "$name" "$seed"; done
  done)
  run $launch recipes.probe.embed --cuts "$exp_dir/cuts" --encoders "{${encoders%, }}" --random_of "[plain#0]" \
    --output "$exp_dir/embeddings"
  run python ../local/cross_validate.py "$exp_dir/cuts" "$exp_dir/embeddings" conf/sounds.yaml "$exp_dir/scores.json"
fi
