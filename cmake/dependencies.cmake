# Debian 12 packages, found by pkg-config; docs/adr says why each is here.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl>=7.88)
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.40)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.14)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash>=0.8)
pkg_check_modules(URING REQUIRED IMPORTED_TARGET liburing>=2.3)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd>=0.9.75)

add_library(lode_deps INTERFACE)
target_link_libraries(lode_deps INTERFACE PkgConfig::CURL PkgConfig::SQLITE PkgConfig::JANSSON
    PkgConfig::OPENSSL PkgConfig::XXHASH PkgConfig::URING PkgConfig::ZLIB PkgConfig::ZSTD
    PkgConfig::ISAL Threads::Threads ${CMAKE_DL_LIBS} m)
add_library(lode_server_deps INTERFACE)
target_link_libraries(lode_server_deps INTERFACE PkgConfig::MICROHTTPD)
