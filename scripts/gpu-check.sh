#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs a GPU, in one command and a few minutes: builds the GPU tests and benchmarks, runs the tests
# (results against the host, dropout masks bit for bit, the same bits for every number of blocks, a whole step as a
# captured graph), runs a short subset under compute-sanitizer, runs the GPU benchmarks and, where python3 has PyTorch,
# the same work by PyTorch and Triton, and ends in a short table, with what mixtures of experts reach of what is possible.
# What does not fit into 8 minutes is left out and named. All of it is written to docs/benchmarks/DEVICE.json.
#
#   scripts/gpu-check.sh [--no-sanitizer] [--no-benchmarks] [--help]
#
# Needs the CUDA toolkit and a C++ compiler; no network, nothing is installed. With CMake, Ninja and the libraries of the
# build it runs `ctest -L gpu`; without them nvcc compiles the same programs directly. Settings from the environment:
#   ESPALIER_DEPS=DIR     a folder that carries libraries: DIR, DIR/include and DIR/include/eigen3 are searched
#   EIGEN3_INCLUDE_DIR    where Eigen's headers are
#   ESPALIER_PEERS        a virtual environment with PyTorch, instead of what python3 has
#   ESPALIER_JOBS         compilers at once
#   CUDAARCHS             architecture to compile for; that of the GPU when it is not given
set -uo pipefail
# shellcheck source=lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"

sanitizer=yes
benchmarks=yes
for argument in "$@"; do
  case $argument in
    --no-sanitizer) sanitizer=no ;;
    --no-benchmarks) benchmarks=no ;;
    -h | --help)
      sed -n '3,17s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) stop "unknown argument '$argument' (see --help)" ;;
  esac
done

table=()
skipped=()
bad=0
rows=() # of the table, tabs between their cells
row() {
  table+=("$(printf '%-34s %-8s %s' "$1" "$2" "$3")")
  rows+=("$1"$'\t'"$2"$'\t'"$3")
}
# tool NAME: its path, from PATH or from the toolkit.
tool() { command -v "$1" || { [[ -x /usr/local/cuda/bin/$1 ]] && echo "/usr/local/cuda/bin/$1"; }; }

started=$SECONDS
left() { # seconds of the 8 minutes, the summary kept free; never below 1, because timeout takes 0 for no limit
  local seconds=$((470 - SECONDS + started))
  echo $((seconds > 1 ? seconds : 1))
}
least() { echo $(($1 < $2 ? $1 : $2)); }
nvcc=$(tool nvcc) || stop "nvcc was not found: install the CUDA toolkit or put it on PATH"
build=$root/build/gpu-check
# Where the toolkit's libraries are, for programs that are linked by nvcc: the loader need not know that folder.
toolkit=$(dirname -- "$(dirname -- "$(readlink -f -- "$nvcc")")")
libraries=()
for folder in "$toolkit/lib64" "$toolkit/lib" "$toolkit/targets/$(uname -m)-linux/lib"; do
  [[ -e $folder/libcublasLt.so ]] && libraries=(-L"$folder" -Xlinker "-rpath=$folder") && break
