# The Python package's native part: the shared library, and the cffi module made from the public headers themselves, so
# that the two cannot disagree. `pip install .` comes here through scikit-build-core.
find_package(Python REQUIRED COMPONENTS Interpreter)
set(abi_module ${CMAKE_BINARY_DIR}/python/_abi.py)
file(GLOB public_headers CONFIGURE_DEPENDS include/lode/*.h)
add_custom_command(OUTPUT ${abi_module}
    COMMAND ${Python_EXECUTABLE} ${CMAKE_SOURCE_DIR}/python/build_abi.py ${CMAKE_C_COMPILER}
            ${CMAKE_SOURCE_DIR}/include ${abi_module}
    DEPENDS ${public_headers} ${CMAKE_SOURCE_DIR}/python/build_abi.py
    VERBATIM)
add_custom_target(lode_python ALL DEPENDS ${abi_module} lode_shared)
install(FILES $<TARGET_FILE:lode_shared> DESTINATION lode RENAME liblode.so COMPONENT python)
install(FILES ${abi_module} DESTINATION lode COMPONENT python)
if(DEFINED SKBUILD_SCRIPTS_DIR AND TARGET lode)
    install(TARGETS lode RUNTIME DESTINATION ${SKBUILD_SCRIPTS_DIR} COMPONENT python)
endif()
