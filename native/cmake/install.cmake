# Libraries, header and command line; how pkg-config and CMake find them. Everything is relocatable.
include(CMakePackageConfigHelpers)

install(TARGETS vultus vultus_static EXPORT vultus)
install(TARGETS vultus-engine)
install(FILES include/vultus/vultus.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vultus)

# The prefix is told relative to the file, which lies two folders below it, or three on multiarch systems.
file(RELATIVE_PATH up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/vultus.pc.in vultus.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vultus.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/vultus)
install(EXPORT vultus FILE vultusTargets.cmake NAMESPACE vultus:: DESTINATION ${package})
write_basic_package_version_file(vultusConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/vultusConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/vultusConfigVersion.cmake DESTINATION ${package})
