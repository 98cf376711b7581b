#!/bin/bash
# Disks with 4096-byte physical sectors: those that hide it (512e), with errors
# of single logical sectors, and those that do not (4Kn).
. "$(dirname "$0")/lib.sh"
requires root loop jq mkfs.ext4 e2fsck fs:ext4

# life SIZE: ext4 on R, a few files, fsck, restart, the same files.
life() {
  loop_attach
  make_filesystem ext4 -b 4096
  mount_filesystem ext4
  real_tree "$SCRATCH/tree" 3
  cp -r "$SCRATCH/tree" "$FS/"
  unmount_filesystem ext4
  check_filesystem ext4
  loop_detach
  image_restart
  loop_attach
  mount_filesystem ext4 ro
  diff -r "$SCRATCH/tree" "$FS/tree" || fail "the tree differs"
  unmount_filesystem ext4
  loop_detach
}

say "512e: 8 logical sectors of a physical one that cannot be read"
scsi_disk dev_size_mb=64 sector_size=512 physblk_exp=3 opts=2 medium_error_start=80000 medium_error_count=8
assert_eq "$(blockdev --getss --getpbsz "$SCSI_DISK" | xargs)" "512 4096" "sector sizes"
volume_over "$SCSI_DISK" 8M
EXPECTED=$SCRATCH/expected
truncate -s 64M "$EXPECTED"
assert_eq "$(error_of read "$IMAGE" 79992 24)" EIO "reading"
assert_eq "$(pending_sectors_list)" "$(seq -s ' ' 80000 80007)" "pending"
write_checked 79999 3
write_checked 80003 1
assert_eq "$(error_of read "$IMAGE" 80002 2)" EIO "a sector that was not written"
assert_eq "$(remapped_sectors_list)" "80000 80001 80003" "remapped"
write_checked 80000 8
life
assert_eq "$(status_of .pending_sectors)" 0 "pending sectors"
forget_volume

say "4Kn"
scsi_disk dev_size_mb=64 sector_size=4096 opts=2 medium_error_start=5000 medium_error_count=4
assert_eq "$(blockdev --getss "$SCSI_DISK")" 4096 "sector size"
must_fail '512|sector size|4096' bounded remapctl create "$VOLUME" --main "$SCSI_DISK" \
  --spare "$SPARE,size=8M" --sector-size 512
rm -f "$SPARE"
volume_over "$SCSI_DISK" 8M 4096
assert_eq "$(error_of read "$IMAGE" 4998 8)" EIO "reading"
assert_eq "$(pending_sectors_list)" "5000 5001 5002 5003" "pending"
truncate -s 64M "$EXPECTED"
write_checked 4990 16
assert_eq "$(remapped_sectors_list)" "5000 5001 5002 5003" "remapped"
life
image_unmount
