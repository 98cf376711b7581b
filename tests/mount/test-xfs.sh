#!/bin/bash
# XFS on a disk with bad sectors at its superblocks and under its files.
LIMIT=400
. "$(dirname "$0")/lib.sh"
. "$TESTS/filesystem.sh"
requires root loop fs:xfs jq mkfs.xfs xfs_repair

main_fill 400M
volume_make 400M 50M
# Four allocation groups of 100 MiB: superblock, AGF, AGI and AGFL of each.
for group in 0 1 2 3; do
  seq $((group * 204800)) $((group * 204800 + 3))
done >superblocks
seq 250 500 819199 >spread
inject --file superblocks --on both
seq 333 5000 819199 >unreadable
inject --file spread --on write
inject --file unreadable --on both
image_mount
filesystem_survives xfs 40 -d agcount=4
assert_touched_moved "$(cat superblocks spread unreadable)"
assert_eq "$(only_in "$(xargs <superblocks)" "$(remapped_sectors_list)")" "" "superblocks that did not move"
image_unmount
