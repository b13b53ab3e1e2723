# Compiler settings shared by every target of the project.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

# The settings that let build folders share objects go with the compiler's launcher, so that they hold whoever starts the
# build: paths relative to the project, and (for the tests' precompiled header) the sloppiness that ccache's manual asks for.
find_program(NACRE_CCACHE ccache)
if(NACRE_CCACHE)
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
               CCACHE_SLOPPINESS=pch_defines,time_macros ${NACRE_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
endif()
find_program(NACRE_MOLD mold)
if(NACRE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# Kernels unroll what is worth it themselves; more of it everywhere only makes the runtime larger. Where -O3 pays,
# layers/CMakeLists.txt says so.
foreach(language C CXX)
  string(REPLACE "-O3" "-O2" CMAKE_${language}_FLAGS_RELEASE "${CMAKE_${language}_FLAGS_RELEASE}")
endforeach()

# -ffp-contract=off: the compiler must not choose where to fuse multiply and add, or results would differ
# between builds. Kernels ask for a fused multiply-add where they want one.
add_compile_options(-ffp-contract=off)
# No path of the machine that built it ends up in a binary.
add_compile_options(-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
# Eigen must not start threads of its own: parallelism lives in engine/parallel.h, in fixed chunks.
add_compile_definitions(EIGEN_DONT_PARALLELIZE)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-fno-plt -ffunction-sections -fdata-sections -fstack-protector-strong)
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  add_link_options(-Wl,--gc-sections -Wl,--as-needed -Wl,-z,relro -Wl,-z,now)
endif()

if(NACRE_SANITIZE)
  # Asserts of Eigen and the standard library are on where the sanitizers are.
  add_compile_options(-fsanitize=${NACRE_SANITIZE} -fno-omit-frame-pointer -O1 -g1 -UNDEBUG)
  add_compile_definitions(_GLIBCXX_ASSERTIONS)
  add_link_options(-fsanitize=${NACRE_SANITIZE})
  if(NACRE_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=all -fsanitize=bounds)
    # The check of an object's type opens a pipe to look whether memory can be read, and calls the object broken when it gets none: tests
    # of the server let descriptors run out. Inline functions of the standard library come from any part, so it is off in all.
    add_compile_options(-fno-sanitize=vptr)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC's flow warnings take the sanitizers' own branches for the program's.
    add_compile_options(-Wno-maybe-uninitialized -Wno-stringop-overflow -Wno-array-bounds)
  endif()
endif()

option(NACRE_BUILD_FUZZERS "Build the libFuzzer targets (clang)" OFF)
if(NACRE_BUILD_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "NACRE_BUILD_FUZZERS needs clang: use the preset fuzz")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Kernels are compiled for AVX2, AVX-512 and what every CPU has. In between lies little that is worth a quarter of the
# program's size.
function(nacre_kernels target)
  target_compile_definitions(${target} PRIVATE "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4)")
endfunction()

# For what reads, writes and arranges, where the bytes of the program count more than its speed: a whole target, or some
# source files of the folder that calls it.
function(nacre_optimize_for_size target)
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Release")
    return()
  endif()
  if(ARGN)
    set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS -Os)
  else()
    target_compile_options(${target} PRIVATE -Os)
  endif()
endfunction()

function(nacre_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
                                           -Wcast-qual -Wformat=2 -Wimplicit-fallthrough -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 warns of every `"text" + string` (its bug 105651).
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
endfunction()

# nacre_library(NAME DEPENDS targets...): one target per folder, of all its .cc files. The shared library of the runtime is
# made of the same objects, hence position-independent code; what it shows to the outside is marked with NACRE_EXPORT.
function(nacre_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;SOURCES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS *.cc)
  add_library(${name} STATIC ${sources} ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_DEPENDS})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden
                                           VISIBILITY_INLINES_HIDDEN ON)
  nacre_warnings(${name})
endfunction()
