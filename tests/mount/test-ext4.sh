#!/bin/bash
# A disk on which mkfs.ext4 fails, because sectors 0 and 2 cannot be written,
# carries an ext4 that keeps its data.
LIMIT=400
. "$(dirname "$0")/lib.sh"
. "$TESTS/filesystem.sh"
requires root loop fs:ext4 jq mkfs.ext4 e2fsck

say "the bare disk"
main_fill 100M
volume_make 100M 50M
inject --sectors 0,2 --on write
image_mount -o noremap
loop_attach
must_fail 'input/output error|could not|warning' bounded mkfs.ext4 -F "$R"
loop_detach
assert_eq "$(remapped_sectors_list)" "" "remapped without remapping"
image_unmount

say "the same disk, remapped"
image_mount
loop_attach
bounded mkfs.ext4 -q -F "$R"
assert_eq "$(remapped_sectors_list)" "0 2" "remapped by mkfs.ext4"
bounded mount "$R" "$FS"
real_tree "$SCRATCH/small" 10
cp -r "$SCRATCH/small" "$FS/"
bounded umount "$FS"
check_filesystem ext4
loop_detach
image_restart
loop_attach
bounded mount -o ro "$R" "$FS"
diff -r "$SCRATCH/small" "$FS/small" || fail "the tree differs after a restart"
bounded umount "$FS"
loop_detach
assert_eq "$(remapped_sectors_list)" "0 2" "remapped sectors"
image_unmount

say "bad sectors everywhere"
rm -f "$VOLUME"* "$MAIN" "$SPARE"
main_fill 400M
volume_make 400M 50M
# The superblock and its backups, what lies around them, and one sector in 500.
# A superblock is written as 1 KiB of a page that is read first, so it must
# still be readable; what follows a backup need not.
{ seq 0 7; seq 262144 262151; seq 786432 786439; } >superblocks
{ seq 262152 262159; seq 786440 786447; } >unreadable
seq 250 500 819199 >spread
seq 333 5000 819199 >>unreadable
inject --file superblocks --on write
inject --file spread --on write
inject --file unreadable --on both
image_mount
filesystem_survives ext4 40 -b 4096
# (Not asked of the superblocks: around each of them the kernel writes back the
# page that it read, so that a sector can be written and still look untouched.)
assert_touched_moved "$(cat spread unreadable)"
assert_eq "$(only_in "$(xargs <superblocks)" "$(remapped_sectors_list)")" "" \
  "superblocks that did not move"
image_unmount
