#!/bin/bash
# scsi_debug: medium errors as a SCSI disk reports them, which no write ever
# cures; on Linux 6.12 also other errors, and a cache that does not flush.
. "$(dirname "$0")/lib.sh"
requires root jq
scsi_disk dev_size_mb=64 opts=2 medium_error_start=1000 medium_error_count=10

say "what the kernel does: ENODATA through O_DIRECT, also after a write that succeeded"
assert_eq "$(error_of read "$SCSI_DISK" 1003 1)" ENODATA "reading"
assert_eq "$(ask "$SCSI_DISK" read 996 16)" ENODATA "reading across them, and what came"
assert_eq "$(error_of write "$SCSI_DISK" 1003 1)" 0 "writing"
assert_eq "$(error_of read "$SCSI_DISK" 1003 1)" ENODATA "reading what was written"

say "a read: EIO, pending, with the error that the disk gave"
volume_over "$SCSI_DISK" 8M
assert_eq "$(error_of read "$IMAGE" 996 16)" EIO "reading across the bad sectors"
assert_eq "$(pending_sectors_list)" "$(seq -s ' ' 1000 1009)" "pending"
assert_eq "$(sql "SELECT DISTINCT error FROM pending")" ENODATA "the error"
assert_eq "$(error_of read "$IMAGE" 999 1),$(error_of read "$IMAGE" 1010 1)" 0,0 "the neighbours"
assert_eq "$(status_of .remapped_sectors)" 0 "remapped by reading"

say "a write: main takes it and cannot read it back, so it moves"
EXPECTED=$SCRATCH/expected
truncate -s 64M "$EXPECTED"
write_checked 992 64
assert_eq "$(remapped_sectors_list)" "$(seq -s ' ' 1000 1009)" "remapped"
assert_eq "$(pending_sectors_list)" "" "pending after the write"
image_restart
assert_as_expected "after a restart"

if [ ! -e "/sys/kernel/debug/scsi_debug" ] && ! mount -t debugfs debugfs /sys/kernel/debug; then
  fail "no debugfs"
fi
injector=$(echo /sys/kernel/debug/scsi_debug/*/error)
if [ ! -e "$injector" ]; then
  say "(this kernel's scsi_debug injects no other errors)"
  image_unmount
  exit 0
fi

# disk_fails COUNT OPCODE KEY ASC: a negative count is how often; 1: always.
disk_fails() {
  echo "2 $1 $2 0 0 0x2 $3 $4 0" >"$injector"
}

disk_works() {
  echo "- 2 $1" >"$injector"
}

say "a write that fails once with EREMOTEIO is found to work, and nothing moves"
disk_fails -1 0x2a 0x8 0
assert_eq "$(error_of write "$SCSI_DISK" 5000 1)" EREMOTEIO "writing to the disk"
disk_works 0x2a
disk_fails -1 0x2a 0x8 0
write_checked 5000 8
disk_works 0x2a
assert_eq "$(status_of .remapped_sectors)" 10 "remapped sectors"

say "every write fails: the disk, not the sectors"
disk_fails 1 0x2a 0x8 0
assert_eq "$(error_of write "$IMAGE" 6000 8)" EIO "writing while all writes fail"
disk_works 0x2a
assert_eq "$(status_of .remapped_sectors)" 10 "remapped sectors"
assert_eq "$(events device_failed)" 1 "device_failed"
write_checked 6000 8
assert_eq "$(events device_works)" 1 "device_works"

say "SYNCHRONIZE CACHE fails once: fsync fails, and goes on failing until a restart"
write_checked 7000 8
disk_fails -1 0x35 0x4 0x44
must_fail 'input/output error' bounded dd if=/dev/zero of="$IMAGE" bs=512 count=1 seek=7100 \
  conv=notrunc,fsync
disk_works 0x35
must_fail 'input/output error' bounded sync "$IMAGE"
assert_eq "$(events flush_failed)" 1 "flush_failed"
image_restart
bounded sync "$IMAGE"
dd if=/dev/zero of="$EXPECTED" bs=512 count=1 seek=7100 conv=notrunc status=none
assert_as_expected "at the end"
image_unmount
