#!/bin/bash
# disk.img is a file of fixed size that behaves as a block device does.
. "$(dirname "$0")/lib.sh"
requires jq xfs_io fallocate

size=$((8 << 20))
volume_make 8M 1M
# Two sectors fail, so that odd writes also meet sectors that have moved.
inject --sectors 40,41,9001 --on write
image_mount
cp "$MAIN" shadow
assert_eq "$(stat -c %s shadow)" "$size" "size of main"

say "size, type, statfs"
assert_eq "$(stat -c '%s %F' "$IMAGE")" "$size regular file" "disk.img"
assert_eq "$(ls -A "$MNT")" disk.img "files in the mount"
assert_eq "$(stat -f -c '%S' "$MNT")" 512 "fundamental block size"
must_fail '' bounded mkdir "$MNT/directory"
must_fail '' bounded touch "$MNT/file"
must_fail '' bounded rm -f "$IMAGE"
must_fail '' bounded mv "$IMAGE" "$MNT/other"
must_fail '' bounded cat "$MNT/other"
case $(awk -v m="$MNT" '$5 == m { for (i = 7; $i != "-"; i++); print $(i + 1), $(i + 2) }' /proc/self/mountinfo) in
  "fuse.remapfs remapfs:"*) ;;
  *) fail "mount type: $(grep "$MNT" /proc/self/mountinfo)" ;;
esac

say "dd, with and without conv=notrunc"
head -c "$size" /dev/urandom >content
bounded dd if=content of="$IMAGE" bs=1M status=none
assert_eq "$(stat -c %s "$IMAGE")" "$size" "size after dd"
bounded cmp content "$IMAGE" || fail "dd"
cp content shadow
head -c 1000 /dev/urandom >small
bounded dd if=small of="$IMAGE" bs=1M status=none # O_TRUNC: the rest stays
dd if=small of=shadow bs=1M conv=notrunc status=none
assert_eq "$(stat -c %s "$IMAGE")" "$size" "size after a small dd"
bounded cmp shadow "$IMAGE" || fail "small dd"
bounded dd if=small of="$IMAGE" bs=1M conv=notrunc,fsync status=none
cat small >"$IMAGE"
bounded cmp shadow "$IMAGE" || fail "redirection"

say "truncate is refused"
must_fail '' bounded truncate -s 1M "$IMAGE"
must_fail '' bounded truncate -s 16M "$IMAGE"
assert_eq "$(stat -c %s "$IMAGE")" "$size" "size after truncate"
bounded cmp shadow "$IMAGE" || fail "truncate"

say "any offset, any length"
# both OFFSET LENGTH: writes and reads both files, the image at odd times.
both() {
  dd if=/dev/urandom bs="$2" count=1 iflag=fullblock status=none >piece
  bounded dd if=piece of="$IMAGE" bs="$2" seek="$1" oflag=seek_bytes conv=notrunc status=none
  dd if=piece of=shadow bs="$2" seek="$1" oflag=seek_bytes conv=notrunc status=none
  bounded dd if="$IMAGE" bs="$2" count=1 skip="$1" iflag=skip_bytes status=none >seen
  assert_same seen piece "$2 bytes at $1"
}
for offset in 0 1 511 512 513 4095 4096 4097 20479 20480 20481 20991 21000 21503 21504 4608000 \
  4608100 4608512; do
  for length in 1 3 511 512 513 1024 4095 4096 4097 70000; do
    both "$offset" "$length"
  done
done
RANDOM=1
for ((i = 0; i < 200; i++)); do
  length=$((RANDOM % 9000 + 1))
  both $(((RANDOM * 32768 + RANDOM) % (size - length))) "$length"
done
bounded cmp shadow "$IMAGE" || fail "odd writes"
assert_eq "$(remapped_sectors_list)" "40 41 9001" "remapped by odd writes"

say "the end"
bounded dd if="$IMAGE" bs=4096 skip=$((size - 100)) iflag=skip_bytes status=none >seen
assert_same seen <(tail -c 100 shadow) "the last 100 bytes"
bounded dd if="$IMAGE" bs=4096 count=1 skip="$size" iflag=skip_bytes status=none >seen
assert_eq "$(stat -c %s seen)" 0 "bytes read at the end"
must_fail 'no space left' bounded dd if=content of="$IMAGE" bs=512 count=1 seek="$size" \
  oflag=seek_bytes conv=notrunc
must_fail 'no space left' bounded dd if=content of="$IMAGE" bs=4096 count=1 seek=$((size - 512)) \
  oflag=seek_bytes conv=notrunc
must_fail 'no space left' bounded dd if=content of="$IMAGE" bs=1M seek=1 conv=notrunc
dd if=content of=shadow bs=1M seek=1 count=7 conv=notrunc status=none
# What fitted before the end is written, as on a block device.
dd if=content of=shadow bs=512 count=1 seek=$((size - 512)) oflag=seek_bytes conv=notrunc status=none
dd if=content of=shadow bs=1M seek=7 skip=6 count=1 conv=notrunc status=none
bounded cmp shadow "$IMAGE" || fail "writes at the end"
assert_eq "$(stat -c %s "$IMAGE")" "$size" "size after writes at the end"

say "holes"
bounded fallocate -p -o $((1 << 20)) -l $((2 << 20)) "$IMAGE"
dd if=/dev/zero of=shadow bs=1M seek=1 count=2 conv=notrunc status=none
bounded cmp shadow "$IMAGE" || fail "punched hole"
# Whoever trusts lseek to skip holes must not lose data.
bounded cp --sparse=auto "$IMAGE" sparse
assert_same sparse shadow "copied by SEEK_DATA"
seek() { # -d (data) or -h (hole), OFFSET
  bounded xfs_io -r -c "seek $1 $2" "$IMAGE" | awk '/^(DATA|HOLE)/ { print $2 }' | tail -1
}
assert_eq "$(seek -d 0)" 0 "first data"
data=$(seek -d $((1 << 20))) hole=$(seek -h 0)
say "hole at $hole, data again at $data"
[ "$data" -ge $((1 << 20)) ] && [ "$data" -le $((3 << 20)) ] || fail "data after the hole: $data"
[ "$hole" -ge $((1 << 20)) ] && [ "$hole" -le "$size" ] || fail "first hole: $hole"
assert_eq "$(seek -d "$size")" EOF "data at the end"

say "fsync, syncfs, flock"
bounded xfs_io -c fsync -c fdatasync -c syncfs "$IMAGE"
bounded flock -n "$IMAGE" true

say "read-only"
image_restart -o ro
bounded cmp shadow "$IMAGE" || fail "read-only contents"
must_fail 'read-only|permission denied' bounded dd if=small of="$IMAGE" conv=notrunc
must_fail 'read-only|permission denied|fallocate' bounded fallocate -p -o 0 -l 4096 "$IMAGE"
image_restart
bounded cmp shadow "$IMAGE" || fail "contents in the end"
assert_eq "$(remapped_sectors_list)" "40 41 9001" "remapped in the end"
image_unmount
