#!/bin/bash
# The units under systemd itself, hardened as they are: one of its own, as process
# 1 of a process namespace that has nothing but these units.
. "$(dirname "$0")/lib.sh"
requires root loop jq cmake sqlite3 unshare mkfs.ext4
[ -x /lib/systemd/systemd ] && command -v systemctl >/dev/null || skip "no systemd here"
namespaces=(--fork --pid --mount --uts --ipc --cgroup --kill-child --mount-proc)
unshare "${namespaces[@]}" true 2>/dev/null || skip "namespaces are refused here"

# A control group of its own in each hierarchy that there is; what it starts goes
# below, and its namespace ends there.
groups=()
remove_groups() {
  set +e
  for group in "${groups[@]}"; do
    echo $$ >"${group%/*}/cgroup.procs"
    # What just ended may still be counted.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      find "$group" -depth -type d -exec rmdir {} \; && break
      sleep 0.2
    done
  done
} 2>/dev/null
trap remove_groups EXIT
while read -r hierarchy; do
  group=$hierarchy/remapfs-test.$$
  mkdir "$group" 2>/dev/null && groups+=("$group") && echo $$ >"$group/cgroup.procs" || :
done < <(awk '$3 ~ /^cgroup2?$/ { print $2 }' /proc/mounts) 2>/dev/null
grep -q "remapfs-test.$$" /proc/self/cgroup || skip "no control group can be made here"

DESTDIR=$SCRATCH/root cmake --install "$BUILD" >install.log 2>&1 || fail "install: $(cat install.log)"
mkdir units conf
bin=$(dirname "$(find "$SCRATCH/root" -path "*bin/remapctl")")
for unit in $(find "$SCRATCH/root" -name 'remapfs*.service'); do
  sed -E "s,^(Exec[A-Za-z]*)=/[^ ]*/,\1=$bin/,; s,/etc/remapfs/,$SCRATCH/conf/,; s/^(TimeoutStopSec)=.*/\1=3/" \
    "$unit" >"units/${unit##*/}"
done
for target in local-fs umount shutdown exit; do
  printf '[Unit]\nDefaultDependencies=no\n' >"units/$target.target"
done
cat >units/try.target <<UNIT
[Unit]
Wants=try.service
UNIT
cat >units/try.service <<UNIT
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
Environment=PATH=$bin:$PATH
WorkingDirectory=$SCRATCH
StandardOutput=file:$SCRATCH/try.log
StandardError=file:$SCRATCH/try.log
ExecStart=/bin/bash -Eeuxo pipefail $SCRATCH/try.sh
ExecStopPost=/bin/systemctl --force exit
UNIT
printf 'VOLUME=%s\nMOUNTPOINT=%s\n' "$VOLUME" "$MNT" >conf/data.conf
volume_make 32M 2M
inject --sectors 100 --on write

cat >try.sh <<'SCRIPT'
last_event() {
  sqlite3 volume "SELECT event FROM history ORDER BY id DESC LIMIT 1"
}
# It is hardened, and all others see what it mounts.
systemctl start remapfs-loop@data
pid=$(systemctl show -P MainPID remapfs@data)
grep -Eq '^Seccomp:[[:space:]]2' "/proc/$pid/status"
grep -Eq '^NoNewPrivs:[[:space:]]1' "/proc/$pid/status"
[ "$(systemctl show -P StatusText remapfs@data)" = serving ]
test -f mnt/disk.img
# A file system on it, and a sector that moves.
loop=$(losetup -nlO NAME,BACK-FILE | awk -v image="$PWD/mnt/disk.img" '$2 == image { print $1 }')
mkfs.ext4 -q -F "$loop"
head -c 512 /dev/urandom >data
dd if=data of="$loop" bs=512 seek=100 oflag=direct conv=notrunc status=none
sqlite3 volume 'SELECT event, main_sector FROM history' | grep -x 'remapped|100'
# Another worker, which has all that the first one was allowed.
systemctl reload remapfs@data
dd if="$loop" bs=512 skip=100 count=1 iflag=direct status=none | cmp - data
# The loop device goes first, and all of it in order.
systemctl stop remapfs@data
systemctl is-failed remapfs@data remapfs-loop@data && exit 1
! mountpoint -q mnt
! losetup -nlO BACK-FILE | grep -F "$PWD/mnt"
[ "$(last_event)" = closed ]
# One that is held open ends in order, too, when its time is up.
systemctl start remapfs@data
exec 9<mnt/disk.img
systemctl stop remapfs@data
[ "$(last_event)" = closed ]
# What cannot start fails, and at once.
mv volume gone
! systemctl start remapfs@data
systemctl is-failed remapfs@data
echo done >done
SCRIPT

say "systemd starts, reloads and stops them"
cat >boot.sh <<'SCRIPT'
# What others have mounted is nothing for this systemd to end.
leave_other_mounts
mount -t tmpfs tmpfs /run
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mkdir -p /run/systemd
exec env -i PATH="$PATH" container=remapfs-test SYSTEMD_UNIT_PATH="$PWD/units" \
  /lib/systemd/systemd --system --unit=try.target --log-target=console --show-status=0
SCRIPT
BOUND=120 bounded unshare "${namespaces[@]}" bash -eu boot.sh >console.log 2>&1 || :
[ -e done ] || fail "$(tail -n 40 try.log console.log)"
