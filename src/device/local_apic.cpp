// SPDX-License-Identifier: Apache-2.0
// The local APIC's registers and modes.
#include "local_apic.hpp"

#include "x86/registers.hpp"

#include <utility>

namespace undercroft {
namespace {

constexpr std::uint32_t version = (LVT::count - 1) << 16 | 0x14;  // an integrated APIC with six LVT entries

// What a guest may set in an LVT entry; an x2APIC refuses the other bits, but for those that are read only.
constexpr std::array<std::uint32_t, LVT::count> lvt_writable{
    0x700ff,  // timer
    0x107ff,  // thermal
    0x107ff,  // performance counter
    0x1a7ff,  // LINT0
    0x1a7ff,  // LINT1
    0x100ff,  // error
};

constexpr std::uint32_t first_x2apic_msr = static_cast<std::uint32_t>(Msr::X2APIC_FIRST);
constexpr std::uint32_t last_x2apic_msr = static_cast<std::uint32_t>(Msr::X2APIC_LAST);

constexpr bool in_bank(std::uint32_t offset, ApicRegister bank) {
    return offset >= static_cast<std::uint32_t>(bank) && offset < static_cast<std::uint32_t>(bank) + 0x80;
}

constexpr bool is_lvt(std::uint32_t offset) {
    return offset >= static_cast<std::uint32_t>(ApicRegister::LVT_Timer) &&
           offset <= static_cast<std::uint32_t>(ApicRegister::LVT_Error);
}

// Bits that an x2APIC register accepts without #GP (section 11.12.1.2).
std::uint64_t x2apic_acceptable(std::uint32_t offset) {
    if (is_lvt(offset)) {
        return lvt_writable[(offset - static_cast<std::uint32_t>(ApicRegister::LVT_Timer)) / 16] |
               LVT::DeliveryStatus | LVT::RemoteIRR;
    }
    switch (ApicRegister{offset}) {
        case ApicRegister::TPR:
        case ApicRegister::SelfIPI: return 0xff;
        case ApicRegister::SVR: return SVR::Implemented;
        case ApicRegister::ICR: return ICR::Implemented | ICR::DeliveryStatus;
        case ApicRegister::InitialCount: return 0xffffffff;
        case ApicRegister::DivideConfiguration: return 0x0b;
        default: return 0;  // EOI and ESR take zero only
    }
}

}  // namespace

LocalApic::LocalApic(std::uint32_t id, ProcessorRole role, const Clock& clock, Outputs outputs)
    : id_{id}, role_{role}, clock_{clock}, outputs_{std::move(outputs)} {
    reset();
}

void LocalApic::reset() {
    state_.base = ApicBase::DefaultAddress | ApicBase::EN;
    if (role_ == ProcessorRole::Bootstrap) state_.base |= ApicBase::BSP;
    init();
}

void LocalApic::init() {
    auto before = next_deadline_ticks();
    State fresh;
    fresh.base = state_.base;
    state_ = fresh;
    notice_timer(before);
}

std::uint64_t LocalApic::read(std::uint64_t offset, unsigned) {
    if (!is_enabled() || is_x2apic() || offset >= length) return ~std::uint64_t{0};
    // Registers are 32 bits wide on 16-byte boundaries; what else one reads is undefined.
    auto within = static_cast<unsigned>(offset % 16);
    if (within >= 4) return 0;
    auto value = read_register(static_cast<std::uint32_t>(offset - within));
    if (!value) error(ESR::IllegalRegisterAddress);
    return std::uint64_t{value.value_or(0)} >> (8 * within);
}

void LocalApic::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
    if (!is_enabled() || is_x2apic() || offset >= length || offset % 16 != 0 || size < 4) return;
    auto place = static_cast<std::uint32_t>(offset);
    bool done = write_register(place, static_cast<std::uint32_t>(value));
    // Registers that cannot be written ignore it; where there is none, it is an error.
    if (!done && !read_register(place)) error(ESR::IllegalRegisterAddress);
}

std::optional<std::uint64_t> LocalApic::read_msr(std::uint32_t index) {
    if (index == static_cast<std::uint32_t>(Msr::IA32_APIC_BASE)) return state_.base;
    if (index == static_cast<std::uint32_t>(Msr::IA32_TSC_DEADLINE)) {
        run_timer();  // a deadline that has passed reads as zero
        return state_.tsc_deadline;
    }
    if (index < first_x2apic_msr || index > last_x2apic_msr || !is_enabled() || !is_x2apic()) return {};
    std::uint32_t offset = (index - first_x2apic_msr) * 16;
    switch (ApicRegister{offset}) {
        case ApicRegister::ICR: return state_.icr;
        case ApicRegister::EOI:
        case ApicRegister::SelfIPI:  // write only
        case ApicRegister::APR:
        case ApicRegister::DFR:
        case ApicRegister::ICR_High: return {};  // not in x2APIC mode
        default: break;
    }
    auto value = read_register(offset);
    if (!value) return {};
    return *value;
}

