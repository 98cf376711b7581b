# For what builds a module for a kernel that fetch got. Sourced, in a directory that
# may be filled.
# shellcheck shell=bash

# kernel_headers RELEASE: Debian's headers, unpacked here, in HEADERS (where kbuild
# begins) and HEADERS_COMMON. False, with the reason in REASON: not to be had.
kernel_headers() {
  local package=linux-headers-$1 depends deb
  # What they depend on, but the compiler and the kernel itself.
  depends=$(apt-cache depends "$package" 2>/dev/null |
    awk '$1 == "Depends:" && $2 ~ /^linux-(headers|kbuild)-/ { print $2 }')
  REASON="apt-get knows no $package"
  [ -n "$depends" ] || return
  # shellcheck disable=SC2086 # a list of packages
  apt-get -q download "$package" $depends >download.log 2>&1 || {
    REASON="cannot download: $(tail -1 download.log)"
    return 1
  }
  for deb in ./linux-headers-*.deb ./linux-kbuild-*.deb; do
    dpkg -x "$deb" root
    rm "$deb"
  done
  HEADERS=$PWD/root/usr/src/$package
  HEADERS_COMMON=${HEADERS%-*}-common
  # They name each other by the places where they would be installed.
  sed -i "s#/usr/src/#$PWD/root/usr/src/#g" "$HEADERS/Makefile"
}
