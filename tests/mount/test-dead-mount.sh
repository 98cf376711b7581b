#!/bin/bash
# Scenario 27: everything was killed, with a loop device and a file system on it. Every
# command that looks says so, and every message leads to the end: the commands that it
# names are run here, in their order. The same for a mount that no path leads to any more.
. "$(dirname "$0")/lib.sh"
requires root loop mkfs.ext4 jq sqlite3 unshare nsenter

noise data 2000
volume_make 32M 1M
ln -s "$MNT" link
ln -s mnt link2

# A file system with a file on it, part of it on slots.
stand_up() {
  image_mount
  loop_attach
  echo "$R $(loop_number "$R")" >hidden-loops
  if [ ! -e made ]; then
    mkfs.ext4 -q "$R"
    inject --sectors 20000-20199 --on write
  fi
  touch made
  mount "$R" "$FS"
  dd if=data of="$FS/$1" bs=1M conv=fsync status=none
}

# The commands between quotes in the remedy of ./said, what follows the first "; ".
commands_said() {
  sed 's/^[^;]*; //' said | grep -o "'[^']*'" | tr -d "'"
}

follow() {
  local command
  while read -r command; do
    say "  $command"
    # shellcheck disable=SC2086
    wait_for 10 bounded $command </dev/null 2>followed || fail "'$command' says: $(cat followed)"
  done < <(commands_said)
}

# The file system is whole, and holds what was written: on the disk as it is served.
serves() {
  local file
  image_mount
  bounded e2fsck -fp "$IMAGE" >fsck.log 2>&1 || [ $? = 1 ] || fail "fsck: $(cat fsck.log)"
  for file in "$@"; do
    bounded debugfs -R "dump $file back" "$IMAGE" 2>/dev/null
    assert_same back data "$file"
  done
  assert_eq "$(status_of .state)$(jq -r .trouble status.json)" ok "state"
  image_unmount
}

tells() {
  assert_eq "$(status_of .state)" failed "status"
  status_of .trouble | grep -q -- "$1" || fail "status says: $(status_of .trouble)"
  must_fail "CRITICAL - failed: .*$1" bounded remapctl health "$VOLUME"
  bounded remapctl metrics "$VOLUME" >metrics
  grep -q 'remapfs_volume_state{.*state="failed"} 1$' metrics || fail "metrics: $(grep state metrics)"
  bounded remapctl report -o report.html "$VOLUME"
  grep -q -- "$1" report.html || fail "the report says nothing"
  must_fail "FAIL +state +.*$1" bounded remapctl doctor "$VOLUME"
}

dead="the mount on $MNT is dead"
say "killed: whatever is run says it, and names the same commands"
stand_up killed
# The kernel drops the name when it is asked for it, and still remembers the folder: then
# it calls the file of the loop device deleted.
sleep 1.2
kill_daemon
! bounded stat "$IMAGE" >said 2>&1 || fail "a dead mount answers"
tells "$dead"
for command in "remapfs $VOLUME $MNT" "remapfs $VOLUME link" "remapfs $VOLUME link2/" "remapctl attach $VOLUME" \
  "remapctl attach $MNT" "remapctl attach $MNT/disk.img" "remapctl status $VOLUME" "remapctl doctor $VOLUME"; do
  # shellcheck disable=SC2086
  bounded $command >said 2>&1 </dev/null || :
  grep -qF -- "$dead" said || fail "'$command' says: $(cat said)"
  # The line itself: what stands around it in status and doctor is none of it.
  case $command in *status*) sed -i -n '/^state/p' said ;; *doctor*) sed -i -n 's/^ *-> \(umount.*\|.*losetup.*\)/x; \1/p' said ;; esac
  assert_eq "$(commands_said | tr '\n' ,)" "umount $FS,losetup -d $R,fusermount3 -u $MNT," "the commands of '$command'"
done
follow
serves killed

say "killed: detach"
stand_up detached
kill_daemon
must_fail "$R is mounted on $FS; unmount that first" bounded remapctl detach "$VOLUME"
bounded umount "$FS"
# What the kernel still held for the disk is lost, as it is with a disk that was pulled.
bounded remapctl detach "$VOLUME" 2>said || {
  grep -q "losetup -d $R" said || fail "detach says: $(cat said)"
  bounded losetup -d "$R"
}
must_fail "$dead" bounded remapfs "$VOLUME" "$MNT"
assert_eq "$(commands_said)" "fusermount3 -u $MNT" "the commands"
follow
serves detached

