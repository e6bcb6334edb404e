# lode_embed(FILE OUTPUT SYMBOL): a C file with the bytes of FILE as `const char SYMBOL[]` and `const size_t SYMBOL_len`,
# written at configure time, and again when FILE changes.
function(lode_embed file output symbol)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(READ ${file} hex HEX)
    string(LENGTH "${hex}" digits)
    math(EXPR bytes "${digits} / 2")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," list "${hex}")
    string(REGEX REPLACE "(................................................................................)" "\\1\n" list "${list}")
    file(CONFIGURE OUTPUT ${output} CONTENT
         "/* made from @file@ */\n#include <stddef.h>\nextern const char @symbol@[];\nextern const size_t @symbol@_len;\nconst char @symbol@[] = {\n@list@0};\nconst size_t @symbol@_len = @bytes@;\n" @ONLY)
endfunction()
