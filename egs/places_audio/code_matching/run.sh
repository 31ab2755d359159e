#!/usr/bin/env bash
# Cross-modal code matching on Places Audio Captions: images (features computed elsewhere) and
# spoken captions. Dry run: --launch "echo python -m" (stage 0 then writes the manifests only).
set -euo pipefail
cd "$(dirname "$0")"

stage=0
stop_stage=100
corpus_dir=download/PlacesAudio_400k_distro
features_dir=download/features   # features.npy (images, positions, dim) and images.txt
exp_dir=exp
recipe=../../../recipes/code_matching/conf
launch="torchrun --standalone --nproc-per-node=gpu -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

# shellcheck source-path=SCRIPTDIR source=../../utils/spoken_images.sh
. ../../utils/spoken_images.sh
