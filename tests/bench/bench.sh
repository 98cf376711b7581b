#!/bin/bash
# Measures remapfs against what it stands on and against its peers:
#
#     sudo tests/bench/bench.sh [--quick] [--json FILE] [--build DIRECTORY] [PART]...
#
#     io      throughput beside the raw loop device, qemu-storage-daemon and nbdfuse
#     scale   0 to 10,000,000 remaps: throughput, time to open, memory, look-up
#     remap   what a remap costs, beside the machine's own flush rate
#
# Without PART: all of them, in half an hour to an hour; --quick looks at each
# for a moment, which shows that everything works and little more. Prints
# Markdown tables (docs/performance.md explains them); --json keeps every single
# figure. Contenders take turns within each round, and what is printed is the
# median over the rounds, so that a machine that is busy for a while does not
# decide. It is no test: the exit code says whether the measurement was made.
#
# Needs 15 GiB below TMPDIR (/var/tmp) on a file system with O_DIRECT, 3 GiB of
# memory, and what 'contrib/install-deps --bench' installs.
set -euo pipefail

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
  exit "$1"
}

here=$(dirname "$(readlink -f "$0")")
if [ -z "${REMAPFS_SCRATCH:-}" ]; then
  export BENCH_QUICK="" BENCH_JSON="" BENCH_PARTS=""
  build=${REMAPFS_BUILD:-$here/../../build}
  while [ $# -gt 0 ]; do
    case $1 in
      --quick) BENCH_QUICK=1 ;;
      --json) BENCH_JSON=$(realpath -m -- "${2:?--json takes a file}") && shift ;;
      --build) build=${2:?--build takes a directory} && shift ;;
      -h | --help) usage 0 ;;
      io | scale | remap) BENCH_PARTS+="$1 " ;;
      *) usage 2 >&2 ;;
    esac
    shift
  done
  BENCH_PARTS=${BENCH_PARTS:-io scale remap}
  set -- "$build"
fi

# Only a bound: hours more than it should take.
LIMIT=14400
# shellcheck source=../mount/lib.sh
. "$here/../mount/lib.sh"
# shellcheck source=measure.sh
. "$here/measure.sh"
# shellcheck source=io.sh
. "$here/io.sh"
# shellcheck source=scale.sh
. "$here/scale.sh"
# shellcheck source=remap.sh
. "$here/remap.sh"

requires root loop fio jq mkfs.ext4
[ -x "$BUILD/tests/bench/bench_lookup" ] || fail "no tests/bench in $BUILD: build it with BUILD_TESTING"

record_machine
for part in $BENCH_PARTS; do
  "bench_$part"
done

jq -s . "$RESULTS" >"$SCRATCH/results.json"
[ -z "$BENCH_JSON" ] || cp "$SCRATCH/results.json" "$BENCH_JSON"
jq -r -L "$here" -f "$here/report.jq" "$SCRATCH/results.json"
