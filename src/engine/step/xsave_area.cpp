// SPDX-License-Identifier: Apache-2.0
#include "engine/step/xsave_area.hpp"

namespace undercroft {

void write_initial(std::byte* area, std::uint64_t components) {
    if ((components & XCR0::X87) != 0) {
        std::memset(area, 0, XsaveArea::mxcsr);
        std::memset(area + XsaveArea::st, 0, XsaveArea::xmm - XsaveArea::st);
        std::memcpy(area + XsaveArea::fcw, &XsaveArea::fcw_initial, 2);
    }
    if ((components & XCR0::SSE) != 0) std::memset(area + XsaveArea::xmm, 0, 256);
    if ((components & XCR0::AVX) != 0) std::memset(area + XsaveArea::ymm_high, 0, 256);
}

void materialize(Vcpu& vcpu, std::uint64_t components) {
    std::uint64_t present = components_present(vcpu);
    std::uint64_t missing = components & ~present;
    if (missing == 0) return;
    write_initial(vcpu.xsave.data(), missing);
    present |= missing;
    std::memcpy(vcpu.xsave.data() + XsaveArea::xstate_bv, &present, 8);
}

}  // namespace undercroft
