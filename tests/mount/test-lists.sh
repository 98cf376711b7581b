#!/bin/bash
# Scenarios 19 and 20: lists of badblocks and ddrescue taken in and given out,
# with the real programs; disk.img copied away with ddrescue while sectors of it
# are lost; and sectors moved back to a main that was repaired. All of it on a
# volume that is in use.
. "$(dirname "$0")/lib.sh"
requires root loop jq badblocks ddrescue

main_fill 20M
noise content 2048
dd if=content of="$MAIN" bs="$SS" seek=1000 conv=notrunc status=none
cp "$MAIN" before.img
volume_make 20M 4M
image_mount

# The sectors that a list of blocks names.
sectors_of() {
  awk -v per=$(($2 / SS)) '{ for (i = 0; i < per; i++) print $1 * per + i }' "$1" | sort -n | xargs
}
bad_list() {
  sql "$(each_sector bad_sectors sector)" | xargs
}

say "badblocks: the blocks that it finds are pending"
bad="1000 1001 1003 2000 2001 2002 2003 30000"
inject --sectors "$(tr ' ' , <<<"$bad")" --on read
# On a block device it reads single blocks through the page cache, 4 KiB at a time.
BOUND=200 bounded badblocks -b 512 -c 64 "$IMAGE" >found 2>badblocks.log || fail "badblocks: $(cat badblocks.log)"
assert_eq "$(sectors_of found 512)" "$bad" "what badblocks finds"
# Found by a read that failed: now from a volume that knows nothing of them.
image_unmount
bounded remapctl export --format badblocks -b 512 "$VOLUME" exported
cmp found exported || fail "the export is not what badblocks found"
rm "$VOLUME" "$SPARE"
volume_make 20M 4M
inject --sectors "$(tr ' ' , <<<"$bad")" --on read
image_mount

say "the same list, in the wrong block size"
must_fail "(-b)" bounded remapctl import --format badblocks "$VOLUME" found
assert_eq "$(bad_list)" "" "sectors known after a list that was refused"
must_fail "outside main" bounded remapctl import --format badblocks -b 4096 --offset 19M "$VOLUME" found
bounded remapctl import --format badblocks -b 512 --dry-run "$VOLUME" <found >told
assert_eq "$(cat told)" "8 sectors in 4 pieces, 0 known before; up to 8 would move, $(status_of .free_slots) slots are free" \
  "what --dry-run says"
assert_eq "$(bad_list)" "" "sectors known after --dry-run"

say "and in the right one: some can still be read"
printf '%s\n' 3000 3001 >>found
bounded remapctl import --format badblocks -b 512 "$VOLUME" found >told
assert_eq "$(cat told)" "10 sectors: 2 moved to the spares, 8 could not be read and are pending, 0 known before" "what import says"
assert_eq "$(pending_sectors_list)" "$bad" "pending"
assert_eq "$(remapped_sectors_list)" "3000 3001" "remapped"
sector_read "$IMAGE" 2999 4 >seen
piece content 1999 4 | cmp - seen || fail "what moved has changed"
bounded remapctl import --format badblocks -b 512 "$VOLUME" found >told
assert_eq "$(cat told)" "10 sectors: 0 moved to the spares, 0 could not be read and are pending, 10 known before" "the same list again"

say "ddrescue copies what can be read, and its map names what cannot"
BOUND=200 bounded ddrescue -q "$IMAGE" new.img map 2>ddrescue.log ||
  fail "ddrescue: $(cat ddrescue.log)"
bounded ddrescuelog -b 512 -l- map >lost
assert_eq "$(xargs <lost)" "$bad" "sectors that the map calls bad"
assert_eq "$(bounded ddrescuelog -b 512 -l'?*/' map)" "" "blocks that ddrescue did not finish"
# Everything else is there, and the lost sectors are not invented.
cp before.img expected.img
for sector in $bad; do
  dd if=/dev/zero of=expected.img bs="$SS" seek="$sector" count=1 conv=notrunc status=none
done
cmp new.img expected.img || fail "the copy"

say "the map comes in again, as ddrescue left it"
bounded remapctl import --format ddrescue "$VOLUME" map >told
assert_eq "$(cat told)" "8 sectors: 0 moved to the spares, 0 could not be read and are pending, 8 known before" "the map of the same volume"
for format in ddrescue badblocks json csv; do
  rm -f again.volume again.spare
  case $format in
    ddrescue) bounded remapctl export --format ddrescue --state both "$VOLUME" list ;;
    badblocks) bounded remapctl export --format badblocks -b 512 "$VOLUME" list ;;
    *) bounded remapctl export --format $format "$VOLUME" list ;;
  esac
  BOUND=60 bounded remapctl create -q again.volume --main before.img --spare again.spare,size=4M
  [ "$format" = badblocks ] && size=(-b 512) || size=()
  bounded remapctl import -q --format $format "${size[@]}" again.volume list
  assert_eq "$(VOLUME=again.volume bad_list)" "$(bad_list)" "sectors after a round trip as $format"
