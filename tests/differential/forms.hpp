// SPDX-License-Identifier: Apache-2.0
// All forms of instructions, found by decoding: every opcode of every map with every prefix that may select
// another instruction, every ModRM.reg and, between registers, every ModRM.rm.

#pragma once

#include "decoding.hpp"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace undercroft::differential {

// What selects an instruction; all else is random.
struct Encoding {
    std::uint8_t map = 0;     // 0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A
    std::uint8_t prefix = 0;  // 0, 66, F2, F3, F0
    bool vex = false;
    bool w = false;
    bool l = false;
    std::uint8_t opcode = 0;
    bool has_modrm = false;
    bool in_memory = false;  // ModRM.mod is not 3
    std::uint8_t reg = 0;
    std::uint8_t rm = 0;
};

enum class Group : std::uint8_t { Integer, Branch, Stack, String, X87, Mmx, Sse, Avx, System };
inline constexpr unsigned group_count = 9;

struct Form {
    std::string name;
    const char* left_out = nullptr;
    Group group = Group::Integer;
    std::vector<Encoding> encodings;
};

class Forms {
public:
    Forms();
    const std::vector<Form>& all() const { return forms_; }
    const std::vector<std::uint32_t>& tried(Group group) const {
        return tried_[static_cast<unsigned>(group)];
    }
    // The number of the form, or -1.
    int find(const Decoded& instruction) const {
        auto found = numbers_.find(form_of(instruction));
        return found == numbers_.end() ? -1 : static_cast<int>(found->second);
    }

private:
    void add(const Encoding& encoding);
    void add_all_modrm(Encoding encoding);

    std::vector<Form> forms_;
    std::unordered_map<std::uint64_t, std::uint32_t> numbers_;
    std::array<std::vector<std::uint32_t>, group_count> tried_;
};

Group group_of(const Decoded& instruction);

}  // namespace undercroft::differential
