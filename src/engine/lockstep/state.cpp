// SPDX-License-Identifier: Apache-2.0
#include "engine/lockstep/state.hpp"

#include "engine/step/xsave_area.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <span>

namespace undercroft::lockstep {
namespace {

struct Field {
    std::string name;
    std::size_t offset;
    std::size_t size;
};

void add_segment(std::vector<Field>& fields, const char* name, std::size_t start) {
    std::string prefix = name;
    fields.push_back({prefix, start + offsetof(Segment, selector), sizeof(Segment::selector)});
    fields.push_back(
        {prefix + ".attributes", start + offsetof(Segment, attributes), sizeof(Segment::attributes)});
    fields.push_back({prefix + ".limit", start + offsetof(Segment, limit), sizeof(Segment::limit)});
    fields.push_back({prefix + ".base", start + offsetof(Segment, base), sizeof(Segment::base)});
}

void add_table_register(std::vector<Field>& fields, const char* name, std::size_t start) {
    std::string prefix = name;
    fields.push_back({prefix + ".base", start + offsetof(TableRegister, base), sizeof(TableRegister::base)});
    fields.push_back(
        {prefix + ".limit", start + offsetof(TableRegister, limit), sizeof(TableRegister::limit)});
}

std::vector<Field> make_fields() {
    constexpr std::size_t paging = offsetof(Vcpu, paging);
    std::vector<Field> fields;
    const char* const registers[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                     "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    for (std::size_t n = 0; n < 16; n++) fields.push_back({registers[n], offsetof(Vcpu, gpr) + 8 * n, 8});
    fields.insert(fields.end(), {{"rip", offsetof(Vcpu, rip), 8},
                                 {"rflags.IF", offsetof(Vcpu, interrupt_flag), 1},
                                 {"interrupt shadow", offsetof(Vcpu, interrupt_shadow), 1},
                                 {"pending interrupt", offsetof(Vcpu, pending_interrupt), 1},
                                 {"pending NMI", offsetof(Vcpu, pending_nmi), 1},
                                 {"NMI blocked", offsetof(Vcpu, nmi_blocked), 1},
                                 {"activity", offsetof(Vcpu, activity), sizeof(Activity)},
                                 {"cpl", offsetof(Vcpu, cpl), 1}});
    const char* const segments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    for (std::size_t n = 0; n < 6; n++)
        add_segment(fields, segments[n], offsetof(Vcpu, segment) + n * sizeof(Segment));
    add_segment(fields, "ldtr", offsetof(Vcpu, ldtr));
    add_segment(fields, "tr", offsetof(Vcpu, tr));
    add_table_register(fields, "gdtr", offsetof(Vcpu, gdtr));
    add_table_register(fields, "idtr", offsetof(Vcpu, idtr));
    fields.insert(fields.end(),
                  {{"cr0", paging + offsetof(PagingState, cr0), 8},
                   {"cr2", offsetof(Vcpu, cr2), 8},
                   {"cr3", paging + offsetof(PagingState, cr3), 8},
                   {"cr4", paging + offsetof(PagingState, cr4), 8},
                   {"efer", paging + offsetof(PagingState, efer), 8},
                   {"software TLB", paging + offsetof(PagingState, software_tlb), 1},
                   {"asid", paging + offsetof(PagingState, asid), 1},
                   {"miss handler", offsetof(Vcpu, miss_handler), sizeof(std::uint64_t)},
                   {"miss handler running", offsetof(Vcpu, miss_handler) + offsetof(MissHandler, running), 1},
                   {"xcr0", offsetof(Vcpu, xcr0), 8},
                   {"kernel_gs_base", offsetof(Vcpu, kernel_gs_base), 8},
                   {"star", offsetof(Vcpu, star), 8},
                   {"lstar", offsetof(Vcpu, lstar), 8},
                   {"cstar", offsetof(Vcpu, cstar), 8},
                   {"fmask", offsetof(Vcpu, fmask), 8},
                   {"sysenter_cs", offsetof(Vcpu, sysenter_cs), 8},
                   {"sysenter_esp", offsetof(Vcpu, sysenter_esp), 8},
                   {"sysenter_eip", offsetof(Vcpu, sysenter_eip), 8},
                   {"pat", offsetof(Vcpu, pat), 8},
                   {"tsc_offset", offsetof(Vcpu, tsc_offset), 8},
                   {"tsc_aux", offsetof(Vcpu, tsc_aux), 8},
                   {"misc_enable", offsetof(Vcpu, misc_enable), 8},
                   {"spec_ctrl", offsetof(Vcpu, spec_ctrl), 8}});
    constexpr std::size_t debug = offsetof(Vcpu, debug);
    const char* const addresses[] = {"dr0", "dr1", "dr2", "dr3"};
    for (std::size_t n = 0; n < 4; n++)
        fields.push_back({addresses[n], debug + offsetof(DebugRegisters, address) + 8 * n, 8});
    fields.push_back({"dr6", debug + offsetof(DebugRegisters, dr6), 8});
    fields.push_back({"dr7", debug + offsetof(DebugRegisters, dr7), 8});
    return fields;
}

// All but arithmetic and system flags and the vector state.
const std::vector<Field>& all_fields() {
    static const std::vector<Field> fields = make_fields();
    return fields;
}

// Fields that differ rarely, from CPL to the debug registers, in one piece.
constexpr std::size_t rest_begin = offsetof(Vcpu, cpl);
constexpr std::size_t rest_end = offsetof(Vcpu, mmu);

const std::byte* bytes_of(const Vcpu& vcpu) { return reinterpret_cast<const std::byte*>(&vcpu); }
std::byte* bytes_of(Vcpu& vcpu) { return reinterpret_cast<std::byte*>(&vcpu); }

bool same(const Vcpu& a, const Vcpu& b, std::size_t begin, std::size_t end) {
    return std::memcmp(bytes_of(a) + begin, bytes_of(b) + begin, end - begin) == 0;
}

std::uint64_t value_of(const Vcpu& vcpu, const Field& field) {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes_of(vcpu) + field.offset, field.size);
    return value;
}

// RFLAGS without what is not compared.
std::uint64_t compared_flags(const Vcpu& vcpu, std::uint32_t live_flags) {
    return (vcpu.arithmetic_flags() & live_flags) | (vcpu.system_flags & ~RFLAGS::RF);
}

using VectorImage = std::array<std::byte, XsaveArea::size>;

// With every component present, and without what is not compared.
VectorImage canonical_vectors(const Vcpu& vcpu) {
    VectorImage image;
    std::memcpy(image.data(), vcpu.xsave.data(), image.size());
    write_initial(image.data(), ~components_present(vcpu));
    std::memset(image.data() + XsaveArea::fop, 0, XsaveArea::mxcsr - XsaveArea::fop);  // FOP, FIP, FDP
    std::memset(image.data() + XsaveArea::mxcsr_mask, 0, 4);
    for (std::size_t n = 0; n < 8; n++) std::memset(image.data() + XsaveArea::st + 16 * n + 10, 0, 6);
    std::memset(image.data() + XsaveArea::xmm + 256, 0, XsaveArea::ymm_high - XsaveArea::xmm - 256);
    return image;
}

std::string hexadecimal(std::span<const std::byte> bytes) {
    std::string text;
    for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte)
        text += fmt::format("{:02x}", static_cast<unsigned>(*byte));
    return text;
}

void add_vector_differences(const Vcpu& leader, const Vcpu& follower, std::vector<FieldDifference>& found) {
    VectorImage ours = canonical_vectors(leader);
    VectorImage theirs = canonical_vectors(follower);
    auto look = [&](std::string name, std::size_t offset, std::size_t size) {
        std::span<const std::byte> a{ours.data() + offset, size};
        std::span<const std::byte> b{theirs.data() + offset, size};
        if (std::memcmp(a.data(), b.data(), size) != 0)
            found.push_back({std::move(name), hexadecimal(a), hexadecimal(b)});
    };
    look("fcw", XsaveArea::fcw, 2);
    look("fsw", XsaveArea::fcw + 2, 2);
    look("ftw", XsaveArea::fcw + 4, 1);
    look("mxcsr", XsaveArea::mxcsr, 4);
    for (std::size_t n = 0; n < 8; n++) look(fmt::format("st{}", n), XsaveArea::st + 16 * n, 10);
    for (std::size_t n = 0; n < 16; n++) look(fmt::format("xmm{}", n), XsaveArea::xmm + 16 * n, 16);
    for (std::size_t n = 0; n < 16; n++)
        look(fmt::format("ymm{}, high half", n), XsaveArea::ymm_high + 16 * n, 16);
}

}  // namespace

