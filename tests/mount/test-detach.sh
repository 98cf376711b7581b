#!/bin/bash
# detach waits for who looks at the device for a moment, and never takes away a
# device that meanwhile is somebody else's.
. "$(dirname "$0")/lib.sh"
requires root loop mkfs.ext4 sfdisk perl jq

volume_make 16M 1M
truncate -s 8M other.img
image_mount

# held_while SECONDS COMMAND: the device is held as blkid or mkfs hold it.
held_while() {
  perl -e '
    use Fcntl;
    my ($device, $seconds, $clear) = @ARGV;
    sysopen my $held, $device, O_RDONLY | O_EXCL or die "$device: $!\n";
    open my $file, ">", "held"; close $file;
    select undef, undef, undef, $seconds;
    # LOOP_CLR_FD: it goes with its last user, who is this one.
    ioctl $held, 0x4C01, 0 if $clear;
    close $held;
    exit 0 unless $clear;
    for (1 .. 50) {
      next if system("losetup $device other.img 2>/dev/null") != 0;
      open my $file, ">", "attached";
      last;
    }' "$R" "$@" &
  wait_for 5 test -e held || fail "the device cannot be held"
  rm held
}

say "held for a moment"
loop_attach
device=$R
held_while 0.5 ""
loop_detach
assert_eq "$(losetup -nO BACK-FILE "$device" 2>/dev/null)" "" "$device after detach"
wait

say "gone meanwhile, and attached to another file"
tries=0
for _ in $(seq 20); do
  [ "$tries" -lt 5 ] || break
  rm -f attached
  loop_attach
  device=$R
  held_while 0.3 clear
  bounded remapctl detach "$VOLUME" >detach.log 2>&1 || :
  wait
  # Another test may have been faster.
  [ -e attached ] || continue
  tries=$((tries + 1))
  assert_eq "$(losetup -nO BACK-FILE "$device")" "$SCRATCH/other.img" "$device, which is another's"
  losetup -d "$device"
done
assert_eq "$tries" 5 "devices that were attached to another file"

say "partitions"
printf 'start=2048, size=4096\nstart=8192\n' | sfdisk -q --no-tell-kernel "$IMAGE"
loop_attach
assert_eq "$(losetup -nO PARTSCAN "$R" | xargs)" 0 "the kernel looks for partitions, and nobody asked for them"
# What somebody else made of the device before is not of this table.
[ "$(cat "/sys/block/${R#/dev/}/${R#/dev/}p1/size" 2>/dev/null)" != 4096 ] || fail "partitions, and nobody asked for them"
loop_detach
R=$(bounded remapctl attach --partscan "$VOLUME")
wait_for 5 test -b "${R}p2" || fail "no ${R}p2 after attach --partscan"
mkfs.ext4 -q "${R}p1"
mount "${R}p1" "$FS"
must_fail "${R}p1 is mounted on $FS; unmount" bounded remapctl detach "$VOLUME"
umount "$FS"
loop_detach

say "dead: the doctor names what has to go, in this order"
loop_attach
kill_daemon
must_fail "FAIL +state +failed: the mount on $MNT is dead" bounded remapctl doctor "$VOLUME"
remedy="'losetup -d $R', 'fusermount3 -u $MNT', then mount anew"
grep -qF -- "-> $remedy" said || fail "the doctor advises something else: $(cat said)"
bounded losetup -d "$R"
wait_for 10 try_unmount "$MNT" || fail "the dead mount stays"
image_mount
bounded remapctl doctor "$VOLUME" >said || fail "the doctor: $(cat said)"
image_unmount
