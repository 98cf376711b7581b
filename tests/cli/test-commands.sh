#!/bin/bash
# What the commands that change a volume print, and how they refuse. Those that look
# at one are in test-look.sh; tests/mount has them with a daemon.
. "$(dirname "$0")/look.sh"
requires sqlite3

DEVICE=/dev/remapfs-nosuch
# rm is for a program that made it all the same.
trap 'rm -f "$DEVICE"; cd /; rm -rf "$SCRATCH"' EXIT

making() {
  expect create 0 remapctl create v.db --main main.img,size=4M --spare spare1.img,size=512K \
    --spare spare2.img,size=256K
  expect create-exists 1 remapctl create v.db --main main.img --spare other.img,size=256K
  expect create-used-spare 1 remapctl create other.db --main main.img --spare spare1.img
  expect create-spare-is-database 1 remapctl create other.db --main main.img --spare v.db
  expect create-main-is-spare 1 remapctl create other.db --main spare1.img --spare other.img,size=256K
  expect create-main-is-database 1 remapctl create other.db --main v.db --spare other.img,size=256K
  expect create-small-spare 1 remapctl create other.db --main main.img --spare other.img,size=16K
  expect create-no-main 2 remapctl create other.db --spare other.img,size=256K
  expect create-no-size 1 remapctl create other.db --main nowhere.img --spare other.img,size=256K
  expect create-quiet 0 remapctl create -q quiet.db --main other-main.img,size=1M --spare q.img,size=64K
  expect create-no-device 1 remapctl create other.db --main "$DEVICE" --spare other.img,size=256K
  # A file is not made where only devices are: a name that was mistyped.
  expect create-device-main 1 remapctl create other.db --main "$DEVICE,size=1M" --spare other.img,size=256K
  expect create-device-spare 1 remapctl create other.db --main main.img --spare "$DEVICE,size=256K"
  expect create-one-spare 0 remapctl create one.db --main one.img,size=1M --spare one-spare.img,size=64K
  # Nothing is left of those that were refused.
  [ ! -e other.db ] && [ ! -e other.img ] && [ ! -e nowhere.img ] && [ ! -e "$DEVICE" ] ||
    fail "a refused create left files"
}

simulating() {
  expect inject-add 0 remapctl inject v.db add --sectors 1,5-8 --on write
  expect inject-add-slow 0 remapctl inject v.db add --sectors 90 --errno none --delay 20
  expect inject-add-spare 0 remapctl inject v.db add --spare 2 --sectors 100 --times 3
  expect inject-add-outside 1 remapctl inject v.db add --sectors 8192
  expect inject-add-nothing 2 remapctl inject v.db add
  SQUEEZE=1 expect inject-list 0 remapctl inject v.db list
  expect inject-list-json 0 remapctl inject v.db list -J -o ID,SECTOR,SECTORS,ON,LIFE
  SQUEEZE=1 expect inject-list-columns 0 remapctl inject v.db list -n -o SPARE_ID,TIMES
  expect inject-list-bad-column 2 remapctl inject v.db list -o WHO
  expect inject-volume-last 2 remapctl inject add v.db
  expect inject-volume-missing 2 remapctl inject add --sectors 1
  expect inject-clear 0 remapctl inject v.db clear --id 1
  expect inject-clear-none 1 remapctl inject v.db clear --id 1
  expect inject-clear-all 0 remapctl inject v.db clear
}

known_sectors() {
  expect mark 0 remapctl mark v.db --sectors 100-107,5000
  expect mark-again 0 remapctl mark v.db --sectors 100-107
  expect mark-outside 2 remapctl mark v.db --sectors 8192
  expect mark-nothing 2 remapctl mark v.db
  SQUEEZE=1 expect mark-list 0 remapctl list v.db
  expect export-badblocks-half 1 remapctl export -f badblocks v.db
  expect export-badblocks 0 remapctl export -f badblocks -b 512 v.db
  expect export-ddrescue 0 remapctl export -f ddrescue --state both v.db
  expect export-json 0 remapctl export -f json v.db
  expect export-csv 0 remapctl export -f csv v.db
  expect export-no-format 2 remapctl export v.db
  expect export-no-folder 1 remapctl export -f csv v.db nowhere/list
  printf '30\n31\n' >list
  expect import-dry-run 0 remapctl import -f badblocks --dry-run v.db list
  expect import 0 remapctl import -f badblocks v.db list
  printf '30\nx\n' >list
  expect import-malformed 1 remapctl import -f badblocks v.db list
  printf '4096\n' >list
  expect import-outside 1 remapctl import -f badblocks v.db list
  expect import-no-list 1 remapctl import -f badblocks v.db nowhere.list
  expect unmap-some 0 remapctl unmap v.db --sectors 100-103
  expect unmap-outside 2 remapctl unmap v.db --sectors 9000
}

