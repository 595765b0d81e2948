// SPDX-License-Identifier: Apache-2.0
// `undercroft stop` presses the power button: a stock guest with an ACPI daemon powers off in good order.

#include "small_machines.hpp"

namespace undercroft {
namespace {

struct PowerButton : SmallMachines {};

TEST_F(PowerButton, AGuestPowersItselfOff) {
    NEED_GUEST(Image::Plain);
    std::vector<std::string> arguments = run_script("shell");
    arguments.insert(arguments.end(), {"--name", "guest"});
    GuestProcess guest{arguments};
    guest.send("while ! pidof acpid; do :; done; echo listening=$((1 + 1))\n");
    ASSERT_TRUE(guest.wait_for("listening=2", patience(60))) << CONSOLE_OF(guest);
    Ran stop = undercroft({"stop", "guest"});
    EXPECT_EQ(stop.status, 0) << stop.errors;
    EXPECT_TRUE(guest.wait_for("undercroft: the power button was pressed", patience(30)))
        << CONSOLE_OF(guest);
    EXPECT_EQ(guest.wait_for_exit(patience(30)), 0) << CONSOLE_OF(guest);
}

}  // namespace
}  // namespace undercroft
