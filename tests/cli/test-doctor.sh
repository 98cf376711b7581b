#!/bin/bash
# remapctl doctor: what it says of this machine is so, and every trouble of a
# volume is found, with its remedy and exit code.
. "$(dirname "$0")/look.sh"
requires jq sqlite3 stat

# doctor CODE ARGUMENT...: to ./findings.
doctor() {
  local expected=$1 code=0
  shift
  bounded remapctl doctor -J "$@" >findings 2>said || code=$?
  [ "$code" = "$expected" ] || fail "exit code $code instead of $expected: $(cat said findings)"
}

# says CHECK RESULT [TEXT]: every finding of that check.
says() {
  local results
  results=$(jq -r --arg c "$1" '[.checks[] | select(.check == $c) | .result] | unique | join(" ")' findings)
  [ "$results" = "$2" ] || fail "$1 is '$results' instead of '$2': $(cat findings)"
  jq -e --arg c "$1" --arg t "${3-}" '[.checks[] | select(.check == $c) | .text | contains($t)] | any' \
    findings >/dev/null || fail "$1 does not say '${3-}': $(cat findings)"
  # What passes needs no remedy, and what does not has one.
  jq -e '.checks | all((.result == "pass") == (.remedy == null))' findings >/dev/null ||
    fail "a remedy is missing, or is none: $(cat findings)"
}

machine() {
  local kernel expected
  doctor "$([ -w /dev/fuse ] && echo 0 || echo 1)"
  if [ -w /dev/fuse ]; then says fuse pass; else says fuse fail; fi
  if command -v fusermount3 >/dev/null; then says fusermount pass; else says fusermount warn; fi
  if grep -qxE '\s*user_allow_other\s*' /etc/fuse.conf 2>/dev/null; then expected=pass; else expected=warn; fi
  # What root mounts is root's, whatever the file says.
  [ "$(id -u)" != 0 ] || expected=pass
  says allow-other "$expected"
  kernel=$(uname -r)
  if [ "$(printf '%s\n' 6.9 "$kernel" | sort -V | head -1)" = 6.9 ]; then says kernel pass "$kernel"
  else says kernel warn "$kernel"; fi
}

in_order() {
  volume_make v.db 1M 64K
  doctor 0 v.db
  says state pass
  says pending pass
  says daemon note
  says spare-size pass
  says spare-slots pass
  says spare-rate note "first day"
  says scrub note
  says flush note
  # The same folder, and so the same disk.
  says database-disk warn
  says spare-disk warn "spare 1"
}

# A file of that name that takes no direct I/O: of a file system in memory, on
# older kernels; where it does, that is what has to be said.
direct() {
  local expected=warn
  dd if=main.img of=/dev/null bs=4096 count=1 iflag=direct status=none 2>/dev/null && expected=pass
  says main-direct "$expected"
}

# Rows are made older than they are, which no statement can do otherwise.
history_of_days() {
  sqlite3 v.db '.dbconfig enable_trigger off' "UPDATE history SET at =
    strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ((id - 1) * $1.0 / (SELECT max(id) FROM history) - $1) || ' days')"
}

rate() {
  (
    mkdir rate && cd rate
    volume_make v.db 1M 64K # 104 slots
    doctor 0 v.db
    history_of_days 20
    doctor 0 v.db
    says spare-rate pass "no slot was used up"
    # 40 slots in 20 days: the other 64 last 32 days.
    echo 'remap 10 1 1 0 5 40' | fill v.db
    history_of_days 20
    doctor 0 v.db
    says spare-rate warn "2 slots a day"
    says spare-rate warn "32 days"
    # 100 in 20 days: four are left, for less than a day.
    echo 'remap 1000 1 1 40 5 60' | fill v.db
    history_of_days 20
    doctor 1 v.db
    says spare-rate fail "5 slots a day"
    says spare-size pass
    # Old remaps are no rate.
    sqlite3 v.db '.dbconfig enable_trigger off' "UPDATE history SET at = strftime('%Y-%m-%dT%H:%M:%fZ', at, '-100 days')"
    doctor 0 v.db
    says spare-rate pass "no slot was used up"
  )
}

scrubbed() {
  (
    mkdir scrubbed && cd scrubbed
    volume_make v.db 1M 64K
    sqlite3 v.db "INSERT INTO history (at, event) VALUES (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 'scrub_done')"
    doctor 0 v.db
    says scrub pass
    history_of_days 400
    doctor 0 v.db
    says scrub warn "200 days ago"
  )
}

# trouble NAME RESULT TEXT CODE [REMEDY]: of a volume of its own, after the commands on stdin.
trouble() {
  (
    cd "$(mktemp -d trouble.XXXXXX)"
    volume_make v.db 1M 64K 64K
    bash -e /dev/stdin
    doctor "$4" v.db
    says "$1" "$2" "$3"
    jq -e --arg c "$1" --arg r "${5-}" '.checks[] | select(.check == $c) | (.remedy // "") | contains($r)' \
      findings >/dev/null || fail "$1 does not advise '${5-}': $(cat findings)"
  )
}

troubles() {
  trouble state fail 'main.img' 1 set-path <<<'mv main.img elsewhere'
  trouble main-direct fail 'No such file' 1 set-path <<<'mv main.img elsewhere'
  trouble spare-disk 'fail warn' 'spare 2' 1 <<<'mv spare2.img elsewhere'
  trouble spare-size fail 'no slot is free' 1 <<<'printf "%s\n" "remap 0 104 1 0" "remap 200 104 2 0" | fill v.db'
  trouble pending warn '3 sectors' 0 <<<'echo "pending 4 3 0 0" | fill v.db'
  trouble faults warn '2 sectors' 0 <<<'remapctl inject v.db add --sectors 4,9 >added'
  trouble spare-slots 'pass warn' '20 of 104' 0 <<<'echo "bad 2 10 20" | fill v.db'
  trouble volume fail 'cannot open' 1 <<<'rm v.db'
  trouble volume fail 'v.db' 1 <<<'echo nonsense >v.db'
}

small() {
  (
    mkdir small && cd small
    volume_make v.db 1G 64K
    doctor 0 v.db
    says spare-size warn 'less than one for 1000'
  )
}

# On another file system: told apart where both have a disk below, and never
# called the same.
elsewhere() {
  local other
  other=$(mktemp -d /dev/shm/remapfs-doctor.XXXXXX 2>/dev/null) || return 0
  if [ "$(stat -c %d "$other")" != "$(stat -c %d .)" ]; then
    remapctl create -q elsewhere.db --main elsewhere.img,size=1M --spare "$other/spare.img,size=64K" ||
      { rm -rf "$other"; fail "cannot make a spare in /dev/shm"; }
    doctor 0 elsewhere.db
    if [ "$(stat -f -c %T "$other")" = tmpfs ]; then says spare-disk warn 'in memory (tmpfs)'
    else says spare-disk note 'cannot be told'; fi
  fi
  rm -rf "$other"
}

machine
in_order
direct
rate
scrubbed
troubles
small
elsewhere
expect doctor-misuse 2 remapctl doctor v.db more
# People see the same.
remapctl doctor v.db >shown
[ "$(grep -cE '^(PASS|NOTE|WARN|FAIL)  ' shown)" = "$(remapctl doctor -J v.db | jq '.checks | length')" ] ||
  fail "findings are missing from the text"
grep -A1 '^WARN  database-disk' shown | grep -q -- '-> ' || fail "no remedy in the text"
echo "the doctor finds what there is"
