#!/bin/bash
# A spare is emptied on to the others while its sectors are in use, and taken
# away; one that is lost for ever is given up, and only what was on it.
. "$(dirname "$0")/lib.sh"
requires root loop jq

main_fill 20M
volume_make 20M 2M
bounded remapctl add-spare -q "$VOLUME" "$SCRATCH/spare2.img,size=64K"
inject --sectors 1000-3999,10000 --on write
image_mount
loop_attach

noise content 3000
sector_write "$R" 1000 2000 <content
piece content 2000 1000 | sector_write "$R" 3000 1000
noise other 1
sector_write "$R" 10000 1 <other
used_on() {
  sql "SELECT used FROM spare_usage WHERE id = $1"
}
assert_eq "$(used_on 1) $(used_on 2)" "3001 0" "where the sectors are"

whole() {
  sector_read "$R" 1000 2000 >seen
  sector_read "$R" 3000 1000 >>seen
  assert_same seen content "what was moved, $1"
  sector_read "$R" 10000 1 >seen
  assert_same seen other "what was moved alone, $1"
}

say "there is no room for it"
must_fail 'no spare 7 in use' bounded remapctl retire-spare "$VOLUME" 7
must_fail 'no slot is free on the others' bounded remapctl retire-spare -q "$VOLUME" 1
assert_eq "$(status_of '.spares[0].state')" retiring "state of the spare"
[[ $(status_of .trouble) = *"add a spare"* ]] || fail "status: $(status_of .trouble)"
must_fail 'last one that lends slots' bounded remapctl retire-spare "$VOLUME" 2
whole "half way"

say "there is, and somebody writes meanwhile; the worker is killed"
# Simulated as slow, so that the kill meets it at work.
bounded remapctl inject "$VOLUME" add --spare 1 --sectors 0-4000 --on read --errno none --delay 300 >inject.log
(
  while [ ! -e stop ]; do
    sector_write "$R" 2500 1 <other && piece content 1500 1 | sector_write "$R" 2500 1 || touch failed
  done
) &
writer=$!
bounded remapctl add-spare -q "$VOLUME" "$SCRATCH/spare3.img,size=4M"
kill_worker
emptied() {
  [ "$(sql 'SELECT state FROM spare WHERE id = 1')" = retired ]
}
wait_for 60 emptied || fail "the spare is not emptied: $(bounded remapctl status "$VOLUME")"
touch stop
wait "$writer"
[ ! -e failed ] || fail "a write failed meanwhile"
assert_eq "$(used_on 1)" 0 "used on the retired spare"
assert_eq "$(events spare_retired)" 1 "spare_retired in the history"
whole "after the spare was retired"
still_open() {
  ls -l "/proc/$(worker_pid)/fd" | grep -q "$SPARE"
}
spare_closed() {
  ! still_open
}
wait_for 10 spare_closed || fail "the retired spare is still open"
mv "$SPARE" away.img

say "without it"
must_fail 'no spare 1 in use' bounded remapctl retire-spare "$VOLUME" 1
loop_detach
image_restart
loop_attach
whole "without the spare"
assert_eq "$(status_of '.state')" ok "state without it"
loop_detach
image_unmount
bounded remapctl check "$VOLUME" || fail "check: $?"

say "rebuilt without it"
before=$(remapped_sectors_list)
cp "$VOLUME" copy
must_fail 'no superblock' bounded remapctl rebuild --force "$VOLUME" --main "$MAIN" \
  --spare away.img --spare spare2.img --spare spare3.img
must_fail 'is missing' bounded remapctl rebuild --force "$VOLUME" --main "$MAIN" --spare spare3.img
bounded remapctl rebuild -q --force "$VOLUME" --main "$MAIN" --spare spare2.img --spare spare3.img
assert_eq "$(remapped_sectors_list)" "$before" "remapped after a rebuild"

say "one is lost for ever"
on_3=$(sql "$(each_sector remap main_sector 'spare_id = 3')" | xargs)
[ "$(wc -w <<<"$on_3")" -gt 2000 ] || fail "test: too few sectors on spare 3"
mv spare3.img away3.img
must_fail "retire-spare --lost" bounded remapfs "$VOLUME" "$MNT"
bounded remapctl retire-spare --lost "$VOLUME" 3 >told
assert_eq "$(cat told)" "spare 3 is given up; $(wc -w <<<"$on_3") sectors are lost with it: reading fails there \
until it is written; 'remapctl pending' lists where" "what retire-spare --lost says"
assert_eq "$(pending_sectors_list)" "$on_3" "pending sectors"
bounded remapctl add-spare -q "$VOLUME" "$SCRATCH/spare4.img,size=64K"
image_mount
loop_attach
must_fail 'input/output error' sector_read "$R" "${on_3%% *}" 1
piece content 0 1 | sector_write "$R" "${on_3%% *}" 1
sector_read "$R" "${on_3%% *}" 1 >seen
piece content 0 1 | cmp - seen || fail "a lost sector was not cured by writing it"
assert_eq "$(events spare_lost)" 1 "spare_lost in the history"
loop_detach
image_unmount
mv away3.img spare3.img
must_fail "is a spare of volume" bounded remapctl add-spare "$VOLUME" spare3.img
rm "$VOLUME"
must_fail 'is missing' bounded remapctl rebuild "$VOLUME" --main "$MAIN" --spare spare2.img

say "and one that goes while it is in use"
rm -f ./*.img
main_fill 20M
volume_make 20M 64K
bounded remapctl add-spare -q "$VOLUME" "$SCRATCH/spare2.img,size=64K"
inject --sectors 1000-1039 --on write
image_mount
loop_attach
noise content 40
sector_write "$R" 1000 40 <content
bounded remapctl inject "$VOLUME" add --spare 1 --percent 100 --errno ENXIO >inject.log
must_fail 'input/output error' sector_read "$R" 1000 8
noise other 1
sector_write "$R" 1003 1 <other
sector_read "$R" 1003 1 >seen
assert_same seen other "a sector whose spare has gone, written again"
assert_eq "$(sql "SELECT spare_id FROM remap WHERE main_sector = 1003")" 2 "its new spare"
[ "$(events device_failed)" -ge 1 ] || fail "no device_failed in the history"
must_fail 'cannot be read; if it is lost' bounded remapctl retire-spare -q "$VOLUME" 1
bounded remapctl retire-spare --lost "$VOLUME" 1 >told
grep -q 'given up; 39 sectors are lost with it' told || fail "retire-spare --lost says: $(cat told)"
assert_eq "$(status_of '.spares[0].state')" lost "state of a spare that is given up"
assert_eq "$(pending_sectors_list | wc -w)" 39 "pending sectors of a spare that is given up"
sector_write "$R" 1000 40 <content
sector_read "$R" 1000 40 >seen
assert_same seen content "sectors of a spare that is given up, written again"
bounded dd if=/dev/null of="$IMAGE" conv=notrunc,fsync status=none || fail "fsync without the spare"
loop_detach
image_unmount
