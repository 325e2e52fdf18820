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
