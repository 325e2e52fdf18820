# spry_embed(<list variable> <symbol> <file>): a C file that holds <file> as the NUL-terminated array
# `const char <symbol>[]`, appended to the list of sources. Made again when <file> changes.
function(spry_embed sources symbol file)
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${file}")
    file(READ "${file}" bytes HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    string(REGEX REPLACE "((0x..,){16})" "\\1\n    " bytes "${bytes}")
    set(generated "${CMAKE_CURRENT_BINARY_DIR}/embedded/${symbol}.c")
    file(CONFIGURE OUTPUT "${generated}" @ONLY CONTENT
         "extern const char @symbol@[];\nconst char @symbol@[] = {\n    @bytes@0};\n")
    set(${sources} ${${sources}} "${generated}" PARENT_SCOPE)
endfunction()

# spry_embed_targets(<list variable>): every targets/NAME.json, and the tables of src/tune/target_builtin.h.
function(spry_embed_targets sources)
    set(list ${${sources}})
    set(declarations "")
    set(names "")
    set(texts "")
    file(GLOB files CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/targets/*.json")
    list(SORT files)
    foreach(path IN LISTS files)
        cmake_path(GET path STEM name)
        string(MAKE_C_IDENTIFIER "target_json_${name}" symbol)
        spry_embed(list ${symbol} "${path}")
        string(APPEND declarations "extern const char ${symbol}[];\n")
        string(APPEND names "    \"${name}\",\n")
        string(APPEND texts "    ${symbol},\n")
    endforeach()
    set(generated "${CMAKE_CURRENT_BINARY_DIR}/embedded/target_builtin.c")
    file(CONFIGURE OUTPUT "${generated}" @ONLY CONTENT
         "#include \"tune/target_builtin.h\"\n\n@declarations@
const char *const target_builtin_names[] = {\n@names@    (const char *)0,\n};
const char *const target_builtin_texts[] = {\n@texts@    (const char *)0,\n};\n")
    set(${sources} ${list} "${generated}" PARENT_SCOPE)
endfunction()
