/* How main and spares are written on the command line. */
#ifndef REMAPFS_CTL_PART_H
#define REMAPFS_CTL_PART_H

#include "remapfs/volume.h"

/*
 * Reads PATH[,size=SIZE][,offset=SIZE][,length=SIZE] of that option; main has no
 * offset and length. The path in *ret is a part of text, which is cut. -EINVAL
 * or -ERANGE, with the line in err.
 */
int parse_part(char *text, const char *option, bool is_main, struct part_spec *ret,
	       struct error *err);

#endif
