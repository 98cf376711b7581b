#!/bin/bash
# ext4 on a disk whose sectors the kernel makes fail: scenarios 1, 6, 15 and 18.
LIMIT=100
. "$(dirname "$0")/lib.sh"
. "$TESTS/scenario.sh"
requires root loop jq dmsetup fs:ext4 mkfs.ext4 e2fsck
scenarios ext4 128
