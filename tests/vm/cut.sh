# What the two sides of the power cuts agree on.
# shellcheck shell=bash
CUT_FIRST=65536 # sector of disk.img: ext4 is before it, cut-load writes behind
CUT_BLOCKS=256  # of cut-load

# cut_file NUMBER: the content of that file.
cut_file() {
  yes "file $1" | head -c $(($1 * 7777 % 30000 + 500)) || :
}
