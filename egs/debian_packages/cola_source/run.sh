#!/usr/bin/env bash
# COLA and musical source association on real speech, music and sounds out of Debian packages.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
dry_run=false
effort=minutes            # smoke, minutes (one seed), hour (three seeds, 2 cores), gpu (three seeds, B0)
seeds=                    # by default those of the effort
steps=                    # by default those of the effort: set it to fit the time you have
data=all                  # all, or music: what is pretrained on
separator=given           # given (scores and songs that bring stems), decomposition, spleeter (all music)
corpus_dir=../download    # where the corpus is built, or lies
jobs=2                    # processes that decode and render
exp_dir=exp
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh
# shellcheck source-path=SCRIPTDIR source=../local/corpus.sh
. ../local/corpus.sh

[[ $exp_dir == exp ]] && exp_dir=exp/${effort}_${data}_$separator
if [[ -z $seeds ]]; then
  case $effort in hour | gpu) seeds="0 1 2" ;; *) seeds=0 ;; esac
fi

if stage 0 "corpus and manifests: $corpus_dir -> $exp_dir/cuts"; then
  build_corpus
  run $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$corpus_dir/labels.csv]" \
    --only_labeled true --resources.workers "$jobs" --output "$exp_dir/cuts"
fi

if stage 1 "stems ($separator): $exp_dir/cuts -> $exp_dir/stems"; then
  given=()
  [[ $separator == given ]] && given=(--originals "$corpus_dir")
  run $launch recipes.source_association.separate --config "../conf/stems_$separator.yaml" \
    --cuts "$exp_dir/cuts" "${given[@]}" --resources.workers "$jobs" --output "$exp_dir/stems"
fi

encoder=narrow
[[ $effort == gpu ]] && encoder=b0
loop=(--config "conf/encoder_$encoder.yaml" --config "conf/$effort.yaml" --config "conf/$data.yaml")
[[ -n $steps ]] && loop+=(--loop.steps "$steps")
# shellcheck disable=SC2034
{
  cola_options=(--config conf/cola.yaml "${loop[@]}")
  source_options=(--config conf/cola.yaml --config "conf/source_$separator.yaml" "${loop[@]}")
  probe_cuts=$exp_dir/cuts
  tasks=../conf/tasks.yaml
  embed_options=()
  fit_options=()
}
# shellcheck source-path=SCRIPTDIR source=../../utils/cola_source.sh
. ../../utils/cola_source.sh
