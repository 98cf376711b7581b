#!/bin/bash
#
# Bad input: every command with arguments that are missing, wrong, huge,
# negative, empty or hostile, and scenario 11 of the project: parts that cannot
# be a main or a spare. Each must be refused with the documented exit code and
# one line on stderr that begins with the program's name and names a remedy,
# and must leave every file as it was.
#
# Usage: test-bad-input.sh [-v] BUILD_DIR
#
# Needs: bash, coreutils, findutils, util-linux, sqlite3. What needs root, loop
# devices, FUSE or mkfs.ext4 is skipped where it is missing, with the reason.

set -u
export LC_ALL=C
umask 022

verbose=0
if [ "${1-}" = -v ]; then
	verbose=1
	shift
fi
build=$(realpath -- "${1:?usage: test-bad-input.sh [-v] BUILD_DIR}") || exit 1
for program in remapctl remapfs; do
	[ -x "$build/$program" ] || { echo "$build/$program is missing: build it first"; exit 1; }
done

passed=0 failed=0
root=$(mktemp -d "${TMPDIR:-/var/tmp}/remapfs-bad-input.XXXXXX") || exit 1
work=$root/work # what must not change
log=$root/log   # what the commands say
mkdir "$work" "$log" "$root/bin"
# Another user must get at the programs, and at nothing else.
chmod 711 "$root"
cp "$build/remapctl" "$build/remapfs" "$root/bin/"
chmod 755 "$root/bin" "$root/bin/"* "$work"
PATH=$root/bin:$PATH:/usr/sbin:/sbin
cd "$work" || exit 1

# ---- cleaning up ---------------------------------------------------------------

mounts_below()
{
	# Octal escapes, as the kernel writes them, are as good as none in our names.
	awk -v dir="$root/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r
}

loops_below()
{
	local file

	for file in /sys/block/loop*/loop/backing_file; do
		[ -e "$file" ] || continue
		case $(cat "$file" 2>/dev/null) in
		"$root"/*) file=${file#/sys/block/}; echo "/dev/${file%%/*}" ;;
		esac
	done
}

# A file system on a loop device on a mount: from the top downwards.
clean_up()
{
	local target device

	cd /
	for _ in 1 2 3; do
		for target in $(mounts_below); do
			timeout 20 umount "$target" 2>/dev/null ||
				timeout 20 fusermount3 -u "$target" 2>/dev/null ||
				timeout 20 umount -l "$target" 2>/dev/null
		done
		for device in $(loops_below); do
			timeout 20 losetup -d "$device" 2>/dev/null
		done
	done
	rm -rf "$root"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# ---- checking ------------------------------------------------------------------

# Names, types, sizes and times of change below the work folder: the kernel sets
# the latter with every write, and nobody can set it back. Left out: what SQLite
# keeps beside a database while it reads (an empty log, the index of the log),
# and what is mounted. As root SQLite gives each log that it opens its owner,
# which is a change: there it is the time of the last write.
state_of_files()
{
	find . -xdev -mindepth 1 ! -name '*-shm' ! \( -name '*-wal' -size 0 \) \
		\( -type d -printf '%p\n' -o -name '*-wal' -printf '%p %s %i %T@\n' \
		-o -printf '%p %y %s %m %l %i %C@\n' \)
}

fail()
{
	failed=$((failed + 1))
	printf 'FAIL:'
	printf ' %.200q' "${command[@]}"
	printf '\n      %s\n' "$1"
	head -c 2000 "$log/err" | sed 's/^/      stderr: /'
}

one_good_line()
{
	local line rest

	[ -s "$log/err" ] || { fail 'nothing on stderr'; return 1; }
	# The last thing that is read ends the file, and only after a newline.
	if ! { IFS= read -r line && ! IFS= read -r rest && [ -z "$rest" ]; } <"$log/err"; then
		fail 'not exactly one line on stderr'
		return 1
	fi
	case $line in
	"$1: "?*) ;;
	*) fail "the line does not begin with '$1: '"; return 1 ;;
	esac
	case $line in
	*[[:cntrl:]]*) fail 'control characters in the line'; return 1 ;;
	*";"*) ;;
	*) fail 'the line names no remedy'; return 1 ;;
	esac
}

before=

# refused CODE PROGRAM ARGUMENT...: runs it, and checks all that is promised.
# $as runs it as somebody else, $output takes its stdout.
as=() output=
refused()
{
	local expected=$1 code
	shift
	command=("$@")
	before=$(state_of_files)
	timeout 20 "${as[@]}" "$@" >"${output:-$log/out}" 2>"$log/err" </dev/null
	code=$?
	if [ "$verbose" = 1 ]; then
		printf '%.120q ' "$@"
		printf '\n    %d: %s\n' "$code" "$(head -c 600 "$log/err")"
	fi
	if [ "$code" != "$expected" ]; then
		fail "exit code $code instead of $expected"
	elif ! one_good_line "${1##*/}"; then
		:
	elif [ "$(state_of_files)" != "$before" ]; then
		fail 'files changed'
	else
		passed=$((passed + 1))
	fi
	# A daemon that should not have started must not spoil what follows.
	[ "$1" = remapfs ] && [ "$code" = 0 ] && unmount_all
	return 0
}

