#!/bin/bash
# Least privilege: what the processes of a mount have given up, and that a mount
# does what it did before. That a confined process cannot do other things is for
# tests/unit/test_confine.c.
. "$(dirname "$0")/lib.sh"
requires root jq

grep -q 'REMAPFS_SANITIZE:STRING=.' "$BUILD/CMakeCache.txt" && skip "a sanitizer's build is not confined"
grep -q '^Seccomp_filters:' /proc/self/status || skip "this kernel has no seccomp"

# rights PID FIELD
rights() {
  sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}

# has PID NUMBER: whether it has that capability.
has() {
  [ $((0x$(rights "$1" CapEff) >> $2 & 1)) = 1 ]
}

CAP_DAC_OVERRIDE=1 CAP_SETUID=7 CAP_SYS_MODULE=16 CAP_SYS_PTRACE=19 CAP_SYS_ADMIN=21

# processes WHAT: they have what they need and not more.
confined() {
  local worker supervisor pid
  worker=$(worker_pid)
  supervisor=$(daemon_pid)
  for pid in "$worker" "$supervisor"; do
    assert_eq "$(rights "$pid" NoNewPrivs)" 1 "no_new_privs of $pid $1"
    assert_eq "$(rights "$pid" Seccomp)" 2 "seccomp of $pid $1"
    ! has "$pid" $CAP_SETUID && ! has "$pid" $CAP_SYS_MODULE && ! has "$pid" $CAP_SYS_PTRACE ||
      fail "$pid has rights that it does not use $1: $(rights "$pid" CapEff)"
    has "$pid" $CAP_DAC_OVERRIDE || fail "$pid cannot open the files of others $1"
  done
  has "$supervisor" $CAP_SYS_ADMIN || fail "the supervisor cannot unmount $1"
  ! has "$worker" $CAP_SYS_ADMIN || fail "the worker could mount $1"
  assert_eq "$(cat "/proc/$worker/task"/*/status | grep -c '^Seccomp:.*2')" \
    "$(ls "/proc/$worker/task" | wc -l)" "threads of the worker that are confined $1"
}

say "mounted"
mkdir volumes disks
VOLUME=$SCRATCH/volumes/volume MAIN=$SCRATCH/disks/main.img SPARE=$SCRATCH/disks/spare.img
volume_make 16M 256K
image_mount
! grep -q 'confined' mount.log || fail "not confined: $(cat mount.log)"
confined "at first"

say "bad sectors, a reader of the database, a flush"
inject --sectors 100-107 --on write
noise data 8
sector_write "$IMAGE" 100 8 <data
sector_read "$IMAGE" 100 8 | cmp - data
assert_eq "$(sql 'SELECT sum(sectors) FROM remap')" 8 "remapped sectors"
bounded sync "$IMAGE"

say "a scrub"
worker=$(worker_pid)
bounded remapctl scrub "$VOLUME" start -q --rate 0 --wait
assert_eq "$(worker_pid)" "$worker" "worker after a scrub"

say "a spare in a folder that the worker cannot reach"
mkdir -m 0700 far
bounded remapctl add-spare -q "$VOLUME" "$SCRATCH/far/spare2.img,size=2M"
inject --sectors 1000-1999 --on write
noise more 1000
sector_write "$IMAGE" 1000 1000 <more
sector_read "$IMAGE" 1000 1000 | cmp - more
[ "$(sql 'SELECT count(*) FROM remap WHERE spare_id = 2')" -gt 0 ] || fail "nothing is on the second spare"

say "the next worker is confined to what there is then"
before=$(worker_pid)
if kill -9 "$before" && wait_for 20 eval '[ "$(worker_pid)" != "$before" ] && [ "$(worker_pid)" != null ]' 2>/dev/null; then
  confined "after kill -9"
  sector_read "$IMAGE" 1000 1000 | cmp - more
  bounded remapctl upgrade "$VOLUME" >/dev/null
  confined "after an upgrade"
  sector_write "$IMAGE" 1100 8 <data
  sector_read "$IMAGE" 1100 8 | cmp - data
  image_unmount
else
  say "(this kernel lets no worker be replaced)"
  umount -l "$MNT" 2>/dev/null || :
fi

say "of another user's folder, with a link in place of the socket"
wait_for 20 eval 'flock -n "$VOLUME" true'
touch elsewhere
ln -sf "$SCRATCH/elsewhere" "$VOLUME.sock"
if id nobody >/dev/null 2>&1; then chown -R nobody volumes && chmod 700 volumes; fi
code=0
bounded remapfs "$VOLUME" "$MNT" >mount.log 2>&1 || code=$?
if [ "$code" = 0 ]; then
  assert_eq "$(stat -c '%F %a' "$VOLUME.sock")" "socket 600" "what is at the socket's name"
  image_unmount
else
  grep -q 'in the way' mount.log || fail "mount: $(cat mount.log)"
  rm "$VOLUME.sock"
fi
[ ! -s elsewhere ] || fail "something was written through the link"
chown -R 0:0 volumes
chmod 755 volumes

say "unconfined, where asked for"
image_mount -o unconfined
assert_eq "$(rights "$(worker_pid)" Seccomp)" 0 "seccomp"
assert_eq "$(rights "$(daemon_pid)" Seccomp)" 0 "seccomp of the supervisor"
sector_read "$IMAGE" 1100 8 | cmp - data
image_unmount

say "allow_other: others get in, and no further than the file's mode"
requires runuser
image_mount -o allow_other
bounded runuser -u nobody -- test -e "$IMAGE" || fail "nobody does not see disk.img"
assert_eq "$(stat -c '%U %a' "$IMAGE")" "root 600" "owner and mode of disk.img"
must_fail 'permission denied' bounded runuser -u nobody -- head -c 1 "$IMAGE"
must_fail 'permission denied' bounded runuser -u nobody -- dd if=/dev/zero of="$IMAGE" count=1 conv=notrunc
must_fail 'not permitted|denied' bounded runuser -u nobody -- chmod 666 "$IMAGE"
must_fail 'not permitted|denied' bounded chmod 666 "$IMAGE"
must_fail 'denied|another user' bounded runuser -u nobody -- "$BUILD/remapctl" scrub "$VOLUME"
sector_read "$IMAGE" 1100 8 | cmp - data
image_unmount

say "without allow_other they do not get in"
image_mount
must_fail 'permission denied' bounded runuser -u nobody -- ls "$MNT"
image_unmount

say "a volume of version 1 is brought up to date by mounting it"
VOLUME=$SCRATCH/volumes/older MAIN=$SCRATCH/disks/m.img SPARE=$SCRATCH/disks/s.img
volume_make 16M 2M
cp "$VOLUME" newest
rm "$VOLUME"
bounded sqlite3 "$VOLUME" <"$TESTS/../../schema/1.sql"
bounded sqlite3 "$VOLUME" '.dbconfig enable_trigger off' "ATTACH 'newest' AS n;
  INSERT INTO main.volume SELECT * FROM n.volume;
  INSERT INTO main.spare SELECT id, uuid, added_at, path, \"offset\", length, slots FROM n.spare;
  INSERT INTO main.history SELECT * FROM n.history; PRAGMA user_version = 1"
image_mount
assert_eq "$(sql 'PRAGMA user_version')" "$(bounded sqlite3 newest 'PRAGMA user_version')" "version"
image_unmount
