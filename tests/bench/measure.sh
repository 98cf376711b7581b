# What the parts of the benchmark share. Every figure becomes a line of JSON in
# RESULTS at once; report.jq makes the tables.
# shellcheck shell=bash

RESULTS=$SCRATCH/results

if [ -n "$BENCH_QUICK" ]; then
  ROUNDS=1 SECONDS_EACH=1 AREA_MIB=256
else
  ROUNDS=5 SECONDS_EACH=4 AREA_MIB=1024
fi

# Progress goes to stderr: stdout is for the tables.
note() {
  echo "-- $(date +%T) $*" >&2
}

# record NAME=VALUE... : numbers as such, everything else as text.
record() {
  local field args=()
  for field in "$@"; do
    if [[ ${field#*=} =~ ^-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?$ ]]; then
      args+=(--argjson "${field%%=*}" "${field#*=}")
    else
      args+=(--arg "${field%%=*}" "${field#*=}")
    fi
  done
  jq -cn "${args[@]}" '$ARGS.named' >>"$RESULTS"
}

record_machine() {
  record part=machine at="$(date -u +%FT%TZ)" kernel="$(uname -r)" cpus="$(nproc)" \
    cpu="$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" \
    memory_mib=$(($(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo) / 1024)) \
    scratch="$(findmnt -nT "$SCRATCH" -o FSTYPE,SOURCE | xargs)" load="$(cut -d' ' -f1 /proc/loadavg)" \
    rounds="$ROUNDS" seconds="$SECONDS_EACH" quick="${BENCH_QUICK:-0}"
}

# ---- time ---------------------------------------------------------------------

now() {
  date +%s.%N
}

since() {
  awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.4f", b - a }'
}

# Microseconds that all CPUs were busy since boot.
machine_busy() {
  awk -v tick="$(getconf CLK_TCK)" '$1 == "cpu" { print ($2 + $3 + $4 + $7 + $8) * 1000000 / tick }' \
    /proc/stat
}

# processes_busy PID...: microseconds of CPU that these have used.
processes_busy() {
  local pid
  for pid in "$@"; do
    sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null || :
  done | awk -v tick="$(getconf CLK_TCK)" '{ sum += $12 + $13 } END { print sum * 1000000 / tick }'
}

# ---- fio ----------------------------------------------------------------------

fio_run() {
  BOUND=1200 bounded fio --name=bench --direct=1 --ioengine=libaio --norandommap --randrepeat=0 \
    --group_reporting --output-format=json "$@" 2>"$SCRATCH/fio.log" ||
    fail "fio $*: $(head -3 "$SCRATCH/fio.log")"
}

# measure_io PIDS DEVICE FIO_OPTION...: IO becomes the fields iops, mib_s,
# lat_us, cpu_us (of the whole machine, fio included) and daemon_us for each
# operation. The CPU is looked at in the middle, without fio's start and end.
measure_io() {
  local pids=$1 device=$2 fio machine daemon window
  shift 2
  fio_run --filename="$device" --time_based --ramp_time=0.3 --runtime="$SECONDS_EACH" "$@" \
    >"$SCRATCH/fio.json" &
  fio=$!
  sleep 0.6
  machine=$(machine_busy) daemon=$(processes_busy $pids) window=$(now)
  sleep "$(awk -v s="$SECONDS_EACH" 'BEGIN { print s - 0.5 }')"
  machine="$machine $(machine_busy)" daemon="$daemon $(processes_busy $pids)"
  window=$(since "$window")
  wait "$fio" || fail "fio: $(cat "$SCRATCH/fio.log")"
  IO=$(jq -r --arg machine "$machine" --arg daemon "$daemon" --argjson window "$window" '
    def spent($s; $ops): ($s | split(" ") | map(tonumber) | .[1] - .[0]) / $ops;
    .jobs[0] | (if .read.iops > 0 then .read else .write end) |
    ([.iops * $window, 1] | max) as $ops |
    "iops=\(.iops) mib_s=\(.bw_bytes / 1048576) lat_us=\(.clat_ns.mean / 1000)" +
    " cpu_us=\(spent($machine; $ops)) daemon_us=\(spent($daemon; $ops))"' "$SCRATCH/fio.json")
}

# ---- files and loop devices ------------------------------------------------------

# lay FILE MIB: writes random content to the beginning of the file.
lay() {
  fio_run --filename="$1" --size="${2}M" --rw=write --bs=1M --iodepth=4 --refill_buffers >/dev/null
  sync "$1"
}

# What others left in the page cache of a file is not this one's to write.
forget_cached() {
  sync "$1"
  dd if="$1" iflag=nocache count=0 status=none
}

# loop_over FILE [SECTOR_SIZE]: LOOP becomes a loop device with direct I/O.
loop_over() {
  LOOP=$(bounded losetup -f --show --direct-io=on --sector-size "${2:-512}" "$1")
  [ "$(losetup -nO DIO "$LOOP" | xargs)" = 1 ] || {
    note "$1: the kernel refuses direct I/O for the loop device"
    return 1
  }
}

# ---- remapfs ------------------------------------------------------------------------

# volume_open NAME [OPTIONS]: mounts the volume $SCRATCH/NAME; OPEN_S says how
# long that took, PIDS who serves it.
volume_open() {
  local start
  VOLUME=$SCRATCH/$1
  MNT=$SCRATCH/$1.mnt
  IMAGE=$MNT/disk.img
  shift
  mkdir -p "$MNT"
  start=$(now)
  BOUND=600 bounded remapfs "$@" "$VOLUME" "$MNT" >"$SCRATCH/mount.log" 2>&1 </dev/null ||
    fail "mount: $(cat "$SCRATCH/mount.log")"
  OPEN_S=$(since "$start")
  PIDS=$(pgrep -f "^[^ ]*remapfs .*$VOLUME $MNT\$" | xargs)
}

# Not by what 'remapctl status' says of the daemon: that also counts all rows.
volume_ended() {
  local pid
  for pid in $PIDS; do
    process_ended "$pid" || return 1
  done
}

# volume_close NAME
volume_close() {
  VOLUME=$SCRATCH/$1 MNT=$SCRATCH/$1.mnt
  PIDS=$(pgrep -f "^[^ ]*remapfs .*$VOLUME $MNT\$" | xargs)
  wait_for 10 try_unmount "$MNT" || fail "fusermount3 -u: $(cat "$SCRATCH/unmount.log")"
  wait_for 60 volume_ended || fail "remapfs ($PIDS) does not end after fusermount3 -u"
}

# volume_kill NAME: supervisor and worker at once.
volume_kill() {
  kill -9 $PIDS
  wait_for 60 volume_ended || fail "remapfs survives kill -9"
  umount -l "$MNT"
}

# Kibibytes that are resident of the processes, and the most there ever were.
resident_kib() {
  local pid
  for pid in $PIDS; do
    cat "/proc/$pid/status"
  done | awk -v field="$1:" '$1 == field { sum += $2 } END { print sum }'
}
