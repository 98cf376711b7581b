#!/bin/bash
# Scenario 15: main disappears under load and comes back. EIO meanwhile, no
# sector is moved or given up for it, it is recorded, and what was acknowledged
# is there afterwards.
#
# By real means: a loop device whose size the kernel cuts under its users, which
# then read 0 bytes and write with ENOSPC as from a SCSI disk that was removed;
# and one whose backing file dies, which answers everything with EIO.
. "$(dirname "$0")/lib.sh"
requires root loop jq perl setsid

BLOCKS=8 # of 4 KiB, for each of the four writers

# limit LOOP BYTES: LOOP_SET_STATUS64 on a device that is in use; 0: no limit.
limit() {
  perl -e 'open(my $f, "+<", $ARGV[0]) or die "$!"; my $info = "\0" x 232;
    ioctl($f, 0x4C05, $info) or die "$!"; substr($info, 32, 8) = pack("Q", $ARGV[1]);
    ioctl($f, 0x4C04, $info) or die "$!"' "$1" "$2"
}

# content WRITER BLOCK NUMBER: the 4 KiB that it then holds.
content() {
  printf '%-4095s\n' "writer $1 block $2 number $3"
}

# writer NUMBER: block after block, each with a new number, until there is "stop".
# What became of each is a line "block number ok" or "… error".
writer() {
  local n block result
  for ((n = 1; ; n++)); do
    [ ! -e stop ] || break
    block=$((n % BLOCKS))
    result=ok
    content "$1" "$block" "$n" | dd of="$IMAGE" bs=4k count=1 seek=$(($1 * BLOCKS + block)) \
      oflag=direct conv=notrunc iflag=fullblock status=none 2>/dev/null || result=error
    echo "$block $n $result" >>"did.$1"
    sleep 0.02
  done
}

writers_start() {
  local i
  rm -f stop did.*
  writers=()
  for i in 0 1 2 3; do
    (trap - ERR; writer "$i") &
    writers+=($!)
  done
}

writers_stop() {
  local i
  touch stop
  for i in "${writers[@]}"; do
    wait "$i" || fail "a writer ended badly"
  done
}

# Every block holds what was acknowledged last, or what was refused after that.
all_is_there() {
  local i block n seen
  for i in 0 1 2 3; do
    for ((block = 0; block < BLOCKS; block++)); do
      n=$(awk -v b="$block" '$1 == b && $3 == "ok" { n = $2 } END { print n + 0 }' "did.$i")
      [ "$n" != 0 ] || continue
      seen=$(bounded dd if="$IMAGE" bs=4k count=1 skip=$((i * BLOCKS + block)) iflag=direct \
        status=none | head -c 100 | xargs) || fail "block $block of writer $i cannot be read $1"
      [ "$seen" = "writer $i block $block number $n" ] ||
        awk -v b="$block" -v n="$n" -v seen="$seen" '$1 == b && $2 > n && $3 == "error" &&
          seen ~ " number " $2 "$" { found = 1 } END { exit !found }' "did.$i" ||
        fail "block $block of writer $i holds '$seen', not number $n, $1"
    done
  done
}

results() { # RESULT: how many so far
  cat did.* 2>/dev/null | grep -c "$1\$" || :
}

more_than() { # RESULT COUNT
  [ "$(results "$1")" -gt "$2" ]
}

nothing_was_taken_for_bad() {
  assert_eq "$(remapped_sectors_list)" "20000 20001" "remapped $1"
  assert_eq "$(pending_sectors_list)" "" "pending $1"
}

kept_sectors() {
  sector_read "$IMAGE" 20000 2 | cmp - kept || fail "what lives on the spare $1"
}

say "a block device that is removed and comes back, under load"
truncate -s 16M disk
# It is attached again later, so it must be one that no other test finds free.
number=$((100 + $$ % 900))
until losetup --direct-io=on "/dev/loop$number" disk 2>losetup.log; do
  number=$((number + 1))
  [ "$number" -lt 2000 ] || fail "no loop device: $(cat losetup.log)"
