#!/bin/bash
# remapfs ends in every way it can: what it acknowledged is there afterwards.
# Only one at a time serves a volume.
. "$(dirname "$0")/lib.sh"
requires jq

volume_make 64M 16M
truncate -s 64M shadow
RANDOM=1
inject --random 2000 --on write
inject --sectors 1000-1100 --on both
image_mount

# Writes that are acknowledged and nothing more: no fsync.
write_some() {
  local sector
  noise data 8192
  for sector in 900 $((RANDOM * 3)) $((RANDOM * 3)); do
    bounded dd if=data of="$IMAGE" bs=64K seek=$((sector * SS)) oflag=direct,seek_bytes conv=notrunc status=none
    dd if=data of=shadow bs=64K seek=$((sector * SS)) oflag=seek_bytes conv=notrunc status=none
  done
}

# Sectors that fail both ways and were never written have nothing to compare.
same() {
  local moved
  bounded cmp "$IMAGE" shadow || fail "$1: disk.img differs from what was acknowledged"
  moved=$(remapped_sectors_list | wc -w)
  assert_eq "$(status_of .remapped_sectors)" "$moved" "$1: remapped sectors"
}

clear_mount() {
  wait_for 10 try_unmount "$MNT" || fail "the dead mount stays: $(cat "$SCRATCH/unmount.log")"
}

write_some
[ "$(remapped_sectors_list | wc -w)" -gt 101 ] || fail "too few sectors moved to show anything"

for round in 1 2 3; do
  say "kill -9, round $round"
  before=$(remapped_sectors_list)
  kill_daemon
  assert_eq "$(status_of .daemon.running)" false "daemon.running after a kill"
  assert_eq "$(remapped_sectors_list)" "$before" "remapped while nothing runs"
  clear_mount
  image_mount
  same "after kill -9"
  assert_eq "$(remapped_sectors_list)" "$before" "remapped after kill -9"
  write_some
done

say "fusermount3 -u, and at once again"
pid=$(daemon_pid)
wait_for 10 try_unmount "$MNT" || fail "fusermount3 -u: $(cat "$SCRATCH/unmount.log")"
# The first may still be flushing: the second waits for it.
image_mount
[ "$(daemon_pid)" != "$pid" ] || fail "the same daemon"
same "after unmounting"
write_some

say "SIGTERM"
pid=$(daemon_pid)
kill "$pid"
wait_for 30 process_ended "$pid" || fail "remapfs survives SIGTERM"
grep -q " $MNT " /proc/self/mountinfo && fail "SIGTERM leaves the mount"
image_mount
same "after SIGTERM"

say "a second one is refused"
mkdir other
code=0
bounded remapfs "$VOLUME" "$SCRATCH/other" >out 2>err </dev/null || code=$?
assert_eq "$code" 32 "exit code of a second remapfs"
assert_eq "$(wc -l <err)" 1 "lines on stderr ($(cat err))"
assert_eq "$(cat out)" "" "stdout"
grep -q " $SCRATCH/other " /proc/self/mountinfo && fail "the second one mounted"
say "$(cat err)"
write_some
same "after the second one was refused"

say "every opening and every clean end is in the history"
image_unmount
assert_eq "$(events opened)" 6 "opened"
assert_eq "$(events closed)" 3 "closed"
