# What the tests of this folder share. A test begins with
#
#     . "$(dirname "$0")/lib.sh"
#     requires root loop mkfs.ext4
#
# and then runs with errexit in a scratch directory of its own, where VOLUME,
# MNT (the mount point), IMAGE (MNT/disk.img) and FS (an empty directory for a
# file system on R) are. By hand: tests/mount/test-hole.sh [BUILD_DIRECTORY]
#
# The script runs twice. The first process only supervises: it makes the
# scratch directory, runs the script again below timeout(1), and afterwards
# takes down whatever is left. So a test that hangs on a dead mount, or is
# interrupted, leaves no mount, no loop device and no process. Set LIMIT
# (seconds) before sourcing this file for a test that takes longer.
# shellcheck shell=bash
set -Eeuo pipefail

TEST_NAME=$(basename "$0" .sh)
# How much slower than a real machine this one is.
SLOW=${REMAPFS_SLOW:-1}
LIMIT=$((${LIMIT:-240} * SLOW))
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
umask 022

# ---- verdicts ----------------------------------------------------------------

fail() {
  trap - ERR
  echo "FAIL $TEST_NAME: $*" >&2
  exit 1
}

skip() {
  trap - ERR
  echo "SKIP $TEST_NAME: $*"
  exit 77
}

# assert_eq SEEN EXPECTED WHAT
assert_eq() {
  [ "$1" = "$2" ] || fail "$3: expected '$2', saw '$1'"
}

# assert_same FILE FILE WHAT
assert_same() {
  cmp -- "$1" "$2" >&2 || fail "$3: contents differ"
}

# must_fail REGEX COMMAND...: it fails, and says something that matches.
must_fail() {
  local regex=$1 code=0
  shift
  "$@" >"$SCRATCH/said" 2>&1 || code=$?
  case $code in
    0) fail "should fail, but did not: $*" ;;
    124 | 137) fail "did not end: $*" ;;
  esac
  grep -Eqi -- "$regex" "$SCRATCH/said" || fail "'$*' said: $(cat "$SCRATCH/said")"
}

# ---- supervision ---------------------------------------------------------------

# Prints the processes of this test, which all inherited its REMAPFS_SCRATCH.
test_processes() {
  grep -lzxF "REMAPFS_SCRATCH=$SCRATCH" /proc/[0-9]*/environ 2>/dev/null |
    while IFS=/ read -r _ _ pid _; do
      echo "$pid $(cat "/proc/$pid/comm" 2>/dev/null)"
    done
}

# unmount_below REGEX: mounts in the scratch directory whose type matches,
# youngest first.
unmount_below() {
  local target
  awk -v under="$SCRATCH/" -v type="$1" '
    index($5, under) == 1 { for (i = 7; $i != "-"; i++); if ($(i + 1) ~ type) print $5 }
  ' /proc/self/mountinfo | tac | while read -r target; do
    timeout -k 2 20 umount "$target" 2>/dev/null || timeout -k 2 5 fusermount3 -u "$target" ||
      umount -l "$target"
  done
}

# loop_number DEVICE: of what it is attached to now; counts up with each.
loop_number() {
  cat "/sys/block/${1#/dev/}/diskseq"
}

detach_loops() {
  local loop file number
  for loop in /sys/block/loop*/loop; do
    # Asked right before: once detached, it may be another test's.
    file=$(cat "$loop/backing_file") && [ "${file#"$SCRATCH/"}" != "$file" ] || continue
    loop=${loop%/loop}
    timeout -k 2 20 losetup -d "/dev/${loop##*/}"
  done
  # Those whose mount is out of sight have lost its path: a test notes them, each with its
  # number, since another one's may have the same name by now.
  while read -r loop number; do
    [ "$(loop_number "$loop")" != "$number" ] || timeout -k 2 20 losetup -d "$loop"
  done < <(cat "$SCRATCH/hidden-loops" 2>/dev/null)
}

daemons_ended() {
  ! test_processes | grep -qE ' (remapfs|fuse2fs)$'
}

# What does I/O ends first, what serves it last. A daemon that does not end by
# itself is killed, which frees whoever waits for it.
take_down() {
  set +e
  test_processes | awk '$2 !~ /^(remapfs|fuse2fs)$/ { print $1 }' | xargs -r kill -9
  unmount_below '^(ext4|xfs|btrfs)$'
  detach_loops
  unmount_below .
  wait_for 15 daemons_ended || echo "$TEST_NAME: remapfs did not end and was killed"
  test_processes | awk '{ print $1 }' | xargs -r kill -9
  detach_loops
  unmount_below .
} 2>/dev/null

