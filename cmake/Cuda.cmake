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

# inferd_ptx_library(<name> <architecture> <.cu> ... [OPTIONS <of nvcc> ...])
# compiles kernels to PTX, for a virtual architecture, as the product's are up to ptxas, and
# lists the files in ptx/<name>.txt.
function(inferd_ptx_library name architecture)
  cmake_parse_arguments(A "" "" "OPTIONS" ${ARGN})
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${A_UNPARSED_ARGUMENTS})
  set_target_properties(${name} PROPERTIES CUDA_PTX_COMPILATION ON)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/kernels ${CMAKE_SOURCE_DIR}/tests)
  target_compile_options(${name} PRIVATE -arch=${architecture} -lineinfo ${A_OPTIONS})
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/ptx/${name}.txt
    CONTENT "$<JOIN:$<TARGET_OBJECTS:${name}>,\n>\n")
endfunction()

# inferd_ptx_program(<target> <library>)
# is an executable with kernels in nvcc's objects, of which the library's PTX is interpreted
# (tests/kernels/cuda/ptx) when they are launched.
function(inferd_ptx_program target library)
  target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/kernels/cuda/ptx/runtime.cc)
  target_link_libraries(${target} PRIVATE inferd_ptx inferd_cuda_headers)
  target_compile_definitions(${target} PRIVATE
    PTX_LIST="${CMAKE_BINARY_DIR}/ptx/${library}.txt")
  add_dependencies(${target} ${library})
  # The runtime is the program's own.
  set_target_properties(${target} PROPERTIES CUDA_RUNTIME_LIBRARY None LINKER_LANGUAGE CXX)
endfunction()

# inferd_ptx_test(<name> <library> as inferd_test)
function(inferd_ptx_test name library)
  inferd_test(${name} ${ARGN})
  inferd_ptx_program(${name} ${library})
endfunction()
