/* What a check can find, by name and in words. */
#include "remapfs/check.h"

static const struct {
	const char *name, *text;
} findings[] = {
	[FINDING_DATABASE] = {"database", "the database is damaged"},
	[FINDING_SUPERBLOCK] = {"superblock", "one of the two superblocks is damaged"},
	[FINDING_SUPERBLOCKS] = {"superblocks", "both superblocks are damaged"},
	[FINDING_MISSING] = {"missing", "a used slot has no descriptor"},
	[FINDING_DAMAGED] = {"damaged", "the descriptor of a used slot is damaged"},
	[FINDING_LEFTOVER] = {"leftover", "a descriptor that no sector needs"},
	[FINDING_UNRECORDED] = {"unrecorded", "a remap that was lost with the database's log; "
				 "the next mount takes it over"},
	[FINDING_GARBAGE] = {"garbage", "the descriptor of a free slot is damaged"},
	[FINDING_CONTRADICTION] = {"contradiction", "spare and database name different sectors"},
	[FINDING_UNKNOWN] = {"unknown", "the database does not know of this remap"},
	[FINDING_NEWER] = {"newer", "the spare was used after this database was"},
	[FINDING_OLDER] = {"older", "the spare is an older copy"},
	[FINDING_UNREADABLE] = {"unreadable", "a used slot cannot be read: its sectors are lost"},
	[FINDING_MAIN] = {"main", "something else wrote to main"},
};

const char *finding_name(enum finding_kind kind)
{
	return findings[kind].name;
}

const char *finding_text(enum finding_kind kind)
{
	return findings[kind].text;
}
