/* The SQL of schema/, embedded at build time: version 1 first, NULL last. */
#ifndef STORE_SCHEMA_H
#define STORE_SCHEMA_H

extern const char *const store_schema[];

#endif
