#!/bin/bash
# mount(8), umount(8) and fstab, through mount.remapfs as it is installed.
. "$(dirname "$0")/lib.sh"
requires root jq cmake mount findmnt

DESTDIR=$SCRATCH/root cmake --install "$BUILD" >install.log 2>&1 || fail "install: $(cat install.log)"
helper=$(find "$SCRATCH/root" -name mount.remapfs)
[ -x "$helper" ] || fail "no mount.remapfs was installed, or it leads nowhere: $(ls -l "$helper")"

# mount(8) looks for the helper of a type in one place only. A type of this run's
# own, so that a remapfs that is installed here is neither used nor touched.
type=remapfs.test$$
trap 'rm -f "/sbin/mount.$type"' EXIT
ln -s "$helper" "/sbin/mount.$type"

# ended: after umount, everything is flushed and the locks are free.
unmount() {
  local pid
  pid=$(daemon_pid)
  bounded umount "$MNT"
  wait_for 30 process_ended "$pid" || fail "remapfs ($pid) does not end after umount"
}

# code EXPECTED COMMAND...: it ends with that, and nothing is mounted.
code() {
  local expected=$1 seen=0
  shift
  bounded "$@" >said 2>&1 || seen=$?
  assert_eq "$seen" "$expected" "exit code of '$*', which said: $(cat said)"
  ! mountpoint -q "$MNT" || fail "mounted after all: $*"
}

volume_make 16M 2M
inject --sectors 100 --on write
noise data 1

say "mount -t, with what fstab may hold"
bounded mount -t "$type" -o noatime,nodev,nofail,_netdev,user,comment=mine,x-systemd.automount \
  -o x-systemd.requires-mounts-for=/srv,relatime,threads=4 "$VOLUME" "$MNT"
assert_eq "$(findmnt -no FSTYPE,SOURCE "$MNT" | xargs)" "fuse.remapfs $VOLUME" "what is mounted"
findmnt -no OPTIONS "$MNT" | grep -q nodev || fail "nodev was lost"
sector_write "$IMAGE" 100 1 <data
must_fail 'mounted already' bounded mount -t "$type" "$VOLUME" "$FS"
unmount
assert_eq "$(sql "SELECT event FROM history ORDER BY id DESC LIMIT 1")" closed "last event"

say "fstab, by mount point and all of it, once and again"
echo "$VOLUME $MNT $type nofail,ro 0 0" >fstab
bounded mount -T fstab "$MNT"
sector_read "$IMAGE" 100 1 >seen
assert_same seen data "sector 100"
must_fail 'read-only|permission' sector_write "$IMAGE" 100 1 <data
bounded mount -T fstab -a || fail "mount -a takes what is mounted for something else"
unmount
bounded mount -T fstab -a
unmount

say "a volume whose name would end the option"
mkdir 'odd, name'
bounded remapctl create 'odd, name/volume' --main odd.img,size=16M --spare odd.spare,size=1M -q
bounded mount -t "$type" 'odd, name/volume' "$MNT"
bounded test -f "$IMAGE"
bounded umount "$MNT"

say "what cannot be mounted says so, with the codes of mount(8)"
code 32 mount -t "$type" "$SCRATCH/nothing" "$MNT"
code 1 mount -t "$type" -o nonsense "$VOLUME" "$MNT"
code 1 mount -t "$type" -o threads=none -s "$VOLUME" "$MNT"
code 1 "$helper" "$VOLUME" "$MNT" -o remount
grep -q 'mount it anew' said || fail "remount is refused with: $(cat said)"
code 1 "$helper" "$VOLUME" "$MNT" -N /proc/1/ns/mnt
code 1 "$helper" "$VOLUME"
code 32 "$helper" "$VOLUME" "$SCRATCH/nothing" -f
code 0 "$helper" "$VOLUME" "$MNT" -f -n -v
# What mount(8) keeps to itself, others may hand on.
code 0 "$helper" "$VOLUME" "$MNT" -f -o noauto,nofail,_netdev,users,user=me,comment=x,x-a.b=c,X-d

say "-s leaves out what is unknown, also for the worker"
bounded "$helper" "$VOLUME" "$MNT" -s -n -v -o rw,nonsense,other=1 -t "$type"
sector_read "$IMAGE" 100 1 >seen
assert_same seen data "sector 100"
unmount