say "another volume of that name, which nobody killed, is not dead"
mkdir other
bounded remapctl create -q "other/$(basename "$VOLUME")" --main "other/main,size=1M" --spare "other/spare,size=64K"
stand_up again
kill_daemon
assert_eq "$(bounded remapctl status -J "other/$(basename "$VOLUME")" | jq -r .state)" ok "the other one"
assert_eq "$(status_of .state)" failed "this one"
bounded remapfs "$VOLUME" "$MNT" >said 2>&1 || :
follow
serves again

say "umount -l: out of sight, and in use"
for command in "remapfs $VOLUME $MNT" "remapctl attach $VOLUME" "remapctl status $VOLUME"; do
  stand_up hidden
  pid=$(daemon_pid)
  umount -l "$MNT"
  [ "$command" != "remapfs $VOLUME $MNT" ] || tells "out of sight"
  # shellcheck disable=SC2086
  bounded $command >said 2>&1 </dev/null || :
  case $command in *status*) sed -i -n '/^state/p' said ;; esac
  grep -qF "process $pid ends by itself" said || fail "'$command' says: $(cat said)"
  assert_eq "$(commands_said | tr '\n' ,)" "umount $FS,losetup -d $R," "the commands"
  follow
  wait_for 20 process_ended "$pid" || fail "process $pid does not end by itself"
  serves hidden
done
stand_up hidden
pid=$(daemon_pid)
umount -l "$MNT"
must_fail "$R is mounted on $FS" bounded remapctl detach "$VOLUME"
umount "$FS"
loop_detach
wait_for 20 process_ended "$pid" || fail "process $pid does not end after detach"
serves hidden

say "out of sight, without a loop device"
image_mount
pid=$(daemon_pid)
exec 7<"$IMAGE"
umount -l "$MNT"
must_fail "end the program that has its disk.img open, and process $pid ends" bounded remapfs "$VOLUME" "$MNT"
must_fail "no loop device is attached" bounded remapctl detach "$VOLUME"
exec 7<&-
wait_for 20 process_ended "$pid" || fail "process $pid does not end by itself"

say "hidden, and then killed"
stand_up gone
umount -l "$MNT"
kill -9 $(daemon_pid) $(worker_pid)
wait_for 10 no_daemon || fail "it survives"
# Whose they are, one that is dead does not say any more: others' may be among them.
must_fail "$R\b.* of a disk.img whose daemon died.*; .*'losetup -d .*$R\b" bounded remapctl detach "$VOLUME"
umount "$FS"
bounded losetup -d "$R"
serves gone

say "a mount namespace"
mkfifo stay
bounded unshare --mount --propagation private bash -c '
  leave_other_mounts
  remapfs "$1" "$2" >/dev/null 2>&1; echo up >up; read -r _ <stay' - "$VOLUME" "$MNT" &
wait_for 20 test -e up || fail "no mount in the namespace"
if ! nsenter -t "$(daemon_pid)" -m test -d "$SCRATCH"; then
  say "not shown: this is a chroot, which nsenter leaves"
  pid=$(daemon_pid)
  echo >stay
  wait
  kill "$pid"
  wait_for 20 process_ended "$pid" || fail "process $pid does not end by itself"
  exit 0
fi
assert_eq "$(status_of .state)" ok "state while others are in the namespace"
must_fail "is in another mount namespace; .*nsenter -t $(daemon_pid) -m umount $MNT" bounded remapfs "$VOLUME" "$MNT"
must_fail "another mount namespace" bounded remapctl attach "$VOLUME"
echo >stay
wait
pid=$(daemon_pid)
tells "a mount namespace that nobody uses any more"
bounded remapfs "$VOLUME" "$MNT" >said 2>&1 || :
assert_eq "$(commands_said)" "nsenter -t $pid -m umount $MNT" "the commands"
follow
wait_for 20 process_ended "$pid" || fail "process $pid does not end by itself"
serves gone
