#!/bin/bash
# Contract 12 through device-mapper and md: what lies over a member is refused, two
# logical volumes on one disk are not.
LIMIT=240
. "$(dirname "$0")/lib.sh"
. "$TESTS/../mount/storage.sh"
requires root loop dmsetup mdadm sfdisk partx
module dm_mod
module raid1

say "main and spare on two linear devices of one disk"
ram_disk 16
echo "0 16384 linear $RAM_DISK 0" | dm_make lv1
printf '0 2048 linear %s 16384\n2048 2048 linear %s 20480\n' "$RAM_DISK" "$RAM_DISK" | dm_make lv2
echo "0 2048 linear $RAM_DISK 20000" | dm_make lv3
bounded remapctl create -q lvs --main /dev/mapper/lv1 --spare /dev/mapper/lv2
must_fail 'same storage' bounded remapctl create -q bad --main /dev/mapper/lv3 --spare /dev/mapper/lv2
bounded remapfs lvs "$MNT" 2>log || fail "$(cat log)"
must_fail 'in use by another remapfs' bounded remapctl create -q bad --main /dev/mapper/lv3 \
  --spare bad-spare,size=64K
must_fail 'in use' bounded remapctl create -q bad --main bad-main,size=1M --spare "$RAM_DISK,offset=15M"
VOLUME=lvs image_unmount

say "a device that cannot be looked into, and what is below it"
echo "0 2048 striped 1 8 $RAM_DISK 24576" | dm_make opaque
echo "0 2048 linear $RAM_DISK 28000" | dm_make lv4
bounded remapctl create -q seen --main /dev/mapper/opaque --spare /dev/mapper/lv4
echo "0 2048 linear $RAM_DISK 24600" | dm_make below
must_fail 'may be the same storage' bounded remapctl create -q bad --main /dev/mapper/opaque \
  --spare /dev/mapper/below
bounded remapfs seen "$MNT" 2>log || fail "$(cat log)"
must_fail 'in use by another remapfs' bounded remapctl create -q bad --main bad-main,size=64K \
  --spare /dev/mapper/below --force
VOLUME=seen image_unmount
for name in opaque below lv4 lv1 lv2 lv3; do bounded dmsetup remove "$name"; done

say "every pair with a mapping or an array; tests/mount has those of the others"
pairs 'dm md' file hardlink loop loop2 disk partition region dm md
