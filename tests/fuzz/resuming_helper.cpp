// SPDX-License-Identifier: Apache-2.0
#include "resuming_helper.hpp"

namespace undercroft::fuzz {

using namespace translate;

namespace {

constexpr std::uint32_t bit(Gpr name) { return 1u << static_cast<unsigned>(name); }

constexpr std::uint32_t identification = bit(Gpr::Rax) | bit(Gpr::Rbx) | bit(Gpr::Rcx) | bit(Gpr::Rdx);

const ResumingHelper helpers[] = {
    {push_flags, bit(Gpr::Rsp)},
    {write_fs_base},
    {write_gs_base},
    {identify, identification},
    {read_model_specific, bit(Gpr::Rax) | bit(Gpr::Rdx)},
    {read_port, bit(Gpr::Rax)},
    {load_data_segment},
    {pause_instruction},
    {save_vectors, 0, Vcpu::xsave_size},
    {restore_vectors, 0, Vcpu::xsave_size},
    {begin_write_across, 0, 0, true},
    {end_write_across},
};

}  // namespace

std::optional<ResumingHelper> resuming_helper(const Site& site) {
    for (const ResumingHelper& helper : helpers) {
        if (helper.function == site.function) return helper;
    }
    return std::nullopt;
}

}  // namespace undercroft::fuzz
