#!/bin/bash
# After a discard or a zeroing, zeros are read, across good, pending and
# remapped sectors, also after a restart; a discarded pending sector is cured.
. "$(dirname "$0")/lib.sh"
requires root loop jq blkdiscard fallocate fstrim fs:ext4 mkfs.ext4

# The range of each way: sectors 2048 to 4095, of which 2100-2107 have moved,
# 2200-2201 and 2300 are pending, the one on main, the other on a lost slot.
start=2048 count=2048

slot_sector() {
  local slots
  slots=$(sql 'SELECT slots FROM spare WHERE id = 1')
  echo $(((4096 + (slots * 32 + 4095) / 4096 * 4096) / SS + $1))
}

prepare() {
  rm -f "$VOLUME"* "$MAIN" "$SPARE"
  volume_make 20M 4M
  inject --sectors 2100-2107,2300 --on write
  image_mount
  loop_attach
  noise content 8192
  bounded dd if=content of="$R" bs=1M oflag=direct status=none
  inject --sectors 2200 --on read
  inject --sectors 2201 --on read --until-rewritten
  slot=$(sql 'SELECT slot + 2300 - main_sector FROM remap WHERE main_sector <= 2300 AND main_sector + sectors > 2300')
  inject --spare 1 --sectors "$(slot_sector "$slot")" --on read
  for sector in 2200 2201 2300; do
    must_fail 'input/output error' sector_read "$R" "$sector" 1
  done
  assert_eq "$(pending_sectors_list)" "2200 2201 2300" "pending"
  cp content expected
  dd if=/dev/zero of=expected bs="$SS" seek="$start" count="$count" conv=notrunc status=none
}

zeroed() {
  bounded dd if="$IMAGE" of=seen bs=64K count=64 status=none
  assert_same seen expected "$1"
  bounded dd if="$R" of=seen bs=64K count=64 iflag=direct status=none
  assert_same seen expected "$1, on R"
  assert_eq "$(pending_sectors_list)" "" "pending, $1"
}

for way in "blkdiscard" "blkdiscard -z" "fallocate -p" "fallocate -z" "fallocate -z -n"; do
  say "$way"
  prepare
  case $way in
    blkdiscard*) bounded $way -o $((start * SS)) -l $((count * SS)) "$R" ;;
    *) bounded $way -o $((start * SS)) -l $((count * SS)) "$IMAGE" ;;
  esac
  zeroed "after $way"
  assert_eq "$(stat -c %s "$IMAGE")" $((20 << 20)) "size after $way"
  loop_detach
  image_restart
  loop_attach
  zeroed "after $way and a restart"

  # They are sectors like any other afterwards.
  noise again "$count"
  sector_write "$R" "$start" "$count" <again
  sector_read "$R" "$start" "$count" >seen
  assert_same seen again "written after $way"
  loop_detach
  image_unmount
done

say "fallocate at odd offsets"
prepare
bounded fallocate -p -o $((2100 * SS + 100)) -l $((50 * SS + 33)) "$IMAGE"
dd if=/dev/zero of=content bs=1 seek=$((2100 * SS + 100)) count=$((50 * SS + 33)) conv=notrunc status=none
sector_read "$IMAGE" 2048 152 >seen
piece content 2048 152 >part
assert_same seen part "a hole with odd edges"
# Half of sector 2201 cannot be zeroed: the other half is lost.
must_fail 'input/output error' bounded fallocate -z -o $((2201 * SS)) -l 100 "$IMAGE"
must_fail 'input/output error' sector_read "$IMAGE" 2201 1
say "fallocate that would grow or move things is refused"
must_fail 'fallocate' bounded fallocate -l 30M "$IMAGE"
must_fail 'fallocate' bounded fallocate -c -o 4096 -l 4096 "$IMAGE"
assert_eq "$(stat -c %s "$IMAGE")" $((20 << 20)) "size"
loop_detach
image_unmount

say "fstrim"
rm -f "$VOLUME"* "$MAIN" "$SPARE"
volume_make 64M 4M
seq 100 100 131000 >spread
inject --file spread --on write
image_mount
loop_attach
bounded mkfs.ext4 -q -F "$R"
bounded mount "$R" "$FS"
real_tree tree 10
cp -r tree "$FS/kept"
cp -r tree "$FS/gone"
sync -f "$FS"
rm -r "$FS/gone"
sync -f "$FS"
bounded fstrim -v "$FS"
bounded umount "$FS"
loop_detach
image_restart
loop_attach
bounded mount -o ro "$R" "$FS"
diff -r tree "$FS/kept" || fail "the tree differs after fstrim"
bounded umount "$FS"
bounded e2fsck -fn "$R" >check.log 2>&1 || fail "e2fsck: $(cat check.log)"
loop_detach
image_unmount
