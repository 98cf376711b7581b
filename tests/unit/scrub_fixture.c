#include "scrub_fixture.h"

#include <errno.h>
#include <time.h>

#include "remapfs/spare.h"

struct error scrub_error;

struct volume_scrub look(void)
{
	struct volume_scrub s;

	volume_scrub_look(volume, &s);
	return s;
}

void wait_for(enum scrub_state state)
{
	for (int ms = 0; look().scrub.state != state; ms += 10) {
		if (ms > WAIT_MS)
			fail_msg("the scrub is %s, not %s", scrub_state_name(look().scrub.state),
				 scrub_state_name(state));
		pause_ms(10);
	}
}

void start(uint64_t rate)
{
	if (volume_scrub_start(volume, rate, &scrub_error) < 0)
		fail_msg("%s", scrub_error.text);
}

void resume(uint64_t rate)
{
	if (volume_scrub_resume(volume, rate, &scrub_error) < 0)
		fail_msg("%s", scrub_error.text);
}

struct scrub_counts scrub(void)
{
	start(0);
	wait_for(SCRUB_DONE);
	assert_int_equal(look().done, MAIN_BYTES);
	return look().scrub.found;
}

struct fault failing_times(spare_id_t spare, sector_t sector, uint64_t times)
{
	return (struct fault){.spare = spare, .start = sector, .count = 1, .on = FAULT_ON_READ,
			      .error = EIO, .life = FAULT_TIMES, .times = times};
}

sector_t first_slot(void)
{
	return spare_layout(1 * MiB, 512).slots_offset / 512;
}

void slow(spare_id_t spare, sector_t first, uint64_t count, uint32_t ms)
{
	add_fault((struct fault){.spare = spare, .start = first, .count = count,
				 .on = FAULT_ON_READ, .delay_ms = ms});
}
