# `cmake --install`, behind `make install`: the tool, the versioned shared library, public headers, lode.pc, the man pages
# and completions that the tool itself writes from its command table, the systemd unit and the licence.
set(doc_dir ${CMAKE_INSTALL_DATADIR}/doc/lode)
install(TARGETS lode_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/lode DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

configure_file(cmake/lode.pc.in lode.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/lode.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(LODE_INSTALLED_BIN ${CMAKE_INSTALL_FULL_BINDIR}/lode)
configure_file(deploy/lode.service.in lode.service @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/lode.service DESTINATION lib/systemd/system)
install(FILES LICENSE CHANGELOG.md DESTINATION ${doc_dir})

if(TARGET lode)
    install(CODE "set(lode_tool \"${CMAKE_BINARY_DIR}/lode\")
set(lode_man \"${CMAKE_INSTALL_MANDIR}/man1\")
set(lode_data \"${CMAKE_INSTALL_DATADIR}\")")
    install(SCRIPT cmake/install_help.cmake)
endif()
install(CODE [[
if("$ENV{DESTDIR}" STREQUAL "")
    execute_process(COMMAND ldconfig ERROR_QUIET) # only root can; others know where they put it
endif()
]])
