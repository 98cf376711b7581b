#!/bin/bash
# Another main of the same size is refused, one that something else wrote to is told
# with the time of the last close, and the right one is never refused: as file, as
# loop device, after kill -9, moved, copied, with bad sectors where it is compared.
. "$(dirname "$0")/lib.sh"
requires root loop mkfs.ext4 jq sqlite3

last_close() {
  sql "SELECT at FROM history WHERE event = 'closed' ORDER BY id DESC LIMIT 1"
}

# mounts WHAT: without a word about main.
mounts() {
  image_mount
  ! grep -i 'written to\|another' "$SCRATCH/mount.log" || fail "$1: mounting told of main"
  image_unmount
}

# refused REGEX WHAT: by mount, check, status and doctor alike, and nothing is changed.
refused() {
  local before
  before=$(sql 'SELECT max(id) FROM history; SELECT * FROM main_identity')
  must_fail "$1" bounded remapfs "$VOLUME" "$MNT"
  must_fail "$1" bounded remapctl check "$VOLUME"
  # Its remedy stands in a line of its own.
  must_fail "${1%.\**set-path*}" bounded remapctl doctor "$VOLUME"
  must_fail "$1" bounded remapctl mark "$VOLUME" --sectors 5
  assert_eq "$(status_of .state)" failed "$2: state"
  status_of .trouble | grep -Eqi -- "$1" || fail "$2: status says '$(status_of .trouble)'"
  assert_eq "$(sql 'SELECT max(id) FROM history; SELECT * FROM main_identity')" "$before" "$2: the database"
}

# told WHAT: by check, doctor, status, mount and history, with the time of the last close,
# until the next close.
told() {
  local at code=0 before
  at=$(last_close)
  before=$(events main_changed)
  bounded remapctl check -n -o FINDING,DETAIL "$VOLUME" >found || code=$?
  assert_eq "$code" 4 "$1: exit code of check"
  grep -q "^main .*$at" found || fail "$1: check said: $(cat found)"
  assert_eq "$(status_of .main.changed_since)" "$at" "$1: status before mounting"
  bounded remapctl doctor "$VOLUME" >found || :
  grep -q "WARN.*main-changed.*$at" found || fail "$1: doctor said: $(cat found)"
  image_mount
  grep -q "was written to by something else.*$at" "$SCRATCH/mount.log" ||
    fail "$1: mount said: $(cat "$SCRATCH/mount.log")"
  assert_eq "$(events main_changed)" $((before + 1)) "$1: main_changed in the history"
  sql "SELECT detail FROM history WHERE event = 'main_changed' ORDER BY id DESC LIMIT 1" | grep -q "$at" ||
    fail "$1: the history does not tell the time"
  assert_eq "$(status_of .main.changed_since)" "$at" "$1: status while mounted"
  bounded remapctl status "$VOLUME" | grep -q "^changed .*$at" || fail "$1: status does not say it"
  image_unmount
  assert_eq "$(status_of .main.changed_since)" null "$1: status after an orderly close"
  bounded remapctl check "$VOLUME" >/dev/null || fail "$1: check after an orderly close: $?"
  mounts "$1, once more"
}

say "a file"
head -c 24M /dev/urandom >"$MAIN"
volume_make 24M 1M
mounts "a new volume"
inject --sectors 100-103 --on write
image_mount
noise content 8
sector_write "$IMAGE" 98 8 <content
image_unmount
mounts "closed in order"

say "another file of the same size in its place"
mv "$MAIN" right.img
head -c 24M /dev/urandom >"$MAIN"
refused 'another disk or file.*other content.*set-path --force --main' "another file"
rm "$MAIN"
truncate -s 24M "$MAIN"
refused 'another disk or file.*other content' "a file with nothing on it"
must_fail 'other content.*--force' bounded remapctl set-path "$VOLUME" --main "$MAIN"
rm "$MAIN"

say "a copy of it, moved or not, with the bad sectors of the old one"
cp right.img "$MAIN"
mounts "a copy in its place"
cp right.img elsewhere.img
bounded remapctl set-path -q "$VOLUME" --main elsewhere.img 2>warned
grep -q 'is a copy of main: that 4 sectors moved and 0 are lost is of the old disk' warned ||
  fail "set-path to a copy said: $(cat warned)"
mounts "a copy elsewhere"
mv elsewhere.img renamed.img
bounded remapctl set-path -q "$VOLUME" --main renamed.img
mounts "renamed"

say "something else writes to it: in the first MiB, and where only its time tells"
printf x | dd of=renamed.img bs=1 seek=300000 conv=notrunc status=none
told "a byte in the first MiB"
printf x | dd of=renamed.img bs=1 seek=$((5 * 1024 * 1024 + 333 * 1024)) conv=notrunc status=none
told "a byte anywhere"

