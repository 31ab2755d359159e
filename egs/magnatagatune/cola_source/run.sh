#!/usr/bin/env bash
# COLA and musical source association on MagnaTagATune, with the values of Garoufis et al. (2023).
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
effort=paper              # paper, or smoke: a test of the plumbing
seeds="0 1 2"
corpus_dir=../download    # annotations_final.csv and the folders 0 to f
separator=demucs          # demucs, decomposition, spleeter
demucs_folder=            # with the weights of htdemucs; without one, ask for the hub in conf/stems_demucs.yaml
workers=0                 # processes beside this one that prepare and separate
exp_dir=exp
launch="python -m"        # "torchrun --nproc-per-node 8 -m" on a machine with eight accelerators
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $corpus_dir == ../download ]] || corpus_dir=$(from_caller "$corpus_dir" "$invoked_from")
if [[ $exp_dir == exp ]]; then exp_dir=exp/${effort}_$separator; else
  exp_dir=$(from_caller "$exp_dir" "$invoked_from")
fi

if stage 0 "manifests: $corpus_dir -> $exp_dir/cuts"; then
  run python -m egs.magnatagatune.local.labels "$corpus_dir" "$exp_dir/labels.csv"
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --resources.workers "$workers" --output "$exp_dir/cuts"
fi

if stage 1 "stems ($separator): $exp_dir/cuts -> $exp_dir/stems"; then
  weights=()
  [[ -n $demucs_folder ]] && weights=(--separator.folder "$(from_caller "$demucs_folder" "$invoked_from")")
  run $launch recipes.source_association.separate --config "../../utils/conf/stems_$separator.yaml" \
    "${weights[@]}" --cuts "$exp_dir/cuts" --originals "[$corpus_dir]" --encoding flac \
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
# shellcheck source-path=SCRIPTDIR source=../../utils/cola_source.sh
. ../../utils/cola_source.sh
