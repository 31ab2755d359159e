#!/usr/bin/env bash
# Source association on music with stems: arms to compare with COLA by cross-validation, and the encoder that ships.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
arm=music                 # files of conf/arms: "cola remix alone", ..., or music, which goes on from audiossl:small
seeds=0
steps=                    # by default those of conf
corpus_dir=../download    # where the corpus is built, or lies: its music is enough
jobs=2                    # processes that decode, render and embed
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $corpus_dir == ../download ]] || corpus_dir=$(from_caller "$corpus_dir" "$invoked_from")
[[ $exp_dir == exp ]] || exp_dir=$(from_caller "$exp_dir" "$invoked_from")

if stage 0 "corpus: $corpus_dir"; then
  # A corpus that has its table is left as it is: remove labels.csv to build what is missing.
  if [[ ! -e $corpus_dir/labels.csv ]]; then
    run ../local/fetch.sh "$corpus_dir" "music|score|soundfont"
    run $launch egs.debian_packages.local.collect "$corpus_dir" "$jobs"
  fi
fi

if stage 1 "cuts and stems: $corpus_dir -> $exp_dir/cuts, $exp_dir/stems"; then
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$corpus_dir/labels.csv]" \
    --only_labeled true --resources.workers "$jobs" --output "$exp_dir/cuts"
  run $launch recipes.source_association.separate --config ../conf/stems_groups.yaml \
    --cuts "$exp_dir/cuts" --originals "$corpus_dir" --resources.workers "$jobs" --output "$exp_dir/stems"
fi

if stage 2 "items of the benchmark: $corpus_dir -> $exp_dir/items"; then
  run $launch egs.debian_packages.benchmark.corpus "$corpus_dir" "$exp_dir/audio"
  run $launch recipes.prepare.folder --folder "$exp_dir/audio" --labels "[$exp_dir/audio/labels.csv]" \
    --only_labeled true --resources.workers "$jobs" --output "$exp_dir/items"
fi

encoders=""
for each in $arm; do
  for seed in $seeds; do
    if stage 3 "$each: $exp_dir/cuts, $exp_dir/stems -> $exp_dir/${each}_$seed"; then
      options=(--config conf/base.yaml)
      [[ $each == music ]] && options+=(--config ../../../recipes/distillation/conf/small.yaml)
      options+=(--config "conf/arms/$each.yaml" --loop.seed "$seed")
      [[ -n $steps ]] && options+=(--loop.steps "$steps")
      run $launch recipes.source_association.pretrain "${options[@]}" --cuts "$exp_dir/cuts" \
        --stems "$exp_dir/stems" --output "$exp_dir/${each}_$seed"
    fi
    encoders+="$each#$seed: $exp_dir/${each}_$seed, "
  done
done
arms=${arm// /_}

if stage 4 "cross-validation: $exp_dir/items -> $exp_dir/scores/$arms.json"; then
  run $launch recipes.probe.embed --encoders "{${encoders}small: audiossl:small}" --cuts "$exp_dir/items" \
    --where "{split: [train, valid]}" --resources.cache "$exp_dir/cache" --resources.workers "$jobs" \
    --output "$exp_dir/embeddings/$arms"
  run python ../../mini/local/cross_validate.py "$exp_dir/items" "$exp_dir/embeddings/$arms" "$exp_dir/scores/$arms.json" \
    --config conf/tasks.yaml --processes "$jobs"
  run python -m audiossl compare "$exp_dir/scores/$arms" --reference "${arm%% *}" --probe linear
fi

if [[ $arm == music ]] && stage 5 "as it ships: $exp_dir/music_0 -> $exp_dir/shipped"; then
  run $launch egs.debian_packages.small.ship "$exp_dir/music_0" "$exp_dir/shipped" small
fi
