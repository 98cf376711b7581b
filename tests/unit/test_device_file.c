/* include/remapfs/device.h: files and block devices. */
#include "fixture.h"

#include "remapfs/device.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SIZE (1 * MiB)

static const struct file_device_options as_main = {.role = "main"};

static int open_with(const char *path, struct file_device_options o, struct device **ret)
{
	struct error err = {""};
	int rc;

	o.role = "main";
	rc = file_device_open(path, &o, ret, &err);
	/* A refusal is one line that names the file. */
	if (rc < 0) {
		assert_true(err.text[0] != 0);
		assert_non_null(strstr(err.text, path));
	}
	return rc;
}

static struct device *open_new(const char *name, uint64_t size)
{
	struct device *d;

	make_file(at(name), size);
	assert_int_equal(open_with(at(name), as_main, &d), 0);
	return d;
}

static void assert_refused(const char *path, struct file_device_options o, int code)
{
	struct device *untouched = (struct device *)&o, *d = untouched;

	assert_int_equal(open_with(path, o, &d), -code);
	assert_ptr_equal(d, untouched);
}

/* ---- geometry ------------------------------------------------------------------- */

static void geometry_of_a_file(void **state)
{
	struct device *d = open_new("main", SIZE);

	(void)state;
	assert_int_equal(d->geometry.size, SIZE);
	assert_true(d->geometry.block_size == 512 || d->geometry.block_size == 4096);
	assert_false(d->geometry.block_device);
	device_close(d);
	device_close(NULL);
}

static void geometry_of_a_region(void **state)
{
	struct device *d;

	(void)state;
	make_file(at("main"), SIZE);
	assert_int_equal(open_with(at("main"), (struct file_device_options){.offset = 64 * KiB}, &d),
			 0);
	assert_int_equal(d->geometry.size, SIZE - 64 * KiB);
	device_close(d);
	assert_int_equal(open_with(at("main"), (struct file_device_options){.offset = 64 * KiB,
									   .length = 8192}, &d), 0);
	assert_int_equal(d->geometry.size, 8192);
	device_close(d);
}

static void a_region_is_addressed_from_its_start(void **state)
{
	struct file_device_options o = {.offset = 32 * KiB, .length = 8 * KiB};
	uint8_t *a = aligned_buffer(4096), *b = aligned_buffer(4096);
	struct device *d;

	(void)state;
	make_file(at("main"), SIZE);
	assert_int_equal(open_with(at("main"), o, &d), 0);
	memset(a, 0x5a, 4096);
	assert_int_equal(device_write(d, a, 4096, 4096), 0);
	assert_int_equal(device_flush(d), 0);
	device_close(d);
	get_bytes(at("main"), 36 * KiB, b, 4096);
	assert_memory_equal(a, b, 4096);
	memset(a, 0, 4096);
	get_bytes(at("main"), 32 * KiB, b, 4096);
	assert_memory_equal(a, b, 4096);
	get_bytes(at("main"), 40 * KiB, b, 4096);
	assert_memory_equal(a, b, 4096);
	free(a);
	free(b);
}

/* ---- refusals ------------------------------------------------------------------- */

static void missing(void **state)
{
	(void)state;
	assert_refused(at("nowhere"), as_main, ENOENT);
	assert_refused(at("nowhere/at/all"), as_main, ENOENT);
}

static void neither_file_nor_device(void **state)
{
	(void)state;
	mkdir(at("dir"), 0700);
	mkfifo(at("fifo"), 0600);
	assert_refused(at("dir"), as_main, EISDIR);
	assert_refused(at("fifo"), as_main, EISDIR);
	assert_refused("/dev/null", as_main, EISDIR);
}