supervise() {
  local result=0 report
  SCRATCH=$(mktemp -d "${TMPDIR:-/var/tmp}/remapfs-test.XXXXXX")
  chmod 755 "$SCRATCH"
  mkdir -m 1777 "$SCRATCH/sanitizer"
  trap 'trap - EXIT; take_down; rm -rf --one-file-system "$SCRATCH"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP

  # A daemon has no stderr, so its sanitizer writes to files.
  REMAPFS_SCRATCH=$SCRATCH \
    ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$SCRATCH/sanitizer/asan \
    UBSAN_OPTIONS=log_path=$SCRATCH/sanitizer/ubsan:print_stacktrace=1 \
    TSAN_OPTIONS=${TSAN_OPTIONS:+$TSAN_OPTIONS:}log_path=$SCRATCH/sanitizer/tsan \
    timeout -k 10 "$LIMIT" "$BASH" "$0" "$@" </dev/null &
  wait $! || result=$?
  case $result in
    124 | 137) echo "FAIL $TEST_NAME: not done after $LIMIT s" >&2 ;;
  esac

  take_down
  for report in "$SCRATCH"/sanitizer/*; do
    [ -s "$report" ] || continue
    head -60 "$report" >&2
    result=1
  done
  [ "$result" != 0 ] || echo "PASS $TEST_NAME"
  exit "$result"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
  local end=$((SECONDS + $1 * SLOW))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

[ -n "${REMAPFS_SCRATCH:-}" ] || supervise "$@"

# ---- from here on: the test itself ----------------------------------------------

# A command that failed unexpectedly: where, and who called it.
on_error() {
  local code=$1 line=$2 command=$3 i
  trap - ERR
  [[ $command != *AS_USER* ]] || command=$bounded_command
  echo "FAIL $TEST_NAME: exit code $code of: $command" >&2
  echo "  at ${BASH_SOURCE[1]##*/}:$line" >&2
  for ((i = 2; i < ${#BASH_SOURCE[@]}; i++)); do
    echo "  from ${BASH_SOURCE[i]##*/}:${BASH_LINENO[i - 1]}" >&2
  done
}
trap 'on_error $? "$LINENO" "$BASH_COMMAND"' ERR

SCRATCH=$REMAPFS_SCRATCH
TESTS=$(cd "$(dirname "$0")" && pwd)
BUILD=${1:-${REMAPFS_BUILD:-$TESTS/../../build}}
[ -x "$BUILD/remapfs" ] && [ -x "$BUILD/remapctl" ] ||
  fail "no remapfs and remapctl in $BUILD: build first (cmake --build --preset default)"
BUILD=$(cd "$BUILD" && pwd)
PATH=$BUILD:$PATH

VOLUME=$SCRATCH/volume
MAIN=$SCRATCH/main.img
SPARE=$SCRATCH/spare.img
MNT=$SCRATCH/mnt
IMAGE=$MNT/disk.img
FS=$SCRATCH/fs
R= # the loop device, once attached
SS=512
mkdir "$MNT" "$FS"
cd "$SCRATCH"

# Whatever may hang on a dead mount runs below this; and as another user where
# a test has put the words for that into AS_USER.
AS_USER=()
bounded() {
  bounded_command=$*
  "${AS_USER[@]}" timeout -k 5 "$((${BOUND:-60} * SLOW))" "$@"
}

# requires WHAT...: root, fuse, loop, a file system "fs:xfs", or a command.
requires() {
  local what
  for what in fuse "$@"; do
    case $what in
      root) [ "$(id -u)" = 0 ] || skip "needs root" ;;
      fuse)
        modprobe -q fuse 2>/dev/null || :
        [ -c /dev/fuse ] || skip "no /dev/fuse here"
        command -v fusermount3 >/dev/null || skip "needs fusermount3 (package fuse3)"
        ;;
      loop)
        modprobe -q loop 2>/dev/null || :
        losetup -f >/dev/null 2>&1 || skip "no free loop device here"
        ;;
      fs:*)
        modprobe -q "${what#fs:}" 2>/dev/null || :
        grep -qw "${what#fs:}" /proc/filesystems || skip "this kernel has no ${what#fs:}"
        ;;
      *) command -v "$what" >/dev/null || skip "needs $what" ;;
    esac
  done
}

# For the beginning of a mount namespace: what others have mounted would stay busy as
# long as it lives. Only where propagation is private: else it would end for them, too.
leave_other_mounts() {
  awk '!/ shared:/ && / - (fuse[^ ]*|[^ ]+ \/dev\/loop[0-9]+) / { print $5 }' /proc/self/mountinfo |
    tac | while read -r target; do umount -l "$target" 2>/dev/null || :; done
}
export -f leave_other_mounts

say() {
  echo "-- $*"
}

# ---- the volume -------------------------------------------------------------------

