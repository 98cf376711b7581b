#!/bin/bash
# Makes the Debian package of a build and looks at it:
#
#     tests/package/test-deb.sh [BUILD_DIRECTORY [FOLDER]]
#
# With FOLDER, the package is left there.
set -euo pipefail
umask 022
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:-${REMAPFS_BUILD:-$here/../../build}}" && pwd)

fail() {
  echo "FAIL test-deb: $*" >&2
  exit 1
}

skip() {
  echo "SKIP test-deb: $*"
  exit 77
}

for tool in cpack dpkg-deb dpkg-shlibdeps gzip; do
  command -v "$tool" >/dev/null || skip "needs $tool (packages cmake and dpkg-dev)"
done

scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/remapfs-deb.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

echo "-- cpack"
timeout 300 cpack --config "$build/CPackConfig.cmake" -B "$scratch" >cpack.log 2>&1 ||
  fail "cpack: $(cat cpack.log)"
deb=$(echo remapfs_*.deb)
[ -f "$deb" ] || fail "no package: $(cat cpack.log)"

echo "-- contents of $deb"
dpkg-deb -x "$deb" root
while read -r mode path; do
  [ -e "root$path" ] || [ -L "root$path" ] || fail "$path is missing: $(dpkg-deb -c "$deb")"
  seen=$(stat -c %A "root$path")
  [ "$seen" = "$mode" ] || fail "mode of $path: expected $mode, saw $seen"
done <<'LIST'
-rwxr-xr-x /usr/bin/remapfs
-rwxr-xr-x /usr/bin/remapctl
lrwxrwxrwx /usr/sbin/mount.remapfs
drwxr-xr-x /usr/share/doc/remapfs
-rw-r--r-- /usr/share/doc/remapfs/copyright
-rw-r--r-- /usr/share/doc/remapfs/changelog.Debian.gz
-rw-r--r-- /usr/share/doc/remapfs/changelog.gz
-rw-r--r-- /usr/share/doc/remapfs/README.md
-rw-r--r-- /usr/share/doc/remapfs/docs/services.md
-rw-r--r-- /usr/share/doc/remapfs/examples/example.conf
LIST
[ root/usr/sbin/mount.remapfs -ef root/usr/bin/remapfs ] || fail "mount.remapfs is not remapfs"
root/usr/bin/remapfs --version | grep -qxF "remapfs $(dpkg-deb -f "$deb" Version | cut -d- -f1)" ||
  fail "version of program and package differ"
for unit in remapfs@.service remapfs-loop@.service; do
  path=$(find root -name "$unit")
  grep -q '^ExecStart=/usr/bin/remap' "${path:-/dev/null}" || fail "$unit starts something else"
done
stray=$(cd root && find . -not -type d -not -path './usr/*' -not -path './lib/systemd/*')
[ -z "$stray" ] || fail "files in odd places: $stray"

echo "-- fields"
depends=$(dpkg-deb -f "$deb" Depends)
for library in libc6 libfuse3 libsqlite3-0 libsmartcols1 libuuid1 libblkid1 libxxhash0 libjansson4 libseccomp2 libaio1 mount; do
  [[ ", $depends" == *", $library"* ]] || fail "does not depend on $library: $depends"
done
[ "$(dpkg-deb -f "$deb" Recommends)" = "fuse3, sqlite3" ] || fail "recommends something else"

if command -v lintian >/dev/null; then
  echo "-- lintian"
  timeout 300 lintian --allow-root --fail-on error "$deb" >lintian.log 2>&1 ||
    fail "lintian (exit code $?): $(cat lintian.log)"
  cat lintian.log
else
  echo "-- not shown: no lintian here"
fi

[ -z "${2:-}" ] || cp "$deb" "$2/"
echo "PASS test-deb"
