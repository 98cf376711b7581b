#!/bin/bash
# dm-dust: sectors that cannot be read until they are rewritten, as a disk's own
# remapping makes them, and sectors that refuse their first N writes as well.
. "$(dirname "$0")/lib.sh"
requires root jq dmsetup
module dm_bufio
[ -s "$VM_KERNEL/dm-dust.ko" ] || skip "no dm-dust.ko (see fetch-dm-dust)"
ram_disk 64
modprobe dm_mod
insmod "$VM_KERNEL/dm-dust.ko" || fail "insmod dm-dust"

echo "0 $(sectors_of /dev/ram0) dust /dev/ram0 0 512" | dm_make main
dust() {
  bounded dmsetup message main 0 "$@" >/dev/null 2>&1 || fail "dmsetup message $*"
}

say "what the kernel does: EIO until written"
dust addbadblock 1005
dust enable
assert_eq "$(error_of read /dev/mapper/main 1004 8)" EIO "reading"
assert_eq "$(ask /dev/mapper/main read 1004 8)" "EIO 0 2 3 4 5 6 7" "reading across it, and what came"
assert_eq "$(error_of write /dev/mapper/main 1005 1),$(error_of read /dev/mapper/main 1005 1)" 0,0 "writing, reading"

volume_over /dev/mapper/main 8M
EXPECTED=$SCRATCH/expected
truncate -s 64M "$EXPECTED"

say "until rewritten: pending, then cured in place"
for sector in 1000 1001 1002 5000; do dust addbadblock $sector; done
assert_eq "$(error_of read "$IMAGE" 996 16)" EIO "reading"
assert_eq "$(error_of read "$IMAGE" 5000 1)" EIO "reading"
assert_eq "$(pending_sectors_list)" "1000 1001 1002 5000" "pending"
write_checked 996 16
write_checked 5000 1
assert_eq "$(pending_sectors_list)" "" "pending after the writes"
assert_eq "$(remapped_sectors_list)" "" "remapped"
[ "$(events cured)" -ge 2 ] || fail "nothing was cured"

say "written without having been read: the disk itself cures it"
dust addbadblock 6000
write_checked 5996 8
assert_eq "$(status_of .pending_sectors),$(status_of .remapped_sectors)" 0,0 "pending, remapped"

say "after N failed writes: more of them than a request tries, so they move"
dust addbadblock 7000 200
dust addbadblock 7001 200
write_checked 6990 32
assert_eq "$(remapped_sectors_list)" "7000 7001" "remapped"

say "one failed write: found to work when it is tried again"
dust addbadblock 8000 1
write_checked 7996 8
assert_eq "$(remapped_sectors_list)" "7000 7001" "remapped"

dust disable
image_restart
assert_as_expected "after a restart"
assert_eq "$(events write_failed)" 0 "failed writes"
image_unmount
