# Writes OUTPUT: the files INPUTS (page.css, page.js) as C strings report_<name>_<ext>.
set(text "/* Made from src/ctl/report/ at build time. */\n#include \"ctl/report/report.h\"\n\n")
foreach(input ${INPUTS})
  get_filename_component(name ${input} NAME)
  string(REPLACE "." "_" name ${name})
  # As bytes: nothing to quote, no limit on the length of a literal.
  file(READ ${input} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND text "const char report_${name}[] = {${bytes}0};\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