static void region_outside_the_file(void **state)
{
	static const struct file_device_options wrong[] = {
		{.offset = 2 * SIZE},
		{.length = SIZE + 4096},
		{.offset = SIZE / 2, .length = SIZE},
		{.offset = 4096, .length = UINT64_MAX - 4095},
		{.offset = UINT64_MAX - 4095, .length = 8192},
	};

	(void)state;
	make_file(at("main"), SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_refused(at("main"), wrong[i], EINVAL);
}

static void region_not_in_whole_blocks(void **state)
{
	(void)state;
	make_file(at("main"), SIZE);
	assert_refused(at("main"), (struct file_device_options){.offset = 100}, EINVAL);
	assert_refused(at("main"), (struct file_device_options){.length = 1000}, EINVAL);
	assert_refused(at("main"), (struct file_device_options){.offset = 4096, .length = 513},
		       EINVAL);
}

static int open_as_nobody(void *path)
{
	struct file_device_options o = {.role = "main"};
	struct device *d;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 77;
	return -file_device_open(path, &o, &d, NULL);
}

static void not_allowed(void **state)
{
	char path[4096];

	(void)state;
	if (getuid() != 0)
		skip();
	make_file(at("main"), SIZE);
	assert_int_equal(chmod(at("."), 0755), 0);
	snprintf(path, sizeof(path), "%s", at("main"));
	assert_int_equal(in_child(open_as_nobody, path), EACCES);
}

/* ---- one holder ----------------------------------------------------------------- */

struct other {
	const char *path;
	struct file_device_options options;
};

static int open_in_other(void *context)
{
	struct other *other = context;
	struct error err;
	struct device *d;
	int rc;

	other->options.role = "main";
	rc = file_device_open(other->path, &other->options, &d, &err);
	if (rc == 0)
		device_close(d);
	return -rc;
}

static void locked_against_another_process(void **state)
{
	struct device *d = open_new("main", SIZE);
	struct other other = {.path = at("main")};

	(void)state;
	assert_int_equal(in_child(open_in_other, &other), EBUSY);
	other.options.read_only = true;
	assert_int_equal(in_child(open_in_other, &other), EBUSY);
	device_close(d);
	assert_int_equal(in_child(open_in_other, &other), 0);
	other.options.read_only = false;
	assert_int_equal(in_child(open_in_other, &other), 0);
}

static void locked_against_this_process_too(void **state)
{
	struct device *d = open_new("main", SIZE);

	(void)state;
	assert_refused(at("main"), as_main, EBUSY);
	device_close(d);
}

/* A lock of the process (fcntl F_SETLK) would be dropped by any close. */
static void closing_another_descriptor_keeps_the_lock(void **state)
{
	struct device *d = open_new("main", SIZE);
	struct other other = {.path = at("main")};
	int fd = open(at("main"), O_RDONLY | O_CLOEXEC);

	(void)state;
	close(fd);
	assert_int_equal(in_child(open_in_other, &other), EBUSY);
	device_close(d);
}

static void readers_share(void **state)
{
	struct file_device_options read_only = {.read_only = true};
	struct other other;
	struct device *d;

	(void)state;
	make_file(at("main"), SIZE);
	other = (struct other){at("main"), read_only};
	assert_int_equal(open_with(at("main"), read_only, &d), 0);
	assert_int_equal(in_child(open_in_other, &other), 0);
	other.options.read_only = false;
	assert_int_equal(in_child(open_in_other, &other), EBUSY);
	device_close(d);
}

static void regions_of_one_file_are_locked_apart(void **state)
{
	struct file_device_options first = {.length = SIZE / 2};
	struct other other;
	struct device *d;

	(void)state;
	make_file(at("main"), SIZE);
	assert_int_equal(open_with(at("main"), first, &d), 0);
	other = (struct other){at("main"), {.offset = SIZE / 2}};
	assert_int_equal(in_child(open_in_other, &other), 0);
	other.options.offset = SIZE / 2 - 4096;
	assert_int_equal(in_child(open_in_other, &other), EBUSY);
	device_close(d);
}

static void *close_later(void *device)
{
	struct timespec pause = {.tv_nsec = 300 * 1000000};

	nanosleep(&pause, NULL);
	device_close(device);
	return NULL;
}

static void another_holder_is_waited_for(void **state)
{
	struct device *d = open_new("main", SIZE);
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, close_later, d), 0);
	assert_int_equal(open_with(at("main"), (struct file_device_options){.lock_wait_ms = 20000},
				   &d), 0);
	pthread_join(thread, NULL);
	device_close(d);
}

