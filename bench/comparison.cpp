// SPDX-License-Identifier: Apache-2.0
#include "comparison.hpp"

#include "figures.hpp"
#include "session.hpp"

#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace undercroft::bench {
namespace {

constexpr double boot_limit_s = 60, row_limit_s = 120;
// What part of the time that we see from outside a guest's clock must see: programs start and end, and lines
// go through the console, outside of what the program itself can measure.
constexpr double least_clock = 0.7, most_clock = 1.03;

class Comparison {
public:
    explicit Comparison(const Plan& plan) : plan_{plan} {
        results_.runs = plan.runs;
        results_.machine = host_processor();
        ::getloadavg(&results_.load, 1);
        results_.contestants.push_back(native(plan.paths));
        results_.contestants.push_back(undercroft(plan.paths, "bench"));
        if (plan.with_qemu) {
            for (const char* machine : {"q35", "microvm"})
                results_.contestants.push_back(qemu(plan.paths, machine, "max,-erms", "bench"));
        }
        results_.accounts.resize(results_.contestants.size());
        for (const Row* row : plan.rows)
            results_.rows.push_back(
                {row, row->command.empty() ? "s" : "", Values(results_.contestants.size())});
    }

    Result<Results> measure() {
        for (run_ = 0; run_ < plan_.runs; run_++) {
            if (auto done = one_run(); !done) return std::move(done.error());
        }
        auto figures = boot_figures(plan_.paths);
        if (!figures) return std::move(figures.error());
        results_.figures = std::move(*figures);
        if (auto good = check_clocks(); !good) return std::move(good.error());
        return std::move(results_);
    }

private:
    Result<void> one_run() {
        sessions_.clear();
        std::string said;
        for (const Contestant& contestant : results_.contestants) {
            auto session = Session::start(contestant, boot_limit_s);
            if (!session) return std::move(session.error());
            if (contestant.kind != Kind::Native)
                said += fmt::format("  {} {:.3f}", contestant.name, session->boot_s());
            sessions_.push_back(std::move(*session));
        }
        progress("boot", said + " s");
        for (RowResult& row : results_.rows) {
            if (auto done = row.row->command.empty() ? add_boots(row) : add_samples(row); !done) return done;
        }
        for (std::size_t i = 0; i < sessions_.size(); i++)
            results_.accounts[i].peak_rss_mib.push_back(sessions_[i].end(said).peak_rss_mib);
        return {};
    }

    Result<void> add_boots(RowResult& row) {
        for (std::size_t i = 0; i < sessions_.size(); i++)
            row.values[i].push_back(i == 0 ? missing : sessions_[i].boot_s());
        return {};
    }

    // Each run begins with another contestant.
    Result<void> add_samples(RowResult& row) {
        std::string said, answer;
        for (std::size_t turn = 0; turn < sessions_.size(); turn++) {
            std::size_t i = (turn + static_cast<std::size_t>(run_)) % sessions_.size();
            const Contestant& contestant = results_.contestants[i];
            auto sample = sessions_[i].run(*row.row, row_limit_s);
            if (!sample) {
                Error error = std::move(sample.error()).in(contestant.name).in(std::string{row.row->name});
                if (contestant.kind != Kind::Qemu) return error;
                fmt::print(stderr, "{}\n", error.message);
                row.values[i].push_back(missing);
                continue;
            }
            if (!answer.empty() && sample->answer != answer)
                return Error{fmt::format("{}: {} comes to another answer", row.row->name, contestant.name)};
            answer = sample->answer;
            row.unit = sample->unit;
            row.values[i].push_back(sample->value);
            results_.accounts[i].guest_s += sample->guest_s;
            results_.accounts[i].wall_s += sample->wall_s;
            said += fmt::format("  {} {:.4g}", contestant.name, sample->value);
        }
        progress(row.row->name, said + " " + row.unit);
        return {};
    }

    Result<void> check_clocks() const {
        for (std::size_t i = 0; i < results_.accounts.size(); i++) {
            const Account& account = results_.accounts[i];
            if (account.wall_s == 0) continue;
            double share = account.guest_s / account.wall_s;
            if (share < least_clock || share > most_clock)
                return Error{fmt::format("{}: its clock saw {:.1f} s of {:.1f} s; its figures mean nothing",
                                         results_.contestants[i].name, account.guest_s, account.wall_s)};
        }
        return {};
    }

    void progress(std::string_view what, const std::string& figures) const {
        fmt::print(stderr, "run {} of {}: {:<13}{}\n", run_ + 1, plan_.runs, what, figures);
    }

    static std::string host_processor() {
        std::ifstream file{"/proc/cpuinfo"};
        for (std::string line; std::getline(file, line);) {
            if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
        }
        return "an unknown processor";
    }

    const Plan& plan_;
    Results results_;
    std::vector<Session> sessions_;
    int run_ = 0;
};

}  // namespace

Result<Results> compare(const Plan& plan) { return Comparison{plan}.measure(); }

}  // namespace undercroft::bench
