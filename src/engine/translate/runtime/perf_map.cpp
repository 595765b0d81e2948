// SPDX-License-Identifier: Apache-2.0
#include "engine/translate/runtime/perf_map.hpp"

#include "base/fd.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string>

namespace undercroft::translate {
namespace {

// A line as it grows; what does not fit is left out.
class Line {
public:
    void add(char c) noexcept {
        if (size_ < text_.size()) text_[size_++] = c;
    }
    void add(const char* words) noexcept {
        while (*words != 0) add(*words++);
    }
    void add_hex(std::uint64_t value) noexcept {
        int shift = 60;
        while (shift > 0 && value >> shift == 0) shift -= 4;
        for (; shift >= 0; shift -= 4) add("0123456789abcdef"[value >> shift & 15]);
    }
    const char* data() const noexcept { return text_.data(); }
    std::size_t size() const noexcept { return size_; }

private:
    std::array<char, 128> text_;
    std::size_t size_ = 0;
};

// write(2) itself: nothing of the C library's, which may use vector registers. A line that cannot be written
// is missing from the map, and nothing else.
void write_line(int fd, const Line& line) noexcept {
    long result = SYS_write;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(fd), "S"(line.data()), "d"(line.size())
                     : "rcx", "r11", "memory");
}

}  // namespace

Result<void> PerfMap::open() {
    std::string path = "/tmp/perf-" + std::to_string(::getpid()) + ".map";
    // A map of an earlier process of this number is of no use. Not through somebody's link.
    int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) return host_error().in("'" + path + "'");
    fd_ = fd;
    return {};
}

void PerfMap::write(HostCode begin, HostCode end, const char* kind, AccessMode mode,
                    std::uint64_t rip) noexcept {
    Line line;
    line.add_hex(reinterpret_cast<std::uintptr_t>(begin));
    line.add(' ');
    line.add_hex(static_cast<std::uint64_t>(end - begin));
    line.add(mode == AccessMode::User ? " guest_user" : " guest_kernel");
    line.add(kind);
    line.add(':');
    line.add_hex(rip);
    line.add('\n');
    write_line(fd_, line);
}

}  // namespace undercroft::translate