/* The loop device attached to path, or "" where none can be had. */
static void attach_loop(const char *path, char *ret, size_t size)
{
	char command[8192];
	FILE *f;

	snprintf(command, sizeof(command), "losetup --find --show '%s' 2>/dev/null", path);
	f = popen(command, "r");
	assert_non_null(f);
	if (!fgets(ret, (int)size, f))
		ret[0] = 0;
	ret[strcspn(ret, "\n")] = 0;
	pclose(f);
}

static void detach_loop(const char *loop)
{
	char command[256];

	snprintf(command, sizeof(command), "losetup -d %s", loop);
	assert_int_equal(system(command), 0);
}

static void a_file_behind_a_loop_device_is_refused(void **state)
{
	struct error err = {""};
	char loop[64];
	struct device *d;
	int rc;

	(void)state;
	make_file(at("main"), SIZE);
	attach_loop(at("main"), loop, sizeof(loop));
	if (!loop[0])
		skip();
	rc = file_device_open(at("main"), &as_main, &d, &err);
	detach_loop(loop);
	assert_int_equal(rc, -EBUSY);
	assert_non_null(strstr(err.text, loop));
}

/* ---- the same bytes by other names: contract 12 ------------------------------------- */

static void a_hard_link_is_refused(void **state)
{
	struct device *d = open_new("main", SIZE);

	(void)state;
	assert_int_equal(link(at("main"), at("other")), 0);
	assert_refused(at("other"), as_main, EBUSY);
	device_close(d);
}

static int open_region(const char *path, uint64_t offset, uint64_t length, struct device **ret)
{
	return open_with(path, (struct file_device_options){.offset = offset, .length = length}, ret);
}

/* Opens a region of one, and then of the other loop device on the same file. */
static void open_both(const char *first, const char *second, uint64_t length, int rc[3])
{
	struct device *d = NULL, *other = NULL;

	rc[0] = open_region(first, 0, length, &d);
	rc[1] = open_region(second, length / 2, length, &other);
	device_close(other);
	other = NULL;
	rc[2] = open_region(second, length, length, &other);
	device_close(other);
	device_close(d);
}

static void two_loop_devices_on_one_file(void **state)
{
	char one[64], two[64];
	int rc[3] = {0, 0, 0};

	(void)state;
	make_file(at("backing"), SIZE);
	attach_loop(at("backing"), one, sizeof(one));
	if (!one[0])
		skip();
	attach_loop(at("backing"), two, sizeof(two));
	open_both(one, two, SIZE / 4, rc);
	detach_loop(one);
	detach_loop(two);
	/* An attached loop device is a use of the file, whoever is to use it. */
	assert_int_equal(rc[0], -EBUSY);
	assert_int_equal(rc[1], -EBUSY);
	assert_int_equal(rc[2], -EBUSY);
}

/* The second one is attached while the first is in use already. */
static void a_loop_device_on_a_file_in_use(void **state)
{
	char loop[64];
	struct device *d = open_new("main", SIZE), *other = NULL;
	int rc;

	(void)state;
	attach_loop(at("main"), loop, sizeof(loop));
	if (!loop[0]) {
		device_close(d);
		skip();
	}
	rc = open_with(loop, as_main, &other);
	device_close(d);
	if (rc == 0)
		device_close(other);
	detach_loop(loop);
	assert_int_equal(rc, -EBUSY);
}

