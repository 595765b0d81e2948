// SPDX-License-Identifier: Apache-2.0
#include "cpu/stack.hpp"

namespace undercroft {
namespace {

// Within SS: canonical in 64-bit code, else inside the limit (SDM vol. 3A section 5.3).
bool is_inside(const StackView& stack, std::uint64_t pointer, std::uint64_t bytes) noexcept {
    if (stack.is_64bit) return is_canonical(pointer) && is_canonical(pointer + bytes - 1);
    const Segment& segment = *stack.segment;
    std::uint64_t last = pointer + bytes - 1;
    if (last > stack.mask()) return false;  // a group that wraps around: no kernel does that
    bool expands_down = !segment.is_code() && (Segment::Type::get(segment.attributes) & 4) != 0;
    return expands_down ? pointer > segment.limit : last <= segment.limit;
}

std::uint64_t linear(const StackView& stack, std::uint64_t pointer) noexcept {
    return stack.is_64bit ? pointer : (stack.segment->base + pointer) & 0xffffffff;
}

// Item by item as the processor pushes, from the top down, so that the fault and its address are the first
// push's.
bool check_pushes(Vcpu& vcpu, const StackView& stack, std::uint64_t bottom, unsigned size, unsigned count,
                  Trap& trap) noexcept {
    for (unsigned i = count; i-- > 0;) {
        if (!vcpu.mmu->check(GuestVirtual{linear(stack, bottom + i * size)}, size, Access::Write, stack.mode,
                             trap)) {
            return false;
        }
    }
    return true;
}

}  // namespace

bool read_stack(Vcpu& vcpu, const StackView& stack, std::uint64_t pointer, unsigned size, unsigned count,
                StackItems& items, Trap& trap) noexcept {
    unsigned bytes = size * count;
    pointer &= stack.mask();
    if (!is_inside(stack, pointer, bytes)) return raise(trap, Vector::SS, stack.ext);
    std::uint64_t address = linear(stack, pointer);
    if (!vcpu.mmu->check(GuestVirtual{address}, bytes, Access::Read, stack.mode, trap)) return false;
    for (unsigned i = 0; i < count; ++i) {
        items[i] = 0;
        if (!vcpu.mmu->read(GuestVirtual{address + i * size}, &items[i], size, stack.mode, trap))
            return false;
    }
    return true;
}

bool write_stack(Vcpu& vcpu, const StackView& stack, std::uint64_t top, unsigned size,
                 const StackItems& items, unsigned first, unsigned count, Trap& trap) noexcept {
    unsigned bytes = size * count;
    std::uint64_t bottom = (top - bytes) & stack.mask();
    if (!is_inside(stack, bottom, bytes)) return raise(trap, Vector::SS, stack.ext);
    std::uint64_t address = linear(stack, bottom);
    if (!check_pushes(vcpu, stack, bottom, size, count, trap)) return false;
    for (unsigned i = 0; i < count; ++i) {
        if (!vcpu.mmu->write(GuestVirtual{address + i * size}, &items[first + i], size, stack.mode, trap))
            return false;
    }
    return true;
}

}  // namespace undercroft
