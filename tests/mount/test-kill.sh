#!/bin/bash
# The worker is killed again and again under a verifying load: its users do not
# notice (contract 11). KILLS (default 40) for each of the two loads.
LIMIT=500
. "$(dirname "$0")/lib.sh"
requires root loop fio fs:ext4 mkfs.ext4 e2fsck
KILLS=${KILLS:-40}

volume_make 256M 32M
image_mount
[ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge 6009 ] ||
  skip "this kernel ($(uname -r)) hands no requests to a successor: Linux 6.9 does"
loop_attach
kernel_lines=$(dmesg 2>/dev/null | wc -l)
supervisor=$(daemon_pid)

# The supervisor has one child: its worker.
child() {
  tr -d ' ' <"/proc/$supervisor/task/$supervisor/children" 2>/dev/null
}

# kill_while PID: kills workers as long as the load runs, KILLS at most: after a
# moment of service, and now and then in the middle of their start.
kill_while() {
  local killed=0 worker
  while [ "$killed" -lt "$KILLS" ] && kill -0 "$1" 2>/dev/null; do
    worker=$(child) || break
    if [ $((killed % 10)) != 5 ]; then
      [ -n "$worker" ] && [ "$(worker_pid)" = "$worker" ] || continue
    fi
    sleep "0.$((RANDOM % 250 + 100))"
    kill -9 "$worker" 2>/dev/null && killed=$((killed + 1))
  done
  echo "$killed" >killed
}

say "fio verifies 4 KiB random writes, depth 16, crc32c, while workers die"
inject --percent 1 --on write --seed 1
cat >job <<END
[global]
filename=$R
direct=1
ioengine=libaio
iodepth=16
bs=4k
size=128m
verify=crc32c
verify_fatal=1
[load]
rw=randrw
rwmixread=30
time_based
runtime=280
verify_backlog=1024
END
timeout 300 fio --output=fio.log job &
load=$!
kill_while "$load"
echo "   $(cat killed) workers killed"
kill -INT "$load" 2>/dev/null || :
code=0
wait "$load" || code=$?
grep -Eqi 'err= *[1-9]|verify:|error' fio.log && fail "fio saw an error: $(cat fio.log)"
[ "$code" = 0 ] || [ "$code" = 128 ] || [ "$code" = 130 ] || fail "fio ended with $code: $(tail -5 fio.log)"
[ "$(cat killed)" -ge "$KILLS" ] || fail "only $(cat killed) of $KILLS workers were killed"
assert_eq "$(daemon_pid)" "$supervisor" "the supervisor"

say "files are copied to ext4 while workers die"
# A discard over many bad sectors fails when its time is over (docs/guarantees.md).
bounded mkfs.ext4 -q -F -E nodiscard "$R"
bounded mount "$R" "$FS"
real_tree tree 60
(
  for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    rm -rf "$FS/tree" && cp -r tree "$FS/tree" && sync -f "$FS" || exit 1
    [ ! -e enough ] || exit 0
  done
) &
load=$!
KILLS=$((KILLS / 2)) kill_while "$load"
touch enough
wait "$load" || { sql "SELECT * FROM history WHERE event NOT IN ('opened', 'remapped', 'created') ORDER BY id DESC LIMIT 12"; status_of .; dmesg 2>/dev/null | tail -5; fail "copying failed while workers were killed"; }
echo "   $(cat killed) workers killed"
tree_sums tree >expected
tree_sums "$FS/tree" >seen
assert_same seen expected "the copied tree"
bounded umount "$FS"
bounded e2fsck -fn "$R" >fsck.log 2>&1 || fail "fsck: $(cat fsck.log)"
dmesg 2>/dev/null | tail -n +"$((kernel_lines + 1))" | grep -E "I/O error.*dev ${R#/dev/}," && fail "the kernel saw I/O errors"
assert_eq "$(sql "SELECT count(*) > 0 FROM history WHERE detail LIKE '%killed by SIGKILL%'")" 1 \
  "the history tells of killed workers"

say "upgrade: a new worker takes over without a kill"
before=$(worker_pid)
bounded remapctl upgrade "$VOLUME"
[ "$(worker_pid)" != "$before" ] || fail "the same worker"
assert_eq "$(daemon_pid)" "$supervisor" "the supervisor"
bounded e2fsck -fn "$R" >fsck.log 2>&1 || fail "fsck after upgrade: $(cat fsck.log)"

say "also when it comes while a worker is only starting"
another_answers() {
  [ "$(worker_pid)" != null ] && [ "$(worker_pid)" != "$before" ]
}
for _ in 1 2 3; do
  before=$(worker_pid)
  kill -9 "$before"
  wait_for 20 another_answers || fail "no worker follows"
  BOUND=30 bounded remapctl upgrade "$VOLUME"
done

say "a worker that dies as soon as it is started is given up"
loop_detach
# By a fault, as it seems: that somebody kills them is none of theirs.
for _ in $(seq 6000); do
  worker=$(child) || break
  [ -z "$worker" ] || kill -SEGV "$worker" 2>/dev/null || :
  process_ended "$supervisor" && break
  sleep 0.02
done
wait_for 20 process_ended "$supervisor" || fail "the supervisor does not give up"
assert_eq "$(events gave_up)" 1 "events that tell it"
wait_for 10 eval '! mountpoint -q "$MNT"' || fail "the mount stays"
assert_eq "$(status_of .daemon.running)" false "daemon.running"
image_mount
