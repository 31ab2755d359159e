#!/usr/bin/env bash
# COLA and musical source association on FMA, with the values of Garoufis et al. (2023).
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
effort=paper              # paper, or smoke: a test of the plumbing
# shellcheck disable=SC2034
seeds="0 1 2"
corpus_dir=../download    # fma_metadata and fma_small (or a larger set)
separator=demucs          # demucs, decomposition, spleeter
demucs_folder=            # with the weights of htdemucs; without one, ask for the hub in conf/stems_demucs.yaml
workers=0                 # processes beside this one that prepare and separate
exp_dir=exp
launch="python -m"        # "torchrun --nproc-per-node 8 -m" on a machine with eight accelerators
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

# shellcheck disable=SC2034
corpus=fma
# shellcheck source-path=SCRIPTDIR source=../../utils/tagged_music.sh
. ../../utils/tagged_music.sh
