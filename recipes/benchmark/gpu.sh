#!/usr/bin/env bash
# Measures what an accelerator makes of each stage; see recipes/benchmark/gpu.py.
#
#     recipes/benchmark/gpu.sh [--minutes 8] [--output gpu.json] [--rehearse]
#
# --rehearse does the same on a CPU with tiny sizes. PYTHON is what runs it: .venv's, or python3.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || [ -n "${PYTHON:-}" ] || python=python3
minutes=8 rehearse=
arguments=("$@")
while [ $# -gt 0 ]; do
  case $1 in
    --minutes) minutes=$2; shift ;;
    --rehearse) rehearse=yes ;;
  esac
  shift
done
started=$SECONDS limit=$((60 * minutes))

# The table comes first, its most important rows first: what is cut off is the least.
status=0
PYTHONUNBUFFERED=1 timeout -k 10 $((limit + 20)) "$python" -m recipes.benchmark.gpu "${arguments[@]}" || status=$?
[ -n "$rehearse" ] && exit $status

left=$((limit - (SECONDS - started)))
if [ $left -gt 20 ]; then
  echo "tests that need an accelerator (make test-gpu):"
  # Options of pyproject.toml ask for packages that a bare machine may lack.
  mapfile -t files < <(grep -rl "pytest.mark.gpu" tests --include='test_*.py')
  timeout -k 10 $left "$python" -m pytest -q -m gpu -o addopts=--import-mode=importlib -o filterwarnings= \
    "${files[@]}" || status=$?
else
  echo "no time is left for tests that need an accelerator: give more --minutes, or run make test-gpu"
fi
exit $status
