// SPDX-License-Identifier: Apache-2.0
#include "resuming_helper.hpp"

namespace undercroft::fuzz {

using namespace translate;

namespace {

constexpr std::uint32_t bit(Gpr name) { return 1u << static_cast<unsigned>(name); }

constexpr std::uint32_t string_registers = bit(Gpr::Rcx) | bit(Gpr::Rsi) | bit(Gpr::Rdi);
constexpr std::uint32_t identification = bit(Gpr::Rax) | bit(Gpr::Rbx) | bit(Gpr::Rcx) | bit(Gpr::Rdx);

const ResumingHelper helpers[] = {
    {push_flags, bit(Gpr::Rsp)},
    {string_instruction, string_registers},
    {write_fs_base},
    {write_gs_base},
    {identify, identification},
    {read_model_specific, bit(Gpr::Rax) | bit(Gpr::Rdx)},
    {read_port, bit(Gpr::Rax)},
    {load_data_segment},
    {save_vectors, 0, Vcpu::xsave_size},
    {restore_vectors, 0, Vcpu::xsave_size},
    {begin_write_across, 0, 0, true},
    {end_write_across},
};

}  // namespace

const ResumingHelper* resuming_helper(CallbackFunction function) {
    for (const ResumingHelper& helper : helpers) {
        if (helper.function == function) return &helper;
    }
    return nullptr;
}

}  // namespace undercroft::fuzz
