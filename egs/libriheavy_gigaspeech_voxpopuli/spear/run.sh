#!/usr/bin/env bash
# SPEAR on three corpora of English speech, from lhotse's manifests of cuts. Numbers: RESULTS.md.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
manifest_dir=download     # <corpus>_cuts.jsonl.gz of libriheavy, gigaspeech and voxpopuli, by lhotse's own recipes
exp_dir=exp
teacher="hf:download/wavlm-large#21"
size=large
launch="torchrun --standalone --nproc-per-node=gpu -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $exp_dir == /* || $exp_dir == exp ]] || exp_dir=$invoked_from/$exp_dir
recipe=../../../recipes/spear/conf
names="libriheavy gigaspeech voxpopuli"
corpora=
for name in $names; do
  corpora+="${corpora:+, }{cuts: $exp_dir/cuts/$name, codes: [$exp_dir/codes/$name], domain: speech}"
done

for name in $names; do
  if stage 0 "manifests: $manifest_dir/${name}_cuts.jsonl.gz -> $exp_dir/cuts/$name"; then
    python -m recipes.prepare.lhotse --manifest "$manifest_dir/${name}_cuts.jsonl.gz" \
      --output "$exp_dir/cuts/$name"
  fi
done

if stage 1 "quantizer: $exp_dir/cuts/libriheavy, $teacher -> $exp_dir/quantizer"; then
  $launch recipes.spear.embed_sample --cuts "$exp_dir/cuts/libriheavy" --teacher "$teacher" \
    --output "$exp_dir/sample"
  $launch recipes.spear.train_quantizer --config conf/quantizer.yaml --frames "$exp_dir/sample" \
    --output "$exp_dir/quantizer"
fi

for name in $names; do
  if stage 2 "codes: $exp_dir/cuts/$name, $exp_dir/quantizer -> $exp_dir/codes/$name"; then
    $launch recipes.spear.encode --cuts "$exp_dir/cuts/$name" --teacher "$teacher" \
      --quantizer "$exp_dir/quantizer" --field speech --output "$exp_dir/codes/$name"
  fi
done

if stage 3 "pre-flight: $exp_dir/codes -> $exp_dir/preflight"; then
  $launch recipes.spear.preflight --config "$recipe/speech_$size.yaml" \
    --config conf/pretrain.yaml --corpora "[$corpora]" --output "$exp_dir/preflight"
fi

if stage 4 "pretraining: $exp_dir/codes -> $exp_dir/pretrain"; then
  $launch recipes.spear.pretrain --config "$recipe/speech_$size.yaml" \
    --config conf/pretrain.yaml --corpora "[$corpora]" --output "$exp_dir/pretrain"
fi
