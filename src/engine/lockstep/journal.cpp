// SPDX-License-Identifier: Apache-2.0
#include "engine/lockstep/journal.hpp"

#include <fmt/format.h>

namespace undercroft::lockstep {
namespace {

using Kind = Event::Kind;

bool writes(Kind kind) {
    return kind == Kind::WritePort || kind == Kind::WriteDevice || kind == Kind::WriteMsr ||
           kind == Kind::WritePriority;
}

const char* noun(Kind kind) {
    switch (kind) {
        case Kind::ReadPort:
        case Kind::WritePort: return "port";
        case Kind::ReadDevice:
        case Kind::WriteDevice: return "device memory";
        case Kind::ReadMsr:
        case Kind::WriteMsr: return "MSR";
        case Kind::Acknowledge: return "interrupt acknowledgement";
        case Kind::ReadPriority:
        case Kind::WritePriority: return "task priority";
        case Kind::TimeStamp: return "time-stamp counter";
        case Kind::Random: return "random number";
    }
    return "?";
}

}  // namespace

std::string describe(const Event& event) {
    std::string text = noun(event.kind);
    if (event.address != 0) text += fmt::format(" {:#x}", event.address);
    if (event.size != 0) text += fmt::format(", {} bytes", event.size);
    return writes(event.kind) ? text + fmt::format(", written {:#x}", event.given) : text + ", read";
}

template <class Call>
auto Recorder::record(Event event, Call call) {
    current_ = &journal_.add(std::move(event));
    auto answer = call(*current_);
    current_ = nullptr;
    return answer;
}

void Recorder::device_wrote(const GuestMemory& memory, GuestPhysical address, std::uint64_t length) noexcept {
    std::vector<std::byte> bytes(length);
    if (memory.read(address, bytes)) current_->writes.push_back({address, std::move(bytes)});
}

std::uint64_t Recorder::read_port(std::uint16_t port, unsigned size) noexcept {
    return record({.kind = Kind::ReadPort, .address = port, .size = size},
                  [&](Event& event) { return event.answer = real_.read_port(port, size); });
}

void Recorder::write_port(std::uint16_t port, unsigned size, std::uint64_t value) noexcept {
    record({.kind = Kind::WritePort, .address = port, .size = size, .given = value}, [&](Event&) {
        real_.write_port(port, size, value);
        return true;
    });
}

std::uint64_t Recorder::read_device(GuestPhysical address, unsigned size) noexcept {
    return record({.kind = Kind::ReadDevice, .address = address.value(), .size = size},
                  [&](Event& event) { return event.answer = real_.read_device(address, size); });
}

void Recorder::write_device(GuestPhysical address, unsigned size, std::uint64_t value) noexcept {
    record({.kind = Kind::WriteDevice, .address = address.value(), .size = size, .given = value},
           [&](Event&) {
               real_.write_device(address, size, value);
               return true;
           });
}

std::optional<std::uint64_t> Recorder::read_msr(Vcpu& vcpu, std::uint32_t index) noexcept {
    return record({.kind = Kind::ReadMsr, .address = index}, [&](Event& event) {
        auto answer = real_.read_msr(vcpu, index);
        event.known = answer.has_value();
        event.answer = answer.value_or(0);
        return answer;
    });
}

bool Recorder::write_msr(Vcpu& vcpu, std::uint32_t index, std::uint64_t value) noexcept {
    return record({.kind = Kind::WriteMsr, .address = index, .given = value},
                  [&](Event& event) { return event.known = real_.write_msr(vcpu, index, value); });
}

std::optional<std::uint8_t> Recorder::acknowledge_interrupt(Vcpu& vcpu) noexcept {
    return record({.kind = Kind::Acknowledge}, [&](Event& event) {
        auto answer = real_.acknowledge_interrupt(vcpu);
        event.known = answer.has_value();
        event.answer = answer.value_or(0);
        return answer;
    });
}

std::uint8_t Recorder::task_priority(Vcpu& vcpu) noexcept {
    return record({.kind = Kind::ReadPriority}, [&](Event& event) {
        std::uint8_t answer = real_.task_priority(vcpu);
        event.answer = answer;
        return answer;
    });
}

void Recorder::set_task_priority(Vcpu& vcpu, std::uint8_t priority) noexcept {
    record({.kind = Kind::WritePriority, .given = priority}, [&](Event&) {
        real_.set_task_priority(vcpu, priority);
        return true;
    });
}

std::uint64_t Recorder::host_time_stamp() noexcept {
    return record({.kind = Kind::TimeStamp},
                  [&](Event& event) { return event.answer = real_.host_time_stamp(); });
}

std::optional<std::uint64_t> Recorder::random(RandomSource source, unsigned size) noexcept {
    return record({.kind = Kind::Random, .address = static_cast<std::uint64_t>(source), .size = size},
                  [&](Event& event) {
                      auto answer = real_.random(source, size);
                      event.known = answer.has_value();
                      event.answer = answer.value_or(0);
                      return answer;
                  });
}

std::optional<std::uint64_t> Replayer::replay(const Event& question) {
    const Event* event = journal_.next();
    if (event == nullptr || !event->same_question(question)) {
        if (complaint_.empty())
            complaint_ = fmt::format("stepped: {}; translated: {}", describe(question),
                                     event != nullptr ? describe(*event) : "nothing of the kind");
        return std::nullopt;
    }
    for (const DeviceWrite& write : event->writes) {
        mmu_->memory().write(write.address, write.bytes);
        mmu_->code_pages().wrote(write.address, write.bytes.size());
    }
    return event->known ? std::optional{event->answer} : std::nullopt;
}

std::uint64_t Replayer::read_port(std::uint16_t port, unsigned size) noexcept {
    return replay({.kind = Kind::ReadPort, .address = port, .size = size}).value_or(0);
}

void Replayer::write_port(std::uint16_t port, unsigned size, std::uint64_t value) noexcept {
    replay({.kind = Kind::WritePort, .address = port, .size = size, .given = value});
}

std::uint64_t Replayer::read_device(GuestPhysical address, unsigned size) noexcept {
    return replay({.kind = Kind::ReadDevice, .address = address.value(), .size = size}).value_or(0);
}

void Replayer::write_device(GuestPhysical address, unsigned size, std::uint64_t value) noexcept {
    replay({.kind = Kind::WriteDevice, .address = address.value(), .size = size, .given = value});
}

std::optional<std::uint64_t> Replayer::read_msr(Vcpu&, std::uint32_t index) noexcept {
    return replay({.kind = Kind::ReadMsr, .address = index});
}

bool Replayer::write_msr(Vcpu&, std::uint32_t index, std::uint64_t value) noexcept {
    return replay({.kind = Kind::WriteMsr, .address = index, .given = value}).has_value();
}

std::optional<std::uint8_t> Replayer::acknowledge_interrupt(Vcpu&) noexcept {
    auto answer = replay({.kind = Kind::Acknowledge});
    return answer ? std::optional{static_cast<std::uint8_t>(*answer)} : std::nullopt;
}

std::uint8_t Replayer::task_priority(Vcpu&) noexcept {
    return static_cast<std::uint8_t>(replay({.kind = Kind::ReadPriority}).value_or(0));
}

void Replayer::set_task_priority(Vcpu&, std::uint8_t priority) noexcept {
    replay({.kind = Kind::WritePriority, .given = priority});
}

std::uint64_t Replayer::host_time_stamp() noexcept { return replay({.kind = Kind::TimeStamp}).value_or(0); }

std::optional<std::uint64_t> Replayer::random(RandomSource source, unsigned size) noexcept {
    return replay({.kind = Kind::Random, .address = static_cast<std::uint64_t>(source), .size = size});
}

}  // namespace undercroft::lockstep
