# Part remap: what it costs to move a sector, beside what a flush costs here.
# shellcheck shell=bash

if [ -n "$BENCH_QUICK" ]; then
  REMAPS_EACH=1500 COPY_MIB=30
else
  REMAPS_EACH=8000 COPY_MIB=300
fi
WRITERS=(1 4 16 64)
COPIES=(raw 0 1 5) # the bare loop device; percent of sectors that are bad

# What one write of 4 KiB and its flush take, one after the other.
measure_flush() {
  local file=$SCRATCH/flush
  [ -e "$file" ] || lay "$file" 16
  fio_run --filename="$file" --size=16M --ioengine=psync --rw=randwrite --bs=4k --fdatasync=1 \
    --time_based --runtime="$SECONDS_EACH" >"$SCRATCH/fio.json"
  record part=remap what=flush round="$1" \
    $(jq -r '.jobs[0] | "flushes_s=\(.write.iops) flush_us=\(.sync.lat_ns.mean / 1000)" +
      " flush_p99_us=\(.sync.lat_ns.percentile."99.000000" / 1000)"' "$SCRATCH/fio.json")
}

# measure_remaps WRITERS ROUND: each writes sectors that nobody wrote before.
measure_remaps() {
  local share=$((REMAPS_EACH / $1)) before commits
  [ "$1" != 1 ] || share=$((REMAPS_EACH / 8))
  before=$(status_of .remapped_sectors) commits=$(status_of .daemon.commits)
  fio_run --filename="$LOOP" --ioengine=psync --rw=randwrite --bs=4k --norandommap=0 \
    --numjobs="$1" --offset="$NEXT" --offset_increment=$((share * 4096)) --size=$((share * 4096)) \
    --runtime=60 >"$SCRATCH/fio.json"
  NEXT=$((NEXT + share * $1 * 4096))
  assert_eq $(($(status_of .remapped_sectors) - before)) \
    "$(jq '.jobs[0].write.total_ios' "$SCRATCH/fio.json")" "remaps and writes"
  record part=remap what=rate writers="$1" round="$2" \
    commits=$(($(status_of .daemon.commits) - commits)) \
    $(jq -r '.jobs[0].write | "remaps=\(.total_ios) remaps_s=\(.iops)" +
      " lat_us=\(.clat_ns.mean / 1000) p99_us=\(.clat_ns.percentile."99.000000" / 1000)"' \
      "$SCRATCH/fio.json")
}

# The bad region lies between two of the places where main is asked whether it
# is alive, as a bad region of a real disk most likely would.
bench_rates() {
  local round writers slots=$((REMAPS_EACH * 4 * ROUNDS)) eighth first
  eighth=$((slots / 256 + 4)) # MiB
  first=$(((eighth * 7 + 1) * 256))
  MAIN=$SCRATCH/main.img
  fallocate -l $((eighth * 8))M "$MAIN"
  BOUND=600 bounded remapctl create -q "$SCRATCH/rates" --main "$MAIN" --sector-size 4096 \
    --spare "$SCRATCH/rates.spare,size=$((slots / 240 + 2))M"
  bounded remapctl inject "$SCRATCH/rates" add --on write \
    --sectors $first-$((first + slots - 1)) >/dev/null
  volume_open rates
  loop_over "$IMAGE" 4096
  NEXT=$((first * 4096))
  for ((round = 1; round <= ROUNDS; round++)); do
    note "remap: rates, round $round of $ROUNDS"
    measure_flush "$round"
    for writers in "${WRITERS[@]}"; do
      measure_remaps "$writers" "$round"
    done
  done
  bounded losetup -d "$LOOP"
  volume_close rates
  rm -rf --one-file-system "$MAIN" "$SCRATCH"/rates*
}

# copy_to DEVICE HOW ROUND: mkfs.ext4 and a copy of real files, until durable.
copy_to() {
  local start made
  start=$(now)
  BOUND=600 bounded mkfs.ext4 -q -F "$1"
  made=$(since "$start")
  mount "$1" "$FS"
  start=$(now)
  BOUND=1200 bounded cp -r "$SCRATCH/tree" "$FS/tree"
  BOUND=600 bounded sync -f "$FS"
  record part=remap what=copy bad="$2" round="$3" mkfs_s="$made" copy_s="$(since "$start")" \
    copy_mib="$COPY_MIB" remapped="$([ "$2" = raw ] && echo 0 || status_of .remapped_sectors)"
  umount "$FS"
}

copy_round() { # HOW ROUND
  local served=$SCRATCH/main.img
  fallocate -l $((COPY_MIB * 3))M "$SCRATCH/main.img"
  if [ "$1" != raw ]; then
    BOUND=600 bounded remapctl create -q "$SCRATCH/copy" --main "$SCRATCH/main.img" \
      --spare "$SCRATCH/copy.spare,size=$((COPY_MIB * 3 / 10 + 8))M"
    [ "$1" = 0 ] || bounded remapctl inject "$SCRATCH/copy" add --on write --percent "$1" \
      --seed 1 >/dev/null
    volume_open copy
    served=$IMAGE
  fi
  loop_over "$served"
  copy_to "$LOOP" "$1" "$2"
  bounded losetup -d "$LOOP"
  [ "$1" = raw ] || volume_close copy
  rm -rf --one-file-system "$SCRATCH"/main.img "$SCRATCH"/copy*
}

bench_copies() {
  local round how
  real_tree "$SCRATCH/tree" "$COPY_MIB"
  for ((round = 1; round <= ROUNDS; round++)); do
    note "remap: mkfs and copy, round $round of $ROUNDS"
    for how in "${COPIES[@]}"; do
      copy_round "$how" "$round"
    done
  done
}

bench_remap() {
  bench_rates
  bench_copies
}
