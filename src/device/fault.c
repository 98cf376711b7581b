/*
 * The fault injector: a device that fails where it is told to.
 *
 * Faults stand in an array sorted by their first sector. They may overlap, so
 * each entry also knows the greatest end of all entries up to it: walking back
 * from the last candidate stops where that is at or before the range. The
 * array is never changed in place but for two atomics per fault; a new one is
 * swapped in under the lock that every request holds for its look-up only.
 */
#include "remapfs/device.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct armed_fault {
	struct fault fault;
	sector_t reach; /* the greatest end of this fault and all before it */
	_Atomic(int64_t) left; /* FAULT_TIMES: how often it still strikes */
	atomic_bool ended;
};

struct fault_device {
	struct device device;
	struct device *inner;
	uint32_t sector_size;
	void (*spent)(void *context, int64_t id);
	void *context;
	pthread_rwlock_t lock; /* guards the two below */
	struct armed_fault *faults;
	size_t count;
	_Atomic(size_t) armed; /* count, readable without the lock */
};

#define SPENT_MAX 16

/* Faults that have ended, told once no lock is held. More are not told. */
struct spent {
	int64_t ids[SPENT_MAX];
	size_t count;
};

/* What a request meets. */
struct strike {
	int error;         /* positive, 0: none */
	sector_t at, end;  /* where it fails */
	enum fault_way way;
	uint32_t delay_ms; /* before it goes on or fails */
	struct spent spent;
};

static struct fault_device *fault_of(struct device *d)
{
	return (struct fault_device *)d;
}

/* ---- look-up -------------------------------------------------------------- */

