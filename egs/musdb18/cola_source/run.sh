#!/usr/bin/env bash
# COLA and musical source association on MUSDB18-HQ, whose stems are the studio's.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
effort=paper              # paper, or smoke: a test of the plumbing
seeds="0 1 2"
corpus_dir=../download    # MUSDB18-HQ: train and test
probe_dir=../../mini/data # MUSDB18 has no tags: the encoders are probed on the mini corpus
workers=0                 # processes beside this one that prepare and read stems
exp_dir=exp
launch="python -m"        # "torchrun --nproc-per-node 8 -m" on a machine with eight accelerators
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

[[ $exp_dir == exp ]] && exp_dir=exp/$effort

if stage 0 "manifests: $corpus_dir, $probe_dir -> $exp_dir/cuts, $exp_dir/probe_cuts"; then
  run python -m egs.musdb18.local.labels "$corpus_dir" "$exp_dir/labels.csv"
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --resources.workers "$workers" --output "$exp_dir/cuts"
  run python ../../mini/local/labels.py "$probe_dir" "$exp_dir/probe_labels.csv"
  run $launch recipes.prepare.folder --folder "$probe_dir" --labels "[$exp_dir/probe_labels.csv]" \
    --only_labeled true --output "$exp_dir/probe_cuts"
fi

if stage 1 "stems: $corpus_dir -> $exp_dir/stems"; then
  run $launch recipes.source_association.separate --config ../conf/stems_given.yaml \
    --cuts "$exp_dir/cuts" --originals "$corpus_dir" --encoding flac \
    --resources.workers "$workers" --output "$exp_dir/stems"
fi

shared=../../utils/conf
base=$root/recipes/source_association/conf/base.yaml
both=(--config "$shared/$effort.yaml" --config ../conf/train.yaml)
# shellcheck disable=SC2034
{
  cola_options=(--config "$shared/cola.yaml" "${both[@]}")
  source_options=(--config "$base" "${both[@]}")
  probe_cuts=$exp_dir/probe_cuts
  tasks=../../mini/conf/tasks.yaml
  embed_options=()
  fit_options=()
}
# shellcheck source-path=SCRIPTDIR source=../../utils/cola_source.sh
. ../../utils/cola_source.sh