bool LocalApic::write_msr(std::uint32_t index, std::uint64_t value) {
    if (index == static_cast<std::uint32_t>(Msr::IA32_APIC_BASE)) return write_base(value);
    if (index == static_cast<std::uint32_t>(Msr::IA32_TSC_DEADLINE)) {
        write_tsc_deadline(value);
        return true;
    }
    if (index < first_x2apic_msr || index > last_x2apic_msr || !is_enabled() || !is_x2apic()) return false;
    return write_x2apic((index - first_x2apic_msr) * 16, value);
}

bool LocalApic::write_x2apic(std::uint32_t offset, std::uint64_t value) {
    if ((value & ~x2apic_acceptable(offset)) != 0) return false;
    switch (ApicRegister{offset}) {
        case ApicRegister::ICR: write_icr(value); return true;
        case ApicRegister::SelfIPI: accept(static_cast<std::uint8_t>(value), TriggerMode::Edge); return true;
        case ApicRegister::LDR:
        case ApicRegister::DFR:
        case ApicRegister::ICR_High: return false;
        default: return write_register(offset, static_cast<std::uint32_t>(value));
    }
}

// Figure 11-27: off -> xAPIC -> x2APIC -> off, and xAPIC -> off.
bool LocalApic::write_base(std::uint64_t value) {
    if ((value & ApicBase::Reserved) != 0) return false;
    bool enable = (value & ApicBase::EN) != 0;
    bool extended = (value & ApicBase::EXTD) != 0;
    if (extended && !enable) return false;
    if (extended && !is_enabled()) return false;
    if (!extended && enable && is_x2apic()) return false;
    bool turned_off = is_enabled() && !enable;
    if (extended && !is_x2apic()) state_.icr &= ~ICR::Destination::mask<std::uint64_t>();
    state_.base = value;
    if (turned_off) init();
    return true;
}

std::optional<std::uint32_t> LocalApic::read_register(std::uint32_t offset) {
    if (in_bank(offset, ApicRegister::ISR)) return state_.isr.word(offset / 16 % 8);
    if (in_bank(offset, ApicRegister::TMR)) return state_.tmr.word(offset / 16 % 8);
    if (in_bank(offset, ApicRegister::IRR)) return state_.irr.word(offset / 16 % 8);
    if (is_lvt(offset)) return lvt(ApicRegister{offset});
    switch (ApicRegister{offset}) {
        case ApicRegister::ID: return is_x2apic() ? id_ : id_ << 24;
        case ApicRegister::Version: return version;
        case ApicRegister::TPR: return state_.tpr;
        case ApicRegister::APR:
        case ApicRegister::EOI: return 0;
        case ApicRegister::PPR: return processor_priority();
        case ApicRegister::LDR: return logical_id();
        case ApicRegister::DFR: return state_.dfr;
        case ApicRegister::SVR: return state_.svr;
        case ApicRegister::ESR: return state_.esr;
        case ApicRegister::ICR: return static_cast<std::uint32_t>(state_.icr);
        case ApicRegister::ICR_High: return static_cast<std::uint32_t>(state_.icr >> 32);
        case ApicRegister::InitialCount: return state_.initial_count;
        case ApicRegister::CurrentCount: return current_count();
        case ApicRegister::DivideConfiguration: return state_.divide_configuration;
        default: return {};
    }
}

bool LocalApic::write_register(std::uint32_t offset, std::uint32_t value) {
    if (is_lvt(offset)) {
        write_lvt(lvt_index(ApicRegister{offset}), value);
        return true;
    }
    switch (ApicRegister{offset}) {
        case ApicRegister::TPR: write_tpr(value); return true;
        case ApicRegister::EOI: end_of_interrupt(); return true;
        case ApicRegister::LDR: state_.ldr = value & 0xff000000; return true;
        case ApicRegister::DFR: state_.dfr = value | 0x0fffffff; return true;
        case ApicRegister::SVR: write_spurious_vector(value); return true;
        case ApicRegister::ESR: state_.esr = std::exchange(state_.errors, 0); return true;
        case ApicRegister::ICR: write_icr(Bits<31, 0>::set(state_.icr, std::uint64_t{value})); return true;
        case ApicRegister::ICR_High:
            state_.icr = ICR::XapicDestination::set(state_.icr, std::uint64_t{value >> 24});
            return true;
        case ApicRegister::InitialCount: write_initial_count(value); return true;
        case ApicRegister::DivideConfiguration: write_divide_configuration(value); return true;
        default: return false;
    }
}

void LocalApic::write_tpr(std::uint32_t value) {
    state_.tpr = value & 0xff;
    notice_pending();
}

void LocalApic::set_cr8(std::uint8_t value) { write_tpr((value & 0xfu) << 4); }

void LocalApic::write_spurious_vector(std::uint32_t value) {
    auto before = next_deadline_ticks();
    run_timer();
    state_.svr = value & SVR::Implemented;
    if (!is_software_enabled()) {
        for (std::uint32_t& entry : state_.lvt) entry |= LVT::Mask;
    }
    notice_timer(before);
}

void LocalApic::write_lvt(unsigned entry, std::uint32_t value) {
    value &= lvt_writable[entry];
    if (!is_software_enabled()) value |= LVT::Mask;
    if (entry == lvt_index(ApicRegister::LVT_Timer)) {
        write_timer_lvt(value);
    } else {
        state_.lvt[entry] = value;
    }
}

}  // namespace undercroft
