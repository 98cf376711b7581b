#!/bin/bash
# How remapfs starts, holds what it has, and ends.
. "$(dirname "$0")/lib.sh"
requires root loop flock setsid jq

say "a daemon that was started without standard descriptors keeps its locks"
volume_make 16M 2M
bounded remapfs "$VOLUME" "$MNT" <&- >&- 2>&-
bounded test -f "$IMAGE" || fail "not mounted"
! flock -n "$VOLUME" true || fail "the volume is not locked"
inject --sectors 100 --on write
noise data 1
sector_write "$IMAGE" 100 1 <data
sql 'SELECT count(*) FROM history' >/dev/null
kill_daemon
bounded umount -l "$MNT"
image_mount
sector_read "$IMAGE" 100 1 >seen
assert_same seen data "sector 100 after kill -9"
image_unmount

say "a mount that would hide its own volume is refused"
must_fail 'would hide' remapfs "$VOLUME" "$SCRATCH"
mountpoint -q "$SCRATCH" && fail "mounted all the same"

say "unmounted and mounted again at once"
for _ in 1 2 3 4 5; do
  image_mount
  bounded fusermount3 -u "$MNT"
done
image_mount

say "unmounted: nothing is wrong, and it counts as running until all is flushed"
inject --spare 1 --sectors 0 --errno none --delay 4000
pid=$(daemon_pid)
bounded fusermount3 -u "$MNT"
seen=
while bounded remapctl status --json "$VOLUME" >status.json; do
  assert_eq "$(jq -r .state status.json)" ok "state: $(jq -r .trouble status.json)"
  [ "$(jq .daemon.running status.json)" = true ] || break
  assert_eq "$(jq .daemon.pid status.json)" "$pid" "the daemon"
  [ "$(jq .daemon.ending status.json)" = true ] || continue
  [ -n "$seen" ] || for command in "status $VOLUME" "mark $VOLUME --sectors 5" "attach $VOLUME" "scrub $VOLUME"; do
    # shellcheck disable=SC2086
    bounded remapctl $command >>"${command%% *}.txt" 2>&1 || :
  done
  seen=1
done
[ -n "$seen" ] || fail "nothing told of the end, which takes seconds"
# On a slow machine it may have ended before the last ones asked.
grep -q '^daemon .*, ending: ' status.txt || fail "status says: $(cat status.txt)"
grep -Eq 'still being closed|moved to the spares' mark.txt || fail "mark says: $(cat mark.txt)"
grep -Eq 'was unmounted|no remapfs serves' attach.txt || fail "attach says: $(cat attach.txt)"
grep -q 'none' scrub.txt || fail "scrub says: $(cat scrub.txt)"
assert_eq "$(sql "SELECT event FROM history ORDER BY id DESC LIMIT 1")" closed "last event"
bounded remapctl inject "$VOLUME" clear --spare 1 --sectors 0 >/dev/null
image_mount

say "SIGTERM unmounts; what is still open is served to its end"
pid=$(daemon_pid)
exec 9<"$IMAGE"
kill "$pid"
wait_for 10 eval '! mountpoint -q "$MNT"' || fail "SIGTERM did not unmount"
head -c 512 <&9 >/dev/null || fail "an open file is not served any more"
exec 9<&-
wait_for 20 process_ended "$pid" || fail "remapfs does not end after SIGTERM"
assert_eq "$(sql "SELECT event FROM history ORDER BY id DESC LIMIT 1")" closed "last event"

say "a whole block device is held: nobody can make a file system on it"
truncate -s 8M disk.raw
device=$(losetup -f --show disk.raw)
bounded remapctl create other --main other.img,size=16M --spare "$device" -q
mkdir other.mnt
bounded remapfs other other.mnt >/dev/null 2>&1
must_fail 'in use|busy' mkfs.ext4 -q -F "$device"
bounded fusermount3 -u other.mnt
wait_for 20 eval '[ ! -e other.sock ]'
wait_for 20 losetup -d "$device"

say "a spare that is no whole number of sectors is used as far as it goes"
truncate -s 1000100 odd.spare
bounded remapctl create odd --main odd.img,size=16M --spare odd.spare -q
mkdir odd.mnt
bounded remapfs odd odd.mnt >/dev/null 2>&1
bounded fusermount3 -u odd.mnt

say "who waits for a volume that another one holds can stop waiting"
flock -o "$VOLUME" sleep 30 &
holder=$!
wait_for 10 eval '! flock -n "$VOLUME" true' || fail "flock does not lock"
timeout -s INT 2 remapfs "$VOLUME" "$MNT" >waiting.log 2>&1 && fail "mounted a volume that is held"
kill "$holder" 2>/dev/null || :
wait_for 20 eval 'flock -n "$VOLUME" true'

