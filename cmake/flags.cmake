add_library(lode_flags INTERFACE)
target_compile_definitions(lode_flags INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64)
target_compile_options(lode_flags INTERFACE -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wvla -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef
    $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation> -Wno-unused-parameter -Wno-missing-field-initializers -fno-strict-aliasing
    -fvisibility=hidden -fstack-protector-strong)
if(LODE_SANITIZE)
    target_compile_options(lode_flags INTERFACE -fsanitize=${LODE_SANITIZE} -fno-omit-frame-pointer
                           -fno-sanitize-recover=all)
    target_link_options(lode_flags INTERFACE -fsanitize=${LODE_SANITIZE})
else()
    target_compile_definitions(lode_flags INTERFACE $<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
endif()
if(LODE_FUZZ)
    # gcc decides which warnings stop a build; clang's others are clang-tidy's business.
    target_compile_options(lode_flags INTERFACE -fsanitize=fuzzer-no-link -Wno-error)
endif()
if(LODE_PLANTS)
    target_compile_definitions(lode_flags INTERFACE LODE_PLANTS=1)
endif()
