// SPDX-License-Identifier: Apache-2.0
#include "machine_file.hpp"

#include "base/fd.hpp"
#include "machine/memory_size.hpp"
#include "monitor/settings.hpp"

#include <fmt/core.h>
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string_view>

namespace undercroft {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t largest_file = 64 * 1024;

// Without its reason: the first line says which one it is not.
std::string_view kind_of(const toml::node& node) {
    switch (node.type()) {
        case toml::node_type::string: return "a string";
        case toml::node_type::integer: return "a whole number";
        case toml::node_type::floating_point: return "a number with a point";
        case toml::node_type::boolean: return "true or false";
        case toml::node_type::array: return "an array";
        case toml::node_type::table: return "a table";
        default: return "a date or time";
    }
}

// One file's reading: each key has a member, which says what is wrong with its value.
class MachineFile {
public:
    explicit MachineFile(const std::string& path) : folder_{fs::path{path}.parent_path()} {
        options_.machine.command_line = default_command_line;
        options_.name = fs::path{path}.stem().string();
    }

    using Reason = std::optional<std::string>;  // nothing: all is well
    Reason take(std::string_view key, const toml::node& value);
    Reason finish();
    const TenantOptions& options() const { return options_; }

private:
    using Member = Reason (MachineFile::*)(const toml::node&);
    struct Key {
        std::string_view name;
        Member member;
    };
    static const std::array<Key, 22> keys;

    Reason wrong(std::string_view reason) const { return fmt::format("{}: {}", key_, reason); }
    Reason wrong_kind(const toml::node& node, std::string_view wanted) const {
        return wrong(fmt::format("{}, not {}", kind_of(node), wanted));
    }
    Reason text(const toml::node& node, std::string& to) const {
        auto value = node.value_exact<std::string>();
        if (!value) return wrong_kind(node, "a string");
        if (value->empty()) return wrong("empty");
        if (value->find('\0') != std::string::npos) return wrong("has a zero byte");
        to = *std::move(value);
        return {};
    }
    Reason number(const toml::node& node, Result<unsigned> (*check)(std::int64_t), unsigned& to) const {
        auto given = node.value_exact<std::int64_t>();
        if (!given) return wrong_kind(node, "a whole number");
        auto value = check(*given);
        if (!value) return wrong(value.error().message);
        to = *value;
        return {};
    }
    std::string resolved(const std::string& path) const { return (folder_ / path).string(); }
    void resolve(FolderChoice& choice) const { choice.path = resolved(choice.path); }
    void resolve(DiskChoice& choice) const {
        choice.path = resolved(choice.path);
        if (choice.overlay && !choice.overlay->path.empty())
            choice.overlay->path = resolved(choice.overlay->path);
    }
    // "file:PATH" and "unix:PATH" have paths in them.
    void resolve_end(std::string& where) const {
        std::size_t colon = where.find(':');
        if (colon != std::string::npos && colon + 1 < where.size())
            where = where.substr(0, colon + 1) + resolved(where.substr(colon + 1));
    }
    void resolve(ChannelChoice& choice) const { resolve_end(choice.where); }
    Reason path(const toml::node& node, std::string& to) {
        if (Reason reason = text(node, to)) return reason;
        to = resolved(to);
        return {};
    }

    Reason name(const toml::node& node) { return text(node, options_.name); }
    Reason kernel(const toml::node& node) { return path(node, options_.machine.kernel); }
    Reason initrd(const toml::node& node) { return path(node, options_.machine.initrd); }
    Reason append(const toml::node& node);
    Reason memory(const toml::node& node);
    Reason processors(const toml::node& node) {
        return number(node, processor_count, options_.machine.processors);
    }
    Reason disks(const toml::node& node) { return each(node, options_.machine.disks, disk_named); }
    Reason folders(const toml::node& node) { return each(node, options_.machine.folders, folder_named); }
    Reason channels(const toml::node& node) { return each(node, options_.machine.channels, channel_named); }
    // An array of what has a path.
    template <class Choice>
    Reason each(const toml::node& node, std::vector<Choice>& to, Result<Choice> (*named)(const std::string&));
    Reason strings(const toml::node& node, std::vector<std::string>& to) const;
    Reason networks(const toml::node& node);
    Reason ports(const toml::node& node) { return strings(node, ports_); }
    Reason engine(const toml::node& node);
    Reason console(const toml::node& node);
    Reason log_file(const toml::node& node) { return path(node, options_.log_file); }
    Reason yes_or_no(const toml::node& node, bool& option) const;
    Reason reboot(const toml::node& node) { return yes_or_no(node, options_.reboot); }
    Reason balloon(const toml::node& node) { return yes_or_no(node, options_.machine.balloon); }
    Reason direct(const toml::node& node) { return yes_or_no(node, options_.machine.engine.direct); }
    Reason entropy(const toml::node& node) { return yes_or_no(node, options_.machine.entropy); }
    Reason vsock(const toml::node& node);
    Reason paravirtual(const toml::node& node);
    Reason weight(const toml::node& node) {
        return number(node, processor_weight, options_.machine.share.weight);
    }
    Reason cap(const toml::node& node) {
        return number(node, processor_cap, options_.machine.share.cap_percent);
    }

