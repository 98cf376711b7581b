# What the tests of the commands that look at a volume share. They run in a
# scratch directory of their own with a volume that has a past. By hand, with the
# expected output written anew: REMAPFS_UPDATE=1 tests/cli/test-look.sh build
# shellcheck shell=bash
set -Eeuo pipefail
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
unset NO_COLOR COLUMNS TERM
umask 022

TESTS=$(cd "$(dirname "$0")" && pwd)
BUILD=$(realpath -- "${1:-${REMAPFS_BUILD:-$TESTS/../../build}}")
SCHEMAS=$(realpath -- "$TESTS/../../docs/schema")
PYTHON=/usr/bin/python3 # the one that Debian's packages are for
for program in remapctl tests/cli/fill; do
  [ -x "$BUILD/$program" ] || { echo "$BUILD/$program is missing: build it first"; exit 1; }
done
PATH=$BUILD:$BUILD/tests/cli:$PATH

SCRATCH=$(realpath -- "$(mktemp -d "${TMPDIR:-/var/tmp}/remapfs-look.XXXXXX")")
trap 'cd /; rm -rf "$SCRATCH"' EXIT
trap 'exit 1' INT TERM HUP
trap 'echo "FAIL $(basename "$0"):$LINENO: exit code $? of: $BASH_COMMAND" >&2' ERR
cd "$SCRATCH"

fail() {
  echo "FAIL $(basename "$0"): $*" >&2
  exit 1
}

skip() {
  echo "SKIP $(basename "$0"): $*"
  exit 77
}

bounded() {
  timeout -k 5 "${BOUND:-60}" "$@"
}

requires() {
  local what
  for what; do
    case $what in
      python3) [ -x "$PYTHON" ] || skip "needs python3" ;;
      python3-*)
        "$PYTHON" -c "import ${what#python3-}" 2>/dev/null || skip "needs the package $what" ;;
      *) command -v "$what" >/dev/null || skip "needs $what" ;;
    esac
  done
}

# The commands of remapctl, as its --help lists them in groups.
commands() {
  local all
  all=$(remapctl --help | awk '/^[^ ]/ { inside = /\(8\)$/ } inside && /^ / { print $1 }')
  [ "$(wc -w <<<"$all")" -gt 20 ] || fail "remapctl --help: the commands were not found"
  echo "$all"
}

# volume_make NAME MAIN_SIZE SPARE_SIZE...: NAME, main.img and spare1.img, …
volume_make() {
  local name=$1 main=$2 number=0 size
  local -a spares=()
  shift 2
  for size; do
    number=$((number + 1))
    spares+=(--spare "spare$number.img,size=$size")
  done
  bounded remapctl create -q "$name" --main "main.img,size=$main" "${spares[@]}"
}

# A disk of 8192 sectors in every state, on two spares of 944 and 464 slots.
volume_with_a_past() {
  volume_make v.db 4M 512K 256K
  bounded fill v.db <<'END'
remap 0 1 1 0
remap 100 8 1 1
remap 4000 1 1 9 50 6
remap 6000 2 2 0
pending 5000 3 0 0
pending 7001 1 2 7
bad 2 7 1
bad 1 600 12
event 8 20 4 0 0
END
}

# What differs from run to run, and the width that it had in a table.
normalised() {
  sed -E -e "s|$SCRATCH|DIR|g" \
    -e 's/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/UUID/g' \
    -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/TIME/g' |
    if [ "${SQUEEZE:-}" = 1 ]; then sed -E 's/ +/ /g'; else cat; fi
}

# expect NAME CODE COMMAND...: what it prints and says is that of expected/NAME.
expect() {
  local name=$1 expected_code=$2 code=0
  shift 2
  bounded "$@" </dev/null >printed 2>said || code=$?
  normalised <printed >seen
  [ ! -s said ] || { echo "stderr:"; normalised <said; } >>seen
  [ "$code" = "$expected_code" ] || fail "$name: exit code $code instead of $expected_code: $(cat said)"
  if [ "${REMAPFS_UPDATE:-}" = 1 ]; then
    cp seen "$TESTS/expected/$name"
  else
    diff -u "$TESTS/expected/$name" seen || fail "$name: '$*' prints something else (above)"
  fi
  checked=$((${checked:-0} + 1))
}
