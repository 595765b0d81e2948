// SPDX-License-Identifier: Apache-2.0
// The layout of vcpu.xsave: the standard (non-compacted) form of the XSAVE area.
//
// Source: Intel SDM vol. 1 sections 13.4 and 10.5.1.1 (the legacy region, 64-bit form).

#pragma once

#include "cpu/vcpu.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace undercroft {

namespace XsaveArea {
inline constexpr std::size_t fcw = 0;
inline constexpr std::size_t fsw = 2;
inline constexpr std::size_t fop = 6;
inline constexpr std::size_t fip = 8;
inline constexpr std::size_t fdp = 16;
inline constexpr std::size_t mxcsr = 24;
inline constexpr std::size_t mxcsr_mask = 28;
inline constexpr std::size_t st = 32;
inline constexpr std::size_t xmm = 160;
inline constexpr std::size_t legacy_size = 512;
inline constexpr std::size_t xstate_bv = 512;
inline constexpr std::size_t xcomp_bv = 520;
inline constexpr std::size_t ymm_high = 576;
inline constexpr std::size_t size = 832;
inline constexpr std::uint32_t mxcsr_initial = 0x1f80;
inline constexpr std::uint16_t fcw_initial = 0x37f;
}  // namespace XsaveArea
static_assert(XsaveArea::size == Vcpu::xsave_size);

// The components (XCR0 bits) whose state is in the area; the others are in their initial configuration.
inline std::uint64_t components_present(const Vcpu& vcpu) {
    std::uint64_t present;
    std::memcpy(&present, vcpu.xsave.data() + XsaveArea::xstate_bv, 8);
    return present;
}

inline bool x87_exception_pending(const Vcpu& vcpu) {
    constexpr unsigned summary = 0x80;
    return (components_present(vcpu) & XCR0::X87) != 0 &&
           (static_cast<unsigned>(vcpu.xsave[XsaveArea::fsw]) & summary) != 0;
}

// Writes the initial configuration of `components` into an area of this layout; its header stays.
void write_initial(std::byte* area, std::uint64_t components);

// Makes all of `components` present in vcpu.xsave, the missing ones in their initial configuration.
void materialize(Vcpu& vcpu, std::uint64_t components);

}  // namespace undercroft
