#include "ctl/color.h"

#include "ctl/ctl.h"

#include <string.h>
#include <unistd.h>

/* https://no-color.org: set and not empty, whatever it says. */
bool color_wanted(void)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0 &&
	       !(no_color && *no_color);
}

int color_option(const char *command, const char *when, bool *ret)
{
	if (!when || strcmp(when, "always") == 0)
		*ret = true;
	else if (strcmp(when, "never") == 0)
		*ret = false;
	else if (strcmp(when, "auto") == 0)
		*ret = color_wanted();
	else
		return misuse(command, "--color is auto, always or never, not '%.60s'", when);
	return 0;
}
