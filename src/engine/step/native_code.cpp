// SPDX-License-Identifier: Apache-2.0
#include "engine/step/native_code.hpp"

#include "base/check.hpp"
#include "cpu/vcpu.hpp"
#include "engine/step/emit.hpp"
#include "engine/step/reencode.hpp"
#include "engine/step/xsave_area.hpp"

#include <Zydis/Zydis.h>
#include <sys/mman.h>

#include <cstring>

namespace undercroft {
namespace {

constexpr std::uint16_t callee_saved = 1u << 3 | 1u << 5 | 0xf000;  // rbx, rbp, r12..r15

constexpr std::size_t gpr_offset(unsigned number) { return offsetof(Vcpu, gpr) + 8u * number; }
constexpr std::size_t xmm_offset(unsigned number) {
    return offsetof(Vcpu, xsave) + XsaveArea::xmm + 16u * number;
}
constexpr std::size_t ymm_high_offset(unsigned number) {
    return offsetof(Vcpu, xsave) + XsaveArea::ymm_high + 16u * number;
}
constexpr std::size_t mxcsr_offset = offsetof(Vcpu, xsave) + XsaveArea::mxcsr;

template <class Action>
void for_each(std::uint16_t mask, Action action) {
    for (unsigned number = 0; number < 16; number++) {
        if ((mask >> number & 1) != 0) action(static_cast<HostRegister>(number));
    }
}

struct StubWriter {
    CodeBuffer& out;
    const Footprint& footprint;
    const Assignment& assignment;
    bool vex;

    HostRegister host(HostRegister guest) const { return guest == 4 ? assignment.stack_pointer : guest; }

    void entry() {
        HostRegister frame = assignment.frame;
        for_each(footprint.general & callee_saved, [&](HostRegister reg) { out.push(reg); });
        if (frame != 7) out.move(frame, 7);
        if (assignment.memory != 6) out.move(assignment.memory, 6);
        if ((footprint.needs & Needs::Vectors) != 0) out.load_mxcsr(frame, mxcsr_offset);
        for_each(footprint.vector, [&](unsigned reg) {
            if (vex) {
                out.load_low(reg, frame, xmm_offset(reg));
                out.load_high(reg, frame, ymm_high_offset(reg));
            } else {
                out.load_xmm(reg, frame, xmm_offset(reg));
            }
        });
        if (footprint.flags_read) out.load_flags(frame, offsetof(Vcpu, arithmetic));
        for_each(footprint.general, [&](HostRegister reg) { out.load(host(reg), frame, gpr_offset(reg)); });
    }

