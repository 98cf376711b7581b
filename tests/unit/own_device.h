/*
 * A volume whose devices ask the test before each call: the scratch volume of
 * volume_fixture.h, opened with a device of the test's own around each file.
 */
#ifndef TESTS_OWN_DEVICE_H
#define TESTS_OWN_DEVICE_H

#include "volume_fixture.h"

enum device_call { CALL_READ, CALL_WRITE, CALL_FLUSH, CALL_LOOK /* device_present */ };

/*
 * What a call on "main", "spare1" … is answered with: 0 lets it through. Called by
 * many threads; may wait. start and count are sectors, 0 of a flush or look.
 */
typedef int (*device_rule)(const char *name, enum device_call, sector_t start, uint64_t count);

/* Closes the open volume and opens it so. NULL: all calls go through. */
void open_with_rule(device_rule, struct volume_options);
/* From now on, for those that begin. */
void set_rule(device_rule);
/* What main says of itself; NULL: what its file does. */
void set_main_identity(const struct device_identity *);
/* For a test that opens the volume itself. */
extern const struct volume_parts own_parts;

#endif
