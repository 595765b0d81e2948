// SPDX-License-Identifier: Apache-2.0
#include "judge.hpp"

#include "engine/direct/sensitive.hpp"
#include "x86/prefixes.hpp"

#include <algorithm>
#include <iterator>
#include <span>

namespace undercroft::differential {
namespace {

// These may leave flags alone that they are said to write: when the count is zero.
bool writes_conditionally(const Decoded& i) {
    switch (i.raw.meta.category) {
        case ZYDIS_CATEGORY_SHIFT:
        case ZYDIS_CATEGORY_ROTATE:
        case ZYDIS_CATEGORY_STRINGOP: return true;
        default: return false;
    }
}

std::uint64_t value_of(const Vcpu& vcpu, ZydisRegister reg) {
    std::uint64_t value = vcpu.gpr[static_cast<std::size_t>(ZydisRegisterGetId(reg))];
    return ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_GPR32 ? value & 0xffffffff : value;
}

std::uint64_t address_of(const Decoded& i, const ZydisDecodedOperand& operand, const Vcpu& vcpu) {
    const auto& memory = operand.mem;
    auto address = static_cast<std::uint64_t>(memory.disp.value);
    if (memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP)
        address += vcpu.rip + i.raw.length;
    else if (memory.base != ZYDIS_REGISTER_NONE)
        address += value_of(vcpu, memory.base);
    if (memory.index != ZYDIS_REGISTER_NONE) address += value_of(vcpu, memory.index) * memory.scale;
    if (i.raw.address_width == 32) address &= 0xffffffff;
    if (memory.segment == ZYDIS_REGISTER_FS) address += vcpu.seg(SegmentName::FS).base;
    if (memory.segment == ZYDIS_REGISTER_GS) address += vcpu.seg(SegmentName::GS).base;
    return address;
}

// A repeated instruction that stores into its own bytes: whether it goes on is nobody's promise.
bool overwrites_itself(const Decoded& i, const Vcpu& vcpu) {
    constexpr auto repeated = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
    if (i.raw.meta.category != ZYDIS_CATEGORY_STRINGOP || !i.has(repeated)) return false;
    std::uint64_t target = vcpu.reg(Gpr::Rdi);
    if (i.raw.address_width == 32) target &= 0xffffffff;
    constexpr std::uint64_t reach = 3 * page;
    return std::any_of(places.begin(), places.end(),
                       [&](const Place& place) { return target + reach - place.code < 2 * reach; });
}

// Bytes that Zydis does not know: #UD, unless they begin an instruction that the host has and we do not show.
bool is_surely_undefined(std::span<const std::uint8_t> bytes) {
    std::size_t at = 0;
    bool locked = false;
    for (; at < bytes.size() && is_prefix(bytes[at]); ++at) locked |= bytes[at] == 0xf0;
    // At a page's end the processor may want the rest of them first.
    if (bytes.size() < 15) return false;
    // VMCALL and VMMCALL are the hypervisor's where there is one below the host, whatever stands before them.
    bool hypercall =
        bytes[at] == 0x0f && bytes[at + 1] == 0x01 && (bytes[at + 2] == 0xc1 || bytes[at + 2] == 0xd9);
    if (hypercall) return false;
    // With LOCK, a move from or to CR0 means CR8 on AMD's (AltMovCr8).
    if (locked && bytes[at] == 0x0f && (bytes[at + 1] == 0x20 || bytes[at + 1] == 0x22)) return false;
    constexpr std::uint8_t extensions[] = {0x62, 0x8f, 0xc4, 0xc5};  // EVEX, XOP, VEX
    return std::find(std::begin(extensions), std::end(extensions), bytes[at]) == std::end(extensions);
}

bool is_bit_string(const Decoded& i) {
    switch (i.raw.mnemonic) {
        case ZYDIS_MNEMONIC_BT:
        case ZYDIS_MNEMONIC_BTS:
        case ZYDIS_MNEMONIC_BTR:
        case ZYDIS_MNEMONIC_BTC: return true;
        default: return false;
    }
}

bool copies_frames(const Decoded& i) {
    constexpr std::uint64_t levels = 0x1f;
    return i.raw.mnemonic == ZYDIS_MNEMONIC_ENTER && (i.raw.raw.imm[1].value.u & levels) > 1;
}

// Under MXCSR.MM some instructions read only the half that they want: what is behind a page border, then, is
// not for sure.
bool reads_perhaps(const Decoded& i, const Vcpu& vcpu) {
    bool misaligned_mode = (static_cast<unsigned>(vcpu.xsave[26]) & 2) != 0;
    const auto* operand = i.memory();
    if (!misaligned_mode || operand == nullptr || operand->size != 128) return false;
    return address_of(i, *operand, vcpu) % page > page - 16;
}

// The page of the exit is code of the bare runner there and of the guest's kernel here: a random 32-bit
// address finds it once in some million sequences.
bool touches_exit(const Decoded& i, const Vcpu& vcpu) {
    for (unsigned n = 0; n < i.raw.operand_count; ++n) {
        const auto& operand = i.operand[n];
        if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN) continue;
        std::uint64_t first = address_of(i, operand, vcpu);
        std::uint64_t last = first + std::max(operand.size / 8u, 1u) - 1;
        if (is_exit(first & ~(page - 1)) || is_exit(last & ~(page - 1))) return true;
    }
    return false;
}

// AMD's Zen 5 reads the first operand of CMPS first, Zen 3 the second one; and the elements of masked moves
// wrap at 4 GiB with 32-bit addresses on Zen 3, not on Zen 5. No manual says.
bool chooses_its_fault(const Decoded& i) {
    switch (i.raw.mnemonic) {
        case ZYDIS_MNEMONIC_CMPSB:
        case ZYDIS_MNEMONIC_CMPSW:
        case ZYDIS_MNEMONIC_CMPSQ: return true;
        case ZYDIS_MNEMONIC_CMPSD: return i.raw.meta.category == ZYDIS_CATEGORY_STRINGOP;
        case ZYDIS_MNEMONIC_VMASKMOVPS:
        case ZYDIS_MNEMONIC_VMASKMOVPD:
        case ZYDIS_MNEMONIC_VPMASKMOVD:
        case ZYDIS_MNEMONIC_VPMASKMOVQ: return i.raw.address_width == 32;
        default: return false;
    }
}

}  // namespace