say "--force takes another one, and that is recorded"
head -c 24M /dev/urandom >other.img
must_fail 'other content.*set-path --force' bounded remapctl set-path "$VOLUME" --main other.img
bounded remapctl set-path -q --force "$VOLUME" --main other.img
sql "SELECT detail FROM history WHERE event = 'path_changed' ORDER BY id DESC LIMIT 1" | grep -q 'by --force' ||
  fail "the history does not tell of --force"
bounded remapctl check "$VOLUME" >/dev/null || fail "check of a main that was forced: $?"
mounts "a main that was forced"
cp other.img same-path && mv same-path other.img && printf x | dd of=other.img conv=notrunc status=none
refused 'another disk or file' "another one under the same path"
bounded remapctl set-path -q --force "$VOLUME" --main other.img
mounts "forced under the same path"

say "after kill -9 the right one is served, changed or not, and another one is not"
image_mount
sector_write "$IMAGE" 500 8 <content
kill_daemon
bounded fusermount3 -u "$MNT"
image_mount
! grep -i 'written to' "$SCRATCH/mount.log" || fail "after kill -9 it is told that main was written to"
kill_daemon
bounded fusermount3 -u "$MNT"
cp other.img copy.img && mv copy.img other.img
refused 'not closed in order.*cannot be compared.*set-path --force' "another file after kill -9"
must_fail 'not closed in order.*--force' bounded remapctl set-path "$VOLUME" --main other.img
bounded remapctl set-path -q --force "$VOLUME" --main other.img
mounts "after kill -9 and --force"

say "bad sectors where it is compared: pending, moved, and found by nobody yet"
inject --sectors 0-1 --on both
inject --sectors 200-201 --on read
image_mount
must_fail 'input/output' sector_read "$IMAGE" 200 2
sector_write "$IMAGE" 0 1 <content
image_unmount
bounded remapctl inject "$VOLUME" clear >/dev/null
mounts "with bad sectors"
noise junk 1
dd if=junk of=other.img bs=512 seek=0 conv=notrunc status=none
touch -d '2001-01-01' other.img
mounts "what is behind a sector that moved is of no matter"

say "read-only, and a database of version 3"
image_mount -o ro
image_unmount
printf x | dd of=other.img bs=1 seek=300000 conv=notrunc status=none
at=$(last_close)
image_mount -o ro
grep -q "was written to by something else.*$at" "$SCRATCH/mount.log" || fail "-o ro did not tell"
image_unmount
mounts "after -o ro"
sql "DELETE FROM main_identity; DELETE FROM main_place"
mounts "a volume that knows nothing of its main"
assert_eq "$(sql 'SELECT count(*) FROM main_identity')" 1 "what it learned"

say "a rebuild takes what it is given, and knows it from then on"
rm "$VOLUME"
bounded remapctl rebuild "$VOLUME" --main other.img --spare "$SPARE" >/dev/null
assert_eq "$(sql 'SELECT count(file) FROM main_identity')" 1 "identity after a rebuild"
mounts "after a rebuild"

say "a loop device, which has no number: another one, and a file system mounted past remapfs"
rm "$VOLUME" "$SPARE"
MAIN=$SCRATCH/disk
for disk in a b; do
  truncate -s 320M $disk
  mkfs.ext4 -q $disk
done
a=$(losetup --find --show a)
b=$(losetup --find --show b)
ln -s "$a" "$MAIN"
BOUND=120 bounded remapctl create -q "$VOLUME" --main "$MAIN" --spare "$SPARE,size=1M"
mounts "a loop device"
ln -sfn "$b" "$MAIN"
refused 'another disk or file.*other content' "another loop device"
losetup -d "$a" "$b"
b=$(losetup --find --show a)
ln -sfn "$b" "$MAIN"
mounts "the same file on another loop device"
for fs in ext4 xfs btrfs vfat f2fs; do
  command -v "mkfs.$fs" >/dev/null || continue
  modprobe -q $fs 2>/dev/null || :
  grep -qw $fs /proc/filesystems || continue
  case $fs in
    vfat) options=-I ;;
    ext4) options=-Fq ;;
    *) options=-fq ;;
  esac
  mkfs.$fs $options "$b" >/dev/null 2>&1
  told "mkfs.$fs past remapfs"
  bounded mount -t $fs "$b" "$FS" || continue
  echo x >"$FS/file"
  bounded umount "$FS"
  told "$fs mounted past remapfs"
done
printf 'label: gpt\nstart=2048,size=200000\nstart=204800,size=200000\n' | sfdisk -q --no-reread "$b" >/dev/null 2>&1
told "a partition table"
second=$(losetup --find --show --offset $((204800 * 512)) --sizelimit $((200000 * 512)) "$b")
mkfs.ext4 -Fq "$second"
losetup -d "$second"
told "a file system made on the second partition"
losetup -d "$b"
