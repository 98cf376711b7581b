# Every pair of names for the same bytes, as members of one volume and of two: what
# each command does. Sourced after lib.sh; prints a table of it.
# shellcheck shell=bash

# The disk: a file with a partition, and what else there is of it. Each of these prints
# how the kind is given on the command line, and makes it. Several disks can be there at
# once: each in a directory of its own, with a mapping and an array of its own.
DISK_FILE=$SCRATCH/disk.img
DM=pair
MD=/dev/md9
disk_make() {
  rm -f "$DISK_FILE" "$SCRATCH/disk.link"
  truncate -s 8M "$DISK_FILE"
  printf 'label: dos\nstart=2048,size=8192\n' | sfdisk -q "$DISK_FILE"
  ln "$DISK_FILE" "$SCRATCH/disk.link"
}

disk_attach() {
  DISK=$(losetup -f --show "$DISK_FILE")
  bounded partx -u "$DISK" || fail "partx $DISK"
}

# kind_make KIND: its name in KIND_PATH.
kind_make() {
  case $1 in
    file) KIND_PATH=$DISK_FILE ;;
    hardlink) KIND_PATH=$SCRATCH/disk.link ;;
    loop | loop2) KIND_PATH=$(losetup -f --show "$DISK_FILE") ;;
    dm) dm_attach && KIND_PATH=/dev/mapper/$DM ;;
    md) md_attach && KIND_PATH=$MD ;;
    disk | partition | region)
      [ -n "$DISK" ] || disk_attach
      KIND_PATH=$DISK
      [ "$1" != partition ] || KIND_PATH=${DISK}p1
      ;;
  esac
}

dm_attach() {
  [ ! -b "/dev/mapper/$DM" ] || return 0
  echo "0 8192 linear $(losetup -f --show "$DISK_FILE") 2048" | bounded dmsetup create "$DM"
}

md_attach() {
  [ ! -b "$MD" ] || return 0
  bounded mdadm -q --build "$MD" --force --level=1 --raid-devices=1 \
    "$(losetup -f --show -o 1M --sizelimit 4M "$DISK_FILE")"
}

# As a spare; a region is inside the partition.
as_spare() {
  [ "$1" = region ] && echo "$2,offset=2M,length=2M" || echo "$2"
}

disk_loops() {
  losetup -nO NAME -j "$DISK_FILE" | xargs
}

# forget_kinds [LOOPS]: but for those that are in use.
forget_kinds() {
  local loop
  [ "$KEEP" = md ] || [ ! -b "$MD" ] || wait_for 10 mdadm -q --stop "$MD" || fail "mdadm --stop $MD"
  [ "$KEEP" = dm ] || [ ! -b "/dev/mapper/$DM" ] || wait_for 10 dmsetup remove "$DM" ||
    fail "dmsetup remove $DM"
  for loop in $(only_in "$(disk_loops)" "${1:-}"); do
    bounded partx -d "$loop" 2>/dev/null || :
    bounded losetup -d "$loop"
    [ "$loop" != "$DISK" ] || DISK=
  done
}
KEEP= # the kind that is in use

# verdict COMMAND...: what it said in a word; that it was taken is for the caller to judge.
verdict() {
  local code=0
  bounded "$@" >said 2>&1 </dev/null || code=$?
  if [ "$code" = 0 ]; then
    echo TAKEN
  elif grep -q 'are the same storage' said; then
    echo same
  elif grep -q 'in use by another remapfs' said; then
    echo claimed
  elif grep -Eq 'is in use( by|:|$| \()' said; then
    echo in-use
  elif grep -Eq 'may be the same storage' said; then
    echo unclear
  elif grep -q 'lies in\|carries data\|overlaps that' said; then
    echo content
  elif grep -q 'carries no .*superblock' said; then
    echo no-spare
  else
    echo "OTHER($(head -c 300 said))"
  fi
}

# refused PAIR VERDICTS...
all_refused() {
  local pair=$1
  shift
  printf '%-22s %s\n' "$pair" "$*"
  case "$*" in *TAKEN* | *OTHER*) fail "$pair: $*" ;; esac
}

# A volume of plain files, by links: to which of the kinds they lead comes later.
plain_volume() {
  ln -s "$SCRATCH/plain-main" main-link
  ln -s "$SCRATCH/plain-spare" spare-link
  truncate -s 4M plain-main plain-spare
  bounded remapctl create -q plain --main main-link --spare spare-link,offset=2M,length=512K
}

# plain_leads MAIN SPARE
plain_leads() {
  ln -sfn "$1" main-link
  ln -sfn "$2" spare-link
}

# one_volume MAIN SPARE: both in one.
one_volume() {
  local main spare seen=()
  kind_make "$1"
  main=$KIND_PATH
  kind_make "$2"
  spare=$(as_spare "$2" "$KIND_PATH")
  sum=$(sha256sum "$DISK_FILE")
  seen+=("$(verdict remapctl create new --main "$main" --spare "$spare")")
  plain_leads "$main" "$SCRATCH/plain-spare"
  seen+=("$(verdict remapctl add-spare plain "$spare")")
  seen+=("$(verdict remapctl set-path plain --spare "1=$KIND_PATH")")
  seen+=("$(verdict remapctl rebuild new --main "$main" --spare "$spare")")
  plain_leads "$main" "$KIND_PATH"
  seen+=("$(verdict remapfs plain "$MNT")")
  all_refused "$1 + $2" "${seen[@]}"
  assert_eq "$(sha256sum "$DISK_FILE")" "$sum" "$1 and $2: bytes of the disk"
  forget_kinds
}

