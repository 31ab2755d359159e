# shellcheck shell=bash disable=SC2154
# Sourced by every run.sh of this folder: builds the corpus, or leaves one that has its table as it is. Remove labels.csv to
# build what is missing.
build_corpus() {
  [[ ! -e $corpus_dir/labels.csv ]] || return 0
  run ../local/fetch.sh "$corpus_dir"
  run $launch egs.debian_packages.local.collect "$corpus_dir" "$jobs"
}
