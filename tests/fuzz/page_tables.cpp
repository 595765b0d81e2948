// SPDX-License-Identifier: Apache-2.0
// Page tables with arbitrary contents: the MMU answers as the model of paging does, marks the entries that it
// should, and no entry of the software TLB allows more than the tables do.
//
// Input: a sequence of operations, each an opcode byte and its operands. Tables lie in eight frames in a row,
// which entries mostly point to, so that loops, tables that map themselves and large pages over them come up.
#include "input.hpp"
#include "mmu/walk_model.hpp"

using namespace undercroft;
using namespace undercroft::test;

namespace {

constexpr std::uint64_t first_frame = TestMachine::first_table;
constexpr unsigned frame_count = 8;

class Tables {
public:
    explicit Tables(TestMachine& machine) : machine_{machine} {
        for (unsigned n = 0; n < frame_count; ++n) {
            std::fill_n(&machine.byte(frame(n)), 4096, std::byte{0});
            machine.code_pages.set_granules(frame(n) >> 12, 0);
        }
        machine.state = TestMachine::long_mode();
        machine.mmu.flush_all();
    }

    void run(fuzz::Input& input) {
        while (!input.empty()) {
            switch (input.below(8)) {
                case 0: write_entry(input, input.take<std::uint64_t>()); break;
                case 1:
                case 2: write_entry(input, sensible_entry(input)); break;
                case 3: change_control(input.take<std::uint8_t>()); break;
                case 4: change_code(input); break;
                default: access(input); break;
            }
        }
        check_tlb();
    }

private:
    // An index that an address is likely to select: the low and the high ends of a table.
    static std::uint64_t index(std::uint8_t choice) {
        return (choice & 0x80) != 0 ? 508u + (choice & 3) : choice & 3u;
    }
    static std::uint64_t frame(std::uint64_t n) { return first_frame + n % frame_count * 4096; }

    std::uint64_t sensible_entry(fuzz::Input& input) {
        auto flags = input.take<std::uint16_t>();
        std::uint64_t entry = frame(flags >> 9) | (flags & 0x1ff);
        if ((flags & 0x8000) != 0) entry |= XD;
        return entry;
    }

    void write_entry(fuzz::Input& input, std::uint64_t value) {
        auto place = input.take<std::uint16_t>();
        machine_.word(frame(place >> 8) + 8 * index(static_cast<std::uint8_t>(place))) = value;
        machine_.mmu.flush_all();
    }

    void change_control(std::uint8_t choice) {
        PagingState& state = machine_.state;
        switch (choice % 6) {
            case 0: state.cr0 ^= CR0::WP; break;
            case 1: state.cr4 ^= CR4::SMEP; break;
            case 2: state.cr4 ^= CR4::PGE; break;
            case 3: state.efer ^= EFER::NXE; break;
            case 4: state.cr3 = frame(choice >> 3u); break;
            default: break;  // a flush that nobody needs
        }
        machine_.mmu.flush_all();
    }

    void change_code(fuzz::Input& input) {
        std::uint64_t page = frame(input.take<std::uint8_t>());
        machine_.code_pages.mark(GuestPhysical{page + input.below(64) * 64}, 1);
    }

    void access(fuzz::Input& input) {
        auto choice = input.take<std::uint8_t>();
        std::uint64_t address = 0;
        for (unsigned shift : {39u, 30u, 21u, 12u}) address |= index(input.take<std::uint8_t>()) << shift;
        address |= input.take<std::uint16_t>() & 0xfffu;
        if ((address >> 47 & 1) != 0) address |= 0xffff'0000'0000'0000;
        translate(address, all_accesses[choice % 3], all_modes[choice / 4 % 3]);
    }

    void translate(std::uint64_t address, Access kind, AccessMode mode) {
        ModelAnswer expected = model_walk(machine_, address, kind, mode);
        CHECK(machine_.translate(address, kind, mode) == expected.ok);
        if (!expected.ok) {
            CHECK(machine_.trap.vector == Vector::PF && machine_.trap.has_error_code);
            CHECK(machine_.trap.error_code == expected.error);
            CHECK(machine_.trap.address == address);
            return;
        }
        GuestPhysical physical{expected.physical};
        CHECK(machine_.out.physical == physical);
        CHECK(machine_.out.host == machine_.memory->readable(physical));
        for (std::uint64_t entry : expected.used) CHECK((marked(entry) & A) != 0);
        CHECK(kind != Access::Write || (marked(expected.used.back()) & D) != 0);
    }
    std::uint64_t marked(std::uint64_t entry) {
        return machine_.memory->is_ram(GuestPhysical{entry}) ? machine_.word(entry) : ~0ull;
    }

    void check_tlb() {
        for (unsigned mode = 0; mode < access_mode_count; ++mode) {
            for (unsigned n = 0; n < Tlb::entry_count; ++n) {
                const TlbEntry& entry = machine_.tlb->entries[mode][n];
                check_entry(entry, entry.read_tag, Access::Read, AccessMode{static_cast<std::uint8_t>(mode)},
                            n);
                check_entry(entry, entry.write_tag, Access::Write,
                            AccessMode{static_cast<std::uint8_t>(mode)}, n);
            }
        }
    }

    void check_entry(const TlbEntry& entry, std::uint64_t page, Access kind, AccessMode mode, unsigned n) {
        if (page == Tlb::never_tag(n)) return;
        ModelAnswer expected = model_walk(machine_, page, kind, mode);
        CHECK(expected.ok, "the software TLB allows what the tables forbid");
        CHECK(entry.host_page == machine_.memory->own_page(expected.physical >> 12));
        if (kind == Access::Read) return;
        CHECK((marked(expected.used.back()) & D) != 0, "a write tag for a page that is not dirty");
        CHECK(!machine_.code_pages.holds_code(expected.physical >> 12), "a write tag for a page with code");
    }

    TestMachine& machine_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static TestMachine machine;
    fuzz::Input input{data, size};
    Tables{machine}.run(input);
    return 0;
}
