# The CUDA toolkit is optional. INFERD_CUDA: ON, OFF, or AUTO, which is what is found.
#
# INFERD_HAVE_CUDA_HEADERS: the toolkit's headers are there (target inferd_cuda_headers).
#   They are all that the emulated backend needs, which tests run on the CPU.
# INFERD_HAVE_CUDA: nvcc builds libinferd_cuda.so. Not in instrumented builds.
set(INFERD_CUDA "AUTO" CACHE STRING "Build libinferd_cuda.so: ON, OFF or AUTO")
set_property(CACHE INFERD_CUDA PROPERTY STRINGS AUTO ON OFF)
set(INFERD_HAVE_CUDA FALSE)
set(INFERD_HAVE_CUDA_HEADERS FALSE)
set(INFERD_CUDA_MISSING "switched off by INFERD_CUDA")
if(NOT INFERD_CUDA STREQUAL "OFF")
  find_package(CUDAToolkit 13 QUIET)
  if(CUDAToolkit_FOUND)
    set(INFERD_HAVE_CUDA_HEADERS TRUE)
    # For profilers; not in every installation.
    find_file(INFERD_NVTX_HEADER nvtx3/nvToolsExt.h PATHS ${CUDAToolkit_INCLUDE_DIRS}
      NO_DEFAULT_PATH)
    add_library(inferd_cuda_headers INTERFACE)
    # System headers: their warnings are not ours.
    target_include_directories(inferd_cuda_headers SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS})
    if(INFERD_SANITIZE)
      set(INFERD_CUDA_MISSING "an instrumented build")
    elseif(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      set(INFERD_CUDA_MISSING "nvcc is given GCC only")
    else()
      set(INFERD_HAVE_CUDA TRUE)
    endif()
  else()
    set(INFERD_CUDA_MISSING "no CUDA toolkit 13")
  endif()
  if(INFERD_CUDA STREQUAL "ON" AND NOT INFERD_HAVE_CUDA)
    message(FATAL_ERROR "INFERD_CUDA is ON, but: ${INFERD_CUDA_MISSING}")
  endif()
endif()
if(INFERD_HAVE_CUDA)
  set(CMAKE_CUDA_COMPILER "${CUDAToolkit_NVCC_EXECUTABLE}" CACHE FILEPATH "")
  set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}" CACHE FILEPATH "")
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  set(CMAKE_CUDA_ARCHITECTURES OFF) # see below
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
  enable_language(CUDA)
  # CMake 3.25 does not know it of nvcc 13.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_SOURCE_DIR}/cmake/ptxas_report.sh)
  if(CCACHE_PROGRAM)
    list(APPEND CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  endif()
  # Ampere's and Hopper's own code, and PTX that later GPUs compile for themselves.
  set(INFERD_CUDA_CODE
    -gencode=arch=compute_80,code=sm_80
    -gencode=arch=compute_90a,code=sm_90a
    -gencode=arch=compute_90,code=compute_90)
  message(STATUS "libinferd_cuda.so: with CUDA ${CUDAToolkit_VERSION}")
else()
  message(STATUS "libinferd_cuda.so: skipped: ${INFERD_CUDA_MISSING}")
endif()

# inferd_ptx_library(<name> <.cu> ...)
# compiles kernels to PTX, as the product's are up to ptxas: for the virtual architecture that
# the code for sm_90a comes from.
function(inferd_ptx_library name)
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${ARGN})
  set_target_properties(${name} PROPERTIES CUDA_PTX_COMPILATION ON)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/kernels ${CMAKE_SOURCE_DIR}/tests)
  target_compile_options(${name} PRIVATE -arch=compute_90a -lineinfo)
endfunction()

# inferd_ptx_test(<name> PTX <library> SOURCES ... [KERNELS <library>] [as inferd_test])
# is a test of kernels in nvcc's objects, which tests/kernels/cuda/ptx interprets as PTX when
# they are launched.
function(inferd_ptx_test name)
  cmake_parse_arguments(A "" "PTX;KERNELS;LABELS;TIMEOUT" "SOURCES;DEPS" ${ARGN})
  foreach(option LABELS TIMEOUT)
    if(A_${option})
      list(APPEND A_UNPARSED_ARGUMENTS ${option} ${A_${option}})
    endif()
  endforeach()
  set(list ${CMAKE_CURRENT_BINARY_DIR}/${name}_ptx.txt)
  file(GENERATE OUTPUT ${list} CONTENT "$<JOIN:$<TARGET_OBJECTS:${A_PTX}>,\n>\n")
  inferd_test(${name} SOURCES ${A_SOURCES} ${CMAKE_SOURCE_DIR}/tests/kernels/cuda/ptx/runtime.cc
    DEPS ${A_DEPS} ${A_KERNELS} inferd_ptx inferd_cuda_headers ${A_UNPARSED_ARGUMENTS})
  target_compile_definitions(${name} PRIVATE PTX_LIST="${list}")
  add_dependencies(${name} ${A_PTX})
  # The runtime is the test's own.
  set_target_properties(${name} PROPERTIES CUDA_RUNTIME_LIBRARY None LINKER_LANGUAGE CXX)
endfunction()
