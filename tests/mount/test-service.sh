#!/bin/bash
# The units: what they start, told and asked as systemd does.
. "$(dirname "$0")/lib.sh"
requires root loop jq cmake python3

DESTDIR=$SCRATCH/root cmake --install "$BUILD" >install.log 2>&1 || fail "install: $(cat install.log)"
unit=$(find "$SCRATCH/root" -name remapfs@.service)
loop_unit=$(find "$SCRATCH/root" -name remapfs-loop@.service)
[ -f "$unit" ] && [ -f "$loop_unit" ] || fail "units are missing: $(cat install.log)"

# Writes a line "SECONDS MESSAGE" for each message that comes to a socket.
cat >listen.py <<'PYTHON'
import os, socket, sys
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\0" + name[1:] if name[0] == "@" else name)
print("listening", flush=True)
while True:
    text = s.recv(4096).decode()
    # What is told must be true when it is told.
    there = os.path.exists(sys.argv[2])
    for line in text.splitlines():
        print(line, "there" if there else "missing", flush=True)
PYTHON

listener=
# listen SOCKET: messages go to the file "told" from now on.
listen() {
  [ -z "$listener" ] || kill "$listener"
  python3 listen.py "$1" "$IMAGE" >told &
  listener=$!
  wait_for 10 grep -q listening told || fail "no listener"
  export NOTIFY_SOCKET=$1
}

# program_of UNIT KEY: what the unit would run, with the variables of its file.
program_of() {
  local line
  line=$(sed -n "s,^$2=,,p" "$1")
  [ -n "$line" ] || fail "no $2 in $1"
  # The programs that are tested, not those that are installed here.
  sed -E "s,^/[^ ]*/,$(dirname "$(find "$SCRATCH/root" -path "*bin/remapctl")")/," <<<"$line"
}

OPTIONS=$(sed -n 's/^Environment=OPTIONS=//p' "$unit")
MOUNTPOINT=$MNT LOOP=
volume_make 16M 2M
inject --sectors 100 --on write
noise data 1

start() {
  eval "exec $(program_of "$unit" ExecStart)" >service.log 2>&1 &
  service=$!
  wait_for 20 grep -q '^READY=1' told || fail "no READY=1: $(cat told service.log)"
}

# stopped CODE
stopped() {
  local code=0
  wait_for 30 process_ended "$service" || fail "the service does not end"
  wait "$service" || code=$?
  assert_eq "$code" "$1" "exit code of the service, which said: $(cat service.log)"
}

say "READY=1 comes when disk.img can be opened, STOPPING=1 with the end"
listen "$SCRATCH/notify"
start
grep -qx 'READY=1 there' told || fail "told too early: $(cat told)"
assert_eq "$service" "$(daemon_pid)" "the main process is the supervisor"
sector_write "$IMAGE" 100 1 <data
! grep -q STOPPING told || fail "STOPPING=1 too early"
kill "$service"
stopped 0
grep -q '^STOPPING=1' told || fail "no STOPPING=1: $(cat told)"
assert_eq "$(sql "SELECT event FROM history ORDER BY id DESC LIMIT 1")" closed "last event"

say "a worker that dies is told of; so is one that is upgraded"
listen "@remapfs-test-$$"
start
sector_read "$IMAGE" 100 1 >seen
assert_same seen data "sector 100, written before the service was stopped"
if [ "$(printf '%s\n' 6.9 "$(uname -r)" | sort -V | head -1)" = 6.9 ]; then
  kill_worker
  wait_for 20 grep -q '^STATUS=serving; the worker before was killed by SIGKILL' told ||
    fail "the worker's death was not told: $(cat told)"
else
  say "not shown: a dead worker is not replaced by kernel $(uname -r)"
fi
eval "bounded $(program_of "$unit" ExecReload)" >reload.log 2>&1 || fail "reload: $(cat reload.log)"
wait_for 20 grep -q '^STATUS=serving; the worker before handed over' told || fail "$(cat told)"

say "the loop device comes and goes"
eval "bounded $(program_of "$loop_unit" ExecStart)" >attach.log 2>&1 || fail "$(cat attach.log)"
cmp -n 1M "$(cat attach.log)" "$IMAGE" || fail "the loop device is not disk.img"
eval "bounded $(program_of "$loop_unit" ExecStop)" >detach.log 2>&1 || fail "$(cat detach.log)"

say "whoever has disk.img open is waited for, and not when asked again; it ends in order"
exec 9<"$IMAGE"
kill "$service"
wait_for 10 grep -q 'waiting for the programs' told || fail "$(cat told)"
sleep 0.5
! process_ended "$service" || fail "the first SIGTERM did not wait"
kill "$service"
stopped 0
exec 9<&-
assert_eq "$(sql "SELECT event FROM history ORDER BY id DESC LIMIT 1")" closed "last event"

say "what does not start is not READY, and nobody listening is no reason to fail"
: >told
VOLUME=$SCRATCH/nothing
eval "bounded $(program_of "$unit" ExecStart)" >service.log 2>&1 && fail "started without a volume"
! grep -q READY told || fail "READY=1 without a volume"
VOLUME=$SCRATCH/volume
kill "$listener"
wait "$listener" 2>/dev/null || :
eval "exec $(program_of "$unit" ExecStart)" >service.log 2>&1 &
service=$!
wait_for 20 grep -q 'NOTIFY_SOCKET' service.log || fail "$(cat service.log)"
kill "$service"
stopped 0

say "nothing in the unit gives it mounts of its own"
! grep -E '^(Protect(System|Home|Proc|Kernel|ControlGroups)|Private(Tmp|Devices|Mounts|IPC|Users)|ProcSubset|Root(Directory|Image)|[A-Za-z]*Paths|BindPaths|TemporaryFileSystem|MountFlags|DynamicUser|LogNamespace)' \
  "$unit" >&2 || fail "that hides disk.img from everybody else"

say "systemd-analyze verify"
if [ -x "$(type -P systemd-analyze)" ]; then
  mkdir units
  for file in "$unit" "$loop_unit"; do
    name=${file##*/}
    sed -E "s,^(Exec[A-Za-z]*)=/[^ ]*/,\1=$(dirname "$(find "$SCRATCH/root" -path "*bin/remapctl")")/," \
      "$file" >"units/${name/@/@x}"
  done
  bounded systemd-analyze verify --man=no units/* >verify.log 2>&1 || fail "$(cat verify.log)"
  [ ! -s verify.log ] || fail "$(cat verify.log)"
else
  say "not shown: no systemd-analyze here"
fi
