#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include "remapfs/log.h"

static char folder[64];

/* To give memory back to the kernel and take it again is most of the time otherwise. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=4:malloc_context_size=8:allocator_release_to_os_interval_ms=-1";
}

uint64_t take_hostile(struct input *in)
{
	static const uint64_t near[] = {
		0,		  1,		   64,		     256,
		511,		  512,		   4096,	     (uint64_t)1 << 17,
		(uint64_t)1 << 31, (uint64_t)1 << 32, (uint64_t)1 << 43, (uint64_t)1 << 47,
		(uint64_t)1 << 52, (uint64_t)1 << 55, INT64_MAX,	     UINT64_MAX,
	};
	uint8_t how = take_8(in);

	if (how < 0x80)
		return how;
	if (how < 0xe0)
		return near[how & 15] + (uint64_t)(int8_t)take_8(in);
	return take_64(in);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st, (void)type, (void)where;
	return remove(path);
}

/* A fuzzer forks, and its children end as well: the folder is its maker's. */
static pid_t maker;

static void remove_folder(void)
{
	if (getpid() == maker)
		nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *scratch(const char *name)
{
	static char paths[8][128];
	static unsigned next;
	char *path = paths[next++ % 8];

	if (!folder[0]) {
		snprintf(folder, sizeof(folder), "%s/remapfs-fuzz.XXXXXX",
			 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		PROMISE(mkdtemp(folder));
		maker = getpid();
		atexit(remove_folder);
		log_init("fuzz", LOG_LEVEL_ERROR);
	}
	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

void put_file(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "we");

	PROMISE(file && fwrite(data, 1, size, file) == size);
	PROMISE(fclose(file) == 0);
}

uint8_t *get_file(const char *path, size_t *ret_size)
{
	FILE *file = fopen(path, "re");
	uint8_t *data;
	long size;

	PROMISE(file && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0);
	rewind(file);
	data = malloc((size_t)size + 1);
	PROMISE(data && fread(data, 1, (size_t)size, file) == (size_t)size);
	fclose(file);
	*ret_size = (size_t)size;
	return data;
}
