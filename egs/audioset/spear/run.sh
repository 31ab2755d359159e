#!/usr/bin/env bash
# SPEAR on AudioSet, sounds alone, then fine-tuned on its balanced part. Numbers: RESULTS.md.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
corpus_dir=download/audioset
exp_dir=exp
teacher=dasheng:download/dasheng_1.2B.pt
size=base
launch="torchrun --standalone --nproc-per-node=gpu -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

# shellcheck disable=SC2034
{
  domain=audio
  sample="{part: [balanced_train]}"
}
# shellcheck source-path=SCRIPTDIR source=../../utils/spear_one_corpus.sh
. ../../utils/spear_one_corpus.sh

if stage 5 "tagging: $exp_dir/pretrain -> $exp_dir/tagging"; then
  $launch recipes.finetune --config $recipe/finetune_tagging.yaml --cuts "$cuts" \
    --encoder "$exp_dir/pretrain" --train.where "$sample" --test "{part: [eval]}" \
    --output "$exp_dir/tagging"
fi
