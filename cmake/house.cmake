# One CMake target per folder of the house, with explicit links.
#
# A room's headers are included as "room/file.hpp". Each room exports an include directory of its own that
# holds nothing but a link to the room's folder, so an include of a room that is not linked does not build.

function(room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LINKS;OPTIONS" ${ARGN})
  set(door ${CMAKE_BINARY_DIR}/doors/${name})
  file(MAKE_DIRECTORY ${door})
  file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${door}/${name} SYMBOLIC)
  if(ROOM_SOURCES)
    add_library(${name} STATIC ${ROOM_SOURCES})
    target_include_directories(${name} PUBLIC ${door})
    target_link_libraries(${name} PUBLIC ${ROOM_LINKS})
    target_compile_options(${name} PRIVATE ${ROOM_OPTIONS})
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${door})
    target_link_libraries(${name} INTERFACE ${ROOM_LINKS})
  endif()
endfunction()

# Unit tests stand beside the code: `room_test(mmu SOURCES walk_test.cpp)` builds build/<preset>/mmu_test.
function(room_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name}_test ${TEST_SOURCES})
  target_link_libraries(${name}_test PRIVATE ${name} ${TEST_LINKS} GTest::gtest GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name}_test)
endfunction()

# Options for what helpers of translated code call while the guest's vector state is in the host's registers:
# general registers only, and no loop may become a call of the library's memcpy or memset, which use vector
# registers. (clang 14 cannot read libstdc++ 12 with -mgeneral-regs-only.)
function(helper_options variable)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    set(options -fno-tree-loop-distribute-patterns)
    if(NOT UNDERCROFT_SANITIZE)
      list(APPEND options -mgeneral-regs-only)
    endif()
  else()
    set(options -fno-builtin-memset -fno-builtin-memcpy -mno-implicit-float -fno-vectorize -fno-slp-vectorize)
  endif()
  set(${variable} ${options} PARENT_SCOPE)
endfunction()

# Such objects of a room stay out of the library: all but those whose names match `excluded`.
function(helper_symbols_test room excluded)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND NOT UNDERCROFT_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL Debug)
    set(hot $<FILTER:$<TARGET_OBJECTS:${room}>,EXCLUDE,${excluded}>)
    add_test(NAME ${room}_hot_symbols
      COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} "-DOBJECTS=${hot}"
        -P ${PROJECT_SOURCE_DIR}/src/mmu/hot_symbols_test.cmake)
  endif()
endfunction()
