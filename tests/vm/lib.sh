# What the tests of this folder share, on top of what the mount tests do: disks
# of the kernel that fail. They run in a machine of their own (see run), which
# ends with them, so nothing here is cleaned up.
# shellcheck shell=bash
. "$(dirname "$0")/../mount/lib.sh"
. "$TESTS/../mount/filesystem.sh"

# The kernel is at least this version.
kernel_is() {
  [ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge "$(awk -F. '{ print $1 * 1000 + $2 }' <<<"$1")" ]
}

# module NAME [PARAMETERS]
module() {
  modprobe -q "$@" || skip "this kernel has no $1"
}

# volume_on DEVICE SPARE_SIZE [SECTOR_SIZE]: main is a block device.
volume_on() {
  MAIN=$1
  SS=${3:-512}
  BOUND=120 bounded remapctl create "$VOLUME" --main "$MAIN" --spare "$SPARE,size=$2" \
    --sector-size "$SS" >"$SCRATCH/create.log" 2>&1 || fail "create: $(cat "$SCRATCH/create.log")"
}

# volume_over DEVICE SPARE_SIZE [SECTOR_SIZE]: the same, mounted.
volume_over() {
  volume_on "$@"
  image_mount
}

forget_volume() {
  image_unmount
  rm -f "$VOLUME"* "$SPARE"
}

# ram_disk MIB: its path in RAM_DISK. 512 bytes a sector, 4096 physically.
ram_disk() {
  module brd rd_nr=1 rd_size=$(($1 << 10))
  RAM_DISK=/dev/ram0
}

sectors_of() {
  blockdev --getsz "$1"
}

# dm_table DEVICE TARGET [START[+COUNT]...]: DEVICE, but for these sectors, in
# ascending order, which TARGET takes: "error", or with arguments, where @ stands
# for the device and the offset.
dm_table() {
  awk -v at=0 -v end="$(sectors_of "$1")" -v device="$1" -v target="$2" -v RS='[ \n]+' '
    function linear(to) { if (to > at) print at, to - at, "linear", device, at; at = to }
    $0 != "" {
      split($0 "+1", part, "+")
      linear(part[1] + 0)
      here = target
      gsub("@", device " " at, here)
      print at, part[2] + 0, here
      at += part[2]
    }
    END { linear(end + 0) }
  ' <<<"${*:3}"
}

# dm_make NAME <TABLE
dm_make() {
  bounded dmsetup create "$1" || fail "dmsetup create $1"
}

# dm_change NAME <TABLE: under whoever uses it.
dm_change() {
  bounded dmsetup load "$1" && bounded dmsetup resume --noflush "$1" || fail "dmsetup load $1"
}

# read_only_sectors NAME DEVICE SECTORS...: DEVICE, of which these can be read and
# refuse to be written. (Not by dm-flakey, which fails flushes as well: dm-delay,
# which has a device for each of reads, writes and flushes.)
read_only_sectors() {
  local name=$1 device=$2
  shift 2
  module dm_delay
  dm_table "$device" error "$@" | dm_make "$name-writes"
  echo "0 $(sectors_of "$device") delay $device 0 0 /dev/mapper/$name-writes 0 0 $device 0 0" |
    dm_make "$name"
}

# more_read_only NAME DEVICE SECTORS...: these and no others, from now on.
more_read_only() {
  dm_table "$2" error "${@:3}" | dm_change "$1-writes"
}

# scsi_disk PARAMETERS: a disk of scsi_debug; its path in SCSI_DISK, and what it
# is to the kernel in SCSI_DEVICE.
scsi_disk() {
  module sd_mod
  modprobe -q -r scsi_debug || :
  module scsi_debug delay=0 "$@"
  wait_for 20 find_scsi_disk || fail "scsi_debug made no disk"
}

find_scsi_disk() {
  SCSI_DEVICE=$(echo /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/[0-9]*:[0-9]*)
  [ -d "$SCSI_DEVICE/block" ] || return 1
  SCSI_DISK=/dev/$(ls "$SCSI_DEVICE/block")
  [ -b "$SCSI_DISK" ]
}

# loop_give_up: what R still had to write is lost. (loop_detach would refuse.)
loop_give_up() {
  bounded losetup -d "$R"
  wait_for 20 eval '! losetup -n "$R" 2>/dev/null | grep -q .' || fail "$R stays"
  R=
}

# error_of read|write DEVICE SECTOR COUNT: the errno that a direct request of the
# kernel gets there; 0 when it succeeds.
error_of() {
  local said=0
  if [ "$1" = read ]; then
    sector_read "$2" "$3" "$4" 2>"$SCRATCH/errno" >"$SCRATCH/errno.data" || said=1
  else
    noise "$SCRATCH/errno.data" "$4"
    sector_write "$2" "$3" "$4" <"$SCRATCH/errno.data" 2>"$SCRATCH/errno" || said=1
  fi
  case $said:$(cat "$SCRATCH/errno") in
    0:*) echo 0 ;;
    *'No data available'*) echo ENODATA ;;
    *'Input/output error'*) echo EIO ;;
    *'Remote I/O error'*) echo EREMOTEIO ;;
    *'No space left'*) echo ENOSPC ;;
    *'Invalid argument'*) echo EINVAL ;;
    *'timed out'*) echo ETIMEDOUT ;;
    *) cat "$SCRATCH/errno" ;;
  esac
}

# changed_sectors DEVICE SECTOR COUNT FILE: which of them hold what FILE has.
changed_sectors() {
  local i
  for ((i = 0; i < $3; i++)); do
    piece "$4" "$i" 1 >"$SCRATCH/piece"
    sector_read "$1" $(($2 + i)) 1 2>/dev/null | cmp -s - "$SCRATCH/piece" && echo -n "$i " || :
  done
}

# ask DEVICE read|write|flush [SECTOR COUNT]: see vm_ask.c.
ask() {
  bounded "$BUILD/tests/vm/vm-ask" "${@:2}" <>"$1"
}

# write_checked SECTOR COUNT: fresh content through disk.img, read back, and kept
# in EXPECTED, which is all that was ever written.
write_checked() {
  noise "$SCRATCH/noise" "$2"
  sector_write "$IMAGE" "$1" "$2" <"$SCRATCH/noise" || fail "write of $2 sectors at $1"
  dd if="$SCRATCH/noise" of="$EXPECTED" bs="$SS" seek="$1" conv=notrunc status=none
  sector_read "$IMAGE" "$1" "$2" | cmp - "$SCRATCH/noise" || fail "$2 sectors at $1 read back differently"
}

# EXPECTED: what disk.img has now.
expect_now() {
  EXPECTED=$SCRATCH/expected
  BOUND=120 bounded dd if="$IMAGE" of="$EXPECTED" bs=1M iflag=direct status=none
}

assert_as_expected() {
  BOUND=120 bounded dd if="$IMAGE" bs=1M iflag=direct status=none | cmp - "$EXPECTED" ||
    fail "disk.img differs $1"
}

# real_tree DIR MIB: as in the mount tests, but not by looking through all of
# /usr, which takes minutes here.
real_tree() {
  mkdir -p "$1"
  find /usr/lib/x86_64-linux-gnu/perl* /usr/share/perl* /usr/share/man/man1 -xdev -type f \
    -readable ! -path '*[[:space:]]*' -printf '%s %P %H\n' 2>/dev/null |
    awk -v want=$(($2 << 20)) 'total < want { print $3 "/" $2; total += $1 }' >"$1.list"
  tar -C / -cf - --no-recursion -T "$1.list" 2>/dev/null | tar -C "$1" -xf -
}
