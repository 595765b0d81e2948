// SPDX-License-Identifier: Apache-2.0
// Random page tables, walked by the processor and by a model in plain C++: value or fault code of loads,
// stores and fetches from both rings, under all combinations of CR0.WP, CR4.SMEP, CR4.SMAP and AC; dirty and
// accessed bits.
//
// Source: Intel SDM vol. 3A sections 4.5 to 4.8. Case by case: paging.cpp.

#include "runtime/paging.hpp"
#include "runtime/random.hpp"
#include "runtime/run.hpp"

using namespace micro;

FRAGMENT(load, AT "mov rax, [rdi]");
FRAGMENT(store, AT "mov [rdi], rax");
FRAGMENT(jump, AT "jmp rdi");

namespace {

using namespace PageEntry;

constexpr u64 region = 5ull << 39;
constexpr unsigned data_pages = 6;
constexpr u64 large_frame = 0x4000000;  // 2 MiB of RAM beyond the image
constexpr u64 frame_mask = 0x000ffffffffff000;

Random numbers{0x1234567};
u64 random() { return numbers() >> 11; }
bool one_in(unsigned n) { return random() % n == 0; }

u64* tables[3][2];  // level 3, 2, 1
u64* data[data_pages];
bool wp, smep, smap;

struct Walk {
    u64 error = 0;
    bool fault = false;
    u64 physical = 0;
    u64* leaf = nullptr;
};

enum class Kind : u8 { Load, Store, Fetch };

Walk walk(u64 address, Kind kind, bool user, bool ac) {
    Walk result;
    const u64 base_error = (kind == Kind::Store ? PageFault::W : 0) | (user ? PageFault::U : 0) |
                           (kind == Kind::Fetch ? PageFault::I : 0);
    const auto fault = [&](u64 error) {
        result.fault = true;
        result.error = base_error | error;
        return result;
    };
    u64 table = read_cr3() & frame_mask;
    bool writable = true, user_page_all = true, executable = true;
    for (unsigned level = 4;; --level) {
        const unsigned shift = 12 + 9 * (level - 1);
        u64* e = reinterpret_cast<u64*>(table) + (address >> shift & 511);
        const u64 value = *e;
        if (!(value & P)) return fault(0);
        const bool large = (value & PS) && (level == 2 || level == 3);
        u64 reserved = 1ull << 51;  // beyond any physical width
        if (level == 4) reserved |= PS;
        if (large) reserved |= ((1ull << shift) - 1) & ~0x1fffull;
        if (value & reserved) return fault(PageFault::P | PageFault::RSVD);
        writable = writable && (value & RW);
        user_page_all = user_page_all && (value & US);
        executable = executable && !(value & XD);
        table = value & frame_mask;
        if (large || level == 1) {
            const u64 offset = address & ((1ull << shift) - 1);
            result.physical = (value & frame_mask & ~((1ull << shift) - 1)) + offset;
            result.leaf = e;
            break;
        }
    }
    bool allowed = true;
    if (user) {
        allowed = user_page_all && (kind != Kind::Store || writable);
    } else {
        if (kind == Kind::Store && !writable && wp) allowed = false;
        if (kind == Kind::Fetch && user_page_all && smep) allowed = false;
        if (kind != Kind::Fetch && user_page_all && smap && !ac) allowed = false;
    }
    if (kind == Kind::Fetch && !executable) allowed = false;
    return allowed ? result : fault(PageFault::P);
}

u64 random_entry(unsigned level) {
    u64 flags = 0;
    if (!one_in(12)) flags |= P;
    if (!one_in(4)) flags |= RW;
    if (!one_in(3)) flags |= US;
    if (one_in(6)) flags |= XD;
    if (one_in(24)) flags |= 1ull << 51;
    if (one_in(5)) flags |= G | 7ull << 52;
    if (level == 4) return address(tables[0][random() % 2]) | flags | (one_in(20) ? PS : 0);
    if (level == 3) return address(tables[1][random() % 2]) | flags;
    if (level == 2) {
        if (one_in(4)) return large_frame | flags | PS | (one_in(8) ? 1 << 14 : 0);
        return address(tables[2][random() % 2]) | flags;
    }
    return address(data[random() % data_pages]) | flags;
}

u64 random_address() {
    return region | random() % 2 << 30 | random() % 2 << 21 | random() % 4 << 12 | random() % 64 * 8;
}

void mutate() {
    const auto level = static_cast<unsigned>(1 + random() % 4);
    if (level == 4) {
        reinterpret_cast<u64*>(read_cr3() & frame_mask)[region >> 39] = random_entry(4) | (one_in(3) ? 0 : P);
    } else {
        u64* table = tables[3 - level][random() % 2];
        table[random() % (level == 1 ? 4 : 2)] = random_entry(level);
    }
}

void set_controls() {
    wp = one_in(2);
    smep = one_in(2) && (cpuid(7).ebx >> 7 & 1);
    smap = one_in(2) && (cpuid(7).ebx >> 20 & 1);
    write_cr0((read_cr0() & ~CR0::WP) | (wp ? CR0::WP : 0));
    write_cr4((read_cr4() & ~(CR4::SMEP | CR4::SMAP)) | (smep ? CR4::SMEP : 0) | (smap ? CR4::SMAP : 0));
}

// Every word of a frame says `int 0x81` and which word it is.
void fill(u64* frame, u64 words) {
    for (u64 i = 0; i < words; ++i) frame[i] = 0x81cd | (reinterpret_cast<u64>(frame) + i * 8) << 16;
}

void check_access(Tally& values, Tally& faults, Tally& bits) {
    const u64 where = random_address();
    const auto kind = static_cast<Kind>(random() % 3);
    const bool user = one_in(2), ac = one_in(2);
    const Walk want = walk(where, kind, user, ac);
    const u64 leaf_before = want.leaf ? *want.leaf : 0;
    Registers in;
    in.rdi = where, in.rax = 0x81cd | random() << 16;
    if (ac) in.rflags |= RFLAGS::AC;
    const u64 old = want.fault ? 0 : *reinterpret_cast<u64*>(want.physical);
    const void* code = kind == Kind::Load ? load : kind == Kind::Store ? store : jump;
    // SMAP is for the fragment alone: the runtime does not touch user pages.
    const Outcome out = run(code, in, user ? Ring::User : Ring::Kernel);
    if (want.fault) {
        faults.expect(out.vector, static_cast<u64>(Vector::PF), where, static_cast<u64>(kind));
        faults.expect(out.error, want.error, where, static_cast<u64>(kind));
        faults.expect(out.cr2, where, where, static_cast<u64>(kind));
        return;
    }
    values.expect(out.vector, done_vector, where, static_cast<u64>(kind));
    if (kind == Kind::Load) values.expect(out.registers.rax, old, where, want.physical);
    if (kind == Kind::Store)
        values.expect(*reinterpret_cast<u64*>(want.physical), in.rax, where, want.physical);
    const u64 want_bits = (leaf_before & (A | D)) | A | (kind == Kind::Store ? D : 0);
    bits.expect(*want.leaf & (A | D), want_bits, where, static_cast<u64>(kind));
}

}  // namespace

void micro_main() {
    for (auto& level : tables)
        for (u64*& table : level) table = reinterpret_cast<u64*>(allocate_page());
    for (u64*& page : data) {
        page = reinterpret_cast<u64*>(allocate_page());
        fill(page, 512);
    }
    for (u64 page = 0; page < 8; ++page) fill(reinterpret_cast<u64*>(large_frame + page * 4096), 64);
    for (unsigned level = 1; level <= 3; ++level)
        for (u64* table : tables[3 - level])
            for (unsigned i = 0; i < (level == 1 ? 4u : 2u); ++i) table[i] = random_entry(level);
    Tally values{"random tables: values"}, faults{"random tables: faults"},
        bits{"random tables: accessed and dirty"};
    for (unsigned round = 0; round < 4000; ++round) {
        if (round % 32 == 0) set_controls();
        mutate();
        // G entries outlive a CR3 write: toggling CR4.PGE drops all.
        write_cr4(read_cr4() & ~CR4::PGE);
        write_cr4(read_cr4() | CR4::PGE);
        for (int i = 0; i < 3; ++i) check_access(values, faults, bits);
    }
    write_cr4(read_cr4() & ~(CR4::SMEP | CR4::SMAP));
}
