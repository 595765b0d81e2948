// SPDX-License-Identifier: Apache-2.0
// What the verbs that speak to running monitors have in common: how they name a machine, and how they answer.

#pragma once

#include "monitor/control/client.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace undercroft::cli {

using Done = std::function<void(int status)>;  // called by the verb that was chosen

struct ControlArguments {
    std::string control;  // a monitor's socket; empty: any of this user's
    bool json = false;

    std::optional<std::string> path() const {
        return control.empty() ? std::nullopt : std::optional{control};
    }
};
void add_control_options(CLI::App& verb, ControlArguments& arguments);

struct MachineArguments : ControlArguments {
    std::string machine;
};
// A verb for one machine, with the options above.
CLI::App& add_machine_verb(CLI::App& app, const std::string& name, const std::string& description,
                           MachineArguments& arguments);

// Sends the request about arguments.machine to its monitor, says what came of it, and returns the exit
// status.
int ask_about_machine(const MachineArguments& arguments, control::Request request,
                      const control::Patience& patience = {});

// The same for a failure that is known already: a line on standard error, or JSON on standard output.
int refuse(const ControlArguments& arguments, const Error& error);

}  // namespace undercroft::cli