done
device=/dev/loop$number
bounded remapctl create -q "$VOLUME" --main "$device" --spare "$SPARE,size=2M"
inject --sectors 20000,20001 --on write
image_mount
noise kept 2
sector_write "$IMAGE" 20000 2 <kept
writers_start
wait_for 60 more_than ok 80 || fail "the writers write nothing"
limit "$device" 512
assert_eq "$(blockdev --getsize64 "$device")" 512 "size of what is gone"
wait_for 60 more_than error 10 || fail "no error while main is gone"
assert_eq "$(status_of .state)" failed "state while main is gone"
assert_eq "$(status_of .daemon.main_failed)" true "main_failed"
status_of .trouble
must_fail 'input/output error' sector_read "$IMAGE" 12000 8
must_fail 'input/output error' sector_read "$IMAGE" 12000 1
kept_sectors "while main is gone"
errors=$(results error)
sleep 1
limit "$device" 0
wait_for 60 more_than ok "$(($(results ok) + 80))" || fail "main is back and nothing is written"
say "$(results ok) writes acknowledged, $(results error) failed ($errors when it came back)"
writers_stop
# Nobody has read from it yet.
sector_read "$IMAGE" 12000 8 >/dev/null
assert_eq "$(status_of .state)" ok "state when it is back"
nothing_was_taken_for_bad "when it is back"
all_is_there "without a restart"
[ "$(events device_failed)" -ge 1 ] && [ "$(events device_works)" -ge 1 ] || fail "history: $(sql \
  "SELECT event FROM history")"
image_restart
all_is_there "after a restart"
nothing_was_taken_for_bad "after a restart"
image_unmount
losetup -d "$device"

say "a block device that dies for good under load, and is there again later"
bounded remapctl create -q lower --main lower.img,size=16M --spare lower.spare,size=1M
mkdir lower.mnt
lower_up() {
  bounded remapfs lower lower.mnt >lower.log 2>&1 </dev/null || fail "lower: $(cat lower.log)"
  bounded losetup --direct-io=on "$device" lower.mnt/disk.img
}
lower_up
rm -f "$VOLUME"* "$SPARE"
bounded remapctl create -q "$VOLUME" --main "$device" --spare "$SPARE,size=2M"
inject --sectors 20000,20001 --on write
image_mount
sector_write "$IMAGE" 20000 2 <kept
writers_start
wait_for 60 more_than ok 80 || fail "the writers write nothing"
bounded remapctl status lower --json >lower.json
kill -9 "$(jq .daemon.pid lower.json)" "$(jq .daemon.worker_pid lower.json)"
wait_for 60 more_than error 10 || fail "no error while main is dead"
writers_stop
say "$(results ok) writes acknowledged, $(results error) failed"
assert_eq "$(status_of .daemon.main_failed)" true "main_failed when it is dead"
must_fail 'input/output error' sector_read "$IMAGE" 12000 1
kept_sectors "while main is dead"
nothing_was_taken_for_bad "while main is dead"
pid=$(daemon_pid)
bounded fusermount3 -u "$MNT"
wait_for 30 process_ended "$pid" || fail "remapfs does not end without main"
[ "$(events device_failed)" -ge 1 ] || fail "history says nothing"
losetup -d "$device"
bounded umount -l lower.mnt
must_fail 'main.*(cannot|has 0 bytes|bytes)' bounded remapfs "$VOLUME" "$MNT"
lower_up
image_mount
all_is_there "after a restart with main back"
nothing_was_taken_for_bad "after a restart with main back"
kept_sectors "after a restart with main back"
image_unmount
losetup -d "$device"
bounded fusermount3 -u lower.mnt
# LOOP_CTL_REMOVE
perl -e 'open(my $f, "+<", "/dev/loop-control"); ioctl($f, 0x4C81, $ARGV[0] + 0)' "${device#/dev/loop}" || :

say "a file that is cut short: no write makes it longer again"
VOLUME=$SCRATCH/cut MAIN=$SCRATCH/cut.img SPARE=$SCRATCH/cut.spare
volume_make 16M 1M
image_mount
noise kept 8
sector_write "$IMAGE" 20000 8 <kept
truncate -s 8M "$MAIN"
for sector in 30000 100 32760; do
  must_fail 'input/output error' sector_write "$IMAGE" "$sector" 8 <kept
done
must_fail 'input/output error|no such device' bounded fallocate -p -o 12M -l 64K "$IMAGE"
must_fail 'error' bounded sync "$IMAGE"
must_fail 'input/output error' sector_read "$IMAGE" 20000 8
assert_eq "$(stat -c %s "$MAIN")" $((8 << 20)) "size of main"
assert_eq "$(status_of .state)" failed "state"
say "nor are zeros served where it is made longer from outside"
truncate -s 16M "$MAIN"
must_fail 'input/output error' sector_read "$IMAGE" 20000 8
assert_eq "$(remapped_sectors_list)$(pending_sectors_list)" "" "sectors that were taken for bad"
image_unmount
