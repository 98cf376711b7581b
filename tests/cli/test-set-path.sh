#!/bin/bash
# remapctl set-path: what it takes for main and for a spare, and what it refuses.
. "$(dirname "$0")/look.sh"
requires sqlite3

paths() {
  sqlite3 v.db 'SELECT main_path FROM volume UNION ALL SELECT path FROM spare' | normalised | xargs
}

# refused NAME CODE ARGUMENT...: and nothing is changed.
refused() {
  local before after
  before=$(paths; remapctl history -n v.db)
  expect "set-path-$1" "$2" remapctl set-path v.db "${@:3}"
  after=$(paths; remapctl history -n v.db)
  [ "$before" = "$after" ] || fail "$1: refused, but paths or history were changed"
}

volume_make v.db 1M 64K 64K
bounded remapctl mark v.db --sectors 7 >/dev/null
mkdir elsewhere
mv main.img elsewhere/disk.img
mv spare1.img 'elsewhere/a spare,one=1.img'

expect set-path-main-gone 1 remapctl mark v.db --sectors 9
expect set-path-check-gone 8 remapctl check v.db
refused nothing 2
refused no-number 2 --spare elsewhere/disk.img
refused number-zero 2 --spare 0=elsewhere/disk.img
refused empty 2 --main ''
refused nowhere 1 --main nowhere.img
refused twice 1 --main elsewhere/disk.img --main elsewhere/disk.img
refused no-spare 1 --spare 3=spare2.img
refused no-folder 1 --main nowhere/disk.img
refused volume 1 --main v.db

truncate -s 2M larger.img
refused other-size 1 --main larger.img
refused main-is-spare 1 --main spare2.img
refused spare-is-main 1 --main elsewhere/disk.img --spare 1=elsewhere/disk.img
refused other-spare 1 --spare 1=spare2.img
truncate -s 64K plain.img
refused no-superblock 1 --spare 2=plain.img
(mkdir other && cd other && volume_make v.db 1M 64K 1M)
refused other-volume 1 --spare 1=other/spare1.img
refused main-is-other-spare 1 --main other/spare2.img
# One of two that cannot be is enough to change neither.
refused half 1 --main elsewhere/disk.img --spare 2=plain.img
mkdir folder
refused folder 1 --main folder
expect set-path-no-volume 1 remapctl set-path nowhere.db --main main.img

expect set-path-main 0 remapctl set-path v.db --main elsewhere/disk.img
expect set-path-spare-gone 1 remapctl mark v.db --sectors 9
expect set-path-spare 0 remapctl set-path v.db --spare '1=elsewhere/a spare,one=1.img'
SQUEEZE=1 expect set-path-history 0 remapctl history -n -o EVENT,SPARE_ID,DETAIL v.db
bounded remapctl check v.db >/dev/null || fail "check of a volume whose parts have moved"

# The same once more changes nothing, and is no error.
rows=$(remapctl history -n v.db | wc -l)
expect set-path-again 0 remapctl set-path v.db --main elsewhere/disk.img
[ "$(remapctl history -n v.db | wc -l)" = "$rows" ] || fail "what did not change was recorded"

# A spare that was used since it was copied; the copy has old data of sector 7.
cp spare2.img old.img
bounded remapctl mark v.db --sectors 11 >/dev/null
refused older-copy 1 --spare 2=old.img
cp spare2.img new.img
expect set-path-new-copy 0 remapctl set-path v.db --spare 2=new.img

# Main was copied to another disk: both fit, and that is told.
cp elsewhere/disk.img copy.img
expect set-path-both-fit 0 remapctl set-path -q v.db --main copy.img
bounded remapctl mark v.db --sectors 13 >/dev/null

# A name that leads to it, as in /dev/disk/by-id, is kept as it is.
ln -s copy.img by-id
expect set-path-link 0 remapctl set-path v.db --main by-id

# A spare that has left is not given a path.
bounded remapctl retire-spare -q v.db 1
refused retired 1 --spare '1=elsewhere/a spare,one=1.img'

echo "PASS test-set-path: $checked outputs are as expected"