done
jq -e '.bad_sectors | length > 0' >/dev/null < <(bounded remapctl export --format json "$VOLUME") ||
  fail "the exported json"

say "the copy that ddrescue made, and its map: what is lost can be read there, and holds nothing"
# copy_make: a volume over the copy.
copy_make() {
  rm -f again.volume again.spare
  cp new.img copy.img
  BOUND=60 bounded remapctl create -q again.volume --main copy.img --spare again.spare,size=4M
}
scrub_done() {
  [ "$(sql 'SELECT state FROM scrub')" = 'done' ]
}
image_unmount
of_the_disk=$VOLUME VOLUME=again.volume
bounded ddrescuelog -A map >annotated.map
for map in map annotated.map; do
  copy_make
  bounded remapctl import --format ddrescue --lost --dry-run "$VOLUME" "$map" >told
  assert_eq "$(cat told)" "8 sectors in 4 pieces, 0 known before; 8 would be pending" "what --dry-run says"
  bounded remapctl import --format ddrescue --lost "$VOLUME" "$map" >told
  assert_eq "$(cat told)" "8 sectors: 8 are pending now, 0 known before" "what import --lost says"
done
# Nor has it data where ddrescue never came.
bounded ddrescuelog -a '+,?' map >untried.map
bounded remapctl import --format ddrescue --lost --dry-run "$VOLUME" untried.map >told
assert_eq "$(cat told)" "40960 sectors in 1 piece, 8 known before; 40952 would be pending" "what --dry-run says of blocks not tried"
image_mount
for sector in $bad; do
  must_fail "Input/output error" sector_read "$IMAGE" "$sector" 1
done
bounded remapctl scrub "$VOLUME" start --rate 0 >scrub.log
wait_for 20 scrub_done || fail "the scrub does not end"
assert_eq "$(pending_sectors_list)" "$bad" "pending after a scrub of the copy"
sector_read "$IMAGE" 999 1 >seen
piece before.img 999 1 | cmp - seen || fail "the neighbour of a lost sector"
piece content 0 1 | sector_write "$IMAGE" 1000 1
sector_read "$IMAGE" 1000 1 >seen
piece content 0 1 | cmp - seen || fail "a lost sector that was written"
bounded remapctl mark --lost "$VOLUME" --sectors 500-502 >told
assert_eq "$(cat told)" "3 sectors: 3 are pending now, 0 known before" "what mark --lost says"
must_fail "Input/output error" sector_read "$IMAGE" 501 1
image_unmount

say "the same map without --lost: what can be read moves, with a doubt"
copy_make
bounded remapctl import --format ddrescue "$VOLUME" map >told 2>warned
grep -q "import the map with --lost" warned || fail "no doubt about a copy: $(cat warned)"
bounded remapctl import -q --format ddrescue --lost "$VOLUME" map 2>warned
grep -q "8 of these sectors are on a spare already, .*'remapctl unmap'" warned || fail "--lost says: $(cat warned)"
bounded remapctl unmap -q "$VOLUME"
bounded remapctl import -q --format ddrescue --lost "$VOLUME" map 2>warned
assert_eq "$(cat warned)" "" "a warning after the remedy"
assert_eq "$(pending_sectors_list)" "$bad" "pending after the remedy"

say "more sectors than there are slots"
slots=$(status_of .free_slots)
for command in "import --format badblocks -b 512 --dry-run" "import --format badblocks -b 512"; do
  must_fail "$((slots + 1)) sectors would have to move, and the spares have $slots free slots; .*--lost" \
    bounded remapctl $command "$VOLUME" <(seq 10000 $((10000 + slots)))
done
must_fail "would have to move" bounded remapctl mark "$VOLUME" --sectors "10000-$((10000 + slots))"
assert_eq "$(remapped_sectors_list)" "" "remapped after lists that were refused"
bounded remapctl mark -q "$VOLUME" --sectors "10000-$((9999 + slots))"
assert_eq "$(status_of .free_slots)" 0 "free slots"
# What is known needs none.
must_fail "1 sector would have to move, and the spares have 0 free slots" bounded remapctl mark "$VOLUME" --sectors "10000-$((10000 + slots))"
bounded remapctl unmap -q "$VOLUME"
must_fail "add-spare" bounded remapctl mark --force "$VOLUME" --sectors "10000-$((10000 + slots))"
assert_eq "$(status_of .free_slots)" 0 "free slots after --force"
VOLUME=$of_the_disk
image_mount

