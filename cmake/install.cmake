# `cmake --install BUILD --prefix PREFIX`: the command; libnacre_runtime.so, which predicts (nacre::runtime); libnacre.a, which
# is all of the library (nacre::nacre); headers, CMake package, pkg-config files, examples and licence.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(folders nacre_engine nacre_layers nacre_image nacre_serialize nacre_runtime nacre_train)
set(objects ${folders})
list(TRANSFORM objects REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>")
add_library(nacre_all STATIC ${objects})
set_target_properties(nacre_all PROPERTIES OUTPUT_NAME nacre EXPORT_NAME nacre LINKER_LANGUAGE CXX)
target_link_libraries(nacre_all INTERFACE OpenMP::OpenMP_CXX -lfmt -ljpeg -lz -lnettle -lxxhash)

# The public headers, and what they include. Installed, they include each other as <nacre/engine/...>, so that folders of the same
# name in a user's project cannot come between.
set(headers
    engine/bundle.h engine/checkpoint.h engine/executor.h engine/file.h engine/gemm.h engine/isa.h engine/parallel.h
    engine/plan.h engine/random.h engine/vector_math.h image/encode.h layers/model_file.h layers/op_common.h
    layers/registry.h runtime/golden.h runtime/model.h runtime/prediction_bundle.h serialize/bundle_file.h
    serialize/checkpoint_file.h train/loader.h train/loss.h train/trainer.h)
set(installed "")
while(headers)
  list(POP_FRONT headers header)
  if(NOT header IN_LIST installed)
    list(APPEND installed ${header})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${header})
    get_filename_component(folder ${header} DIRECTORY)
    file(READ ${PROJECT_SOURCE_DIR}/${header} text)
    string(REGEX REPLACE "#include \"([^\"]+)\"" "#include <nacre/\\1>" text "${text}")
    file(WRITE ${PROJECT_BINARY_DIR}/include/nacre/${header} "${text}")
    install(FILES ${PROJECT_BINARY_DIR}/include/nacre/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/nacre/${folder})
    file(STRINGS ${PROJECT_SOURCE_DIR}/${header} includes REGEX "^#include \"")
    list(TRANSFORM includes REPLACE "^#include \"([^\"]+)\".*" "\\1")
    list(APPEND headers ${includes})
  endif()
endwhile()
foreach(library nacre_all nacre_runtime_shared)
  target_include_directories(${library} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(${library} INTERFACE cxx_std_20)
endforeach()
install(TARGETS nacre_all nacre_runtime_shared EXPORT nacre)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/nacre)
install(EXPORT nacre NAMESPACE nacre:: DESTINATION ${package} FILE nacreTargets.cmake)
configure_package_config_file(cmake/nacreConfig.cmake.in ${PROJECT_BINARY_DIR}/nacreConfig.cmake
                              INSTALL_DESTINATION ${package})
# Before 1.0 a minor version may change what programs compile against.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/nacreConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/nacreConfig.cmake ${PROJECT_BINARY_DIR}/nacreConfigVersion.cmake
        DESTINATION ${package})

# Relative to where the file lies, so that --prefix needs no say when configuring.
file(RELATIVE_PATH pkgconfig_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
foreach(name nacre nacre-runtime)
  configure_file(cmake/${name}.pc.in ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples/library examples/serving DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES packaging/nacre-serve.service DESTINATION ${CMAKE_INSTALL_DOCDIR})
