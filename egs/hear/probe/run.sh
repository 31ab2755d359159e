#!/usr/bin/env bash
# HEAR 2021: tasks in the published layout (Zenodo, doi 5885750), one folder a task; and their mean.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
tasks_dir=tasks           # the folders of tasks, each with its task_metadata.json
encoders="small: 'audiossl:small'"
probes=conf/probes.yaml
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $tasks_dir == tasks ]] || tasks_dir=$(from_caller "$tasks_dir" "$invoked_from")
[[ $exp_dir == exp ]] || exp_dir=$(from_caller "$exp_dir" "$invoked_from")
[[ $probes == conf/probes.yaml ]] || probes=$(from_caller "$probes" "$invoked_from")

for task in "$tasks_dir"/*/task_metadata.json; do
  task=${task%/*}
  exp=$exp_dir/${task##*/}
  # Events are found in frames of the output, scenes told by clip vectors.
  frames=()
  if grep -q '"embedding_type": *"event"' "$task/task_metadata.json" 2> /dev/null; then
    frames=(--embedding.frames true --embedding.layers '[output]' --embedding.storage float16 --random_of '[]')
  fi
  if stage 0 "shards: $task -> $exp/cuts"; then
    run $launch recipes.prepare.hear --folder "$task" --output "$exp/cuts"
  fi
  if stage 1 "embeddings: $exp/cuts -> $exp/embeddings"; then
    run $launch recipes.probe.embed --cuts "$exp/cuts" --encoders "{$encoders}" "${frames[@]}" \
      --output "$exp/embeddings"
  fi
  if stage 2 "probes: $exp/embeddings -> $exp/fit"; then
    run $launch recipes.probe.fit --config "$exp/cuts/tasks.yaml" --config "$probes" \
      --cuts "$exp/cuts" --embeddings "$exp/embeddings" --output "$exp/fit"
  fi
done

if stage 3 "means over tasks: $exp_dir/*/fit"; then
  run python ../../utils/benchmark.py "$exp_dir"/*/fit/scores.json
fi
