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