bool same_state(const Vcpu& leader, const Vcpu& follower, std::uint32_t live_flags) {
    static_assert(offsetof(Vcpu, rip) == sizeof(Vcpu::gpr));
    constexpr std::size_t bytes_begin = offsetof(Vcpu, interrupt_flag);
    constexpr std::size_t bytes_end = offsetof(Vcpu, activity) + sizeof(Vcpu::activity);
    return same(leader, follower, 0, offsetof(Vcpu, rip) + 8) &&
           compared_flags(leader, live_flags) == compared_flags(follower, live_flags) &&
           same(leader, follower, bytes_begin, bytes_end) &&
           (same(leader, follower, rest_begin, rest_end) ||
            differences(leader, follower, live_flags).empty());
}

bool same_vectors(const Vcpu& leader, Vcpu& follower) {
    if (std::memcmp(leader.xsave.data(), follower.xsave.data(), leader.xsave.size()) == 0) return true;
    if (canonical_vectors(leader) != canonical_vectors(follower)) return false;
    follower.xsave = leader.xsave;
    return true;
}

std::vector<FieldDifference> differences(const Vcpu& leader, const Vcpu& follower, std::uint32_t live_flags) {
    std::vector<FieldDifference> found;
    for (const Field& field : all_fields()) {
        std::uint64_t ours = value_of(leader, field);
        std::uint64_t theirs = value_of(follower, field);
        if (ours != theirs)
            found.push_back({field.name, fmt::format("{:#x}", ours), fmt::format("{:#x}", theirs)});
    }
    std::uint64_t ours = compared_flags(leader, live_flags);
    std::uint64_t theirs = compared_flags(follower, live_flags);
    if (ours != theirs) found.push_back({"rflags", fmt::format("{:#x}", ours), fmt::format("{:#x}", theirs)});
    add_vector_differences(leader, follower, found);
    return found;
}

void copy_state(const Vcpu& from, Vcpu& to) {
    for (const Field& field : all_fields())
        std::memcpy(bytes_of(to) + field.offset, bytes_of(from) + field.offset, field.size);
    to.arithmetic = from.arithmetic;
    to.system_flags = from.system_flags;
    to.xsave = from.xsave;
    to.cpuid = from.cpuid;
    to.apic_id = from.apic_id;
    to.index = from.index;
}

void settle_flags(Vcpu& leader, const Vcpu& follower, std::uint32_t live_flags) {
    std::uint64_t dead = RFLAGS::Arithmetic & ~std::uint64_t{live_flags};
    leader.set_arithmetic_flags((leader.arithmetic_flags() & ~dead) | (follower.arithmetic_flags() & dead));
    leader.system_flags = (leader.system_flags & ~RFLAGS::RF) | (follower.system_flags & RFLAGS::RF);
}

}  // namespace undercroft::lockstep
