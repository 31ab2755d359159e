#!/usr/bin/env bash
# Cross-modal code matching on the mini corpus: speech with its transcript, mixtures with their stems.
# Prints retrieval and joint use of codes, with and without code matching. Numbers: RESULTS.md.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
kinds="transcripts stems"
effort=minutes            # smoke: a test of the plumbing
split="test"              # valid, to tune on
seed=0
corpus_dir=../data
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $exp_dir == exp ]] && exp_dir=exp/$effort
[[ $exp_dir == /* || $exp_dir == exp/* ]] || exp_dir=$invoked_from/$exp_dir

if stage 0 "manifests: $corpus_dir -> $exp_dir/cuts"; then
  python ../local/labels.py "$corpus_dir" "$exp_dir/labels.csv"
  $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --output "$exp_dir/cuts"
  $launch recipes.source_association.separate --config ../conf/given_stems.yaml \
    --cuts "$exp_dir/cuts" --originals "[$corpus_dir]" --output "$exp_dir/stems"
fi

for kind in $kinds; do
  if stage 1 "pairs: $exp_dir/cuts, $exp_dir/stems -> $exp_dir/$kind/pairs"; then
    $launch recipes.code_matching.pairs --config "conf/$kind.yaml" \
      --cuts "[$exp_dir/cuts,$exp_dir/stems]" --output "$exp_dir/$kind/pairs"
  fi

  if stage 2 "warm start: $exp_dir/$kind/pairs -> $exp_dir/$kind/warm_$seed"; then
    $launch recipes.code_matching.pretrain --config "conf/${kind}_encoders.yaml" \
      --config conf/warm.yaml --config "conf/$effort.yaml" --loop.seed "$seed" \
      --pairs "$exp_dir/$kind/pairs" --output "$exp_dir/$kind/warm_$seed"
  fi

  for arm in continuous control codes; do
    if stage 3 "$arm: $exp_dir/$kind/warm_$seed -> $exp_dir/$kind/${arm}_$seed"; then
      $launch recipes.code_matching.pretrain --config "conf/${kind}_encoders.yaml" \
        --config "conf/$arm.yaml" --config "conf/$effort.yaml" --loop.seed "$seed" \
        --pairs "$exp_dir/$kind/pairs" --warm_start "[$exp_dir/$kind/warm_$seed]" \
        --output "$exp_dir/$kind/${arm}_$seed"
    fi
  done

  if stage 4 "evaluation on $split: $exp_dir/$kind -> $exp_dir/$kind/${split}_$seed"; then
    $launch recipes.code_matching.evaluate --config "conf/${kind}_evaluate.yaml" \
      --where "{split: [$split]}" --pairs "$exp_dir/$kind/pairs" --runs \
      "[$exp_dir/$kind/continuous_$seed,$exp_dir/$kind/control_$seed,$exp_dir/$kind/codes_$seed]" \
      --cuts "[$exp_dir/cuts,$exp_dir/stems]" --output "$exp_dir/$kind/${split}_$seed"
  fi
done
