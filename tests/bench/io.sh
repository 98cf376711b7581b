# Part io: one main, served by each contender at the same time; they take turns.
# shellcheck shell=bash

# NAME|FIO_OPTIONS
IO_JOBS=(
  "4 KiB random read, depth 1|--rw=randread --bs=4k --iodepth=1"
  "4 KiB random write, depth 1|--rw=randwrite --bs=4k --iodepth=1"
  "4 KiB random read, depth 16|--rw=randread --bs=4k --iodepth=16"
  "4 KiB random write, depth 16|--rw=randwrite --bs=4k --iodepth=16"
  "1 MiB sequential read, depth 4|--rw=read --bs=1M --iodepth=4"
  "1 MiB sequential write, depth 4|--rw=write --bs=1M --iodepth=4"
)

declare -A DEVICE SERVERS # by contender: its loop device, and who serves it

# Each start_NAME serves $MAIN and leaves the file in SERVED, its processes in PIDS.

start_remapfs() {
  BOUND=600 bounded remapctl create -q "$SCRATCH/io" --main "$MAIN" --spare "$SCRATCH/io.spare,size=16M"
  volume_open io
  SERVED=$IMAGE
}

start_qemu() {
  command -v qemu-storage-daemon >/dev/null || return 1
  SERVED=$SCRATCH/qemu.img
  : >"$SERVED"
  # It locks main, which remapfs has locked: here they take turns by agreement.
  qemu-storage-daemon \
    --blockdev driver=file,node-name=main,filename="$MAIN",locking=off,cache.direct=on \
    --export type=fuse,id=image,node-name=main,mountpoint="$SERVED",writable=on \
    >"$SCRATCH/qemu.log" 2>&1 </dev/null &
  PIDS=$!
  wait_for 10 mountpoint -q "$SERVED" || fail "qemu-storage-daemon: $(cat "$SCRATCH/qemu.log")"
}

start_nbdfuse() {
  command -v nbdfuse >/dev/null && command -v nbdkit >/dev/null || return 1
  mkdir "$SCRATCH/nbd"
  SERVED=$SCRATCH/nbd/disk.img
  nbdfuse "$SERVED" --socket-activation nbdkit -f file "$MAIN" >"$SCRATCH/nbd.log" 2>&1 </dev/null &
  PIDS=$!
  wait_for 10 test -s "$SERVED" || fail "nbdfuse: $(cat "$SCRATCH/nbd.log")"
  PIDS="$PIDS $(pgrep -P "$PIDS" | xargs)"
}

# Last: remapfs does not open a main that a loop device is attached to.
start_raw() {
  SERVED=$MAIN
  PIDS=
}

start_contenders() {
  local name
  CONTENDERS=()
  for name in remapfs qemu nbdfuse raw; do
    "start_$name" && loop_over "$SERVED" || {
      note "$name is left out"
      continue
    }
    CONTENDERS+=("$name")
    DEVICE[$name]=$LOOP
    SERVERS[$name]=$PIDS
  done
}

stop_contenders() {
  local name
  for name in "${CONTENDERS[@]}"; do
    bounded losetup -d "${DEVICE[$name]}"
  done
  for name in qemu nbdfuse; do
    [ -z "${SERVERS[$name]:-}" ] || kill ${SERVERS[$name]} 2>/dev/null || :
  done
  volume_close io
  wait_for 20 contenders_ended || fail "qemu-storage-daemon or nbdfuse does not end"
  DEVICE=() SERVERS=()
  rm -rf "$SCRATCH/qemu.img" "$SCRATCH/nbd" "$SCRATCH"/io "$SCRATCH"/io.*
}

contenders_ended() {
  ! mountpoint -q "$SCRATCH/qemu.img" && ! mountpoint -q "$SCRATCH/nbd"
}

# Each round begins with another contender.
io_round() {
  local round=$1 job i name
  for job in "${IO_JOBS[@]}"; do
    for ((i = 0; i < ${#CONTENDERS[@]}; i++)); do
      name=${CONTENDERS[(i + round) % ${#CONTENDERS[@]}]}
      measure_io "${SERVERS[$name]}" "${DEVICE[$name]}" ${job#*|}
      record part=io backing="$BACKING" job="${job%%|*}" contender="$name" round="$round" $IO
      forget_cached "$MAIN"
    done
  done
}

# io_on BACKING DIRECTORY
io_on() {
  local round
  BACKING=$1 MAIN=$2/main.img
  note "io: $AREA_MIB MiB on $BACKING"
  lay "$MAIN" "$AREA_MIB"
  start_contenders
  for ((round = 1; round <= ROUNDS; round++)); do
    note "io: $BACKING, round $round of $ROUNDS"
    io_round "$round"
  done
  stop_contenders
  rm "$MAIN"
}

bench_io() {
  mkdir "$SCRATCH/tmpfs"
  io_on "$(findmnt -nT "$SCRATCH" -o FSTYPE)" "$SCRATCH"
  mount -t tmpfs -o size=$((AREA_MIB + 64))M bench "$SCRATCH/tmpfs"
  io_on tmpfs "$SCRATCH/tmpfs"
  umount "$SCRATCH/tmpfs"
}
