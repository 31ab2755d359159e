#!/usr/bin/env bash
# The benchmark: fourteen tasks over speech, music and sounds, all small encoders at hand, one table with intervals.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
corpus_dir=../download    # where the corpus is built, or lies
encoder=audiossl:small    # the first row, with which the others are compared
jobs=2                    # processes that decode, embed and fit
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh
# shellcheck source-path=SCRIPTDIR source=../local/corpus.sh
. ../local/corpus.sh

if [[ -d $(from_caller "$encoder") ]]; then encoder=$(from_caller "$encoder"); fi

if stage 0 "corpus: $corpus_dir"; then
  build_corpus
fi

if stage 1 "items: $corpus_dir -> $exp_dir/items"; then
  run $launch egs.debian_packages.benchmark.corpus "$corpus_dir" "$exp_dir/items"
fi

if stage 2 "cuts: $exp_dir/items -> $exp_dir/cuts"; then
  run $launch recipes.prepare.folder --folder "$exp_dir/items" --labels "[$exp_dir/items/labels.csv]" \
    --only_labeled true --resources.workers "$jobs" --output "$exp_dir/cuts"
fi

embed() {
  name=$1
  shift
  run $launch recipes.probe.embed --config conf/embed.yaml --encoders.small "$encoder" --cuts "$exp_dir/cuts" "$@" \
    --resources.cache "$exp_dir/cache" --resources.workers "$jobs" --output "$exp_dir/embeddings/$name"
}

if stage 3 "embeddings: $exp_dir/cuts -> $exp_dir/embeddings"; then
  embed clips
  embed phones --where "{package: [festvox-ru]}" --embedding.layers "[output]" --embedding.segments phones
fi

if stage 4 "probes: $exp_dir/embeddings -> $exp_dir/probes"; then
  run $launch recipes.probe.fit --config conf/tasks.yaml --cuts "$exp_dir/cuts" --resources.workers "$jobs" \
    --embeddings "$exp_dir/embeddings/clips" --output "$exp_dir/probes/clips"
  run $launch recipes.probe.fit --config conf/phones.yaml --cuts "$exp_dir/cuts" --resources.workers "$jobs" \
    --embeddings "$exp_dir/embeddings/phones" --output "$exp_dir/probes/phones"
fi

if stage 5 "report: $exp_dir/probes -> $exp_dir/report"; then
  for part in clips phones; do
    run $launch recipes.probe.report --fitted "$exp_dir/probes/$part" --title "The benchmark of Debian packages: $part" \
      --output "$exp_dir/report/$part"
  done
  run $launch egs.debian_packages.benchmark.table "$exp_dir/probes/clips" "$exp_dir/probes/phones"
fi
