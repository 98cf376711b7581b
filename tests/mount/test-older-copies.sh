#!/bin/bash
# A copy of a spare that was taken while the volume was mounted and is put back
# later is refused, after an orderly end and after a crash, and whoever is asked
# says so: mount, status, health, doctor, check, set-path. The same for a copy of the
# database. What was there serves what was written.
. "$(dirname "$0")/lib.sh"
requires jq sqlite3

volume_make 16M 2M
inject --sectors 100-900 --on write
noise a 1
noise b 1
noise z 1

# refused COPY FILE: with the copy in its place, by everyone.
refused() {
  local code=0 before
  cp "$2" last
  cp "$1" "$2"
  before=$(bounded remapctl history -n "$VOLUME" | wc -l)
  must_fail 'older copy' bounded remapfs "$VOLUME" "$MNT"
  assert_eq "$(status_of .state)" failed "state with $1 as $2"
  jq -e '.trouble | test("older copy")' status.json >/dev/null || fail "status: $(cat status.json)"
  must_fail 'older copy' bounded remapctl health "$VOLUME"
  must_fail 'older copy' bounded remapctl doctor "$VOLUME"
  [ "$2" = "$VOLUME" ] || must_fail 'older copy' bounded remapctl set-path "$VOLUME" --spare "1=$2"
  bounded remapctl check --repair "$VOLUME" >out 2>err || code=$?
  assert_eq "$code" 4 "exit code of check with $1 as $2 ($(cat out err))"
  grep -Eq 'older|newer' out || fail "check does not name it: $(cat out)"
  assert_eq "$(bounded remapctl history -n "$VOLUME" | wc -l)" "$before" "rows of history"
  cmp -s "$1" "$2" || fail "$2 was changed by who refused it"
  cp last "$2"
}

serves() {
  image_mount
  sector_read "$IMAGE" 100 1 >seen
  assert_same seen z "sector 100 $1"
  sector_read "$IMAGE" 300 1 >seen
  assert_same seen b "sector 300 $1"
  image_unmount
  bounded remapctl check "$VOLUME" >out || fail "check $1: $(cat out)"
}

say "a copy of before an orderly end"
image_mount
sector_write "$IMAGE" 100 1 <a
cp "$SPARE" during
sector_write "$IMAGE" 300 1 <b
sector_write "$IMAGE" 100 1 <z
image_unmount
refused during "$SPARE"
serves "after an orderly end"
refused during "$SPARE"

say "a copy of before a crash"
image_mount
sector_write "$IMAGE" 400 1 <a
cp "$SPARE" during
sector_write "$IMAGE" 500 1 <b
sector_write "$IMAGE" 400 1 <z
kill_daemon
wait_for 10 try_unmount "$MNT" || fail "the dead mount stays"
refused during "$SPARE"
serves "after a crash"

say "a copy of before a worker died, and nothing was moved since"
image_mount
cp "$SPARE" during
sector_write "$IMAGE" 100 1 <a
sector_write "$IMAGE" 100 1 <z
worker=$(worker_pid)
kill -9 "$worker"
served_by_another() { [ "$(worker_pid)" != "$worker" ] && [ "$(worker_pid)" != null ]; }
wait_for 20 served_by_another || fail "the worker has no successor"
kill_daemon
wait_for 10 try_unmount "$MNT" || fail "the dead mount stays"
refused during "$SPARE"
serves "after the death of a worker"

say "a copy of the database"
cp "$VOLUME" database
image_mount
image_unmount
refused database "$VOLUME"
serves "with the database that was used last"
