#!/bin/bash
# Each trouble by its name, with a remedy that works: file systems that lack something,
# rights that lack, what is read-only, what is in memory, what is no disk image.
. "$(dirname "$0")/lib.sh"
requires root loop jq sqlite3 setpriv unshare chattr mkfs.ext4

POOR=$BUILD/tests/mount/poor_fs
[ -x "$POOR" ] || skip "needs poor_fs of a whole build"
mkdir poor low

# poor LACK: low is shown at poor without that.
poor() {
  mountpoint -q poor && bounded umount poor
  bounded "$POOR" low "$1" poor -o subtype=vfat 2>poor.log || fail "poor_fs: $(cat poor.log)"
}

# refuses REGEX COMMAND...: in one line; and nothing stays in ./low.
refuses() {
  must_fail "$@"
  assert_eq "$(wc -l <said)" 1 "lines of '${*:2}': $(cat said)"
  assert_eq "$(ls -A low)" "" "what '${*:2}' left"
}

new() {
  bounded remapctl create "$@" --main "$MAIN,size=1M" --spare "$SPARE,size=128K"
}

say "a file system without hard links, sockets, shared maps"
poor links
refuses "cannot be on fuse.vfat, which has no hard links; choose .*ext4" new poor/v
poor sockets
refuses "cannot be on fuse.vfat, which has no sockets; choose .*ext4" new poor/v
poor maps
refuses "cannot be on fuse.vfat, which has no shared memory maps of files; choose .*ext4" new poor/v

