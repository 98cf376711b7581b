#!/bin/bash
# xfs on a disk whose sectors the kernel makes fail: scenarios 1, 6, 15 and 18.
LIMIT=100
. "$(dirname "$0")/lib.sh"
. "$TESTS/scenario.sh"
requires root loop jq dmsetup fs:xfs mkfs.xfs xfs_repair
scenarios xfs 320
