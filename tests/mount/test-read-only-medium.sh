#!/bin/bash
# A volume of which something cannot be written is mounted with -o ro: every byte is what
# it was, lost sectors are errors, all commands find the daemon, and nothing is written.
. "$(dirname "$0")/lib.sh"
requires root loop mkfs.ext4 sqlite3 jq

mkdir medium
V=$SCRATCH/medium/v

sum() {
  sha256sum <"$1"
}

# medium_mount: the image as a device that is write-protected, on medium.
medium_mount() {
  medium=$(losetup --find --show --read-only medium.img)
  mount -o ro,noload "$medium" medium
  before=$(sum medium.img)
}

medium_unmount() {
  umount medium
  losetup -d "$medium"
  assert_eq "$(sum medium.img)" "$before" "the medium $1"
}

end_of() { # VOLUME
  local pid
  pid=$(bounded remapctl status -J "$1" | jq .daemon.pid)
  wait_for 10 try_unmount "$MNT" || fail "fusermount3 -u: $(cat unmount.log)"
  wait_for 30 process_ended "$pid" || {
    threads_of "$pid" >&2
    fail "remapfs ($pid) does not end"
  }
}

# serves VOLUME WHEN: what it is known to hold, with the lost sectors as errors.
serves() {
  bounded remapfs -o ro "$1" "$MNT" >mount.log 2>&1 </dev/null || fail "mount $2: $(cat mount.log)"
  bounded remapctl status -J "$1" >status.json || :
  assert_eq "$(jq -c '[.daemon.running, .daemon.read_only, .remapped_sectors, .pending_sectors]' status.json)" \
    '[true,true,100,8]' "status $2"
  must_fail 'input/output error' sector_read "$IMAGE" 3000 8
  sector_read "$IMAGE" 0 3000 | cmp - <(piece whole 0 3000) || fail "the first sectors $2"
  sector_read "$IMAGE" 3008 5184 | cmp - <(piece whole 3008 5184) || fail "the last sectors $2"
  must_fail 'read-only' bounded dd if=whole of="$IMAGE" bs=512 count=1 conv=notrunc status=none
}

# fill VOLUME MAIN SPARE: stays mounted.
fill() {
  bounded remapctl create -q "$1" --main "$2,size=4M" --spare "$3,size=128K"
  bounded remapctl inject "$1" add --sectors 1000-1099 --on write >injected
  bounded remapctl inject "$1" add --sectors 3000-3007 --on read >injected
  bounded remapfs "$1" "$MNT"
  bounded dd if=whole of="$IMAGE" bs=1M oflag=direct conv=notrunc,fsync status=none
  must_fail 'input/output error' sector_read "$IMAGE" 3000 8
}

say "a volume with sectors that moved and that are lost"
truncate -s 32M medium.img
mkfs.ext4 -q medium.img
mount -o loop medium.img medium
noise whole 8192
mkdir there
W=$SCRATCH/there/v
fill "$W" there/main medium/spare.2
end_of "$W"
bounded remapctl inject "$W" clear >injected
fill "$V" medium/main medium/spare
# What a crash leaves is a copy of what is there while it is in use.
sync
mkdir crashed
cp medium/{v,v-wal,v-shm,main,spare} crashed/
end_of "$V"
bounded remapctl inject "$V" clear >injected
umount medium

say "on a device that is write-protected"
medium_mount
serves "$V" "after an orderly end"
for command in status list pending history map doctor health metrics; do
  bounded remapctl "$command" "$V" >said 2>&1 || [ "$(cut -d' ' -f1 <<<"$command")" != list ] ||
    fail "$command says: $(cat said)"
done
must_fail 'mounted already' bounded remapfs -o ro "$V" "$MNT"
bounded remapctl attach "$V" >attach.log 2>&1 || fail "attach says: $(cat attach.log)"
device=$(grep -o '/dev/loop[0-9]*' attach.log | head -1)
sector_read "$device" 1000 100 | cmp - <(piece whole 1000 100) || fail "the loop device"
bounded remapctl detach "$V" >detach.log 2>&1 || fail "detach says: $(cat detach.log)"
kill -9 "$(jq .daemon.worker_pid status.json)"
sector_read "$IMAGE" 1000 100 | cmp - <(piece whole 1000 100) || fail "the next worker"
end_of "$V"
assert_eq "$(bounded remapctl status -J "$V" | jq .daemon.running)" false "status afterwards"
must_fail 'read-only' bounded remapfs "$V" "$MNT"
medium_unmount "after an orderly end"

say "a crash: a log, and spares that have to be compared"
mount -o loop medium.img medium
cp crashed/* medium/
umount medium
medium_mount
serves "$V" "after a crash"
end_of "$V"
medium_unmount "after a crash"

say "only the spare cannot be written"
medium_mount
must_fail 'spare .*is read-only' bounded remapfs "$W" "$MNT"
here=$(sum there/v)$(sum there/main)
serves "$W" "with a spare that cannot be written"
end_of "$W"
assert_eq "$(sum there/v)$(sum there/main)" "$here" "database and main"
serves "$W" "once more"
must_fail 'EROFS|read-only' bounded remapctl inject "$W" add --sectors 1 --on read
end_of "$W"
medium_unmount "as the spare"
