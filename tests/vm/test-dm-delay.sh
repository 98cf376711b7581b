#!/bin/bash
# dm-delay before dm-error: a dying disk that takes its time to fail. The request is
# answered within the bound, other sectors stay usable, status answers at once.
. "$(dirname "$0")/lib.sh"
requires root loop jq dmsetup
ram_disk 64
module dm_delay

echo "0 131072 error" | dm_make no-writes
dm_table /dev/ram0 "delay @ 0 /dev/mapper/no-writes 10000 4000 @ 0" 10000+256 | dm_make main
volume_over /dev/mapper/main 8M
EXPECTED=$SCRATCH/expected
truncate -s 64M "$EXPECTED"

say "256 sectors that take 4 s to fail each time"
# Through the loop device: the kernel lets only one direct write() at a time into
# a file of FUSE, but any number of those of a loop device.
loop_attach
noise slow 256
noise quick 8
began=$SECONDS
BOUND=100 sector_write "$R" 10000 256 <slow &
slow=$!
sleep 2
here=$SECONDS
sector_write "$R" 500 8 <quick
sector_read "$R" 500 8 | cmp - quick || fail "the quick write"
bounded remapctl status "$VOLUME" --json >/dev/null || [ $? = 1 ]
process_ended "$slow" && fail "other sectors had to wait for the slow ones"
say "meanwhile a write, a read and a status took $((SECONDS - here)) s"
wait "$slow" || fail "the slow write"
took=$((SECONDS - began))
say "the slow write took $took s"
# 10 s of looking for the bad ones, the attempt that it was in, and the first.
[ "$took" -ge 8 ] && [ "$took" -le 60 ] || fail "$took s"
dd if=slow of="$EXPECTED" bs=512 seek=10000 conv=notrunc status=none
dd if=quick of="$EXPECTED" bs=512 seek=500 conv=notrunc status=none
loop_detach
assert_eq "$(remapped_sectors_list)" "$(seq -s ' ' 10000 10255)" "remapped"
began=$SECONDS
write_checked 10000 256
say "the same again, now on the spare: $((SECONDS - began)) s"
image_restart
assert_as_expected "after a restart"
image_unmount
