#!/bin/bash
# The programs were built with what compiler and linker have against exploits.
set -euo pipefail
export LC_ALL=C

build=${1:-${REMAPFS_BUILD:?the build directory}}

skip() {
  echo "SKIP: $*"
  exit 77
}

cached() { # VARIABLE: what CMake was told
  sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"
}

[ "$(cached REMAPFS_HARDEN)" = ON ] || skip "built without REMAPFS_HARDEN"
for tool in readelf objdump; do
  command -v "$tool" >/dev/null || skip "there is no $tool"
done

failed=0
expect() { # PROGRAM WHAT PATTERN TEXT
  if ! grep -Eq -- "$3" <<<"$4"; then
    echo "$1: $2 is missing"
    failed=1
  fi
}
forbid() { # PROGRAM WHAT PATTERN TEXT
  if grep -Eq -- "$3" <<<"$4"; then
    echo "$1: has $2"
    failed=1
  fi
}

for program in remapfs remapctl; do
  file=$build/$program
  segments=$(readelf -lW "$file")
  dynamic=$(readelf -dW "$file")
  imports=$(readelf --dyn-syms -W "$file")
  code=$(objdump -d --no-show-raw-insn "$file")

  expect $program "PIE" 'FLAGS_1.* PIE' "$dynamic"
  expect $program "RELRO" 'GNU_RELRO' "$segments"
  expect $program "immediate binding (full RELRO)" 'BIND_NOW|FLAGS_1.* NOW' "$dynamic"
  expect $program "a stack segment" 'GNU_STACK' "$segments"
  forbid $program "an executable stack" 'GNU_STACK .* RWE ' "$segments"
  forbid $program "a segment that is written and executed" 'LOAD .* RWE ' "$segments"
  forbid $program "relocations of its code" 'TEXTREL' "$dynamic"
  forbid $program "a library path of its own" 'RPATH|RUNPATH' "$dynamic"
  expect $program "the stack protector" '__stack_chk_fail' "$imports"
  expect $program "_FORTIFY_SOURCE" '__(v?snprintf|memcpy|read|pread64)_chk' "$imports"
  if [ "$(uname -m)" = x86_64 ]; then
    # The note that turns it on is up to the start files of the C library.
    expect $program "branch protection (endbr64)" 'endbr64' "$code"
    # Frames larger than a page are touched page by page.
    expect $program "stack clash protection" 'sub +\$0x1000,%rsp' "$code"
    expect $program "stack clash protection" 'or[qb]? +\$0x0,.*\(%rsp\)' "$code"
  fi
done
exit $failed
