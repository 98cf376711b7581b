#!/bin/bash
# null_blk with badblocks: a request that touches one fails whole, and nothing of
# it is written.
. "$(dirname "$0")/lib.sh"
requires root jq
module null_blk nr_devices=0
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
disk=/sys/kernel/config/nullb/nullb0
mkdir "$disk"
echo 64 >"$disk/size"
echo 1 >"$disk/memory_backed"
echo 1 >"$disk/discard"
echo 512 >"$disk/blocksize"
echo 1 >"$disk/power"
device=/dev/nullb0
bad() {
  echo "+$1" >"$disk/badblocks"
}

say "what the kernel does: nothing around a bad block is written or read"
bad 1003-1003
assert_eq "$(error_of write "$device" 1000 8)" EIO "writing"
assert_eq "$(ask "$device" read 1000 8)" EIO "reading, and what came"
echo -1003-1003 >"$disk/badblocks"
assert_eq "$(changed_sectors "$device" 1000 8 "$SCRATCH/errno.data" | xargs)" "" "sectors written"

bad 0-0
bad 2-2
bad 1000-1007
for sector in 50000 50001 75000 100000 120000; do bad $sector-$sector; done
volume_over "$device" 8M
EXPECTED=$SCRATCH/expected
truncate -s 64M "$EXPECTED"

say "single sectors, a hole, and a request over all of them"
for sector in 50000 50001 75000 100000 120000; do write_checked $sector 1; done
assert_eq "$(remapped_sectors_list)" "50000 50001 75000 100000 120000" "remapped"
write_checked 0 2048
assert_eq "$(remapped_sectors_list)" "0 2 $(seq -s ' ' 1000 1007) 50000 50001 75000 100000 120000" "remapped"
image_restart
assert_as_expected "after a restart"

say "read errors under content: EIO, then cured by a write"
bad 2000-2003
assert_eq "$(error_of read "$IMAGE" 1996 16)" EIO "reading"
assert_eq "$(pending_sectors_list)" "2000 2001 2002 2003" "pending"
write_checked 2000 4

say "zeros over good, pending and remapped sectors; a disk that cannot discard them says so"
bad 3000-3003
assert_eq "$(error_of read "$IMAGE" 3000 4)" EIO "reading"
must_fail 'unsupported' bounded fallocate --punch-hole -o $((990 * 512)) -l 512 "$IMAGE"
bounded fallocate --zero-range -o $((990 * 512)) -l $((2100 * 512)) "$IMAGE"
dd if=/dev/zero of="$EXPECTED" bs=512 seek=990 count=2100 conv=notrunc status=none
assert_as_expected "after zeroing"
assert_eq "$(pending_sectors_list)" "" "pending after zeroing"
bounded fallocate --zero-range -o $((49990 * 512)) -l $((30 * 512)) "$IMAGE"
dd if=/dev/zero of="$EXPECTED" bs=512 seek=49990 count=30 conv=notrunc status=none
image_restart
assert_as_expected "after another restart"
assert_eq "$(events write_failed)" 0 "failed writes"
image_unmount