say "ddrescue takes the exported map"
bounded remapctl export --format ddrescue "$VOLUME" domain.map
bounded ddrescuelog -t domain.map >ddrescuelog.log || fail "ddrescuelog -t: $(cat ddrescuelog.log)"
assert_eq "$(bounded ddrescuelog -b 512 -l- domain.map | xargs)" "$bad" "the exported map"
rm new.img
BOUND=200 bounded ddrescue -q -m domain.map "$IMAGE" new.img new.map 2>ddrescue.log ||
  fail "ddrescue -m: $(cat ddrescue.log)"
assert_eq "$(bounded ddrescuelog -b 512 -l-'*/' new.map)" "" "errors met in a domain without the lost ones"
assert_eq "$(bounded ddrescuelog -b 512 -l'?' new.map | xargs)" "$bad" "what -m leaves out"
cmp new.img expected.img || fail "the copy of the domain"

say "marked and moved back under a load, while the worker is killed"
# The one before may have been killed after its last answer, and have no successor yet.
worker_serves() {
  worker=$(worker_pid)
  [ "$worker" != null ]
}
kill_worker() {
  wait_for 10 worker_serves || fail "no worker serves"
  kill -9 "$worker"
}
loop_attach
(
  while [ ! -e stop ]; do
    piece content 500 100 | sector_write "$R" 5000 100 && sector_read "$R" 5000 100 >read.back &&
      piece content 500 100 | cmp -s - read.back || touch failed
  done
) &
load=$!
noise many 6000
sector_write "$R" 10000 2000 <many
piece many 2000 4000 | sector_write "$R" 12000 4000
for round in 1 2 3; do
  bounded remapctl mark -q "$VOLUME" --sectors 4990-5120,10000-15999 &
  mark=$!
  sleep 0.05
  kill_worker
  wait "$mark" || fail "mark: $?"
  assert_eq "$(sql "SELECT sum(sectors) FROM remap WHERE main_sector BETWEEN 10000 AND 15999")" 6000 \
    "moved in round $round"
  bounded remapctl unmap -q "$VOLUME" &
  unmap=$!
  sleep 0.05
  kill_worker
  wait "$unmap" || fail "unmap: $?"
  assert_eq "$(remapped_sectors_list)" "" "remapped after round $round"
done
# Nobody serves yet when it asks.
wait_for 20 worker_serves || fail "no worker serves"
supervisor=$(daemon_pid) worker=$(worker_pid)
kill -STOP "$supervisor"
kill -9 "$worker"
bounded remapctl mark -q "$VOLUME" --sectors 10000-10099 &
mark=$!
sleep 1.5
kill -CONT "$supervisor"
wait "$mark" || fail "mark while the worker has no successor: $?"
assert_eq "$(remapped_sectors_list)" "$(seq 10000 10099 | xargs)" "moved when it had one"
bounded remapctl unmap -q "$VOLUME"
touch stop
wait "$load"
[ ! -e failed ] || fail "a request failed or read something else"
sector_read "$R" 10000 2000 >seen
sector_read "$R" 12000 4000 >>seen
assert_same seen many "what went to the spare and back"
loop_detach

say "what main does not hold stays"
inject --sectors 20000-20003 --on write
noise few 8
sector_write "$IMAGE" 20000 4 <few
bounded remapctl mark -q "$VOLUME" --sectors 20004-20007
must_fail "4 sectors stay on the spares" bounded remapctl unmap "$VOLUME"
assert_eq "$(remapped_sectors_list)" "20000 20001 20002 20003" "remapped"
bounded remapctl inject "$VOLUME" clear >clear.log
bounded remapctl unmap "$VOLUME" >told
assert_eq "$(cat told)" "4 sectors are on main again" "what unmap says"

say "without a daemon, and without the database"
image_unmount
bounded remapctl check "$VOLUME" >check.log || fail "check: $(cat check.log)"
bounded remapctl mark -q "$VOLUME" --sectors 40-49
bounded remapctl unmap -q "$VOLUME" --sectors 45-49
assert_eq "$(remapped_sectors_list)" "40 41 42 43 44" "remapped here"
bounded remapctl rebuild -q --force "$VOLUME" --main "$MAIN" --spare "$SPARE"
assert_eq "$(remapped_sectors_list)" "40 41 42 43 44" "what a rebuild finds"
