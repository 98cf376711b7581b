#!/bin/bash
# dm-flakey with error_writes: a disk that refuses all writes every other second
# and reads all the time. What was acknowledged is kept, what was not is an error,
# and a disk that is read-only for a while is not a disk full of bad sectors.
. "$(dirname "$0")/lib.sh"
requires root jq dmsetup
ram_disk 64
module dm_flakey

echo "0 $(sectors_of /dev/ram0) flakey /dev/ram0 0 0 3600 1 error_writes" | dm_make main
say "what the kernel does: EIO for writes, nothing is written, reads work"
assert_eq "$(error_of write /dev/mapper/main 100 8)" EIO "writing"
assert_eq "$(changed_sectors /dev/mapper/main 100 8 "$SCRATCH/errno.data" | xargs)" "" "sectors written"
dm_table /dev/ram0 error | dm_change main

volume_over /dev/mapper/main 8M
EXPECTED=$SCRATCH/expected
truncate -s 64M "$EXPECTED"
write_checked 0 256

say "single sectors that refuse writes and can be read"
dm_table /dev/ram0 'flakey @ 0 3600 1 error_writes' 1000+3 2000 3000+64 | dm_change main
write_checked 990 32
write_checked 1990 16
write_checked 2990 128
assert_eq "$(remapped_sectors_list)" "1000 1001 1002 2000 $(seq -s ' ' 3000 3063)" "remapped"

say "the whole disk refuses writes"
echo "0 131072 flakey /dev/ram0 0 0 3600 1 error_writes" | dm_change main
assert_eq "$(error_of write "$IMAGE" 5000 8)" EIO "writing"
assert_eq "$(error_of read "$IMAGE" 5000 8)" 0 "reading"
write_checked 1000 3
assert_eq "$(status_of .remapped_sectors)" 68 "remapped sectors"
assert_eq "$(events device_failed)" 1 "device_failed"

say "one second good, one second bad"
echo "0 131072 flakey /dev/ram0 0 1 1 1 error_writes" | dm_change main
taken=0 refused=0
for ((i = 0; i < ${TRIES:-60}; i++)); do
  noise chunk 8
  sector=$((8000 + i * 8))
  if sector_write "$IMAGE" "$sector" 8 <chunk 2>/dev/null; then
    dd if=chunk of="$EXPECTED" bs=512 seek="$sector" conv=notrunc status=none
    taken=$((taken + 1))
  else
    refused=$((refused + 1))
  fi
done
dm_table /dev/ram0 error | dm_change main
say "$taken writes taken, $refused refused, $(status_of .remapped_sectors) sectors remapped"
[ "$taken" -gt 0 ] && [ "$refused" -gt 0 ] || fail "the disk was not flakey"
write_checked 5000 8
image_restart
for ((i = 0; i < ${TRIES:-60}; i++)); do
  sector=$((8000 + i * 8))
  sector_read "$IMAGE" "$sector" 8 >chunk || fail "reading $sector"
  piece "$EXPECTED" "$sector" 8 | cmp -s - chunk || taken=$((taken - 1000))
done
# A write that was refused may be there in part; one that was taken must be.
[ "$taken" -gt $((-1000 * refused)) ] || fail "$taken: more differ than were refused"
dd if="$IMAGE" bs=1M count=3 iflag=direct status=none | cmp - <(head -c 3M "$EXPECTED") ||
  fail "the beginning differs"
image_unmount
