#!/bin/bash
# A volume that came by mail: a spare's row with the path of a folder, of a file of root, of
# a link to one, in any state, makes nothing of it readable or writable for the worker.
. "$(dirname "$0")/../mount/lib.sh"
requires root jq

misbehave=$BUILD/tests/mount/libmisbehave.so
[ -e "$misbehave" ] || skip "$misbehave is not built: a sanitizer's build is not confined"
grep -q '^Seccomp_filters:' /proc/self/status || skip "this kernel has no seccomp"

volume_make 16M 1M
noise secret 1000
chmod 600 secret
ln -s secret link
cp secret before
cp "$VOLUME" clean
export MISBEHAVE=$VOLUME.misbehave

# look_from_inside WHAT: what the worker can open, and has open.
look_from_inside() {
  local target
  printf shadow >"$MISBEHAVE"
  noise data 8
  sector_write "$IMAGE" 64 8 <data
  bounded sync "$IMAGE" || fail "$1: no flush"
  assert_eq "$(cat "$MISBEHAVE")" "shadow: Permission denied" "$1: /etc/shadow"
  for target in "/proc/$(worker_pid)/fd"/* "/proc/$(daemon_pid)/fd"/*; do
    case $(readlink "$target") in
      "$SCRATCH/secret" | / | /etc | /etc/shadow | /proc/*) fail "$1: open is $(readlink "$target")" ;;
    esac
  done
}

paths=(/ /etc /etc/shadow /proc/self "$SCRATCH/secret" "$SCRATCH/link" "$SCRATCH")

# spare_row ID STATE PATH
spare_row() {
  sql "INSERT INTO spare (id, uuid, added_at, path, \"offset\", length, slots, state) VALUES
    ($1, '00000000-0000-4000-8000-$(printf %012d "$1")', '2026-01-01T00:00:00.000Z', '$3', 0, 1048576, 1000, '$2')"
}

say "in use: refused before a worker is there, unless it is a file of the right size"
for state in active retiring; do
  for path in "${paths[@]}"; do
    cp clean "$VOLUME"
    spare_row 2 "$state" "$path"
    code=0
    LD_PRELOAD=$misbehave bounded remapfs "$VOLUME" "$MNT" >mount.log 2>&1 </dev/null || code=$?
    assert_eq "$code" 32 "mount with a spare $state at $path"
    assert_same secret before "a file of root, as a spare $state at $path"
  done
done

say "left: no reason to refuse the volume, and nothing is opened of it"
cp clean "$VOLUME"
id=1
for state in retired lost; do
  for path in "${paths[@]}"; do
    id=$((id + 1))
    spare_row "$id" "$state" "$path"
  done
done
LD_PRELOAD=$misbehave bounded remapfs "$VOLUME" "$MNT" >mount.log 2>&1 </dev/null || fail "$(cat mount.log)"
! grep -q 'not confined' mount.log || skip "this container lets no process be confined"
look_from_inside "spares that left"
image_unmount
assert_same secret before "a file of root"

say "a folder that was exchanged for a link after the mount opens nothing to the next worker"
mkdir place
cp "$VOLUME" place/volume
VOLUME=$SCRATCH/place/volume MISBEHAVE=$SCRATCH/place/volume.misbehave
LD_PRELOAD=$misbehave bounded remapfs "$VOLUME" "$MNT" >mount.log 2>&1 </dev/null || fail "$(cat mount.log)"
if [ "$(uname -r | awk -F. '{ print $1 * 1000 + $2 }')" -ge 6009 ]; then
  worker=$(worker_pid) supervisor=$(daemon_pid)
  mv place moved
  ln -s / place
  kill -9 "$worker"
  sleep 1
  rm place
  mv moved place
  is_served() {
    worker_serves && [ "$(worker_pid)" != "$worker" ]
  }
  wait_for 20 is_served || fail "no worker follows: $(cat status.json)"
  assert_eq "$(daemon_pid)" "$supervisor" "supervisor"
  look_from_inside "a folder that was exchanged"
fi
image_unmount
