#!/bin/bash
# No slot is left: the write fails with EIO and changes nothing, status and
# history say why, and what moved earlier still reads and writes. One more spare,
# given to it while it is mounted, repairs that.
. "$(dirname "$0")/lib.sh"
requires root loop jq mkfs.ext4

main_fill 20M
volume_make 20M 64K
slots=$(status_of .free_slots)
say "$slots slots"
[ "$slots" -ge 64 ] && [ "$slots" -le 128 ] || fail "a spare of 64 KiB lends $slots slots"
inject --sectors 1000-1999 --on write
image_mount
loop_attach

# All but three slots.
last=$((1000 + slots - 4))
noise content $((slots - 3))
sector_write "$R" 1000 $((slots - 3)) <content
assert_eq "$(status_of .free_slots)" 3 "free slots"
assert_eq "$(status_of .state)" ok "state with three slots left"

unchanged() {
  sector_read "$R" 1000 $((slots - 3)) >seen
  assert_same seen content "the earlier remaps $1"
}

say "8 sectors do not fit in 3 slots"
noise eight 8
before=$(remapped_sectors_list)
must_fail 'input/output error' sector_write "$R" 1500 8 <eight
assert_eq "$(remapped_sectors_list)" "$before" "remapped after a failed write"
assert_eq "$(status_of .free_slots)" 3 "free slots after a failed write"
sector_read "$R" 1500 8 | tr -d '\245' | cmp - /dev/null || fail "a failed write changed its sectors"
unchanged "after a failed write"

say "3 single ones do"
for sector in 1600 1601 1602; do
  noise "want.$sector" 1
  sector_write "$R" "$sector" 1 <"want.$sector"
done
assert_eq "$(status_of .free_slots)" 0 "free slots"
sleep 1.1 # the history tells of failed writes at most once a second
must_fail 'input/output error' sector_write "$R" 1700 1 <want.1600
must_fail 'input/output error' sector_write "$IMAGE" 1700 1 <want.1600

told() {
  assert_eq "$(status_of .state)" full "state $1"
  [ -n "$(status_of .trouble)" ] || fail "status has no trouble $1"
  bounded remapctl status "$VOLUME" >text || [ $? = 1 ]
  grep -qi spare text || fail "status does not speak of the spare $1: $(cat text)"
}
told "when full"
[ "$(events spares_full)" -ge 1 ] || fail "no spares_full in the history"
assert_eq "$(sql "SELECT count(*) > 0 FROM history WHERE event = 'write_failed'
  AND main_sector <= 1700 AND main_sector + sectors > 1700")" 1 "write_failed of sector 1700"

still_works() {
  unchanged "$1"
  noise content $((slots - 3))
  sector_write "$R" 1000 $((slots - 3)) <content
  unchanged "$1, written again"
  for sector in 1600 1601 1602; do
    sector_read "$R" "$sector" 1 >seen
    assert_same seen "want.$sector" "sector $sector $1"
  done
  noise good 64
  sector_write "$R" 3000 64 <good
  sector_read "$R" 3000 64 >seen
  assert_same seen good "good sectors $1"
  # What was refused was never acknowledged, so the rest can be made durable.
  bounded dd if=/dev/null of="$IMAGE" conv=notrunc,fsync status=none || fail "fsync $1"
}
still_works "when full"

say "restart"
loop_detach
image_restart
loop_attach
still_works "after a restart"
must_fail 'input/output error' sector_write "$R" 1700 1 <want.1600
told "after a restart"
assert_eq "$(sql 'SELECT free FROM spare_usage')" 0 "free in spare_usage"
[ "$last" -lt 1500 ] || fail "test: ranges overlap"

say "one more spare, while it is mounted"
grep -q 'remapctl add-spare' text || fail "status does not name the remedy: $(cat text)"
must_fail "spare .* and main .* are the same storage" bounded remapctl add-spare "$VOLUME" "$MAIN"
must_fail "spare .* and spare 1 .* are the same storage" bounded remapctl add-spare "$VOLUME" "$SPARE"
must_fail "spare .* and the database .* are the same storage" bounded remapctl add-spare "$VOLUME" "$VOLUME"
must_fail 'too small' bounded remapctl add-spare "$VOLUME" "$SCRATCH/tiny,size=8K"
[ ! -e tiny ] || fail "what was refused was made"
truncate -s 1M carries && mkfs.ext4 -q carries
must_fail 'carries data .ext4.' bounded remapctl add-spare "$VOLUME" carries
told "after refusals"
bounded remapctl add-spare "$VOLUME" "$SCRATCH/spare2.img,size=64K" >added
assert_eq "$(status_of .state)" ok "state with a second spare"
assert_eq "$(status_of '.spares[1].state')" active "state of the second spare"
assert_eq "$(events spare_added)" 1 "spare_added in the history"
sector_write "$R" 1500 8 <eight
sector_write "$R" 1700 1 <want.1600
also_there() {
  sector_read "$R" 1500 8 >seen
  assert_same seen eight "what the second spare holds $1"
  assert_eq "$(sql 'SELECT used FROM spare_usage WHERE id = 2')" 9 "used on the second spare $1"
  still_works "$1"
}
also_there "with a second spare"
kill_worker
also_there "after the worker was killed"
loop_detach
image_restart
loop_attach
also_there "after a restart with it"
loop_detach
image_unmount

say "not mounted, and the database lost"
bounded remapctl check "$VOLUME" || fail "check: $?"
bounded remapctl add-spare -q "$VOLUME" "$SCRATCH/spare3.img,size=64K"
before=$(sql "$(each_sector remap main_sector)" | xargs)
rm "$VOLUME"
must_fail 'spare 2 of 3 is missing' bounded remapctl rebuild "$VOLUME" --main "$MAIN" \
  --spare "$SPARE" --spare spare3.img
must_fail 'spare 2 of 3 is missing' bounded remapctl rebuild "$VOLUME" --main "$MAIN" --spare "$SPARE"
bounded remapctl rebuild -q "$VOLUME" --main "$MAIN" --spare "$SPARE" --spare spare2.img \
  --spare spare3.img
assert_eq "$(remapped_sectors_list)" "$before" "remapped after a rebuild"
image_mount
loop_attach
sector_read "$R" 1500 8 >seen
assert_same seen eight "what the second spare holds after a rebuild"
loop_detach
image_unmount

say "mounted read-only: refused before anything is overwritten"
image_mount -o ro
noise kept.img 2048
cp kept.img kept
must_fail 'mounted read-only' bounded remapctl add-spare --force "$VOLUME" kept.img
assert_same kept kept.img "what was no spare yet"
image_unmount
