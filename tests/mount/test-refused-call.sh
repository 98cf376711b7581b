#!/bin/bash
# A worker of a live mount that makes a system call which it may not: the call is
# not made, the log and the history say which it was, and who waits for an answer
# gets it from the next worker.
. "$(dirname "$0")/lib.sh"
requires root jq

misbehave=$BUILD/tests/mount/libmisbehave.so
[ -e "$misbehave" ] || skip "$misbehave is not built: a sanitizer's build is not confined"
grep -q '^Seccomp_filters:' /proc/self/status || skip "this kernel has no seccomp"

volume_make 16M 1M
export MISBEHAVE=$VOLUME.misbehave
LD_PRELOAD=$misbehave remapfs -f "$VOLUME" "$MNT" >told 2>&1 </dev/null &
supervisor=$!
wait_for 20 bounded test -f "$IMAGE" || fail "not mounted: $(cat told)"
! grep -q 'not confined' told || skip "this container lets no process be confined"
[ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge 6009 ] ||
  skip "this kernel ($(uname -r)) hands no requests to a successor: Linux 6.9 does"

another_serves() { # BEFORE
  local now
  now=$(worker_pid) && [ "$now" != null ] && [ "$now" != "$1" ]
}

# refused WORD: the worker does that at a flush.
refused() {
  local before number
  before=$(worker_pid)
  noise data 8
  sector_write "$IMAGE" 64 8 <data
  printf %s "$1" >"$MISBEHAVE"
  bounded sync "$IMAGE" || fail "who waited for an answer noticed that $1 was refused"
  wait_for 20 another_serves "$before" || fail "no worker follows the one that was refused $1: $(cat told)"
  [ ! -e "$MISBEHAVE" ] || fail "$1 was not refused: $(cat "$MISBEHAVE")"
  sector_read "$IMAGE" 64 8 | cmp - data
  number=$(cat "$MISBEHAVE.number")
  # The history names who was before, and the log says it as it happens.
  assert_eq "$(sql "SELECT count(*) FROM history WHERE event = 'opened'
    AND detail LIKE '%the one before made system call $number, which it may not%'")" 1 "$1 in the history"
  grep -q "the worker made system call $number, which it may not" told || fail "$1 is not in the log: $(cat told)"
}

say "a program"
refused program
[ ! -e "$MISBEHAVE.ran" ] || fail "it ran"

say "the network"
refused network

say "a signal to the supervisor"
refused kill
assert_eq "$(daemon_pid)" "$supervisor" "the supervisor"

say "a file of others: the call fails, and the worker goes on"
before=$(worker_pid)
printf file >"$MISBEHAVE"
bounded sync "$IMAGE"
assert_eq "$(cat "$MISBEHAVE")" "file: Permission denied" "/etc/passwd"
assert_eq "$(worker_pid)" "$before" "worker"
rm "$MISBEHAVE"

say "unconfined, none of it is refused: what was seen is no accident"
image_unmount
LD_PRELOAD=$misbehave remapfs -f -o unconfined "$VOLUME" "$MNT" >told 2>&1 </dev/null &
wait_for 20 bounded test -f "$IMAGE" || fail "not mounted: $(cat told)"
printf network >"$MISBEHAVE"
bounded sync "$IMAGE"
assert_eq "$(cat "$MISBEHAVE")" "network: Success" "a socket"
rm "$MISBEHAVE"
image_unmount
