// SPDX-License-Identifier: Apache-2.0
// Local APIC and I/O APIC under any accesses, interrupts and time: what SDM vol. 3A chapter 11 promises about
// priorities, registers and the timer holds throughout.
//
// Input: a sequence of operations, each an opcode byte and its operands.
#include "device/interrupt_routing.hpp"
#include "device/io_apic.hpp"
#include "device/local_apic.hpp"
#include "input.hpp"

#include <array>

using namespace undercroft;

namespace {

class Controllers {
public:
    void run(fuzz::Input& input) {
        while (!input.empty()) {
            step(input);
            check();
        }
    }

private:
    void step(fuzz::Input& input) {
        unsigned size = 1u << (input.take<std::uint8_t>() & 3);
        switch (input.below(10)) {
            case 0: apic_.read(address(input), size); break;
            case 1: apic_.write(address(input), size, input.take<std::uint64_t>()); break;
            case 2: apic_.write(register_address(input), 4, input.take<std::uint32_t>()); break;
            case 3: read_msr(0x800u + input.take<std::uint8_t>()); break;
            case 4: apic_.write_msr(0x800u + input.take<std::uint8_t>(), input.take<std::uint64_t>()); break;
            case 5: other_msr(input); break;
            case 6: io_apic_access(input, size); break;
            case 7: io_apic_.set_level(input.take<std::uint8_t>() % 32, input.below(2) != 0); break;
            case 8: pass_time(input); break;
            default: acknowledge(); break;
        }
    }

    static std::uint64_t address(fuzz::Input& input) { return input.take<std::uint16_t>() % 0x1010u; }
    static std::uint64_t register_address(fuzz::Input& input) {
        return input.take<std::uint8_t>() % 0x41u * 16;
    }

    void read_msr(std::uint32_t index) {
        auto value = apic_.read_msr(index);
        CHECK(!value || apic_.is_x2apic(), "x2APIC registers without x2APIC mode");
    }

    void other_msr(fuzz::Input& input) {
        constexpr std::array<std::uint32_t, 2> others{0x1b, 0x6e0};
        std::uint32_t index = others[input.below(2)];
        auto value = input.take<std::uint64_t>();
        // Often a sensible mode.
        if (index == 0x1b && (value & 1) != 0) value = 0xfee00000 | (value & 0xd00);
        bool taken = apic_.write_msr(index, value);
        if (taken && index == 0x1b) CHECK(apic_.read_msr(index) == value);
    }

    void io_apic_access(fuzz::Input& input, unsigned size) {
        std::uint64_t offset = input.take<std::uint8_t>() % 0x48u;
        if (input.below(2) != 0)
            io_apic_.write(offset, size, input.take<std::uint64_t>());
        else
            io_apic_.read(offset, size);
    }

    void pass_time(fuzz::Input& input) {
        clock_.advance(std::uint64_t{input.take<std::uint16_t>()} << input.below(24));
        apic_.run_timer();
        if (auto deadline = apic_.next_deadline_ticks())
            CHECK(*deadline > clock_.ticks(), "a deadline in the past after run_timer()");
    }

    void acknowledge() {
        bool deliverable = apic_.has_deliverable();
        unsigned priority = apic_.processor_priority();
        auto vector = apic_.acknowledge();
        CHECK(vector.has_value() == deliverable);
        if (!vector) return;
        CHECK(*vector >= 16 && *vector >> 4u > priority >> 4u);
        CHECK(apic_.state().isr.contains(*vector) && !apic_.state().irr.contains(*vector));
        CHECK(apic_.processor_priority() >> 4u >= *vector >> 4u);
    }

    void check() const {
        const LocalApic::State& state = apic_.state();
        CHECK(state.irr.word(0) << 16 == 0 && state.isr.word(0) << 16 == 0, "illegal vectors");
        if (!apic_.is_software_enabled())
            for (std::uint32_t entry : state.lvt) CHECK((entry & LVT::Mask) != 0);
        CHECK(state.tpr <= 0xff && (state.svr & ~SVR::Implemented) == 0);
        for (std::uint64_t entry : io_apic_.state().entries)
            CHECK((entry & ~(IoApic::Entry::writable | 1u << 14)) == 0);
    }

    template <class Message>
    void carry(const Message& message) {
        std::array<LocalApic*, 1> apics{&apic_};
        route(apics, message,
              [&](LocalApic& target) { target.accept(accepted_vector(message), TriggerMode::Level); });
    }
    static std::uint8_t accepted_vector(const InterruptMessage& message) { return message.vector; }
    static std::uint8_t accepted_vector(const Ipi& ipi) { return ipi.message.vector; }

    FakeClock clock_{2'445'406'000};
    LocalApic apic_{0,
                    ProcessorRole::Bootstrap,
                    clock_,
                    {.send = [this](const Ipi& ipi) { carry(ipi); },
                     .end_of_interrupt = [this](std::uint8_t vector) { io_apic_.end_of_interrupt(vector); }}};
    IoApic io_apic_{[this](const InterruptMessage& message) { carry(message); }};
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input{data, size};
    Controllers{}.run(input);
    return 0;
}
