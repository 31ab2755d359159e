# shellcheck shell=bash disable=SC2154
# Sourced by cola_source/run.sh of music corpora with tags, whose stems a separator makes: all of their stages, with the
# values of Garoufis et al. (2023). Wants corpus, the name of the folder in egs, and the options of those scripts.

[[ $exp_dir == exp ]] && exp_dir=exp/${effort}_$separator

if stage 0 "manifests: $corpus_dir -> $exp_dir/cuts"; then
  run python -m "egs.$corpus.local.labels" "$corpus_dir" "$exp_dir/labels.csv"
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --resources.workers "$workers" --output "$exp_dir/cuts"
fi

if stage 1 "stems ($separator): $exp_dir/cuts -> $exp_dir/stems"; then
  weights=()
  [[ -n $demucs_folder ]] && weights=(--separator.folder "$demucs_folder")
  run $launch recipes.source_association.separate --config "../../utils/conf/stems_$separator.yaml" \
    "${weights[@]}" --cuts "$exp_dir/cuts" --originals "$corpus_dir" --encoding flac \
    --resources.workers "$workers" --output "$exp_dir/stems"
fi

shared=../../utils/conf
base=$root/recipes/source_association/conf/base.yaml
both=(--config "$shared/$effort.yaml" --config ../conf/train.yaml)
# shellcheck disable=SC2034
{
  cola_options=(--config "$shared/cola.yaml" "${both[@]}")
  source_options=(--config "$base" "${both[@]}")
  [[ $separator == spleeter ]] && source_options+=(--config "$shared/sources_spleeter.yaml")
  probe_cuts=$exp_dir/cuts
  tasks=../conf/tasks.yaml
  embed_options=(--config ../conf/embed.yaml)
  fit_options=(--aggregate scores)
}
# shellcheck source-path=SCRIPTDIR source=cola_source.sh
. ../../utils/cola_source.sh
