// SPDX-License-Identifier: Apache-2.0
#include "console_backend.hpp"

#include "machine/console_file.hpp"
#include "machine/console_socket.hpp"

#include <string_view>

namespace undercroft {

Result<std::unique_ptr<ConsoleBackend>> ConsoleBackend::open(const std::string& where) {
    constexpr std::string_view file = "file:";
    constexpr std::string_view socket = "unix:";
    if (where == "stdio") return StdioConsole::open();
    if (where.starts_with(file) && where.size() > file.size())
        return FileConsole::open(where.substr(file.size()));
    if (where.starts_with(socket) && where.size() > socket.size()) {
        return SocketConsole::open(where.substr(socket.size()));
    }
    return Error{"console '" + where + "': not stdio, file:PATH or unix:PATH"};
}

}  // namespace undercroft
