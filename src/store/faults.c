/*
 * Simulated bad sectors, as rows.
 */
#include <errno.h>
#include <stdlib.h>

#include "store/row.h"

static const char *const on_names[] = {
	[FAULT_ON_READ] = "read",
	[FAULT_ON_WRITE] = "write",
	[FAULT_ON_BOTH] = "both",
};

static const char *const life_names[] = {
	[FAULT_PERMANENT] = "permanent",
	[FAULT_TIMES] = "times",
	[FAULT_UNTIL_REWRITTEN] = "until rewritten",
};

static int insert(struct store *s, const struct fault *f)
{
	sqlite3_stmt *row = store_statement(s, SQL_FAULT_INSERT);

	if (!row)
		return store_errno(s);
	if (f->spare != ON_MAIN)
		sqlite3_bind_int64(row, 1, f->spare);
	sqlite3_bind_int64(row, 2, (sqlite3_int64)f->start);
	sqlite3_bind_int64(row, 3, (sqlite3_int64)f->count);
	sqlite3_bind_text(row, 4, on_names[f->on], -1, SQLITE_STATIC);
	if (f->error)
		sqlite3_bind_text(row, 5, errno_name(f->error), -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(row, 6, life_names[f->life], -1, SQLITE_STATIC);
	if (f->life == FAULT_TIMES)
		sqlite3_bind_int64(row, 7, (sqlite3_int64)f->times);
	sqlite3_bind_int64(row, 8, f->delay_ms);
	return store_run(s, row);
}

int store_add_fault(struct store *s, const struct fault *f)
{
	struct fault one = *f;
	int rc = 0;

	if (f->life == FAULT_PERMANENT)
		return insert(s, f);
	one.count = 1;
	for (; rc == 0 && one.start < f->start + f->count; one.start++)
		rc = insert(s, &one);
	return rc;
}

/* The name of an error, which may be one that only newer versions know. */
static int read_error(struct row_reader *r, int column)
{
	const char *name = row_optional_text(r, column);
	int error = name ? errno_from_name(name) : 0;

	return name && !error ? EIO : error;
}

/* It may lie past the end of its device, where it does nothing, but not of any device. */
static int read_fault(struct store *s, sqlite3_stmt *at, int64_t after, struct fault *f)
{
	struct row_reader r = row_begin(s, at, "fault");

	*f = (struct fault){
		.id = row_integer(&r, 0, after + 1, INT64_MAX),
		.spare = (spare_id_t)row_optional(&r, 1, 1, SPARE_ID_MAX),
		.start = (sector_t)row_integer(&r, 2, 0, (int64_t)SLOT_MAX - 1),
		.count = (uint64_t)row_integer(&r, 3, 1, (int64_t)SLOT_MAX),
		.on = (enum fault_on)row_name(&r, 4, on_names, FAULT_ON_READ, FAULT_ON_BOTH),
		.error = read_error(&r, 5),
		.life = (enum fault_life)row_name(&r, 6, life_names, FAULT_PERMANENT,
						  FAULT_UNTIL_REWRITTEN),
		.times = (uint64_t)row_optional(&r, 7, 1, INT64_MAX),
		.delay_ms = (uint32_t)row_integer(&r, 8, 0, FAULT_DELAY_MS_MAX),
	};
	if (f->start + f->count > SLOT_MAX)
		row_refuse(&r, "lies outside any device");
	if ((f->life == FAULT_TIMES) != (f->times > 0) ||
	    (f->life == FAULT_UNTIL_REWRITTEN && f->on != FAULT_ON_READ) ||
	    (!f->error && !f->delay_ms))
		row_refuse(&r, "contradicts itself");
	return row_end(&r);
}

int store_each_fault(struct store *s, int (*fn)(void *context, const struct fault *), void *context)
{
	sqlite3_stmt *row = store_statement(s, SQL_FAULT_READ);
	struct fault f = {.id = 0};
	int rc;

	while ((rc = store_step(s, row)) > 0) {
		rc = read_fault(s, row, f.id, &f);
		rc = rc < 0 ? rc : fn(context, &f);
		if (rc != 0) {
			store_done(row);
			return rc;
		}
	}
	return rc;
}

struct loading {
	struct fault *faults;
	size_t count, capacity;
};

static int add_fault(void *context, const struct fault *f)
{
	struct loading *l = context;

	if (l->count == l->capacity) {
		size_t capacity = l->capacity * 2 + 16;
		struct fault *more = realloc(l->faults, capacity * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->faults = more;
		l->capacity = capacity;
	}
	l->faults[l->count++] = *f;
	return 0;
}

int store_load_faults(struct store *s, struct fault **ret, size_t *ret_count)
{
	struct loading l = {0};
	int rc = store_each_fault(s, add_fault, &l);

	if (rc < 0) {
		free(l.faults);
		return rc;
	}
	*ret = l.faults;
	*ret_count = l.count;
	return 0;
}

static int clear(struct store *s, sqlite3_stmt *statement, uint64_t *ret_cleared)
{
	int rc = store_run(s, statement);

	if (rc == 0)
		*ret_cleared = (uint64_t)sqlite3_changes64(s->db);
	return rc;
}

int store_clear_fault(struct store *s, int64_t id)
{
	return store_run(s, store_bind(s, SQL_FAULT_DELETE, "i", id));
}

int store_clear_all_faults(struct store *s, uint64_t *ret_cleared)
{
	return clear(s, store_statement(s, SQL_FAULT_DELETE_ALL), ret_cleared);
}

int store_clear_faults_in(struct store *s, spare_id_t spare, sector_t start, uint64_t count,
			  uint64_t *ret_cleared)
{
	if (spare == ON_MAIN)
		return clear(s, store_bind(s, SQL_FAULT_DELETE_IN, "nii", (int64_t)start,
					   (int64_t)(start + count)), ret_cleared);
	return clear(s, store_bind(s, SQL_FAULT_DELETE_IN, "iii", (int64_t)spare, (int64_t)start,
				   (int64_t)(start + count)), ret_cleared);
}
