# Compiler settings and the two functions every room uses.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()
# -O2: the kernels ask for -O3 themselves; elsewhere it only makes GCC 12 slower and
# its warnings wrong.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM)
  add_link_options(-fuse-ld=mold)
endif()

set(INFERD_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")

add_library(inferd_options INTERFACE)
target_compile_options(inferd_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor
  -Woverloaded-virtual -Werror -fstack-protector-strong)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 at -O3 sees overlaps in std::string that are not there (PR 105329).
  target_compile_options(inferd_options INTERFACE $<$<CONFIG:Release>:-Wno-restrict>)
  if(INFERD_SANITIZE)
    # Instrumentation confuses its flow analysis further; the plain build is strict.
    target_compile_options(inferd_options INTERFACE -Wno-error)
  endif()
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(inferd_options INTERFACE -Wthread-safety)
endif()
target_include_directories(inferd_options INTERFACE
  ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/kernels)
if(INFERD_SANITIZE)
  add_compile_options(-fsanitize=${INFERD_SANITIZE} -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${INFERD_SANITIZE})
else()
  target_compile_options(inferd_options INTERFACE
    $<$<CONFIG:Release>:-D_FORTIFY_SOURCE=3>)
endif()

# inferd_library(<room> SOURCES ... [DEPS ...] [PRIVATE_DEPS ...])
# defines the static library inferd_<room>.
function(inferd_library room)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(inferd_${room} STATIC ${A_SOURCES})
  target_link_libraries(inferd_${room} PUBLIC ${A_DEPS}
                        PRIVATE inferd_options ${A_PRIVATE_DEPS})
  target_include_directories(inferd_${room} PUBLIC ${CMAKE_SOURCE_DIR}/include)
endfunction()

# inferd_test(<name> SOURCES ... [DEPS ...] [LABELS fast|slow] [TIMEOUT s])
# defines the GoogleTest program <name> and registers it with CTest.
function(inferd_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE
    inferd_options inferd_source_dir ${A_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  if(NOT A_LABELS)
    set(A_LABELS fast)
  endif()
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 400)  # for tests that hang, not for slow machines
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}" TIMEOUT ${A_TIMEOUT})
endfunction()
