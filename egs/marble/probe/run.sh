#!/usr/bin/env bash
# MARBLE: tagging (mtt), genre (gtzan) and key (key) of music, by one hidden layer on every layer of an encoder.
# mtt takes MagnaTagATune as egs/magnatagatune/README.md says; gtzan and key a folder of audio with a labels.csv in it:
# path, split (train, valid, test), and genre or key ("Eb minor").
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
task=mtt                  # mtt, gtzan or key
corpus_dir=download
encoders="small: 'audiossl:small'"
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $corpus_dir == download ]] || corpus_dir=$(from_caller "$corpus_dir" "$invoked_from")
if [[ $exp_dir == exp ]]; then exp_dir=exp/$task; else
  exp_dir=$(from_caller "$exp_dir" "$invoked_from")
fi

if stage 0 "shards: $corpus_dir -> $exp_dir/cuts"; then
  labels=$corpus_dir/labels.csv
  if [[ $task == mtt ]]; then
    labels=$exp_dir/labels.csv
    run python -m egs.magnatagatune.local.labels "$corpus_dir" "$labels"
  fi
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$labels]" --only_labeled true \
    --output "$exp_dir/cuts"
fi

if stage 1 "embeddings of all layers: $exp_dir/cuts -> $exp_dir/embeddings"; then
  run $launch recipes.probe.embed --cuts "$exp_dir/cuts" --encoders "{$encoders}" --embedding.whole true \
    --embedding.layers '[all]' --embedding.storage float16 --random_of '[]' --output "$exp_dir/embeddings"
fi

if stage 2 "probes: $exp_dir/embeddings -> $exp_dir/fit"; then
  run $launch recipes.probe.fit --config "conf/$task.yaml" --cuts "$exp_dir/cuts" \
    --embeddings "$exp_dir/embeddings" --output "$exp_dir/fit"
fi

if stage 3 "report: $exp_dir/fit -> $exp_dir/report/report.html"; then
  run python -m recipes.probe.report --fitted "$exp_dir/fit" --output "$exp_dir/report"
fi