    fs::path folder_;
    std::string_view key_;  // whose value is being looked at
    TenantOptions options_;
    std::vector<std::string> ports_;
};

constexpr std::array<MachineFile::Key, 22> MachineFile::keys{
    {{"name", &MachineFile::name},         {"kernel", &MachineFile::kernel},
     {"initrd", &MachineFile::initrd},     {"append", &MachineFile::append},
     {"memory", &MachineFile::memory},     {"cpus", &MachineFile::processors},
     {"disks", &MachineFile::disks},       {"net", &MachineFile::networks},
     {"ports", &MachineFile::ports},       {"shares", &MachineFile::folders},
     {"channels", &MachineFile::channels}, {"entropy", &MachineFile::entropy},
     {"vsock", &MachineFile::vsock},       {"engine", &MachineFile::engine},
     {"direct", &MachineFile::direct},     {"console", &MachineFile::console},
     {"log-file", &MachineFile::log_file}, {"reboot", &MachineFile::reboot},
     {"balloon", &MachineFile::balloon},   {"paravirtual", &MachineFile::paravirtual},
     {"weight", &MachineFile::weight},     {"cap", &MachineFile::cap}}};

// What one may look for in a file, though it is not the machine's own.
constexpr std::array<std::string_view, 8> of_the_process{"pool", "swap",  "control", "processors",
                                                         "log",  "stats", "json",    "perf-map"};

MachineFile::Reason MachineFile::take(std::string_view key, const toml::node& value) {
    key_ = key;
    for (const Key& known : keys) {
        if (known.name == key) return (this->*known.member)(value);
    }
    if (std::ranges::find(of_the_process, key) != of_the_process.end())
        return wrong(fmt::format("belongs to the process, not to one machine: give it as --{}", key));
    return fmt::format("unknown key '{}'", key);
}

MachineFile::Reason MachineFile::finish() {
    if (auto name = machine_name(options_.name); !name) return name.error().message;
    if (options_.machine.kernel.empty()) return "no kernel: name one with kernel = \"FILE\"";
    if (auto added = add_ports(ports_, options_.machine); !added) return added.error().message;
    if (auto checked = check(options_.machine); !checked) return checked.error().message;
    return {};
}

MachineFile::Reason MachineFile::append(const toml::node& node) {
    std::string more;
    if (Reason reason = text(node, more)) return reason;
    options_.machine.command_line += " " + more;
    return {};
}

MachineFile::Reason MachineFile::memory(const toml::node& node) {
    std::string size;
    if (Reason reason = text(node, size)) return reason;
    auto bytes = parse_memory_size(size);
    if (!bytes) return bytes.error().message;
    options_.machine.memory = *bytes;
    return {};
}

MachineFile::Reason MachineFile::strings(const toml::node& node, std::vector<std::string>& to) const {
    const toml::array* list = node.as_array();
    if (list == nullptr) return wrong_kind(node, "an array of strings");
    for (const toml::node& element : *list) {
        if (Reason reason = text(element, to.emplace_back())) return reason;
    }
    return {};
}

template <class Choice>
MachineFile::Reason MachineFile::each(const toml::node& node, std::vector<Choice>& to,
                                      Result<Choice> (*named)(const std::string&)) {
    std::vector<std::string> list;
    if (Reason reason = strings(node, list)) return reason;
    for (const std::string& written : list) {
        auto choice = named(written);
        if (!choice) return choice.error().message;
        resolve(*choice);
        to.push_back(*std::move(choice));
    }
    return {};
}

MachineFile::Reason MachineFile::networks(const toml::node& node) {
    std::vector<std::string> list;
    Reason reason = node.is_string() ? text(node, list.emplace_back()) : strings(node, list);
    if (reason) return reason;
    for (const std::string& written : list) {
        auto network = network_named(written);
        if (!network) return network.error().message;
        options_.machine.networks.push_back(*std::move(network));
    }
    return {};
}

MachineFile::Reason MachineFile::engine(const toml::node& node) {
    std::string name;
    if (Reason reason = text(node, name)) return reason;
    auto kind = engine_named(name);
    if (!kind) return kind.error().message;
    options_.machine.engine.kind = *kind;
    return {};
}

MachineFile::Reason MachineFile::paravirtual(const toml::node& node) {
    std::string names;
    if (Reason reason = text(node, names)) return reason;
    auto features = paravirtual_features(names);
    if (!features) return features.error().message;
    options_.machine.paravirtual = *features;
    return {};
}

MachineFile::Reason MachineFile::console(const toml::node& node) {
    if (Reason reason = text(node, options_.console)) return reason;
    resolve_end(options_.console);
    return {};
}

MachineFile::Reason MachineFile::yes_or_no(const toml::node& node, bool& option) const {
    auto given = node.value_exact<bool>();
    if (!given) return wrong_kind(node, "true or false");
    option = *given;
    return {};
}

MachineFile::Reason MachineFile::vsock(const toml::node& node) {
    std::string written;
    if (Reason reason = text(node, written)) return reason;
    auto choice = vsock_named(written);
    if (!choice) return choice.error().message;
    choice->path = resolved(choice->path);
    options_.machine.vsock = *std::move(choice);
    return {};
}

}  // namespace

Result<TenantOptions> read_machine_file(const std::string& path) {
    auto bytes = read_file(path, largest_file);
    if (!bytes) return Error{"machine " + bytes.error().message};
    auto at = [&path](const toml::source_region& place, std::string_view reason) {
        return Error{fmt::format("{}:{}: {}", path, place.begin.line, reason)};
    };
    try {
        toml::table table =
            toml::parse(std::string_view{reinterpret_cast<const char*>(bytes->data()), bytes->size()}, path);
        MachineFile file{path};
        for (const auto& [key, value] : table) {
            if (auto reason = file.take(key.str(), value)) return at(key.source(), *reason);
        }
        if (auto reason = file.finish()) return Error{path + ": " + *reason};
        return file.options();
    } catch (const toml::parse_error& error) {
        return at(error.source(), error.description());
    }
}

}  // namespace undercroft
