#!/usr/bin/env bash
# Download the packages of packages.csv and unpack them, without root and without installing them.
#
#   local/fetch.sh <folder> [content]
#
#   [content]            only packages whose content holds a word of this pattern, as "music|score|soundfont"
#   <folder>/packages    the archives, as apt verified them, and SHA256SUMS of what was verified
#   <folder>/unpacked    one folder a package; whole ones only
#   <folder>/synthesizer FluidSynth and the libraries that this machine lacks
#
# Run again, it goes on. A package that this release does not have is named in unavailable.txt.
set -euo pipefail

(($# == 1 || $# == 2)) || { echo "usage: $0 <folder> [content]" >&2; exit 2; }
content=${2:-.}
for tool in apt-get apt-cache dpkg-deb sha256sum; do
  command -v "$tool" >/dev/null || { echo "$0: needs $tool: Debian, Ubuntu or one like them" >&2; exit 2; }
done
list=$(cd "$(dirname "$0")" && pwd)/packages.csv
mkdir -p "$1"/{packages,unpacked,synthesizer}
cd "$1"
touch packages/SHA256SUMS

log() { echo "$(date '+%F %T') ${0##*/}: $*" >&2; }

# Prints the value of field $2 in the record of package $1.
field() { apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n "s/^$2: //p" | head -n 1; }

# Unpacks package $1 into folder $2 through a temporary name; the archive stays in packages/.
fetch() {
  local package=$1 place=$2 archive
  [[ -d $place ]] && return
  archive=$(find packages -maxdepth 1 -name "${package}_*.deb" -print -quit)
  if [[ -n $archive ]] && ! grep -F "  $archive" packages/SHA256SUMS | sha256sum --check --status; then
    log "$archive is not what was downloaded: again"
    rm "$archive"
    archive=
  fi
  if [[ -z $archive ]]; then
    rm -rf packages/.part && mkdir packages/.part
    # apt compares what it downloads with the archive's signed index.
    (cd packages/.part && apt-get download -qq -o APT::Sandbox::User="$(id -un)" "$package")
    archive=packages/$(basename packages/.part/*.deb)
    mv packages/.part/*.deb "$archive"
    sha256sum "$archive" >>packages/SHA256SUMS
  fi
  rm -rf "$place.part"
  dpkg-deb -x "$archive" "$place.part"
  mv "$place.part" "$place"
}

wanted=() unavailable=() download=0 unpacked=0
while IFS=, read -r package held _; do
  [[ $held =~ $content ]] || continue
  [[ -d unpacked/$package ]] && continue
  if [[ -z $(field "$package" Size) ]]; then
    unavailable+=("$package")
    continue
  fi
  wanted+=("$package")
  download=$((download + $(field "$package" Size) / 1000000))
  unpacked=$((unpacked + $(field "$package" Installed-Size) / 1000))
done < <(tail -n +2 "$list")
printf '%s\n' "${unavailable[@]}" >unavailable.txt
((${#unavailable[@]})) && log "not in this release, left out: ${unavailable[*]} (apt-get update helps if all are)"
((${#unavailable[@]} > 10)) && { log "too many packages are missing"; exit 2; }
log "${#wanted[@]} packages: $download MB to download, $unpacked MB unpacked, in $PWD"
free=$(df --output=avail -BM . | tail -n 1 | tr -dc 0-9)
((free > download + unpacked + 1000)) || { log "only $free MB are free here"; exit 2; }

for package in "${wanted[@]}"; do
  fetch "$package" "unpacked/$package"
done

if ! command -v fluidsynth >/dev/null; then
  # What would have to be installed is what this machine lacks; it is unpacked instead.
  apt-get --simulate --no-install-recommends install fluidsynth 2>/dev/null |
    sed -n 's/^Inst \([^ ]*\) .*/\1/p' | while read -r package; do
      fetch "$package" "synthesizer/$package"
    done
fi
rm -rf packages/.part
log "$(find unpacked -mindepth 1 -maxdepth 1 -type d | wc -l) packages are unpacked in $PWD/unpacked"
