# shellcheck shell=bash disable=SC2154
# Sourced by every run.sh: options, stages, log lines. Each variable the script has set becomes an
# option, so `exp_dir=exp` is set by `--exp-dir /data/exp`; `stage` and `stop_stage` among them. A folder
# given so (*_dir, *_folder) is relative to where the script was called, its own ones to where it lies.
# Where `dry_run` is one, `--dry-run` prints the commands that the stages would `run`.

root=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
# A checkout's own environment is used unless another one is active.
if [[ -z ${VIRTUAL_ENV:-} && -x $root/.venv/bin/python ]]; then
  export PATH=$root/.venv/bin:$PATH
fi

# Threads that wait by spinning take the cores from those that work, where cores are shared.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
# Memory of large tensors is kept rather than given back to the system and zeroed anew at each step,
# which takes a fifth of the time of training on a CPU. Stages do so by themselves; this is for what else runs.
export MALLOC_MMAP_MAX_=${MALLOC_MMAP_MAX_:-0} MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-4294967296}
export MALLOC_TOP_PAD_=${MALLOC_TOP_PAD_:-268435456}

# Prints what a script, in whose folder we are, says of itself, and its options with their defaults.
usage() {
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${0##*/}"
  echo
  sed -n '/^stage=/,/^# shellcheck source/s/^\([a-z_]*\)=\([^#]*[^ #]\)\{0,1\} *\(#.*\)\{0,1\}$/\1|\2|\3/p' "${0##*/}" |
    while IFS='|' read -r name default comment; do
      printf '  --%-18s %-14s %s\n' "${name//_/-}" "$default" "${comment#\# }"
    done
}

# Prints path $1 as seen from where the recipe was called, unless it is absolute.
from_caller() {
  if [[ -z $1 || $1 == /* ]]; then echo "$1"; else echo "${invoked_from:-.}/$1"; fi
}

while (($#)); do
  if [[ $1 == --help || $1 == -h ]]; then
    usage
    exit
  fi
  if [[ $1 == --dry-run && -n ${dry_run+set} ]]; then
    dry_run=true
    shift
    continue
  fi
  name=${1#--}
  name=${name//-/_}
  if [[ $1 != --* || -z ${!name+set} || $# -lt 2 ]]; then
    echo "$0: unknown or incomplete option: $1 (options are the variables at its top)" >&2
    exit 2
  fi
  value=$2
  [[ $name == *_dir || $name == *_folder ]] && value=$(from_caller "$value")
  printf -v "$name" %s "$value"
  shift 2
done

log() { echo "$(date '+%F %T') ${0##*/}: $*" >&2; }

# True if stage $1 is asked for; announces it as $2.
stage() {
  ((stage <= $1 && $1 <= stop_stage)) || return 1
  log "stage $1: $2"
}

# Runs a command, or prints it, ready to be pasted.
run() {
  if [[ ${dry_run:-false} == true ]]; then
    # In one write: of stages that run side by side, lines stay whole.
    printf '%s\n' "$(printf '%q ' "$@")"
  else
    "$@"
  fi
}
