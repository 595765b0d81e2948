// SPDX-License-Identifier: Apache-2.0
// A shared folder under any requests: none of them crashes it or has an effect outside the folder.
//
// Input: a sequence of requests (shared_folder.hpp).
#include "shared_folder.hpp"

#include <vector>

using namespace undercroft;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static fuzz::SharedFolder folder;
    fuzz::Input input{data, size};
    std::unique_ptr<FolderServer> server = folder.serve(input);
    std::vector<std::byte> answer(8192);
    while (!input.empty()) {
        std::string request = fuzz::folder_request(input);
        Buffers in;
        Buffers out;
        in.add(reinterpret_cast<std::byte*>(request.data()), request.size());
        std::size_t room = input.below(16) == 0 ? input.below(64) : answer.size();
        out.add(answer.data(), room);
        CHECK(server->serve(in, out) <= room, "more answered than there is room for");
    }
    server.reset();
    folder.check();
    return 0;
}
