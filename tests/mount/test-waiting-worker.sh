#!/bin/bash
# A worker that cannot serve yet: the database is locked, away, or its disk is full, or
# somebody kills it. Requests wait in the kernel, none fails, and the mount lives.
LIMIT=300
. "$(dirname "$0")/lib.sh"
. "$TESTS/workers.sh"
requires jq flock sqlite3
requires_resend

volume_make 16M 256K
inject --sectors 700-707 --on write
inject --sectors 500 --on write --delay 2000 --times 1
image_mount
supervisor=$(daemon_pid)
noise on-main 8
noise waiting 8
sector_write "$IMAGE" 200 8 <on-main
sector_write "$IMAGE" 700 8 <on-main

is_failed() { # REGEX
  [ "$(status_of .state)" = failed ] && status_of .trouble | grep -q "$1"
}

lock_database() {
  rm -f locked
  sqlite3 "$VOLUME" 'BEGIN IMMEDIATE;' ".shell touch locked; exec sleep 200" &
  locker=$!
  wait_for 30 test -e locked || fail "the shell does not lock"
}

unlock_database() {
  kill -9 "$locker"
  # The shell's own sleep holds nothing.
  wait "$locker" 2>/dev/null || :
}

# A request that a worker is at when it dies is not answered by that one any more.
write_behind() { # SECTOR FILE
  (BOUND=100 sector_write "$IMAGE" "$1" 8 <"$2" && touch "written.$1") &
  writers+=($!)
}

all_written() {
  local writer
  for writer in "${writers[@]}"; do
    wait "$writer" || fail "a request that waited failed"
  done
  writers=()
}
writers=()

say "workers killed before they serve"
for _ in 1 2 3 4 5 6; do
  before=$(child_of "$supervisor")
  kill -9 "$before"
  wait_for 30 another_child "$supervisor" "$before" || fail "no worker follows"
done
sector_read "$IMAGE" 200 8 | cmp - on-main || fail "the mount ended"
assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
died=$(status_of .daemon.worker_deaths)
assert_eq "$died" 6 "deaths"

say "no worker answers, and no socket can be made: status does not wait, and the mount lives"
socket=$(find . -maxdepth 1 -type s)
[ -S "$socket" ] || fail "no socket beside the volume"
lock_database
rm "$socket"
echo mine >"$socket"
before=$(child_of "$supervisor")
kill -9 "$before"
wait_for 60 another_child "$supervisor" "$before" || fail "no worker follows"
for _ in 1 2 3; do
  code=0
  BOUND=30 bounded remapctl status "$VOLUME" >text 2>&1 || code=$?
  [ "$code" -lt 124 ] && [ -s text ] || fail "status ends with $code and says: $(cat text)"
done
assert_eq "$(cat "$socket")" mine "a file in the place of the socket"
rm "$socket"
unlock_database
sector_read "$IMAGE" 200 8 | cmp - on-main || fail "the mount ended"
wait_for 60 another_serves "$before" || fail "no worker answers: $(cat status.json)"
died=$((died + 1))

say "a worker is killed at a request, while the database's lock is held"
write_behind 500 waiting
# It takes 2 s to fail: when others are answered the worker has it.
sleep 1
sector_read "$IMAGE" 200 8 | cmp - on-main
lock_database
before=$(child_of "$supervisor")
kill -9 "$before"
remapped=$(sql 'SELECT sum(sectors) FROM remap')
wait_for 60 is_failed 'requests wait' || fail "status says $(cat status.json)"
assert_eq "$(jq .remapped_sectors status.json)" "$remapped" "remapped sectors, of which the worker that waits knows nothing"
wait_for 60 is_failed 'lock' || fail "status says $(cat status.json)"
status_of .trouble
write_behind 300 waiting
must_fail 'failed' bounded remapctl health "$VOLUME"
[ ! -e written.500 ] && [ ! -e written.300 ] || fail "written by nobody"
waiting=$(child_of "$supervisor")