void Judge::begin(Sequence& sequence) {
    sequence_ = &sequence;
    sequence.ignored_count = 0;
    undefined_ = 0;
    undefined_before_ = 0;
    copies_frames_ = reads_code_ = writes_code_ = false;
}

void Judge::follow_directly(const Decoded& i, const Vcpu& vcpu) {
    if (copies_frames(i)) copies_frames_ = true;
    for (unsigned n = 0; n < i.raw.operand_count; ++n) {
        const auto& operand = i.operand[n];
        if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN) continue;
        std::uint64_t first = address_of(i, operand, vcpu);
        // Neither bit strings' addresses nor gathers' are as simple.
        bool anywhere = operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB || is_bit_string(i);
        if (!anywhere && !is_code(first) && !is_code(first + operand.size / 8u)) continue;
        if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0) reads_code_ = true;
        if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) writes_code_ = true;
    }
}

bool Judge::deviates_directly() const {
    if (copies_frames_) return true;
    if (!reads_code_) return false;
    if (writes_code_) return true;
    std::vector<std::uint16_t> starts;
    std::uint16_t at = 0;
    for (unsigned n = 0; n < sequence_->instructions; ++n) {
        starts.push_back(at);
        at = static_cast<std::uint16_t>(at + sequence_->instruction_length[n]);
    }
    auto code = std::as_bytes(std::span{sequence_->code}).first(sequence_->length);
    return !direct::sensitive_instructions({.code = code, .starts = starts}).empty();
}

