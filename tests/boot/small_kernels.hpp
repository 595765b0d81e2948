// SPDX-License-Identifier: Apache-2.0
// Kernels of a few instructions, as 64-bit ELF files that the program under test boots in milliseconds.
//
// They talk to the serial port (COM1, 16550A) without interrupts.

#pragma once

#include "boot/test_kernels.hpp"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace undercroft::small {

using Code = std::vector<std::uint8_t>;

inline constexpr std::uint64_t load_address = 0x200000;

inline Code join(Code first, const Code& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

// mov dx, 0x3f8; for each byte: mov al, byte; out dx, al
inline Code print(const std::string& text) {
    Code code{0x66, 0xba, 0xf8, 0x03};
    for (char byte : text) code = join(code, {0xb0, static_cast<std::uint8_t>(byte), 0xee});
    return code;
}

// Sends back what it receives. mov dx, 0x3fd; in al, dx; pause; test al, 1; jz (the in); mov dx, 0x3f8;
// in al, dx; out dx, al; jmp (the start)
inline const Code echo{0x66, 0xba, 0xfd, 0x03, 0xec, 0xf3, 0x90, 0xa8, 0x01, 0x74,
                       0xf9, 0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, 0xeb, 0xed};
// Halts for good, with interrupts on: sti; hlt; jmp (the hlt)
inline const Code idle{0xfb, 0xf4, 0xeb, 0xfd};
// cli; jmp (itself)
inline const Code spin{0xfa, 0xeb, 0xfe};
// Prints as fast as it can: mov dx, 0x3f8; mov al, 'x'; out dx, al; jmp (the out)
inline const Code flood{0x66, 0xba, 0xf8, 0x03, 0xb0, 'x', 0xee, 0xeb, 0xfd};
// mov dx, 0x600; mov al, 0x34; out dx, al; jmp (itself)
inline const Code power_off{0x66, 0xba, 0x00, 0x06, 0xb0, 0x34, 0xee, 0xeb, 0xfe};
// Two processes in turn, as far as page tables go. mov rax, cr3; mov rsi, rax; mov edi, 0x300000;
// mov ecx, 512; rep movsq; mov ebx, 0x300000; mov cr3, rbx; mov cr3, rax; jmp (the first mov to cr3)
inline const Code two_processes{0x0f, 0x20, 0xd8, 0x48, 0x89, 0xc6, 0xbf, 0x00, 0x00, 0x30, 0x00,
                                0xb9, 0x00, 0x02, 0x00, 0x00, 0xf3, 0x48, 0xa5, 0xbb, 0x00, 0x00,
                                0x30, 0x00, 0x0f, 0x22, 0xdb, 0x0f, 0x22, 0xd8, 0xeb, 0xf8};
// A fault without any handler: ud2
inline const Code triple_fault{0x0f, 0x0b};
// Writes over its page tables, its descriptors and itself: xor edi, edi; mov ecx, 0x280000; mov al, 0xcc;
// rep stosb
inline const Code rampage{0x31, 0xff, 0xb9, 0x00, 0x00, 0x28, 0x00, 0xb0, 0xcc, 0xf3, 0xaa};

inline void write_kernel(const std::filesystem::path& path, const Code& code) {
    auto bytes = std::as_bytes(std::span{code});
    boot::test::Bytes file = boot::test::elf(
        load_address, {{load_address, load_address, {bytes.begin(), bytes.end()}, bytes.size()}});
    std::ofstream{path, std::ios::binary}.write(reinterpret_cast<const char*>(file.data()),
                                                static_cast<std::streamsize>(file.size()));
}

}  // namespace undercroft::small