say "one that only waited is asked to end: what a worker before it had begun is not forgotten"
kill -TERM "$waiting"
wait_for 60 another_child "$supervisor" "$waiting" || fail "no worker follows"
assert_eq "$(status_of .daemon.pid)" "$supervisor" "supervisor"
unlock_database
all_written
sector_read "$IMAGE" 300 8 | cmp - waiting
sector_read "$IMAGE" 500 8 | cmp - waiting
assert_eq "$(status_of .daemon.worker_deaths)" $((died + 1)) "deaths"
[ "$(events gave_up)" = 0 ] || fail "given up"
is_served() {
  [ "$(status_of .state)" = ok ]
}
wait_for 60 is_served || fail "state afterwards: $(cat status.json)"

say "while the database is away"
mv "$VOLUME" away
before=$(child_of "$supervisor")
kill -9 "$before"
wait_for 60 another_child "$supervisor" "$before" || fail "no worker follows"
waiting=$(child_of "$supervisor")
write_behind 400 waiting
sleep 3
assert_eq "$(child_of "$supervisor")" "$waiting" "the worker that waits"
[ ! -e written.400 ] || fail "written by nobody"
mv away "$VOLUME"
all_written
sector_read "$IMAGE" 400 8 | cmp - waiting
wait_for 60 is_served || fail "state afterwards: $(cat status.json)"

say "unmounted while a worker waits for it"
mv "$VOLUME" away
before=$(child_of "$supervisor")
kill -9 "$before"
wait_for 60 another_child "$supervisor" "$before" || fail "no worker follows"
bounded umount -l "$MNT" 2>/dev/null || bounded fusermount3 -u -z "$MNT"
wait_for 60 process_ended "$supervisor" || fail "remapfs does not end"
mv away "$VOLUME"
image_mount
sector_read "$IMAGE" 300 8 | cmp - waiting
image_unmount

[ "$(id -u)" = 0 ] && command -v mkfs.ext4 >/dev/null && losetup -f >/dev/null 2>&1 || exit 0
# A file system with small blocks may have no room for what is mapped of the log's index:
# there a worker dies of it, and the next one, and that is no fault of theirs.
for block in 4096 1024; do
  say "a worker is killed while the disk of the database is full, blocks of $block: requests wait, and go on"
  truncate -s 8M full.fs
  mkfs.ext4 -q -F -b "$block" full.fs
  mkdir -p full
  bounded mount -o loop full.fs full
  VOLUME=$SCRATCH/full/volume MAIN=$SCRATCH/full.img SPARE=$SCRATCH/full.spare
  rm -f "$MAIN" "$SPARE"
  volume_make 16M 1M
  inject --sectors 1000-1999 --on write
  image_mount
  supervisor=$(daemon_pid)
  dd if=/dev/zero of=full/filler bs=1k status=none 2>/dev/null || :
  commits() {
    for ((sector = 1000; sector < 1900; sector += 8)); do
      sector_write "$IMAGE" "$sector" 8 <waiting 2>/dev/null || return 1
    done
  }
  ! commits || fail "the database commits on a full disk"
  kill -9 "$(child_of "$supervisor")"
  rm -f written.400
  write_behind 400 on-main
  # Its log may have room for what the opening records; then the next one serves at once.
  is_served_or_told() {
    [ ! -e written.400 ] || return 0
    BOUND=20 bounded remapctl status "$VOLUME" >text 2>&1 || echo "exit code $?" >>text
    grep -Eq 'requests wait|is full' text
  }
  wait_for 60 is_served_or_told || fail "status says $(cat text)"
  sleep 3
  ! process_ended "$supervisor" || fail "the mount ended"
  rm full/filler
  all_written
  commits || fail "sectors do not move, with room again"
  sector_read "$IMAGE" 400 8 | cmp - on-main
  assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
  image_unmount
  bounded umount full
done