works()
{
	command=("$@")
	if timeout 20 "$@" >"$log/out" 2>"$log/err" </dev/null && [ ! -s "$log/err" ]; then
		passed=$((passed + 1))
	else
		fail "exit code $? of what should work quietly"
	fi
}

skip()
{
	echo "skip: $1: $2"
}

unmount_all()
{
	local target

	for target in $(mounts_below); do
		timeout 20 fusermount3 -u "$target"
	done
}

# ---- what there is to work with ------------------------------------------------

long=$(head -c 5000 /dev/zero | tr '\0' x)
long_name=$(head -c 255 /dev/zero | tr '\0' n)
hostile=$'a\nb\x1b[31mc\td\x7f'

make_files()
{
	truncate -s 2M main.img other.img
	head -c 1M /dev/urandom >spare.img
	head -c 1M /dev/urandom >second.img
	mkdir folder mnt
	mkfifo fifo
	ln -s nowhere dangling
	ln -s circle circle
	ln -s spare.img spare-link
	ln spare.img spare-hard
	: >empty
	echo 'not a database' >text
	head -c 65536 /dev/urandom >noise
	sqlite3 foreign.db 'CREATE TABLE t (x); INSERT INTO t VALUES (1);'
	echo 1 >sectors
}

make_volume()
{
	truncate -s 8M v-main.img
	timeout 60 remapctl create -q v.db --main v-main.img --spare v-spare.img,size=1M ||
		{ echo 'cannot make the volume that the tests need'; exit 1; }
	# The first command that writes turns the log of the database on.
	timeout 20 remapctl inject v.db clear >"$log/out"
	head -c 2048 v.db >cut.db
	cp v.db flipped.db
	printf '\xff\xff\xff\xff' | dd of=flipped.db bs=1 seek=100 conv=notrunc status=none
	cp v.db newer.db
	sqlite3 newer.db 'PRAGMA user_version = 99'
}

# ---- commands that read a volume ------------------------------------------------

not_a_volume=(nope folder empty text noise foreign.db cut.db flipped.db newer.db dangling circle
	fifo /dev/null main.img nowhere/v.db text/v.db "$long" "$long_name" "$hostile" ' ' -)

test_top_level()
{
	refused 2 remapctl
	refused 2 remapctl ''
	refused 2 remapctl nonsense
	refused 2 remapctl "$long"
	refused 2 remapctl "$hostile"
	refused 2 remapctl -x
	refused 2 remapctl --nonsense
	refused 2 remapctl --
	refused 2 remapctl --help=yes
	output=/dev/full refused 1 remapctl --help
	output=/dev/full refused 1 remapctl --version
	output=/dev/full refused 1 remapctl status v.db
	output=/dev/full refused 1 remapctl history v.db --json
	works remapctl --help
	works remapctl -h
	works remapctl --version
	works remapctl -V
	for name in $(remapctl --help | awk '/^[^ ]/ { inside = /\(8\)$/ } inside && /^ / { print $1 }'); do
		works remapctl "$name" --help
		works remapctl "$name" -h
	done
	for name in add list clear; do
		works remapctl inject v.db "$name" --help
	done
}

