#!/usr/bin/env bash
# A SPEAR encoder fine-tuned on the mini corpus: for transcription (characters, CTC) and for tagging of sounds. Settings are
# chosen on the split "valid"; `--split test` trains the same again and scores the test split.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
effort=minutes            # minutes, or smoke: a test of the plumbing
cuts=exp/minutes/cuts     # what stage 0 of run.sh makes
encoder=exp/minutes/spear # what is fine-tuned: output of a pretrain stage, or kind:path (random:exp/minutes/spear)
split=valid               # what is scored: valid or test
seed=0
exp_dir=exp/finetune
launch="python -m"
dry_run=false
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $cuts == exp/* ]] || cuts=$(from_caller "$cuts")
[[ $encoder == exp/* || $encoder == *:* ]] || encoder=$(from_caller "$encoder")
exp_dir=$exp_dir/${effort}_${split}_$seed
recipe=../../../recipes/spear/conf
smoke=()
[[ $effort == smoke ]] && smoke=(--config conf/finetune_smoke.yaml)

# Fine-tunes and prints scores. Arguments: stage, task, domain of the cuts.
finetune() {
  if stage "$1" "$2: $encoder, $cuts -> $exp_dir/$2"; then
    run $launch recipes.finetune --config "$recipe/finetune_$2.yaml" \
      --config "conf/finetune_$2.yaml" "${smoke[@]}" --loop.seed "$seed" --cuts "$cuts" --encoder "$encoder" \
      --train.where "{domain: [$3], split: [train]}" --test "{domain: [$3], split: [$split]}" \
      --output "$exp_dir/$2"
    run cat "$exp_dir/$2/scores.json"
  fi
}

finetune 0 ctc speech
finetune 1 tagging sounds
