#!/bin/bash
# A worker that somebody has taken over, in a live mount: each way out that it could try
# ends it or fails, and its supervisor, the mount and whoever waits for an answer go on.
. "$(dirname "$0")/../mount/lib.sh"
requires root jq python3 script

misbehave=$BUILD/tests/mount/libmisbehave.so
[ -e "$misbehave" ] || skip "$misbehave is not built: a sanitizer's build is not confined"
grep -q '^Seccomp_filters:' /proc/self/status || skip "this kernel has no seccomp"
[ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge 6009 ] ||
  skip "this kernel ($(uname -r)) hands no requests to a successor: Linux 6.9 does"

# Two services of root: one that systemd would be told by, one that anybody may connect to.
cat >listen.py <<'PYTHON'
import os, socket, sys
told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.bind(sys.argv[1])
open_to_all = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
open_to_all.bind(sys.argv[2])
open_to_all.listen(1)
print("listening", flush=True)
while True:
    print(told.recv(4096).decode(errors="replace"), flush=True)
PYTHON
volume_make 16M 1M
export MISBEHAVE=$VOLUME.misbehave NOTIFY_SOCKET=$SCRATCH/notify
: >notified
python3 listen.py "$NOTIFY_SOCKET" "$MISBEHAVE.root" >notified &
wait_for 10 grep -q listening notified || fail "no listener"

# On a terminal, as remapfs -f is started by hand.
LD_PRELOAD=$misbehave script -qefc "'$BUILD/remapfs' -f '$VOLUME' '$MNT'" /dev/null >told 2>&1 </dev/null &
wait_for 20 bounded test -f "$IMAGE" || fail "not mounted: $(cat told)"
! grep -q 'not confined' told || skip "this container lets no process be confined"
supervisor=$(daemon_pid)
descriptors=$(ls "/proc/$supervisor/fd" | wc -l)
noise data 8

another_serves() { # BEFORE
  local now
  now=$(worker_pid) && [ "$now" != null ] && [ "$now" != "$1" ]
}

# tries WORD: the worker does that at a flush, whose caller notices nothing.
tries() {
  sector_write "$IMAGE" 64 8 <data
  printf %s "$1" >"$MISBEHAVE"
  bounded sync "$IMAGE" || fail "who waited for an answer noticed $1"
}

the_mount_is_as_it_was() { # WORD
  sector_read "$IMAGE" 64 8 | cmp - data
  assert_eq "$(daemon_pid)" "$supervisor" "supervisor after $1"
}

# ends WORD: the worker is ended for it, and the call named in the history.
ends() {
  local before number
  before=$(worker_pid)
  tries "$1"
  wait_for 20 another_serves "$before" || fail "the worker was not ended for $1: $(cat "$MISBEHAVE" told)"
  [ ! -e "$MISBEHAVE" ] || fail "$1 came to: $(cat "$MISBEHAVE")"
  number=$(cat "$MISBEHAVE.number")
  wait_for 10 eval "sql \"SELECT detail FROM history WHERE event = 'opened'\" | grep -q 'system call $number, which it may not'" ||
    fail "$1 (call $number) is not in the history"
  the_mount_is_as_it_was "$1"
}

# fails WORD WHY: it is refused to the worker, which goes on.
fails() {
  local before
  before=$(worker_pid)
  tries "$1"
  assert_eq "$(cat "$MISBEHAVE")" "$1: $2" "$1"
  rm "$MISBEHAVE"
  assert_eq "$(worker_pid)" "$before" "worker after $1"
  the_mount_is_as_it_was "$1"
}

say "other processes: services, threads, memory, the terminal"
for way in connect terminal tgkill setown ptrace memory; do ends "$way"; done

say "more rights: rings, namespaces, its own memory shown, programs of root"
for way in io_uring namespace dumpable setuid mark-setuid; do ends "$way"; done
[ ! -u "$MISBEHAVE.setuid" ] || fail "a program of root came to be"

say "files: by name, and by what is open"
fails shadow "Permission denied"
fails proc-fd "Permission denied"

say "the shared memory keeps its size"
fails cut "Operation not permitted"
fails grow "Operation not permitted"

say "nobody has a terminal but the supervisor"
assert_eq "$(readlink "/proc/$(worker_pid)/fd/0")" /dev/null "stdin of the worker"
! readlink "/proc/$(worker_pid)/fd"/* | grep -E '^/dev/(tty|pts/|console)' || fail "the worker has a terminal"

say "what it writes into the shared memory is not believed"
before=$(worker_pid)
tries scribble
wait_for 20 another_serves "$before" || fail "no worker after one that wrote over everything: $(cat told)"
the_mount_is_as_it_was scribble
wait_for 10 grep -q '^STATUS=serving; the worker before was killed by SIGKILL' notified || fail "$(cat notified)"
! grep -E '^(MAINPID|STOPPING|READY=0)' notified || fail "systemd was told so"
assert_eq "$(status_of .daemon.worker_deaths)" "$(sql "SELECT count(*) FROM history
  WHERE event = 'opened' AND detail LIKE '%the one before%'")" "deaths in status"

say "nor that the mount is gone"
before=$(worker_pid)
tries leave
wait_for 20 another_serves "$before" || fail "no worker after one that left: $(cat told)"
the_mount_is_as_it_was leave

say "nor are descriptors kept that it passes"
fails descriptors Success
assert_eq "$(ls "/proc/$supervisor/fd" | wc -l)" "$descriptors" "descriptors of the supervisor"

say "nor is the log full of what it says"
fails flood Success
[ "$(grep -c flood told)" -le 400 ] || fail "$(grep -c flood told) lines of a worker that says too much"
! grep -q $'\033' told || fail "what it says reaches the terminal raw"

say "the mount ends as any other"
image_unmount
assert_eq "$(sql "SELECT event FROM history ORDER BY id DESC LIMIT 1")" closed "last event"