test_readers()
{
	local name file

	refused 2 remapctl scrub
	refused 2 remapctl scrub v.db begin
	refused 2 remapctl scrub v.db start extra
	refused 2 remapctl scrub v.db start --rate 1
	refused 2 remapctl scrub v.db start --rate=-1
	refused 2 remapctl scrub v.db start --json
	refused 2 remapctl scrub v.db pause --wait
	refused 2 remapctl scrub v.db status --rate 1M
	refused 1 remapctl scrub missing.db start
	works remapctl scrub v.db -J
	for name in status list pending history map; do
		refused 2 remapctl "$name"
		refused 2 remapctl "$name" ''
		refused 2 remapctl "$name" v.db extra
		refused 2 remapctl "$name" v.db ''
		refused 2 remapctl "$name" v.db -x
		refused 2 remapctl "$name" v.db -Jx
		refused 2 remapctl "$name" v.db --nonsense
		refused 2 remapctl "$name" v.db $'--non\nsense'
		refused 2 remapctl "$name" v.db "--$long"
		refused 2 remapctl "$name" v.db --json=yes
		refused 2 remapctl "$name" v.db $'-\xff'
		for file in "${not_a_volume[@]}"; do
			refused 1 remapctl "$name" -- "$file"
		done
	done
	for name in list pending history; do
		for file in '' x ',' 'id,' ',id' 'at,at' "$long" "$hostile" + '+x' 'at at'; do
			refused 2 remapctl "$name" v.db -o "$file"
		done
		refused 2 remapctl "$name" v.db -o
		refused 2 remapctl "$name" v.db --output
		refused 2 remapctl "$name" v.db --json --raw
	done
	for file in '' -1 +1 0 x 1x 1.5 0x10 ' 1' 99999999999999999999 9223372036854775808 \
		"$long" "$hostile"; do
		refused 2 remapctl history v.db --limit "$file"
	done
	for file in '' x garbage 2024-13-45 '2024-01-01; DROP TABLE history' "'" "$long" \
		"$hostile"; do
		refused 2 remapctl history v.db --since "$file"
	done
	refused 2 remapctl history v.db --since
	refused 2 remapctl history v.db --limit
}

# ---- inject ----------------------------------------------------------------------

bad_numbers=('' -1 +1 x 1x 1.5 0x10 ' 1' '1 ' 99999999999999999999 "$long" "$hostile")

