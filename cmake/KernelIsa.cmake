# A kernel file says in its name which instruction set it needs: gemm_f32_14x32__avx512.c. This
# table turns the name into flags for that one file; nothing else in the build sees them, so the
# binary still starts on any machine of the baseline and picks kernels at run time.
#
# One row per instruction set: name | processors (regular expression) | flags.
set(spry_avx512 "-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -mprefer-vector-width=512")
set(SPRY_ISA_TABLE
    "avx2|x86_64|-mavx2 -mfma -mf16c"
    "avxvnni|x86_64|-mavx2 -mfma -mf16c -mavxvnni"
    "avx512|x86_64|${spry_avx512}"
    "avx512vnni|x86_64|${spry_avx512} -mavx512vnni"
    "avx512vbmi|x86_64|${spry_avx512} -mavx512vbmi"
    "avx512bf16|x86_64|${spry_avx512} -mavx512bf16"
    "amx|x86_64|${spry_avx512} -mamx-tile -mamx-int8 -mamx-bf16"
    "neon|aarch64|"
    "neondot|aarch64|-march=armv8.2-a+dotprod")

# SPRY_ISA_DEFINITIONS: SPRY_HAVE_<ISA>=1 for each row that this target and compiler can build.
# Kernel tables and their headers name a variant only under its definition.
set(SPRY_ISA_DEFINITIONS "")
set(SPRY_ISA_AVAILABLE "")
string(REGEX REPLACE "^(AMD64|amd64)$" "x86_64" spry_processor "${CMAKE_SYSTEM_PROCESSOR}")
string(REGEX REPLACE "^arm64$" "aarch64" spry_processor "${spry_processor}")
foreach(row IN LISTS SPRY_ISA_TABLE)
    string(REGEX MATCH "^([^|]*)\\|([^|]*)\\|(.*)$" matched "${row}")
    set(isa "${CMAKE_MATCH_1}")
    set(processors "${CMAKE_MATCH_2}")
    set(flags "${CMAKE_MATCH_3}")
    string(TOUPPER "${isa}" isa_upper)
    if(NOT spry_processor MATCHES "^(${processors})$")
        continue()
    endif()
    check_c_compiler_flag("${flags}" SPRY_COMPILER_HAS_${isa_upper})
    if(SPRY_COMPILER_HAS_${isa_upper})
        separate_arguments(SPRY_ISA_FLAGS_${isa} UNIX_COMMAND "${flags}")
        list(APPEND SPRY_ISA_AVAILABLE ${isa})
        list(APPEND SPRY_ISA_DEFINITIONS SPRY_HAVE_${isa_upper}=1)
    endif()
endforeach()

# Give each file of the list named `variable` its flags; drop those that cannot be built here.
function(spry_kernel_flags variable)
    set(kept "")
    foreach(source IN LISTS ${variable})
        get_filename_component(name "${source}" NAME)
        if(name MATCHES "__([a-z0-9]+)\\.c$")
            set(isa "${CMAKE_MATCH_1}")
            if(NOT "${SPRY_ISA_TABLE}" MATCHES "(^|;)${isa}\\|")
                message(FATAL_ERROR "${source}: __${isa} is no instruction set of "
                                    "cmake/KernelIsa.cmake: add a row there or rename the file")
            endif()
            if(NOT isa IN_LIST SPRY_ISA_AVAILABLE)
                continue()
            endif()
            set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS
                         ${SPRY_ISA_FLAGS_${isa}})
            # Unrolled over 28 registers for every number of rows, with a check at every access these
            # take minutes to compile. Their reads are watched by the address sanitizer and by
            # guard pages, their portable twins by all.
            if(SPRY_SANITIZE MATCHES "undefined" AND name MATCHES "_14x32__|_16x16__|depthwise_nhwc_f32__")
                set_property(SOURCE "${source}" APPEND PROPERTY COMPILE_OPTIONS
                             -fno-sanitize=undefined)
            endif()
        endif()
        list(APPEND kept "${source}")
    endforeach()
    set(${variable} "${kept}" PARENT_SCOPE)
endfunction()
