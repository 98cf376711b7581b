#!/bin/bash
# Scenario 13: the database is deleted, truncated, bit-flipped, of another
# volume, of a newer version, read-only, on a full disk, or locked: a clear
# refusal, or a rebuild from the spares; never a mount that serves wrong data.
. "$(dirname "$0")/lib.sh"
requires jq sqlite3

volume_make 16M 2M
truncate -s 16M shadow
inject --sectors 1000-1063,2000,3000-3007 --on write
image_mount
for range in "900 200" "1990 30" "3000 8" "1010 4"; do
  noise data "${range#* }"
  # shellcheck disable=SC2086
  sector_write "$IMAGE" ${range} <data
  dd if=data of=shadow bs="$SS" seek="${range% *}" conv=notrunc status=none
done
moved=$(remapped_sectors_list)
assert_eq "$(wc -w <<<"$moved")" 73 "remapped sectors"

say "in use: neither check nor rebuild"
must_fail 'in use' bounded remapctl check "$VOLUME"
must_fail 'in use' bounded remapctl rebuild --force "$VOLUME" --main "$MAIN" --spare "$SPARE"
image_unmount
bounded remapctl check "$VOLUME"
mkdir kept
cp "$VOLUME" kept/volume
cp "$MAIN" "$SPARE" kept/

# restore: everything as it was when it was closed.
restore() {
  rm -f "$VOLUME"*
  cp kept/volume "$VOLUME"
  cp kept/main.img "$MAIN"
  cp kept/spare.img "$SPARE"
}

# refused REGEX: remapfs does not mount, and says why in one line.
refused() {
  must_fail "$1" bounded remapfs "$VOLUME" "$MNT"
  assert_eq "$(wc -l <"$SCRATCH/said")" 1 "lines of the refusal ($(cat "$SCRATCH/said"))"
  say "$(cat "$SCRATCH/said")"
}

same() {
  bounded cmp "$IMAGE" shadow || fail "$1: disk.img differs from what was acknowledged"
}

rebuild() {
  bounded remapctl rebuild -q "$@" "$VOLUME" --main "$MAIN" --spare "$SPARE"
}

# serves WHAT: it is mounted again, all of it is there, and everything agrees.
serves() {
  image_mount
  same "$1"
  assert_eq "$(remapped_sectors_list)" "$moved" "$1: remapped"
  image_unmount
  bounded remapctl check "$VOLUME" || fail "$1: check finds $(bounded remapctl check "$VOLUME")"
}

say "deleted"
rm "$VOLUME"
refused 'No such file'
rebuild
assert_eq "$(events rebuilt)" 1 "rebuilt in history"
serves "after a rebuild"

say "deleted after a kill, its log left behind"
restore
image_mount
noise data 20
sector_write "$IMAGE" 1000 20 <data
dd if=data of=shadow bs="$SS" seek=1000 conv=notrunc status=none
kill_daemon
wait_for 10 try_unmount "$MNT" || fail "the dead mount stays"
rm "$VOLUME"
rebuild
serves "after a kill and a rebuild"
cp "$VOLUME" kept/volume
cp "$MAIN" "$SPARE" kept/

say "truncated"
for size in 0 100 4096 20000; do
  restore
  truncate -s "$size" "$VOLUME"
  refused 'rebuild|not a remapfs'
done
rebuild --force
[ -e "$VOLUME.old" ] || fail "the old database is gone"
serves "after it was truncated and rebuilt"

say "bit-flipped: refused, or right"
size=$(stat -c %s kept/volume) refusals=0
for ((i = 0; i < 40; i++)); do
  restore
  at=$(((i * 7919 * 13 + 97) % size))
  byte=$(od -An -tu1 -j "$at" -N 1 "$VOLUME")
  printf "\\x$(printf %02x $((byte ^ (1 << (i % 8)))))" |
    dd of="$VOLUME" bs=1 seek="$at" conv=notrunc status=none
  if bounded remapfs "$VOLUME" "$MNT" >said 2>&1 </dev/null; then
    same "bit $((i % 8)) of byte $at"
    bounded fusermount3 -u "$MNT"
    wait_for 10 bounded flock -n "$VOLUME" true || fail "remapfs does not end"
  else
    refusals=$((refusals + 1))
    [ -s said ] || fail "refused without a word: byte $at"
  fi
done
say "$refusals of $i refused"

say "rows of the map flipped"
for change in 'slot = slot + 64' 'main_sector = main_sector + 512' 'sectors = sectors + 1'; do
  restore
  bounded sqlite3 "$VOLUME" '.dbconfig enable_trigger off' "UPDATE remap SET $change
    WHERE main_sector = (SELECT max(main_sector) FROM remap)"
  refused 'rebuild'
  code=0
  bounded remapctl check "$VOLUME" >out || code=$?
  assert_eq "$code" 4 "exit code of check ($change)"
done

say "an older copy"
restore
image_mount
noise data 2
sector_write "$IMAGE" 3000 2 <data
image_unmount
cp kept/volume "$VOLUME"
refused 'older copy'

say "of another volume"
restore
bounded remapctl create -q other --main other.main,size=16M --spare other.spare,size=2M
sql 'SELECT 1' >/dev/null
bounded sqlite3 other '.dbconfig enable_trigger off' "UPDATE volume SET main_path = '$MAIN';
  UPDATE spare SET path = '$SPARE'"
mv other "$VOLUME"
refused 'another volume'

say "of a newer version"
restore
sql 'PRAGMA user_version = 99'
refused 'newer'

say "locked by a sqlite3 shell"
restore
mkfifo hold
sqlite3 -cmd '.timeout 10000' "$VOLUME" <hold >held 2>&1 &
exec 9>hold
# It says so itself: asking for the lock would be in its way.
echo "BEGIN IMMEDIATE; SELECT 'locked';" >&9
wait_for 20 grep -qx locked held || fail "the shell does not lock: $(cat held)"
refused 'lock'
echo 'ROLLBACK;' >&9
exec 9>&-
wait $! || :
serves "after the shell ended"

say "read-only"
restore
if [ "$(id -u)" != 0 ]; then
  chmod 444 "$VOLUME"
  refused 'read-only|permission'
  chmod 644 "$VOLUME"
elif mkdir ro && mount -t tmpfs -o size=4m none ro 2>/dev/null; then
  cp kept/volume ro/volume
  mount -o remount,ro ro
  must_fail 'read-only|unable|disk' bounded remapfs ro/volume "$MNT"
  say "$(cat said)"
  umount ro
fi

say "on a full disk"
if [ "$(id -u)" = 0 ] && mkdir full && mount -t tmpfs -o size=1m none full 2>/dev/null; then
  restore
  cp kept/volume full/volume
  head -c 2M /dev/zero >full/filler 2>/dev/null || :
  must_fail 'full|written|disk' bounded remapfs full/volume "$MNT"
  say "$(cat said)"
  must_fail 'full|disk' bounded remapctl rebuild full/new --main "$MAIN" --spare "$SPARE"
  [ ! -e full/new ] || fail "a part of a new database is left"
  rm full/filler
  mv "$VOLUME" away
  VOLUME=full/volume
  serves "once there is room"
  umount full
fi
