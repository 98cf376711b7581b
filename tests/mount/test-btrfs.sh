#!/bin/bash
# btrfs, which checks every byte itself, on a disk with bad sectors at its
# superblocks and under its files.
LIMIT=400
. "$(dirname "$0")/lib.sh"
. "$TESTS/filesystem.sh"
requires root loop fs:btrfs jq mkfs.btrfs btrfs

main_fill 400M
volume_make 400M 50M
# Superblocks at 64 KiB and 64 MiB, 4 KiB each.
{ seq 128 135; seq 131072 131079; } >superblocks
seq 250 500 819199 >spread
inject --file superblocks --on both
seq 333 5000 819199 >unreadable
inject --file spread --on write
inject --file unreadable --on both
image_mount
filesystem_survives btrfs 40
assert_touched_moved "$(cat superblocks spread unreadable)"
assert_eq "$(only_in "$(xargs <superblocks)" "$(remapped_sectors_list)")" "" "superblocks that did not move"
image_unmount
