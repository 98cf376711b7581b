#!/bin/bash
# ext4 on a disk whose sectors the kernel makes fail, in sectors of 4096 bytes:
# scenario 21, otherwise as test-fs-ext4.sh.
LIMIT=100
. "$(dirname "$0")/lib.sh"
. "$TESTS/scenario.sh"
requires root loop jq dmsetup fs:ext4 mkfs.ext4 e2fsck
scenarios ext4 128 4096
