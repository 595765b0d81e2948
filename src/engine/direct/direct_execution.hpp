// SPDX-License-Identifier: Apache-2.0
// Direct execution of user code: the translating engine's second gear (docs/direct.md).
//
// User code that computes is executed as it is, in a guest process (direct/guest_process.hpp), until it
// enters the guest's kernel, or does anything else that the process stops at. A page that is missing there is
// mapped as the software TLB would have it, by the same rules, so that A and D bits, writes to code and page
// faults are what they are in translated code. Whatever is not that simple is left to the translator, which
// executes the instruction again: faults are found and delivered there alone.

#pragma once

#include "cpu/vcpu.hpp"
#include "direct/guest_process.hpp"
#include "engine/direct/gear.hpp"
#include "engine/direct/known_code.hpp"
#include "engine/direct/screened_code.hpp"
#include "engine/direct/withdrawn.hpp"
#include "mmu/code_pages.hpp"
#include "mmu/mmu.hpp"

#include <cstdint>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace undercroft::direct {

class MappedPages;
struct MappedPage;

enum class Next : std::uint8_t {
    Attention,  // the attention word is set
    Translate,  // the instruction at RIP is the translator's
    Lost,       // the vCPU's state, with the process that had it
};

class DirectExecution {
public:
    // `vcpu.mmu` is set, and the EngineFrame. `always`: all user code, for tests.
    DirectExecution(Vcpu& vcpu, const KnownCode& known_code, bool always);

    // In the run loop, before attention is attended to.
    void before_attention(Vcpu& vcpu) noexcept;
    // Behind that: executes user code, if that is to be done here. The vCPU is at rest before and after.
    Next execute(Vcpu& vcpu);
    // The thread goes on with something else than this vCPU.
    void end_turn();

    std::vector<std::pair<std::string, std::uint64_t>> statistics() const;
    std::uint64_t ticks() const { return useful_ticks_; }

private:
    static std::uint64_t entries_into_kernel(const Vcpu& vcpu) noexcept;
    void show_gear(Vcpu& vcpu) noexcept;
    Next stay(Vcpu& vcpu);
    Next without_process(Next next);
    Next run(Vcpu& vcpu, MappedPages& pages, std::optional<user_regs_struct>& registers);
    bool bring_up_to_date(Vcpu& vcpu, MappedPages& pages);
    void unmap_withdrawn(MappedPages& pages);
    void forget_changed_code(Vcpu& vcpu, MappedPages& pages);
    void see_to_trap(Vcpu& vcpu, user_regs_struct& registers, int code);
    bool handle_page_fault(Vcpu& vcpu, MappedPages& pages, const user_regs_struct& registers,
                           std::uint64_t address);
    bool map(Vcpu& vcpu, MappedPages& pages, std::uint64_t address, Access access);
    bool map_code(Vcpu& vcpu, MappedPages& pages, std::uint64_t address);
    void map_what_is_known(Vcpu& vcpu, MappedPages& pages, std::uint64_t page, std::uint64_t beside);
    void map_known_code(Vcpu& vcpu, MappedPages& pages);
    bool screen(Vcpu& vcpu, MappedPages& pages, std::uint64_t address, const std::byte* host, MappedPage& as);

    const KnownCode& known_code_;
    bool always_;
    Gear gear_;
    // Of user code on its way here: it comes by the run loop, so often so far; when it gets here; and whether
    // an interrupt has taken it from here last.
    bool comes_by_ = false;
    unsigned pieces_ = 0;
    std::uint64_t from_ = 0;
    bool interrupted_ = false;
    Withdrawn withdrawn_;
    MappedPages* pages_ = nullptr;  // where it was last
    bool in_the_way_ = false;       // the program has pages where none can be mapped there
    std::uint64_t code_changes_ = 0;
    std::uint64_t user_pages_seen_ = 0;
    // Pages of code that cannot be executed here: PFNs with too much to watch, and the numbers of virtual
    // pages of the address space that is mapped.
    std::unordered_set<std::uint64_t> unfit_;
    ScreenedCode screened_;
    std::unordered_set<std::uint64_t> unfit_at_;
    std::uint64_t stays_ = 0;
    std::uint64_t page_faults_ = 0;
    std::uint64_t mapped_ = 0;
    std::uint64_t useful_ticks_ = 0;
    std::uint64_t useful_of_stay_ = 0;
    std::uint64_t mapping_of_stay_ = 0;
    bool single_stepped_ = false;
};

}  // namespace undercroft::direct
