# Tests register themselves by their place:
#   tests/<layer>/test_<thing>.c  cmocka program        target test_<layer>_<thing>
#   tests/cli/<case>.sh           the program, whole     (_name.sh is shared text, no test)
#   tests/{package,tools}/*.sh    what is installed; what developers run
#   tests/isa/*.sh                the program at every level of instructions
#   tests/callgrind               instructions of ten kernels, against recorded counts
#   examples/<name>.c             built, run             target example_<name>
#   tests/fuzz/fuzz_<name>.c      every file of tests/fuzz/corpus/<name>/ is replayed
# CTest names are <folder>/<thing>, labels are the folder. Programs that include support/cases.h have
# the label `cases` too: SPRY_TEST_CASES says how many they try (make nightly). A test that returns 77
# is skipped.
include(CMakeParseArguments)
pkg_check_modules(SPRY_CMOCKA REQUIRED QUIET IMPORTED_TARGET cmocka)

set(SPRY_DATA_DIR "" CACHE PATH "Large test data (empty: ../shared/data where it exists)")
set(test_data "${SPRY_DATA_DIR}")
foreach(candidate IN ITEMS ../shared/data ../../shared/data)
    cmake_path(ABSOLUTE_PATH candidate BASE_DIRECTORY "${CMAKE_SOURCE_DIR}" NORMALIZE)
    if(NOT test_data AND IS_DIRECTORY "${candidate}")
        set(test_data "${candidate}")
    endif()
endforeach()
set(spry_test_environment "SPRY_SOURCE_DIR=${CMAKE_SOURCE_DIR}")
if(test_data)
    list(APPEND spry_test_environment "SPRY_DATA=${test_data}")
endif()
if(TARGET spry)
    list(APPEND spry_test_environment "SPRY_BINARY=$<TARGET_FILE:spry>")
endif()
if(SPRY_TEST_CASES)
    list(APPEND spry_test_environment "SPRY_TEST_CASES=${SPRY_TEST_CASES}")
endif()

# spry_test(NAME folder/thing LABEL folder [ENVIRONMENT NAME=VALUE] COMMAND ...)
function(spry_test)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "NAME;LABEL;ENVIRONMENT" "COMMAND")
    if(SPRY_TEST_LAYERS AND NOT arg_LABEL IN_LIST SPRY_TEST_LAYERS)
        return()
    endif()
    set(name "${SPRY_TEST_PREFIX}${arg_NAME}")
    add_test(NAME "${name}" COMMAND ${arg_COMMAND} WORKING_DIRECTORY "${CMAKE_BINARY_DIR}")
    set_tests_properties("${name}" PROPERTIES LABELS "${arg_LABEL}" TIMEOUT 600
                         SKIP_RETURN_CODE 77
                         ENVIRONMENT "${spry_test_environment};${arg_ENVIRONMENT}")
endfunction()

# Every program of one kind: same includes, same libraries. Tests see internal headers.
function(spry_test_program target)
    add_executable(${target} ${ARGN})
    target_include_directories(${target} PRIVATE src tests)
    target_compile_definitions(${target} PRIVATE ${SPRY_ISA_DEFINITIONS})
    target_compile_options(${target} PRIVATE -Wno-missing-prototypes)
    target_link_libraries(${target} PRIVATE spry_static spry_strict ${SPRY_CORE_LIBRARIES})
endfunction()