test_inject()
{
	local file value option

	refused 2 remapctl inject
	refused 2 remapctl inject v.db
	refused 2 remapctl inject '' list
	refused 2 remapctl inject v.db ''
	refused 2 remapctl inject v.db nonsense
	refused 2 remapctl inject v.db "$hostile"
	refused 2 remapctl inject add v.db
	refused 2 remapctl inject --nonsense v.db list
	for option in add list clear; do
		refused 2 remapctl inject v.db "$option" extra
		refused 2 remapctl inject v.db "$option" --nonsense
		refused 2 remapctl inject v.db "$option" -x
	done
	for file in "${not_a_volume[@]}"; do
		[ "$file" = - ] && continue # an option where a volume is expected
		refused 1 remapctl inject "$file" list
		refused 1 remapctl inject "$file" clear
		refused 1 remapctl inject "$file" add --sectors 1
	done
	refused 2 remapctl inject - list
	refused 2 remapctl inject v.db list -o nonsense
	refused 2 remapctl inject v.db list --json --raw

	refused 2 remapctl inject v.db add
	refused 2 remapctl inject v.db add --sectors
	refused 2 remapctl inject v.db add --sectors 1 --random 1
	refused 2 remapctl inject v.db add --sectors 1 --sectors 2
	refused 2 remapctl inject v.db add --percent 1 --file sectors
	for value in '' ',' '1,' ',1' '1,,2' - -5 5- 5-3 1-2-3 x 1x 0x1 '1 2' 1.5 "$long" "$hostile" \
		99999999999999999999 0-99999999999999999999 9000000000000; do
		refused 2 remapctl inject v.db add --sectors "$value"
		refused 2 remapctl inject v.db clear --sectors "$value"
	done
	for value in 16384 0-16384 1,2,99999 8796093022207; do
		refused 1 remapctl inject v.db add --sectors "$value"
		refused 1 remapctl inject v.db clear --sectors "$value"
	done
	for value in "${bad_numbers[@]}"; do
		for option in random times delay seed spare; do
			refused 2 remapctl inject v.db add --random 1 "--$option" "$value"
		done
		refused 2 remapctl inject v.db clear --id "$value"
		refused 2 remapctl inject v.db clear --spare "$value"
	done
	refused 2 remapctl inject v.db add --random 0
	refused 1 remapctl inject v.db add --random 16385
	refused 1 remapctl inject v.db add --random 8796093022208
	refused 2 remapctl inject v.db add --random 8796093022209
	for value in '' 0 0.0 -1 101 100.01 x nan inf 1e1 5% 1,5 . 5. 0x5 "$long" "$hostile"; do
		refused 2 remapctl inject v.db add --percent "$value"
	done
	for value in nope folder empty text noise /dev/null /dev/zero "$long" "$hostile"; do
		refused 1 remapctl inject v.db add --file "$value"
	done
	refused 1 remapctl inject v.db add --file - # standard input is empty
	refused 2 remapctl inject v.db add --file ''
	for value in '' x READ readwrite both,read "$long" "$hostile"; do
		refused 2 remapctl inject v.db add --sectors 1 --on "$value"
	done
	for value in '' x EFOO 5 -5 eio 'EIO ' "$long" "$hostile"; do
		refused 2 remapctl inject v.db add --sectors 1 --errno "$value"
	done
	refused 2 remapctl inject v.db add --sectors 1 --errno none
	refused 2 remapctl inject v.db add --sectors 1 --errno none --delay 0
	refused 2 remapctl inject v.db add --sectors 1 --delay 3600001
	refused 2 remapctl inject v.db add --sectors 1 --times 0
	refused 2 remapctl inject v.db add --sectors 1 --times 2 --until-rewritten
	refused 2 remapctl inject v.db add --sectors 1 --until-rewritten --on write
	refused 2 remapctl inject v.db add --sectors 1 --until-rewritten --on both
	refused 2 remapctl inject v.db add --sectors 1 --until-rewritten=yes
	refused 2 remapctl inject v.db add --sectors 1 --seed 1
	refused 2 remapctl inject v.db add --sectors 1 --spare 0
	refused 2 remapctl inject v.db add --sectors 1 --spare 32768
	refused 1 remapctl inject v.db add --sectors 1 --spare 2
	refused 1 remapctl inject v.db add --sectors 2048 --spare 1
	refused 2 remapctl inject v.db clear --id 0
	refused 1 remapctl inject v.db clear --id 1
	refused 1 remapctl inject v.db clear --spare 2
	refused 2 remapctl inject v.db clear --id 1 --sectors 1
	refused 2 remapctl inject v.db clear --id 1 --spare 1
}

# ---- attach and detach ------------------------------------------------------------

test_attach()
{
	local name file

	for name in attach detach; do
		refused 2 remapctl "$name"
		refused 2 remapctl "$name" ''
		refused 2 remapctl "$name" --nonsense
		refused 2 remapctl "$name" -x v.db
		refused 2 remapctl "$name" a b c
		for file in "${not_a_volume[@]}" mnt /; do
			refused 1 remapctl "$name" -- "$file"
		done
		refused 1 remapctl "$name" v.db # nobody serves it
	done
	refused 2 remapctl attach v.db ''
	refused 1 remapctl attach v.db nope
	refused 1 remapctl attach v.db /dev/null
	refused 1 remapctl attach v.db main.img
	refused 2 remapctl detach v.db /dev/loop0
}

# ---- create: the command line ------------------------------------------------------

test_create_words()
{
	local value good=(--main main.img --spare spare.img)

	refused 2 remapctl create
	refused 2 remapctl create new.db
	refused 2 remapctl create new.db --main main.img
	refused 2 remapctl create new.db --spare spare.img
	refused 2 remapctl create "${good[@]}"
	refused 2 remapctl create '' "${good[@]}"
	refused 2 remapctl create new.db extra "${good[@]}"
	refused 2 remapctl create new.db "${good[@]}" --main other.img
	refused 2 remapctl create new.db "${good[@]}" --nonsense
	refused 2 remapctl create new.db "${good[@]}" --force=yes
	refused 2 remapctl create new.db "${good[@]}" -x
	refused 2 remapctl create new.db "${good[@]}" --sector-size
	for value in '' 0 1 511 513 1024 8192 -512 512.0 0x200 4K x "$long" "$hostile"; do
		refused 2 remapctl create new.db "${good[@]}" --sector-size "$value"
	done
	refused 2 remapctl create new.db --main '' --spare spare.img
	refused 2 remapctl create new.db --main main.img --spare ''
	refused 2 remapctl create new.db --main main.img --spare
	refused 2 remapctl create new.db --main ,size=8M --spare spare.img
	refused 2 remapctl create new.db --main main.img,offset=0 --spare spare.img
	refused 2 remapctl create new.db --main main.img,length=1M --spare spare.img
	for value in '' 0 -1 x 1.5M 1Q 1MM 0x10 ' 1M' 8192P 99999999999999999999 "$long" \
		"$hostile"; do
		refused 2 remapctl create new.db --main "new.img,size=$value" --spare spare.img
		refused 2 remapctl create new.db --main main.img --spare "new.img,size=$value"
		refused 2 remapctl create new.db --main main.img --spare "spare.img,length=$value"
		[ "$value" = 0 ] && continue
		refused 2 remapctl create new.db --main main.img --spare "spare.img,offset=$value"
	done
	refused 2 remapctl create new.db --main main.img --spare new.img,size=1M,size=1M
	refused 2 remapctl create new.db --main main.img --spare spare.img,offset=0,nonsense=1
	refused 2 remapctl create new.db --main main.img --spare spare.img,offset=0,
}

