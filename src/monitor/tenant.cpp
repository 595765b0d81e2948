// SPDX-License-Identifier: Apache-2.0
#include "tenant.hpp"

#include "base/log.hpp"
#include "disk/patient_disk.hpp"

#include <utility>

namespace undercroft {
namespace {

using SteadyClock = std::chrono::steady_clock;
const SteadyClock::time_point process_start = SteadyClock::now();

// Lockstep executes some hundred times slower than translated code. More would make a guest's busy waits too
// long.
constexpr std::uint64_t lockstep_slowness = 32;

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>{time}.count(); }
double since_start(SteadyClock::time_point time = SteadyClock::now()) {
    return seconds(time - process_start);
}

}  // namespace

Result<std::unique_ptr<Tenant>> Tenant::create(TenantOptions options, EventLoop& loop, Images& images,
                                               Switches& switches) {
    auto ended = Doorbell::create();
    auto loaded = Doorbell::create();
    auto failed = Doorbell::create();
    auto room = Doorbell::create();
    if (!ended) return ended.error();
    if (!loaded) return loaded.error();
    if (!failed) return failed.error();
    if (!room) return room.error();
    std::unique_ptr<Tenant> tenant{
        new Tenant{std::move(options), loop,
                   Bells{*std::move(ended), *std::move(loaded), *std::move(failed), *std::move(room)}}};
    if (auto opened = tenant->open_disks(images); !opened) return opened.error();
    if (auto opened = tenant->open_networks(switches); !opened) return opened.error();
    if (auto opened = tenant->open_folders(); !opened) return opened.error();
    if (auto opened = tenant->open_vsock(); !opened) return opened.error();
    return tenant;
}

Tenant::Tenant(TenantOptions options, EventLoop& loop, Bells bells)
    : options_{std::move(options)}, loop_{loop}, bells_{std::move(bells)} {
    report_.name = options_.name;
    loop_.watch(bells_.ended.fd(), [this] {
        bells_.ended.acknowledge();
        on_machine_end();
    });
    loop_.watch(bells_.loaded.fd(), [this] {
        bells_.loaded.acknowledge();
        on_loaded();
    });
    loop_.watch(bells_.console_failed.fd(), [this] {
        bells_.console_failed.acknowledge();
        stop();
    });
    loop_.watch(bells_.room_changed.fd(), [this] {
        bells_.room_changed.acknowledge();
        on_room_changed();
    });
}

Tenant::~Tenant() {
    if (loader_.joinable()) loader_.join();
    if (machine_) machine_->stop();
    if (console_) console_->output().cancel();
    machine_.reset();
    for (const Doorbell* bell : {&bells_.ended, &bells_.loaded, &bells_.console_failed, &bells_.room_changed})
        loop_.forget(bell->fd());
}

Result<void> Tenant::open_disks(Images& images) {
    for (const DiskChoice& choice : options_.machine.disks) {
        auto disk = open_disk(choice, &images);
        if (!disk) return disk.error();
        auto tell = [this, name = (*disk)->name()](bool waits) {
            waits ? ++waiting_disks_ : --waiting_disks_;
            log(LogLevel::Warn, "disk '{}': {}; machine '{}' {}", name,
                waits ? "no room on the host" : "it waits no longer for room on the host", options_.name,
                waits ? "is paused until there is some" : "goes on");
            bells_.room_changed.ring();
        };
        disks_.push_back(std::make_unique<PatientDisk>(*std::move(disk), std::move(tell)));
    }
    return {};
}

Result<void> Tenant::open_networks(Switches& switches) {
    for (const NetChoice& choice : options_.machine.networks) {
        auto network = open_network(choice, switches);
        if (!network) return network.error();
        auto device = static_cast<unsigned>(networks_.size());
        networks_.push_back(
            {*std::move(network), choice.address.value_or(usual_address(options_.name, device))});
    }
    return {};
}

Result<void> Tenant::open_folders() {
    for (const FolderChoice& choice : options_.machine.folders) {
        auto server = FolderServer::open(choice.path, choice.options);
        if (!server) return server.error();
        folders_.push_back({*std::move(server), choice.tag});
    }
    return {};
}

Result<void> Tenant::open_channels() {
    console_ports_ = options_.machine.console_ports;
    for (const ChannelChoice& choice : options_.machine.channels) {
        auto channel = Channel::open(choice);
        if (!channel) return channel.error();
        channels_.push_back(*std::move(channel));
        console_ports_.push_back(channels_.back().get());
    }
    return {};
}

Result<void> Tenant::open_vsock() {
    if (!options_.machine.vsock) return {};
    auto host = VsockHost::open(*options_.machine.vsock);
    if (!host) return host.error();
    vsock_ = *std::move(host);
    return {};
}

Result<void> Tenant::load() {
    image_ = load_guest(options_.machine);
    if (!*image_) return image_->error();
    return {};
}

Result<void> Tenant::open_console(SharedTerminal* terminal, unsigned number) {
    if (auto opened = open_channels(); !opened) return opened.error();
    auto console = terminal != nullptr ? Console::open(terminal->line(number), loop_)
                                       : Console::open(options_.console, loop_);
    if (!console) return console.error();
    if (!options_.log_file.empty()) {
        auto log = OutputLog::open(options_.log_file);
        if (!log) return log.error();
        log_ = *std::move(log);
    }
    console_ = *std::move(console);
    console_->on_input([this] {
        if (machine_) machine_->input_arrived();
    });
    console_->output().on_output([this](std::span<const std::byte> bytes) {
        tap_.add(bytes);
        if (log_) log_->add(bytes);
    });
    console_->output().on_failure([this](Error error) {
        std::lock_guard lock{mutex_};
        console_failure_ = std::move(error);
        bells_.console_failed.ring();
    });
    return {};
}

