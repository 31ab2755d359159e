#!/usr/bin/env bash
# COLA and musical source association on the mini corpus: music, speech and sounds, on a laptop.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
effort=minutes            # minutes, or hour: three seeds and longer runs; smoke: a test of the plumbing
corpus_dir=../data
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $exp_dir == exp ]] && exp_dir=exp/$effort
[[ $exp_dir == /* || $exp_dir == exp/* ]] || exp_dir=$invoked_from/$exp_dir
seeds=0
[[ $effort == hour ]] && seeds="0 1 2"

if stage 0 "manifests: $corpus_dir -> $exp_dir/cuts"; then
  python ../local/labels.py "$corpus_dir" "$exp_dir/labels.csv"
  $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --output "$exp_dir/cuts"
fi

if stage 1 "stems: $corpus_dir, $exp_dir/cuts -> $exp_dir/stems"; then
  $launch recipes.source_association.separate --config ../conf/given_stems.yaml \
    --cuts "$exp_dir/cuts" --originals "[$corpus_dir]" --output "$exp_dir/stems"
fi

for seed in $seeds; do
  if stage 2 "COLA: $exp_dir/cuts -> $exp_dir/cola_$seed"; then
    $launch recipes.cola.pretrain --config conf/encoder.yaml --config conf/cola.yaml \
      --config "conf/$effort.yaml" --loop.seed "$seed" \
      --cuts "$exp_dir/cuts" --output "$exp_dir/cola_$seed"
  fi

  if stage 3 "source association: $exp_dir/stems -> $exp_dir/source_$seed"; then
    $launch recipes.source_association.pretrain --config conf/encoder.yaml \
      --config conf/source.yaml --config "conf/$effort.yaml" --loop.seed "$seed" \
      --cuts "$exp_dir/cuts" --stems "$exp_dir/stems" --output "$exp_dir/source_$seed"
  fi
done

if stage 4 "probes: encoders, $exp_dir/cuts -> $exp_dir/embeddings -> $exp_dir/fit"; then
  encoders=
  for seed in $seeds; do
    encoders+="cola#$seed: $exp_dir/cola_$seed, source#$seed: $exp_dir/source_$seed, "
  done
  $launch recipes.probe.embed --cuts "$exp_dir/cuts" --encoders "{$encoders}" \
    --random_seeds "[${seeds// /, }]" --output "$exp_dir/embeddings"
  $launch recipes.probe.fit --config ../conf/tasks.yaml --resources.workers 2 \
    --cuts "$exp_dir/cuts" --embeddings "$exp_dir/embeddings" --output "$exp_dir/fit"
fi

if stage 5 "report: $exp_dir/fit, curves, pairs -> $exp_dir/report/report.html"; then
  python -m recipes.probe.report --fitted "$exp_dir/fit" --output "$exp_dir/report" \
    --runs "{cola: $exp_dir/cola_0, source: $exp_dir/source_0}"
  python -m audiossl compare "$exp_dir/fit" --reference cola --probe linear --format markdown |
    tee "$exp_dir/report/table.md"
fi
