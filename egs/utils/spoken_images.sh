# shellcheck shell=bash disable=SC2154
# Sourced by code_matching/run.sh of corpora of images and spoken captions: all of their stages. Wants their options.

if stage 0 "manifests: $corpus_dir, $features_dir -> $exp_dir/manifest"; then
  python local/manifest.py "$corpus_dir" "$features_dir" "$exp_dir/manifest"
  $launch recipes.prepare.folder --folder "$corpus_dir" \
    --labels "[$exp_dir/manifest/labels.csv]" --only_labeled true --output "$exp_dir/cuts"
fi

if stage 1 "pairs: $exp_dir/manifest, $exp_dir/cuts -> $exp_dir/pairs"; then
  $launch recipes.code_matching.pairs --config conf/pairs.yaml --cuts "[$exp_dir/cuts]" \
    --source "$exp_dir/manifest/pairs.jsonl" --output "$exp_dir/pairs"
fi

if stage 2 "warm start: $exp_dir/pairs -> $exp_dir/continuous"; then
  $launch recipes.code_matching.pretrain --config "$recipe/base.yaml" --config conf/encoders.yaml \
    --config conf/continuous.yaml --pairs "$exp_dir/pairs" --output "$exp_dir/continuous"
fi

for arm in projected control codes; do
  if stage 3 "$arm: $exp_dir/pairs, $exp_dir/continuous -> $exp_dir/$arm"; then
    $launch recipes.code_matching.pretrain --config "$recipe/base.yaml" --config conf/encoders.yaml \
      --config "conf/$arm.yaml" --pairs "$exp_dir/pairs" --warm_start "$exp_dir/continuous" \
      --output "$exp_dir/$arm"
  fi
done

if stage 4 "evaluation: $exp_dir/projected, control, codes -> $exp_dir/evaluation"; then
  $launch recipes.code_matching.evaluate --config conf/evaluate.yaml --pairs "$exp_dir/pairs" \
    --runs "[$exp_dir/projected,$exp_dir/control,$exp_dir/codes,$exp_dir/continuous]" \
    --cuts "[$exp_dir/cuts]" --output "$exp_dir/evaluation"
fi
