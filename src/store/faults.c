/*
 * Simulated bad sectors, as rows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "store/statement.h"

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

/* The index of text among names from first to last; first when it is none. */
static int index_of(const char *const *names, int first, int last, const char *text)
{
	for (int i = last; i > first; i--)
		if (strcmp(names[i], text) == 0)
			return i;
	return first;
}

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

static void read_fault(sqlite3_stmt *row, struct fault *f)
{
	char text[32];

	*f = (struct fault){
		.id = sqlite3_column_int64(row, 0),
		.spare = (spare_id_t)sqlite3_column_int64(row, 1),
		.start = (sector_t)sqlite3_column_int64(row, 2),
		.count = (uint64_t)sqlite3_column_int64(row, 3),
		.times = (uint64_t)sqlite3_column_int64(row, 7),
		.delay_ms = (uint32_t)sqlite3_column_int64(row, 8),
	};
	store_text(row, 4, text, sizeof(text));
	f->on = (enum fault_on)index_of(on_names, FAULT_ON_READ, FAULT_ON_BOTH, text);
	store_text(row, 5, text, sizeof(text));
	if (text[0]) {
		f->error = errno_from_name(text);
		f->error = f->error ? f->error : EIO;
	}
	store_text(row, 6, text, sizeof(text));
	f->life = (enum fault_life)index_of(life_names, FAULT_PERMANENT, FAULT_UNTIL_REWRITTEN,
					    text);
}

int store_load_faults(struct store *s, struct fault **ret, size_t *ret_count)
{
	sqlite3_stmt *row = store_statement(s, SQL_FAULT_READ);
	CLEANUP_FREE struct fault *faults = NULL;
	size_t count = 0, capacity = 0;
	int rc;

	while ((rc = store_step(s, row)) > 0) {
		if (count == capacity) {
			struct fault *more;

			capacity = capacity * 2 + 16;
			more = realloc(faults, capacity * sizeof(*more));
			if (!more) {
				store_done(row);
				return -ENOMEM;
			}
			faults = more;
		}
		read_fault(row, &faults[count++]);
	}
	if (rc < 0)
		return rc;
	*ret = STEAL(faults);
	*ret_count = count;
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