file(GLOB support_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/support/*.c")
set(spry_test_support "")
if(support_sources)
    add_library(spry_test_support STATIC ${support_sources})
    target_include_directories(spry_test_support PUBLIC src tests include)
    target_link_libraries(spry_test_support PRIVATE spry_strict ${SPRY_CORE_LIBRARIES}
                          PUBLIC PkgConfig::SPRY_CMOCKA)
    set(spry_test_support spry_test_support)
endif()

# --- unit tests ------------------------------------------------------------------------------
# What depends on the level of instructions is tested at lower levels as well: with fewer cases, for
# the first run has tried every variant. A sanitizer build would take too long.
set(isa_layers kernels runtime)
set(isa_levels "")
if(NOT SPRY_SANITIZE AND NOT SPRY_FUZZ AND spry_processor STREQUAL "x86_64")
    set(isa_levels generic avx2 avx512)
endif()
file(GLOB unit_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/*/test_*.c")
foreach(source IN LISTS unit_sources)
    cmake_path(GET source PARENT_PATH folder)
    cmake_path(GET folder FILENAME layer)
    cmake_path(GET source STEM stem)
    string(REGEX REPLACE "^test_" "" thing "${stem}")
    if(SPRY_TEST_LAYERS AND NOT layer IN_LIST SPRY_TEST_LAYERS)
        continue()
    endif()
    spry_test_program(test_${layer}_${thing} "${source}")
    # The support library comes first: it may itself use the library under test.
    target_link_libraries(test_${layer}_${thing} PRIVATE ${spry_test_support} spry_static
                          PkgConfig::SPRY_CMOCKA)
    spry_test(NAME ${layer}/${thing} LABEL ${layer} COMMAND test_${layer}_${thing})
    file(STRINGS "${source}" counts_cases REGEX "include \"support/cases.h\"")
    if(counts_cases)
        set_tests_properties("${SPRY_TEST_PREFIX}${layer}/${thing}" PROPERTIES
                             LABELS "${layer};cases" TIMEOUT 7200)
    endif()
    if(layer IN_LIST isa_layers)
        foreach(level IN LISTS isa_levels)
            spry_test(NAME isa-${level}/${layer}/${thing} LABEL isa
                      ENVIRONMENT "SPRY_ISA=${level};SPRY_TEST_CASES=2000"
                      COMMAND test_${layer}_${thing})
        endforeach()
    endif()
endforeach()

# --- ONNX's own backend tests ------------------------------------------------------------------
if(NOT SPRY_SANITIZE AND NOT SPRY_FUZZ AND (NOT SPRY_TEST_LAYERS OR "onnx" IN_LIST SPRY_TEST_LAYERS))
    spry_test_program(onnx_conformance "${CMAKE_SOURCE_DIR}/tests/onnx/conformance.c")
    spry_test(NAME onnx/conformance LABEL onnx
              COMMAND bash "${CMAKE_SOURCE_DIR}/tests/onnx/run.sh" $<TARGET_FILE:onnx_conformance>
                      "${CMAKE_BINARY_DIR}/onnx")
endif()

# --- instruction counts ------------------------------------------------------------------------
# Of the release build on x86-64, where they were recorded.
if(NOT SPRY_SANITIZE AND NOT SPRY_FUZZ AND NOT SPRY_TEST_LAYERS AND CMAKE_BUILD_TYPE STREQUAL "Release"
   AND spry_processor STREQUAL "x86_64")
    spry_test_program(callgrind_kernels tests/callgrind/kernels.c bench/layer.c bench/shape.c
                      bench/serve.c)
    target_include_directories(callgrind_kernels PRIVATE "${CMAKE_SOURCE_DIR}" bench)
    spry_test(NAME callgrind/counts LABEL callgrind
              COMMAND python3 "${CMAKE_SOURCE_DIR}/tests/callgrind/counts.py"
                      $<TARGET_FILE:callgrind_kernels>
                      "${CMAKE_C_COMPILER_ID}-${CMAKE_C_COMPILER_VERSION}")
endif()

# --- scripts ---------------------------------------------------------------------------------
# Whole commands (cli), the installed package, the tools. Each needs what its folder is about.
set(script_folders "")
if(TARGET spry)
    list(APPEND script_folders cli)
endif()
if(NOT SPRY_SANITIZE)
    list(APPEND script_folders tools isa)
endif()
if(SPRY_SHARED)
    list(APPEND script_folders package)
    list(APPEND spry_test_environment "SPRY_BUILD_DIR=${CMAKE_BINARY_DIR}")
endif()
foreach(folder IN LISTS script_folders)
    file(GLOB scripts CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/${folder}/[a-z0-9]*.sh")
    foreach(script IN LISTS scripts)
        cmake_path(GET script STEM case)
        spry_test(NAME ${folder}/${case} LABEL ${folder} COMMAND bash "${script}")
    endforeach()
endforeach()

# --- examples --------------------------------------------------------------------------------
# Against the public headers only, as a user would compile them.
file(GLOB example_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/examples/*.c")
foreach(source IN LISTS example_sources)
    cmake_path(GET source STEM example)
    if(SPRY_TEST_LAYERS AND NOT "examples" IN_LIST SPRY_TEST_LAYERS)
        continue()
    endif()
    add_executable(example_${example} "${source}")
    target_link_libraries(example_${example} PRIVATE spry_static spry_strict
                          ${SPRY_CORE_LIBRARIES})
    spry_test(NAME examples/${example} LABEL examples COMMAND example_${example})
    set_property(TEST "${SPRY_TEST_PREFIX}examples/${example}" PROPERTY WORKING_DIRECTORY
                 "${CMAKE_SOURCE_DIR}")
endforeach()

# --- fuzz targets ----------------------------------------------------------------------------
file(GLOB fuzz_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c")
foreach(source IN LISTS fuzz_sources)
    cmake_path(GET source STEM target)
    string(REGEX REPLACE "^fuzz_" "" name "${target}")
    if(SPRY_TEST_LAYERS AND NOT "fuzz" IN_LIST SPRY_TEST_LAYERS)
        continue()
    endif()
    if(SPRY_FUZZ)
        spry_test_program(${target} "${source}")
        target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    else()
        spry_test_program(${target} "${source}" "${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c")
        spry_test(NAME fuzz/${name} LABEL fuzz
                  COMMAND ${target} "${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name}")
    endif()
endforeach()
