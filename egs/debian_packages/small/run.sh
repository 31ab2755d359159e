#!/usr/bin/env bash
# How the encoder that comes with this package is made: small teachers of speech, sounds and music in one student.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
corpus_dir=../download    # where the corpus is built, or lies
compact_dir=              # write the training clips as Opus to this folder, and train on these: what fits through a wire
processors=false          # store the targets and train on a few processors: batches of 40 s, varied clips on disk
initial=                  # encoder to go on from, as load_encoder takes it; empty: random weights
steps=4000                # of 512 s of audio each; with `processors`, of 40 s
seed=0
jobs=2                    # processes that decode and render
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh
# shellcheck source-path=SCRIPTDIR source=../local/corpus.sh
. ../local/corpus.sh

if [[ -d $(from_caller "$initial") ]]; then initial=$(from_caller "$initial"); fi

if stage 0 "corpus: $corpus_dir"; then
  build_corpus
fi

audio=$corpus_dir
if [[ -n $compact_dir ]]; then
  audio=$compact_dir
  if stage 1 "training clips as Opus: $corpus_dir -> $compact_dir"; then
    run $launch egs.debian_packages.local.compact "$corpus_dir" "$compact_dir" "$jobs"
    for archive in "$compact_dir"/part-*.zip; do
      run $launch zipfile -e "$archive" "$compact_dir"
    done
  fi
fi

tables=$audio/labels.csv
if $processors; then
  tables+=", $audio/varied.csv"
  if stage 1 "varied clips: $audio -> $audio/varied.csv"; then
    run $launch egs.debian_packages.local.vary "$audio" "$jobs"
  fi
  if [[ -z $compact_dir ]]; then # scores and sound font are not among compact clips
    tables+=", $audio/orchestrated.csv"
    if stage 1 "scores in other instruments: $audio -> $audio/orchestrated.csv"; then
      run $launch egs.debian_packages.local.orchestrate "$audio" "$jobs"
    fi
  fi
fi

if stage 2 "manifests: $audio -> $exp_dir/cuts"; then
  run $launch recipes.prepare.folder --folder "$audio" --labels "[$tables]" \
    --only_labeled true --resources.workers "$jobs" --output "$exp_dir/cuts"
fi

options=()
if $processors; then
  targets=$exp_dir/targets
  if stage 3 "targets of the teachers: $exp_dir/cuts -> $targets"; then
    store() {
      name=$1
      shift
      run $launch recipes.distillation.targets --cuts "$exp_dir/cuts" --where "split: [train]" --teacher "$name:" "$@" \
        --resources.workers "$jobs" --output "$targets/$name"
    }
    music=(--spread collection) # rendered scores, and their stems, as often as recordings
    store ge2e --hours "{speech: 6}" --min_duration 0.5
    store pocketsphinx --hours "{speech: 6}" --frame_rate 50
    store silero --hours "{sounds: 9, music: 1, speech: 2}" "${music[@]}" --frame_rate 25
    store aisfx --hours "{sounds: 9, music: 7, speech: 1}" "${music[@]}" --max_skipped 0.05 # of sounds shorter than its frame
    store musicnn --hours "{sounds: 9, music: 7}" "${music[@]}" --min_duration 0.3
    store spleeter --hours "{sounds: 9, music: 7}" "${music[@]}" --min_duration 0.3
    store basic_pitch --hours "{music: 4}" "${music[@]}" --frame_rate 25
    store crepe --hours "{music: 3, speech: 1}" "${music[@]}" --frame_rate 25
  fi
  options=(--config conf/processors.yaml --targets)
  options+=("{$(for name in ge2e pocketsphinx silero aisfx musicnn spleeter basic_pitch crepe; do printf '%s: %s, ' $name "$targets/$name"; done)}")
fi
[[ -n $initial ]] && options+=(--config conf/continued.yaml --initial_weights "$initial")

if stage 4 "distillation: $exp_dir/cuts -> $exp_dir/small"; then
  run $launch recipes.distillation.pretrain --config ../../../recipes/distillation/conf/small.yaml \
    --config conf/distillation.yaml "${options[@]}" --cuts "$exp_dir/cuts" --where "split: [train]" \
    --loop.steps "$steps" --loop.seed "$seed" --output "$exp_dir/small"
fi

if stage 5 "as it ships, in half precision: $exp_dir/small -> $exp_dir/shipped"; then
  final=$exp_dir/small
  if [[ -n $initial ]]; then
    final=$exp_dir/average
    run $launch egs.debian_packages.small.average "$initial" "$exp_dir/small" "$final"
  fi
  run $launch egs.debian_packages.small.ship "$final" "$exp_dir/shipped"
fi
