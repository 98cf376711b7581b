#!/bin/bash
# What the next worker of a mount serves is what was mounted, whatever the names mean
# by then: main and spares stay open, and claimed, from the mount to its end. What it
# finds of them is served as far as it goes.
LIMIT=300
. "$(dirname "$0")/lib.sh"
. "$TESTS/workers.sh"
requires jq flock sqlite3 perl
requires_resend

volume_make 16M 256K
image_mount
inject --sectors 100-107,1000-1999 --on write
noise on-spare 8
noise on-main 8
sector_write "$IMAGE" 100 8 <on-spare
sector_write "$IMAGE" 200 8 <on-main

say "a spare that joined is handed up"
bounded remapctl add-spare -q "$VOLUME" "$SCRATCH/spare2.img,size=1M"
noise more 1000
sector_write "$IMAGE" 1000 1000 <more
[ "$(sql 'SELECT count(*) FROM remap WHERE spare_id = 2')" -gt 0 ] || fail "nothing is on the second spare"

say "files moved aside, and others in their place"
for file in main.img spare.img spare2.img; do
  mv "$file" "$file.mounted"
  head -c "$(stat -c %s "$file.mounted")" /dev/zero >"$file"
done
for round in kill upgrade; do
  if [ "$round" = kill ]; then replace_worker; else bounded remapctl upgrade "$VOLUME" >/dev/null; fi
  sector_read "$IMAGE" 100 8 | cmp - on-spare || fail "what lives on a spare, after $round"
  sector_read "$IMAGE" 200 8 | cmp - on-main || fail "what lives on main, after $round"
  sector_read "$IMAGE" 1000 1000 | cmp - more || fail "what lives on the spare that joined, after $round"
  noise on-main 8
  sector_write "$IMAGE" 200 8 <on-main
  piece main.img.mounted 200 8 | cmp - on-main || fail "written elsewhere, after $round"
done
for file in main.img spare.img spare2.img; do
  cmp -s -n "$(stat -c %s "$file")" "$file" /dev/zero || fail "$file, which was not mounted, was written"
done

say "gone"
rm main.img spare.img spare2.img
replace_worker
sector_read "$IMAGE" 100 8 | cmp - on-spare
sector_read "$IMAGE" 200 8 | cmp - on-main

say "and claimed all the time"
for file in main.img spare.img spare2.img; do
  mv "$file.mounted" "$file"
done
worker=$(worker_pid) supervisor=$(daemon_pid)
kill -STOP "$supervisor"
kill -9 "$worker"
wait_for 10 process_ended "$worker" || fail "the worker survives"
must_fail 'in use' bounded remapctl create other --main main.img --spare other.spare,size=1M --force
must_fail 'in use' bounded remapctl create other --main other.img,size=1M --spare spare2.img --force
kill -CONT "$supervisor"
wait_for 60 another_serves "$worker" || fail "no worker follows"
sector_read "$IMAGE" 1000 1000 | cmp - more

say "what has left is let go"
bounded remapctl retire-spare --lost "$VOLUME" 2 >retire.log 2>&1 || fail "retire-spare: $(cat retire.log)"
let_go() {
  ! ls -l "/proc/$(daemon_pid)/fd" "/proc/$(worker_pid)/fd" 2>/dev/null | grep -q 'spare2.img'
}
wait_for 30 let_go || fail "the spare that was given up is still open"
replace_worker
sector_read "$IMAGE" 200 8 | cmp - on-main
image_unmount
image_mount
sector_read "$IMAGE" 100 8 | cmp - on-spare
image_unmount

say "main was cut, and made longer again: it stays failed"
VOLUME=$SCRATCH/cut MAIN=$SCRATCH/cut.img SPARE=$SCRATCH/cut.spare
volume_make 16M 1M
inject --sectors 100-107 --on write
image_mount
supervisor=$(daemon_pid)
sector_write "$IMAGE" 100 8 <on-spare
truncate -s 8M "$MAIN"
replace_worker
sector_read "$IMAGE" 100 8 | cmp - on-spare
must_fail 'input/output error' sector_write "$IMAGE" 30000 8 <on-spare
must_fail 'input/output error' sector_read "$IMAGE" 20000 8
assert_eq "$(stat -c %s "$MAIN")" $((8 << 20)) "size of main"
assert_eq "$(status_of .state)" failed "state"
truncate -s 16M "$MAIN"
replace_worker
must_fail 'input/output error' sector_read "$IMAGE" 30000 8
sector_read "$IMAGE" 100 8 | cmp - on-spare
assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
image_unmount

# The state tells it, and what is not on that spare is served.
assert_spare_gone() {
  must_fail 'input/output error' sector_read "$IMAGE" 100 8
  sector_read "$IMAGE" 200 8 | cmp - on-main || fail "main, without the spare"
  sector_write "$IMAGE" 208 8 <on-main
  bounded sync "$IMAGE" || fail "fsync, without the spare"
  assert_eq "$(status_of .state)" failed "state"
  jq -e '[.troubles[].cause] | any(test("spare 1 .* is gone"))' status.json >/dev/null ||
    fail "status says $(cat status.json)"
  assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
}

