// SPDX-License-Identifier: Apache-2.0
#include "guest_image.hpp"

#include "base/check.hpp"
#include "base/fd.hpp"
#include "machine/layout.hpp"

#include <span>
#include <utility>
#include <vector>

namespace undercroft {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Into a buffer that is not cleared first and lies on large pages where the host has them.
Result<boot::Kernel> unpack_kernel(const std::string& path) {
    auto file = OpenFile::open(path);
    if (!file) return Error{"kernel " + file.error().message};
    std::string name = "kernel '" + path + "'";
    auto buffer = boot::Buffer::allocate(file->size);
    if (!buffer) return std::move(buffer.error()).in(name);
    auto size = file->read(buffer->data());
    if (!size) return std::move(size.error()).in(name);
    auto kernel = boot::read_kernel(buffer->span().first(*size));
    if (!kernel) return std::move(kernel.error()).in(name);
    return kernel;
}

Result<std::vector<std::byte>> read_initrd(const std::string& path) {
    if (path.empty()) return std::vector<std::byte>{};
    auto file = read_file(path);
    if (!file) return Error{"initrd " + file.error().message};
    if (file->empty()) return Error{"initrd '" + path + "': empty file"};
    return file;
}

}  // namespace

Result<GuestImage> load_guest(const MachineConfig& config) {
    SteadyClock::time_point start = SteadyClock::now();
    auto initrd = read_initrd(config.initrd);
    if (!initrd) return initrd.error();
    auto kernel = unpack_kernel(config.kernel);
    if (!kernel) return kernel.error();
    SteadyClock::time_point unpacked = SteadyClock::now();

    std::vector<MemoryRegion> regions = layout::ram_regions(config.memory);
    boot::Inputs inputs{
        .kernel = *std::move(kernel),
        .initrd = *std::move(initrd),
        .command_line = config.command_line,
        .ram = {},
        .acpi = layout::acpi_config(config.processors, static_cast<unsigned>(config.virtio_devices())),
        .layout = layout::boot_structures};
    for (const MemoryRegion& region : regions) inputs.ram.push_back({region.start, region.size});
    auto image = boot::load(std::move(inputs));
    if (!image) return image.error();

    auto memory = GuestMemory::create(std::move(regions), config.pool);
    if (!memory) return memory.error();
    for (const boot::Chunk& chunk : image->chunks) {
        // The bytes are the image's own, and it is dropped right after: the guest may have their pages.
        std::span<std::byte> bytes{const_cast<std::byte*>(chunk.bytes.data()), chunk.bytes.size()};
        CHECK((*memory)->take(chunk.address, bytes), "the load plan stays within RAM");
    }
    return GuestImage{.memory = *std::move(memory),
                      .entry = image->entry,
                      .unpacking = unpacked - start,
                      .placing = SteadyClock::now() - unpacked};
}

}  // namespace undercroft