/* The first index whose fault begins at or after sector. */
static size_t first_from(const struct fault_device *f, sector_t sector)
{
	size_t low = 0, high = f->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (f->faults[middle].fault.start < sector)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Calls visit for every living fault that touches [start, end), from the last
 * to the first.
 */
static void each_touched(struct fault_device *f, sector_t start, sector_t end,
			 void (*visit)(struct armed_fault *, void *), void *context)
{
	size_t i = first_from(f, end);

	while (i > 0 && f->faults[i - 1].reach > start) {
		struct armed_fault *a = &f->faults[--i];

		if (a->fault.start + a->fault.count > start && !atomic_load(&a->ended))
			visit(a, context);
	}
}

static void note_spent(struct spent *spent, int64_t id)
{
	if (spent->count < SPENT_MAX)
		spent->ids[spent->count++] = id;
}

static void tell_spent(const struct fault_device *f, const struct spent *spent)
{
	for (size_t i = 0; f->spent && i < spent->count; i++)
		f->spent(f->context, spent->ids[i]);
}

/* Whether a fault that strikes a limited number of times does so once more. */
static bool take_strike(struct armed_fault *a, struct spent *spent)
{
	int64_t left;

	if (a->fault.life != FAULT_TIMES)
		return true;
	left = atomic_fetch_sub(&a->left, 1);
	if (left == 1) {
		atomic_store(&a->ended, true);
		note_spent(spent, a->fault.id);
	}
	return left >= 1;
}

struct search {
	enum fault_on on;
	sector_t start;
	struct armed_fault *first; /* the one that fails the request */
	sector_t at;
	struct strike *strike;
};

static void wait_for(struct armed_fault *a, struct strike *strike)
{
	if (a->fault.delay_ms > strike->delay_ms)
		strike->delay_ms = a->fault.delay_ms;
}

/* Those that are only slow all strike. */
static void slow_down(struct armed_fault *a, void *context)
{
	struct search *s = context;

	if (a->fault.error == 0 && (a->fault.on & s->on) && take_strike(a, &s->strike->spent))
		wait_for(a, s->strike);
}

/* Of those that fail, the first one on the way does. */
static void find_first(struct armed_fault *a, void *context)
{
	struct search *s = context;
	sector_t at = a->fault.start > s->start ? a->fault.start : s->start;

	if (a->fault.error && (a->fault.on & s->on) && (!s->first || at <= s->at)) {
		s->first = a;
		s->at = at;
	}
}

static struct strike find_strike(struct fault_device *f, enum fault_on on, sector_t start,
				 sector_t end)
{
	struct strike strike = {0};
	struct search search = {.on = on, .start = start, .strike = &strike};

	pthread_rwlock_rdlock(&f->lock);
	each_touched(f, start, end, slow_down, &search);
	do {
		search.first = NULL;
		each_touched(f, start, end, find_first, &search);
		/* Another request may have taken its last strike: look again. */
	} while (search.first && !take_strike(search.first, &strike.spent));
	if (search.first) {
		wait_for(search.first, &strike);
		strike.error = search.first->fault.error;
		strike.at = search.at;
		strike.end = search.first->fault.start + search.first->fault.count;
		strike.way = fault_way(&search.first->fault);
	}
	pthread_rwlock_unlock(&f->lock);
	return strike;
}

struct healing {
	sector_t start, end;
	struct spent spent;
};

static void heal(struct armed_fault *a, void *context)
{
	struct healing *h = context;

	if (a->fault.life != FAULT_UNTIL_REWRITTEN || a->fault.start < h->start ||
	    a->fault.start + a->fault.count > h->end || h->spent.count == SPENT_MAX)
		return;
	if (!atomic_exchange(&a->ended, true))
		note_spent(&h->spent, a->fault.id);
}

/* A write of [start, end) succeeded: what waited for it is cured. */
static void heal_range(struct fault_device *f, sector_t start, sector_t end)
{
	struct healing h = {.start = start, .end = end};

	do {
		h.spent.count = 0;
		pthread_rwlock_rdlock(&f->lock);
		each_touched(f, start, end, heal, &h);
		pthread_rwlock_unlock(&f->lock);
		tell_spent(f, &h.spent);
	} while (h.spent.count == SPENT_MAX);
}

/* ---- the device ------------------------------------------------------------ */

static void suffer_delay(uint32_t ms)
{
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (ms && nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static struct strike suffer(struct fault_device *f, enum fault_on on, uint64_t offset,
			    uint64_t length)
{
	struct strike strike = find_strike(f, on, offset / f->sector_size,
					   (offset + length + f->sector_size - 1) / f->sector_size);

	suffer_delay(strike.delay_ms);
	tell_spent(f, &strike.spent);
	return strike;
}

static bool nothing_armed(struct fault_device *f)
{
	return atomic_load_explicit(&f->armed, memory_order_acquire) == 0;
}

/* A read or a write of all of it; one of the buffers is NULL. */
struct transfer {
	struct fault_device *f;
	void *to;
	const void *from;
	uint64_t start, end; /* bytes of the device */
};

static int read_piece(const struct transfer *t, uint64_t offset, uint64_t length)
{
	return length ? device_read(t->f->inner, (char *)t->to + (offset - t->start), length,
				    offset) : 0;
}

static int write_piece(const struct transfer *t, uint64_t offset, uint64_t length)
{
	struct fault_device *f = t->f;
	int rc = length ? device_write(f->inner, (const char *)t->from + (offset - t->start),
				       length, offset) : 0;

	if (rc == 0)
		heal_range(f, offset / f->sector_size, (offset + length) / f->sector_size);
	return rc;
}

/*
 * Goes up to what fails, and past it where that is the way of the fault; but
 * then what is slow would be so again and again, and that ends it.
 */
static int transfer(const struct transfer *t)
{
	struct fault_device *f = t->f;
	uint64_t offset = t->start, end = t->end;
	int error = 0;

	while (offset < end) {
		struct strike strike = suffer(f, t->to ? FAULT_ON_READ : FAULT_ON_WRITE, offset,
					      end - offset);
		uint64_t at = strike.error ? strike.at * f->sector_size : end;
		uint64_t next = strike.error ? strike.end * f->sector_size : end;
		int rc;

		error = error ? error : strike.error;
		if (strike.error && strike.way == FAULT_DOES_NOTHING)
			break;
		at = at > offset ? at : offset;
		rc = t->to ? read_piece(t, offset, at - offset)
			   : write_piece(t, offset, at - offset);
		if (rc < 0)
			return error ? -error : rc;
		if (strike.error && (strike.way != FAULT_DOES_AROUND || strike.delay_ms))
			break;
		offset = next;
	}
	return -error;
}

static int fault_read(struct device *d, void *buf, size_t length, uint64_t offset)
{
	struct fault_device *f = fault_of(d);

	if (nothing_armed(f))
		return device_read(f->inner, buf, length, offset);
	return transfer(&(struct transfer){f, buf, NULL, offset, offset + length});
}

static int fault_write(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	struct fault_device *f = fault_of(d);

	if (nothing_armed(f))
		return device_write(f->inner, buf, length, offset);
	return transfer(&(struct transfer){f, NULL, buf, offset, offset + length});
}

static int fault_flush(struct device *d)
{
	return device_flush(fault_of(d)->inner);
}

static int fault_erase(struct fault_device *f, uint64_t offset, uint64_t length,
		       int (*erase)(struct device *, uint64_t, uint64_t))
{
	struct strike strike;
	int rc;

	if (nothing_armed(f))
		return erase(f->inner, offset, length);
	strike = suffer(f, FAULT_ON_WRITE, offset, length);
	if (strike.error)
		return -strike.error;
	rc = erase(f->inner, offset, length);
	if (rc == 0)
		heal_range(f, offset / f->sector_size, (offset + length) / f->sector_size);
	return rc;
}

static int fault_discard(struct device *d, uint64_t offset, uint64_t length)
{
	return fault_erase(fault_of(d), offset, length, device_discard);
}

static int fault_zero(struct device *d, uint64_t offset, uint64_t length)
{
	return fault_erase(fault_of(d), offset, length, device_zero);
}

static int fault_next_data(struct device *d, uint64_t offset, uint64_t *ret_start,
			   uint64_t *ret_end)
{
	return device_next_data(fault_of(d)->inner, offset, ret_start, ret_end);
}

static void find_any(struct armed_fault *a, void *context)
{
	(void)a;
	*(bool *)context = true;
}

/* What no fault touches is the inner device's: nothing fails there, or is cured. */
static struct device *fault_stand_in(struct device *d, uint64_t offset, uint64_t length)
{
	struct fault_device *f = fault_of(d);
	bool touched = false;

	if (!nothing_armed(f)) {
		pthread_rwlock_rdlock(&f->lock);
		each_touched(f, offset / f->sector_size,
			     (offset + length + f->sector_size - 1) / f->sector_size, find_any,
			     &touched);
		pthread_rwlock_unlock(&f->lock);
	}
	return touched ? NULL : device_stand_in(f->inner, offset, length);
}

static void fault_identify(struct device *d, struct device_identity *ret)
{
	device_identify(fault_of(d)->inner, ret);
}

static void fault_close(struct device *d)
{
	struct fault_device *f = fault_of(d);

	device_close(f->inner);
	pthread_rwlock_destroy(&f->lock);
	free(f->faults);
	free(f);
}

static int fault_present(struct device *d)
{
	return device_present(fault_of(d)->inner);
}

static const struct device_ops fault_ops = {
	.present = fault_present,
	.read = fault_read,
	.write = fault_write,
	.flush = fault_flush,
	.discard = fault_discard,
	.zero = fault_zero,
	.next_data = fault_next_data,
	.close = fault_close,
	.stand_in = fault_stand_in,
	.identify = fault_identify,
};

int fault_device_wrap(struct device *inner, uint32_t sector_size,
		      void (*spent)(void *context, int64_t id), void *context,
		      struct device **ret)
{
	struct fault_device *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->device.ops = &fault_ops;
	f->device.geometry = inner->geometry;
	f->inner = inner;
	f->sector_size = sector_size;
	f->spent = spent;
	f->context = context;
	pthread_rwlock_init(&f->lock, NULL);
	*ret = &f->device;
	return 0;
}

/* ---- arming ----------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
	const struct armed_fault *x = a, *y = b;

	return (x->fault.start > y->fault.start) - (x->fault.start < y->fault.start);
}

static int by_id(const void *a, const void *b)
{
	const struct armed_fault *const *x = a, *const *y = b;

	return ((*x)->fault.id > (*y)->fault.id) - ((*x)->fault.id < (*y)->fault.id);
}

/* What a fault of the same id has been through already stays with it. */
static int keep_counts(const struct fault_device *f, struct armed_fault *faults, size_t count)
{
	struct armed_fault **known = malloc((f->count + 1) * sizeof(*known));

	if (!known)
		return -ENOMEM;
	for (size_t i = 0; i < f->count; i++)
		known[i] = &f->faults[i];
	qsort(known, f->count, sizeof(struct armed_fault *), by_id);
	for (size_t i = 0; i < count; i++) {
		struct armed_fault *key = &faults[i], **old;

		old = bsearch(&key, known, f->count, sizeof(struct armed_fault *), by_id);
		if (!old)
			continue;
		atomic_store(&faults[i].left, atomic_load(&(*old)->left));
		atomic_store(&faults[i].ended, atomic_load(&(*old)->ended));
	}
	free(known);
	return 0;
}

static size_t arm(struct armed_fault *armed, spare_id_t which, const struct fault *faults,
		  size_t count)
{
	sector_t reach = 0;
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		if (faults[i].spare != which)
			continue;
		armed[n].fault = faults[i];
		atomic_store(&armed[n].left, (int64_t)faults[i].times);
		n++;
	}
	qsort(armed, n, sizeof(*armed), by_start);
	for (size_t i = 0; i < n; i++) {
		sector_t end = armed[i].fault.start + armed[i].fault.count;

		reach = end > reach ? end : reach;
		armed[i].reach = reach;
	}
	return n;
}

int fault_device_set(struct device *d, spare_id_t which, const struct fault *faults, size_t count)
{
	struct fault_device *f = fault_of(d);
	struct armed_fault *armed = calloc(count + 1, sizeof(*armed)), *old = armed;
	size_t n;
	int rc;

	if (!armed)
		return -ENOMEM;
	n = arm(armed, which, faults, count);
	pthread_rwlock_wrlock(&f->lock);
	rc = keep_counts(f, armed, n);
	if (rc == 0) {
		old = f->faults;
		f->faults = armed;
		f->count = n;
		atomic_store_explicit(&f->armed, n, memory_order_release);
	}
	pthread_rwlock_unlock(&f->lock);
	free(old);
	return rc;
}

uint64_t fault_device_sectors(struct device *d)
{
	struct fault_device *f = fault_of(d);
	uint64_t sectors = 0;

	pthread_rwlock_rdlock(&f->lock);
	for (size_t i = 0; i < f->count; i++)
		if (!atomic_load(&f->faults[i].ended))
			sectors += f->faults[i].fault.count;
	pthread_rwlock_unlock(&f->lock);
	return sectors;
}

/* ---- pulled out ------------------------------------------------------------- */

static int gone_read(struct device *d, void *buf, size_t length, uint64_t offset)
{
	(void)d, (void)buf, (void)length, (void)offset;
	return -ENODEV;
}

static int gone_write(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	(void)d, (void)buf, (void)length, (void)offset;
	return -ENODEV;
}

static int gone_flush(struct device *d)
{
	(void)d;
	return -ENODEV;
}

static int gone_erase(struct device *d, uint64_t offset, uint64_t length)
{
	(void)d, (void)offset, (void)length;
	return -ENODEV;
}

static int gone_next_data(struct device *d, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
	(void)d, (void)offset, (void)ret_start, (void)ret_end;
	return -ENODEV;
}

static void gone_close(struct device *d)
{
	(void)d;
}

static const struct device_ops gone_ops = {
	.read = gone_read,
	.write = gone_write,
	.flush = gone_flush,
	.discard = gone_erase,
	.zero = gone_erase,
	.next_data = gone_next_data,
	.close = gone_close,
};

void fault_device_pull(struct device *d)
{
	static struct device gone = {.ops = &gone_ops};
	struct fault_device *f = fault_of(d);

	device_close(f->inner);
	f->inner = &gone;
}
