# Writes OUTPUT: the SQL of INPUTS (schema/1.sql, schema/2.sql, …) as C strings.
set(text "/* Made from schema/ at build time. */\n#include \"store/schema.h\"\n\n#include <stddef.h>\n\n")
string(APPEND text "const char *const store_schema[] = {\n")
foreach(input ${INPUTS})
  # As bytes: nothing to quote, no limit on the length of a literal.
  file(READ ${input} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND text "\t(const char[]){${bytes}0},\n")
endforeach()
string(APPEND text "\tNULL,\n};\n")
file(WRITE ${OUTPUT} "${text}")
