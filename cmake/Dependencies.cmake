# What the core links. docs/dependencies.md says why each is there; a new one is argued there first.
# Application layers keep their libraries to themselves: an option() and a pkg_check_modules() here.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

set(SPRY_CORE_MODULES jansson hwloc libzip zlib libturbojpeg libpng libwebp libutf8proc)

set(SPRY_CORE_LIBRARIES Threads::Threads m)
foreach(module IN LISTS SPRY_CORE_MODULES)
    string(MAKE_C_IDENTIFIER "SPRY_${module}" variable)
    pkg_check_modules(${variable} QUIET IMPORTED_TARGET GLOBAL ${module})
    if(NOT ${variable}_FOUND)
        message(FATAL_ERROR "${module} is missing: run tools/setup.sh (it installs what Spry needs)")
    endif()
    list(APPEND SPRY_CORE_LIBRARIES PkgConfig::${variable})
endforeach()
