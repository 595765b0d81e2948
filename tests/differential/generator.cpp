// SPDX-License-Identifier: Apache-2.0
#include "generator.hpp"

#include "assemble.hpp"
#include "image.hpp"
#include "values.hpp"

#include <algorithm>
#include <cstring>

namespace undercroft::differential {
namespace {

constexpr std::uint64_t loop_counter = data + 3 * page + 0xfc0;

std::uint64_t seed_of(std::uint64_t seed, std::uint64_t index) {
    return Random{seed ^ index * 0xd1342543de82ef95}.next();
}

void put32(std::uint8_t* to, std::uint64_t value) {
    auto low = static_cast<std::uint32_t>(value);
    std::memcpy(to, &low, 4);
}

}  // namespace

Group Generator::any_group() {
    struct Weight {
        Group group;
        unsigned weight;
    };
    constexpr Weight weights[] = {{Group::Integer, 40}, {Group::Branch, 10}, {Group::Stack, 7},
                                  {Group::String, 6},   {Group::X87, 9},     {Group::Mmx, 6},
                                  {Group::Sse, 11},     {Group::Avx, 10},    {Group::System, 1}};
    std::uint64_t choice = random_.below(100);
    for (auto [group, weight] : weights) {
        if (choice < weight) return group;
        choice -= weight;
    }
    return Group::Integer;
}

Generator::Item Generator::any_instruction(Decoded& decoded) {
    for (;;) {
        const auto& forms = forms_.tried(any_group());
        if (forms.empty()) continue;
        const Form& form = forms_.all()[random_.of(forms)];
        for (unsigned attempt = 0; attempt < 8; ++attempt) {
            Item item;
            assemble_randomly(random_.of(form.encodings), random_, item.bytes);
            if (!decode(item.bytes, decoded) || left_out(decoded) != nullptr) continue;
            item.length = decoded.raw.length;
            return item;
        }
    }
}

void Generator::raw(std::initializer_list<unsigned> bytes) {
    Item item;
    for (unsigned each : bytes) item.bytes[item.length++] = static_cast<std::uint8_t>(each);
    items_.push_back(item);
}

void Generator::set_register(unsigned number, std::uint64_t value) {
    Item item;
    auto byte = [&](unsigned each) { item.bytes[item.length++] = static_cast<std::uint8_t>(each); };
    bool wide = value >> 32 != 0;
    if (wide || number >= 8) byte(0x40 | (wide ? 8u : 0u) | number >> 3);
    byte(0xb8 | (number & 7));
    std::memcpy(item.bytes.data() + item.length, &value, wide ? 8 : 4);
    item.length = static_cast<std::uint8_t>(item.length + (wide ? 8 : 4));
    items_.push_back(item);
}

std::int8_t Generator::any_target() {
    // Items to come are not known yet: link() takes numbers beyond the end for the exit.
    if (random_.one_in(6)) return static_cast<std::int8_t>(random_.below(items_.size() + 1));
    return static_cast<std::int8_t>(items_.size() + 1 + random_.below(4));
}

void Generator::add_instruction() {
    if (random_.one_in(80)) {  // who knows
        if (random_.one_in(2))
            raw({random_.byte(), random_.byte(), random_.byte(), random_.byte()});
        else
            raw({0x0f, random_.byte(), random_.byte(), random_.byte()});
        return;
    }
    if (random_.one_in(60)) return add_lookalike();
    Decoded decoded;
    Item item = any_instruction(decoded);
    make_operands_good(item, decoded);
    items_.push_back(item);
}

// What looks like an instruction that direct execution has to replace, but is none: an immediate, or data
// behind a jump.
void Generator::add_lookalike() {
    constexpr std::array<std::uint8_t, 5> second{0x01, 0x34, 0xa2, 0xae, 0xc7};
    constexpr std::array<std::uint8_t, 2> interrupts{0x04, 0x80};
    std::array<std::uint8_t, 4> bytes{0x0f, random_.of(second), random_.byte(), random_.byte()};
    if (random_.one_in(6)) bytes = {0xcd, random_.of(interrupts), random_.byte(), random_.byte()};
    if (random_.one_in(3)) std::rotate(bytes.begin(), bytes.begin() + 2, bytes.end());
    if (random_.one_in(2))
        raw({0xb8u + static_cast<unsigned>(random_.below(4)), bytes[0], bytes[1], bytes[2], bytes[3]});
    else if (random_.one_in(2))
        raw({0xeb, 4, bytes[0], bytes[1], bytes[2], bytes[3]});
    else
        raw({0xeb, 6, random_.byte(), random_.byte(), bytes[0], bytes[1], bytes[2], bytes[3]});
}

// The counter is in memory, where little else finds it.
void Generator::begin_loop() {
    Item item;  // mov dword [loop_counter], times
    constexpr std::uint8_t bytes[] = {0xc7, 0x04, 0x25};
    std::memcpy(item.bytes.data(), bytes, 3);
    put32(item.bytes.data() + 3, loop_counter);
    put32(item.bytes.data() + 7, 2 + random_.below(14));
    item.length = 11;
    items_.push_back(item);
}

void Generator::end_loop() {
    Item item;  // dec dword [loop_counter]; jnz
    constexpr std::uint8_t bytes[] = {0xff, 0x0c, 0x25};
    std::memcpy(item.bytes.data(), bytes, 3);
    put32(item.bytes.data() + 3, loop_counter);
    item.length = 7;
    items_.push_back(item);
    raw({0x0f, 0x85, 0, 0, 0, 0});
    items_.back().at = 2;
    items_.back().target = 1;
}

void Generator::link(Sequence& sequence, std::uint64_t base) {
    std::vector<std::uint64_t> address;
    std::uint64_t at = base;
    for (const Item& item : items_) {
        address.push_back(at);
        at += item.length;
    }
    auto of = [&](std::int8_t target) {
        return address[std::min(static_cast<std::size_t>(target), address.size() - 1)];
    };
    std::size_t to = 0;
    for (std::size_t n = 0; n < items_.size(); ++n) {
        Item& item = items_[n];
        std::uint64_t next = address[n] + item.length;
        std::uint8_t* field = item.bytes.data() + item.at;
        std::size_t width = item.length - item.at;
        if (item.target >= 0) {
            std::uint64_t distance = of(item.target) - next;
            std::memcpy(field, &distance, std::min<std::size_t>(width, 4));
        }
        if (item.absolute >= 0) put32(field, of(item.absolute));
        if (item.relative_to != 0) put32(field, item.relative_to - next);
        std::memcpy(sequence.code.data() + to, item.bytes.data(), item.length);
        sequence.instruction_length[n] = item.length;
        to += item.length;
    }
    sequence.length = static_cast<std::uint16_t>(to);
    sequence.instructions = static_cast<std::uint8_t>(items_.size());
}

void Generator::make_code(Sequence& sequence, std::uint64_t seed) {
    random_ = Random{seed};
    items_.clear();
    sequence.slot = static_cast<std::uint8_t>(random_.below(code_slots));
    std::uint64_t offset = 16 * random_.below(200);
    if (random_.one_in(3)) offset = random_.below(3200);
    if (random_.one_in(6)) offset = page - 2 - random_.below(60);
    if (random_.one_in(24)) offset = 2 * page - 2 - random_.below(40);
    sequence.offset = static_cast<std::uint16_t>(offset);
    code_address_ = code_a + offset;
    Random states{seed};
    State initial = any_state(states);
    fs_ = initial.fs;
    gs_ = initial.gs;
    bool loops = random_.one_in(5);
    if (loops) begin_loop();
    auto planned = static_cast<unsigned>(1 + random_.below(random_.one_in(2) ? 4 : 9));
    for (unsigned n = 0; n < planned; ++n) add_instruction();
    if (loops) end_loop();
    raw({0xe9, 0, 0, 0, 0});
    items_.back().at = 1;
    items_.back().relative_to = exit_a;
    link(sequence, code_address_);
}

Sequence Generator::make(std::uint64_t seed, std::uint64_t index) {
    Sequence sequence;
    std::uint64_t own = seed_of(seed, index);
    Random random{own ^ 0x7365717565};
    // Now and then the code of another sequence again, which may be translated still.
    std::uint64_t back = random.one_in(8) ? 1 + random.below(6) : 0;
    make_code(sequence, index < back ? own : seed_of(seed, index - back));
    sequence.seed = seed;
    bool elsewhere = random.one_in(back != 0 ? 2 : 3);
    sequence.flush = random.one_in(4) ? 1 : 0;
    sequence.memory = static_cast<std::uint16_t>(random.below(template_count));
    Random states{index < back ? own : seed_of(seed, index - back)};
    sequence.initial = any_state(states);
    if (back != 0) {
        std::uint64_t fs = sequence.initial.fs, gs = sequence.initial.gs;
        sequence.initial = any_state(random);
        sequence.initial.fs = fs;
        sequence.initial.gs = gs;
    }
    std::size_t place = elsewhere ? 1 + random.below(places.size() - 1) : 0;
    sequence.initial.rip = places[place].code + sequence.offset;
    return sequence;
}

}  // namespace undercroft::differential
