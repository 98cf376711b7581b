# Makes the manual page OUTPUT of PAGE.
#
#     cmake -DAWK=... -DSCDOC=... -DVERSION=... -DPAGE=... -DOUTPUT=... -P render.cmake
execute_process(
  COMMAND ${AWK} -v version=${VERSION} -v docs=${CMAKE_CURRENT_LIST_DIR}/../docs
          -f ${CMAKE_CURRENT_LIST_DIR}/render.awk ${PAGE}
  COMMAND ${SCDOC}
  OUTPUT_FILE ${OUTPUT} RESULTS_VARIABLE results)
if(NOT results STREQUAL "0;0")
  file(REMOVE ${OUTPUT})
  message(FATAL_ERROR "${PAGE} is not understood (above)")
endif()
