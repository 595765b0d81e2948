# The translator's sources. What helpers of generated code call runs while the guest's vector state is in the
# host's registers: general registers only.
set(TRANSLATE_GENERAL_REGISTERS_ONLY
  direct/withdrawn.cpp
  lockstep/leader_observer.cpp
  translate/cache/block_lookup.cpp
  translate/runtime/callbacks.cpp
  translate/runtime/crossing_callback.cpp
  translate/runtime/indirect_entry.cpp
  translate/runtime/lookup.cpp
  translate/runtime/perf_map.cpp
  translate/runtime/string_callback.cpp
  translate/runtime/system_callbacks.cpp)
# Where the compiler cannot promise that (clang 14 cannot read libstdc++ 12 so; sanitizers call their runtimes), the
# thunk saves and restores the vector state around each call.
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND NOT UNDERCROFT_SANITIZE)
  set_source_files_properties(${TRANSLATE_GENERAL_REGISTERS_ONLY} PROPERTIES COMPILE_OPTIONS
    "-mgeneral-regs-only;-fno-tree-loop-distribute-patterns")
  set(save_vectors 0)
else()
  set(save_vectors 1)
endif()
set_source_files_properties(translate/runtime/thunks.cpp PROPERTIES
  COMPILE_DEFINITIONS UNDERCROFT_SAVE_VECTORS=${save_vectors})
set(TRANSLATE_SOURCES
  ${TRANSLATE_GENERAL_REGISTERS_ONLY}
  translate/analyse/flags.cpp
  translate/analyse/idle.cpp
  translate/analyse/merge.cpp
  translate/cache/block_cache.cpp
  translate/cache/code_memory.cpp
  translate/decode/classification.cpp
  translate/decode/decoder.cpp
  translate/decode/flag_effects.cpp
  translate/decode/kind.cpp
  translate/decode/known_forms.cpp
  translate/engine.cpp
  translate/lower/block.cpp
  translate/lower/branch.cpp
  translate/lower/copy.cpp
  translate/lower/crossing.cpp
  translate/lower/flags.cpp
  translate/lower/helper.cpp
  translate/lower/memory.cpp
  translate/lower/relocation.cpp
  translate/lower/stack.cpp
  translate/lower/string.cpp
  translate/lower/system.cpp
  translate/lower/trace.cpp
  translate/runtime/ahead.cpp
  translate/runtime/relocate.cpp
  translate/runtime/signals.cpp
  translate/runtime/thunks.cpp
  translate/runtime/trace.cpp
  translate/runtime/translator.cpp
  translate/runtime/x87_pointers.cpp)
set(TRANSLATE_TEST_SOURCES
  translate/analyse/flags_test.cpp
  translate/analyse/idle_test.cpp
  translate/analyse/merge_test.cpp
  translate/decode/code_window_test.cpp
  translate/decode/decoder_test.cpp
  translate/emit/assembler_test.cpp
  translate/lower/string_test.cpp
  translate/runtime/ahead_test.cpp
  translate/runtime/code_cache_test.cpp
  translate/runtime/relocate_test.cpp
  translate/runtime/side_by_side_test.cpp
  translate/runtime/string_callback_test.cpp
  translate/runtime/perf_map_test.cpp
  translate/runtime/spin_test.cpp
  translate/runtime/trace_test.cpp)
