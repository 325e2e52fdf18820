# `cmake --install`: headers, libraries, program, pkg-config file, CMake package, manual pages and
# completions. Everything is found relative to where it lies, so the installed tree can be moved.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/spry")

install(DIRECTORY include/spry DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILES_MATCHING PATTERN "*.h")
set_target_properties(spry_static PROPERTIES EXPORT_NAME static)
install(TARGETS spry_static EXPORT spryStaticTargets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT spryStaticTargets NAMESPACE spry:: DESTINATION "${package_dir}")
if(SPRY_SHARED)
    set_target_properties(spry_shared PROPERTIES EXPORT_NAME spry)
    install(TARGETS spry_shared EXPORT sprySharedTargets
            LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
    install(EXPORT sprySharedTargets NAMESPACE spry:: DESTINATION "${package_dir}")
endif()

configure_package_config_file(cmake/spryConfig.cmake.in "${CMAKE_BINARY_DIR}/spryConfig.cmake"
                              INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${CMAKE_BINARY_DIR}/spryConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_BINARY_DIR}/spryConfig.cmake" "${CMAKE_BINARY_DIR}/spryConfigVersion.cmake"
        DESTINATION "${package_dir}")

file(RELATIVE_PATH SPRY_PC_PREFIX "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
string(REGEX REPLACE "/$" "" SPRY_PC_PREFIX "${SPRY_PC_PREFIX}")
list(JOIN SPRY_CORE_MODULES " " SPRY_PC_REQUIRES)
configure_file(cmake/spry.pc.in "${CMAKE_BINARY_DIR}/spry.pc" @ONLY)
install(FILES "${CMAKE_BINARY_DIR}/spry.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

if(TARGET spry)
    install(TARGETS spry RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
    # The program prints its own manual; it is asked when it is installed.
    file(GLOB commands CONFIGURE_DEPENDS RELATIVE "${CMAKE_SOURCE_DIR}/src/cli"
         "${CMAKE_SOURCE_DIR}/src/cli/cmd_*.c")
    list(TRANSFORM commands REPLACE "^cmd_(.*)\\.c$" "\\1")
    configure_file(cmake/InstallManual.cmake.in "${CMAKE_BINARY_DIR}/InstallManual.cmake" @ONLY)
    install(SCRIPT "${CMAKE_BINARY_DIR}/InstallManual.cmake")
endif()
