// SPDX-License-Identifier: Apache-2.0
#include "case_file.hpp"

#include "decoding.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <vector>

namespace undercroft::differential {
namespace {

struct Part {  // of the XSAVE area
    std::string name;
    std::size_t at;
    std::size_t size;
};

const std::vector<Part>& parts() {
    static const std::vector<Part> all = [] {
        std::vector<Part> made{{"fcw", 0, 2}, {"fsw", 2, 2}, {"ftw", 4, 1}, {"mxcsr", 24, 4}};
        for (std::size_t n = 0; n < 8; ++n) made.push_back({"st" + std::to_string(n), 32 + 16 * n, 10});
        for (std::size_t n = 0; n < 16; ++n) made.push_back({"xmm" + std::to_string(n), 160 + 16 * n, 16});
        for (std::size_t n = 0; n < 16; ++n) made.push_back({"ymm" + std::to_string(n), 576 + 16 * n, 16});
        return made;
    }();
    return all;
}

constexpr const char* registers[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

State plain_state() {
    State state;
    state.gpr[4] = stack + page;
    state.rip = code_a;
    state.xsave[0] = std::byte{0x7f}, state.xsave[1] = std::byte{3};
    state.xsave[24] = std::byte{0x80}, state.xsave[25] = std::byte{0x1f};
    state.xsave[512] = std::byte{7};
    return state;
}

std::string digits(const std::byte* bytes, std::size_t size) {
    std::ostringstream text;
    text << std::hex << std::setfill('0');
    for (std::size_t n = size; n-- > 0;) text << std::setw(2) << static_cast<unsigned>(bytes[n]);
    return text.str();
}

void write_state(std::ostringstream& text, const State& state) {
    State plain = plain_state();
    auto number = [&](const char* name, std::uint64_t value, std::uint64_t usual) {
        if (value != usual) text << name << " " << std::hex << value << "\n";
    };
    for (std::size_t n = 0; n < 16; ++n) number(registers[n], state.gpr[n], plain.gpr[n]);
    number("rip", state.rip, 0);
    number("rflags", state.rflags, plain.rflags);
    number("fs", state.fs, 0);
    number("gs", state.gs, 0);
    for (const Part& part : parts()) {
        const std::byte* value = state.xsave.data() + part.at;
        if (std::memcmp(value, plain.xsave.data() + part.at, part.size) != 0)
            text << part.name << " " << digits(value, part.size) << "\n";
    }
}

bool set_register(State& state, const std::string& name, std::uint64_t value) {
    for (std::size_t n = 0; n < 16; ++n) {
        if (name == registers[n]) return state.gpr[n] = value, true;
    }
    if (name == "rip") return state.rip = value, true;
    if (name == "rflags") return state.rflags = value, true;
    if (name == "fs") return state.fs = value, true;
    if (name == "gs") return state.gs = value, true;
    return false;
}

bool set_part(State& state, const std::string& name, const std::string& value) {
    for (const Part& part : parts()) {
        if (name != part.name || value.size() != 2 * part.size) continue;
        for (std::size_t n = 0; n < part.size; ++n) {
            unsigned byte = static_cast<unsigned>(std::stoul(value.substr(2 * n, 2), nullptr, 16));
            state.xsave[part.at + part.size - 1 - n] = static_cast<std::byte>(byte);
        }
        return true;
    }
    return false;
}

bool add_code(Sequence& sequence, std::istringstream& line) {
    std::uint8_t length = 0;
    for (unsigned byte; line >> std::hex >> byte;) {
        if (sequence.length == longest_code) return false;
        sequence.code[sequence.length++] = static_cast<std::uint8_t>(byte);
        ++length;
    }
    if (sequence.instructions == most_instructions) return false;
    sequence.instruction_length[sequence.instructions++] = length;
    return length != 0;
}

bool read_line(Sequence& sequence, const std::string& text) {
    std::istringstream line{text};
    std::string name;
    if (!(line >> name)) return true;
    if (name == "code") return add_code(sequence, line);
    std::string digits_read;
    if (!(line >> digits_read)) return false;
    if (set_part(sequence.initial, name, digits_read)) return true;
    std::uint64_t value = std::stoull(digits_read, nullptr, 16);
    if (set_register(sequence.initial, name, value)) return true;
    if (name == "memory")
        sequence.memory = static_cast<std::uint16_t>(value);
    else if (name == "slot")
        sequence.slot = static_cast<std::uint8_t>(value);
    else
        return false;
    return true;
}

}  // namespace

std::string write_case(const Sequence& sequence) {
    std::ostringstream text;
    if (sequence.memory != 0) text << "memory " << std::hex << sequence.memory << "\n";
    if (sequence.slot != 0) text << "slot " << std::hex << +sequence.slot << "\n";
    write_state(text, sequence.initial);
    std::size_t at = 0;
    for (unsigned n = 0; n < sequence.instructions; ++n) {
        std::size_t length = sequence.instruction_length[n];
        std::ostringstream bytes;
        bytes << std::hex << std::setfill('0');
        for (std::size_t i = 0; i < length; ++i) bytes << " " << std::setw(2) << +sequence.code[at + i];
        std::span<const std::uint8_t> code{sequence.code.data() + at, length};
        bool nops = std::all_of(code.begin(), code.end(), [](std::uint8_t byte) { return byte == 0x90; });
        text << "code" << bytes.str();
        if (!nops) text << "  # " << disassemble(code, sequence.initial.rip + at);
        text << "\n";
        at += length;
    }
    return text.str();
}

undercroft::Result<Sequence> read_case(const std::string& path) {
    std::ifstream file{path};
    if (!file) return Error{path + ": cannot be read"};
    Sequence sequence;
    sequence.flush = 1;
    sequence.initial = plain_state();
    std::string line;
    for (unsigned number = 1; std::getline(file, line); ++number) {
        line = line.substr(0, line.find('#'));
        if (!read_line(sequence, line))
            return Error{path + ":" + std::to_string(number) + ": not understood"};
    }
    if (!is_code(sequence.initial.rip) || sequence.length == 0) return Error{path + ": no code"};
    sequence.offset = static_cast<std::uint16_t>(sequence.initial.rip % code_step);
    return sequence;
}

}  // namespace undercroft::differential
