# cpack makes one package: what is installed everywhere, and the component
# "debian", which only a package has.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME remapfs)
set(CPACK_PACKAGE_CONTACT "remapfs maintainers <remapfs@remapfs.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "serve a disk with bad sectors as one without")
set(CPACK_PACKAGE_DESCRIPTION "\
A FUSE daemon that serves one file, disk.img, in front of a disk image or
block device. A write that the disk refuses is kept on a spare before it is
acknowledged; a sector that was lost is an error, never invented data. With a
loop device over it, mkfs, mount and everything above work on a failing disk.

Which sectors moved, and everything that happened to them, is in an SQLite
file. remapctl makes volumes and looks after them: spares, scrub, reports,
metrics, simulated bad sectors.")
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# losetup, which messages name, is in mount.
set(CPACK_DEBIAN_PACKAGE_DEPENDS mount)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "fuse3, sqlite3")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS gddrescue)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_CURRENT_SOURCE_DIR}/debian/postinst ${CMAKE_CURRENT_SOURCE_DIR}/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/package)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_COMPONENTS_ALL Unspecified debian)
include(CPack)

find_program(GZIP_PROGRAM gzip)
if(NOT GZIP_PROGRAM)
  return()
endif()
set(changelogs)
foreach(pair ${CMAKE_CURRENT_SOURCE_DIR}/debian/changelog:changelog.Debian.gz
             ${PROJECT_SOURCE_DIR}/CHANGELOG.md:changelog.gz)
  string(REGEX REPLACE ":[^:]*$" "" from ${pair})
  string(REGEX REPLACE "^.*:" "" to ${pair})
  add_custom_command(OUTPUT ${to} DEPENDS ${from} VERBATIM
    COMMAND sh -c "\"$1\" -9nc \"$2\" >\"$3\"" gzip ${GZIP_PROGRAM} ${from}
            ${CMAKE_CURRENT_BINARY_DIR}/${to})
  list(APPEND changelogs ${CMAKE_CURRENT_BINARY_DIR}/${to})
endforeach()
add_custom_target(changelogs ALL DEPENDS ${changelogs})
install(FILES ${changelogs} ${CMAKE_CURRENT_SOURCE_DIR}/debian/copyright
  DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT debian EXCLUDE_FROM_ALL)
# Debian wants them compressed, "debian" being the last component that is installed.
install(CODE "
  file(GLOB pages \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/share/man/man*/*.[0-9]\")
  execute_process(COMMAND ${GZIP_PROGRAM} -9nf \${pages} COMMAND_ERROR_IS_FATAL ANY)"
  COMPONENT debian EXCLUDE_FROM_ALL)
