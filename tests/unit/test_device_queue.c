/* include/remapfs/queue.h, over real files. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "remapfs/queue.h"

#define DEPTH 8
#define PIECE 4096u

static struct device_queue *queue;
static int fd; /* that the queue waits for as well */
static struct device *device;
static uint8_t *buffer; /* of DEPTH pieces, and one more */
static struct queued_io ios[DEPTH];
static struct queued_io *back[DEPTH];

/* ---- kernels that do not know RWF_NOWAIT of all files ------------------------------ */

static enum { KNOWN, UNKNOWN_AT_ONCE, UNKNOWN_BY_OUTCOME } nowait;
static unsigned tried; /* I/O with it */

int __real_io_submit(io_context_t, long, struct iocb **);
int __real_io_getevents(io_context_t, long, long, struct io_event *, struct timespec *);
int __wrap_io_submit(io_context_t, long, struct iocb **);
int __wrap_io_getevents(io_context_t, long, long, struct io_event *, struct timespec *);

int __wrap_io_submit(io_context_t context, long count, struct iocb **batch)
{
	if (batch[0]->aio_rw_flags & RWF_NOWAIT) {
		tried++;
		if (nowait == UNKNOWN_AT_ONCE)
			return -EOPNOTSUPP;
	}
	return __real_io_submit(context, count, batch);
}

int __wrap_io_getevents(io_context_t context, long least, long most, struct io_event *events,
			struct timespec *limit)
{
	int n = __real_io_getevents(context, least, most, events, limit);

	for (int i = 0; i < n; i++)
		if (nowait == UNKNOWN_BY_OUTCOME && events[i].obj->aio_rw_flags & RWF_NOWAIT)
			events[i].res = (unsigned long)-EOPNOTSUPP;
	return n;
}

/* ---- over a file --------------------------------------------------------------------- */

static int setup(void **state)
{
	const struct file_device_options options = {.role = "main"};
	struct error err;
	int rc = scratch_setup(state);

	nowait = KNOWN;
	tried = 0;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	buffer = aligned_buffer((DEPTH + 1) * PIECE);
	make_file(at("main"), MiB);
	rc = rc < 0 ? rc : file_device_open(at("main"), &options, &device, &err);
	/* What has no blocks yet is written by who may wait: below. */
	memset(buffer, 0xee, DEPTH * PIECE);
	for (uint64_t offset = 0; rc == 0 && offset < MiB / 2; offset += DEPTH * PIECE)
		rc = device_write(device, buffer, DEPTH * PIECE, offset);
	return rc < 0 ? rc : device_queue_new(DEPTH, fd, &queue);
}

static int teardown(void **state)
{
	device_queue_free(queue);
	device_close(device);
	free(buffer);
	close(fd);
	return scratch_teardown(state);
}

static void add(unsigned i, bool write, uint64_t offset)
{
	assert_true(device_queue_add(queue, &ios[i], device, write, buffer + i * PIECE, PIECE,
				     offset));
}

/* Until all are back. */
static void wait_for_all(void)
{
	while (device_queue_under_way(queue))
		device_queue_wait(queue, NULL, back);
}

static void many_at_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < DEPTH; i++) {
		memset(buffer + i * PIECE, (int)i + 1, PIECE);
		add(i, true, (DEPTH - i) * PIECE);
	}
	assert_int_equal(device_queue_under_way(queue), DEPTH);
	wait_for_all();
	memset(buffer, 0, DEPTH * PIECE);
	for (unsigned i = 0; i < DEPTH; i++) {
		assert_int_equal(ios[i].result, 0);
		add(i, false, (DEPTH - i) * PIECE);
	}
	wait_for_all();
	for (unsigned i = 0; i < DEPTH * PIECE; i++)
		assert_int_equal(buffer[i], i / PIECE + 1);
}

static void each_comes_back_as_itself(void **state)
{
	bool seen[DEPTH] = {false};

	(void)state;
	for (unsigned i = 0; i < DEPTH; i++)
		add(i, false, i * PIECE);
	while (device_queue_under_way(queue)) {
		unsigned n = device_queue_wait(queue, NULL, back);

		assert_true(n > 0);
		for (unsigned i = 0; i < n; i++) {
			assert_false(seen[back[i] - ios]);
			seen[back[i] - ios] = true;
		}
	}
}

static void past_the_end_the_device_is_gone(void **state)
{
	(void)state;
	assert_int_equal(truncate(at("main"), (off_t)(MiB - PIECE / 2)), 0);
	add(0, false, MiB - PIECE);
	wait_for_all();
	/* What it has come to is for device_read to say. */
	assert_int_equal(ios[0].result, device->geometry.block_size == 512 ? -EAGAIN : -ENODEV);
	add(1, false, 0);
	wait_for_all();
	assert_int_equal(ios[1].result, device->geometry.block_size == 512 ? 0 : -ENODEV);
	assert_int_equal(device_read(device, buffer, PIECE, MiB - PIECE), -ENODEV);
	add(2, false, 0);
	wait_for_all();
	assert_int_equal(ios[2].result, -ENODEV);
}

