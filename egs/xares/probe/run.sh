#!/usr/bin/env bash
# X-ARES: tasks of clips from the tars that it downloads (env/<task>/*.tar), each with a folder in conf; and their means.
# Not here: tasks of crops (VoxCeleb1, VoxLingua33, FMA, LibriSpeech-MF, FSD50k), of frames (DESED, MAESTRO), of text.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
env_dir=download               # where X-ARES keeps its tasks
tasks=                    # names of folders in conf, by default all whose tars are in env_dir
encoders="small: 'audiossl:small'"
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $env_dir == download ]] || env_dir=$(from_caller "$env_dir" "$invoked_from")
[[ $exp_dir == exp ]] || exp_dir=$(from_caller "$exp_dir" "$invoked_from")
if [[ -z $tasks ]]; then
  for folder in conf/*/; do
    folder=${folder%/}
    if [[ -d $env_dir/${folder##*/} ]]; then tasks+="${folder##*/} "; fi
  done
fi

for task in $tasks; do
  exp=$exp_dir/$task
  if stage 0 "shards: $env_dir/$task -> $exp/cuts"; then
    run $launch recipes.prepare.tars --config "conf/$task/tars.yaml" --folder "$env_dir/$task" --output "$exp/cuts"
  fi
  # X-ARES sees the frames of the last layer, averaged, of whole clips.
  if stage 1 "embeddings: $exp/cuts -> $exp/embeddings"; then
    run $launch recipes.probe.embed --cuts "$exp/cuts" --encoders "{$encoders}" --embedding.whole true \
      --embedding.layers '[output]' --output "$exp/embeddings"
  fi
  if stage 2 "probes: $exp/embeddings -> $exp/fit"; then
    run $launch recipes.probe.fit --config "conf/$task/tasks.yaml" \
      --cuts "$exp/cuts" --embeddings "$exp/embeddings" --output "$exp/fit"
  fi
done

if stage 3 "means over tasks: $exp_dir/*/fit"; then
  run python ../../utils/benchmark.py "$exp_dir"/*/fit/scores.json --weights conf/weights.yaml
fi
