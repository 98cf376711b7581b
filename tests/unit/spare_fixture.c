#include "spare_fixture.h"

#include <string.h>

const struct spare_identity identity = {
	.volume = {1, 2, 3},
	.spare = {4, 5, 6},
	.id = 7,
	.sector_size = 512,
	.main_sectors = 1000000,
};

struct ram_device *ram;

struct device *new_device(void)
{
	ram = ram_device_new(SPARE_BYTES, 512);
	memset(ram->data, 0xa5, SPARE_BYTES);
	return &ram->device;
}

struct spare *open_formatted(const struct spare_identity *id)
{
	struct device *d = new_device();
	struct error err = {""};
	struct spare *s;
	bool damaged;

	assert_int_equal(spare_format(d, id), 0);
	assert_int_equal(spare_open(d, id, &s, &damaged, &err), 0);
	assert_false(damaged);
	return s;
}
