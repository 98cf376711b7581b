#!/bin/bash
# Every example of the manual pages does what it says. In man/*.scd, before one:
#
#     ; example [NEEDS]...   run it in a folder with disk.img, disk/ and files/;
#                            NEEDS volume: and disk.remap, on which some sectors
#                            moved; mount: and that is mounted on disk/;
#                            linux-VERSION: only from that kernel on
#     ; prints TEXT          and TEXT is in what it prints
. "$(dirname "$0")/lib.sh"
requires root loop mkfs.ext4 sfdisk sqlite3 jq badblocks ddrescue

# extract PAGE: its examples, as PAGE.N.sh with .needs and .prints beside it.
extract() {
  awk -v to="$SCRATCH/$(basename "$1" .scd)" '
    /^; example/ { base = to "." ++count; sub(/^; example ?/, ""); print >(base ".needs"); next }
    /^; prints / { print substr($0, 10) >(base ".prints"); next }
    /^```/ { inside = base != "" && !inside; if (!inside) base = ""; next }
    inside { print >(base ".sh") }' "$1"
}

# A volume with eight sectors that moved, and four that could not be read and are
# pending; no fault is left. It knows its parts by their paths, and every example
# runs in the same folder, so one is made and then copied.
make_past() {
  if [ -d "$SCRATCH/past" ]; then
    cp -a "$SCRATCH/past/." .
    return
  fi
  bounded remapctl create -q disk.remap --main disk.img --spare spare.img,size=4M
  bounded remapctl inject disk.remap add --sectors 200-203 --on read >/dev/null
  bounded remapctl mark -q disk.remap --sectors 100-107,200-203 2>/dev/null || [ $? = 1 ]
  bounded remapctl inject disk.remap clear >/dev/null
  assert_eq "$(sqlite3 disk.remap 'SELECT sector, sectors, state FROM bad_sectors' | xargs)" \
    "100|8|remapped 200|4|pending" "what examples begin with"
  cp -a . "$SCRATCH/past"
}

# What an example left mounted; the daemon ends before its folder goes.
leave() {
  local pid
  ! mountpoint -q files || bounded umount files
  mountpoint -q disk || return 0
  pid=$(bounded remapctl status --json disk.remap | jq .daemon.pid)
  bounded remapctl detach disk.remap 2>/dev/null || :
  wait_for 10 try_unmount disk || fail "$example: disk.img stays in use: $(cat "$SCRATCH/unmount.log")"
  wait_for 30 process_ended "$pid" || fail "$example: remapfs does not end"
}

# newer_kernel VERSION: that or later.
newer_kernel() {
  printf '%s\n' "$1" "$(uname -r)" | sort -VC
}

run() { # EXAMPLE
  local code=0 need prints
  example=$(basename "$1" .sh)
  mkdir -p "$SCRATCH/at/disk" "$SCRATCH/at/files"
  cd "$SCRATCH/at"
  truncate -s 16M disk.img
  for need in $(cat "${1%.sh}.needs"); do
    case $need in
      volume) make_past ;;
      mount)
        make_past
        bounded remapfs disk.remap disk </dev/null
        ;;
      linux-*)
        if ! newer_kernel "${need#linux-}"; then
          echo "SKIP $TEST_NAME: $example needs Linux ${need#linux-}"
          leave
          return
        fi
        ;;
      *) fail "$example: it needs '$need', and nobody knows what that is" ;;
    esac
  done
  bounded bash -e "$1" >"$SCRATCH/seen" 2>&1 </dev/null || code=$?
  [ "$code" = 0 ] || fail "$example: exit code $code: $(cat "$SCRATCH/seen")"
  if [ -f "${1%.sh}.prints" ]; then
    while read -r prints; do
      grep -qF -- "$prints" "$SCRATCH/seen" || fail "$example: prints no '$prints': $(cat "$SCRATCH/seen")"
    done <"${1%.sh}.prints"
  fi
  leave
  say "$example"
}

for page in "$TESTS"/../../man/*.scd; do
  extract "$page"
done
count=0
for file in "$SCRATCH"/*.sh; do
  run "$file"
  cd "$SCRATCH"
  rm -rf --one-file-system "$SCRATCH/at"
  count=$((count + 1))
done
[ "$count" -ge 20 ] || fail "only $count examples were found"
assert_eq "$(losetup -nlO BACK-FILE | grep -cF "$SCRATCH/" || :)" 0 "loop devices that are left"
say "$count examples"
