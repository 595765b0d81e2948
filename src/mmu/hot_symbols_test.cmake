# SPDX-License-Identifier: Apache-2.0
# Fails when an object that runs with the guest's vector state in the registers calls the library, or could get
# a function from another object that was compiled with vector instructions (a weak definition).
#
#   cmake -DNM=nm -DOBJECTS=a.o;b.o -P hot_symbols_test.cmake

set(bad "")
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* U (mem[a-z]+|_Zn[wa]m[^\n]*|malloc|_ZSt[^\n]*throw[^\n]*)" calls "${symbols}")
  string(REGEX MATCHALL "[^\n]* W [^\n]*" weak "${symbols}")
  foreach(symbol IN LISTS calls weak)
    string(APPEND bad "\n  ${object}: ${symbol}")
  endforeach()
endforeach()
if(bad)
  message(FATAL_ERROR "not fit for helpers of translated code:${bad}")
endif()
