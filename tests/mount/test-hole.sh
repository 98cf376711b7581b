#!/bin/bash
# A hole of 8 bad sectors, with writes of 4 KiB and 1 MiB across its edges: the
# bytes are those of a plain file, and only the hole moved.
. "$(dirname "$0")/lib.sh"
requires root loop jq

volume_make 20M 4M
truncate -s 20M shadow
inject --sectors 1000-1007 --on write
image_mount
loop_attach

both_write() { # TARGET SECTOR COUNT
  noise data "$3"
  sector_write "$1" "$2" "$3" <data
  dd if=data of=shadow bs="$SS" seek="$2" conv=notrunc status=none
}

same() {
  bounded cmp "$IMAGE" shadow || fail "disk.img differs from the plain file: $1"
}

say "4 KiB across the first edge"
both_write "$R" 996 8
same "4 KiB at 996"
assert_eq "$(remapped_sectors_list)" "1000 1001 1002 1003" "remapped"

say "4 KiB across the last edge"
both_write "$R" 1004 8
same "4 KiB at 1004"
assert_eq "$(remapped_sectors_list)" "1000 1001 1002 1003 1004 1005 1006 1007" "remapped"

say "every offset, both ways in"
for target in "$R" "$IMAGE"; do
  for ((sector = 991; sector <= 1009; sector++)); do
    both_write "$target" "$sector" 8
  done
done
same "4 KiB everywhere"

say "1 MiB over, into and out of it"
for target in "$R" "$IMAGE"; do
  for sector in 0 500 999 1000 1001 1003 1007; do
    both_write "$target" "$sector" 2048
  done
done
same "1 MiB"

say "a hole that a 1 MiB write meets first"
inject --sectors 10000-10007,12047 --on both
both_write "$R" 10000 2048
same "1 MiB on a new hole"

only_the_holes() {
  assert_eq "$(remapped_sectors_list)" "$(faulty_sectors_list)" "remapped $1"
  assert_eq "$(sql 'SELECT used FROM spare_usage')" 17 "slots used $1"
}
only_the_holes "at last"

loop_detach
image_restart
same "after a restart"
only_the_holes "after a restart"
image_unmount
