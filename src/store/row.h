/*
 * How a row is read whose values may be anything. Internal to store/.
 *
 * The types and CHECKs of the schema bind statements, not who writes the bytes of the
 * file: any column may hold any value. So each value of a table is read by one of these
 * functions, which say what it has to be. After the columns of a row, row_end says
 * whether all of them were: nothing of a row is used before.
 */
#ifndef STORE_ROW_H
#define STORE_ROW_H

#include "store/statement.h"

struct row_reader {
	struct store *store;
	sqlite3_stmt *at;
	const char *table; /* for the message */
	bool damaged;
};

struct row_reader row_begin(struct store *, sqlite3_stmt *, const char *table);

/* An integer from least to most. What is none is 0. */
int64_t row_integer(struct row_reader *, int column, int64_t least, int64_t most);
/* The same, or NULL, which is 0. */
int64_t row_optional(struct row_reader *, int column, int64_t least, int64_t most);
/* 64 bits of any value: a digest, a sum. */
uint64_t row_bits(struct row_reader *, int column);
/* Text without a NUL in it; "" where it is none. Valid until the next step. */
const char *row_text(struct row_reader *, int column);
/* The same, or NULL, which is NULL. */
const char *row_optional_text(struct row_reader *, int column);
/* The index of the text among names from first to last; first where it is none of them. */
int row_name(struct row_reader *, int column, const char *const *names, int first, int last);
/* The path of a member, absolute; a copy that the caller frees, NULL: no memory. */
char *row_path(struct row_reader *, int column);
/* A UUID as text. */
void row_uuid(struct row_reader *, int column, char to[STORE_UUID_TEXT]);

/* Something else is wrong with the row, such as its order. Remembers the first. */
void row_refuse(struct row_reader *, const char *what);

/* 0, or -EUCLEAN, and the statement is done: store_explain then names what was wrong. */
int row_end(const struct row_reader *);

#endif
