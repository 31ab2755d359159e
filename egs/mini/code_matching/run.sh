#!/usr/bin/env bash
# Cross-modal code matching on the mini corpus: speech with its transcript, mixtures with their stems.
# Prints retrieval and joint use of codes, with and without code matching. Numbers: RESULTS.md.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
kinds="transcripts stems"
effort=minutes            # minutes, or hour: the same with three seeds; smoke: a test of the plumbing
seeds=                    # by default those of the effort
split="test"              # valid, to tune on
corpus_dir=../data
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $exp_dir == exp ]] && exp_dir=exp/$effort
if [[ -z $seeds ]]; then
  case $effort in hour) seeds="0 1 2" ;; *) seeds=0 ;; esac
fi
# How much codes count beside embeddings is chosen where nothing is reported.
fuse=()
[[ $split == valid ]] || fuse=(--fuse_on "{split: [valid]}")

if stage 0 "manifests: $corpus_dir -> $exp_dir/cuts"; then
  run python ../local/labels.py "$corpus_dir" "$exp_dir/labels.csv"
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --output "$exp_dir/cuts"
  run $launch recipes.source_association.separate --config ../conf/given_stems.yaml \
    --cuts "$exp_dir/cuts" --originals "$corpus_dir" --output "$exp_dir/stems"
fi

for kind in $kinds; do
  made=$exp_dir/$kind
  if stage 1 "pairs: $exp_dir/cuts, $exp_dir/stems -> $made/pairs"; then
    run $launch recipes.code_matching.pairs --config "conf/$kind.yaml" \
      --cuts "[$exp_dir/cuts,$exp_dir/stems]" --output "$made/pairs"
  fi

  runs=
  for seed in $seeds; do
    options=(--config "conf/${kind}_encoders.yaml" --pairs "$made/pairs" --loop.seed "$seed")
    if stage 2 "warm start: $made/pairs -> $made/warm_$seed"; then
      run $launch recipes.code_matching.pretrain --config conf/warm.yaml \
        --config "conf/$effort.yaml" "${options[@]}" --output "$made/warm_$seed"
    fi

    for arm in continuous control codes; do
      if stage 3 "$arm: $made/warm_$seed -> $made/${arm}_$seed"; then
        run $launch recipes.code_matching.pretrain --config "conf/$arm.yaml" \
          --config "conf/$effort.yaml" "${options[@]}" --warm_start "$made/warm_$seed" \
          --output "$made/${arm}_$seed"
      fi
      runs+=$made/${arm}_$seed,
    done
  done

  scores=$made/${split}_${seeds// /_}
  if stage 4 "evaluation on $split: $made -> $scores"; then
    run $launch recipes.code_matching.evaluate --config "conf/${kind}_evaluate.yaml" \
      --where "{split: [$split]}" "${fuse[@]}" --pairs "$made/pairs" --runs "[${runs%,}]" \
      --cuts "[$exp_dir/cuts,$exp_dir/stems]" --output "$scores"
  fi
done
