// SPDX-License-Identifier: Apache-2.0
// Accesses of any size to guest memory of any kind: page-crossing, to devices, into pages with code.

#include "mmu/copy_bytes.hpp"
#include "mmu/mmu.hpp"

#include <bit>

namespace undercroft {
namespace {

unsigned up_to_page_end(GuestVirtual address, unsigned size) {
    auto left = static_cast<unsigned>(page_size - address.page_offset());
    return size < left ? size : left;
}

// Device memory sees accesses of 8, 4, 2 or 1 bytes.
unsigned device_piece(unsigned size) { return size >= 8 ? 8 : std::bit_floor(size); }

}  // namespace

bool Mmu::check(GuestVirtual address, unsigned size, Access access, AccessMode mode, Trap& trap) noexcept {
    Translation first;
    Translation second;
    return translate_range(address, size, access, mode, first, second, trap);
}

// A write that crosses a page looks at the first page without setting D, so that a fault on the second leaves
// no mark.
bool Mmu::translate_range(GuestVirtual address, unsigned size, Access access, AccessMode mode,
                          Translation& first, Translation& second, Trap& trap) noexcept {
    unsigned here = up_to_page_end(address, size);
    if (here == size) return translate(address, access, mode, first, trap);
    if (!addressable(address) || !addressable(address + (size - 1))) {
        trap = Trap::fault(Vector::GP, 0);
        return false;
    }
    if (access == Access::Write && !probe(address, access, mode, trap)) return false;
    if (access != Access::Write)
        return translate(address, access, mode, first, trap) &&
               translate(address + here, access, mode, second, trap);
    return translate(address + here, access, mode, second, trap) &&
           translate(address, access, mode, first, trap);
}

bool Mmu::read(GuestVirtual from, void* to, unsigned size, AccessMode mode, Trap& trap) noexcept {
    const TlbEntry& entry = tlb_.entry(mode, from.value());
    std::uint64_t offset = from.value() - entry.read_tag;
    if (offset > page_size - size) return read_slowly(from, to, size, mode, trap);
    copy_bytes(to, entry.host_page + offset, size);
    return true;
}

bool Mmu::write(GuestVirtual to, const void* from, unsigned size, AccessMode mode, Trap& trap) noexcept {
    const TlbEntry& entry = tlb_.entry(mode, to.value());
    std::uint64_t offset = to.value() - entry.write_tag;
    if (offset > page_size - size) return write_slowly(to, from, size, mode, trap);
    copy_bytes(entry.host_page + offset, from, size);
    return true;
}

bool Mmu::read_slowly(GuestVirtual from, void* to, unsigned size, AccessMode mode, Trap& trap) noexcept {
    Translation first;
    Translation second;
    if (!translate_range(from, size, Access::Read, mode, first, second, trap)) return false;
    unsigned here = up_to_page_end(from, size);
    auto* out = static_cast<std::byte*>(to);
    read_piece(first, out, here);
    if (here != size) read_piece(second, out + here, size - here);
    return true;
}

bool Mmu::write_slowly(GuestVirtual to, const void* from, unsigned size, AccessMode mode,
                       Trap& trap) noexcept {
    Translation first;
    Translation second;
    if (!translate_range(to, size, Access::Write, mode, first, second, trap)) return false;
    unsigned here = up_to_page_end(to, size);
    const auto* in = static_cast<const std::byte*>(from);
    write_piece(first, in, here);
    if (here != size) write_piece(second, in + here, size - here);
    return true;
}

void Mmu::read_piece(const Translation& from, std::byte* to, unsigned size) noexcept {
    if (from.host) return copy_bytes(to, from.host, size);
    for (unsigned done = 0; done < size;) {
        unsigned now = device_piece(size - done);
        statistics_.device_accesses++;
        std::uint64_t value = devices_->read_device(from.physical + done, now);
        copy_bytes(to + done, &value, now);
        done += now;
    }
}

void Mmu::write_piece(const Translation& to, const std::byte* from, unsigned size) noexcept {
    if (to.host) {
        copy_bytes(to.host, from, size);
        if (!to.holds_code) return;
        statistics_.code_page_writes++;
        return code_pages_.wrote(to.physical, size);
    }
    for (unsigned done = 0; done < size;) {
        unsigned now = device_piece(size - done);
        std::uint64_t value = 0;
        copy_bytes(&value, from + done, now);
        statistics_.device_accesses++;
        devices_->write_device(to.physical + done, now, value);
        done += now;
    }
}

unsigned Mmu::fetch(GuestVirtual from, std::byte* to, unsigned size, AccessMode mode, Trap& trap) noexcept {
    unsigned done = 0;
    while (done < size) {
        Translation at;
        GuestVirtual next = from + done;
        if (!translate(next, Access::Execute, mode, at, trap)) break;
        unsigned now = up_to_page_end(next, size - done);
        read_piece(at, to + done, now);
        done += now;
    }
    return done;
}

}  // namespace undercroft
