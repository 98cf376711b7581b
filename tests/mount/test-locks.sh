#!/bin/bash
# Contract 8: nothing that is in use is used a second time: a volume, a copy of
# it, its parts, a mounted disk, a file that a loop device has. Each refusal
# names the reason, and changes nothing.
. "$(dirname "$0")/lib.sh"
requires root loop jq flock mkfs.ext4

volume_make 16M 2M
inject --sectors 1000-1007 --on write
image_mount
noise data 8
sector_write "$IMAGE" 1000 8 <data
mkdir second

# refused REGEX COMMAND...: in one line, and the first daemon is none the worse.
refused() {
  local regex=$1
  shift
  must_fail "$regex" bounded "$@"
  say "$(tail -n 1 said)"
  assert_eq "$(wc -l <said)" 1 "lines of the refusal ($(cat said))"
  sector_read "$IMAGE" 1000 8 | cmp - data || fail "the first daemon does not serve any more"
}

unchanged() {
  assert_eq "$(remapped_sectors_list)" "$(seq -s ' ' 1000 1007)" "remapped"
  assert_eq "$(events opened)" 1 "daemons that opened it"
}

say "while it is mounted"
refused 'is mounted already|in use by another remapfs' remapfs "$VOLUME" second
ln -s "$VOLUME" link
refused 'is mounted already|in use by another remapfs' remapfs link second
ln "$VOLUME" hard
refused 'is mounted already|in use by another remapfs' remapfs hard second
rm link hard
cp "$VOLUME" copy
cp "$VOLUME-wal" copy-wal
refused "main '.*' is in use by another remapfs" remapfs copy second
rm -f copy copy-wal copy-shm
cp "$VOLUME" copy
cp "$VOLUME-wal" copy-wal
# Also when main alone is another one: the spare is held as well.
cp "$MAIN" other.img
bounded sqlite3 copy "UPDATE volume SET main_path = '$SCRATCH/other.img'"
refused "spare '.*' is in use by another remapfs" remapfs copy second
rm -f copy copy-* other.img
refused "main '.*' is in use" remapctl create -q two --main "$MAIN" --spare two.spare,size=2M
refused "spare '.*' is in use" remapctl create -q two --main two.img,size=16M --spare "$SPARE"
refused "is in use|belongs to" remapctl create -q two --main "$SPARE" --spare two.spare,size=2M
refused 'exists' remapctl create -q "$VOLUME" --main two.img,size=16M --spare two.spare,size=2M
refused 'in use' remapctl rebuild -q two --main "$MAIN" --spare "$SPARE"
[ ! -e two ] && [ ! -e two.img ] && [ ! -e two.spare ] || fail "left behind: $(ls two*)"
unchanged
image_unmount

say "a loop device that is attached to main"
device=$(losetup -f --show "$MAIN")
must_fail "in use by $device; detach it first" bounded remapfs "$VOLUME" "$MNT"
losetup -d "$device"

say "main and spare that carry a mounted file system"
truncate -s 16M disk
mkfs.ext4 -q disk
device=$(losetup -f --show disk)
bounded mount "$device" "$FS"
must_fail "main '$device' is in use \(mounted" bounded remapctl create -q two --main "$device" \
  --spare two.spare,size=2M
must_fail "spare '$device' is in use \(mounted" bounded remapctl create -q two \
  --main two.img,size=16M --spare "$device" --force
must_fail "spare '$device.*' is in use \(mounted" bounded remapctl create -q two \
  --main two.img,size=16M --spare "$device,offset=4M,length=2M" --force
bounded umount "$FS"
bounded remapctl create -q two --main "$device" --spare two.spare,size=2M
bounded mount "$device" "$FS"
must_fail "main '$device' is in use \(mounted" bounded remapfs two second
bounded umount "$FS"
bounded remapfs two second >/dev/null 2>&1
must_fail 'busy|already mounted|in use' bounded mount "$device" "$FS"
bounded fusermount3 -u second
wait_for 20 eval '[ ! -e two.sock ]'
wait_for 20 flock -n two true || fail "the daemon of two does not end"
losetup -d "$device"

image_mount
sector_read "$IMAGE" 1000 8 | cmp - data || fail "after all of that"

say "a spare of the volume inside itself"
loop_attach
mkfs.ext4 -q "$R"
bounded mount "$R" "$FS"
truncate -s 4M "$FS/file"
device=$(losetup -f --show "$FS/file")
for spare in "$FS/spare,size=2M" "$FS/file" "$device" "$R" "$IMAGE"; do
  must_fail "is on the disk.img of this volume" bounded remapctl add-spare --force "$VOLUME" "$spare"
done
[ ! -e "$FS/spare" ] || fail "it was made all the same"
losetup -d "$device"
bounded umount "$FS"
loop_detach
image_unmount