static void regions_of_one_device(void **state)
{
	struct device *first = NULL, *second = NULL, *third = NULL;
	struct other whole;
	char loop[64];
	int rc[4] = {0};

	(void)state;
	make_file(at("backing"), SIZE);
	attach_loop(at("backing"), loop, sizeof(loop));
	if (!loop[0])
		skip();
	whole = (struct other){.path = loop};
	rc[0] = open_region(loop, 0, SIZE / 4, &first);
	rc[1] = open_region(loop, SIZE / 2, SIZE / 4, &second);
	rc[2] = open_region(loop, SIZE / 8, SIZE / 4, &third);
	device_close(first);
	/* The claim of the kernel stays with those that are left. */
	rc[3] = open(loop, O_RDONLY | O_EXCL | O_CLOEXEC) < 0 ? errno : 0;
	whole.options.offset = SIZE / 8;
	whole.options.length = SIZE / 8;
	assert_int_equal(in_child(open_in_other, &whole), 0);
	device_close(second);
	detach_loop(loop);
	assert_int_equal(rc[0], 0);
	assert_int_equal(rc[1], 0);
	assert_int_equal(rc[2], -EBUSY);
	assert_int_equal(rc[3], EBUSY);
}

static void a_block_device(void **state)
{
	void *buf = aligned_buffer(4096);
	struct other other;
	char loop[64];
	struct device *d = NULL;
	int rc, busy;

	(void)state;
	make_file(at("backing"), SIZE);
	attach_loop(at("backing"), loop, sizeof(loop));
	if (!loop[0])
		skip();
	rc = open_with(loop, as_main, &d);
	other = (struct other){.path = loop};
	busy = rc == 0 ? in_child(open_in_other, &other) : 0;
	if (rc == 0) {
		memset(buf, 7, 4096);
		rc = device_write(d, buf, 4096, SIZE - 4096);
		rc = rc ? rc : device_discard(d, SIZE - 4096, 4096);
		rc = rc == -EOPNOTSUPP ? 0 : rc;
		rc = rc ? rc : device_flush(d);
		assert_true(d->geometry.block_device);
		assert_int_equal(d->geometry.size, SIZE);
	}
	device_close(d);
	detach_loop(loop);
	free(buf);
	assert_int_equal(rc, 0);
	assert_int_equal(busy, EBUSY);
}

/* ---- I/O ------------------------------------------------------------------------ */

static void what_is_written_is_read(void **state)
{
	struct device *d = open_new("main", SIZE);
	uint64_t seed = test_seed(), block = d->geometry.block_size;
	uint8_t *model = aligned_buffer(SIZE), *buf = aligned_buffer(SIZE);

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		uint64_t offset = random_below(&seed, SIZE / block) * block;
		uint64_t length = (1 + random_below(&seed, (SIZE - offset) / block)) * block;

		if (random_below(&seed, 2)) {
			memset(buf, (int)i, length);
			assert_int_equal(device_write(d, buf, length, offset), 0);
			memcpy(model + offset, buf, length);
		} else {
			assert_int_equal(device_read(d, buf, length, offset), 0);
			assert_memory_equal(buf, model + offset, length);
		}
	}
	assert_int_equal(device_flush(d), 0);
	device_close(d);
	get_bytes(at("main"), 0, buf, SIZE);
	assert_memory_equal(buf, model, SIZE);
	free(model);
	free(buf);
}

typedef int (*erase_fn)(struct device *, uint64_t, uint64_t);

static void check_erase(erase_fn erase)
{
	struct device *d = open_new("main", SIZE);
	uint8_t *buf = aligned_buffer(SIZE);
	int rc;

	memset(buf, 0xff, SIZE);
	assert_int_equal(device_write(d, buf, SIZE, 0), 0);
	rc = erase(d, 8 * KiB, 64 * KiB);
	if (rc == 0)
		memset(buf + 8 * KiB, 0, 64 * KiB);
	else
		assert_int_equal(rc, -EOPNOTSUPP);
	device_close(d);
	for (uint64_t at_byte = 0; at_byte < SIZE; at_byte += 4096) {
		uint8_t part[4096];

		get_bytes(at("main"), at_byte, part, sizeof(part));
		assert_memory_equal(part, buf + at_byte, sizeof(part));
	}
	free(buf);
}