say "the remedy works; so does the same volume, copied there, say why it does not"
new -q "$VOLUME"
cp "$VOLUME" low/v
must_fail "cannot be used on fuse.vfat, which has no shared memory maps.*; move it.*ext4" bounded remapfs poor/v "$MNT"
image_mount
image_unmount
cp "$VOLUME" low/v
poor sockets
must_fail "cannot be used on fuse.vfat, which has no sockets; move it.*ext4" bounded remapfs poor/v "$MNT"
umount poor
# It is the one that was used last.
mv low/v "$VOLUME"
rm -f low/*
image_mount
image_unmount

for kind in vfat exfat; do
  grep -qw $kind /proc/filesystems && command -v mkfs.$kind >/dev/null || continue
  say "a real $kind"
  truncate -s 16M disk.$kind
  mkfs.$kind disk.$kind >mkfs.log
  mkdir $kind
  mount -o loop disk.$kind $kind
  must_fail "cannot be on $kind, which has no hard links" new $kind/v
  # As spare and main it will do.
  bounded remapctl create -q on-$kind --main $kind/main,size=1M --spare $kind/spare,size=128K
  umount $kind
done

say "sectors of 2048 bytes"
truncate -s 8M cd.img
cd_loop=$(losetup --find --show --sector-size 2048 cd.img)
one() {
  bounded remapctl create "$@" --main "$cd_loop" --spare one.img,size=512K
}
must_fail "has sectors of 2048 bytes; choose --sector-size 4096" one one
must_fail "has sectors of 2048 bytes; choose --sector-size 4096" one one --sector-size 512
one one --sector-size 4096 >/dev/null
must_fail "spare '$cd_loop' of 2048; .*--sector-size 4096" bounded remapctl create two --main two.img,size=1M --spare "$cd_loop"
bounded remapctl create -q two --sector-size 4096 --main two.img,size=1M --spare "$cd_loop"
losetup -d "$cd_loop"

say "root without its rights"
without() {
  bounded setpriv --bounding-set "-$1" --inh-caps "-$1" --ambient-caps "-$1" "${@:2}"
}
must_fail "root lacks CAP_SYS_ADMIN here, as in a container: run it with --cap-add SYS_ADMIN" \
  without sys_admin remapfs "$VOLUME" "$MNT"
# In a chroot nobody may make one.
if unshare --user --map-root-user true 2>/dev/null; then
  must_fail "user namespace without mounts of its own" bounded unshare --user --map-root-user remapfs "$VOLUME" "$MNT"
else
  say "not shown: user namespaces are refused here"
fi
chattr +i "$MAIN"
must_fail "main '$MAIN' is read-only \(it is marked so: .*chattr -i.*; make it writable, or mount with -o ro" \
  bounded remapfs "$VOLUME" "$MNT"
chattr -i "$MAIN"
chattr +i "$SPARE"
must_fail "spare .*is read-only \(it is marked so.*chattr -i" bounded remapfs "$VOLUME" "$MNT"
chattr -i "$SPARE"

# In a mount namespace of its own, with a /dev/fuse for everybody.
as_nobody() {
  # shellcheck disable=SC2016
  bounded unshare --mount bash -c '
    leave_other_mounts
    mount --bind fuse.dev /dev/fuse && exec setpriv --reuid nobody --regid nogroup --clear-groups "$@"' - "$@"
}
mknod -m 0666 fuse.dev c 10 229
mkdir bin theirs
cp "$BUILD/remapfs" bin/
mkdir own
bounded remapctl create -q own/v --main own/main,size=1M --spare own/spare,size=128K
chmod 777 own
chmod 666 own/*
if as_nobody test -w /dev/fuse 2>/dev/null && as_nobody test -x "$SCRATCH/bin/remapfs"; then
  say "a mount point of somebody else"
  must_fail "give a folder that is yours, and that you may write" as_nobody "$SCRATCH/bin/remapfs" own/v theirs
  as_nobody mkdir own/mnt
  must_fail "no_new_privs is set|set-user-ID root" as_nobody --no-new-privs "$SCRATCH/bin/remapfs" own/v own/mnt
fi

say "a main that is read-only"
truncate -s 4M ro.img
ro=$(losetup --find --show --read-only ro.img)
bounded remapctl create -q ro --main "$ro" --spare ro-spare.img,size=128K 2>said
grep -qE "warning: main '$ro' is read-only \(.*write-protected.*\); until that changes, .*-o ro only" said || fail "create says: $(cat said)"
must_fail "main '$ro' is read-only .*write-protected.*; make it writable, or mount with -o ro" bounded remapfs ro "$MNT"
bounded remapfs -o ro ro "$MNT"
bounded cmp -n 4194304 "$IMAGE" ro.img
pid=$(bounded remapctl status -J ro | jq .daemon.pid)
bounded fusermount3 -u "$MNT"
wait_for 20 process_ended "$pid" || fail "the read-only mount does not end"
must_fail "spare '$ro' is read-only \(.*write-protected.*\); make it writable, or use another" \
  bounded remapctl create bad --main other.img,size=1M --spare "$ro"
must_fail "spare '$ro' is read-only" bounded remapctl add-spare "$VOLUME" "$ro"
losetup -d "$ro"

say "a volume on a read-only file system is read"
truncate -s 16M folder.img
mkfs.ext4 -q folder.img
mkdir 'a%20?b'
mount -o loop folder.img 'a%20?b'
V='a%20?b/v'
bounded remapctl create -q "$V" --main 'a%20?b/main,size=1M' --spare 'a%20?b/spare,size=128K'
mount -o remount,ro 'a%20?b'
for command in status list pending history map report doctor check export health metrics; do
  options=()
  [ "$command" != report ] || options=(-o report.html)
  [ "$command" != export ] || options=(--format json)
  bounded remapctl "$command" "${options[@]}" "$V" >said 2>&1 || fail "$command says: $(cat said)"
done
mount -o remount,rw 'a%20?b'
echo log >"$V-wal"
mount -o remount,ro 'a%20?b'
must_fail "is on a read-only file system, and what is in its log .*; copy both to a folder that can be written" \
  bounded remapctl list "$V"
umount 'a%20?b'

say "in memory"
mkdir memory
mount -t tmpfs none memory
bounded remapctl create -q memory/v --main mem.img,size=1M --spare memory/s,size=128K 2>said
grep -q "warning: the database 'memory/v' is in memory (tmpfs), and gone at the next boot; put it on a disk" said &&
  grep -q "warning: the spare 'memory/s' is in memory (tmpfs)" said || fail "create says: $(cat said)"
bounded remapctl doctor memory/v >said
grep -q "WARN  database-disk the database is in memory (tmpfs)" said || fail "doctor: $(cat said)"
grep -q "WARN  spare-disk    spare 1 is in memory (tmpfs)" said || fail "doctor: $(cat said)"
bounded remapctl add-spare -q "$VOLUME" memory/more,size=128K 2>said
grep -q "warning: the spare '$SCRATCH/memory/more' is in memory" said || fail "add-spare says: $(cat said)"
# A loop device on a file there is no disk either; nor is what a live system writes to.
truncate -s 1M memory/disk
mem=$(losetup --find --show memory/disk)
bounded remapctl create -q loop.v --main mem2.img,size=1M --spare "$mem" 2>said
grep -q "warning: the spare '$mem' is in memory (tmpfs)" said || fail "create says: $(cat said)"
losetup -d "$mem"
if grep -qw overlay /proc/filesystems; then
  mkdir -p lower over memory/upper memory/work
  mount -t overlay -o "lowerdir=lower,upperdir=memory/upper,workdir=memory/work" none over
  bounded remapctl create -q over/v --main mem3.img,size=1M --spare mem3.spare,size=128K 2>said
  grep -q "warning: the database 'over/v' is in memory (tmpfs)" said || fail "create says: $(cat said)"
  umount over
fi
umount memory

say "image files that are no disk images"
# container NAME REMEDY PRINTF [AT]
container() {
  truncate -s 1M c.img
  # shellcheck disable=SC2059
  printf "$3" | dd of=c.img bs=1 seek="${4:-0}" conv=notrunc status=none
  bounded remapctl create -q c.v --main c.img --spare c.spare,size=128K 2>said
  grep -qE "warning: main 'c.img' is $1, not a disk: .*; .*$2" said || fail "create says: $(cat said)"
  bounded remapctl doctor c.v >said
  grep -q "WARN  main-format   main is $1" said || fail "doctor: $(cat said)"
  rm c.*
}
container qcow2 qemu-nbd 'QFI\xfb\0\0\0\3'
container VMDK qemu-img 'KDMV'
container VHDX qemu-img 'vhdxfile'
container VHD qemu-img conectix $((1048576 - 512))
container VDI qemu-img '\x7f\x10\xda\xbe' 64
container gzip unpack '\x1f\x8b\x08'