spares() {
  expect add-spare 0 remapctl add-spare v.db spare3.img,size=256K
  expect add-spare-twice 1 remapctl add-spare v.db spare3.img
  expect add-spare-device 1 remapctl add-spare v.db "$DEVICE,size=256K"
  [ ! -e "$DEVICE" ] || fail "add-spare made a file among the devices"
  # The volume cannot be opened, so the spare is not taken: the file goes again.
  mv main.img hidden.img
  expect add-spare-refused 1 remapctl add-spare v.db spare4.img,size=256K
  mv hidden.img main.img
  [ ! -e spare4.img ] || fail "a refused add-spare left its file"
  expect retire-spare 0 remapctl retire-spare v.db 1
  expect retire-spare-again 1 remapctl retire-spare v.db 1
  expect retire-spare-no-number 2 remapctl retire-spare v.db x
  SQUEEZE=1 expect spares-status 0 remapctl status v.db
  for size in 256K 64K; do
    bounded remapctl add-spare -q one.db "lent-$size.img,size=$size"
    expect "retire-lost-$size" 0 remapctl retire-spare --lost one.db "$(sqlite3 one.db 'SELECT max(id) - 1 FROM spare')"
    bounded remapctl mark -q one.db --sectors 7
  done
}

scrub() {
  expect scrub-none 0 remapctl scrub v.db
  expect scrub-resume-none 1 remapctl scrub v.db resume
  expect scrub-start 0 remapctl scrub v.db start --rate 0
  expect scrub-done 0 remapctl scrub v.db
  expect scrub-json 0 remapctl scrub -J v.db
  expect scrub-bad-action 2 remapctl scrub v.db begin
  expect scrub-volume-last 2 remapctl scrub start v.db
}

# The first superblock of spare 2 and one descriptor.
mending() {
  expect check-clean 0 remapctl check v.db
  expect check-clean-quiet 0 remapctl check -q v.db
  expect check-clean-rows 0 remapctl check -n v.db
  expect check-clean-json 0 remapctl check -J v.db
  dd if=/dev/zero of=spare2.img bs=4096 count=1 conv=notrunc status=none
  SQUEEZE=1 expect check-damage 4 remapctl check v.db
  expect check-damage-json 4 remapctl check -J v.db
  SQUEEZE=1 expect check-repair 1 remapctl check --repair v.db
  expect check-no-volume 8 remapctl check nowhere.db
  expect check-misuse 16 remapctl check
  mv v.db v.old
  expect rebuild 0 remapctl rebuild v.db --main main.img --spare spare2.img --spare spare3.img
  SQUEEZE=1 expect rebuild-list 0 remapctl list v.db
  expect rebuild-exists 1 remapctl rebuild v.db --main main.img --spare spare2.img --spare spare3.img
  mv v.db v.new
  expect rebuild-one-missing 1 remapctl rebuild v.db --main main.img --spare spare2.img
  expect rebuild-device 1 remapctl rebuild v.db --main "$DEVICE" --spare spare2.img
  expect rebuild-no-spare 1 remapctl rebuild v.db --main main.img --spare main.img
  mv v.new v.db
}

without_a_daemon() {
  expect attach-not-mounted 1 remapctl attach v.db
  expect attach-no-folder 1 remapctl attach nowhere
  expect detach-not-mounted 1 remapctl detach v.db
  expect upgrade-not-mounted 1 remapctl upgrade v.db
  expect pause-not-mounted 1 remapctl scrub v.db pause
}

making
simulating
known_sectors
spares
scrub
mending
without_a_daemon
echo "PASS test-commands: $checked outputs are as expected"
