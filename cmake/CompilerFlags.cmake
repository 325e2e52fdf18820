# Flags of the whole project. Targets that hold our own code link `spry_strict` for the warnings;
# code generation flags are global, so that every object in a build agrees on them.
include(CheckCCompilerFlag)
include(CheckPIESupported)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()

# -O2 with line tables: backtraces stay readable; kernels and operators get -O3 below.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1 -DNDEBUG")

# Binaries name sources relative to the repository: the same bytes wherever it was cloned, and
# ccache may share objects between clones.
add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}/=")
find_program(SPRY_CCACHE ccache)
if(SPRY_CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
    set(CMAKE_C_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}"
        CCACHE_NOHASHDIR=1 "${SPRY_CCACHE}")
endif()

if(NOT SPRY_BASELINE AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(SPRY_BASELINE x86-64-v2)
endif()
if(SPRY_BASELINE)
    add_compile_options(-march=${SPRY_BASELINE})
endif()

# Results must not depend on the optimiser: kernels fuse multiply-adds explicitly where they want
# to, nobody else does. errno is never read after a libm call, so sqrt may be one instruction.
add_compile_options(-ffp-contract=off -fno-math-errno)
# glibc's POSIX and Linux calls under -std=c17. Defined as empty, so that a file which also writes
# `#define _GNU_SOURCE` (it then compiles outside this build, too) is no redefinition.
add_compile_definitions(_GNU_SOURCE=)

check_pie_supported(LANGUAGES C)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_link_options(-Wl,-z,relro,-z,now -Wl,--build-id)
add_compile_options(-fstack-protector-strong)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    add_compile_options(-fcf-protection)
endif()

if(SPRY_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "SPRY_FUZZ needs clang: use the preset, cmake --preset fuzz")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
    if(NOT SPRY_SANITIZE)
        set(SPRY_SANITIZE address,undefined)
    endif()
endif()
if(SPRY_SANITIZE)
    add_compile_options(-fsanitize=${SPRY_SANITIZE} -fno-sanitize-recover=all
                        -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${SPRY_SANITIZE})
    set(SPRY_SHARED OFF) # one copy of the code under the sanitizer is enough
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
    add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()

add_library(spry_strict INTERFACE)
target_compile_options(spry_strict INTERFACE
    -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
    -Wpointer-arith -Wwrite-strings $<$<BOOL:${SPRY_WERROR}>:-Werror>)

# Operators and kernels are where time goes: the rest of the library stays at -O2. Nobody enables
# floating-point traps, so loops with conversions and comparisons may become vectors.
function(spry_hot_sources)
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS $<$<CONFIG:Release>:-O3>
                 -fno-trapping-math)
endfunction()
