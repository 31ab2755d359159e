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

[[ $exp_dir == /* || $exp_dir == exp ]] || exp_dir=$invoked_from/$exp_dir
recipe=../../../recipes/spear/conf
cuts=$exp_dir/cuts
train="{split: [train]}"
corpora="[{cuts: $cuts, codes: [$exp_dir/codes], domain: speech, where: $train}]"

if stage 0 "manifests: $corpus_dir -> $cuts"; then
  python local/labels.py "$corpus_dir" "$exp_dir/labels.csv"
  python -m recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --output "$cuts"
fi

if stage 1 "quantizer: $cuts, $teacher -> $exp_dir/quantizer"; then
  $launch recipes.spear.embed_sample --cuts "$cuts" --teacher "$teacher" --where "$train" \
    --output "$exp_dir/sample"
  $launch recipes.spear.train_quantizer --config conf/quantizer.yaml --frames "$exp_dir/sample" \
    --output "$exp_dir/quantizer"
fi

if stage 2 "codes: $cuts, $exp_dir/quantizer -> $exp_dir/codes"; then
  $launch recipes.spear.encode --cuts "$cuts" --teacher "$teacher" --where "$train" \
    --quantizer "$exp_dir/quantizer" --field speech --output "$exp_dir/codes"
fi

if stage 3 "pre-flight: $exp_dir/codes -> $exp_dir/preflight"; then
  $launch recipes.spear.preflight --config "$recipe/speech_$size.yaml" \
    --config conf/pretrain.yaml --corpora "$corpora" --output "$exp_dir/preflight"
fi

if stage 4 "pretraining: $exp_dir/codes -> $exp_dir/pretrain"; then
  $launch recipes.spear.pretrain --config "$recipe/speech_$size.yaml" \
    --config conf/pretrain.yaml --corpora "$corpora" --output "$exp_dir/pretrain"
fi

if stage 5 "transcription: $exp_dir/pretrain -> $exp_dir/ctc"; then
  $launch recipes.spear.finetune_ctc --config $recipe/finetune_ctc.yaml --cuts "$cuts" \
    --encoder "$exp_dir/pretrain" --train.where "{part: [train-clean-100]}" \
    --test "{part: [test-clean]}" --output "$exp_dir/ctc"
fi
