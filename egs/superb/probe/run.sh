#!/usr/bin/env bash
# SUPERB's ten tasks on frozen encoders: heads on a sum of layers with learned weights, speaker verification, and query
# by example.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
tasks="pr asr ks ic sid asv er sf sd qbe" # what is probed
corpora=download         # has a folder of each task's corpus: LibriSpeech, speech_commands, ...
encoders="{small: audiossl:small}"
rates="[1e-4, 1e-3, 1e-2]" # chosen from on dev; SUPERB's grid is 1e-1 to 1e-7
seeds="[0]"
trials=veri_test2.txt    # of asv: VoxCeleb1-O cleaned, as SUPERB has it; veri_test.txt is the first list
effort=paper             # paper, or smoke: a test of the plumbing
exp_dir=exp
launch="python -m"
dry_run=false
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $corpora == /* || $corpora == download ]] || corpora=$(from_caller "$corpora" "$invoked_from")
[[ $exp_dir == /* || $exp_dir == exp ]] || exp_dir=$(from_caller "$exp_dir" "$invoked_from")
declare -A corpus=([pr]=LibriSpeech [asr]=LibriSpeech [ks]=speech_commands [ic]=fluent_speech_commands
  [sid]=VoxCeleb1 [asv]=VoxCeleb1 [er]=IEMOCAP_full_release [sf]=SNIPS [sd]=Libri2Mix [qbe]=quesst14Database)

smoke=()
smoke_search=()
[[ $effort == smoke ]] && smoke=(--config conf/smoke.yaml) && smoke_search=(--config conf/smoke_search.yaml)

for task in $tasks; do
  folder=$corpora/${corpus[$task]}
  if stage 0 "$task: manifests: $folder -> $exp_dir/$task/cuts"; then
    run python ../local/labels.py "$task" "$folder" "$exp_dir/$task/labels.csv"
    run python -m recipes.prepare.folder --folder "$folder" --labels "[$exp_dir/$task/labels.csv]" \
      --only_labeled true --output "$exp_dir/$task/cuts"
  fi
  places=(--cuts "$exp_dir/$task/cuts" --encoders "$encoders" --output "$exp_dir/$task/probe")
  if stage 1 "$task: $exp_dir/$task/cuts -> $exp_dir/$task/probe"; then
    case $task in
      asv) run $launch recipes.probe.verification --config conf/asv.yaml "${smoke[@]}" --rates "$rates" --seeds "$seeds" \
        --trials "$folder/$trials" "${places[@]}" ;;
      qbe) run $launch recipes.probe.query_by_example --config conf/qbe.yaml --config "$exp_dir/qbe/unsearched.yaml" \
        "${smoke_search[@]}" "${places[@]}" ;;
      *) run $launch recipes.probe.sequence --config "conf/$task.yaml" "${smoke[@]}" --rates "$rates" --seeds "$seeds" \
        "${places[@]}" ;;
    esac
  fi
done
