// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include "base/words.hpp"
#include "machine/layout.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <span>
#include <vector>

namespace undercroft {
namespace {

Result<unsigned> from_one_to(unsigned most, std::int64_t number) {
    if (number < 1 || number > std::int64_t{most})
        return Error{fmt::format("{}: not from 1 to {}", number, most)};
    return static_cast<unsigned>(number);
}

}  // namespace

Result<EngineKind> engine_named(const std::string& name) {
    if (name == "translate") return EngineKind::Translate;
    if (name == "direct") return EngineKind::Direct;
    if (name == "step") return EngineKind::Step;
    if (name == "lockstep") return EngineKind::Lockstep;
    return Error{"engine '" + name + "': not one of translate, direct, step, lockstep"};
}

// Commas end a file's name, so that more can be said of a disk.
Result<DiskChoice> disk_named(const std::string& text) {
    std::vector<std::string_view> words = words_between_commas(text);
    DiskChoice disk{.path = std::string{words.front()}};
    auto refuse = [&](std::string reason) { return Error{fmt::format("disk '{}': {}", text, reason)}; };
    if (disk.path.empty()) return refuse("no file named");
    for (std::string_view word : std::span{words}.subspan(1)) {
        if (word == "ro")
            disk.access = DiskAccess::ReadOnly;
        else if (word == "format=raw")
            disk.format = DiskFormat::Raw;
        else if (word == "format=qcow2")
            disk.format = DiskFormat::Qcow2;
        else if (word == "overlay=discard")
            disk.overlay.emplace();
        else if (word.starts_with("overlay=") && word.size() > 8)
            disk.overlay.emplace(DiskChoice::Overlay{std::string{word.substr(8)}});
        else
            return refuse(fmt::format(
                "'{}' is not ro, format=raw, format=qcow2, overlay=FILE or overlay=discard", word));
    }
    if (disk.overlay && disk.access == DiskAccess::ReadOnly)
        return refuse("'ro' and an overlay: with an overlay the file is only read anyway");
    return disk;
}

Result<void> add_ports(const std::vector<std::string>& ports, MachineConfig& config) {
    auto user = std::ranges::find(config.networks, NetChoice::Kind::User, &NetChoice::kind);
    for (const std::string& text : ports) {
        auto port = port_forward_named(text);
        if (!port) return port.error();
        if (user == config.networks.end())
            return Error{fmt::format("port '{}': there is no network of the kind 'user'", text)};
        user->ports.push_back(*port);
    }
    return {};
}

Result<FolderChoice> folder_named(const std::string& text) {
    auto refused = [&text](const std::string& reason) { return Error{"share '" + text + "': " + reason}; };
    std::vector<std::string_view> words = words_between_commas(text);
    FolderChoice folder{.path = std::string{words.front()}, .tag = "share", .options = {}};
    for (std::string_view word : std::span{words}.subspan(1)) {
        if (word == "ro") {
            folder.options.access = FolderAccess::ReadOnly;
        } else if (word.starts_with("tag=")) {
            auto tag = machine_name(std::string{word.substr(4)});
            if (!tag) return refused("tag: " + tag.error().message);
            folder.tag = *tag;
        } else {
            return refused(fmt::format("'{}' is neither 'ro' nor 'tag=NAME'", word));
        }
    }
    if (folder.path.empty()) return refused("no folder");
    return folder;
}

Result<ChannelChoice> channel_named(const std::string& text) {
    std::size_t end = text.find('=');
    if (end == std::string::npos)
        return Error{"channel '" + text + "': not NAME=unix:PATH or NAME=file:PATH"};
    auto name = machine_name(text.substr(0, end));
    if (!name) return Error{"channel '" + text + "': " + name.error().message};
    return ChannelChoice{.name = *name, .where = text.substr(end + 1)};
}

Result<unsigned> processor_count(std::int64_t count) { return from_one_to(layout::max_processors, count); }
Result<unsigned> processor_weight(std::int64_t weight) {
    return from_one_to(ShareOptions::most_weight, weight);
}
Result<unsigned> processor_cap(std::int64_t percent) { return from_one_to(ShareOptions::most_cap, percent); }

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

Result<std::uint32_t> paravirtual_features(std::string_view text) {
    struct Feature {
        std::string_view name;
        std::uint32_t bits;
    };
    constexpr std::array<Feature, 3> known{{{"all", Paravirtual::All},
                                            {"steal-time", Paravirtual::StealTime},
                                            {"tlb-flush", Paravirtual::TlbFlush}}};
    std::uint32_t features = 0;
    for (std::string_view word : words_between_commas(text)) {
        if (word == "none") {
            features = 0;
            continue;
        }
        bool leave_out = word.starts_with('-');
        auto found = std::find_if(known.begin(), known.end(), [&](const Feature& feature) {
            return feature.name == word.substr(leave_out ? 1 : 0);
        });
        if (found == known.end())
            return Error{
                fmt::format("paravirtual feature '{}': not one of all, none, steal-time, tlb-flush", word)};
        features = leave_out ? features & ~found->bits : features | found->bits;
    }
    return features;
}

Result<void> check(const MachineConfig& config) {
    bool lockstep = config.engine.kind == EngineKind::Lockstep;
    if (config.virtio_devices() > layout::virtio_slot_count)
        return Error{fmt::format("{} devices (disks, networks, shares, others): at most {}",
                                 config.virtio_devices(), layout::virtio_slot_count)};
    for (const FolderChoice& folder : config.folders) {
        auto same = [&](const FolderChoice& other) { return other.tag == folder.tag; };
        if (std::ranges::count_if(config.folders, same) > 1)
            return Error{
                fmt::format("two shares have the tag '{}': tell them apart with ',tag=NAME'", folder.tag)};
    }
    for (const ChannelChoice& channel : config.channels) {
        auto same = [&](const ChannelChoice& other) { return other.name == channel.name; };
        if (std::ranges::count_if(config.channels, same) > 1)
            return Error{fmt::format("two channels have the name '{}'", channel.name)};
        if (!channel.where.starts_with("unix:") && !channel.where.starts_with("file:"))
            return Error{fmt::format("channel '{}': '{}' is neither unix:PATH nor file:PATH", channel.name,
                                     channel.where)};
    }
    if (config.channels.size() > layout::most_channels)
        return Error{fmt::format("{} channels: at most {}", config.channels.size(), layout::most_channels)};
    if (lockstep && config.has_console_ports())
        return Error{"engine lockstep cannot follow what channels write to memory: leave them out"};
    if (lockstep && config.balloon)
        return Error{"engine lockstep cannot follow what a balloon takes away: leave it out"};
    if (lockstep && (config.entropy || config.vsock))
        return Error{
            "engine lockstep cannot follow what devices write to memory: leave entropy and vsock out"};
    if (lockstep && config.processors > 1) return Error{"engine lockstep follows one virtual processor only"};
    if (lockstep && !config.disks.empty())
        return Error{"engine lockstep cannot follow what disks write to memory: leave them out"};
    if (lockstep && !config.networks.empty())
        return Error{"engine lockstep cannot follow what networks write to memory: leave them out"};
    if (lockstep && !config.folders.empty())
        return Error{"engine lockstep cannot follow what shares write to memory: leave them out"};
    return {};
}

}  // namespace undercroft
