#!/bin/bash
# Eight writers at once on R, each verifying what it wrote, while sectors die
# under them: no error, no wrong byte, also after a restart.
. "$(dirname "$0")/lib.sh"
requires root loop jq fio

volume_make 192M 32M
image_mount
loop_attach

# fio puts in the device of the moment: after the restart it may be another one.
cat >load.fio <<'END'
[global]
filename=${R}
direct=1
ioengine=psync
rw=randwrite
bs=4k
size=16M
offset_increment=16M
numjobs=8
loops=3
verify=crc32c
verify_fatal=1
verify_backlog=1024
group_reporting=1
randseed=20
[writer]
END
R=$R fio --output=fio.log load.fio &
load=$!
for round in $(seq 10); do
  sleep 0.4
  inject --random 30 --on write
done
process_ended "$load" && say "the load was over before the last round"
wait "$load" || fail "fio: $(cat fio.log)"
say "$(grep -m1 -E '^ *write:' fio.log | xargs)"
grep -qE 'err= *0' fio.log || fail "fio: $(cat fio.log)"

moved=$(status_of .remapped_sectors)
say "$(status_of .faults) bad sectors, $moved remapped"
[ "$moved" -gt 0 ] || fail "no sector moved"
assert_only_bad_moved
assert_eq "$(events write_failed)" 0 "failed writes"

say "verified again after a restart"
before=$(sha256sum <"$IMAGE")
loop_detach
image_restart
loop_attach
assert_eq "$(sha256sum <"$IMAGE")" "$before" "checksum after a restart"
R=$R fio --output=fio.log --verify_only load.fio || fail "fio --verify_only: $(cat fio.log)"
loop_detach
image_unmount
