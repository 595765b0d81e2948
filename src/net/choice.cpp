// SPDX-License-Identifier: Apache-2.0
#include "net/choice.hpp"

#include "net/tap.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <string_view>

namespace undercroft {
namespace {

std::optional<MacAddress> address_named(std::string_view text) {
    MacAddress address{};
    if (text.size() != 3 * address.size() - 1) return std::nullopt;
    for (std::size_t n = 0; n < address.size(); ++n) {
        const char* digits = text.data() + 3 * n;
        auto [end, error] = std::from_chars(digits, digits + 2, address[n], 16);
        if (error != std::errc{} || end != digits + 2) return std::nullopt;
        if (n + 1 < address.size() && *end != ':') return std::nullopt;
    }
    return address;
}

// Why it cannot be taken, or nothing.
std::string take_option(NetChoice& choice, std::string_view option) {
    constexpr std::string_view mac = "mac=";
    if (option.starts_with(mac)) {
        choice.address = address_named(option.substr(mac.size()));
        if (!choice.address) return fmt::format("'{}' is not like mac=52:54:00:12:34:56", option);
        bool for_several = ((*choice.address)[0] & 1) != 0;
        return for_several ? fmt::format("'{}' is an address of a group", option) : "";
    }
    if (option != "restricted") return fmt::format("unknown option '{}'", option);
    if (choice.kind != NetChoice::Kind::User) return "only 'user' can be restricted";
    choice.reach = UserNetwork::Reach::Restricted;
    return {};
}

}  // namespace

Result<NetChoice> network_named(const std::string& text) {
    auto wrong = [&text](std::string_view reason) {
        return Error{fmt::format("network '{}': {}", text, reason)};
    };
    std::string_view rest = text;
    auto next = [&rest] {
        std::string_view word = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(word.size() + 1, rest.size()));
        return word;
    };
    NetChoice choice;
    std::string_view kind = next();
    std::string_view name = kind.substr(std::min(kind.find(':'), kind.size()));
    kind.remove_suffix(name.size());
    if (kind == "tap") choice.kind = NetChoice::Kind::Tap;
    if (kind == "switch") choice.kind = NetChoice::Kind::Switch;
    bool user = choice.kind == NetChoice::Kind::User;
    if ((user && kind != "user") || (user && !name.empty()))
        return wrong("not one of user, tap:NAME, switch:NAME");
    if (!user && name.size() < 2) return wrong("its name is missing");
    if (!user) choice.name = name.substr(1);
    while (!rest.empty()) {
        if (std::string reason = take_option(choice, next()); !reason.empty()) return wrong(reason);
    }
    return choice;
}

Result<std::unique_ptr<NetBackend>> open_network(const NetChoice& choice, Switches& switches) {
    switch (choice.kind) {
        case NetChoice::Kind::Tap: return open_tap(choice.name);
        case NetChoice::Kind::Switch: return Switch::connect(switches.named(choice.name));
        case NetChoice::Kind::User: break;
    }
    return UserNetwork::open(choice.reach, choice.ports);
}

MacAddress usual_address(const std::string& machine, unsigned device) {
    std::uint32_t hash = 0x811c9dc5;  // FNV-1a
    auto mix = [&hash](unsigned char byte) { hash = (hash ^ byte) * 0x01000193; };
    for (char letter : machine) mix(static_cast<unsigned char>(letter));
    mix(static_cast<unsigned char>(device));
    auto byte = [&hash](unsigned shift) { return static_cast<std::uint8_t>(hash >> shift); };
    return {0x52, 0x55, byte(24), byte(16), byte(8), byte(0)};
}

}  // namespace undercroft
