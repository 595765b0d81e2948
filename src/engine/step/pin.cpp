// SPDX-License-Identifier: Apache-2.0
#include "base/check.hpp"
#include "engine/step/access.hpp"

#include <Zydis/Mnemonic.h>

#include <algorithm>

namespace undercroft {
namespace {

// Device memory is reached in pieces of at most eight bytes.
template <class Access>
void in_pieces(unsigned size, Access access) {
    for (unsigned done = 0; done < size; done += 8) access(done, std::min(8u, size - done));
}

bool is_locked(const Instruction& instruction) {
    return instruction.lock || instruction.mnemonic == ZYDIS_MNEMONIC_XCHG;
}

}  // namespace

bool Pin::pin(Context& context, std::uint64_t linear, unsigned size, bool read, bool write) {
    CHECK(size <= sizeof copy_);
    size_ = size;
    write_ = write;
    const TlbEntry& entry = context.vcpu.tlb.entry(context.mode, linear);
    std::uint64_t offset = linear - (write ? entry.write_tag : entry.read_tag);
    if (offset <= 4096 - size) {
        pointer_ = entry.host_page + offset;
        return true;
    }
    return pin_slowly(context, linear, read);
}

bool Pin::pin_slowly(Context& context, std::uint64_t linear, bool read) {
    Mmu& mmu = *context.vcpu.mmu;
    Access access = write_ ? Access::Write : Access::Read;
    part_[0].size = std::min(size_, static_cast<unsigned>(4096 - (linear & 0xfff)));
    part_[1].size = size_ - part_[0].size;
    if (part_[1].size != 0 && is_locked(context.instruction)) {
        alone_ = &mmu.code_pages();
        alone_->begin_exclusive();
    }
    if (!mmu.translate_range(GuestVirtual{linear}, size_, access, context.mode, part_[0].where,
                             part_[1].where, context.trap))
        return false;
    if (part_[1].size == 0 && part_[0].where.host != nullptr) {
        pointer_ = part_[0].where.host;
        return true;
    }
    copied_ = true;
    pointer_ = copy_;
    if (read) copy_in(context);
    return true;
}

void Pin::copy_in(Context& context) {
    std::byte* to = copy_;
    for (const Part& part : part_) {
        if (part.where.host != nullptr) {
            std::memcpy(to, part.where.host, part.size);
        } else {
            in_pieces(part.size, [&](unsigned done, unsigned piece) {
                std::uint64_t value =
                    context.vcpu.mmu->devices().read_device(part.where.physical + done, piece);
                std::memcpy(to + done, &value, piece);
            });
        }
        to += part.size;
    }
}

void Pin::copy_out(Context& context) {
    const std::byte* from = copy_;
    for (const Part& part : part_) {
        if (part.where.host != nullptr) {
            std::memcpy(part.where.host, from, part.size);
        } else {
            in_pieces(part.size, [&](unsigned done, unsigned piece) {
                std::uint64_t value = 0;
                std::memcpy(&value, from + done, piece);
                context.vcpu.mmu->devices().write_device(part.where.physical + done, piece, value);
            });
        }
        from += part.size;
    }
}

void Pin::end_exclusive() {
    if (alone_ != nullptr) alone_->end_exclusive();
    alone_ = nullptr;
}

void Pin::release(Context& context) {
    if (write_ && copied_) copy_out(context);
    end_exclusive();
    if (!write_) return;
    for (const Part& part : part_) {
        if (part.where.holds_code) context.vcpu.mmu->code_pages().wrote(part.where.physical, part.size);
    }
}

}  // namespace undercroft
