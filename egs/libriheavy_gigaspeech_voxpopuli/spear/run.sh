#!/usr/bin/env bash
# SPEAR on three corpora of English speech, 84 000 h. Numbers: RESULTS.md. What must be there:
#   $corpus_dir/libriheavy    libriheavy_cuts_{small,medium,large}.jsonl.gz as published, and the audio of Libri-Light where
#                             they say: download/librilight/<part>/...
#   $corpus_dir/gigaspeech    GigaSpeech.json and audio/
#   $corpus_dir/voxpopuli     unlabelled_data/en/<year>/*.ogg, as get_unlabelled_data cuts them
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
effort=full               # full, or smoke: a test of the plumbing
corpus_dir=download
libriheavy_parts="small medium large"
gigaspeech_subset=XL
exp_dir=exp
teacher="hf:download/wavlm-large#21"
size=large
launch="torchrun --standalone --nproc-per-node=gpu -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

recipe=../../../recipes/spear/conf
quantizer=conf/quantizer.yaml
settings=(--config "$recipe/speech_$size.yaml" --config conf/pretrain.yaml)
if [[ $effort == smoke ]]; then
  quantizer=conf/quantizer_smoke.yaml
  settings+=(--config conf/smoke.yaml)
fi
names="gigaspeech voxpopuli"
for part in $libriheavy_parts; do names="libriheavy_$part $names"; done
corpora=
for name in $names; do
  corpora+="${corpora:+, }{cuts: $exp_dir/cuts/$name, codes: [$exp_dir/codes/$name], domain: speech}"
done
# A quantizer is trained on the first part of the first corpus.
first=libriheavy_${libriheavy_parts%% *}

if stage 0 "manifests: $corpus_dir -> $exp_dir/cuts"; then
  for part in $libriheavy_parts; do
    python -m recipes.prepare.lhotse --root "$corpus_dir/libriheavy" \
      --manifest "$corpus_dir/libriheavy/libriheavy_cuts_$part.jsonl.gz" \
      --output "$exp_dir/cuts/libriheavy_$part"
  done
  python local/gigaspeech.py "$corpus_dir/gigaspeech" "$exp_dir/gigaspeech_cuts.jsonl.gz" \
    "$gigaspeech_subset"
  python -m recipes.prepare.lhotse --manifest "$exp_dir/gigaspeech_cuts.jsonl.gz" \
    --output "$exp_dir/cuts/gigaspeech"
  python -m recipes.prepare.folder --folder "$corpus_dir/voxpopuli/unlabelled_data/en" \
    --output "$exp_dir/cuts/voxpopuli"
fi

if stage 1 "quantizer: $exp_dir/cuts/$first, $teacher -> $exp_dir/quantizer"; then
  $launch recipes.spear.embed_sample --cuts "$exp_dir/cuts/$first" --teacher "$teacher" \
    --output "$exp_dir/sample"
  $launch recipes.spear.train_quantizer --config "$quantizer" --frames "$exp_dir/sample" \
    --output "$exp_dir/quantizer"
fi

for name in $names; do
  if stage 2 "codes: $exp_dir/cuts/$name, $exp_dir/quantizer -> $exp_dir/codes/$name"; then
    $launch recipes.spear.encode --cuts "$exp_dir/cuts/$name" --teacher "$teacher" \
      --quantizer "$exp_dir/quantizer" --field speech --output "$exp_dir/codes/$name"
  fi
done

if stage 3 "pre-flight: $exp_dir/codes -> $exp_dir/preflight"; then
  $launch recipes.spear.preflight "${settings[@]}" --corpora "[$corpora]" --output "$exp_dir/preflight"
fi

if stage 4 "pretraining: $exp_dir/codes -> $exp_dir/pretrain"; then
  $launch recipes.spear.pretrain "${settings[@]}" --corpora "[$corpora]" --output "$exp_dir/pretrain"
fi