# ---- create: parts that will not do (scenario 11) -----------------------------------

create_refused()
{
	refused 1 remapctl create new.db "$@"
}

test_create_parts()
{
	local value

	# Missing, or no file at all.
	for value in nope nowhere/img text/img folder fifo dangling circle /dev/null /dev/zero \
		/dev/tty "$long" "$long_name" "$hostile" ' '; do
		create_refused --main "$value" --spare spare.img
		create_refused --main main.img --spare "$value"
	done
	create_refused --main nowhere/new.img,size=8M --spare spare.img
	create_refused --main main.img --spare nowhere/new.img,size=1M
	create_refused --main folder,size=8M --spare spare.img
	create_refused --main main.img --spare folder,size=1M

	# Too small.
	truncate -s 511 tiny
	truncate -s 16K small
	for value in empty tiny; do
		create_refused --main "$value" --spare spare.img
	done
	for value in empty tiny small; do
		create_refused --main main.img --spare "$value"
	done
	create_refused --main new.img,size=1 --spare spare.img
	create_refused --main main.img --spare new.img,size=1
	create_refused --main main.img --spare new.img,size=16K
	create_refused --main main.img --spare spare.img,length=16K
	create_refused --main main.img --spare spare.img,offset=1008K

	# Regions that are not there, or not in whole sectors.
	create_refused --main main.img --spare spare.img,offset=1M
	create_refused --main main.img --spare spare.img,offset=2M
	create_refused --main main.img --spare spare.img,length=2M
	create_refused --main main.img --spare spare.img,offset=8191P,length=8191P
	create_refused --main main.img --spare spare.img,offset=1
	create_refused --main main.img --spare spare.img,offset=0,length=500001

	# More than any disk holds: no part of it may stay behind.
	create_refused --main new.img,size=8191P --spare spare.img
	create_refused --main main.img --spare new.img,size=8191P
	create_refused --main main.img --spare new.img,size=4P

	# The same file.
	create_refused --main main.img --spare main.img
	create_refused --main spare.img --spare spare.img
	create_refused --main spare.img --spare ./folder/../spare.img
	create_refused --main spare.img --spare spare-link
	create_refused --main spare.img --spare spare-hard
	create_refused --main main.img --spare spare.img --spare spare.img
	create_refused --main main.img --spare spare.img --spare spare-link
	create_refused --main main.img --spare spare.img,offset=0,length=512K \
		--spare spare.img,offset=256K,length=512K
	create_refused --main new.img,size=8M --spare new.img,size=8M
	create_refused --main main.img --spare new.db,size=1M
	create_refused --main new.db,size=8M --spare spare.img

	# A part of another volume: only what is in use can be known of a main.
	create_refused --main main.img --spare v-spare.img
	# All or nothing: the first part is good, or would be made.
	create_refused --main new.img,size=8M --spare nope
	create_refused --main main.img --spare new.img,size=1M --spare nope

	# The volume itself.
	for value in v.db text empty folder fifo /dev/null nowhere/new.db text/new.db circle \
		"$long" "$long_name"; do
		refused 1 remapctl create "$value" --main main.img --spare spare.img
	done
	rm -f tiny small
}

