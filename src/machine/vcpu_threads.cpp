// SPDX-License-Identifier: Apache-2.0
#include "vcpu_threads.hpp"

#include "base/check.hpp"
#include "machine/halt.hpp"
#include "machine/machine.hpp"
#include "machine/signals.hpp"

#include <utility>

namespace undercroft {

void VcpuThreads::start(Machine& machine, std::function<void()> on_end) {
    CHECK(threads_.empty(), "started once");
    on_end_ = std::move(on_end);
    running_ = machine.processors();
    for (unsigned processor = 0; processor < machine.processors(); ++processor) {
        threads_.emplace_back([this, &machine, processor] {
            signals::AlternateStack stack;
            ask_for_precise_sleep();
            machine.run(processor);
            if (--running_ == 0) on_end_();
        });
    }
}

void VcpuThreads::join() {
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
}

}  // namespace undercroft
