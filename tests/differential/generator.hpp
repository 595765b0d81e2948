// SPDX-License-Identifier: Apache-2.0
// Random sequences: instructions of random forms, what makes most of their operands accessible, and branches
// among them.

#pragma once

#include "forms.hpp"
#include "random.hpp"
#include "state.hpp"

#include <vector>

namespace undercroft::differential {

class Generator {
public:
    explicit Generator(const Forms& forms) : forms_{forms} {}

    // Sequence `index` of those that `seed` makes: the same each time, whatever came before.
    Sequence make(std::uint64_t seed, std::uint64_t index);

private:
    struct Item {
        std::array<std::uint8_t, 15> bytes{};
        std::uint8_t length = 0;
        std::int8_t target = -1;        // a branch to this item: its last four bytes or its last one
        std::int8_t absolute = -1;      // the last four bytes are the address of this item
        std::uint64_t relative_to = 0;  // the displacement at `at` is relative to RIP and reaches this
        std::uint8_t at = 0;            // where the displacement or address lies
    };

    void make_code(Sequence& sequence, std::uint64_t seed);
    void add_instruction();
    void add_lookalike();
    void begin_loop();
    void end_loop();
    Item any_instruction(Decoded& decoded);
    Group any_group();
    void make_operands_good(Item& item, const Decoded& decoded);
    void reach(Item& item, const Decoded& decoded, const ZydisDecodedOperand& operand, std::uint64_t address);
    void set_up_string(const Decoded& decoded);
    void set_up_branch(Item& item, const Decoded& decoded);
    void set_up_xsave(Item& item, const Decoded& decoded);
    void set_up_implicit(const Decoded& decoded);
    std::uint64_t address_for(const Decoded& decoded, const ZydisDecodedOperand& operand);
    std::int8_t any_target();

    void raw(std::initializer_list<unsigned> bytes);
    void set_register(unsigned number, std::uint64_t value);
    void link(Sequence& sequence, std::uint64_t base);

    const Forms& forms_;
    Random random_{0};
    std::vector<Item> items_;
    std::uint64_t code_address_ = 0;
    std::uint64_t fs_ = 0, gs_ = 0;
};

}  // namespace undercroft::differential
