#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The kernel itself: modules with all they depend on, its own self-tests where this flavour has them, and no
# complaint in its log up to here.

. /scripts/expect

for module in virtio_mmio virtio_blk virtio_net virtio_console virtio_balloon virtiofs vmw_vsock_virtio_transport; do
    holds "kernel.module-$module" "modprobe $module && lsmod | grep -q ^$module"
done
for module in test_user_copy test_static_keys 9p 9pnet_virtio; do
    if find /lib/modules -name "$module.ko" | grep -q .; then
        holds "kernel.module-$module" "modprobe $module"
    else
        skip "kernel.module-$module" 'not in this flavour'
    fi
done
if grep -qw ext4 /proc/filesystems; then
    echo 'RESULT kernel.ext4 PASS'
else
    holds kernel.ext4 'modprobe ext4 && grep -qw ext4 /proc/filesystems'
fi
holds kernel.rmmod 'rmmod virtio_blk && modprobe virtio_blk'
holds kernel.random 'dd if=/dev/urandom bs=1M count=4 | wc -c | grep -q 4194304'
holds kernel.clocksource 'cat /sys/devices/system/clocksource/clocksource0/current_clocksource | grep -qE "tsc|kvm-clock|hpet|acpi_pm"'
holds kernel.proc 'cat /proc/interrupts /proc/iomem /proc/ioports /proc/slabinfo /proc/vmstat >/dev/null'
dmesg >/tmp/kernel.log
if grep -E 'WARNING:|BUG:|Oops|soft lockup|rcu.*stall|Call Trace' /tmp/kernel.log >/tmp/complaints; then
    echo "RESULT kernel.log FAIL $(head -n 1 /tmp/complaints)"
else
    echo 'RESULT kernel.log PASS'
fi
