/* overlay_device_wrap of include/remapfs/device.h: what is written stays in memory. */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512
#define BLOCKS 4096

static struct ram_device *below;
static struct device *overlay;
static uint8_t *buffer;
static bool closed;

static int setup(void **state)
{
	(void)state;
	below = ram_device_new(BLOCKS * BLOCK, BLOCK);
	for (unsigned i = 0; i < BLOCKS; i++)
		memset(below->data + i * BLOCK, (int)(i % 100), BLOCK);
	below->closed = &closed;
	closed = false;
	buffer = aligned_buffer(BLOCKS * BLOCK);
	return overlay_device_wrap(&below->device, &overlay);
}

static int teardown(void **state)
{
	(void)state;
	device_close(overlay);
	free(buffer);
	return closed ? 0 : -1;
}

static void put(unsigned block, unsigned count, uint8_t content)
{
	memset(buffer, content, count * BLOCK);
	assert_int_equal(device_write(overlay, buffer, count * BLOCK, block * BLOCK), 0);
}

static void assert_holds(unsigned block, uint8_t content)
{
	assert_int_equal(device_read(overlay, buffer, BLOCK, block * BLOCK), 0);
	for (unsigned i = 0; i < BLOCK; i++)
		assert_int_equal(buffer[i], content);
}

static void it_is_as_the_one_below(void **state)
{
	(void)state;
	assert_memory_equal(&overlay->geometry, &below->device.geometry, sizeof(overlay->geometry));
	assert_int_equal(device_read(overlay, buffer, BLOCKS * BLOCK, 0), 0);
	assert_memory_equal(buffer, below->data, BLOCKS * BLOCK);
	assert_int_equal(device_present(overlay), 0);
}

static void what_is_written_is_read_back(void **state)
{
	static const uint8_t expected[] = {9, 200, 201, 200, 13};

	(void)state;
	put(10, 3, 200);
	assert_holds(9, 9);
	for (unsigned i = 10; i < 13; i++)
		assert_holds(i, 200);
	assert_holds(13, 13);
	/* Again, and in part. */
	put(11, 1, 201);
	assert_holds(10, 200);
	assert_holds(11, 201);
	assert_holds(12, 200);
	assert_int_equal(device_read(overlay, buffer, 5 * BLOCK, 9 * BLOCK), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(buffer[i * BLOCK + BLOCK - 1], expected[i]);
}

/* However many there are: they share the buckets of a table. */
static void no_block_stands_for_another(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BLOCKS; i += 512)
		put(i, 1, (uint8_t)(128 + i / 512));
	for (unsigned i = 0; i < BLOCKS; i++)
		assert_holds(i, (uint8_t)(i % 512 ? i % 100 : 128 + i / 512));
}

static void nothing_reaches_the_one_below(void **state)
{
	(void)state;
	put(0, 100, 200);
	assert_int_equal(device_flush(overlay), 0);
	assert_int_equal(device_discard(overlay, 0, BLOCK), -EOPNOTSUPP);
	assert_int_equal(device_zero(overlay, 0, BLOCK), -EOPNOTSUPP);
	for (enum ram_call c = RAM_WRITE; c < RAM_CALLS; c++)
		assert_int_equal(below->calls[c], 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(below->data[i * BLOCK], i);
	assert_holds(0, 200);
}

/* A hole below may have been written to. */
static void nothing_is_a_hole(void **state)
{
	uint64_t start, end;

	(void)state;
	assert_int_equal(device_next_data(overlay, 5 * BLOCK, &start, &end), 0);
	assert_int_equal(start, 5 * BLOCK);
	assert_int_equal(end, BLOCKS * BLOCK);
	assert_int_equal(device_next_data(overlay, BLOCKS * BLOCK, &start, &end), -ENXIO);
}

static void what_cannot_be_read_below_is_an_error(void **state)
{
	(void)state;
	put(10, 1, 200);
	below->fail_error[RAM_READ] = -EIO;
	below->fail_from = 20 * BLOCK;
	below->fail_to = 21 * BLOCK;
	assert_int_equal(device_read(overlay, buffer, BLOCK, 20 * BLOCK), -EIO);
	assert_int_equal(device_read(overlay, buffer, 20 * BLOCK, 10 * BLOCK), -EIO);
	assert_holds(10, 200);
	assert_holds(19, 19);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_as_the_one_below),
		TEST(what_is_written_is_read_back),
		TEST(no_block_stands_for_another),
		TEST(nothing_reaches_the_one_below),
		TEST(nothing_is_a_hole),
		TEST(what_cannot_be_read_below_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
