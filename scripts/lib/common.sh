# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2119,SC2120
# Functions that the scripts share; sourced, not run. They work on a bare Debian: bash, coreutils, dpkg and apt only.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
script=$(basename -- "$0")

# What the build of the demo needs. Debian 12, Debian 13 and Ubuntu 24.04 have all of them by these names.
packages=(cmake ninja-build g++ libeigen3-dev nlohmann-json3-dev libcli11-dev libfmt-dev zlib1g-dev libdnnl-dev graphviz
  gnuplot-nox)
# What tests and benchmarks need besides. The demo does without: Boost alone has 15000 files.
test_packages=(libboost-dev libboost-context-dev libthrust-dev catch2 libbenchmark-dev python3 python3-numpy
  python3-venv pkg-config)
# For `configure release`: all of the above is there, or the demo's part only, in the same folder.
with_tests=(-DESPALIER_TESTS=ON -DESPALIER_BENCHMARKS=ON)
without_tests=(-DESPALIER_TESTS=OFF -DESPALIER_BENCHMARKS=OFF)

say() { printf '\n== %s\n' "$*"; }
stop() {
  printf '\n%s: %s\n' "$script" "$*" >&2
  exit 1
}

# A package counts as installed when it or something that provides it is (pkg-config comes from pkgconf today).
is_installed() {
  dpkg-query -W -f='${db:Status-Abbrev}\n' "$1" 2>/dev/null | grep -q '^ii' ||
    dpkg-query -W -f='${db:Status-Abbrev} ${Provides}\n' 2>/dev/null | grep -qE "^ii .*(^|[ ,])$1([ ,(]|\$)"
}

