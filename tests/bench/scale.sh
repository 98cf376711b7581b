# Part scale: what many remaps cost those who do not meet them, and those who do.
#
# Every volume has the same main, a sparse file of which the first AREA_MIB are
# written, and is mounted for a while in each round. Isolated remaps are one
# 512-byte sector each, runs 64 sectors. I/O that is "off" stays between them
# (4 KiB), "on" meets one each time (the sector; 4 KiB of the run).
# shellcheck shell=bash

RUN=64

# shape|remapped sectors
if [ -n "$BENCH_QUICK" ]; then
  SCALES=("none|0" "isolated|1000" "isolated|100000")
else
  SCALES=("none|0" "isolated|1000" "isolated|1000000" "isolated|10000000" "runs|1000000"
    "runs|10000000")
fi

# scale_shape SHAPE COUNT: RUN_LENGTH and STRIDE in sectors. Few remaps are
# spread over the area, a power of two apart; many are 8 KiB apart.
scale_shape() {
  local area=$((AREA_MIB * 2048))
  RUN_LENGTH=1 STRIDE=16
  [ "$1" != runs ] || RUN_LENGTH=$RUN STRIDE=$((2 * RUN))
  while [ "$2" -gt 0 ] && [ $((STRIDE * 2 * ($2 / RUN_LENGTH))) -le "$area" ]; do
    STRIDE=$((STRIDE * 2))
  done
}

scale_bytes() {
  scale_shape "$1" "$2"
  echo $((($2 / RUN_LENGTH + 1) * STRIDE * 512))
}

scale_main() {
  local scale bytes most=$((AREA_MIB << 20))
  for scale in "${SCALES[@]}"; do
    bytes=$(scale_bytes "${scale%|*}" "${scale#*|}")
    [ "$bytes" -le "$most" ] || most=$bytes
  done
  MAIN=$SCRATCH/main.img
  truncate -s $(((most + 1048575) / 1048576))M "$MAIN"
  lay "$MAIN" "$AREA_MIB"
}

# scale_make NAME SHAPE COUNT
scale_make() {
  local start
  if [ "$3" = 0 ]; then
    BOUND=600 bounded remapctl create -q "$SCRATCH/$1" --main "$MAIN" --spare "$SCRATCH/$1.spare,size=16M"
    return
  fi
  scale_shape "$2" "$3"
  lay "$SCRATCH/$1.spare" $(($3 * (512 + 32) / 1048576 + 2))
  start=$(now)
  BOUND=3600 bounded "$BUILD/tests/bench/bench_make_remaps" "$SCRATCH/$1" "$MAIN" \
    "$SCRATCH/$1.spare" "$3" "$RUN_LENGTH" "$STRIDE"
  record part=scale what=make shape="$2" remaps="$3" seconds="$(since "$start")" \
    database_bytes="$(stat -c %s "$SCRATCH/$1")"
}

# scale_io SHAPE COUNT ROUND: on a volume that is mounted.
scale_io() {
  local on=512 rw
  scale_shape "$1" "$2"
  [ "$1" != runs ] || on=4k
  loop_over "$IMAGE"
  for rw in randread randwrite; do
    measure_io "$PIDS" "$LOOP" --rw=$rw --bs=4k --iodepth=16 --size="${AREA_MIB}M" \
      --blockalign=$((2 * RUN_LENGTH * 512 > 8192 ? 2 * RUN_LENGTH * 512 : 8192)) \
      --offset=$((RUN_LENGTH > 1 ? RUN_LENGTH * 512 : 4096))
    record part=scale what=io shape="$1" remaps="$2" where=off rw="$rw" round="$3" $IO
    measure_io "$PIDS" "$LOOP" --rw=$rw --bs=$on --iodepth=16 --size="${AREA_MIB}M" \
      --blockalign=$((STRIDE * 512))
    record part=scale what=io shape="$1" remaps="$2" where=on rw="$rw" round="$3" $IO
  done
  bounded losetup -d "$LOOP"
}

scale_opened() { # NAME SHAPE COUNT END
  record part=scale what=open shape="$2" remaps="$3" after="$4" seconds="$OPEN_S" \
    resident_kib="$(resident_kib VmRSS)" most_kib="$(resident_kib VmHWM)"
}

# scale_round NAME SHAPE COUNT ROUND
scale_round() {
  forget_cached "$SCRATCH/$1"
  volume_open "$1"
  [ "$4" = 0 ] || scale_opened "$1" "$2" "$3" close
  [ "$4" = 0 ] || scale_io "$2" "$3" "$4"
  volume_close "$1"
}

# Opened anew after all of remapfs was killed.
scale_killed() {
  volume_open "$1"
  volume_kill
  forget_cached "$SCRATCH/$1"
  volume_open "$1"
  scale_opened "$1" "$2" "$3" kill
  volume_close "$1"
}

scale_lookups() {
  local scale round
  for ((round = 1; round <= ROUNDS; round++)); do
    for scale in "${SCALES[@]}"; do
      scale_shape "${scale%|*}" "${scale#*|}"
      bounded "$BUILD/tests/bench/bench_lookup" "${scale#*|}" "$RUN_LENGTH" "$STRIDE" |
        jq -c --arg shape "${scale%|*}" '{part: "scale", what: "lookup", shape: $shape} + .' >>"$RESULTS"
    done
  done
}

bench_scale() {
  local scale round name
  scale_lookups
  scale_main
  for scale in "${SCALES[@]}"; do
    name=scale-${scale/|/-}
    note "scale: making $name"
    scale_make "$name" "${scale%|*}" "${scale#*|}"
  done
  # Round 0 is not measured: a volume just made counts as one that was not closed.
  for ((round = 0; round <= ROUNDS; round++)); do
    note "scale: round $round of $ROUNDS"
    for scale in "${SCALES[@]}"; do
      scale_round "scale-${scale/|/-}" "${scale%|*}" "${scale#*|}" "$round"
    done
  done
  for scale in "${SCALES[@]}"; do
    note "scale: ${scale/|/ }, killed and opened anew"
    scale_killed "scale-${scale/|/-}" "${scale%|*}" "${scale#*|}"
  done
  rm -rf --one-file-system "$MAIN" "$SCRATCH"/scale-*
}
