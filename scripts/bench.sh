#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the benchmarks and runs them: our code, the same work written by hand, the floor that this machine's roofs
# allow, and on request the same work by others, all in turns in one run.
#
#   scripts/bench.sh [--peers] [--json FILE] [--rounds N] [--depth N]... [FAMILY...]
#
#   --peers      also runs PyTorch and JAX, and NumPy and pandas in the family read, from a virtual environment that is
#                made in build/peers (a download of about 300 MB; 700 MB where only PyPI can be reached, see
#                benchmarks/peers/cpu_torch.py). An environment that exists already is taken from ESPALIER_PEERS=FOLDER
#                instead.
#   --json FILE  writes the rows, the roofs and the machine to FILE
#   --rounds N   how often everything takes its turn (default 3)
#   --depth N    the family compile takes stacks of this depth only (all of them take a quarter of an hour)
#   FAMILY       epilogue dropout update prune product step adapter gate comet moe dispatch multi_sample read compile;
#                without any, all that there are. Files of the family read take 1 GB of the folder for temporary files.
#
# One thread, CPU time of the process. A machine that does other things at the same time disturbs what depends on memory
# bandwidth; read ratios, not times. scripts/bench_chart.py draws FILE.
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

peers=no
json=
rounds=3
families=()
depths=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --peers) peers=yes ;;
    --json)
      [[ $# -gt 1 ]] || stop "--json needs a file"
      json=$(realpath -m -- "$2")
      shift
      ;;
    --rounds)
      [[ $# -gt 1 ]] || stop "--rounds needs a number"
      rounds=$2
      shift
      ;;
    --depth)
      [[ $# -gt 1 ]] || stop "--depth needs a number"
      depths+=(--depth "$2")
      shift
      ;;
    -h | --help)
      sed -n '3,20s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    epilogue | dropout | update | prune | product | step | adapter | gate | comet | moe | dispatch | multi_sample | read | compile)
      families+=("$1")
      ;;
    *) stop "unknown argument '$1' (see --help)" ;;
  esac
  shift
done
if [[ ${#families[@]} -eq 0 ]]; then
  families=(epilogue dropout update prune product step adapter gate comet moe dispatch multi_sample read compile)
fi

install_missing "${packages[@]}" "${test_packages[@]}"
configure release "${with_tests[@]}"

targets=()
for family in "${families[@]}"; do
  program=$family
  if [[ $family == dropout ]]; then program=epilogue; fi
  if [[ -f $root/benchmarks/$program.cpp ]]; then targets+=("bench_$program"); fi
done
if [[ ${#targets[@]} -gt 0 ]]; then
  mapfile -t targets < <(printf '%s\n' "${targets[@]}" | sort -u)
  build release "${targets[@]}"
fi

arguments=(--build "$root/build/release" --rounds "$rounds" "${depths[@]+"${depths[@]}"}")
if [[ -n $json ]]; then arguments+=(--json "$json"); fi

if [[ $peers == yes ]]; then
  venv=${ESPALIER_PEERS:-$root/build/peers}
  if [[ ! -x $venv/bin/python ]]; then
    if [[ -n ${ESPALIER_PEERS-} ]]; then stop "ESPALIER_PEERS=$ESPALIER_PEERS is no virtual environment"; fi
    python3 -c 'import ensurepip' 2>/dev/null || install_missing python3-venv
    # torch.compile compiles a C++ extension of this Python.
    python3 -c 'import os, sysconfig as s; assert os.path.exists(s.get_path("include") + "/Python.h")' 2>/dev/null ||
      install_missing python3-dev
    say "Making a virtual environment with PyTorch, JAX and pandas in build/peers"
    python3 -m venv --clear "$venv.new" || stop "python3 could not make a virtual environment"
    "$venv.new/bin/pip" install --quiet --disable-pip-version-check jax numpy pandas ||
      stop "JAX and pandas could not be installed into build/peers"
    "$venv.new/bin/pip" install --quiet --disable-pip-version-check --retries 1 --timeout 20 torch \
      --index-url https://download.pytorch.org/whl/cpu >"$root/build/peers.log" 2>&1 || {
      say "PyTorch's own package index cannot be reached; taking the package from PyPI without CUDA's libraries"
      "$venv.new/bin/python" "$root/benchmarks/peers/cpu_torch.py" || stop "PyTorch could not be installed into build/peers"
    }
    # A virtual environment cannot be moved, but ours is only started by its path.
    mv "$venv.new" "$venv"
  fi
  say "Peers: PyTorch, JAX, NumPy and pandas from $venv"
  arguments+=(--peers "$venv/bin/python")
else
  say "Without peers (PyTorch, JAX, NumPy, pandas): --peers adds them"
fi

say "Measuring: ${families[*]} ($rounds rounds)"
OMP_NUM_THREADS=1 python3 "$root/scripts/bench.py" "${arguments[@]}" "${families[@]}"
