// SPDX-License-Identifier: Apache-2.0
#include "engine/step/xsave_area.hpp"

namespace undercroft {

void materialize(Vcpu& vcpu, std::uint64_t components) {
    std::byte* area = vcpu.xsave.data();
    std::uint64_t present = components_present(vcpu);
    std::uint64_t missing = components & ~present;
    if (missing == 0) return;
    if ((missing & XCR0::X87) != 0) {
        std::memset(area, 0, XsaveArea::mxcsr);
        std::memset(area + XsaveArea::st, 0, XsaveArea::xmm - XsaveArea::st);
        std::memcpy(area + XsaveArea::fcw, &XsaveArea::fcw_initial, 2);
    }
    if ((missing & XCR0::SSE) != 0) std::memset(area + XsaveArea::xmm, 0, 256);
    if ((missing & XCR0::AVX) != 0) std::memset(area + XsaveArea::ymm_high, 0, 256);
    present |= missing;
    std::memcpy(area + XsaveArea::xstate_bv, &present, 8);
}

}  // namespace undercroft