static void discard_reads_as_zeros(void **state)
{
	(void)state;
	check_erase(device_discard);
}

static void zero_reads_as_zeros(void **state)
{
	(void)state;
	check_erase(device_zero);
}

static void erasing_the_end_keeps_the_size(void **state)
{
	struct device *d = open_new("main", SIZE);
	struct stat st;

	(void)state;
	device_discard(d, SIZE - 4096, 4096);
	device_zero(d, SIZE - 4096, 4096);
	device_close(d);
	assert_int_equal(stat(at("main"), &st), 0);
	assert_int_equal(st.st_size, SIZE);
}

/* What lies before the first data must be a hole; that it is one is no promise. */
static void next_data_skips_holes_only(void **state)
{
	struct device *d = open_new("main", SIZE);
	uint64_t start = 0, end = 0;
	void *buf = aligned_buffer(4096);

	(void)state;
	memset(buf, 1, 4096);
	assert_int_equal(device_write(d, buf, 4096, 512 * KiB), 0);
	assert_int_equal(device_next_data(d, 0, &start, &end), 0);
	assert_true(start <= 512 * KiB && end >= 512 * KiB + 4096 && end <= SIZE);
	assert_int_equal(device_next_data(d, 512 * KiB + 512, &start, &end), 0);
	assert_int_equal(start, 512 * KiB + 512);
	assert_true(end >= 512 * KiB + 4096);
	if (end < SIZE)
		assert_int_equal(device_next_data(d, end, &start, &end), -ENXIO);
	device_close(d);
	free(buf);
}

static void next_data_of_a_region_stays_inside(void **state)
{
	struct file_device_options o = {.offset = 64 * KiB, .length = 64 * KiB};
	uint64_t start = 1, end = 1;
	uint8_t data[4096];
	struct device *d;

	(void)state;
	memset(data, 3, sizeof(data));
	make_file(at("main"), SIZE);
	put_bytes(at("main"), 0, data, sizeof(data));
	put_bytes(at("main"), 512 * KiB, data, sizeof(data));
	assert_int_equal(open_with(at("main"), o, &d), 0);
	if (device_next_data(d, 0, &start, &end) == 0)
		assert_true(start < end && end <= o.length);
	else
		assert_int_equal(start, 1);
	put_bytes(at("main"), 96 * KiB, data, sizeof(data));
	assert_int_equal(device_next_data(d, 0, &start, &end), 0);
	assert_true(start <= 32 * KiB && end >= 36 * KiB && end <= o.length);
	device_close(d);
}

/* ---- a device that goes away ---------------------------------------------------- */

static void a_cut_file_is_an_error_not_a_short_read(void **state)
{
	struct device *d = open_new("main", SIZE);
	uint8_t *buf = aligned_buffer(64 * KiB);

	(void)state;
	/* In the middle of a block. */
	assert_int_equal(truncate(at("main"), SIZE / 2 - 100), 0);
	assert_int_equal(device_read(d, buf, 64 * KiB, 0), 0);
	assert_int_equal(device_read(d, buf, 64 * KiB, SIZE / 2 - 64 * KiB), -ENODEV);
	assert_int_equal(device_read(d, buf, 64 * KiB, SIZE - 64 * KiB), -ENODEV);
	/* It has failed as a whole. */
	assert_int_equal(device_read(d, buf, 64 * KiB, 0), -ENODEV);
	device_close(d);
	free(buf);
}

static uint64_t size_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(at(name), &st), 0);
	return (uint64_t)st.st_size;
}

