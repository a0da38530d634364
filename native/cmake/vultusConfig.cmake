# find_package(vultus): vultus::vultus is the shared library, vultus::vultus_static the static one.
include(CMakeFindDependencyMacro)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_dependency(Threads)
include("${CMAKE_CURRENT_LIST_DIR}/vultusTargets.cmake")