say "who is interrupted while it starts leaves no mount"
sqlite3 -bail -cmd '.timeout 10000' "$VOLUME" 'BEGIN IMMEDIATE' '.shell touch locked; sleep 6' >held 2>&1 &
wait_for 20 test -e locked || fail "the shell does not lock: $(cat held)"
code=0
timeout -s INT 1 remapfs "$VOLUME" "$MNT" >waiting.log 2>&1 || code=$?
[ "$code" != 0 ] || fail "mounted although the database is locked"
wait_for 20 eval '! mountpoint -q "$MNT"' || fail "an interrupted start leaves its mount"
wait_for 20 eval 'flock -n "$VOLUME" true'

misbehave=$BUILD/tests/mount/libmisbehave.so
if [ -e "$misbehave" ]; then
  say "also while it looks whether disk.img can be opened, and whoever ends first"
  # trial SUPERVISOR: the child of it that is no worker.
  trial() {
    local pid
    for pid in $(cat "/proc/$1/task/$1/children"); do
      tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -- '--worker' || echo "$pid"
    done
  }
  touch hold
  LD_PRELOAD=$misbehave MISBEHAVE_HOLD=$SCRATCH/hold remapfs -f "$VOLUME" "$MNT" >waiting.log 2>&1 </dev/null &
  pid=$!
  wait_for 20 eval '[ -n "$(trial "$pid")" ]' || fail "nobody opens disk.img: $(cat waiting.log)"
  # It is a zombie by the time that its end is looked at, before the worker is one.
  kill -STOP "$pid"
  kill -INT "$pid"
  kill -9 "$(trial "$pid")"
  kill -CONT "$pid"
  code=0
  wait "$pid" || code=$?
  rm hold
  assert_eq "$code" 8 "code of who was interrupted, who said: $(cat waiting.log)"
  ! grep -q 'cannot be opened' waiting.log || fail "told a wrong cause: $(cat waiting.log)"
  wait_for 20 eval '! mountpoint -q "$MNT"' || fail "an interrupted start leaves its mount"
fi

say "SIGTERM to one whose mount is hidden leaves the other one's mount alone"
image_mount
noise data 1
sector_write "$IMAGE" 7 1 <data
pid=$(daemon_pid)
bounded mount -t tmpfs over "$MNT"
touch "$MNT/other"
kill "$pid"
wait_for 20 process_ended "$pid" || fail "remapfs does not end"
[ -e "$MNT/other" ] || fail "SIGTERM unmounted what is not ours"
assert_eq "$(sql "SELECT event FROM history ORDER BY id DESC LIMIT 1")" closed "last event"
bounded umount "$MNT"
bounded umount "$MNT"
image_mount
sector_read "$IMAGE" 7 1 | cmp - data

say "and to one whose mount was taken away, with a file open"
pid=$(daemon_pid)
exec 9<"$IMAGE"
bounded umount -l "$MNT"
bounded mount -t tmpfs over "$MNT"
touch "$MNT/other"
kill "$pid"
sleep 0.3
head -c 512 <&9 >/dev/null || fail "an open file is not served any more"
exec 9<&-
wait_for 20 process_ended "$pid" || fail "remapfs does not end"
[ -e "$MNT/other" ] || fail "what is not ours was unmounted"
bounded umount "$MNT"

say "a limit on file sizes fails the request that goes past it, and kills nobody"
(ulimit -f 8192 && image_mount)
worker=$(worker_pid)
must_fail 'error' sector_write "$IMAGE" 20000 1 <data
must_fail 'error' sector_write "$IMAGE" 20001 1 <data
sector_write "$IMAGE" 100 1 <data
sector_read "$IMAGE" 100 1 | cmp - data
assert_eq "$(worker_pid)" "$worker" "worker"
image_unmount
must_fail 'too large' eval '(ulimit -f 1024; bounded remapctl create limited --main limited.img,size=16M --spare s.limited,size=2M)'
assert_eq "$(echo *limited*)" '*limited*' "what a refused create has left"

say "create can be interrupted, and removes what it made"
truncate -s 2G big.spare
code=0
timeout -s INT 0.3 remapctl create late --main late.img,size=16M --spare big.spare -q 2>late.log || code=$?
[ "$code" != 0 ] || fail "2 GiB were verified in 0.3 s: make it larger"
[ ! -e late ] && [ ! -e late.img ] || fail "left behind: $(ls late*)"
