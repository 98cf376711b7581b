#!/bin/bash
# Scenario 14: one copy of the superblock, or any part of the slot table, is
# overwritten: detected, reported, repaired from the database; check exits as
# fsck does.
. "$(dirname "$0")/lib.sh"
requires jq sqlite3

volume_make 16M 2M
inject --sectors 1000-1099 --on write
image_mount
noise want 100
sector_write "$IMAGE" 1000 100 <want
image_unmount

slots=$(sql 'SELECT slots FROM spare')
table=4096
table_bytes=$(((slots * 32 + 4095) / 4096 * 4096))
backup=$(($(stat -c %s "$SPARE") - 4096))

# check EXPECTED [OPTIONS]: its exit code; what it says is in ./out.
check() {
  local expected=$1 code=0
  shift
  bounded remapctl check "$@" "$VOLUME" >out 2>err || code=$?
  assert_eq "$code" "$expected" "exit code of check $* ($(cat out err))"
}

# damage OFFSET BYTES PATTERN
damage() {
  head -c "$2" /dev/zero | tr '\0' "$3" |
    dd of="$SPARE" bs=4096 seek="$1" oflag=seek_bytes conv=notrunc status=none
}

serves() {
  image_mount
  sector_read "$IMAGE" 1000 100 >seen
  assert_same seen want "$1"
  image_unmount
  check 0
}

check 0
assert_eq "$(cat out)" "clean: database and spares agree" "output of a clean check"
check 0 -q
assert_eq "$(cat out)" "" "output of a clean check that is quiet"
check 0 --json
assert_eq "$(jq '.findings | length' out)" 0 "findings in JSON"

say "either superblock"
for at in 0 "$backup"; do
  damage "$at" 4096 '\252'
  check 4
  grep -q superblock out || fail "check does not name the superblock: $(cat out)"
  check 1 --repair
  serves "after a superblock was repaired"
  # Mounting alone repairs it too, warns, and records that.
  before=$(events repaired)
  damage "$at" 512 '\0'
  serves "with one superblock"
  assert_eq "$(events repaired)" $((before + 1)) "repaired in history"
done

say "both superblocks"
damage 0 4096 '\0'
damage "$backup" 4096 '\0'
must_fail 'superblock' bounded remapfs "$VOLUME" "$MNT"
check 4
check 1 --repair
serves "after both superblocks were repaired"

say "parts of the slot table"
for part in "$table 32" "$((table + 16)) 8" "$table 512" "$((table + 1024)) 4096" \
  "$table $table_bytes" "$((table + 99 * 32)) 33"; do
  for pattern in '\0' '\377' '\132'; do
    # shellcheck disable=SC2086
    damage $part "$pattern"
    check 4 --json
    jq -e '.findings[0].finding' out >/dev/null || fail "no finding: $(cat out)"
    check 1 --repair
    check 0
  done
done
serves "after the slot table was repaired"

say "a table lost while the daemon was killed"
image_mount
kill_daemon
wait_for 10 try_unmount "$MNT" || fail "the dead mount stays"
damage "$table" "$table_bytes" '\132'
serves "after opening brought the table in order"

say "after all that, the spare alone is enough"
mv "$VOLUME" lost
bounded remapctl rebuild -q "$VOLUME" --main "$MAIN" --spare "$SPARE"
inject --sectors 1000-1099 --on write
serves "after a rebuild"

say "a slot that cannot be read is reported, and left"
inject --spare 1 --sectors $(((table + table_bytes) / SS + 5)) --on read
check 4
grep -q unreadable out || fail "check does not name the slot: $(cat out)"
check 4 --repair
