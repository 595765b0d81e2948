// SPDX-License-Identifier: Apache-2.0
// VcpuThreads: host threads that run a machine's vCPUs, one for each.
//
// Guest code runs with the guest's stack pointer in the host's, so no signal may be delivered on these
// threads but those that their own instructions raise, and these on an alternate stack: signals::block()
// comes first.

#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace undercroft {

class Machine;

class VcpuThreads {
public:
    VcpuThreads() = default;
    VcpuThreads(const VcpuThreads&) = delete;
    VcpuThreads& operator=(const VcpuThreads&) = delete;
    ~VcpuThreads() { join(); }

    // Once, or again after join(). The machine lives until then. `on_end` is called when the last vCPU has
    // ended, on its thread.
    void start(Machine& machine, std::function<void()> on_end);
    // Waits for the end. Nothing to do if they were not started.
    void join();

private:
    std::function<void()> on_end_;
    std::atomic<unsigned> running_{0};
    std::vector<std::thread> threads_;
};

}  // namespace undercroft