# main_fill SIZE: a main whose every byte is 0xA5, so that a sector that was
# ever written can be told from one that was not.
main_fill() {
  head -c "$(numfmt --from=iec "$1")" /dev/zero | tr '\0' '\245' >"$MAIN"
}

# volume_make MAIN_SIZE SPARE_SIZE [SECTOR_SIZE]; a main that is there is kept.
volume_make() {
  SS=${3:-512}
  BOUND=120 bounded remapctl create "$VOLUME" --main "$MAIN,size=$1" --spare "$SPARE,size=$2" \
    --sector-size "$SS" >"$SCRATCH/create.log" 2>&1 || fail "create: $(cat "$SCRATCH/create.log")"
}

# image_mount [OPTIONS]
image_mount() {
  BOUND=30 bounded remapfs "$@" "$VOLUME" "$MNT" >"$SCRATCH/mount.log" 2>&1 </dev/null ||
    fail "mount: $(cat "$SCRATCH/mount.log")"
  bounded test -f "$IMAGE" || fail "remapfs returned before disk.img could be opened"
}

# Gone, or only waiting to be reaped.
process_ended() {
  ! grep -qs '^State:[[:space:]]*[A-WY]' "/proc/$1/status"
}

try_unmount() {
  bounded fusermount3 -u "$1" 2>"$SCRATCH/unmount.log"
}

