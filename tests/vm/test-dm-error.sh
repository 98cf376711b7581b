#!/bin/bash
# dm-error: holes that neither read nor write, made and moved under live use.
. "$(dirname "$0")/lib.sh"
requires root loop jq fio dmsetup
ram_disk 64
module dm_mod

say "what the kernel does: the sectors around a hole are written, and read"
around="0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31"
dm_table "$RAM_DISK" error 1000+8 | dm_make main
assert_eq "$(error_of write /dev/mapper/main 992 32)" EIO "writing across the hole"
assert_eq "$(ask /dev/mapper/main read 992 32)" "EIO $around" "reading, and what came"
dm_table "$RAM_DISK" error | dm_change main
assert_eq "$(changed_sectors /dev/mapper/main 992 32 "$SCRATCH/errno.data" | xargs)" \
  "$around" "sectors written"
dm_table "$RAM_DISK" error 1000+8 30000+4 50000 75000+2 | dm_change main

say "writes across the edges of a hole: only the hole moves"
volume_over /dev/mapper/main 8M
EXPECTED=$SCRATCH/expected
truncate -s 64M "$EXPECTED"
write_checked 996 8
write_checked 1004 8
write_checked 0 2048
write_checked 50000 1
write_checked 75000 8
assert_eq "$(remapped_sectors_list)" "$(seq -s ' ' 1000 1007) 50000 75000 75001" "remapped"
assert_eq "$(sql "SELECT DISTINCT error FROM history WHERE event = 'remapped'")" EIO "the error"

say "a hole that is read: EIO every time, pending, no remap; a write cures it"
for _ in 1 2 3; do
  assert_eq "$(error_of read "$IMAGE" 30000 1)" EIO "reading 30000"
  assert_eq "$(error_of read "$IMAGE" 30003 1)" EIO "reading 30003"
done
assert_eq "$(error_of read "$IMAGE" 29999 1),$(error_of read "$IMAGE" 30004 1)" 0,0 "the neighbours"
assert_eq "$(pending_sectors_list)" "30000 30003" "pending"
image_restart
assert_eq "$(error_of read "$IMAGE" 30000 1)" EIO "reading 30000 after a restart"
write_checked 30000 4
assert_eq "$(pending_sectors_list)" "" "pending after the write"
assert_eq "$(status_of .remapped_sectors)" 15 "remapped sectors"

say "holes that move every second below a load"
loop_attach
cat >load.fio <<FIO
[load]
filename=$R
direct=1
ioengine=libaio
iodepth=8
rw=randwrite
bs=4k
offset=40m
size=8m
loops=${LOOPS:-2}
verify=crc32c
do_verify=0
randseed=7
FIO
timeout 600 fio --eta=never --output=fio.log load.fio &
load=$!
rounds=0
RANDOM=1
while ! process_ended "$load" && [ "$rounds" -lt 60 ]; do
  for _ in $(seq 24); do echo $((81920 + RANDOM % 16384)); done | sort -nu >holes
  dm_table "$RAM_DISK" error $(cat holes) | dm_change main
  cat holes >>all-holes
  rounds=$((rounds + 1))
  sleep 1
done
wait "$load" || fail "fio: $(cat fio.log)"
moved=$(status_of .remapped_sectors)
say "$rounds rounds of holes, $((moved - 15)) sectors moved"
[ "$moved" -gt 15 ] || fail "no sector moved"
assert_eq "$(only_in "$(sql "$(each_sector remap main_sector 'main_sector > 80000')" | xargs)" \
  "$(xargs <all-holes)")" "" "sectors that moved and were never a hole"
assert_eq "$(events write_failed)" 0 "failed writes"
# What was written before a hole came is below it: so the holes go away.
dm_table "$RAM_DISK" error | dm_change main
loop_detach
image_restart
loop_attach
fio --eta=never --output=fio.log --verify_only load.fio || fail "verify: $(cat fio.log)"
loop_detach
dd if="$IMAGE" bs=1M count=38 iflag=direct status=none | cmp - <(head -c 38M "$EXPECTED") ||
  fail "what was written before the load differs"
image_unmount
