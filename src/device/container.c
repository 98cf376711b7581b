/* Formats are told by a few bytes at a place that the format fixes. */
#include "remapfs/container.h"

#include <fcntl.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "remapfs/cleanup.h"

static const struct signature {
	off_t at; /* below 0: from the end */
	const char *bytes;
	size_t length;
	struct container container;
} signatures[] = {
	{0, "QFI\xfb", 4, {"qcow2", true}},
	{0, "QED", 4, {"QED", true}},
	{0, "KDMV", 4, {"VMDK", true}},
	{0, "COWD", 4, {"VMDK", true}},
	{0, "# Disk DescriptorFile", 21, {"VMDK", true}},
	{0, "vhdxfile", 8, {"VHDX", true}},
	{0, "conectix", 8, {"VHD", true}},
	{-512, "conectix", 8, {"VHD", true}},
	{64, "\x7f\x10\xda\xbe", 4, {"VDI", true}},
	{0, "WithoutFreeSpace", 16, {"Parallels", true}},
	{0, "WithouFreSpacExt", 16, {"Parallels", true}},
	{0, "Bochs Virtual HD Image", 22, {"Bochs", true}},
	{-512, "koly", 4, {"DMG", true}},
	{0, "EVF\x09\x0d\x0a\xff", 7, {"EWF", false}},
	{0, "AFF10", 5, {"AFF", false}},
	{0, "partclone-image", 15, {"partclone", false}},
	{0, "\x3a\xff\x26\xed", 4, {"Android sparse", false}},
	{0, "MSWIM", 5, {"WIM", false}},
	{0, "\x1f\x8b\x08", 3, {"gzip", false}},
	{0, "\xfd""7zXZ", 6, {"xz", false}},
	{0, "\x28\xb5\x2f\xfd", 4, {"zstd", false}},
	{0, "BZh", 3, {"bzip2", false}},
	{0, "PK\x03\x04", 4, {"zip", false}},
	{0, "7z\xbc\xaf\x27\x1c", 6, {"7z", false}},
};

static bool matches(int fd, const struct signature *s)
{
	char bytes[32];
	off_t at = s->at < 0 ? lseek(fd, 0, SEEK_END) + s->at : s->at;

	return at >= 0 && pread(fd, bytes, s->length, at) == (ssize_t)s->length &&
	       memcmp(bytes, s->bytes, s->length) == 0;
}

bool container_find(const char *path, struct container *ret)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	for (size_t i = 0; fd >= 0 && i < sizeof(signatures) / sizeof(*signatures); i++)
		if (matches(fd, &signatures[i])) {
			*ret = signatures[i].container;
			return true;
		}
	return false;
}
