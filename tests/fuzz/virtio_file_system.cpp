// SPDX-License-Identifier: Apache-2.0
// A virtio file system device under anything a guest can do (virtio_guest.hpp), while somebody on the host
// changes the folder: nothing outside the folder is read or changed.
#include "shared_folder.hpp"
#include "virtio/file_system.hpp"
#include "virtio_guest.hpp"

using namespace undercroft;

namespace {

fuzz::SharedFolder& the_folder() {
    static fuzz::SharedFolder folder;
    return folder;
}

class Guest final : public fuzz::VirtioGuest {
public:
    explicit Guest(fuzz::Input& input) : server_{the_folder().serve(input)} { connect(device_); }
    ~Guest() { the_folder().check(); }

private:
    void serve() override { device_.serve(); }
    void event(fuzz::Input& input) override { the_folder().change(input); }

    // A request in two pieces, of which the second may have data behind it, and room for the answer.
    void request(fuzz::Input& input) override {
        constexpr std::uint64_t answer = free_memory + 0x4000;
        std::string bytes = fuzz::folder_request(input);
        static_cast<void>(memory_->write(GuestPhysical{free_memory}, std::as_bytes(std::span{bytes})));
        auto size = static_cast<std::uint32_t>(bytes.size());
        auto cut = static_cast<std::uint32_t>(1 + input.below(size - 1));
        auto rest = size - cut + static_cast<std::uint32_t>(input.below(3)) * 0x1000;
        auto room = static_cast<std::uint32_t>(input.below(16) == 0 ? 1 + input.below(64) : 0x4000);
        offer(input.below(4) == 0 ? 0 : 1,
              {{free_memory, cut, 1, 1}, {free_memory + cut, rest, 1, 2}, {answer, room, 2, 0}});
    }

    std::unique_ptr<FolderServer> server_;
    VirtioFileSystem device_{*server_, dma_, lock_, "fuzz"};
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::run_guest<Guest>(data, size);
}