static void a_cut_file_is_not_made_longer(void **state)
{
	(void)state;
	/* Cut while the write is under way, as far as anybody can tell. */
	add(0, true, MiB / 2 - PIECE);
	assert_int_equal(truncate(at("main"), MiB / 4), 0);
	wait_for_all();
	assert_true(ios[0].result < 0);
	assert_false(device_queue_add(queue, &ios[1], device, true, buffer, PIECE, 0));
}

/* RWF_NOWAIT: whoever leads must not wait for a journal. */
static void what_would_wait_is_for_others(void **state)
{
	(void)state;
	add(0, true, MiB - PIECE);
	wait_for_all();
	if (ios[0].result == 0)
		print_message("this file system takes writes into holes without waiting\n");
	else
		assert_int_equal(ios[0].result, -EAGAIN);
}

static void without_nowait_the_rest_is_done_here(void **state)
{
	(void)state;
	nowait = UNKNOWN_AT_ONCE;
	add(0, true, 0);
	wait_for_all();
	assert_int_equal(ios[0].result, 0);
	add(1, false, 0);
	wait_for_all();
	assert_int_equal(ios[1].result, 0);
	assert_int_equal(tried, 1);
}

/* What was under way was not done; what comes later is. */
static void an_outcome_may_tell_it_as_well(void **state)
{
	(void)state;
	nowait = UNKNOWN_BY_OUTCOME;
	for (unsigned i = 0; i < 3; i++)
		add(i, i % 2, i * PIECE);
	device_queue_submit(queue);
	wait_for_all();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(ios[i].result, -EAGAIN);
	add(0, true, 0);
	add(1, false, PIECE);
	wait_for_all();
	assert_int_equal(ios[0].result, 0);
	assert_int_equal(ios[1].result, 0);
	assert_int_equal(tried, 1);
}

static void what_the_kernel_refuses_is_for_others(void **state)
{
	(void)state;
	/* A buffer that direct I/O cannot use. */
	assert_true(device_queue_add(queue, &ios[0], device, true, buffer + 1, PIECE, 0));
	wait_for_all();
	assert_int_equal(ios[0].result, -EAGAIN);
}

static void a_device_without_a_descriptor_is_left_alone(void **state)
{
	struct ram_device *ram = ram_device_new(MiB, 512);

	(void)state;
	assert_false(device_queue_add(queue, &ios[0], &ram->device, false, buffer, PIECE, 0));
	assert_int_equal(device_queue_under_way(queue), 0);
	device_close(&ram->device);
}

static void a_descriptor_becomes_readable(void **state)
{
	bool readable = false;
	uint64_t one = 1;

	(void)state;
	add(0, true, 0);
	while (device_queue_under_way(queue))
		device_queue_wait(queue, &readable, back);
	assert_false(readable);
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(device_queue_wait(queue, &readable, back), 0);
	assert_true(readable);
	/* Again, until it has been read. */
	readable = false;
	assert_int_equal(device_queue_wait(queue, &readable, back), 0);
	assert_true(readable);
}

static void ignore(int signal)
{
	(void)signal;
}

static void *wake(void *arg)
{
	const pthread_t *waits = arg;

	for (unsigned i = 0; i < 20; i++) {
		pause_ms(5);
		pthread_kill(*waits, SIGUSR1);
	}
	return NULL;
}

static void a_signal_ends_the_wait(void **state)
{
	struct sigaction action = {.sa_handler = ignore};
	pthread_t self = pthread_self(), other;
	bool readable = false;

	(void)state;
	sigaction(SIGUSR1, &action, NULL);
	assert_int_equal(pthread_create(&other, NULL, wake, &self), 0);
	assert_int_equal(device_queue_wait(queue, &readable, back), 0);
	assert_false(readable);
	pthread_join(other, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(many_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(each_comes_back_as_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(past_the_end_the_device_is_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_file_is_not_made_longer, setup, teardown),
		cmocka_unit_test_setup_teardown(what_would_wait_is_for_others, setup, teardown),
		cmocka_unit_test_setup_teardown(without_nowait_the_rest_is_done_here, setup, teardown),
		cmocka_unit_test_setup_teardown(an_outcome_may_tell_it_as_well, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_kernel_refuses_is_for_others, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_without_a_descriptor_is_left_alone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_descriptor_becomes_readable, setup, teardown),
		cmocka_unit_test_setup_teardown(a_signal_ends_the_wait, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
