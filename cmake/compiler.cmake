# Compiler settings shared by every target of the project.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(NACRE_CCACHE ccache)
if(NACRE_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${NACRE_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${NACRE_CCACHE})
endif()
find_program(NACRE_MOLD mold)
if(NACRE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# -ffp-contract=off: the compiler must not choose where to fuse multiply and add, or results would differ
# between builds. Kernels ask for a fused multiply-add where they want one.
add_compile_options(-ffp-contract=off)
# Eigen must not start threads of its own: parallelism lives in engine/parallel.h, in fixed chunks.
add_compile_definitions(EIGEN_DONT_PARALLELIZE)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-O3 -fno-plt)
  add_link_options(-Wl,--gc-sections -Wl,--as-needed)
endif()

if(NACRE_SANITIZE)
  add_compile_options(-fsanitize=${NACRE_SANITIZE} -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=${NACRE_SANITIZE})
  if(NACRE_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=all -fsanitize=bounds)
  endif()
endif()

# nacre_library(NAME DEPENDS targets...): one target per folder, of all its .cc files.
function(nacre_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
                                           -Wcast-qual -Wformat=2 -Wimplicit-fallthrough -Werror)
endfunction()

function(nacre_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;SOURCES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  add_library(${name} STATIC ${sources} ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_DEPENDS})
  nacre_warnings(${name})
endfunction()