test_create_signature()
{
	if ! command -v mkfs.ext4 >/dev/null; then
		skip 'a spare with a file system' 'mkfs.ext4 is not installed'
		return
	fi
	truncate -s 4M with-fs.img
	mkfs.ext4 -qF with-fs.img
	create_refused --main main.img --spare with-fs.img
	create_refused --main main.img --spare spare.img --spare with-fs.img
	create_refused --main new.img,size=8M --spare with-fs.img
	if command -v mkswap >/dev/null; then
		truncate -s 4M with-swap.img
		mkswap with-swap.img >"$log/out" 2>&1
		create_refused --main main.img --spare with-swap.img
	fi
	rm -f with-fs.img with-swap.img
}

# ---- create: rights --------------------------------------------------------------------

test_create_rights()
{
	if [ "$(id -u)" = 0 ]; then
		if ! command -v setpriv >/dev/null; then
			skip 'files without permission' 'setpriv is not installed'
			return
		fi
		as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	fi
	mkdir open-folder
	chmod 777 open-folder
	cp main.img secret-main
	cp main.img fixed-main
	cp main.img free-main
	head -c 1M /dev/urandom | tee secret-spare fixed-spare >free-spare
	chmod 000 secret-main secret-spare
	chmod 444 fixed-main fixed-spare
	chmod 666 free-main free-spare
	local new=open-folder/new.db
	refused 1 remapctl create $new --main secret-main --spare free-spare
	refused 1 remapctl create $new --main free-main --spare secret-spare
	refused 1 remapctl create $new --main free-main --spare fixed-spare
	if [ "$(id -u)" = 0 ]; then
		refused 1 remapctl create new.db --main free-main --spare free-spare
		chmod 600 v.db
		refused 1 remapctl status v.db
		refused 1 remapctl inject v.db add --sectors 1
		refused 32 remapfs v.db open-folder
		chmod 644 v.db
		refused 1 remapctl inject v.db add --sectors 1
		chmod 600 v.db
	fi
	as=()
	rm -rf open-folder secret-* fixed-* free-*
}

# ---- create: block devices ---------------------------------------------------------------

can_loop()
{
	local device

	[ "$(id -u)" = 0 ] || { skip "$1" 'needs root'; return 1; }
	device=$(timeout 20 losetup --find --show main.img 2>/dev/null) ||
		{ skip "$1" 'no loop device is to be had'; return 1; }
	losetup -d "$device"
}

test_create_devices()
{
	local device large

	can_loop 'block devices in use, mounted, or of other sectors' || return 0

	# The file below a device that is attached.
	device=$(losetup --find --show other.img)
	create_refused --main other.img --spare spare.img
	create_refused --main main.img --spare other.img
	# A path of /dev may hold nothing of ours.
	create_refused --main "$device,size=16M" --spare "$device"
	create_refused --main "$device" --spare "$device"

	# Sectors of other sizes.
	truncate -s 8M large.img
	large=$(losetup --find --show --sector-size 4096 large.img)
	create_refused --main "$large" --spare "$device" --sector-size 512
	create_refused --main "$device" --spare "$large" --sector-size 512
	create_refused --main main.img --spare "$large" --sector-size 512
	losetup -d "$large"

	# Mounted.
	# Read-only, or ext4 would write to the file below as it pleases.
	if command -v mkfs.ext4 >/dev/null && mkfs.ext4 -qF "$device" &&
		mount -o ro "$device" mnt 2>"$log/err"; then
		create_refused --main "$device" --spare spare.img
		create_refused --main main.img --spare "$device"
		create_refused --main main.img --spare "$device" --force
		create_refused --main main.img --spare "$device,offset=1M,length=1M" --force
		refused 1 remapctl detach "$device"
		umount mnt
	else
		skip 'a mounted block device' 'ext4 cannot be made and mounted here'
	fi
	refused 1 remapctl detach "$device" # it is no disk.img
	losetup -d "$device"
	rm -f large.img
	refused 1 remapctl detach "$device" # nothing is attached
}

# ---- check and rebuild ------------------------------------------------------------------