# threads_of SUPERVISOR: what each thread of its worker does, for who has to find out
# why something hangs.
threads_of() {
  local worker
  for worker in $(cat "/proc/$1/task/$1/children"); do
    grep -H . "/proc/$worker/task"/*/{comm,wchan,syscall,stack}
  done 2>/dev/null || :
}

# Returns when the daemon has ended: everything is flushed, the locks are free.
image_unmount() {
  local pid
  pid=$(daemon_pid)
  wait_for 10 try_unmount "$MNT" || fail "fusermount3 -u: $(cat "$SCRATCH/unmount.log")"
  wait_for 30 process_ended "$pid" || {
    threads_of "$pid" >&2
    fail "remapfs ($pid) does not end after fusermount3 -u"
  }
}

image_restart() {
  image_unmount
  image_mount "$@"
}

# Sets R, with direct I/O and the sector size of the volume.
loop_attach() {
  bounded remapctl attach "${1:-$VOLUME}" >"$SCRATCH/attach.log" 2>&1 ||
    fail "attach: $(cat "$SCRATCH/attach.log")"
  R=$(grep -o '/dev/loop[0-9]*' "$SCRATCH/attach.log" | head -1)
  [ -b "$R" ] || fail "attach named no loop device: $(cat "$SCRATCH/attach.log")"
  assert_eq "$(losetup -nO DIO,LOG-SEC "$R" | xargs)" "1 $SS" "direct I/O and sector size of $R"
}

loop_detach() {
  bounded remapctl detach "${1:-$VOLUME}" >"$SCRATCH/detach.log" 2>&1 ||
    fail "detach: $(cat "$SCRATCH/detach.log")"
  R=
}

# inject OPTIONS: simulated bad sectors, in force when it returns.
inject() {
  bounded remapctl inject "$VOLUME" add "$@" >"$SCRATCH/inject.log" 2>&1 ||
    fail "inject $*: $(cat "$SCRATCH/inject.log")"
}

# status_of JQ_PATH
status_of() {
  bounded remapctl status "$VOLUME" --json >"$SCRATCH/status.json" || [ $? = 1 ]
  jq -r "$1" "$SCRATCH/status.json"
}

daemon_pid() {
  status_of .daemon.pid
}

worker_pid() {
  status_of .daemon.worker_pid
}

# Not between the death of one and the first answer of its successor.
worker_serves() {
  [[ $(worker_pid) =~ ^[0-9]+$ ]]
}

# It gets a successor.
kill_worker() {
  wait_for 20 worker_serves || fail "no worker serves: $(cat "$SCRATCH/status.json")"
  kill -9 "$(worker_pid)"
}

# Supervisor first, so that the worker gets no successor.
kill_daemon() {
  local supervisor worker
  supervisor=$(daemon_pid)
  worker=$(worker_pid)
  # What it says now the kernel remembers for a second, also when nobody serves it any more.
  bounded stat --cached=never "$MNT" >/dev/null
  kill -9 "$supervisor" "$worker"
  wait_for 10 process_ended "$supervisor" && wait_for 10 process_ended "$worker" ||
    fail "remapfs survives kill -9"
  # Its threads may be a moment behind: until the last one is gone, the socket
  # takes connections.
  wait_for 10 no_daemon || fail "something answers after kill -9"
}

no_daemon() {
  [ "$(status_of .daemon.running)" = false ]
}

# ---- the database ------------------------------------------------------------------

sql() {
  bounded sqlite3 -cmd '.timeout 10000' "$VOLUME" "$1"
}

# each_sector TABLE COLUMN [WHERE]: SQL that lists every sector of its extents.
each_sector() {
  echo "WITH RECURSIVE each(s, n) AS (SELECT $2, sectors FROM $1 WHERE ${3:-1}
    UNION SELECT s + 1, n - 1 FROM each WHERE n > 1) SELECT DISTINCT s FROM each ORDER BY s"
}

# One line with every sector, so that lists can be compared.
remapped_sectors_list() {
  sql "$(each_sector remap main_sector)" | xargs
}

pending_sectors_list() {
  sql "$(each_sector pending sector)" | xargs
}

faulty_sectors_list() {
  sql "$(each_sector fault sector 'spare_id IS NULL')" | xargs
}

# events NAME: how many there are.
events() {
  sql "SELECT count(*) FROM history WHERE event = '$1'"
}

# only_in LIST LIST: the words of the first that are not in the second.
only_in() {
  comm -23 <(tr ' ' '\n' <<<"$1" | sort) <(tr ' ' '\n' <<<"$2" | sort) | xargs
}

# What moved was bad.
assert_only_bad_moved() {
  assert_eq "$(only_in "$(remapped_sectors_list)" "$(faulty_sectors_list)")" "" \
    "remapped sectors that are not bad"
}

# touched_sectors_list SECTORS: those that something was written to, because
# they no longer hold what main_fill left. Unreadable ones were not written.
touched_sectors_list() {
  # One process for thousands of sectors. disk.img needs no aligned buffers.
  # shellcheck disable=SC2016
  bounded perl -e '
    my ($image, $size) = splice @ARGV, 0, 2;
    open my $disk, "<:raw", $image or die "$image: $!\n";
    for my $sector (@ARGV) {
      sysseek $disk, $sector * $size, 0 or die "$sector: $!\n";
      my $read = sysread $disk, my $content, $size;
      print "$sector\n" if $read && $content ne "\xA5" x $size;
    }' "$IMAGE" "$SS" $1 | xargs
}

# assert_touched_moved SECTORS, which were bad from the beginning: exactly those
# that something was written to have moved, and nothing else but bad sectors.
assert_touched_moved() {
  local bad touched untouched moved
  bad=$(tr -s '\n' ' ' <<<"$1")
  touched=$(touched_sectors_list "$bad")
  moved=$(remapped_sectors_list)
  assert_eq "$(only_in "$touched" "$moved")" "" "bad sectors that were written and did not move"
  untouched=$(only_in "$bad" "$touched")
  assert_eq "$(only_in "$untouched" "$(only_in "$untouched" "$moved")")" "" \
    "bad sectors that moved without being written"
  assert_only_bad_moved
  assert_eq "$(wc -w <<<"$moved")" "$(status_of .remapped_sectors)" "remapped_sectors in status"
}

# ---- sectors -------------------------------------------------------------------------

# noise FILE SECTORS: fresh random content.
noise() {
  head -c $(($2 * SS)) /dev/urandom >"$1"
}

# piece FILE SECTOR COUNT: that part of a plain file, to stdout.
piece() {
  dd if="$1" bs="$SS" skip="$2" count="$3" status=none
}

# sector_write TARGET SECTOR COUNT <DATA: one direct request.
sector_write() {
  bounded dd of="$1" bs=$(($3 * SS)) count=1 seek=$(($2 * SS)) oflag=direct,seek_bytes \
    iflag=fullblock conv=notrunc status=none
}

# sector_read TARGET SECTOR COUNT: one direct request, to stdout.
sector_read() {
  bounded dd if="$1" bs=$(($3 * SS)) count=1 skip=$(($2 * SS)) iflag=direct,skip_bytes status=none
}

# ---- real files ------------------------------------------------------------------------

# real_tree DIR MIB: copies that much of this machine's own files to DIR.
real_tree() {
  mkdir -p "$1"
  (
    cd /
    find usr/share usr/lib usr/include usr/bin -xdev -type f -size -16384k -readable \
      -perm -004 ! -name '*[\\]*' ! -path '*[[:space:]]*' -printf '%s %p\n' 2>/dev/null || :
  ) | awk -v want=$(($2 << 20)) 'total < want { print $2; total += $1 }' >"$1.list"
  tar -C / -cf - --no-recursion -T "$1.list" | tar -C "$1" -xf -
}

# tree_sums DIR: one line a file.
tree_sums() {
  (
    cd "$1"
    find . -type f -print0 | sort -z | BOUND=300 bounded xargs -0 -r sha256sum
  )
}
