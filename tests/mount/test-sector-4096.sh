#!/bin/bash
# Sectors of 4096 bytes throughout; and a volume of 512-byte sectors whose file
# systems write in 4096 (512e).
LIMIT=400
. "$(dirname "$0")/lib.sh"
. "$TESTS/filesystem.sh"
requires root loop fs:ext4 jq mkfs.ext4 e2fsck xfs_io

say "4096-byte sectors"
main_fill 200M
volume_make 200M 50M 4096
assert_eq "$(status_of .main.sector_size)" 4096 "sector size"
assert_eq "$(status_of .main.sectors)" 51200 "sectors"
inject --sectors 0,2 --on write
image_mount -o noremap
loop_attach
must_fail 'input/output error|could not|warning' bounded mkfs.ext4 -F -b 4096 "$R"
loop_detach
image_unmount

inject --sectors 32768 --on write
inject --sectors 1,32769,32770 --on both
seq 50 100 51199 >spread
inject --file spread --on write
image_mount
filesystem_survives ext4 40 -b 4096
assert_touched_moved "0 1 2 32768 32769 32770 $(cat spread)"
grep -qw 0 <<<"$(remapped_sectors_list)" || fail "sector 0 did not move"
# A write of less than a sector keeps the rest of it, also where the sector is
# bad: it is read, changed and moved as a whole.
inject --sectors 51190 --on write
noise whole 1
sector_write "$IMAGE" 51189 1 <whole
cp whole expected
head -c 100 /dev/urandom >part
dd if=part of=expected bs=1 seek=1000 conv=notrunc status=none
dd if=part of="$IMAGE" bs=100 oflag=seek_bytes seek=$((51189 * 4096 + 1000)) conv=notrunc status=none
sector_read "$IMAGE" 51189 1 >seen
assert_same seen expected "part of a good sector"
sector_read "$IMAGE" 51190 1 >expected
dd if=part of=expected bs=1 seek=1000 conv=notrunc status=none
dd if=part of="$IMAGE" bs=100 oflag=seek_bytes seek=$((51190 * 4096 + 1000)) conv=notrunc status=none
sector_read "$IMAGE" 51190 1 >seen
assert_same seen expected "part of a bad sector"
image_unmount

say "512e: 512-byte sectors, written in 4096"
rm -f "$VOLUME"* "$MAIN" "$SPARE"
main_fill 400M
volume_make 400M 50M 512
inject --sectors 0,2,262145,262146 --on write
inject --sectors 262152-262159 --on both
seq 250 1000 819199 >spread
inject --file spread --on write
image_mount
filesystem_survives ext4 20 -b 4096
assert_touched_moved "0 2 $(seq 262152 262159) $(cat spread)"
image_unmount
