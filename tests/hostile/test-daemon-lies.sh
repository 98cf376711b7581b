#!/bin/bash
# The volume of another user, whose daemon lies: root's attach, detach, upgrade, add-spare,
# status and doctor take no file, no loop device, no process and no descriptor for it. And
# one that does not lie is served by root as its user would.

# A mount that root enters takes a line in /etc/fuse.conf: in a namespace of our own.
if [ -z "${REMAPFS_LIES_NAMESPACE:-}" ] && [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
  REMAPFS_LIES_NAMESPACE=1 exec unshare --mount --propagation private "$BASH" "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
requires_stranger
requires loop jq losetup
id nobody >/dev/null 2>&1 || skip "fusermount3 knows no user without a name, and there is no nobody"
STRANGER=$(id -u nobody)
LIAR=$BUILD/tests/hostile/liar
leave_other_mounts
HIS=$SCRATCH/his
mkdir "$HIS"
chown "$STRANGER" "$HIS"
lie=$HIS/answer
log=$HIS/log

# his_volume NAME SIZE
his_volume() {
  (cd "$HIS" && as_stranger "$BUILD/remapctl" create -q "$1" --main "$1.main,size=$2" --spare "$1.spare,size=1M")
}

# says KEY=VALUE...: what the liar answers from now on; values are JSON.
says() {
  local text='{"ok": true, "version": "1", "scrub": null' word
  for word; do
    text+=", \"${word%%=*}\": ${word#*=}"
  done
  echo "$text}" >"$lie"
}

# lies NAME: the stranger answers for that volume of his.
lies() {
  : >"$log"
  chown "$STRANGER" "$log"
  setpriv --reuid="$STRANGER" --regid="$STRANGER" --clear-groups -- \
    "$LIAR" serve "$HIS/$1.sock" "$lie" "$log" 2>"$SCRATCH/liar.log" &
  liar=$!
  wait_for 10 test -S "$HIS/$1.sock" || fail "the liar does not listen: $(cat "$SCRATCH/liar.log")"
}

loops_of() {
  losetup -nO NAME,BACK-FILE | awk -v file="$1" '$2 == file { print $1 }' | xargs
}

# The number of the file system that is mounted there.
device_of() {
  awk -v at="$1" '$5 == at { number = $3 } END { print number }' /proc/self/mountinfo
}

his_volume v 8M
head -c 8M /dev/zero | tr '\0' '\245' >secret.img
printf 'secret of root!!' | dd of=secret.img conv=notrunc status=none
chmod 600 secret.img
cp secret.img before.img
echo '{}' >"$lie"
lies v

say "attach: a file that is not his"
says pid=1 worker_pid=1 'mountpoint="/"' "image=\"$SCRATCH/secret.img\"" 'device=""'
must_fail "names no mount of its user" bounded remapctl attach "$HIS/v"
assert_eq "$(loops_of "$SCRATCH/secret.img")" "" "loop devices of root's file"
says pid=1 "image=\"$SCRATCH/secret.img\"" "mountpoint=\"$SCRATCH\""
must_fail "names no mount of its user" bounded remapctl attach "$HIS/v"

say "detach: a loop device that is not his"
loop=$(losetup --find --show "$SCRATCH/secret.img")
must_fail "names no mount of its user" bounded remapctl detach "$HIS/v"
assert_eq "$(loops_of "$SCRATCH/secret.img")" "$loop" "root's loop device"
losetup -d "$loop"

say "the mount of root, in sight and out of it"
volume_make 8M 1M
image_mount
loop_attach
number=$(device_of "$MNT")
for mount in "$MNT" "$SCRATCH/elsewhere"; do
  says "pid=$liar" "worker_pid=$liar" "mountpoint=\"$mount\"" "image=\"$IMAGE\"" "device=\"$number\""
  for command in attach detach; do
    must_fail "names no mount of its user" bounded remapctl "$command" "$HIS/v"
    [ -n "$(cat "/sys/block/${R#/dev/}/loop/backing_file")" ] || fail "$command took $R away"
  done
done
say "his links to it"
ln -s "$MNT" "$HIS/to-mount"
ln -s "$VOLUME" "$HIS/to-volume"
ln -s "$HIS" "$HIS/to-links"
chown -h "$STRANGER" "$HIS"/to-*
for command in attach detach; do
  for link in to-mount to-mount/ to-volume to-links/to-mount; do
    must_fail "through a link of another user .$STRANGER. to a mount" bounded remapctl "$command" "$HIS/$link"
  done
done
ln -s mnt own-link
must_fail "attached already, as $R" bounded remapctl attach own-link

echo "$R" >"$SCRATCH/hidden-loops"
umount -l "$MNT"
must_fail "names no mount of its user" bounded remapctl detach "$HIS/v"
grep -q . "/sys/block/${R#/dev/}/loop/backing_file" || fail "detach took away $R, whose mount is out of sight"
loop_detach

say "upgrade: a process that is not his"
sleep 600 &
victim=$!
says "pid=$victim" 'worker_pid=7' 'upgrades_refused=0'
must_fail "the supervisor of .* has died|no supervisor of its own user" bounded remapctl upgrade "$HIS/v"
kill -0 "$victim" || fail "upgrade signalled root's process"
kill "$victim"

say "status and doctor: neither his paths nor his numbers"
says pid=1 worker_pid=1 "image=\"$SCRATCH/secret.img\"" 'mountpoint="/"' 'running=false' 'device="7:0"' \
  'troubles=7' 'spares="x"' 'reads=-1'
bounded remapctl status "$HIS/v" --json >said || :
assert_eq "$(jq -c '.daemon | [.running, .pid, .worker_pid, .image, .mountpoint, .device]' said)" \
  "[true,$liar,$liar,\"\",\"\",\"\"]" "status of what he says"
bounded remapctl doctor "$HIS/v" >said || :
! grep -q secret said || fail "doctor says: $(cat said)"

say "add-spare: a part of a disk that he may not open, and a file"
says pid=1 'image="/nowhere"'
for spare in secret.img,offset=1M,length=1M secret.img; do
  must_fail "as user $STRANGER, .*denied" bounded remapctl add-spare --force "$HIS/v" "$SCRATCH/$spare"
done
must_fail "as user $STRANGER, .*denied" bounded remapctl add-spare "$HIS/v" "$SCRATCH/new.img,size=1M"
[ ! -e new.img ] || fail "a spare was made where he may not make one"
assert_eq "$(cat "$log")" "" "what he got"
assert_same secret.img before.img "root's file"
kill "$liar"
wait "$liar" || :
rm -f "$HIS/v.sock"

say "one that does not lie, without access for root"
mkdir "$HIS/mnt"
chown "$STRANGER" "$HIS/mnt"
his_mount() {
  (cd "$HIS" && as_stranger "$BUILD/remapfs" "$@" v mnt) >mount.log 2>&1 || fail "mount: $(cat mount.log)"
}
his_unmount() {
  local pid=$1
  wait_for 10 try_unmount "$HIS/mnt" || fail "fusermount3 -u: $(cat "$SCRATCH/unmount.log")"
  wait_for 30 process_ended "$pid" || fail "remapfs ($pid) does not end"
}
mine=$VOLUME
VOLUME=$HIS/v
his_mount
must_fail 'root may not enter the mount of a user: add user_allow_other' bounded remapctl attach "$VOLUME"
pid=$(daemon_pid)
assert_eq "$(stat -c %u "/proc/$pid")" "$STRANGER" "user of process $pid"
assert_eq "$(ps -o ppid= -p "$(worker_pid)" | xargs)" "$pid" "parent of the worker"
assert_eq "$(status_of .daemon.image)" "$HIS/mnt/disk.img" "image"
if [ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge 6009 ]; then
  say "upgrade by root"
  bounded remapctl upgrade "$VOLUME" >said || fail "upgrade: $(cat said)"
  assert_eq "$(daemon_pid)" "$pid" "supervisor after an upgrade"
fi

say "add-spare by root: as his user"
must_fail "as user $STRANGER, .*denied" bounded remapctl add-spare "$VOLUME" "$SCRATCH/secret.img,offset=1M,length=1M" --force
bounded remapctl add-spare -q "$VOLUME" "$HIS/more,size=1M"
bounded remapctl add-spare -q "$VOLUME" "$HIS/part,size=4M,offset=1M,length=1M" 2>/dev/null ||
  { head -c 4M /dev/zero >"$HIS/part"; chown "$STRANGER" "$HIS/part"
    bounded remapctl add-spare -q "$VOLUME" "$HIS/part,offset=1M,length=1M"; }
assert_eq "$(stat -c '%u %a' "$HIS/more")" "$STRANGER 600" "owner and mode of the new spare"
assert_eq "$(status_of '.spares | length')" 3 "spares"
his_unmount "$pid"

[ -e /etc/fuse.conf ] && [ -n "${REMAPFS_LIES_NAMESPACE:-}" ] || { say "not shown: a mount that root enters"; exit 0; }
say "with access for root"
echo user_allow_other >fuse.conf
mount --bind fuse.conf /etc/fuse.conf
his_mount -o allow_other
pid=$(daemon_pid)
loop_attach "$VOLUME"
must_fail "attached already, as $R" bounded remapctl attach "$VOLUME"
must_fail "attached already, as $R" bounded remapctl attach "$HIS/mnt"
head -c 65536 /dev/urandom >data
dd if=data of="$R" oflag=direct bs=64K status=none
cmp -n 65536 data "$HIS/v.main" || fail "what was written to $R is not on main"

say "and then his daemon names another mount of his"
his_volume w 4M
mkdir "$HIS/other"
chown "$STRANGER" "$HIS/other"
(cd "$HIS" && as_stranger "$BUILD/remapfs" -o allow_other w other) >mount.log 2>&1 || fail "mount: $(cat mount.log)"
other=$(VOLUME=$HIS/w daemon_pid)
mv "$HIS/v.sock" "$HIS/true.sock"
says "pid=$liar" "device=\"$(device_of "$HIS/other")\"" "image=\"$HIS/mnt/disk.img\""
lies v
must_fail "has not the size of volume" bounded remapctl detach "$VOLUME"
grep -q . "/sys/block/${R#/dev/}/loop/backing_file" || fail "detach took away $R"
kill "$liar"
wait "$liar" || :
mv "$HIS/true.sock" "$HIS/v.sock"
fusermount3 -u "$HIS/other"
wait_for 30 process_ended "$other" || fail "remapfs ($other) does not end"
loop_detach "$VOLUME"
his_unmount "$pid"

say "a stranger's mount that calls itself root's"
mkdir "$HIS/dead"
chown "$STRANGER" "$HIS/dead"
as_stranger "$LIAR" mount "remapfs:$mine" "$HIS/dead"
must_fail 'connected' bounded stat -f "$HIS/dead"
bounded remapctl status "$mine" --json >said || :
assert_eq "$(jq -r .state said)" ok "state of root's volume"
must_fail 'no remapfs serves' bounded remapctl attach "$mine"
fusermount3 -u "$HIS/dead"
umount /etc/fuse.conf