done
mkdir -p "$build/programs" "$build/logs"
rm -f "$build"/logs/* # of an earlier call

architecture=${CUDAARCHS-}
gpu="no GPU that nvidia-smi knows"
seen_gpu=no
if smi=$(tool nvidia-smi); then
  if found=$("$smi" --query-gpu=name,compute_cap,driver_version --format=csv,noheader 2>/dev/null | head -n 1) &&
    [[ -n $found ]]; then
    gpu=$found
    seen_gpu=yes
    if [[ -z $architecture ]]; then
      architecture=$(cut -d, -f2 <<<"$found" | tr -dc 0-9)
    fi
  fi
fi
architecture=${architecture:-90}
say "GPU: $gpu; compiling for sm_$architecture with $("$nvcc" --version | sed -n 's/^.*release \([0-9.]*\).*$/CUDA \1/p')"

# ---- build

includes=(-I"$root/include" -I"$root/kernels/include" -I"$root/tests")
prefixes=()
if [[ -n ${ESPALIER_DEPS-} ]]; then
  [[ -d $ESPALIER_DEPS ]] || stop "ESPALIER_DEPS is '$ESPALIER_DEPS', which is no folder"
  deps=$(cd -- "$ESPALIER_DEPS" && pwd)
  prefixes+=("$deps")
  for folder in "$deps" "$deps/include" "$deps/include/eigen3"; do
    # The compiler knows this one, and its place in the order matters.
    [[ -d $folder && $folder != /usr/include ]] && includes+=(-isystem "$folder")
  done
fi
[[ -n ${EIGEN3_INCLUDE_DIR-} ]] && includes+=(-isystem "$EIGEN3_INCLUDE_DIR")

with_cmake=no
if command -v cmake >/dev/null && command -v ninja >/dev/null && command -v ctest >/dev/null; then
  say "Configuring with CMake"
  if (cd "$root" && PATH=$PATH:$(dirname "$nvcc") cmake -S . -B "$build/cmake" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DESPALIER_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$architecture" -DESPALIER_EXAMPLES=OFF \
    ${prefixes:+-DCMAKE_PREFIX_PATH="${prefixes[0]}"} \
    ${EIGEN3_INCLUDE_DIR:+-DEIGEN3_INCLUDE_DIR="$EIGEN3_INCLUDE_DIR"}) >"$build/logs/configure.log" 2>&1; then
    with_cmake=yes
  else
    skipped+=("CMake: it could not configure here ($(grep -m1 -E 'Could not find|not found|CMake Error' \
      "$build/logs/configure.log" | cut -c1-90)); nvcc compiled the programs directly")
  fi
else
  skipped+=("CMake: cmake, ctest or ninja is missing; nvcc compiled the programs directly")
fi

programs=()
for source in "$root"/tests/gpu/*.cu; do
  programs+=("gpu_$(basename "$source" .cu)")
done
bench_programs=()
if [[ $benchmarks == yes ]]; then
  for source in "$root"/benchmarks/gpu/*.cu; do
    [[ -e $source ]] && bench_programs+=("bench_cuda_$(basename "$source" .cu)")
  done
fi

# program NAME: its path.
program() {
  if [[ $with_cmake == yes ]]; then
    find "$build/cmake" -type f -name "$1" -perm -u+x 2>/dev/null | head -n 1
  elif [[ -x $build/programs/$1 ]]; then
    echo "$build/programs/$1"
  fi
}

before=$SECONDS
if [[ $with_cmake == yes ]]; then
  say "Building ${programs[*]} ${bench_programs[*]-} ($(jobs) at a time)"
  all=("${programs[@]}" "${bench_programs[@]+"${bench_programs[@]}"}")
  if ! cmake --build "$build/cmake" --parallel "$(jobs)" --target "${all[@]}" -- -k 0 2>&1 | tee "$build/logs/build.log"; then
    for name in "${programs[@]}"; do
      cmake --build "$build/cmake" --target "$name" >/dev/null 2>&1 || bad=1
    done
    for name in "${bench_programs[@]+"${bench_programs[@]}"}"; do
      cmake --build "$build/cmake" --target "$name" >/dev/null 2>&1 ||
        skipped+=("$name: it was not built (build/gpu-check/logs/build.log)")
    done
  fi
else
  say "Compiling ${programs[*]} ${bench_programs[*]-} with nvcc ($(jobs) at a time)"
  flags=(-std=c++20 -O3 -DESPALIER_HEADER_ONLY "-gencode=arch=compute_$architecture,code=sm_$architecture" "${includes[@]}")
  compile() {
    local name=$1 source=$2
    shift 2
    rm -f "$build/programs/$name" # what an earlier call left must not pass for the result of this one
    "$nvcc" "${flags[@]}" "$source" -o "$build/programs/$name" "${libraries[@]+"${libraries[@]}"}" \
      -lcublasLt "$@" >"$build/logs/$name.log" 2>&1
  }
  running=0
  for name in "${programs[@]}"; do
    compile "$name" "$root/tests/gpu/${name#gpu_}.cu" &
    running=$((running + 1))
    if ((running >= $(jobs))); then
      wait -n
      running=$((running - 1))
    fi
  done
  for name in "${bench_programs[@]+"${bench_programs[@]}"}"; do
    compile "$name" "$root/benchmarks/gpu/${name#bench_cuda_}.cu" &
    running=$((running + 1))
    if ((running >= $(jobs))); then
      wait -n
      running=$((running - 1))
    fi
  done
  wait
  for name in "${programs[@]}"; do
    if [[ ! -x $build/programs/$name ]]; then
      bad=1
      sed -n '1,20p' "$build/logs/$name.log"
    fi
  done
  for name in "${bench_programs[@]+"${bench_programs[@]}"}"; do
    [[ -x $build/programs/$name ]] ||
      skipped+=("$name: it was not compiled ($(grep -m1 -iE 'error|cannot' "$build/logs/$name.log" | cut -c1-90))")
  done
fi
row "build" "$([[ $bad -eq 0 ]] && echo ok || echo FAILED)" "$((SECONDS - before)) s"

# ---- tests

tests_skipped=0
if [[ $with_cmake == yes ]]; then
  say "ctest -L gpu"
  # A kernel that hangs must not take the time of everything else.
  (cd "$build/cmake" && timeout 240 ctest -L gpu --output-on-failure --no-tests=error) |
    tee "$build/logs/ctest.log" || bad=1
  for name in "${programs[@]}"; do
    line=$(grep -m1 -E "gpu\.${name#gpu_} " "$build/logs/ctest.log" || true)
    case $line in
      *Passed*) row "gpu.${name#gpu_}" ok "$(grep -oE '[0-9.]+ sec' <<<"$line")" ;;
      *Skipped*)
        row "gpu.${name#gpu_}" skipped "no GPU"
        tests_skipped=$((tests_skipped + 1))
        ;;
      *)
        row "gpu.${name#gpu_}" FAILED "see above"
        bad=1
        ;;
    esac
  done
else
  for name in "${programs[@]}"; do
    say "$name"
    before=$SECONDS
    path=$(program "$name")
    if [[ -z $path ]]; then
      row "$name" FAILED "not built"
      bad=1
      continue
    fi
    timeout 120 "$path"
    status=$?
    case $status in
      0) row "$name" ok "$((SECONDS - before)) s" ;;
      77)
        row "$name" skipped "no GPU"
        tests_skipped=$((tests_skipped + 1))
        ;;
      *)
        row "$name" FAILED "status $status"
        bad=1
        ;;
    esac
  done
fi
has_gpu=yes
results=() # files that the benchmarks wrote
if [[ $tests_skipped -eq ${#programs[@]} ]]; then
  has_gpu=no
  if [[ $seen_gpu == yes ]]; then
    bad=1
    skipped+=("all tests: the programs find no GPU although nvidia-smi shows one; is the driver older than the toolkit?")
  else
    skipped+=("all tests: there is no GPU")
  fi
fi

# ---- compute-sanitizer

if [[ $sanitizer == no ]]; then
  skipped+=("compute-sanitizer: left out as asked")
elif [[ $has_gpu == no ]]; then
  skipped+=("compute-sanitizer: there is no GPU")
elif ! checker=$(tool compute-sanitizer); then
  skipped+=("compute-sanitizer: it is not installed")
else
  refused=no
  for kind in memcheck racecheck initcheck synccheck; do
    for name in "${programs[@]}"; do
      # The kernels of products are the library's; only what they do with our memory is looked at.
      if [[ $name != gpu_passes && $kind != memcheck ]]; then continue; fi
      path=$(program "$name")
      [[ -n $path ]] || continue
      if [[ $refused == yes ]]; then continue; fi
      if (($(left) < 260)); then # benchmarks come first
        skipped+=("$kind $name: no time was left")
        continue
      fi
      say "compute-sanitizer $kind $name"
      before=$SECONDS
      timeout 100 "$checker" --tool "$kind" --error-exitcode 9 "$path" --short >"$build/logs/$kind-$name.log" 2>&1
      status=$?
      tail -n 3 "$build/logs/$kind-$name.log"
      # Under some virtual machines it does not get at the GPU; that says nothing about our programs.
      if [[ $status -ne 0 ]] && grep -qiE 'device not supported|insufficient permissions' \
        "$build/logs/$kind-$name.log"; then
        refused=yes
        skipped+=("compute-sanitizer: it does not work here ($(grep -m1 -iE 'device not supported|insufficient permissions' \
          "$build/logs/$kind-$name.log" | cut -c1-90))")
        continue
      fi
      case $status in
        0) row "$kind $name" ok "$((SECONDS - before)) s" ;;
        124)
          row "$kind $name" "-" "stopped after 100 s"
          skipped+=("$kind $name: it was stopped after 100 s")
          ;;
        *)
          row "$kind $name" FAILED "status $status, build/gpu-check/logs/$kind-$name.log"
          bad=1
          ;;
      esac
    done
  done
fi

# ---- benchmarks

if [[ $benchmarks == no ]]; then
  skipped+=("benchmarks: left out as asked")
elif [[ $has_gpu == no ]]; then
  skipped+=("benchmarks: there is no GPU")
else
  for name in "${bench_programs[@]+"${bench_programs[@]}"}"; do
    path=$(program "$name")
    [[ -n $path ]] || continue
    if (($(left) < 20)); then
      skipped+=("$name: no time was left")
      continue
    fi
    say "$name"
    before=$SECONDS
    rm -f "$build/logs/$name.json"
    timeout "$(least 90 "$(left)")" "$path" --json "$build/logs/$name.json" 2>&1 | tee "$build/logs/$name.txt"
    status=${PIPESTATUS[0]}
    case $status in
      0)
        row "$name" ok "$((SECONDS - before)) s"
        results+=("$build/logs/$name.json")
        ;;
      124)
        row "$name" "-" "stopped after $((SECONDS - before)) s; what was measured is in build/gpu-check/logs/$name.txt"
        skipped+=("$name: it was stopped after $((SECONDS - before)) s")
        ;;
      *)
        row "$name" FAILED "status $status, build/gpu-check/logs/$name.txt"
        bad=1
        ;;
    esac
  done
  python=${ESPALIER_PEERS:+$ESPALIER_PEERS/bin/python}
  python=${python:-python3}
  if [[ ${#results[@]} -eq 0 ]]; then
    skipped+=("peers: there is nothing to compare with")
  elif ! "$python" -c 'import torch' 2>/dev/null; then
    skipped+=("peers: $python has no PyTorch")
  elif (($(left) < 40)); then
    skipped+=("peers: no time was left")
  else
    say "The same by PyTorch and Triton"
    before=$SECONDS
    rm -f "$build/logs/benchmarks.json"
    timeout "$(left)" "$python" "$root/benchmarks/gpu/peers.py" --json "$build/logs/benchmarks.json" \
      --seconds "$(($(left) - 30))" "${results[@]}" 2>"$build/logs/peers.err" | tee "$build/logs/peers.txt"
    status=${PIPESTATUS[0]}
    case $status in
      0) row "peers" ok "$((SECONDS - before)) s, build/gpu-check/logs/benchmarks.json" ;;
      124) row "peers" "-" "stopped after $((SECONDS - before)) s; what was measured is in build/gpu-check/logs/benchmarks.json" ;;
      *) row "peers" "-" "status $status, build/gpu-check/logs/peers.err" ;;
    esac
  fi
fi

say "Summary ($gpu, $((SECONDS - started)) s)"
printf '%s\n' "${table[@]}"
mixtures=$(cat "$build/logs/bench_cuda_dispatch.txt" "$build/logs/bench_cuda_mixture.txt" 2>/dev/null |
  grep -E '^(dispatch/top2|comet/layer|comet/gate|moe)[^:]* us( |$)')
if [[ -n $mixtures ]]; then
  printf '\nmixtures of experts (targets: dispatch 0.85 of its floor; moe 0.65 of the dense products, which stand under hand):\n'
  printf '%s\n' "$mixtures"
fi
if [[ ${#skipped[@]} -ne 0 ]]; then
  printf '\nleft out:\n'
  printf '  %s\n' "${skipped[@]}"
fi
if [[ $has_gpu == yes ]] && command -v python3 >/dev/null; then
  printf '%s\n' "${rows[@]}" >"$build/logs/table.tsv"
  printf '%s\n' "${skipped[@]+"${skipped[@]}"}" >"$build/logs/left-out.txt"
  written=$(python3 "$root/scripts/lib/gpu_results.py" --gpu "$gpu" --seconds "$((SECONDS - started))" \
    --toolkit "$("$nvcc" --version | sed -n 's/^.*release \([0-9.]*\).*$/CUDA \1/p')" \
    --commit "$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)" --command "scripts/gpu-check.sh $*" \
    --table "$build/logs/table.tsv" --left-out "$build/logs/left-out.txt" --output "$root/docs/benchmarks" \
    --joined "$build/logs/benchmarks.json" "${results[@]+"${results[@]}"}") &&
    printf '\nwritten: %s\n' "$written"
fi
if [[ $bad -ne 0 ]]; then
  printf '\nFAILED\n'
  exit 1
fi
[[ $has_gpu == yes ]] && printf '\nall that ran is right\n'
exit 0
