#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Kernel bugs that Linux survives: it reports them, ends the process, and goes on. guests/programs/oops.c says
# how they come about.

. /scripts/expect

module=$(find /lib/modules -name dummy.ko)

# survives NAME KIND PATTERN: the log gets a report that matches, with registers; the shell lives on.
survives() {
    dmesg -c >/dev/null
    oops "$module" "$1" "$2" 2>/tmp/oops.log
    status=$?
    dmesg >/tmp/kernel.log
    if [ $status -le 128 ]; then
        echo "RESULT oops.$2 FAIL status $status $(cat /tmp/oops.log)"
    elif ! grep -q "$3" /tmp/kernel.log || ! grep -q 'RIP: 0010:.*init_module+0x' /tmp/kernel.log; then
        echo "RESULT oops.$2 FAIL the log says $(head -n 1 /tmp/kernel.log)"
    elif [ "$(seq 1 100 | sort -n | tail -n 1)" != 100 ]; then
        echo "RESULT oops.$2 FAIL nothing works any more"
    else
        echo "RESULT oops.$2 PASS"
    fi
}

survives bugs1 wild 'BUG: kernel NULL pointer dereference, address: 0000000000000000'
survives bugs2 noncanonical 'general protection fault, .*non-canonical address 0xdead000000000000'
survives bugs3 invalid 'invalid opcode: 0000'
