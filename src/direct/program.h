// SPDX-License-Identifier: Apache-2.0
// Where the monitor's few pages lie in a guest process, and what they hold. For the assembler, too.
//
// A part of the address space that Linux' programs have nothing in: between where it puts executables
// (0x55...) and what sanitizers use. CMakeLists.txt links the program there.

#pragma once

#define DIRECT_PROGRAM_ADDRESS 0x4a5d3c210000
#define DIRECT_PROGRAM_SIZE 0x1000
#define DIRECT_LIST_ADDRESS 0x4a5d3c211000
#define DIRECT_LIST_SIZE 0x8000
#define DIRECT_END_ADDRESS 0x4a5d3c219000

// Of user addresses: where Linux' ends without 5-level paging.
#define DIRECT_USER_END 0x7ffffffff000

// Linux' selectors of user code: __USER_CS, __USER_DS.
#define DIRECT_USER_CODE 0x33
#define DIRECT_USER_DATA 0x2b

// Open files of the process.
#define DIRECT_FRAMES_FILE 3
#define DIRECT_LIST_FILE 4
#define DIRECT_PATCHES_FILE 5

// An entry of the list: a system call's number and arguments, and one more word.
#define DIRECT_CALL_SIZE 64
