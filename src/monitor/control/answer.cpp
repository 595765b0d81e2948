// SPDX-License-Identifier: Apache-2.0
#include "answer.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <chrono>

namespace undercroft::control {
namespace {

const char* name_of(Tenant::State state) {
    switch (state) {
        case Tenant::State::Loading: return "loading";
        case Tenant::State::Running: return "running";
        case Tenant::State::Paused: return "paused";
        case Tenant::State::Ended: return "ended";
    }
    return "";
}

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>{time}.count(); }

Reply list(std::span<const std::unique_ptr<Tenant>> tenants) {
    Reply reply;
    reply.process = static_cast<std::uint64_t>(getpid());
    reply.time = seconds(std::chrono::steady_clock::now().time_since_epoch());
    reply.frames = host_memory(tenants);
    for (const auto& tenant : tenants) {
        const MachineConfig& config = tenant->options().machine;
        reply.machines.push_back({.name = tenant->name(),
                                  .state = name_of(tenant->state()),
                                  .processors = config.processors,
                                  .memory = config.memory,
                                  .up = seconds(tenant->up()),
                                  .figures = tenant->figures()});
    }
    return reply;
}

}  // namespace

Answer answer(const Request& request, std::span<const std::unique_ptr<Tenant>> tenants) {
    if (request.verb == Verb::List) return {.reply = list(tenants)};
    auto refuse = [](std::string reason) {
        return Answer{.reply = {.error = std::move(reason), .machines = {}}};
    };
    Tenant* tenant = nullptr;
    for (const auto& each : tenants) {
        if (each->name() == request.machine) tenant = each.get();
    }
    if (tenant == nullptr) return refuse(fmt::format("no machine '{}'", request.machine));
    if (tenant->state() == Tenant::State::Ended)
        return refuse(fmt::format("machine '{}' has ended", request.machine));
    switch (request.verb) {
        case Verb::List: break;
        case Verb::Pause: tenant->pause(); break;
        case Verb::Resume: tenant->resume(); break;
        case Verb::Stop:
            if (request.now) {
                tenant->stop();
            } else if (auto pressed = tenant->press_power_button(); !pressed) {
                return refuse(fmt::format("machine '{}': {}", request.machine, pressed.error().message));
            }
            return {.reply = {}, .awaited = tenant};
        case Verb::Console: return {.reply = {}, .console = tenant};
        case Verb::Balloon:
            if (auto asked = tenant->set_memory_target(request.bytes); !asked)
                return refuse(fmt::format("machine '{}': {}", request.machine, asked.error().message));
            break;
    }
    return {.reply = {}};
}

}  // namespace undercroft::control
