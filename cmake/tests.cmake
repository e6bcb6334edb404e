# tests/<room>/test_x.c becomes the executable <room>_test_x and the CTest test <room>.x; exit 77 is a skip.
# The rooms that move bytes run in more ways: <room>.x@threads without io_uring, <room>.x@user as an ordinary
# user with 64 KiB of lockable memory. Under ThreadSanitizer only programs that use threads are built: those
# that include pthread.h and those listed here.
pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
set(threaded_rooms io http load agent ps server)
set(byte_moving_rooms io store)
set(test_seconds 900) # a loaded machine is slow; a hanging test ends all the same
if("$ENV{LODE_TEST_LONG}" STREQUAL "1")
    set(test_seconds 14400)
endif()

file(GLOB support_sources CONFIGURE_DEPENDS tests/support/*.c tests/conformance/*_suite*.c)
add_library(lode_test_support STATIC ${support_sources})
target_include_directories(lode_test_support PUBLIC tests)
target_link_libraries(lode_test_support PUBLIC lode_static PkgConfig::CMOCKA)
if(TARGET lode_tool)
    target_link_libraries(lode_test_support PUBLIC lode_tool)
endif()

function(lode_add_test name room environment)
    add_test(NAME ${name} COMMAND ${ARGN})
    set_tests_properties(${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT ${test_seconds} LABELS ${room} ENVIRONMENT
        "LODE_BIN=${CMAKE_BINARY_DIR}/lode;LODE_SOURCE=${CMAKE_SOURCE_DIR};LODE_BUILD=${CMAKE_BINARY_DIR};${environment}")
endfunction()

function(lode_uses_threads source room result)
    file(STRINGS ${source} includes REGEX "#include <pthread.h>" LIMIT_COUNT 1)
    if(includes OR room IN_LIST threaded_rooms)
        set(${result} TRUE PARENT_SCOPE)
    else()
        set(${result} FALSE PARENT_SCOPE)
    endif()
endfunction()

file(GLOB test_sources CONFIGURE_DEPENDS tests/*/test_*.c)
foreach(source ${test_sources})
    get_filename_component(name ${source} NAME_WE)
    get_filename_component(dir ${source} DIRECTORY)
    get_filename_component(room ${dir} NAME)
    string(REGEX REPLACE "^test_" "" short ${name})
    lode_uses_threads(${source} ${room} threaded)
    if(LODE_SANITIZE STREQUAL "thread" AND NOT threaded)
        continue()
    endif()
    add_executable(${room}_${name} ${source})
    target_link_libraries(${room}_${name} PRIVATE lode_test_support)
    lode_add_test(${room}.${short} ${room} "" ${room}_${name})
    if(room IN_LIST byte_moving_rooms)
        lode_add_test(${room}.${short}@threads ${room} "LODE_IO=threads" ${room}_${name})
        lode_add_test(${room}.${short}@user ${room} ""
                      ${CMAKE_SOURCE_DIR}/tests/support/as_user.sh $<TARGET_FILE:${room}_${name}>)
    endif()
endforeach()

# Fuzz targets, replayed over their seeds (tests/fuzz/replay.c).
file(GLOB fuzz_sources CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
if(LODE_SANITIZE STREQUAL "thread")
    set(fuzz_sources)
endif()
foreach(source ${fuzz_sources})
    get_filename_component(name ${source} NAME_WE)
    string(REGEX REPLACE "^fuzz_" "" short ${name})
    add_executable(${name} ${source} tests/fuzz/replay.c)
    target_link_libraries(${name} PRIVATE lode_test_support)
    lode_add_test(fuzz.${short} fuzz "" ${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${short})
endforeach()

# The example of a store outside the tree sees public headers only; it finds lode_* in the program that loads it.
if(TARGET conformance_test_plugin)
    add_library(plugin_blobs MODULE examples/plugin_store/blobs.c)
    set_target_properties(plugin_blobs PROPERTIES PREFIX "" C_VISIBILITY_PRESET hidden)
    target_include_directories(plugin_blobs PRIVATE include)
    target_link_libraries(plugin_blobs PRIVATE lode_flags PkgConfig::SQLITE)
    set_target_properties(conformance_test_plugin PROPERTIES ENABLE_EXPORTS ON)
    add_dependencies(conformance_test_plugin plugin_blobs)
endif()
