# libFuzzer targets, clang only: tests/fuzz/fuzz_x.c becomes fuzz_x. The whole library carries the coverage
# instrumentation (cmake/flags.cmake).
file(GLOB fuzz_sources CONFIGURE_DEPENDS tests/fuzz/fuzz_*.c)
foreach(source ${fuzz_sources})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_include_directories(${name} PRIVATE tests)
    target_link_libraries(${name} PRIVATE lode_static $<$<TARGET_EXISTS:lode_tool>:lode_tool>)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endforeach()
