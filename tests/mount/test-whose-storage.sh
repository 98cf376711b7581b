#!/bin/bash
# Contract 12, scenario 22: no storage serves twice, whatever names it goes by.
LIMIT=300
. "$(dirname "$0")/lib.sh"
. "$TESTS/storage.sh"
requires root loop sfdisk partx mkfs.ext4

say "regions next to each other: two volumes on one disk, at the same time"
DISK=
disk_make
disk_attach
bounded remapctl create -q one --main one-main,size=4M --spare "$DISK,offset=2M,length=512K"
bounded remapctl create -q two --main two-main,size=4M --spare "$DISK,offset=3M,length=512K"
bounded remapfs one "$MNT" 2>log || fail "$(cat log)"
bounded remapfs two "$FS" 2>log || fail "$(cat log)"
must_fail 'busy|in use' bounded mkfs.ext4 -q "$DISK"
VOLUME=one image_unmount
MNT=$FS VOLUME=two image_unmount
must_fail 'overlaps that of a spare' bounded remapctl create -q three --main three-main,size=4M \
  --spare "$DISK,offset=3200K,length=512K"
forget_kinds

say "a spare over a part of another volume's: refused, and forced, the other one is not served"
for region in 6M,length=4M 11M,length=4M 7M,length=6M 9M,length=1M; do
  rm -f old* new* pool
  truncate -s 32M pool
  bounded remapctl create -q old --main old-main,size=4M --spare pool,offset=8M,length=4M
  must_fail 'overlaps that of a spare' bounded remapctl create -q new --main new-main,size=4M \
    --spare "pool,offset=$region"
  # One in the middle leaves both superblocks of the other: what it overwrote cannot be told.
  [ "$region" != 9M,length=1M ] || continue
  bounded remapctl create -q new --main new-main,size=4M --spare "pool,offset=$region" --force
  must_fail 'spare of|superblock' bounded remapfs old "$MNT"
  must_fail 'lies over it' bounded remapctl check --repair old
done
bounded remapctl create -q beside --main beside-main,size=4M --spare pool,offset=16M,length=1M

say "in a file system, a partition table, a partition that has a file system"
mkfs.ext4 -q fs.img 16M 2>mkfs.log
must_fail 'ext4' bounded remapctl create -q new2 --main new2-main,size=4M --spare fs.img,offset=4M,length=1M
disk_make
disk_attach
must_fail 'partition table' bounded remapctl create -q new2 --main new2-main,size=4M \
  --spare "$DISK,offset=64K,length=128K"
bounded mkfs.ext4 -q "${DISK}p1"
must_fail 'partition that carries data .ext4' bounded remapctl create -q new2 --main new2-main,size=4M \
  --spare "$DISK,offset=2M,length=1M"
bounded remapctl create -q new2 --main new2-main,size=4M --spare "$DISK,offset=6M,length=1M"
forget_kinds

say "two at once: one of them"
disk_make
disk_attach
for try in a b c d; do
  bounded remapctl create -q "$try" --main "$try-main,size=4M" --spare "$DISK,offset=2M,length=1M" \
    2>"$try.log" && touch "$try.made" &
done
wait
assert_eq "$(find . -name '?.made' | wc -l)" 1 "volumes that got the region"
forget_kinds

say "every pair"
pairs '' file hardlink loop loop2 disk partition region