bool Judge::reads_undefined(const Decoded& i) const {
    if (undefined_ == 0) return false;
    switch (i.raw.mnemonic) {
        case ZYDIS_MNEMONIC_PUSHF:
        case ZYDIS_MNEMONIC_PUSHFQ:
        case ZYDIS_MNEMONIC_LAHF: return true;
        default: break;
    }
    return i.raw.cpu_flags != nullptr && (i.raw.cpu_flags->tested & undefined_) != 0;
}

void Judge::follow_flags(const Decoded& i) {
    undefined_before_ = undefined_ | (chooses_its_fault(i) ? choice_of_fault_undefined : 0);
    if (i.raw.cpu_flags == nullptr) return;
    const auto& flags = *i.raw.cpu_flags;
    // A fault of a repeated comparison shows the flags of the last element or, behind many equal ones, those
    // from before the instruction.
    bool repeated = i.has(ZYDIS_ATTRIB_HAS_REPE) || i.has(ZYDIS_ATTRIB_HAS_REPNE);
    if (repeated && i.raw.meta.category == ZYDIS_CATEGORY_STRINGOP) undefined_before_ |= flags.modified;
    if (!writes_conditionally(i)) undefined_ &= ~(flags.modified | flags.set_0 | flags.set_1);
    undefined_ |= flags.undefined;
}

// Where an instruction stores the addresses of the last x87 instruction and its operand. The bare processor
// forgets them whenever its kernel switches tasks, as XSAVE does not record them unless an exception is
// pending. False: there is no telling what of memory is to be compared.
bool Judge::ignore_pointers(const Decoded& i, Guest& guest) {
    std::uint64_t begin = 0;
    std::uint64_t length = 0;
    switch (i.raw.mnemonic) {
        case ZYDIS_MNEMONIC_FNSTENV:
        case ZYDIS_MNEMONIC_FNSAVE: {
            bool narrow = i.memory()->size == 14 * 8 || i.memory()->size == 94 * 8;
            begin = narrow ? 6 : 12;
            length = narrow ? 8 : 14;
            break;
        }
        case ZYDIS_MNEMONIC_FXSAVE:
        case ZYDIS_MNEMONIC_FXSAVE64: {  // selectors without REX.W; an operand's that is not the last
                                         // instruction's
            std::uint64_t start = address_of(i, *i.memory(), guest.vcpu());
            bool selectors = i.raw.mnemonic == ZYDIS_MNEMONIC_FXSAVE;
            bool no_operand = static_cast<unsigned>(guest.vcpu().xsave[6]) >= 0xc0;
            if ((undefined_ & x87_pointers_undefined) != 0) return ignore(start + 6, 18);
            if (selectors && !ignore(start + 12, 4)) return false;
            if (no_operand) return ignore(start + 16, 8);
            return !selectors || ignore(start + 20, 4);
        }
        case ZYDIS_MNEMONIC_XSAVE:
        case ZYDIS_MNEMONIC_XSAVE64:
        case ZYDIS_MNEMONIC_XRSTOR:
        case ZYDIS_MNEMONIC_XRSTOR64: return allows_xsave(i, guest);
        case ZYDIS_MNEMONIC_FLDCW:  // may make an exception pending that was raised by who knows what
            undefined_ |= x87_pointers_undefined;
            return true;
        default: return true;
    }
    return ignore(address_of(i, *i.memory(), guest.vcpu()) + begin, length);
}

