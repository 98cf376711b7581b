#!/bin/bash
# Built again from the same source in another folder, the programs are the same
# to the byte.
set -euo pipefail
export LC_ALL=C

build=${1:-${REMAPFS_BUILD:?the build directory}}
source=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cached() { # VARIABLE: what CMake was told
  sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"
}

mkdir "$work/a folder elsewhere"
tar -C "$source" --exclude=./build --exclude=./.git -cf - . | tar -C "$work/a folder elsewhere" -xf -
# Another time, in another zone, in another language.
export TZ=Pacific/Kiritimati LANG=C.UTF-8
find "$work" -exec touch -d '2001-01-01' {} +
cmake -G Ninja -S "$work/a folder elsewhere" -B "$work/out" -DBUILD_TESTING=OFF \
  -DCMAKE_C_COMPILER="$(cached CMAKE_C_COMPILER)" -DCMAKE_C_FLAGS="$(cached CMAKE_C_FLAGS)" \
  -DCMAKE_BUILD_TYPE="$(cached CMAKE_BUILD_TYPE)" -DREMAPFS_HARDEN="$(cached REMAPFS_HARDEN)" >"$work/log"
cmake --build "$work/out" --target remapfs remapctl >>"$work/log" || {
  cat "$work/log"
  exit 1
}
for program in remapfs remapctl; do
  cmp "$build/$program" "$work/out/$program"
  if grep -aFq "$source" "$build/$program"; then
    echo "$program names the folder it was built in"
    exit 1
  fi
done
