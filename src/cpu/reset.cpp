// SPDX-License-Identifier: Apache-2.0
// The processor's state after power-on or INIT, and after a start-up IPI.
//
// Source: Intel SDM vol. 3A table 9-1 and section 8.4. Left out: what INIT keeps and power-on does not
// (x87/SSE registers, most MSRs); both begin afresh, but the time-stamp counter runs on.
#include "cpu/cpuid.hpp"
#include "cpu/vcpu.hpp"

namespace undercroft {
namespace {

constexpr Segment real_mode_segment(std::uint16_t selector, std::uint64_t base, std::uint16_t attributes) {
    return {.selector = selector, .attributes = attributes, .limit = 0xffff, .base = base};
}

void reset_system_registers(Vcpu& vcpu) {
    vcpu.gdtr = {.base = 0, .limit = 0xffff};
    vcpu.idtr = {.base = 0, .limit = 0xffff};
    vcpu.ldtr = real_mode_segment(0, 0, 0x82);
    vcpu.tr = real_mode_segment(0, 0, 0x8b);
    vcpu.paging.cr0 = CR0::CD | CR0::NW | CR0::ET;
    vcpu.paging.cr3 = 0;
    vcpu.paging.cr4 = 0;
    vcpu.paging.efer = 0;
    vcpu.paging.software_tlb = false;
    vcpu.paging.asid = 0;
    vcpu.miss_handler = MissHandler{};
    vcpu.cr2 = 0;
    vcpu.xcr0 = XCR0::X87;
    vcpu.debug = DebugRegisters{};
}

void reset_model_specific(Vcpu& vcpu) {
    vcpu.kernel_gs_base = 0;
    vcpu.star = vcpu.lstar = vcpu.cstar = vcpu.fmask = 0;
    vcpu.sysenter_cs = vcpu.sysenter_esp = vcpu.sysenter_eip = 0;
    vcpu.pat = 0x0007040600070406;
    vcpu.tsc_aux = 0;
    vcpu.misc_enable = 0x1801;  // fast strings; no branch trace store, no precise event sampling
    vcpu.spec_ctrl = 0;
}

// The standard format after INIT with an all-zero header: FCW and MXCSR are the only non-zero fields.
void reset_vector_state(Vcpu& vcpu) {
    vcpu.xsave.fill(std::byte{0});
    constexpr std::uint16_t fcw = 0x037f;
    constexpr std::uint32_t mxcsr = 0x1f80;
    __builtin_memcpy(vcpu.xsave.data(), &fcw, sizeof fcw);
    __builtin_memcpy(vcpu.xsave.data() + 24, &mxcsr, sizeof mxcsr);
}

}  // namespace

void reset(Vcpu& vcpu) {
    vcpu.gpr.fill(0);
    if (vcpu.cpuid != nullptr)
        vcpu.reg(Gpr::Rdx) = vcpu.cpuid->query(vcpu, 1, 0).eax;  // the processor's signature
    vcpu.rip = 0xfff0;
    vcpu.set_rflags(RFLAGS::Fixed);
    vcpu.interrupt_shadow = 0;
    vcpu.pending_interrupt = 0;
    vcpu.pending_nmi = 0;
    vcpu.nmi_blocked = 0;
    vcpu.activity = Activity::Running;
    vcpu.cpl = 0;
    vcpu.segment.fill(real_mode_segment(0, 0, 0x93));
    vcpu.seg(SegmentName::CS) = real_mode_segment(0xf000, 0xffff0000, 0x9b);
    reset_system_registers(vcpu);
    reset_model_specific(vcpu);
    reset_vector_state(vcpu);
    if (vcpu.mmu != nullptr) vcpu.mmu->flush_all();
}

namespace {
// In Vcpu::start_requests, above the vector.
constexpr std::uint32_t init_request = 1u << 8;
constexpr std::uint32_t start_up_request = 1u << 9;
}  // namespace

void request_init(Vcpu& vcpu) noexcept {
    vcpu.start_requests.store(init_request, std::memory_order_release);
    vcpu.attention.fetch_and(~Attention::Nmi, std::memory_order_relaxed);
    vcpu.request(Attention::Start);
}

void request_nmi(Vcpu& vcpu) noexcept {
    std::uint32_t waiting = vcpu.start_requests.load(std::memory_order_relaxed);
    bool ignored = (waiting & (init_request | start_up_request)) == init_request;
    if (!ignored) vcpu.request(Attention::Nmi);
}

void request_start_up(Vcpu& vcpu, std::uint8_t vector) noexcept {
    std::uint32_t before = vcpu.start_requests.load(std::memory_order_relaxed);
    while ((before & start_up_request) == 0 &&
           !vcpu.start_requests.compare_exchange_weak(before, before | start_up_request | vector)) {
    }
    vcpu.request(Attention::Start);
}

void take_start_requests(Vcpu& vcpu) noexcept {
    std::uint32_t requests = vcpu.start_requests.exchange(0, std::memory_order_acquire);
    if ((requests & init_request) != 0) {
        reset(vcpu);
        vcpu.activity = Activity::WaitForSipi;
    }
    if ((requests & start_up_request) != 0) start_up(vcpu, static_cast<std::uint8_t>(requests));
}

void start_up(Vcpu& vcpu, std::uint8_t vector) noexcept {
    if (vcpu.activity != Activity::WaitForSipi) return;
    vcpu.seg(SegmentName::CS) =
        real_mode_segment(static_cast<std::uint16_t>(vector << 8), std::uint64_t{vector} << 12, 0x9b);
    vcpu.rip = 0;
    vcpu.activity = Activity::Running;
}

}  // namespace undercroft