Result<void> Tenant::start(Scheduler& scheduler, MemoryKeepers keepers, const Clock& clock,
                           std::function<void()> on_end) {
    scheduler_ = &scheduler;
    keepers_ = keepers;
    clock_ = &clock;
    if (options_.machine.engine.kind == EngineKind::Lockstep)
        clock_ = &slow_clock_.emplace(clock, lockstep_slowness);
    on_end_ = std::move(on_end);
    started_at_ = SteadyClock::now();
    return run();
}

Result<void> Tenant::run() {
    GuestImage image = **std::move(image_);
    image_.reset();
    start_ = {"start",
              {{"read and unpack kernel", seconds(image.unpacking), "s"},
               {"place in memory", seconds(image.placing), "s"}}};
    LogSubject subject{options_.log_name};
    bool lockstep = options_.machine.engine.kind == EngineKind::Lockstep;
    auto machine = Machine::create(std::move(image), options_.machine.engine, options_.machine.processors,
                                   options_.machine.share,
                                   {.disks = disks_,
                                    .networks = networks_,
                                    .console = *console_,
                                    .loop = loop_,
                                    .clock = *clock_,
                                    .scheduler = *scheduler_,
                                    .keepers = keepers_,
                                    .folders = folders_,
                                    .console_ports = console_ports_,
                                    .balloon = options_.machine.balloon,
                                    .entropy = options_.machine.entropy,
                                    .vsock = vsock_.get(),
                                    .paravirtual = lockstep ? 0 : options_.machine.paravirtual,
                                    .trace = options_.machine.trace});
    if (!machine) return machine.error();
    start_.figures.push_back({"until the guest ran", since_start(), "s"});
    machine_ = *std::move(machine);
    if (is_held()) machine_->pause();
    machine_->start([this] { bells_.ended.ring(); });
    return {};
}

void Tenant::on_machine_end() {
    report_.outcome = machine_->outcome();
    bool reset = report_.outcome == Outcome::Reset || report_.outcome == Outcome::TripleFault;
    if (!options_.reboot || !reset || stopping_) return end();
    machine_.reset();
    loader_ = std::thread{[this] {
        image_ = load_guest(options_.machine);
        bells_.loaded.ring();
    }};
}

void Tenant::on_loaded() {
    loader_.join();
    if (stopping_) return end();
    if (!*image_) {
        report_.reboot_failure = image_->error();
    } else if (auto running = run(); !running) {
        report_.reboot_failure = running.error();
    } else {
        return;
    }
    end();
}

void Tenant::end() {
    ended_at_ = SteadyClock::now();
    console_->output().flush();
    if (machine_) {
        report_.engine_failure = machine_->engine_failure();
        report_.statistics = machine_->statistics();
        report_.traces = machine_->traces(name());
        last_figures_ = machine_->figures();
        machine_.reset();
    }
    on_end_();
}

TenantReport Tenant::report(SteadyClock::time_point until) {
    console_->output().finish(until);
    for (const auto& channel : channels_) channel->finish(until);
    if (vsock_) vsock_->finish(until);
    if (auto first = console_->output().first_output())
        start_.figures.push_back({"until the first output", since_start(*first), "s"});
    start_.figures.push_back({"until the end", since_start(), "s"});
    report_.statistics.insert(report_.statistics.begin(), std::move(start_));
    report_.statistics.push_back({"console", {{"output", console_->output().bytes_written(), "bytes"}}});
    std::lock_guard lock{mutex_};
    report_.console_failure = console_failure_;
    return std::move(report_);
}

Tenant::State Tenant::state() const {
    if (ended_at_) return State::Ended;
    if (is_held()) return State::Paused;
    return machine_ ? State::Running : State::Loading;
}

std::chrono::nanoseconds Tenant::up() const { return ended_at_.value_or(SteadyClock::now()) - started_at_; }

MachineFigures Tenant::figures() const { return machine_ ? machine_->figures() : last_figures_; }

void Tenant::stop() {
    stopping_ = true;
    console_->output().cancel();
    if (machine_) machine_->stop();
}

void Tenant::pause() {
    paused_ = true;
    if (machine_) machine_->pause();
}

void Tenant::resume() {
    paused_ = false;
    if (machine_ && !is_held()) machine_->resume();
}

// A machine whose disk has no room on the host is paused, and goes on when there is some.
void Tenant::on_room_changed() {
    bool waits = waiting_disks_ > 0;
    if (waits == std::exchange(waits_for_room_, waits) || !machine_) return;
    if (waits)
        machine_->pause();
    else if (!is_held())
        machine_->resume();
}

Result<void> Tenant::press_power_button() {
    if (!machine_) return Error{"it does not run yet"};
    return machine_->press_power_button();
}

Result<void> Tenant::set_memory_target(std::uint64_t bytes) {
    if (!machine_) return Error{"it does not run yet"};
    return machine_->set_memory_target(bytes);
}

void Tenant::show_status(std::string whose) {
    if (machine_) machine_->show_status(std::move(whose));
}

std::uint64_t host_memory(std::span<const std::unique_ptr<Tenant>> tenants) {
    return tenants.front()->options().machine.pool->in_use() << 12;
}

}  // namespace undercroft
