// SPDX-License-Identifier: Apache-2.0
// The journal: everything that one processor learned from its environment, in order, for another to learn the
// same.
//
// A Recorder stands between the leader and the real environment and writes down each call with its answer,
// and what devices wrote to guest memory meanwhile. A Replayer is the follower's environment: each of its
// calls must be the next in the journal, with the same arguments, and gets the same answer. Reports go to the
// real environment only.

#pragma once

#include "cpu/environment.hpp"
#include "cpu/vcpu.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace undercroft::lockstep {

struct DeviceWrite {
    GuestPhysical address;
    std::vector<std::byte> bytes;
};

struct Event {
    enum class Kind : std::uint8_t {
        ReadPort,
        WritePort,
        ReadDevice,
        WriteDevice,
        ReadMsr,
        WriteMsr,
        Acknowledge,
        ReadPriority,
        WritePriority,
        TimeStamp,
        Random,
    };
    Kind kind;
    std::uint64_t address = 0;  // port, MSR, physical address; nothing for the others
    unsigned size = 0;          // bytes
    std::uint64_t given = 0;    // what was written
    std::uint64_t answer = 0;
    bool known = true;  // the answer was not "no"
    std::vector<DeviceWrite> writes{};

    bool same_question(const Event& other) const {
        return kind == other.kind && address == other.address && size == other.size && given == other.given;
    }
};

// "port 0x3f8 written, 1 byte, value 0x41".
std::string describe(const Event& event);

class Journal {
public:
    Event& add(Event event) {
        events_.push_back(std::move(event));
        return events_.back();
    }
    // The next event to replay; null at the end.
    const Event* next() { return replayed_ < events_.size() ? &events_[replayed_++] : nullptr; }
    // The first event that nobody has asked for; null if all were.
    const Event* left() const { return replayed_ < events_.size() ? &events_[replayed_] : nullptr; }
    void clear() {
        events_.clear();
        replayed_ = 0;
    }

private:
    std::vector<Event> events_;
    std::size_t replayed_ = 0;
};

class Recorder final : public Environment {
public:
    Recorder(Environment& real, Journal& journal) : real_{real}, journal_{journal} {}

    std::uint64_t read_port(std::uint16_t port, unsigned size) noexcept override;
    void write_port(std::uint16_t port, unsigned size, std::uint64_t value) noexcept override;
    std::uint64_t read_device(GuestPhysical address, unsigned size) noexcept override;
    void write_device(GuestPhysical address, unsigned size, std::uint64_t value) noexcept override;
    std::optional<std::uint64_t> read_msr(Vcpu& vcpu, std::uint32_t index) noexcept override;
    bool write_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) noexcept override;
    std::optional<std::uint8_t> acknowledge_interrupt(Vcpu& vcpu) noexcept override;
    std::uint8_t task_priority(Vcpu& vcpu) noexcept override;
    void set_task_priority(Vcpu& vcpu, std::uint8_t priority) noexcept override;
    void report(const Vcpu& vcpu, Unusual what, std::uint64_t detail) noexcept override {
        real_.report(vcpu, what, detail);
    }
    std::uint64_t host_time_stamp() noexcept override;
    std::optional<std::uint64_t> random(RandomSource source, unsigned size) noexcept override;

    Environment& real() const { return real_; }
    // A call is on its way.
    bool recording() const noexcept { return current_ != nullptr; }
    // Meanwhile a device has written guest memory.
    void device_wrote(const GuestMemory& memory, GuestPhysical address, std::uint64_t length) noexcept;

private:
    // Adds the event, then has `call` find its answer.
    template <class Call>
    auto record(Event event, Call call);

    Environment& real_;
    Journal& journal_;
    Event* current_ = nullptr;
};

class Replayer final : public Environment {
public:
    explicit Replayer(Journal& journal) : journal_{journal} {}
    // Where the devices' writes go.
    void set_mmu(Mmu& mmu) { mmu_ = &mmu; }

    std::uint64_t read_port(std::uint16_t port, unsigned size) noexcept override;
    void write_port(std::uint16_t port, unsigned size, std::uint64_t value) noexcept override;
    std::uint64_t read_device(GuestPhysical address, unsigned size) noexcept override;
    void write_device(GuestPhysical address, unsigned size, std::uint64_t value) noexcept override;
    std::optional<std::uint64_t> read_msr(Vcpu& vcpu, std::uint32_t index) noexcept override;
    bool write_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) noexcept override;
    std::optional<std::uint8_t> acknowledge_interrupt(Vcpu& vcpu) noexcept override;
    std::uint8_t task_priority(Vcpu& vcpu) noexcept override;
    void set_task_priority(Vcpu& vcpu, std::uint8_t priority) noexcept override;
    void report(const Vcpu&, Unusual, std::uint64_t) noexcept override {}
    std::uint64_t host_time_stamp() noexcept override;
    std::optional<std::uint64_t> random(RandomSource source, unsigned size) noexcept override;

    // The first call that was not the leader's; empty: all were.
    const std::string& complaint() const { return complaint_; }

private:
    std::optional<std::uint64_t> replay(const Event& question);

    Journal& journal_;
    Mmu* mmu_ = nullptr;
    std::string complaint_;
};

}  // namespace undercroft::lockstep
