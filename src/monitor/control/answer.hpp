// SPDX-License-Identifier: Apache-2.0
// What the monitor does with a request.

#pragma once

#include "monitor/control/protocol.hpp"
#include "monitor/tenant.hpp"

#include <memory>
#include <span>

namespace undercroft::control {

struct Answer {
    Reply reply;
    Tenant* console = nullptr;  // whose console the client shall be connected to
    Tenant* awaited = nullptr;  // whose end the client gets the reply after
};

Answer answer(const Request& request, std::span<const std::unique_ptr<Tenant>> tenants);

}  // namespace undercroft::control
