#!/bin/bash
# What bash offers behind remapctl and remapfs when TAB is pressed.
. "$(dirname "$0")/look.sh"

# shellcheck source=../../completion/remapctl
. "$TESTS/../../completion/remapctl"

# offered WORD...: completes the last of them, as bash calls the function: a = is
# a word of its own. Prints what is offered.
offered() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(($# - 1))
  COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
  # It is used in shells that do not have our options.
  (
    set +eEu
    trap - ERR
    "_$1" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>complaints
    [ ! -s complaints ] || { cat complaints >&2; exit 1; }
    printf '%s\n' "${COMPREPLY[@]}" | sort
  )
}

# offers EXPECTED WORD...
offers() {
  local expected=$1 seen
  shift
  seen=$(offered "$@")
  seen=${seen//$'\n'/ }
  [ "$seen" = "$expected" ] || fail "'$*' and TAB: '$seen' instead of '$expected'"
  checked=$((${checked:-0} + 1))
}

# What there is to choose from: two volumes, one with a blank in its name, and files
# that are none.
make_files() {
  volume_make v.db 1M 64K
  mkdir folder
  (cd folder && volume_make inner.db 1M 64K)
  cp v.db 'my volume'
  : >empty
  sqlite3 other.db 'CREATE TABLE t (x)'
  head -c 4096 /dev/urandom >noise
  printf 'SQLite format 3' >short
}

first_words() {
  offers "$(commands | sort | xargs)" remapctl ''
  offers 'scrub' remapctl sc
  offers 'retire-spare' remapctl reti
  offers 'rebuild report retire-spare' remapctl re
  offers '--help --version' remapctl --
  offers '' remapctl nonsense --
}

# Of every command: each option that --help has, and no other.
options() {
  local command expected
  for command in $(commands); do
    expected=$(remapctl "$command" --help | sed -nE 's/^ {1,5}(-.*)/\1/p' | sed 's/  .*//' |
      grep -oE -- '--?[a-z]+[a-z-]*|-[A-Z]' | sort -u | xargs)
    offers "$expected" remapctl "$command" -
  done
  offers '--warning' remapctl health --wa
  offers '--sectors --seed --spare' remapctl inject v.db add --s
  offers '--sectors --spare' remapctl inject v.db clear --s
  offers '--help --json --noheadings --output --raw -J -h -n -o -r' remapctl inject v.db list -
}

volumes() {
  local command
  for command in status scrub doctor attach detach; do
    offers 'folder my volume v.db' remapctl "$command" ''
  done
  offers 'v.db' remapctl status v
  offers 'folder/inner.db' remapctl status folder/
  offers 'my volume' remapctl status 'my\ v'
  offers 'my volume' remapctl status '"my v'
  offers 'v.db' remapctl list -o SLOT --json v
  offers 'v.db' remapctl list --output = SLOT v
  offers '' remapctl status v.db ''
  offers "$SCRATCH/v.db" remapctl status "$SCRATCH/v"
  HOME=$SCRATCH offers '~/v.db' remapctl status '~/v'
}

values() {
  offers 'SECTOR SECTORS SLOT SPARE_ID' remapctl pending -o S
  offers 'SLOT,SECTOR SLOT,SECTORS SLOT,SPARE_ID' remapctl pending -o SLOT,S
  offers '+SEQUENCE' remapctl list -o +SEQ
  offers 'AT' remapctl pending --output = A
  offers 'ID' remapctl history -o I
  offers 'DELAY_MS' remapctl inject v.db list -o DE
  offers 'badblocks csv ddrescue json' remapctl import --format ''
  offers 'ddrescue' remapctl export --format = d
  offers 'both' remapctl export --state b
  offers 'always auto' remapctl map --color = a
  offers 'both read write' remapctl inject v.db add --on ''
  offers 'pause' remapctl scrub v.db p
  offers 'pause resume start status' remapctl scrub --rate 1M v.db ''
  offers 'add clear list' remapctl inject v.db ''
  offers '1' remapctl retire-spare v.db ''
  offers '1' remapctl inject v.db add --spare ''
  offers '1=' remapctl set-path v.db --spare ''
  offers 'main.img' remapctl set-path v.db --spare 1 = ma
  offers 'main.img' remapctl set-path v.db --main ma
  offers '4096 512' remapctl create --sector-size ''
  offers 'main.img' remapctl create new.db --main ma
  offers 'spare1.img,length= spare1.img,offset= spare1.img,size=' remapctl create --spare spare1.img,
  offers 'empty' remapctl mark --file em
  offers 'noise' remapctl import --format json v.db no
}

daemon() {
  [ -x "$BUILD/remapfs" ] || return 0
  offers 'folder my volume v.db' remapfs ''
  offers 'folder' remapfs v.db ''
  offers 'folder' remapfs -o ro v.db f
  offers 'noremap' remapfs -o no
  offers 'ro,threads=' remapfs -o ro,t
  offers '--debug' remapfs --d
}

# soon WORD FILE: until it is in there, but no longer than some seconds.
soon() {
  local try
  for try in {1..100}; do
    ! grep -q "$1" "$2" || break
    sleep 0.1
  done
}

# In a shell that has nothing but the file, with a real TAB.
at_a_prompt() {
  command -v script >/dev/null || { echo "SKIP test-completion: no script(1), so no real TAB"; return; }
  printf '%s\n' 'bind "set bell-style none"' ". '$TESTS/../../completion/remapctl'" "PS1='ready: '" >rc
  : >answer >session
  { soon 'ready: ' session; printf 'remapctl hea\tv.d\t >answer 2>&1\nexit\n'; soon OK answer; } |
    TERM=dumb bounded script -qec "bash --noprofile --rcfile '$SCRATCH/rc' -i" /dev/null >session ||
    [ $? -lt 124 ] || fail "a shell does not end"
  grep -q OK answer 2>/dev/null || fail "at a prompt: $(cat session answer 2>&1)"
}

requires sqlite3 awk
make_files
first_words
options
volumes
values
daemon
at_a_prompt
echo "PASS test-completion: $checked completions"
