# shellcheck shell=bash disable=SC2154
# Sourced by spear/run.sh of a single corpus: its stages from manifests to pretraining. Wants domain (speech or audio), sample
# (cuts that the quantizer is trained on), and the options of those scripts.

recipe=../../../recipes/spear/conf
cuts=$exp_dir/cuts
train="{split: [train]}"
corpora="[{cuts: $cuts, codes: [$exp_dir/codes], domain: $domain, where: $train}]"

if stage 0 "manifests: $corpus_dir -> $cuts"; then
  python local/labels.py "$corpus_dir" "$exp_dir/labels.csv"
  python -m recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --output "$cuts"
fi

if stage 1 "quantizer: $cuts, $teacher -> $exp_dir/quantizer"; then
  $launch recipes.spear.embed_sample --cuts "$cuts" --teacher "$teacher" --where "$sample" \
    --output "$exp_dir/sample"
  $launch recipes.spear.train_quantizer --config conf/quantizer.yaml --frames "$exp_dir/sample" \
    --output "$exp_dir/quantizer"
fi

if stage 2 "codes: $cuts, $exp_dir/quantizer -> $exp_dir/codes"; then
  $launch recipes.spear.encode --cuts "$cuts" --teacher "$teacher" --where "$train" \
    --quantizer "$exp_dir/quantizer" --field "$domain" --output "$exp_dir/codes"
fi

if stage 3 "pre-flight: $exp_dir/codes -> $exp_dir/preflight"; then
  $launch recipes.spear.preflight --config "$recipe/${domain}_$size.yaml" \
    --config conf/pretrain.yaml --corpora "$corpora" --output "$exp_dir/preflight"
fi

if stage 4 "pretraining: $exp_dir/codes -> $exp_dir/pretrain"; then
  $launch recipes.spear.pretrain --config "$recipe/${domain}_$size.yaml" \
    --config conf/pretrain.yaml --corpora "$corpora" --output "$exp_dir/pretrain"
fi
