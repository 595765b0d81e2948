// SPDX-License-Identifier: Apache-2.0
#include "exec/kernel_files.hpp"

#include "base/fd.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string_view> wanted_modules{"virtio_mmio", "virtio_console", "virtiofs", "overlay"};

// "kernel/fs/fuse/virtio-fs.ko.xz" is virtio_fs.
std::string module_name(std::string_view path) {
    std::string name{path.substr(path.rfind('/') + 1)};
    name.erase(std::min(name.find('.'), name.size()));
    std::ranges::replace(name, '-', '_');
    return name;
}

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    while (!line.empty()) {
        std::size_t end = std::min(line.find(' '), line.size());
        if (end > 0) words.push_back(line.substr(0, end));
        line.remove_prefix(std::min(end + 1, line.size()));
    }
    return words;
}

// As much of a kernel as tells its release; less if it cannot be read, which whoever loads it will say.
std::vector<std::byte> beginning_of(OpenFile& kernel) {
    constexpr std::size_t enough = 128u << 10;
    kernel.size = std::min(kernel.size, enough);
    std::vector<std::byte> bytes(kernel.size);
    auto done = kernel.read(bytes.data());
    bytes.resize(done ? *done : 0);
    return bytes;
}

bool is_readable(const fs::path& path) { return ::access(path.c_str(), R_OK) == 0; }

// What ./run keeps beside the build that this program is of; then the host's own.
std::optional<std::string> default_kernel() {
    std::error_code error;
    fs::path program = fs::read_symlink("/proc/self/exe", error);
    for (const char* flavour : {"cloud", "amd64"}) {
        fs::path fetched = program.parent_path() / "../../guests/cache" / flavour / "vmlinuz";
        if (!error && is_readable(fetched)) return fetched.lexically_normal();
    }
    utsname host{};
    ::uname(&host);
    fs::path own = fs::path{"/boot"} / (std::string{"vmlinuz-"} + host.release);
    if (is_readable(own)) return own;
    return std::nullopt;
}

// Where a kernel of this path may have its modules: unpacked from a package, as vmlinuz beside lib or as
// boot/vmlinuz; installed on the host.
std::vector<fs::path> usual_module_folders(const fs::path& kernel, const std::string& release) {
    fs::path folder = fs::absolute(kernel).lexically_normal().parent_path();
    std::vector<fs::path> roots{folder, folder.parent_path(), "/"};
    for (fs::path& root : roots) root = root / "lib/modules" / release;
    return roots;
}

}  // namespace

std::string kernel_release(const std::vector<std::byte>& image) {
    constexpr std::size_t version_pointer = 0x20e;  // of the setup header; from 0x200 on
    std::uint16_t offset = 0;
    if (image.size() < version_pointer + 2) return {};
    std::memcpy(&offset, image.data() + version_pointer, sizeof offset);
    std::size_t at = offset + std::size_t{0x200};
    if (offset == 0 || at >= image.size()) return {};
    const char* text = reinterpret_cast<const char*>(image.data() + at);
    std::string_view version{text, ::strnlen(text, std::min<std::size_t>(image.size() - at, 64))};
    std::string release{version.substr(0, version.find(' '))};
    return release.find('/') == std::string::npos ? release : "";
}

std::vector<std::string> module_order(std::string_view dependencies,
                                      const std::vector<std::string_view>& wanted) {
    std::vector<std::string> order;
    auto add = [&order](std::string_view path) {
        if (std::ranges::find(order, path) == order.end()) order.emplace_back(path);
    };
    std::map<std::string, std::string_view> lines;
    while (!dependencies.empty()) {
        std::size_t end = std::min(dependencies.find('\n'), dependencies.size());
        std::string_view line = dependencies.substr(0, end);
        dependencies.remove_prefix(std::min(end + 1, dependencies.size()));
        if (std::size_t colon = line.find(':'); colon != std::string_view::npos)
            lines[module_name(line.substr(0, colon))] = line;
    }
    for (std::string_view name : wanted) {
        auto line = lines.find(std::string{name});
        if (line == lines.end()) continue;  // built in, let us hope
        std::size_t colon = line->second.find(':');
        auto needed = words_of(line->second.substr(colon + 1));
        for (auto path = needed.rbegin(); path != needed.rend(); ++path) add(*path);
        add(line->second.substr(0, colon));
    }
    return order;
}

Result<KernelFiles> find_kernel(const std::string& kernel, const std::string& modules) {
    KernelFiles files{.kernel = kernel, .modules = {}};
    if (kernel.empty()) {
        auto found = default_kernel();
        if (!found)
            return Error{
                "no kernel: give one with --kernel FILE, or have './run --setup' fetch Debian's (the host's "
                "own "
                "in /boot cannot be read)"};
        files.kernel = *found;
    }
    auto image = OpenFile::open(files.kernel);
    if (!image) return Error{"kernel " + image.error().message};
    std::vector<fs::path> folders;
    if (!modules.empty()) {
        folders.emplace_back(modules);
    } else if (std::string release = kernel_release(beginning_of(*image)); !release.empty()) {
        folders = usual_module_folders(files.kernel, release);
    }
    for (const fs::path& folder : folders) {
        auto dependencies = read_file((folder / "modules.dep").string());
        if (!dependencies && (!modules.empty() || fs::exists(folder)))
            return Error{"modules " + dependencies.error().message + "; depmod(8) makes this file"};
        if (!dependencies) continue;
        std::string_view text{reinterpret_cast<const char*>(dependencies->data()), dependencies->size()};
        for (const std::string& path : module_order(text, wanted_modules))
            files.modules.push_back((folder / path).string());
        break;
    }
    return files;
}

}  // namespace undercroft
