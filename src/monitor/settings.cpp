// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include "machine/layout.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>

namespace undercroft {

Result<EngineKind> engine_named(const std::string& name) {
    if (name == "translate") return EngineKind::Translate;
    if (name == "step") return EngineKind::Step;
    if (name == "lockstep") return EngineKind::Lockstep;
    return Error{"engine '" + name + "': not one of translate, step, lockstep"};
}

// A comma ends the file's name, so that more can be said of a disk.
Result<DiskChoice> disk_named(const std::string& text) {
    std::size_t comma = text.find(',');
    DiskChoice disk{.path = text.substr(0, comma)};
    if (comma != std::string::npos) {
        std::string word = text.substr(comma + 1);
        if (word != "ro") return Error{fmt::format("disk '{}': '{}' is not 'ro'", text, word)};
        disk.access = DiskAccess::ReadOnly;
    }
    return disk;
}

Result<unsigned> processor_count(std::int64_t count) {
    if (count < 1 || count > std::int64_t{layout::max_processors})
        return Error{fmt::format("{}: not from 1 to {}", count, layout::max_processors)};
    return static_cast<unsigned>(count);
}

Result<std::string> machine_name(const std::string& name) {
    constexpr std::size_t longest = 32;
    auto allowed = [](unsigned char c) {
        return c < 0x80 && (std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-');
    };
    if (name.empty() || name.size() > longest)
        return Error{fmt::format("name '{}': not from 1 to {} characters", name, longest)};
    if (!std::ranges::all_of(name, allowed) || name.front() == '-')
        return Error{fmt::format("name '{}': not of letters, digits, '.', '_' and '-'", name)};
    return name;
}

Result<void> check(const MachineConfig& config) {
    bool lockstep = config.engine.kind == EngineKind::Lockstep;
    std::size_t slots = layout::virtio_slot_count - (config.balloon ? 1u : 0u);
    if (config.disks.size() > slots)
        return Error{fmt::format("{} disks: at most {}{}", config.disks.size(), slots,
                                 config.balloon ? " beside a balloon" : "")};
    if (lockstep && config.balloon)
        return Error{"engine lockstep cannot follow what a balloon takes away: leave it out"};
    if (lockstep && config.processors > 1) return Error{"engine lockstep follows one virtual processor only"};
    if (lockstep && !config.disks.empty())
        return Error{"engine lockstep cannot follow what disks write to memory: leave them out"};
    return {};
}

}  // namespace undercroft
