#!/bin/bash
# What a newcomer does: the commands of README.md, taken from README.md.
. "$(dirname "$0")/lib.sh"
requires root loop jq sqlite3 mkfs.ext4 e2fsck ddrescue
README=${README:-$TESTS/../../README.md}

# block HEADING WORD: the indented lines below "## HEADING" from the first
# paragraph that begins with WORD, up to text again.
block() {
  awk -v heading="## $1" -v word="$2" '
    /^## / { inside = $0 == heading }
    inside && /^[^ ]/ { if (shown) exit }
    inside && index($0, "    " word) == 1 { shown = 1 }
    inside && shown { sub(/^    /, ""); print }
  ' "$README"
}

# A script of them: each must succeed, unless its comment says that it fails.
script() {
  echo 'set -euo pipefail'
  sed "s,/path/to/remapfs/build,$BUILD," |
    awk '
      { command = $0; comment = ""; at = match(command, /(^|[ ]+)# /) }
      at { comment = substr(command, RSTART); command = substr(command, 1, RSTART - 1) }
      command == "" { next }
      { print "echo \x27+\x27 " "\"" NR "\"" }
      comment ~ /# fails/ { print "if " command "; then echo \"line " NR " should fail\"; exit 1; fi"; next }
      { print command }'
}

# walk NAME HEADING WORD: what the README says there, as one would type it.
walk() {
  block "$2" "$3" >"$1.txt"
  [ "$(grep -c . "$1.txt")" -ge 10 ] || fail "README has no such commands under '$2': $(cat "$1.txt")"
  script <"$1.txt" >"$1.sh"
  BOUND=120 bounded bash "$1.sh" >"$1.log" 2>&1 ||
    fail "README, '$2', line $(grep '^+ ' "$1.log" | tail -1) of: $(cat -n "$1.txt") $(cat "$1.log")"
}

mkdir empty
cd empty

say "See it"
walk see 'See it' 'export PATH'
# Whoever closes a database last, as the daemon just now, has it alone for a moment.
seen=$(sqlite3 -cmd '.timeout 10000' my.volume "SELECT group_concat(main_sector) FROM history WHERE event = 'remapped'")
assert_eq "$(tr ',' '\n' <<<"$seen" | sort -nu | head -2 | xargs)" "0 2" "remapped sectors in the history"
grep -q '|remapped|' see.log || fail "the query shows no remap: $(cat see.log)"
wait_for 20 eval '[ ! -e my.volume.sock ]'
bounded remapfs my.volume disk
R=$(bounded remapctl attach my.volume)
bounded e2fsck -fn "$R" >fsck.log 2>&1 || fail "e2fsck: $(cat fsck.log)"
bounded mount -o ro "$R" files
for tree in /usr/share/perl*; do
  bounded diff -r --no-dereference "$tree" "files/${tree##*/}" >&2 || fail "what was copied differs"
done
bounded umount files
bounded remapctl detach my.volume
bounded fusermount3 -u disk

say "A disk of your own, and away from it"
head -c 32M /dev/urandom >disk.raw
cp disk.raw before.raw
walk own 'A disk of your own, and away from it' 'remapctl create'
cp before.raw expected
dd if=/dev/zero of=expected bs=512 count=8 seek=5000 conv=notrunc status=none
assert_same good.raw expected "what ddrescue saved, the lost sectors zero"
awk '$3 == "-" { print $1, $2 }' map >lost
assert_eq "$(cat lost)" "$(printf '0x%08X  0x%08X' $((5004 * 512)) $((4 * 512)) | tr -s ' ')" \
  "what ddrescue's map says is lost"
cmp -n $((5000 * 512)) disk.raw before.raw || fail "main changed"
grep -q remapped own.log || fail "the history shows no remap: $(cat own.log)"
