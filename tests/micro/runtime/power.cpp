// SPDX-License-Identifier: Apache-2.0
// Power-off, reset, the runtime's main function, and the library calls that a compiler makes on its own.
//
// Without boot_params (started by its PVH note under another implementation), it ends by the debug-exit ports
// of QEMU (isa-debug-exit at 0x501) and Bochs (0x8900).

#include "runtime/power.hpp"

#include "runtime/run.hpp"

namespace micro {

namespace {

u16 sleep_control_port = 0;
u16 reset_port = 0;
u8 reset_value = 0;

template <class T>
T load(u64 address) {
    T value;
    __builtin_memcpy(&value, reinterpret_cast<const void*>(address), sizeof value);
    return value;
}

constexpr u32 signature(const char (&text)[5]) {
    u32 value = 0;
    for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<u8>(text[i]);
    return value;
}

}  // namespace

void find_power_registers(const void* boot_params) {
    const u64 rsdp = load<u64>(address(boot_params) + 0x70);  // acpi_rsdp_addr
    if (rsdp == 0) return print_line("FAIL no ACPI tables");
    const u64 xsdt = load<u64>(rsdp + 24);
    const u32 length = load<u32>(xsdt + 4);
    for (u64 entry = xsdt + 36; entry + 8 <= xsdt + length; entry += 8) {
        const u64 table = load<u64>(entry);
        if (load<u32>(table) != signature("FACP")) continue;
        sleep_control_port = static_cast<u16>(load<u64>(table + 244 + 4));
        reset_port = static_cast<u16>(load<u64>(table + 116 + 4));
        reset_value = load<u8>(table + 128);
    }
    if (sleep_control_port == 0) print_line("FAIL no sleep control register");
}

void power_off() {
    constexpr u8 sleep_type_5_enable = 5 << 2 | 1 << 5;
    if (sleep_control_port != 0) out8(sleep_control_port, sleep_type_5_enable);
    for (const char c : "Shutdown") out8(0x8900, static_cast<u8>(c));
    out8(0x501, 0);
    for (;;) asm volatile("cli; hlt");
}

void reset() {
    if (reset_port != 0) out8(reset_port, reset_value);
    power_off();
}

}  // namespace micro

extern "C" [[noreturn]] void runtime_main(const void* boot_params);
extern "C" void runtime_main(const void* boot_params) {
    micro::out8(0x3fb, 3);  // LCR: 8 data bits, no parity
    if (boot_params != nullptr) {
        micro::find_power_registers(boot_params);
    } else {
        micro::out8(0x21, 0xff);  // a BIOS may have left the PICs on
        micro::out8(0xa1, 0xff);
    }
    micro::set_up_processor();
    micro_main();
    micro::print_line("END");
    micro::power_off();
}

extern "C" {

void* memcpy(void* to, const void* from, std::size_t size) {
    void* result = to;
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size)::"memory");
    return result;
}

void* memset(void* to, int value, std::size_t size) {
    void* result = to;
    asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
    return result;
}

int memcmp(const void* a, const void* b, std::size_t size) {
    const auto* left = static_cast<const unsigned char*>(a);
    const auto* right = static_cast<const unsigned char*>(b);
    for (std::size_t i = 0; i < size; ++i)
        if (left[i] != right[i]) return left[i] - right[i];
    return 0;
}
}
