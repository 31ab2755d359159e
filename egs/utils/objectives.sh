# shellcheck shell=bash disable=SC2154,SC2086
# Sourced by recipes that train one encoder in many ways on one corpus, a way a file, conf/<recipe>/<name>.yaml: their runs,
# and codes to be learned. Wants cuts, train (which of them are trained on), stems and codes (folders), jobs and launch.

# Prints every conf/<recipe>/<name>.yaml as <recipe>/<name>: nothing else has to be added for a new one.
every_way() {
  local files=(conf/*/*.yaml)
  local names=${files[*]#conf/}
  echo "${names//.yaml/}"
}

# Sample, quantizer and codes in folder $1, by the settings in the lists `teacher` and `quantizer`.
encode_into() {
  run $launch recipes.spear.embed_sample --cuts "$cuts" "${teacher[@]}" --where "$train" --num_frames 20000 \
    --max_hours 0.1 --max_skipped 0.1 --output "$1/sample"
  run $launch recipes.spear.train_quantizer "${quantizer[@]}" --frames "$1/sample" --output "$1/quantizer"
  run $launch recipes.spear.encode --cuts "$cuts" "${teacher[@]}" --where "$train" --quantizer "$1/quantizer" \
    --field audio --max_skipped 0.1 --output "$1/codes"
}

# What recipe $1 reads, in the list `inputs`.
inputs_of() {
  case $1 in
    source_association | privileged) inputs=(--cuts "$cuts" --stems "$stems" --where "$train") ;;
    spear) inputs=(--corpora "[{cuts: $cuts, codes: [$codes], domain: audio, where: $train}]") ;;
    *) inputs=(--cuts "$cuts" --where "$train") ;;
  esac
}

# A run that fails ends the others, which go on from their checkpoints the next time.
trap 'kill $(jobs -pr) 2> /dev/null || true' EXIT

# Trains by recipe $1 into folder $2 with further settings, beside other runs as far as `jobs` allows.
train_into() {
  inputs_of "$1"
  while (($(jobs -pr | wc -l) >= jobs)); do wait -n; done
  run $launch "recipes.$1.pretrain" "${@:3}" "${inputs[@]}" --output "$2" &
}

# Waits for all runs.
end_of_runs() {
  while [[ -n $(jobs -p) ]]; do wait -n; done
}
