#!/usr/bin/env bash
# SPEAR on LibriSpeech 960 h, speech alone, then fine-tuned on its 100 clean hours. Numbers: RESULTS.md.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
corpus_dir=download/LibriSpeech
exp_dir=exp
teacher="hf:download/wavlm-large#21"
size=base
launch="torchrun --standalone --nproc-per-node=gpu -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

# shellcheck disable=SC2034
{
  domain=speech
  sample="{split: [train]}"
}
# shellcheck source-path=SCRIPTDIR source=../../utils/spear_one_corpus.sh
. ../../utils/spear_one_corpus.sh

if stage 5 "transcription: $exp_dir/pretrain -> $exp_dir/ctc"; then
  $launch recipes.finetune --config $recipe/finetune_ctc.yaml --cuts "$cuts" \
    --encoder "$exp_dir/pretrain" --train.where "{part: [train-clean-100]}" \
    --test "{part: [test-clean]}" --output "$exp_dir/ctc"
fi
