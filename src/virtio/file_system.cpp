// SPDX-License-Identifier: Apache-2.0
#include "virtio/file_system.hpp"

#include <algorithm>
#include <array>

namespace undercroft {
namespace {

// struct virtio_fs_config.
struct Config {
    std::array<char, VirtioFileSystem::longest_tag> tag{};  // not terminated if it fills its room
    std::uint32_t num_request_queues = 1;
};
static_assert(sizeof(Config) == 40, "virtio 1.2 section 5.11.4");

}  // namespace

std::uint8_t VirtioFileSystem::config(std::uint64_t offset) const {
    Config config;
    std::copy_n(tag_.begin(), std::min(tag_.size(), config.tag.size()), config.tag.begin());
    return config_byte(config, offset);
}

void VirtioFileSystem::serve() {
    if (!std::exchange(has_own_umask_, true)) FolderServer::use_own_umask();
    server_.serve([this](QueueServer::Request& request) -> const char* {
        request.written = folder_.serve(request.chain.readable, request.chain.writable);
        return nullptr;
    });
}

}  // namespace undercroft
