/* A spare of 512-byte sectors on a device in memory. */
#ifndef TESTS_SPARE_FIXTURE_H
#define TESTS_SPARE_FIXTURE_H

#include "fixture.h"

#include "remapfs/spare.h"

#define SPARE_BYTES (2 * MiB)

extern const struct spare_identity identity;
extern struct ram_device *ram; /* what new_device made last */

/* SPARE_BYTES long, filled with 0xa5. */
struct device *new_device(void);

/* A new device, formatted and opened; closed with spare_close. */
struct spare *open_formatted(const struct spare_identity *id);

#endif