# install_missing PACKAGE...: installs what is missing, or stops with the command that would.
install_missing() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "This is not Debian: nothing is installed; looking for the tools only"
    local tool absent=()
    for tool in cmake ninja g++; do
      command -v "$tool" >/dev/null || absent+=("$tool")
    done
    [[ ${#absent[@]} -eq 0 ]] || stop "install these first: ${absent[*]} (Debian calls the packages: $*)"
    return 0
  fi
  local name missing=()
  for name in "$@"; do
    is_installed "$name" || missing+=("$name")
  done
  if [[ ${#missing[@]} -eq 0 ]]; then
    say "All ${#} Debian packages that are needed are installed"
    return 0
  fi
  local as=()
  local command="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  if [[ $(id -u) -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
      stop "missing Debian packages, and this is neither root nor is there sudo. As root, run:
  $command"
    fi
    as=(sudo)
    # Without a terminal nobody can type a password.
    if [[ ! -t 0 ]] && ! sudo -n true 2>/dev/null; then
      stop "missing Debian packages, and sudo wants a password that nobody can type here. Run first:
  sudo sh -c '$command'"
    fi
  fi
  say "Installing from Debian, without recommended extras: ${missing[*]}"
  as+=(env LC_ALL=C DEBIAN_FRONTEND=noninteractive)
  patiently "${as[@]}" apt-get -q update ||
    stop "'apt-get update' failed: is there a network, and are the package sources right?"
  patiently "${as[@]}" apt-get -q install -y --no-install-recommends "${missing[@]}" ||
    stop "these packages could not be installed (see above); by hand, as root:
  $command"
}

# patiently COMMAND...: a command of apt, run again while another process holds one of apt's locks, for up to
# ESPALIER_LOCK_SECONDS (600). apt's own DPkg::Lock::Timeout knows the lock of dpkg, not those of the package lists and of
# the downloads, which the services of a machine that has just started hold as well.
patiently() {
  local limit=${ESPALIER_LOCK_SECONDS-600} began=$SECONDS said=no status lock log
  log=$(mktemp)
  while true; do
    status=0
    "$@" 2>&1 | tee "$log" || status=$?
    lock=$(grep -m 1 -oE '(Could not get lock|Unable to lock directory) .*' "$log" || true)
    [[ $status -ne 0 && -n $lock ]] || break
    if ((SECONDS - began >= limit)); then
      rm -f "$log"
      stop "another process still holds apt's lock after $limit s ($lock): try again when it is done"
    fi
    [[ $said == yes ]] || say "Waiting up to $limit s for another process that works with apt: $lock"
    said=yes
    sleep 5
  done
  rm -f "$log"
  return "$status"
}

# Memory that programs can still take, in KiB: what the machine has, or what this container may use when that is less.
available_memory() {
  local kib limit
  kib=$(awk '$1 == "MemAvailable:" || $1 == "SwapFree:" { sum += $2 } END { print sum + 0 }' "${1-/proc/meminfo}" 2>/dev/null)
  limit=$(cat "${2-/sys/fs/cgroup/memory.max}" 2>/dev/null || true)
  [[ ${kib:-0} -gt 0 ]] || kib=4000000
  if [[ $limit =~ ^[0-9]+$ ]] && ((limit / 1024 < kib)); then kib=$((limit / 1024)); fi
  echo "$kib"
}

# How many compilers at once: ESPALIER_JOBS, or one for each processor as far as memory allows 2 GB for each.
jobs() {
  if [[ -n ${ESPALIER_JOBS-} ]]; then
    echo "$ESPALIER_JOBS"
    return 0
  fi
  local processors by_memory
  processors=$(nproc)
  by_memory=$(($(available_memory) / 2000000))
  if ((by_memory < 1)); then by_memory=1; fi
  echo $((processors < by_memory ? processors : by_memory))
}

has_nvcc() { command -v nvcc >/dev/null || [[ -x /usr/local/cuda/bin/nvcc ]]; }

# check_compiler [COMMAND]: the C++ compiler that CMake would take is there and new enough.
check_compiler() {
  local compiler=${1-${CXX-c++}} version least=12 name=GCC
  # CXX may carry arguments.
  compiler=${compiler%% *}
  command -v "$compiler" >/dev/null ||
    stop "there is no C++ compiler '$compiler': install g++ 12 or later, or name a compiler in CXX"
  version=$("$compiler" -dumpversion 2>/dev/null) || stop "the C++ compiler '$compiler' does not run"
  if "$compiler" --version 2>/dev/null | grep -q clang; then
    least=18 name=Clang
  fi
  [[ ${version%%.*} =~ ^[0-9]+$ ]] || return 0
  ((${version%%.*} >= least)) ||
    stop "'$compiler' is $name $version, and Espalier needs GCC 12 or Clang 18 or later: name another compiler in CXX"
}

# check_room DISK MEMORY: DISK MB, less what build/ holds already, are free where build/ is, and MEMORY MB for one
# compiler. ESPALIER_JOBS is looked at here too.
check_room() {
  local disk=$1 memory=$2 free held available
  mkdir -p "$root/build" || stop "the folder $root/build cannot be made: is the disk full, or this folder read-only?"
  [[ ${ESPALIER_JOBS-1} =~ ^[1-9][0-9]*$ ]] || stop "ESPALIER_JOBS is '$ESPALIER_JOBS', which is no number of compilers"
  free=$(df -Pk "$root/build" | awk 'NR == 2 { print int($4 / 1000) }')
  held=$(du -sk "$root/build" | awk '{ print int($1 / 1000) }')
  ((free + held >= disk)) ||
    stop "this needs $disk MB of disk in $root/build, and there are $((free + held)) MB ($held of them in use there)"
  available=$(($(available_memory) / 1000))
  ((available >= memory)) || stop "one compiler needs up to $memory MB of memory, and $available MB are available"
}

# check_build_folder PRESET: what CMake keeps in build/PRESET was made from this folder, this version and this compiler.
check_build_folder() {
  local folder=$root/build/$1 cache home version ours compiler built now
  cache=$folder/CMakeCache.txt
  [[ -e $cache ]] || return 0
  local again="remove it (rm -r build/$1) and start again"
  home=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$cache")
  [[ -z $home || $home -ef $root ]] || stop "build/$1 was made for the sources in $home: $again"
  version=$(sed -n 's/^CMAKE_PROJECT_VERSION:STATIC=//p' "$cache")
  ours=$(sed -nE 's/^project\(espalier VERSION ([0-9.]+).*/\1/p' "$root/CMakeLists.txt")
  [[ -z $version || $version == "$ours" ]] || stop "build/$1 is of Espalier $version, and this is $ours: $again"
  compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$cache")
  built=$(sed -n 's/^set(CMAKE_CXX_COMPILER_VERSION "\(.*\)")$/\1/p' "$folder"/CMakeFiles/*/CMakeCXXCompiler.cmake \
    2>/dev/null | tail -n 1)
  [[ -n $compiler && -n $built ]] || return 0
  now=$("$compiler" -dumpfullversion -dumpversion 2>/dev/null | head -n 1) ||
    stop "build/$1 was made with $compiler, which is not there any more: $again"
  [[ $now == "$built" ]] || stop "build/$1 was made with $compiler $built, which is $now now: $again"
}

# configure PRESET [ARGUMENT...]; CMake's own chatter is left out, its messages about espalier are shown.
configure() {
  local preset=$1 log as_ever=()
  shift
  # What scripts/test.sh may have asked for in the same folder.
  if [[ $preset == release ]]; then as_ever=(-DESPALIER_PROGRAMS_AT_O1=OFF -DESPALIER_SANITIZED_ELSEWHERE=OFF); fi
  say "Configuring build/$preset"
  check_build_folder "$preset"
  mkdir -p "$root/build"
  log=$root/build/configure-$preset.log
  if ! (cd "$root" && cmake --preset "$preset" "${as_ever[@]}" "$@") >"$log" 2>&1; then
    cat "$log" >&2
    stop "CMake could not configure build/$preset (its output is above)"
  fi
  grep -E '^-- espalier:|[Ww]arning' "$log" || true
}

# build PRESET TARGET...
build() {
  local preset=$1
  shift
  say "Building in build/$preset: $* ($(jobs) at a time)"
  (cd "$root" && cmake --build --preset "$preset" --parallel "$(jobs)" --target "$@") ||
    stop "the build of build/$preset failed (the compiler's output is above)"
}

# build_ahead PRESET TARGET...: targets that tests build again (nothing to do by then), so that progress is shown here;
# a failure is reported by its test and does not keep the other tests from running.
build_ahead() {
  local preset=$1
  shift
  say "Building in build/$preset: $* ($(jobs) at a time)"
  (cd "$root" && cmake --build --preset "$preset" --parallel "$(jobs)" --target "$@" -- -k 0) ||
    say "Not everything of $* was built; its tests will say so"
}

# duration SECONDS: in words.
duration() {
  if (($1 < 60)); then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi
}

# The steps of a script, for take_step: names in the order in which they come.
steps_left=()

# take_step COMMAND...: does the next step and says how long it took and what is left.
take_step() {
  local name=${steps_left[0]} began=$SECONDS
  steps_left=("${steps_left[@]:1}")
  "$@"
  local left=nothing
  if [[ ${#steps_left[@]} -ne 0 ]]; then
    left=$(printf '%s, ' "${steps_left[@]}")
  fi
  say "$name took $(duration $((SECONDS - began))); left: ${left%, }"
}

# python_environment: build/python, with the packages that tests/python/requirements.txt pins, made again when that list
# changes. Sets test_python to its interpreter, or to nothing where it cannot be made (no network).
python_environment() {
  local folder=$root/build/python list=$root/tests/python/requirements.txt
  test_python=$folder/bin/python3
  if cmp -s "$list" "$folder/requirements.txt" && "$test_python" -c 'import numpy, safetensors' 2>/dev/null; then
    return 0
  fi
  say "Making build/python with $(grep -v '^#' "$list" | paste -sd ' ')"
  rm -rf "$folder"
  # The copy of the list comes last: it says that everything before it went well.
  if python3 -m venv "$folder" && "$test_python" -m pip install --quiet --disable-pip-version-check --no-input \
    --only-binary :all: --retries 1 --timeout 20 --requirement "$list" && cp "$list" "$folder/requirements.txt"; then
    return 0
  fi
  say "build/python could not be made (is there a network?): tests that need its packages are skipped"
  rm -rf "$folder"
  test_python=
}

# skipped_tests JUNIT-FILE: of each skipped test in a file that ctest has written, a line NAME <tab> REASON, where the
# reason is the first line of output that speaks of skipping, or the first line.
skipped_tests() {
  awk '
    function text(line) {
      sub(/^[[:space:]]*<system-out>/, "", line)
      sub(/<\/system-out>$/, "", line)
      gsub(/&lt;/, "<", line); gsub(/&gt;/, ">", line); gsub(/&quot;/, "\"", line); gsub(/&apos;/, "\047", line)
      gsub(/&amp;/, "\\&", line)
      return line
    }
    /^[[:space:]]*<testcase / { name = $0; sub(/^.*<testcase name="/, "", name); sub(/".*$/, "", name); skipped = 0; next }
    /^[[:space:]]*<skipped / { skipped = 1; output = 0; reason = ""; next }
    /^[[:space:]]*<system-out>/ { output = 1 }
    skipped && output && (reason == "" || (tolower(reason) !~ /skip/ && tolower($0) ~ /skip/)) { reason = text($0) }
    /<\/system-out>$/ { output = 0 }
    /^[[:space:]]*<\/testcase>/ { if (skipped) print name "\t" (reason == "" ? "no reason given" : reason); skipped = 0 }
  ' "$1"
}

# skip_is_expected NAME GPU-TESTS: a test that may be skipped everywhere, because it is one of GPU-TESTS (a line each), or
# because the file it compiles says that nvcc cannot check it.
skip_is_expected() {
  [[ $'\n'$2$'\n' == *$'\n'"$1"$'\n'* ]] || [[ $1 == compile_fail.*.nvcc ]]
}