/* Each of these would otherwise succeed, and the write make it longer again. */
static void nothing_succeeds_on_a_cut_file(void **state)
{
	uint8_t *buf = aligned_buffer(64 * KiB);
	uint64_t start, end;

	(void)state;
	for (int first = 0; first < 6; first++) {
		struct device *d = open_new("main", SIZE);

		assert_int_equal(truncate(at("main"), SIZE / 2), 0);
		for (int i = 0; i < 6; i++)
			switch ((first + i) % 6) {
			case 0:
				assert_int_equal(device_write(d, buf, 64 * KiB, SIZE - 64 * KiB), -ENODEV);
				break;
			case 1:
				assert_int_equal(device_write(d, buf, 64 * KiB, 0), -ENODEV);
				break;
			case 2:
				assert_int_equal(device_discard(d, SIZE - 64 * KiB, 64 * KiB), -ENODEV);
				break;
			case 3:
				assert_int_equal(device_zero(d, 0, SIZE), -ENODEV);
				break;
			case 4:
				assert_int_equal(device_flush(d), -ENODEV);
				break;
			default:
				assert_int_equal(device_next_data(d, 0, &start, &end), -ENODEV);
			}
		assert_int_equal(size_of("main"), SIZE / 2);
		/* Zeros in place of what was there. */
		assert_int_equal(truncate(at("main"), SIZE), 0);
		assert_int_equal(device_read(d, buf, 64 * KiB, SIZE - 64 * KiB), -ENODEV);
		assert_int_equal(device_write(d, buf, 64 * KiB, 0), -ENODEV);
		device_close(d);
		unlink(at("main"));
	}
	free(buf);
}

static void what_lies_behind_a_region_may_be_cut(void **state)
{
	uint8_t *buf = aligned_buffer(64 * KiB);
	struct device *d;

	(void)state;
	make_file(at("main"), SIZE);
	assert_int_equal(open_with(at("main"), (struct file_device_options){
				   .offset = 64 * KiB, .length = 64 * KiB}, &d), 0);
	assert_int_equal(truncate(at("main"), 128 * KiB), 0);
	assert_int_equal(device_write(d, buf, 64 * KiB, 0), 0);
	assert_int_equal(device_flush(d), 0);
	assert_int_equal(truncate(at("main"), 128 * KiB - 512), 0);
	assert_int_equal(device_write(d, buf, 4096, 0), -ENODEV);
	device_close(d);
	free(buf);
}

static void a_read_only_device_refuses_writes(void **state)
{
	void *buf = aligned_buffer(4096);
	struct device *d;

	(void)state;
	make_file(at("main"), SIZE);
	assert_int_equal(open_with(at("main"), (struct file_device_options){.read_only = true}, &d),
			 0);
	assert_int_equal(device_read(d, buf, 4096, 0), 0);
	assert_true(device_write(d, buf, 4096, 0) < 0);
	device_close(d);
	free(buf);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(geometry_of_a_file),
		TEST(geometry_of_a_region),
		TEST(a_region_is_addressed_from_its_start),
		TEST(missing),
		TEST(neither_file_nor_device),
		TEST(region_outside_the_file),
		TEST(region_not_in_whole_blocks),
		TEST(not_allowed),
		TEST(locked_against_another_process),
		TEST(locked_against_this_process_too),
		TEST(closing_another_descriptor_keeps_the_lock),
		TEST(readers_share),
		TEST(regions_of_one_file_are_locked_apart),
		TEST(another_holder_is_waited_for),
		TEST(a_file_behind_a_loop_device_is_refused),
		TEST(a_hard_link_is_refused),
		TEST(two_loop_devices_on_one_file),
		TEST(a_loop_device_on_a_file_in_use),
		TEST(regions_of_one_device),
		TEST(a_block_device),
		TEST(what_is_written_is_read),
		TEST(discard_reads_as_zeros),
		TEST(zero_reads_as_zeros),
		TEST(erasing_the_end_keeps_the_size),
		TEST(next_data_skips_holes_only),
		TEST(next_data_of_a_region_stays_inside),
		TEST(a_cut_file_is_an_error_not_a_short_read),
		TEST(nothing_succeeds_on_a_cut_file),
		TEST(what_lies_behind_a_region_may_be_cut),
		TEST(a_read_only_device_refuses_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