# first_volume KIND: one that has it is in use.
first_volume() {
  rm -f first*
  disk_make
  kind_make "$1"
  if [ "$1" = region ]; then
    bounded remapctl create -q first --main first-main,size=64K --spare "$(as_spare region "$KIND_PATH")"
  else
    bounded remapctl create -q first --main "$KIND_PATH" --spare first-spare,size=64K
  fi
  bounded remapfs first "$MNT" 2>mount.log || fail "mount of $1: $(cat mount.log)"
}

# two_volumes FIRST SECOND: the first is in use, the second is given to another volume.
two_volumes() {
  local seen=() spare
  kind_make "$2"
  spare=$(as_spare "$2" "$KIND_PATH")
  plain_leads "$SCRATCH/plain-main" "$SCRATCH/plain-spare"
  # Main is always whole.
  if [ "$2" = region ]; then
    seen+=(-)
  else
    seen+=("$(verdict remapctl create new --main "$KIND_PATH" --spare new-spare,size=64K)")
  fi
  seen+=("$(verdict remapctl create new --main new-main,size=64K --spare "$spare" --force)")
  seen+=("$(verdict remapctl add-spare plain "$spare" --force)")
  seen+=("$(verdict remapctl set-path plain --spare "1=$KIND_PATH")")
  seen+=("$(verdict remapctl rebuild new --main plain-main --spare "$spare")")
  all_refused "$1 | $2" "${seen[@]}" "${mounted[$2]}"
}

# mount_all KIND...: each as the spare of a volume of its own, all at once, since a mount
# waits for whoever has the storage. What came of it in mounted.
mount_all() {
  local kind
  for kind; do
    kind_make "$kind"
    plain_leads "$SCRATCH/plain-main" "$SCRATCH/plain-spare"
    mkdir -p "of-$kind/mnt"
    ln -sfn "$KIND_PATH" "of-$kind/spare-link"
    truncate -s 64K "of-$kind/main"
    [ -e "of-$kind/volume" ] || sql_copy "of-$kind"
    (cd "of-$kind" && verdict remapfs volume mnt >verdict) &
  done
  wait
  for kind; do mounted[$kind]=$(cat "of-$kind/verdict"); done
}

# A volume whose spare is said to be behind the link.
sql_copy() {
  truncate -s 4M "$1/file"
  mv "$1/spare-link" "$1/kept"
  ln -s "$SCRATCH/$1/file" "$1/spare-link"
  bounded remapctl create -q "$1/volume" --main "$1/main" \
    --spare "$1/spare-link,offset=2M,length=512K"
  mv -T "$1/kept" "$1/spare-link"
}

# row FIRST KIND...: the lines of the table that begin with it.
row() {
  local first=$1 second used
  shift
  declare -A mounted
  mkdir "row-$first" && cd "row-$first"
  SCRATCH=$PWD MNT=$PWD/mnt DISK_FILE=$PWD/disk.img DISK=
  mkdir mnt
  plain_volume
  disk_make
  for second; do
    # Main is always whole.
    [ "$first" = region ] || one_volume "$first" "$second"
  done
  first_volume "$first"
  used=$(disk_loops)
  KEEP=$first
  mount_all "$@"
  forget_kinds "$used"
  for second; do
    two_volumes "$first" "$second"
    forget_kinds "$used"
  done
  KEEP=
  VOLUME=first image_unmount
  forget_kinds
}

# row_of FIRST WITH KIND...: those pairs that have one of the kinds WITH, if any is given.
row_of() {
  local first=$1 with=$2 kind seconds=()
  shift 2
  for kind; do
    [ -n "$with" ] && [[ " $with " != *" $first "* && " $with " != *" $kind "* ]] || seconds+=("$kind")
  done
  row "$first" "${seconds[@]}"
}

# pairs WITH KIND...: the table. Its rows are made beside each other: most of their time
# goes by while mounts wait for whoever has the storage.
pairs() {
  local with=$1 kind number=9 failed=
  declare -A rows
  shift
  for kind; do
    DM=pair-$kind MD=/dev/md$((number++))
    row_of "$kind" "$with" "$@" >"$kind.row" 2>&1 &
    rows[$kind]=$!
  done
  for kind; do wait "${rows[$kind]}" || failed+=" $kind"; done
  say "one volume: main + spare; create, add-spare, set-path, rebuild, mount"
  for kind; do grep -F ' + ' "$kind.row" || :; done
  say "two volumes: in use | given; create as main, as spare, add-spare, set-path, rebuild, mount"
  for kind; do grep -F ' | ' "$kind.row" || :; done
  [ -z "$failed" ] || fail "rows$failed: $(for kind in $failed; do grep -Ev ' [+|] ' "$kind.row" || :; done)"
}
