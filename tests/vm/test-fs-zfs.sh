#!/bin/bash
# ZFS on a disk whose sectors the kernel makes fail, in a pool by itself and as half of
# a mirror: scenarios 1, 6, 8, 15, 18 and 21.
LIMIT=200
. "$(dirname "$0")/lib.sh"
. "$TESTS/scenario.sh"
requires root loop jq dmsetup
ZFS=$VM_KERNEL/zfs
[ -e "$ZFS/done" ] || skip "no ZFS (see fetch-zfs)"
export PATH=$ZFS/sbin:$PATH LD_LIBRARY_PATH=$ZFS/lib/x86_64-linux-gnu
module zfs zfs_arc_max=$((128 << 20)) zfs_txg_timeout=2

# make_pool VDEV...: errors are told to who writes, instead of making him wait.
make_pool() {
  BOUND=120 bounded zpool create -f -o cachefile=none -o failmode=continue -o ashift="$ASHIFT" \
    -O compression=off -m "$FS" pool "$@" || fail "zpool create"
}

leave_pool() {
  BOUND=120 bounded zpool export pool || fail "zpool export"
}

# What the pool holds is there after a restart of remapfs, too.
assert_kept() {
  leave_pool
  loop_detach
  image_restart
  loop_attach
  BOUND=120 bounded zpool import -d "$R" -o cachefile=none pool || fail "zpool import"
  same_tree zfs
}

assert_pool_clean() {
  BOUND=300 bounded zpool scrub -w pool || fail "zpool scrub"
  zpool status -p pool >"$SCRATCH/pool"
  assert_eq "$(awk '$2 ~ /^[A-Z]+$/ && NF == 5 && $1 != "NAME" { print $2, $3, $4, $5 }' "$SCRATCH/pool" | sort -u)" \
    "ONLINE 0 0 0" "the pool's devices: $(cat "$SCRATCH/pool")"
  grep -q 'errors: No known data errors' "$SCRATCH/pool" || fail "$(cat "$SCRATCH/pool")"
}

SECTORS=$((320 * 2048)) ASHIFT=9 SS=512
ram_disk 320
{ seq 0 8 64; seq 1000 4000 "$SECTORS"; } | sort -nu >"$SCRATCH/bad"
# shellcheck disable=SC2046 # a list of sectors
read_only_sectors main "$RAM_DISK" $(cat "$SCRATCH/bad")
table=$(dmsetup table main)
real_tree "$SCRATCH/tree" 8
tree_sums "$SCRATCH/tree" >"$SCRATCH/sums"

say "the bare disk: ZFS counts errors, or gives up"
if zpool create -f -o cachefile=none -o failmode=continue -o ashift=9 -m "$FS" bare /dev/mapper/main \
  2>"$SCRATCH/bare"; then
  dd if=/dev/urandom of="$FS/x" bs=1M count=40 conv=fsync status=none 2>"$SCRATCH/bare" || :
  zpool status -p bare >"$SCRATCH/bare"
  awk '$1 == "main" && $4 == 0 { exit 1 }' "$SCRATCH/bare" || fail "no error on the bare disk: $(cat "$SCRATCH/bare")"
  bounded zpool clear bare || :
  bounded zpool destroy -f bare || fail "zpool destroy"
fi
cat "$SCRATCH/bare"

say "1, 6: a pool on R, a tree copied while sectors die"
volume_over /dev/mapper/main 16M
loop_attach
make_pool "$R"
dying 5 &
DYING=$!
BOUND=300 bounded cp -r "$SCRATCH/tree" "$FS/"
BOUND=120 bounded zpool sync pool
wait "$DYING" || fail "dmsetup under load"

say "8: zpool scrub"
assert_pool_clean
assert_kept
assert_moved

say "18: zpool trim ($moved sectors remapped so far)"
find "$FS/tree" -name "*.p[lm]" -delete
tree_sums "$FS/tree" >"$SCRATCH/sums"
BOUND=300 bounded zpool trim -w pool || fail "zpool trim"
same_tree zfs
assert_pool_clean

say "8: a mirror of R and a file of another disk"
truncate -s 320M "$SCRATCH/half"
HALF=$(losetup -f --show "$SCRATCH/half")
BOUND=300 bounded zpool attach -w pool "$R" "$HALF" || fail "zpool attach"
assert_pool_clean

say "sectors of R are lost: EIO, which ZFS heals from the other half; the write moves them"
lost=$(awk -v end="$SECTORS" '$1 > 40000 && $1 < end - 2000 && n++ % 4 == 0 { for (i = 20; i < 1500; i += 8) print $1 + i }' \
  <(seq 1000 8000 "$SECTORS"))
# shellcheck disable=SC2086 # a list of sectors
dm_table "$RAM_DISK" error $lost | dm_make holes
echo "0 $SECTORS delay /dev/mapper/holes 0 0 /dev/mapper/holes 0 0 $RAM_DISK 0 0" | dm_change main
echo 3 >/proc/sys/vm/drop_caches
BOUND=300 bounded zpool scrub -w pool || fail "zpool scrub"
grep -q 'with 0 errors' <(zpool status pool) || fail "scrub: $(zpool status pool)"
[ "$(events remapped)" -gt 0 ] || fail "nothing was remapped"
moved_now=$(status_of .remapped_sectors)
[ "$moved_now" -gt "$moved" ] || fail "no lost sector moved"
# One read for several blocks also takes what lies between them, which is still lost
# where nobody owns it: without that, what ZFS owns is in order.
echo 0 >/sys/module/zfs/parameters/zfs_vdev_read_gap_limit
bounded zpool clear pool
assert_pool_clean
same_tree zfs
say "$((moved_now - moved)) lost sectors were healed on to the spare"
# Those that nobody owned may be written, and move, at any time from now on.
# shellcheck disable=SC2086 # a list of sectors
printf '%s\n' $lost >>"$SCRATCH/bad"

say "15: main disappears under load; the mirror goes on; it comes back, and is resilvered"
(
  trap - ERR
  for n in $(seq 40); do
    dd if=/dev/urandom of="$FS/load$n" bs=64k count=8 conv=fsync status=none || exit 1
  done
) &
LOAD=$!
sleep 1
echo "0 $SECTORS error" | dm_change main
BOUND=300 wait_for 300 process_ended "$LOAD" || fail "the load hangs"
wait "$LOAD" || fail "the load met an error"
assert_bad_moved "sectors that moved because the disk was gone"
[ "$(events device_failed)" -ge 1 ] || fail "no device_failed in the history"
bounded zpool offline pool "$R" || fail "zpool offline"
loop_detach
dm_change main <<<"$table"
image_restart
loop_attach
bounded zpool online pool "$R" || bounded zpool replace pool "$R" || fail "zpool online"
BOUND=300 bounded zpool wait -t resilver pool || fail "zpool wait"
bounded zpool clear pool
assert_pool_clean
same_tree zfs
leave_pool
loop_detach
losetup -d "$HALF"
image_unmount
rm -f "$VOLUME"* "$SPARE" "$SCRATCH/half"

say "21: sectors of 4096 bytes"
ASHIFT=12
volume_over /dev/mapper/main 16M 4096
loop_attach
make_pool "$R"
BOUND=300 bounded cp -r "$SCRATCH/tree" "$FS/"
tree_sums "$SCRATCH/tree" >"$SCRATCH/sums"
assert_pool_clean
assert_kept
[ "$(status_of .remapped_sectors)" -gt 0 ] || fail "no sector moved"
leave_pool
loop_detach
image_unmount
