# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# Functions that the scripts share; sourced, not run. They work on a bare Debian 12: bash, coreutils, dpkg and apt only.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
script=$(basename -- "$0")

# What the build, the tests and the demo need, all from Debian 12.
packages=(cmake ninja-build g++ libeigen3-dev libboost-dev libboost-context-dev catch2 libbenchmark-dev
  nlohmann-json3-dev libcli11-dev libfmt-dev zlib1g-dev libdnnl-dev graphviz python3 python3-numpy pkg-config)

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
    for tool in cmake ninja g++ python3; do
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
  "${as[@]}" apt-get -q update || stop "'apt-get update' failed: is there a network, and are the package sources right?"
  "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" ||
    stop "these packages could not be installed (see above); by hand, as root:
  $command"
}

# How many compilers at once: ESPALIER_JOBS, or one for each processor as far as memory allows 2 GB for each.
jobs() {
  local processors memory_kib by_memory
  if [[ -n ${ESPALIER_JOBS-} ]]; then
    echo "$ESPALIER_JOBS"
    return 0
  fi
  processors=$(nproc)
  memory_kib=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo 2>/dev/null || true)
  by_memory=$((${memory_kib:-4000000} / 2000000))
  if ((by_memory < 1)); then by_memory=1; fi
  echo $((processors < by_memory ? processors : by_memory))
}

has_nvcc() { command -v nvcc >/dev/null || [[ -x /usr/local/cuda/bin/nvcc ]]; }

# configure PRESET [ARGUMENT...]; CMake's own chatter is left out, its messages about espalier are shown.
configure() {
  local preset=$1 log
  shift
  say "Configuring build/$preset"
  mkdir -p "$root/build"
  log=$root/build/configure-$preset.log
  if ! (cd "$root" && cmake --preset "$preset" "$@") >"$log" 2>&1; then
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
