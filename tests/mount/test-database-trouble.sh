#!/bin/bash
# Degradation under the database of a mounted volume: its disk is full, then
# fails; a sqlite3 shell holds its lock, another one never stops reading. The
# write that needs a commit fails within a bound and changes nothing; the rest
# goes on; status and history say so; and all is well when it is over.
. "$(dirname "$0")/lib.sh"
requires root loop jq sqlite3 fs:ext4 mkfs.ext4

mkdir db lower.mnt
noise new 8

now_ms() {
  echo $(($(date +%s%N) / 1000000))
}

trouble_is() {
  status_of .trouble | grep -q -- "$1"
}

is_ok() {
  [ "$(status_of .state)$(status_of .trouble)" = ok ]
}

# cannot_move SECTOR REGEX [in-doubt]: contract 4, and what status says. Where the
# log was written and only its sync failed, the move may be durable: the sectors
# are lost until they are written, and their slots are not used meanwhile.
cannot_move() {
  local before begin took free
  before=$(sha256sum < <(sector_read "$IMAGE" "$1" 8))
  free=$(status_of .daemon.free_slots)
  begin=$(now_ms)
  must_fail 'input/output error' sector_write "$IMAGE" "$1" 8 <new
  took=$(($(now_ms) - begin))
  # Five seconds for the lock of the round under way, five for its own.
  [ "$took" -le 13000 ] || fail "the write failed after $took ms only"
  wait_for 5 trouble_is "$2" || fail "status says $(cat status.json)"
  say "after $took ms: $(status_of .trouble) ($(status_of .daemon.commit_error))"
  assert_eq "$(status_of .state)" failed "state"
  bounded remapctl status "$VOLUME" >text || :
  grep -q -- "$2" text || fail "status in text: $(cat text)"
  if [ "${3:-}" != in-doubt ]; then
    assert_eq "$(sha256sum < <(sector_read "$IMAGE" "$1" 8))" "$before" "sectors that did not move"
    assert_eq "$(status_of .daemon.free_slots)" "$free" "free slots"
  fi
  sector_write "$IMAGE" 1000 8 <new
  sector_write "$IMAGE" 4000 8 <new
  sector_read "$IMAGE" 1000 8 | cmp - new || fail "what moved before"
}

works_again() {
  [ "$(events commit_works)" -ge 1 ]
}

# moves SECTOR: it is over, and recorded.
moves() {
  wait_for 15 is_ok || fail "status says $(cat status.json)"
  sector_write "$IMAGE" "$1" 8 <new
  sector_read "$IMAGE" "$1" 8 | cmp - new || fail "sector $1"
  [ "$(events commit_failed)" -ge 1 ] || fail "no commit_failed in history"
  wait_for 10 works_again || fail "no commit_works in history"
}

start() {
  rm -f "$MAIN" "$SPARE"
  volume_make 16M 2M
  inject --sectors 1000-1007,2000-2099 --on write
  image_mount
  sector_write "$IMAGE" 1000 8 <new
}

say "its disk is full"
mount -t tmpfs -o size=2m none db
VOLUME=$SCRATCH/db/volume
start
head -c 4M /dev/zero >db/filler 2>/dev/null || :
# As long as the log has room of its own nothing needs the disk.
fill_log() {
  local i
  for i in 0 8 16 24 32 40 48 56; do
    sector_write "$IMAGE" $((2000 + i)) 8 <new 2>/dev/null || return 0
  done
  return 1
}
fill_log || fail "the disk is full and everything moves"
cannot_move 2088 'disk under it is full'
rm db/filler
moves 2088
image_unmount
umount db

say "its disk fails"
bounded remapctl create -q lower --main lower.img,size=24M --spare lower.spare,size=1M
bounded remapfs -o noremap lower lower.mnt >lower.log 2>&1 </dev/null
lower=$(losetup -f --show --direct-io=on lower.mnt/disk.img)
mkfs.ext4 -q -E nodiscard "$lower"
mount -o errors=continue "$lower" db
start
bounded remapctl inject lower add --sectors 0-49151 --on write >/dev/null
cannot_move 2000 'disk that it is on' in-doubt
bounded remapctl inject lower clear >/dev/null
image_unmount_badly() {
  local pid
  pid=$(daemon_pid)
  bounded fusermount3 -u "$MNT"
  wait_for 30 process_ended "$pid" || fail "remapfs does not end"
}
image_unmount_badly
umount db
mount "$lower" db
image_mount
moves_again() {
  sector_write "$IMAGE" 2000 8 <new
  sector_read "$IMAGE" 2000 8 | cmp - new || fail "sector 2000 when its disk works again"
  sector_read "$IMAGE" 1000 8 | cmp - new || fail "what moved before"
}
moves_again
image_unmount
umount db
losetup -d "$lower"
bounded fusermount3 -u lower.mnt

say "a sqlite3 shell holds its lock"
VOLUME=$SCRATCH/volume
start
mkfifo hold
sqlite3 -cmd '.timeout 10000' "$VOLUME" <hold >held 2>&1 &
exec 9>hold
echo "BEGIN IMMEDIATE; SELECT 'locked';" >&9
wait_for 20 grep -qx locked held || fail "the shell does not lock: $(cat held)"
cannot_move 2000 'holds its lock'
echo 'ROLLBACK;' >&9
moves 2000

say "a sqlite3 shell that never stops reading"
echo "BEGIN; SELECT count(*), 'read' FROM history;" >&9
wait_for 20 grep -q read held || fail "the shell does not read: $(cat held)"
sql "CREATE TABLE padding (x); INSERT INTO padding VALUES (zeroblob(20000000)); DROP TABLE padding"
wait_for 20 trouble_is 'cannot shrink' || fail "status says $(cat status.json)"
say "$(status_of .trouble) ($(stat -c %s "$VOLUME-wal") bytes)"
assert_eq "$(status_of .daemon.log_stuck)" true "log_stuck"
assert_eq "$(status_of .state)" ok "state with a long log"
bounded remapctl status "$VOLUME" | grep -q 'cannot shrink' || fail "status in text is silent"
sector_write "$IMAGE" 2008 8 <new
sector_read "$IMAGE" 2008 8 | cmp - new || fail "sectors do not move"
exec 9>&-
wait_for 20 is_ok || fail "the log stays: $(cat status.json)"
recorded() {
  [ "$(events "$1")" = 1 ]
}
wait_for 10 recorded log_stuck || fail "log_stuck in history"
wait_for 10 recorded log_shrunk || fail "log_shrunk in history"
[ "$(stat -c %s "$VOLUME-wal")" -lt 1000000 ] || fail "the log has $(stat -c %s "$VOLUME-wal") bytes"
say "the log has $(stat -c %s "$VOLUME-wal") bytes when the reader is gone"
image_unmount
