/* Whether what is printed may be coloured. */
#ifndef REMAPFS_CTL_COLOR_H
#define REMAPFS_CTL_COLOR_H

#include <stdbool.h>

/* Standard output is a terminal that can, and NO_COLOR is not set. */
bool color_wanted(void);
/* The value of --color: auto, always, never or (NULL) always. 0 or the exit code. */
int color_option(const char *command, const char *when, bool *ret);

#endif
