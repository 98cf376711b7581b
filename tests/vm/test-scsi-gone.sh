#!/bin/bash
# A SCSI disk that is set offline, and one that is deleted, while in use: errors,
# no remap, and all that was acknowledged when it is back.
LIMIT=100
. "$(dirname "$0")/lib.sh"
requires root loop jq fs:ext4 mkfs.ext4 e2fsck

# in_use: ext4 on R with synced files, and a load on it.
in_use() {
  loop_attach
  make_filesystem ext4
  mount_filesystem ext4
  real_tree "$SCRATCH/tree" 2
  cp -r "$SCRATCH/tree" "$FS/"
  bounded sync -f "$FS"
  (
    trap - ERR
    set +e
    for ((n = 0; n < 200; n++)); do
      dd if=/dev/urandom of="$FS/load$((n % 4))" bs=64k count=4 conv=fsync status=none 2>/dev/null || exit 0
    done
  ) &
  LOAD=$!
  sleep 5
}

# out_of_use: after the disk has gone.
out_of_use() {
  wait_for 60 process_ended "$LOAD" || fail "the load hangs"
  assert_eq "$(status_of .remapped_sectors)" 0 "remapped sectors"
  [ "$(events device_failed)" -ge 1 ] || fail "no device_failed in the history"
  BOUND=60 bounded umount "$FS" || fail "umount of the file system"
  loop_give_up
}

# ask_open: the disk that descriptor 3 has open. Printed: reading, writing, flushing.
ask_open() {
  local request
  for request in 'read 9000 8' 'write 9000 8' flush; do
    # shellcheck disable=SC2086 # words
    bounded "$BUILD/tests/vm/vm-ask" $request <&3
  done | paste -sd, -
}

# as_it_was: the same disk is back, remapfs is started anew.
as_it_was() {
  loop_attach
  BOUND=100 bounded mount "$R" "$FS"
  diff -r "$SCRATCH/tree" "$FS/tree" || fail "what was synced differs"
  unmount_filesystem ext4
  check_filesystem ext4
  loop_detach
  assert_eq "$(status_of .remapped_sectors),$(status_of .pending_sectors)" 0,0 "remapped, pending"
}

scsi_disk dev_size_mb=64
volume_over "$SCSI_DISK" 8M
exec 3<>"$SCSI_DISK"
say "offline"
in_use
echo offline >"$SCSI_DEVICE/state"
out_of_use
say "writing while offline: $(error_of write "$IMAGE" 5000 8), reading: $(error_of read "$IMAGE" 5000 8)"
say "the disk itself: $(ask_open)"
echo running >"$SCSI_DEVICE/state"
image_restart
as_it_was

say "deleted"
in_use
host=$(readlink -f "$SCSI_DEVICE/../..")
echo 1 >"$SCSI_DEVICE/delete"
out_of_use
say "the disk itself: $(ask_open)"
exec 3<&-
assert_eq "$(error_of write "$IMAGE" 5000 8),$(error_of read "$IMAGE" 5000 8)" EIO,EIO "writing and reading"
image_unmount
echo '- - -' >"$host"/scsi_host/*/scan
wait_for 20 find_scsi_disk || fail "the disk does not come back"
# Under another name: the path that remapfs knows has to lead there.
[ "$SCSI_DISK" = "$MAIN" ] || ln -sf "$SCSI_DISK" "$MAIN"
image_mount
as_it_was
image_unmount
