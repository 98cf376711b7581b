#!/bin/bash
# Who can put another file in the place of a volume, or files beside it: root does not use
# such a volume, others are warned, the doctor tells; what is in order is not stopped.
. "$(dirname "$0")/lib.sh"
requires_stranger
requires jq
OTHER=$((STRANGER - 1))

# new FOLDER: a volume of root's in it, made while the folder was root's alone.
new() {
  mkdir -p "$1"
  chown 0:0 "$1"
  chmod 755 "$1"
  VOLUME=$PWD/$1/v MAIN=$PWD/$1/m SPARE=$PWD/$1/s
  volume_make 1M 128K
  [ ! -s create.log ] || ! grep -q "others can\|another file" create.log || fail "create warns: $(cat create.log)"
}

# doctor_says RESULT: of the volume's folder.
doctor_says() {
  bounded remapctl doctor "$VOLUME" --json >doctor.json || [ $? = 1 ]
  assert_eq "$(jq -r '[.checks[] | select(.check == "folder") | .result][0]' doctor.json)" "$1" \
    "what the doctor says of $VOLUME"
}

# is_refused REGEX: root, by all that begins to use the volume; nothing is changed, and it can be looked at.
is_refused() {
  local before
  before=$(sha256sum "$VOLUME" "$MAIN" "$SPARE")
  must_fail "$1" bounded remapfs "$VOLUME" "$MNT"
  must_fail "$1" bounded remapctl check "$VOLUME"
  must_fail "$1" bounded remapctl check --repair "$VOLUME"
  must_fail "$1" bounded remapctl scrub "$VOLUME" start --wait -q
  must_fail "$1" bounded remapctl mark "$VOLUME" --sectors 1
  must_fail "$1" bounded remapctl unmap "$VOLUME" --sectors 1
  must_fail "$1" bounded remapctl set-path "$VOLUME" --main "$MAIN"
  must_fail "$1" bounded remapctl retire-spare "$VOLUME" 1
  must_fail "$1" bounded remapctl rebuild --force "$VOLUME" --main "$MAIN" --spare "$SPARE"
  assert_eq "$(sha256sum "$VOLUME" "$MAIN" "$SPARE")" "$before" "what was refused"
  assert_eq "$(find "$(dirname "$VOLUME")" -mindepth 1 -newer doctor.json | xargs)" "" "what a refusal has made"
  bounded remapctl status "$VOLUME" >/dev/null
}

is_used() {
  bounded remapctl check "$VOLUME" >said 2>&1 || fail "check: $(cat said)"
  image_mount
  image_unmount
  cat mount.log >>said
}

say "in order"
new guarded/below
doctor_says pass
is_used
! grep -q 'others can' said || fail "it warns: $(cat said)"
mkdir -m 1777 sticky
new sticky/mine
doctor_says pass
is_used
! grep -q 'others can' said || fail "it warns: $(cat said)"

say "of a user, in a home where root works: the owner of the volume"
mkdir home
chown "$STRANGER:$STRANGER" home
chmod 775 home
as_stranger "$BUILD/remapctl" create -q home/v --main home/m,size=1M --spare home/s,size=128K >said 2>&1 ||
  fail "create: $(cat said)"
[ ! -s said ] || fail "create warns: $(cat said)"
VOLUME=$PWD/home/v MAIN=$PWD/home/m SPARE=$PWD/home/s
doctor_says pass
is_used

say "a folder that others write"
for mode in 777 757 775; do
  new open
  chown 0:"$STRANGER" open
  chmod "$mode" open
  doctor_says fail
  is_refused "others can put another file in the place of .*chmod go-w"
  rm -r open
done
new far/between/near
chmod 777 far
doctor_says fail
is_refused "write folder '$PWD/far'"
chmod 1777 far
doctor_says pass
is_used
rm -r far

say "a folder of another user, sticky or not"
for mode in 755 1777; do
  new his/own
  chown "$STRANGER" his
  chmod "$mode" his
  doctor_says fail
  is_refused "user $STRANGER can put another file"
  rm -r his
done

say "by an ACL"
if command -v setfacl >/dev/null && new listed && setfacl -m "u:$STRANGER:rwx" listed 2>/dev/null; then
  doctor_says fail
  is_refused "others can put another file"
fi

say "a volume that others write"
new lent
chmod 666 lent/v
doctor_says fail
is_refused "others can write '$VOLUME' itself"

say "a shared sticky folder: root's own is used, with a warning"
mkdir -m 1777 shared
VOLUME=$PWD/shared/v MAIN=$PWD/shared/m SPARE=$PWD/shared/s
volume_make 1M 128K
grep -q "others can put files beside" create.log || fail "create does not warn: $(cat create.log)"
doctor_says warn
is_used
grep -q "others can put files beside" said || fail "no warning: $(cat said)"
say "and what another user put there is not root's, but is that user's"
as_stranger "$BUILD/remapctl" create shared/hv --main shared/hm,size=1M --spare shared/hs,size=128K >said 2>&1 ||
  fail "create: $(cat said)"
grep -q "others can put files beside" said || fail "create does not warn: $(cat said)"
as_stranger "$BUILD/remapctl" check shared/hv >said 2>&1 || fail "check: $(cat said)"
VOLUME=$PWD/shared/hv MAIN=$PWD/shared/hm SPARE=$PWD/shared/hs
doctor_says fail
is_refused "user $STRANGER can put another file"
SUDO_UID=$STRANGER bounded remapctl check "$VOLUME" >/dev/null
must_fail "user $STRANGER" env SUDO_UID="$STRANGER x" "$BUILD/remapctl" check "$VOLUME"

say "users are warned, not stopped"
mkdir open
chown "$OTHER" open
chmod 777 open
as_stranger "$BUILD/remapctl" create open/v --main open/m,size=1M --spare open/s,size=128K >said 2>&1 ||
  fail "create: $(cat said)"
grep -q "user $OTHER can put another file" said || fail "create does not warn: $(cat said)"
as_stranger "$BUILD/remapctl" check open/v >said 2>&1 || fail "check: $(cat said)"
grep -q "user $OTHER can put another file" said || fail "check does not warn: $(cat said)"

say "what is made by root"
must_fail "user $OTHER can put another file" bounded remapctl create open/r --main open/rm,size=1M --spare open/rs,size=128K
must_fail "user $OTHER can put another file" bounded remapctl rebuild open/r --main "$PWD/guarded/below/m" \
  --spare "$PWD/guarded/below/s"
assert_eq "$(ls open | xargs)" "m s v" "what a refused create has made"

say "a link of another user in a shared folder leads nowhere where the kernel says so"
if [ "$(cat /proc/sys/fs/protected_symlinks)" = 1 ]; then
  as_stranger ln -s "$PWD/guarded/below/v" shared/link
  must_fail "Permission denied" bounded remapfs "$PWD/shared/link" "$MNT"
  must_fail "Permission denied" bounded remapctl check "$PWD/shared/link"
fi
