/*
 * vm-ask read|write|flush [SECTOR COUNT]: what the kernel answers to one direct
 * request to the block device that is standard input, in sectors of 512 bytes.
 * Prints 0, or the errno; how many bytes it was where that is not all; and of a
 * read which sectors, counted from the first, came into the buffer, which they
 * may although it failed.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "remapfs/error.h"

#define SECTOR 512u
#define UNTOUCHED 0xee

static bool is_untouched(const unsigned char *sector)
{
	for (size_t i = 0; i < SECTOR; i++)
		if (sector[i] != UNTOUCHED)
			return false;
	return true;
}

static void tell(ssize_t done, size_t asked)
{
	printf("%s", done < 0 ? errno_name(errno) : "0");
	if (done >= 0 && (size_t)done < asked)
		printf(" (%zd bytes)", done);
}

static void transfer(bool write, uint64_t sector, size_t count)
{
	size_t length = count * SECTOR;
	off_t offset = (off_t)(sector * SECTOR);
	void *buffer;

	if (posix_memalign(&buffer, 4096, length) != 0)
		errx(2, "out of memory");
	memset(buffer, UNTOUCHED, length);
	tell(write ? pwrite(STDIN_FILENO, buffer, length, offset)
		   : pread(STDIN_FILENO, buffer, length, offset), length);
	for (size_t i = 0; !write && i < count; i++)
		if (!is_untouched((unsigned char *)buffer + i * SECTOR))
			printf(" %zu", i);
	free(buffer);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	bool write = strcmp(what, "write") == 0;

	if (fcntl(STDIN_FILENO, F_SETFL, O_DIRECT) < 0)
		err(2, "standard input");
	if (argc == 2 && strcmp(what, "flush") == 0)
		tell(fsync(STDIN_FILENO), 0);
	else if (argc == 4 && (write || strcmp(what, "read") == 0))
		transfer(write, strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10));
	else
		errx(2, "vm-ask read|write|flush [SECTOR COUNT]");
	printf("\n");
	return 0;
}