test_check()
{
	local value

	refused 16 remapctl check
	refused 16 remapctl check ''
	refused 16 remapctl check v.db extra
	refused 16 remapctl check v.db --nonsense
	refused 16 remapctl check v.db -x
	refused 16 remapctl check v.db --repair=yes
	refused 16 remapctl check v.db --json --raw
	for value in '' x ',' 'slot,slot' "$long" "$hostile"; do
		refused 16 remapctl check v.db -o "$value"
	done
	for value in "${not_a_volume[@]}"; do
		refused 8 remapctl check -- "$value"
		refused 8 remapctl check --repair -- "$value"
	done
	works remapctl check v.db
	works remapctl check v.db --json
	# A part is missing, of another size, or another one.
	mv v-main.img kept
	refused 8 remapctl check v.db
	refused 8 remapctl check v.db --repair
	truncate -s 4M v-main.img
	refused 8 remapctl check v.db --repair
	mv kept v-main.img
	mv v-spare.img kept
	refused 8 remapctl check v.db --repair
	truncate -s 512K v-spare.img
	refused 8 remapctl check v.db --repair
	mv kept v-spare.img
	works remapctl check v.db
}

rebuild_refused()
{
	refused 1 remapctl rebuild new.db "$@"
}

test_rebuild()
{
	local value good=(--main v-main.img --spare v-spare.img)

	refused 2 remapctl rebuild
	refused 2 remapctl rebuild new.db
	refused 2 remapctl rebuild new.db --main v-main.img
	refused 2 remapctl rebuild new.db --spare v-spare.img
	refused 2 remapctl rebuild "${good[@]}"
	refused 2 remapctl rebuild '' "${good[@]}"
	refused 2 remapctl rebuild new.db extra "${good[@]}"
	refused 2 remapctl rebuild new.db "${good[@]}" --main other.img
	refused 2 remapctl rebuild new.db "${good[@]}" --nonsense
	refused 2 remapctl rebuild new.db "${good[@]}" --force=yes
	refused 2 remapctl rebuild new.db --main '' --spare v-spare.img
	refused 2 remapctl rebuild new.db --main v-main.img --spare ''
	refused 2 remapctl rebuild new.db --main v-main.img,offset=0 --spare v-spare.img
	refused 2 remapctl rebuild new.db --main v-main.img,size=8M --spare v-spare.img
	refused 2 remapctl rebuild new.db --main v-main.img --spare v-spare.img,size=1M
	for value in '' 0 -1 x 99999999999999999999 "$long" "$hostile"; do
		refused 2 remapctl rebuild new.db --main v-main.img --spare "v-spare.img,length=$value"
	done
	for value in nope folder fifo dangling circle empty /dev/null "$long" "$hostile" main.img; do
		rebuild_refused --main "$value" --spare v-spare.img
		rebuild_refused --main v-main.img --spare "$value"
	done
	rebuild_refused --main v-main.img --spare v-main.img
	rebuild_refused --main v-main.img --spare spare.img
	rebuild_refused --main v-main.img --spare v-spare.img --spare v-spare.img
	rebuild_refused --main v-main.img --spare v-spare.img --spare spare.img
	rebuild_refused --main v-main.img --spare v-spare.img,offset=4096
	rebuild_refused --main v-main.img --spare v-spare.img,length=512K
	# The name is taken, or none; nor may it be a part of the volume.
	for value in v.db text folder fifo circle nowhere/new.db text/new.db "$long" "$long_name"; do
		refused 1 remapctl rebuild "$value" "${good[@]}"
	done
	for value in folder fifo v-main.img v-spare.img; do
		refused 1 remapctl rebuild --force "$value" "${good[@]}"
	done
	: >new.db
	: >new.db.old
	refused 1 remapctl rebuild --force new.db "${good[@]}"
	rm new.db new.db.old
	works remapctl rebuild -q new.db "${good[@]}"
	works remapctl check new.db
	rm new.db
}

test_set_path()
{
	local value

	refused 2 remapctl set-path
	refused 2 remapctl set-path v.db
	refused 2 remapctl set-path v.db extra --main v-main.img
	refused 2 remapctl set-path '' --main v-main.img
	refused 2 remapctl set-path v.db --main v-main.img --nonsense
	for value in '' x =v-spare.img 0=v-spare.img -1=v-spare.img 32768=v-spare.img 1= "$long" "$hostile"; do
		refused 2 remapctl set-path v.db --spare "$value"
	done
	for value in nope folder fifo dangling circle empty /dev/null "$long" "$hostile" text v.db v-spare.img; do
		refused 1 remapctl set-path v.db --main "$value"
	done
	for value in nope folder fifo dangling circle empty /dev/null "$long" "$hostile" text v.db v-main.img; do
		refused 1 remapctl set-path v.db --spare "1=$value"
	done
	refused 1 remapctl set-path v.db --spare 2=v-spare.img
	for value in "${not_a_volume[@]}"; do
		refused 1 remapctl set-path --main v-main.img -- "$value"
	done
}

