#!/bin/bash
# 200 MiB of this machine's own files are copied on to ext4 on R while bad
# sectors keep appearing. Every checksum must be the same after a restart.
LIMIT=600
. "$(dirname "$0")/lib.sh"
. "$TESTS/filesystem.sh"
requires root loop fs:ext4 jq mkfs.ext4 e2fsck

real_tree tree 210
bytes=$(du -sb --apparent-size tree | cut -f1)
[ "$bytes" -ge $((200 << 20)) ] || skip "this machine has only $((bytes >> 20)) MiB of files to copy"
tree_sums tree >sums

volume_make 512M 64M
image_mount
loop_attach
bounded mkfs.ext4 -q -F "$R"
bounded mount "$R" "$FS"

# From the first byte to the last: until the copy is done and synced.
touch copying
(
  trap - ERR
  while [ -e copying ]; do
    inject --random 200 --on write
    sleep 0.2
  done
) &
dying=$!
BOUND=400 bounded cp -r tree "$FS/"
BOUND=200 bounded sync -f "$FS"
rm copying
wait "$dying" || fail "inject under load"
BOUND=200 bounded umount "$FS"
check_filesystem ext4
loop_detach

image_restart
loop_attach
bounded mount -o ro "$R" "$FS"
tree_sums "$FS/tree" >sums.after
assert_same sums sums.after "checksums after the restart"
bounded umount "$FS"
check_filesystem ext4
loop_detach
image_unmount

moved=$(sql 'SELECT coalesce(sum(sectors), 0) FROM remap')
injected=$(faulty_sectors_list | wc -w)
[ "$moved" -gt 0 ] || fail "no sector moved"
assert_only_bad_moved
assert_eq "$(events write_failed)" 0 "failed writes"
sqlite3 -box "$VOLUME" 'SELECT main_sector, sectors, spare_id, slot, error, at FROM remap LIMIT 5'
say "$(wc -l <sums) files, $((bytes >> 20)) MiB, all checksums equal; $injected sectors died," \
  "$moved of them were written and moved, in $(sql 'SELECT count(*) FROM remap') rows"
