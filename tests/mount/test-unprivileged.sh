#!/bin/bash
# All of it without root: mkfs.ext4, e2fsck, debugfs and fuse2fs on disk.img
# itself, on a disk whose sectors 0 and 2 cannot be written.

# Where /dev/fuse is for root alone, the test puts one for everybody in its
# place, in a mount namespace of its own.
if [ -n "${REMAPFS_SCRATCH:-}" ] && [ -z "${OWN_MOUNTS:-}" ] && [ "$(id -u)" = 0 ] &&
  unshare -m --propagation unchanged true 2>/dev/null; then
  OWN_MOUNTS=1 exec unshare -m --propagation unchanged "$BASH" "$0" "$@"
fi
# What others had mounted just then would stay busy as long as this namespace
# lives. Only what is private: the end of another one would be theirs as well.
[ -z "${OWN_MOUNTS:-}" ] ||
  awk '!/ shared:/ && / - (fuse[^ ]*|[^ ]+ \/dev\/loop[0-9]+) / { print $5 }' /proc/self/mountinfo |
  tac | while read -r target; do umount -l "$target" 2>/dev/null || :; done
. "$(dirname "$0")/lib.sh"
requires jq mkfs.ext4 e2fsck debugfs fuse2fs

[ -e /etc/mtab ] || skip "no /etc/mtab, without which fusermount3 lets no user unmount"

# Root becomes somebody without rights; anybody else stays who they are.
if [ "$(id -u)" = 0 ]; then
  requires runuser
  id nobody >/dev/null 2>&1 || skip "no user nobody here"
  AS_USER=(runuser -u nobody --)
  if ! bounded test -w /dev/fuse; then
    [ -n "${OWN_MOUNTS:-}" ] || skip "/dev/fuse is for root alone here, and unshare -m is refused"
    mknod -m 0666 "$SCRATCH/fuse" c 10 229 2>/dev/null &&
      bounded test -w "$SCRATCH/fuse" &&
      mount --make-private "$(stat -c %m /dev/fuse)" &&
      mount --bind "$SCRATCH/fuse" /dev/fuse ||
      skip "/dev/fuse is for root alone here, and no other can be put in its place"
  fi
  [ -u "$(readlink -f "$(command -v fusermount3)")" ] || skip "fusermount3 is not setuid here"
  # The build directory may be below a home that others cannot enter.
  mkdir "$SCRATCH/bin"
  cp "$BUILD/remapfs" "$BUILD/remapctl" "$SCRATCH/bin/"
  PATH=$SCRATCH/bin:$PATH
fi
mkdir work
[ ${#AS_USER[@]} = 0 ] || chown nobody work
cd work
VOLUME=$PWD/volume MAIN=$PWD/main.img SPARE=$PWD/spare.img MNT=$PWD/mnt IMAGE=$PWD/mnt/disk.img
bounded mkdir mnt fs

volume_make 100M 50M
inject --sectors 0,2 --on write

say "the bare disk"
image_mount -o noremap
must_fail 'input/output error|could not|warning' bounded mkfs.ext4 -F "$IMAGE"
image_unmount

say "mkfs.ext4 disk.img"
image_mount
assert_eq "$(ps -o user= -p "$(status_of .daemon.pid)" | xargs)" "$(bounded id -un)" "user of remapfs"
bounded mkfs.ext4 -q -F "$IMAGE"
bounded e2fsck -fn "$IMAGE" >"$SCRATCH/log" 2>&1 || fail "e2fsck: $(cat "$SCRATCH/log")"
assert_eq "$(remapped_sectors_list)" "0 2" "remapped"

# Where fuse.conf has it, root is let in.
if losetup -f >/dev/null 2>&1 && ! grep -qx '\s*user_allow_other\s*' /etc/fuse.conf; then
  say "no loop device where root may not enter"
  must_fail 'root may not enter.*user_allow_other' bounded remapctl attach "$VOLUME"
  [ ${#AS_USER[@]} = 0 ] || for what in "$VOLUME" "$MNT"; do
    must_fail 'denied; root may not enter.*user_allow_other.*mount again$' timeout 60 remapctl attach "$what"
  done
fi

say "debugfs"
head -c 300000 /dev/urandom >"$SCRATCH/file"
chmod 644 "$SCRATCH/file"
bounded debugfs -w -R "write $SCRATCH/file file" "$IMAGE" >"$SCRATCH/log" 2>&1
bounded debugfs -R "dump file dumped" "$IMAGE" >"$SCRATCH/log" 2>&1
assert_same dumped "$SCRATCH/file" "written and dumped by debugfs"

say "fuse2fs"
real_tree "$SCRATCH/tree" 10
chmod -R u+rwX,go+rX "$SCRATCH/tree"
inject --random 2000 --on write
bounded fuse2fs -o fakeroot "$IMAGE" fs >"$SCRATCH/log" 2>&1 || fail "fuse2fs: $(cat "$SCRATCH/log")"
bounded cp -r "$SCRATCH/tree" fs/
bounded diff -r "$SCRATCH/tree" fs/tree >&2 || fail "the tree differs in fuse2fs"
wait_for 20 try_unmount fs || fail "fuse2fs: $(cat "$SCRATCH/unmount.log")"

fuse2fs_ended() {
  ! test_processes | grep -q ' fuse2fs$'
}
wait_for 30 fuse2fs_ended || fail "fuse2fs does not end"
bounded e2fsck -fn "$IMAGE" >"$SCRATCH/log" 2>&1 || fail "e2fsck: $(cat "$SCRATCH/log")"

say "restart"
image_unmount
image_mount
bounded e2fsck -fn "$IMAGE" >"$SCRATCH/log" 2>&1 || fail "e2fsck: $(cat "$SCRATCH/log")"
bounded debugfs -R "rdump /tree $PWD" "$IMAGE" >"$SCRATCH/log" 2>&1
bounded diff -r "$SCRATCH/tree" tree >&2 || fail "the tree differs after a restart"
stray=$(sql "SELECT count(*) FROM (
  SELECT * FROM ($(each_sector remap main_sector)) EXCEPT SELECT * FROM ($(each_sector fault sector)))")
assert_eq "$stray" 0 "remapped sectors that are not bad"
say "$(status_of .remapped_sectors) sectors remapped"
image_unmount