# ---- remapfs --------------------------------------------------------------------------------

test_remapfs()
{
	local value

	refused 1 remapfs
	refused 1 remapfs v.db
	refused 1 remapfs '' mnt
	refused 1 remapfs v.db ''
	refused 1 remapfs v.db mnt extra
	refused 1 remapfs --nonsense v.db mnt
	refused 1 remapfs -Z v.db mnt
	refused 1 remapfs v.db mnt -o
	for value in nonsense ro,nonsense=1 ro=1 no_remap=3 threads threads= threads=0 threads=-1 \
		threads=x threads=99999999999 isolation_ms=0 isolation_ms=-1 \
		isolation_ms=99999999999 "$long" "$hostile"; do
		refused 1 remapfs -o "$value" v.db mnt
	done
	for value in "${not_a_volume[@]}"; do
		[ "$value" = - ] && continue
		refused 32 remapfs -- "$value" mnt
	done
	for value in nope nowhere/mnt text dangling circle fifo /dev/null "$long" "$hostile"; do
		refused 32 remapfs -- v.db "$value"
	done
}

# What the volume is made of went away, or is something else by now.
test_remapfs_parts()
{
	mv v-main.img kept
	refused 32 remapfs v.db mnt
	mkdir v-main.img
	refused 32 remapfs v.db mnt
	rmdir v-main.img
	truncate -s 4M v-main.img
	refused 32 remapfs v.db mnt
	rm v-main.img
	mv kept v-main.img
	mv v-spare.img kept
	refused 32 remapfs v.db mnt
	cp spare.img v-spare.img
	refused 32 remapfs v.db mnt
	truncate -s 0 v-spare.img
	refused 32 remapfs v.db mnt
	mv kept v-spare.img
}

test_mounted()
{
	if [ ! -c /dev/fuse ] || ! timeout 20 remapfs v.db mnt 2>"$log/err"; then
		skip 'a volume that is mounted' "it cannot be mounted here: $(head -1 "$log/err")"
		return
	fi
	mkdir second-mnt
	refused 32 remapfs v.db second-mnt
	create_refused --main v-main.img --spare spare.img
	create_refused --main main.img --spare v-spare.img --force
	create_refused --main mnt/disk.img --spare mnt/disk.img
	refused 1 remapctl inject v.db add --sectors 16384
	refused 2 remapctl inject v.db add --random -1
	refused 8 remapctl check v.db
	refused 8 remapctl check v.db --repair
	refused 1 remapctl rebuild new.db --main v-main.img --spare v-spare.img
	refused 1 remapctl rebuild --force v.db --main v-main.img --spare v-spare.img
	refused 1 remapctl attach second-mnt
	refused 1 remapctl attach v.db /dev/null
	refused 1 remapctl detach v.db # nothing is attached
	refused 1 remapctl detach mnt
	works remapctl status v.db
	works remapctl status v.db --json
	test_attached
	timeout 20 fusermount3 -u mnt
	rmdir second-mnt
}

test_attached()
{
	local device

	can_loop 'a volume that is attached' || return 0
	device=$(timeout 20 remapctl attach v.db 2>"$log/err") ||
		{ skip 'a volume that is attached' "$(head -1 "$log/err")"; return; }
	refused 1 remapctl attach v.db
	refused 1 remapctl attach mnt
	refused 1 remapctl attach mnt "$device"
	if command -v mkfs.ext4 >/dev/null && mkfs.ext4 -qF "$device" &&
		mount -o ro "$device" second-mnt 2>"$log/err"; then
		refused 1 remapctl detach "$device"
		refused 1 remapctl detach v.db
		refused 1 remapctl detach mnt
		umount second-mnt
	fi
	works remapctl detach mnt
}

# ---- all of it --------------------------------------------------------------------------------

make_files
make_volume
test_top_level
test_readers
test_inject
test_attach
test_create_words
test_create_parts
test_create_signature
test_create_rights
test_create_devices
test_check
test_rebuild
test_set_path
test_remapfs
test_remapfs_parts
test_mounted

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