// The host has more components than the guest, and knows the compacted form.
bool Judge::allows_xsave(const Decoded& i, Guest& guest) {
    const Vcpu& vcpu = guest.vcpu();
    std::uint64_t mask = (vcpu.gpr[2] & 0xffffffff) << 32 | (vcpu.gpr[0] & 0xffffffff);
    if ((mask & ~std::uint64_t{7}) != 0) return false;
    std::uint64_t area = address_of(i, *i.memory(), vcpu);
    bool saves = i.raw.mnemonic == ZYDIS_MNEMONIC_XSAVE || i.raw.mnemonic == ZYDIS_MNEMONIC_XSAVE64;
    for (std::uint64_t at = 512; at < 576; ++at) {
        int frame = frame_of(area + at);
        if (frame < 0) continue;
        auto byte = static_cast<unsigned>(guest.frame(static_cast<unsigned>(frame))[(area + at) % page]);
        if (!saves && (byte & ~(at == 512 ? 7u : 0u)) != 0) return false;
    }
    // Which components are in use is the processor's notion; and pointers as with FXSAVE.
    return !saves || (ignore(area + 6, 18) && ignore(area + 512, 1));
}

bool Judge::ignore(std::uint64_t start, std::uint64_t length) {
    for (std::uint64_t n = 0; n < length; ++n) {
        int frame = frame_of(start + n);
        if (frame < 0) continue;
        if (frame < static_cast<int>(code_frames)) return false;
        auto at = static_cast<std::uint32_t>(static_cast<unsigned>(frame) * page + (start + n) % page);
        if (sequence_->ignored_count != 0) {
            Ignored& last = sequence_->ignored[sequence_->ignored_count - 1u];
            if (last.start + last.length == at) {
                ++last.length;
                continue;
            }
        }
        if (sequence_->ignored_count == sequence_->ignored.size()) return false;
        sequence_->ignored[sequence_->ignored_count++] = {at, 1};
    }
    return true;
}

// What is not compared is not to get anywhere else.
bool Judge::reads_ignored(const Decoded& i, Guest& guest) const {
    if (sequence_->ignored_count == 0) return false;
    // ENTER copies what lies around its frame pointer.
    if (i.raw.meta.category == ZYDIS_CATEGORY_STRINGOP || i.raw.mnemonic == ZYDIS_MNEMONIC_ENTER) return true;
    for (unsigned n = 0; n < i.raw.operand_count; ++n) {
        const auto& operand = i.operand[n];
        bool reads = operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
                     (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
        if (reads && is_ignored(address_of(i, operand, guest.vcpu()), operand.size / 8u)) return true;
    }
    return false;
}

bool Judge::is_ignored(std::uint64_t address, std::uint64_t length) const {
    for (std::uint64_t n = 0; n < length; ++n) {
        int frame = frame_of(address + n);
        if (frame < 0) continue;
        std::uint64_t at = static_cast<unsigned>(frame) * page + (address + n) % page;
        for (unsigned k = 0; k < sequence_->ignored_count; ++k) {
            if (at - sequence_->ignored[k].start < sequence_->ignored[k].length) return true;
        }
    }
    return false;
}

bool Judge::allows(Guest& guest) {
    std::array<std::uint8_t, 15> buffer;
    Vcpu& vcpu = guest.vcpu();
    if (is_exit(vcpu.rip & ~(page - 1))) return false;  // behind the exit, where the pages differ
    if (!is_code(vcpu.rip)) return true;                // a fault
    auto bytes = guest.code_at(vcpu.rip, buffer);
    Decoded decoded;
    Decoding decoding = decode_all(bytes, decoded);
    if (decoding == Decoding::Truncated) return bytes.size() < buffer.size();  // a fault of the page behind
    if (decoding == Decoding::Unknown) return is_surely_undefined(bytes);
    if (left_out(decoded) != nullptr || reads_undefined(decoded)) return false;
    int form = forms_.find(decoded);
    if (form >= 0 && counts_ != nullptr) ++counts_[form];
    if (touches_exit(decoded, vcpu) || reads_perhaps(decoded, vcpu) || overwrites_itself(decoded, vcpu) ||
        reads_ignored(decoded, guest))
        return false;
    follow_flags(decoded);
    follow_directly(decoded, vcpu);
    return ignore_pointers(decoded, guest);
}

}  // namespace undercroft::differential
