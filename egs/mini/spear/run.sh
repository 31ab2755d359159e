#!/usr/bin/env bash
# SPEAR on the mini corpus: two small teachers, one student of speech and sounds, then its own pupil.
set -euo pipefail
invoked_from=$PWD
cd "$(dirname "$0")"

stage=0
stop_stage=100
effort=minutes            # minutes, or smoke: a test of the plumbing
corpus_dir=../data
exp_dir=exp
speech_teacher=auto       # pocketsphinx: where its wheel is installed, log_mel: otherwise
audio_teacher=auto        # aisfx: with log_mel:40 for what is faster than its 5 frames a second
launch="python -m"
# shellcheck source-path=SCRIPTDIR source=../../utils/recipe.sh
. ../../utils/recipe.sh

# Pretraining has two threads that wait by spinning: operations are so short that to wake one takes as long as it works. A
# step takes 0.22 s so, 0.30 with one thread, and 0.40 with two that sleep. Other stages work in processes.
pretraining_threads=$(($(getconf _NPROCESSORS_ONLN) > 1 ? 2 : 1))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

[[ $exp_dir == exp ]] && exp_dir=exp/$effort
recipe=../../../recipes/spear/conf
quantizer=conf/quantizer.yaml
[[ $effort == smoke ]] && quantizer=conf/quantizer_smoke.yaml
installed() { python -c "import importlib.metadata as m; m.version('$1')" 2> /dev/null; }
if [[ $speech_teacher == auto ]]; then
  speech_teacher=log_mel:40
  installed pocketsphinx && speech_teacher=pocketsphinx:
fi
if [[ $audio_teacher == auto ]]; then
  audio_teacher=log_mel:40
  installed aisfx && audio_teacher=aisfx:+log_mel:40
fi

cuts=$exp_dir/cuts
train="split: [train]"

# Codes of one teacher: sample -> quantizer -> codes. Arguments: stage, folder, teacher, field, where of the sample,
# where of the codes.
codes() {
  if stage "$1" "$4 codes of $3: $cuts -> $2"; then
    $launch recipes.spear.embed_sample --cuts "$cuts" --teacher "$3" --where "$5" \
      --num_frames 20000 --max_hours 0.1 --max_skipped 0.1 --output "$2/sample"
    $launch recipes.spear.train_quantizer --config "$quantizer" --frames "$2/sample" \
      --output "$2/quantizer"
    $launch recipes.spear.encode --cuts "$cuts" --teacher "$3" --where "$6" \
      --quantizer "$2/quantizer" --field "$4" --max_skipped 0.1 --output "$2/codes"
  fi
}

# A unified model. Arguments: stage, folder, folders of speech and of audio codes, settings.
pretrain() {
  if stage "$1" "pretraining: $3, $4 -> $2"; then
    OMP_NUM_THREADS=$pretraining_threads OMP_WAIT_POLICY=active $launch recipes.spear.pretrain \
      --config $recipe/tiny.yaml --config conf/encoder.yaml --config conf/masking.yaml \
      --config "conf/$effort.yaml" --corpora "[
      {cuts: $cuts, codes: [$3/codes], domain: speech, where: {domain: [speech], $train}},
      {cuts: $cuts, codes: [$3/codes, $4/codes], domain: audio, where: {domain: [sounds, music], $train}}]" \
      --data.domain_shares "{speech: 0.5, audio: 0.5}" --data.max_missing 0.1 --output "$2" "${@:5}"
  fi
}

if stage 0 "manifests: $corpus_dir -> $cuts"; then
  python ../local/labels.py "$corpus_dir" "$exp_dir/labels.csv"
  # Nine sounds are shorter than the 90 ms that a Zipformer makes a frame of.
  $launch recipes.prepare.folder --folder "$corpus_dir" --labels "[$exp_dir/labels.csv]" \
    --only_labeled true --min_duration 0.1 --output "$cuts"
fi

codes 1 "$exp_dir/speech" "$speech_teacher" speech "{domain: [speech], $train}" "{$train}"
codes 2 "$exp_dir/audio" "$audio_teacher" audio "{domain: [sounds, music], $train}" \
  "{domain: [sounds, music], $train}"
pretrain 3 "$exp_dir/spear" "$exp_dir/speech" "$exp_dir/audio"

# The first model teaches the second, in both domains; its codes are learned in a quarter of the steps.
second=()
[[ $effort == minutes ]] && second=(--loop.steps 400)
codes 4 "$exp_dir/second_speech" "$exp_dir/spear" speech "{domain: [speech], $train}" "{$train}"
codes 5 "$exp_dir/second_audio" "$exp_dir/spear" audio "{domain: [sounds, music], $train}" \
  "{domain: [sounds, music], $train}"
pretrain 6 "$exp_dir/spear_second" "$exp_dir/second_speech" "$exp_dir/second_audio" "${second[@]}"

if stage 7 "probes: $exp_dir/spear, $exp_dir/spear_second -> $exp_dir/probe"; then
  $launch recipes.probe.embed --cuts "$cuts" --output "$exp_dir/embeddings" \
    --encoders "{spear: $exp_dir/spear, spear_second: $exp_dir/spear_second}" --random_seeds "[0, 1, 2]" \
    --config conf/probe.yaml --resources.workers 2
  $launch recipes.probe.fit --config conf/tasks.yaml --resources.workers 2 --cuts "$cuts" \
    --embeddings "$exp_dir/embeddings" --output "$exp_dir/probe"
  $launch recipes.probe.report --fitted "$exp_dir/probe" --output "$exp_dir/report" \
    --runs "{spear: $exp_dir/spear, spear_second: $exp_dir/spear_second}"
fi
