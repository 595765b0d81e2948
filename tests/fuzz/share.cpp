// SPDX-License-Identifier: Apache-2.0
// A shared folder under any requests: none of them crashes it or has an effect outside the folder.
//
// Input: a sequence of requests; mostly of known kinds, on few nodes, handles and names, so that they come to
// something. The folder holds a file, a directory, a FIFO and links that lead out of it.
#include "input.hpp"
#include "share/folder_server.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

using namespace undercroft;
namespace fs = std::filesystem;

namespace {

constexpr std::array<const char*, 12> names{"file", "dir",   "fifo", "out", "up",        "a",
                                            "b",    "inner", ".",    "..",  "../secret", ""};

class Fixture {
public:
    Fixture() {
        std::string name = (fs::temp_directory_path() / "undercroft-fuzz-share-XXXXXX").string();
        CHECK(mkdtemp(name.data()) != nullptr);
        outside_ = name;
        std::ofstream{outside_ / "secret"} << "secret";
    }
    ~Fixture() { fs::remove_all(outside_); }

    fs::path fresh() {
        fs::path folder = outside_ / "shared";
        fs::remove_all(folder);
        fs::create_directories(folder / "dir");
        std::ofstream{folder / "file"} << "contents";
        std::ofstream{folder / "dir" / "inner"} << "inner";
        fs::create_symlink("../secret", folder / "out");
        fs::create_directory_symlink("..", folder / "up");
        CHECK(mkfifo((folder / "fifo").c_str(), 0666) == 0);
        return folder;
    }
    void check() const {
        std::ifstream file{outside_ / "secret"};
        std::string bytes{std::istreambuf_iterator<char>{file}, {}};
        CHECK(bytes == "secret", "a file outside has changed");
        struct stat status {};
        CHECK(::stat((outside_ / "secret").c_str(), &status) == 0 && status.st_nlink == 1);
        CHECK(std::distance(fs::directory_iterator{outside_}, {}) == 2, "something outside has come or gone");
    }

private:
    fs::path outside_;
};

// Numbers that requests have in most places: small ones. Names are strings with their zeros.
std::string body(fuzz::Input& input) {
    std::string bytes;
    std::uint64_t words = input.below(7);
    for (std::uint64_t n = 0; n < words; ++n) {
        std::uint64_t word = input.take<std::uint8_t>();
        if (word >= 0xf0) word = input.take<std::uint64_t>();
        bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
    if (input.below(2) != 0) bytes.resize(bytes.size() + 4);
    for (std::uint64_t n = input.below(4); n > 0; --n) {
        bytes += names[input.below(names.size())];
        if (input.below(16) != 15) bytes += '\0';
    }
    return bytes;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static Fixture fixture;
    fuzz::Input input{data, size};
    FolderOptions options;
    options.access = input.below(4) == 3 ? FolderAccess::ReadOnly : FolderAccess::ReadWrite;
    options.sync = FolderSync::Ignored;
    auto server = FolderServer::open(fixture.fresh().string(), options);
    CHECK(server, "the fixture is a folder");
    std::vector<std::byte> answer(8192);
    while (!input.empty()) {
        fuse_in_header header{};
        header.opcode = static_cast<std::uint32_t>(input.below(56));
        header.nodeid = input.below(10);
        std::string request{reinterpret_cast<const char*>(&header), sizeof header};
        request += body(input);
        Buffers in;
        Buffers out;
        in.add(reinterpret_cast<std::byte*>(request.data()), request.size());
        std::size_t room = input.below(16) == 0 ? input.below(64) : answer.size();
        out.add(answer.data(), room);
        CHECK((*server)->serve(in, out) <= room, "more answered than there is room for");
    }
    server->reset();
    fixture.check();
    return 0;
}
