#!/bin/bash
# Power cuts: a machine's disks are recorded, replayed to many points, and what
# is then there is compared with what had been acknowledged.
#
#     tests/vm/host-power-cut.sh KERNEL BUILD [POINTS]
#
# CUT_ROUNDS, CUT_FILES: how much is written. CUT_SEED: other random choices.
# CUT_KEEP=1: leaves the record, and the disks that were not as promised.
VM_LIMIT=1500
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
kernel=$1 build=$(readlink -f "$2") points=${3:-400}
. "$here/cut.sh"
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
for tool in qemu-storage-daemon debugfs e2fsck mkfs.ext4; do
  command -v "$tool" >/dev/null || { echo "SKIP power-cut: needs $tool"; exit 77; }
done

folder=$(mktemp -d "$build/vm/cut.XXXXXX")
trap '[ -n "${CUT_KEEP:-}" ] || rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

truncate -s $(((CUT_FIRST + CUT_BLOCKS * 8) * 512)) "$folder/main"
truncate -s 4M "$folder/spare"
truncate -s 32M "$folder/database"
truncate -s 1M "$folder/marks"
truncate -s 0 "$folder/log"
mkfs.ext4 -q -F -J size=4 -E lazy_itable_init=0,lazy_journal_init=0 "$folder/database"
for disk in main spare database; do cp --sparse=always "$folder/$disk" "$folder/$disk.0"; done

# One sector in 16 behind CUT_FIRST, one in 800 of ext4; some of them neighbours.
# No two awks agree on rand().
awk -v first="$CUT_FIRST" -v end=$((CUT_FIRST + CUT_BLOCKS * 8)) '
  function random() { seed = seed * 16807 % 2147483647; return seed / 2147483647 }
  BEGIN {
    seed = 4
    for (s = 1; s < end; s++)
      if (random() < (s < first ? 1 / 800 : 1 / 16))
        for (n = random() < 0.1 ? 8 : 1; n > 0 && s < end; n--) print s++
  }' >"$folder/holes"

# One more node takes the logs of all disks and is logged itself: see cut_log.h.
# QEMU has but one user write to a node, so it is served by a process of its own.
region=$((1 << 34))
qemu-storage-daemon \
  --blockdev "driver=null-co,node-name=nowhere,size=$((4 * region)),read-zeroes=on" \
  --blockdev "driver=file,node-name=log,filename=$folder/log" \
  --blockdev "driver=blklogwrites,node-name=order,file=nowhere,log=log,log-sector-size=512" \
  --nbd-server "addr.type=unix,addr.path=$folder/socket,max-connections=9" \
  --export "type=nbd,id=order,node-name=order,writable=on" &
server=$!
trap 'kill "$server" 2>/dev/null || :; [ -n "${CUT_KEEP:-}" ] || rm -rf "$folder"' EXIT
for ((i = 0; i < 100; i++)); do
  [ ! -S "$folder/socket" ] || break
  sleep 0.2
done
options=()
i=0
for disk in main spare database marks; do
  options+=(
    -blockdev "driver=nbd,node-name=order$i,server.type=unix,server.path=$folder/socket,export=order"
    -blockdev "driver=raw,node-name=log$i,file=order$i,offset=$((i * region)),size=$region"
    -blockdev "driver=blklogwrites,node-name=disk$i,file.driver=file,file.filename=$folder/$disk,log=log$i,log-sector-size=512"
    -device "virtio-blk-pci,drive=disk$i,discard=off,write-zeroes=off"
  )
  i=$((i + 1))
done

cat >"$folder/job" <<JOB
export REMAPFS_BUILD=$build TMPDIR=/scratch REMAPFS_SLOW=10 CUT_FOLDER=$folder
export CUT_ROUNDS=${CUT_ROUNDS:-2} CUT_FILES=${CUT_FILES:-30}
exec bash $here/cut-guest.sh
JOB
VM_LIMIT=$VM_LIMIT "$here/run" --build "$build" --kernel "$kernel" --job "$folder/job" \
  -- "${options[@]}"
kill "$server"
wait "$server" || :

"$build/tests/vm/cut-replay" "$folder/log" "$folder" "${CUT_SEED:-1}" "$points" \
  "$here/cut-verify" "$folder" "$build"
echo "PASS power-cut"