    void leave() {
        HostRegister frame = assignment.frame;
        for_each(footprint.general_written,
                 [&](HostRegister reg) { out.store(frame, gpr_offset(reg), host(reg)); });
        if (footprint.flags_written) out.store_flags(frame, offsetof(Vcpu, arithmetic));
        for_each(footprint.vector_written, [&](unsigned reg) {
            if (vex) {
                out.store_low(frame, xmm_offset(reg), reg);
                out.store_high(frame, ymm_high_offset(reg), reg);
            } else {
                out.store_xmm(frame, xmm_offset(reg), reg);
            }
        });
        if ((footprint.needs & Needs::Vectors) != 0) out.store_mxcsr(frame, mxcsr_offset);
        if (vex && (footprint.needs & Needs::Avx) != 0) out.vzeroupper();
        for (HostRegister reg = 16; reg-- > 0;) {
            if ((footprint.general & callee_saved & 1u << reg) != 0) out.pop(reg);
        }
        out.ret();
    }
};

// SSE instructions want their 16-byte operand aligned, VEX ones only where the name says so.
std::uint8_t alignment_of(const ZydisDecodedInstruction& source, const Instruction& instruction) {
    switch (source.mnemonic) {
        case ZYDIS_MNEMONIC_MOVUPS:
        case ZYDIS_MNEMONIC_MOVUPD:
        case ZYDIS_MNEMONIC_MOVDQU:
        case ZYDIS_MNEMONIC_LDDQU:
        case ZYDIS_MNEMONIC_PCMPESTRI:
        case ZYDIS_MNEMONIC_PCMPESTRM:
        case ZYDIS_MNEMONIC_PCMPISTRI:
        case ZYDIS_MNEMONIC_PCMPISTRM: return 1;
        case ZYDIS_MNEMONIC_CMPXCHG16B: return 16;
        case ZYDIS_MNEMONIC_VMOVAPS:
        case ZYDIS_MNEMONIC_VMOVAPD:
        case ZYDIS_MNEMONIC_VMOVDQA:
        case ZYDIS_MNEMONIC_VMOVNTDQ:
        case ZYDIS_MNEMONIC_VMOVNTDQA:
        case ZYDIS_MNEMONIC_VMOVNTPS:
        case ZYDIS_MNEMONIC_VMOVNTPD: return static_cast<std::uint8_t>(instruction.memory.size);
        default: break;
    }
    // AMD's SHA instructions take any address.
    bool sha = source.meta.isa_ext == ZYDIS_ISA_EXT_SHA;
    if (sha && __builtin_cpu_is("amd")) return 1;
    bool sse = (instruction.needs & Needs::Sse) != 0;
    return sse && instruction.memory.size == 16 ? std::uint8_t{16} : std::uint8_t{1};
}

bool wants_alignment_by_name(ZydisMnemonic mnemonic) {
    switch (mnemonic) {
        case ZYDIS_MNEMONIC_CMPXCHG16B:
        case ZYDIS_MNEMONIC_MOVAPS:
        case ZYDIS_MNEMONIC_MOVAPD:
        case ZYDIS_MNEMONIC_MOVDQA:
        case ZYDIS_MNEMONIC_MOVNTDQ:
        case ZYDIS_MNEMONIC_MOVNTDQA:
        case ZYDIS_MNEMONIC_MOVNTPS:
        case ZYDIS_MNEMONIC_MOVNTPD:
        case ZYDIS_MNEMONIC_VMOVAPS:
        case ZYDIS_MNEMONIC_VMOVAPD:
        case ZYDIS_MNEMONIC_VMOVDQA:
        case ZYDIS_MNEMONIC_VMOVNTDQ:
        case ZYDIS_MNEMONIC_VMOVNTDQA:
        case ZYDIS_MNEMONIC_VMOVNTPS:
        case ZYDIS_MNEMONIC_VMOVNTPD: return true;
        default: return false;
    }
}

}  // namespace

NativeCode::NativeCode() : memory_{::memfd_create("undercroft-step", MFD_CLOEXEC)} {
    CHECK(static_cast<bool>(memory_), "memfd_create");
    CHECK(::ftruncate(memory_.get(), region_size) == 0, "ftruncate");
    auto map = [&](int protection) {
        void* at = ::mmap(nullptr, region_size, protection, MAP_SHARED, memory_.get(), 0);
        CHECK(at != MAP_FAILED, "mmap of the stub region");
        return static_cast<std::byte*>(at);
    };
    writable_ = map(PROT_READ | PROT_WRITE);
    executable_ = map(PROT_READ | PROT_EXEC);
}

NativeCode::~NativeCode() {
    ::munmap(writable_, region_size);
    ::munmap(executable_, region_size);
}

bool NativeCode::prepare(const ZydisDecodedInstruction& source, const ZydisDecodedOperand* operands,
                         Instruction& instruction) {
    Footprint footprint = footprint_of(source, operands);
    if (!footprint.supported) return false;
    Assignment assignment = assign(footprint);
    bool possible = assignment.frame != Assignment::none && assignment.memory != Assignment::none;
    if (!possible) return false;
    instruction.needs = footprint.needs;
    instruction.memory.alignment = alignment_of(source, instruction);
    instruction.memory.alignment_by_mode = !wants_alignment_by_name(source.mnemonic);

    CodeBuffer out;
    StubWriter writer{out, footprint, assignment, instruction.vex};
    writer.entry();
    if (!reencode(out, source, operands, instruction, assignment)) return false;
    writer.leave();
    instruction.stub = place(out.code());
    return true;
}

NativeStub NativeCode::place(std::span<const std::uint8_t> code) {
    std::string key{reinterpret_cast<const char*>(code.data()), code.size()};
    auto found = known_.find(key);
    if (found == known_.end()) {
        if (used_ + code.size() > region_size) {
            used_ = 0;
            known_.clear();
            generation_++;
        }
        std::memcpy(writable_ + used_, code.data(), code.size());
        found = known_.emplace(std::move(key), used_).first;
        used_ = (used_ + code.size() + 15) & ~std::size_t{15};
    }
    return reinterpret_cast<NativeStub>(executable_ + found->second);
}

}  // namespace undercroft