say "a spare was cut"
VOLUME=$SCRATCH/gone MAIN=$SCRATCH/gone.img SPARE=$SCRATCH/gone.spare
volume_make 16M 1M
inject --sectors 100-107 --on write
image_mount
supervisor=$(daemon_pid)
sector_write "$IMAGE" 100 8 <on-spare
sector_write "$IMAGE" 200 8 <on-main
truncate -s 64K "$SPARE"
replace_worker
assert_spare_gone
bounded remapctl retire-spare --lost "$VOLUME" 1 >/dev/null || fail "it cannot be given up"
image_unmount

say "the server of a spare's file has died"
mkdir served
VOLUME=$SCRATCH/server MAIN=$SCRATCH/server.img SPARE=$SCRATCH/server.spare MNT=$SCRATCH/served
IMAGE=$MNT/disk.img
volume_make 16M 1M
image_mount
server=$(daemon_pid) servant=$(worker_pid)
VOLUME=$SCRATCH/client MAIN=$SCRATCH/client.img MNT=$SCRATCH/mnt IMAGE=$SCRATCH/mnt/disk.img
BOUND=120 bounded remapctl create "$VOLUME" --main "$MAIN,size=16M" --spare served/disk.img --force \
  >create.log 2>&1 || fail "create: $(cat create.log)"
inject --sectors 100-107 --on write
image_mount
supervisor=$(daemon_pid)
sector_write "$IMAGE" 100 8 <on-spare
sector_write "$IMAGE" 200 8 <on-main
kill -9 "$server" "$servant"
wait_for 10 process_ended "$servant" || fail "the server survives"
replace_worker
assert_spare_gone
replace_worker
assert_spare_gone
image_unmount
bounded umount -l served 2>/dev/null || bounded fusermount3 -u -z served

[ "$(id -u)" = 0 ] && command -v sfdisk >/dev/null && losetup -f >/dev/null 2>&1 || exit 0
say "main, a disk, has become read-only"
truncate -s 16M disk
disk=$(losetup -f --show disk)
VOLUME=$SCRATCH/protected MAIN=$disk SPARE=$SCRATCH/protected.spare
bounded remapctl create "$VOLUME" --main "$MAIN" --spare "$SPARE,size=1M" --force >create.log 2>&1 ||
  fail "create: $(cat create.log)"
inject --sectors 100-107 --on write
image_mount
supervisor=$(daemon_pid)
sector_write "$IMAGE" 100 8 <on-spare
sector_write "$IMAGE" 200 8 <on-main
bounded sync "$IMAGE"
blockdev --setro "$disk"
replace_worker
sector_read "$IMAGE" 100 8 | cmp - on-spare
sector_read "$IMAGE" 200 8 | cmp - on-main
blockdev --setrw "$disk"
assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
image_unmount
losetup -d "$disk"

say "the supervisor dies alone: what is in use stays claimed as long as a worker serves"
truncate -s 64M disk
printf 'label: gpt\nstart=2048,size=61440\n' | sfdisk -q disk
disk=$(losetup -f --show disk)
VOLUME=$SCRATCH/claimed MAIN=$SCRATCH/claimed.img
bounded remapctl create "$VOLUME" --main "$MAIN,size=16M" --force \
  --spare "$disk,offset=40M,length=1M" --spare "$disk,offset=44M,length=1M" >create.log 2>&1 ||
  fail "create: $(cat create.log)"
image_mount
supervisor=$(daemon_pid) worker=$(worker_pid)
is_claimed() {
  ! perl -MFcntl -e 'sysopen(my $disk, shift, O_RDWR | O_EXCL) or exit 1' "$disk"
}
is_claimed || fail "the disk is not claimed"
bounded remapctl retire-spare --lost "$VOLUME" 2 >retire.log 2>&1 || fail "retire-spare: $(cat retire.log)"
given_up() {
  [ "$(events spare_lost)" = 1 ]
}
wait_for 30 given_up || fail "the spare is not given up"
kill -9 "$supervisor"
wait_for 10 process_ended "$supervisor" || fail "the supervisor survives"
is_claimed || fail "the disk is not claimed any more"
must_fail 'in use' bounded remapctl create other --main other.img,size=1M --force \
  --spare "$disk,offset=40M,length=1M"
sector_write "$IMAGE" 200 8 <on-main
sector_read "$IMAGE" 200 8 | cmp - on-main
kill -9 "$worker"
wait_for 10 process_ended "$worker" || fail "the worker survives"
is_free() {
  ! is_claimed
}
wait_for 10 is_free || fail "the disk is claimed by nobody"
bounded umount -l "$MNT" 2>/dev/null || bounded fusermount3 -u -z "$MNT"
losetup -d "$disk"
