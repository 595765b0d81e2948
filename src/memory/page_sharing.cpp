// SPDX-License-Identifier: Apache-2.0
#include "memory/page_sharing.hpp"

#include "memory/image_pages.hpp"
#include "memory/page_hash.hpp"

#include <algorithm>
#include <utility>

namespace undercroft {
namespace {

constexpr std::uint64_t pages_at_once = 512;   // hashed
constexpr std::uint64_t shared_at_once = 256;  // while a machine is held

}  // namespace

PageSharing::PageSharing(std::shared_ptr<FramePool> pool, EqualPages equal_pages)
    : pool_{std::move(pool)}, equal_pages_{equal_pages}, zero_hash_{page_hash(pool_->zero_page())} {
    // Under a limit such pages could not be swapped.
    if (equal_pages == EqualPages::Share && pool_->swap() == nullptr) pool_->images().enable();
}

PageSharing::~PageSharing() {
    for (const auto& [hash, frame] : frames_) pool_->leave(frame);
}

void PageSharing::add(MemoryTenant& tenant) {
    std::lock_guard lock{mutex_};
    std::uint64_t pages = tenant.guest_memory().page_limit();
    PageHistory history{pages};
    if (history) subjects_.push_back({&tenant, std::move(history)});
}

void PageSharing::remove(MemoryTenant& tenant) {
    std::lock_guard lock{mutex_};
    subjects_.remove_if([&](const Subject& subject) { return subject.tenant == &tenant; });
}

SharingFigures PageSharing::figures() const {
    std::lock_guard lock{mutex_};
    SharingFigures figures = figures_;
    figures.frames = frames_.size();
    return figures;
}

std::uint64_t PageSharing::pass(const Pace& pace) {
    std::vector<Candidate> candidates;
    std::vector<Subject*> subjects = idle_ones_first();
    for (Subject* subject : subjects)
        if (!hash_pages(*subject, pace, candidates)) return 0;
    keep_equal_and_cold_ones(candidates);
    std::uint64_t given_up = 0;
    for (Subject* subject : subjects) {
        std::vector<Candidate> its_own;
        for (const Candidate& candidate : candidates)
            if (candidate.subject == subject) its_own.push_back(candidate);
        std::span<const Candidate> rest{its_own};
        do {
            auto now = rest.first(std::min<std::size_t>(rest.size(), shared_at_once));
            given_up += share_pages(*subject, now);
            if (!pace(now.size())) return given_up;
            rest = rest.subspan(now.size());
        } while (!rest.empty());
    }
    std::lock_guard lock{mutex_};
    for (Subject& subject : subjects_) {
        subject.history.end_pass(std::exchange(subject.was_held, false));
        subject.ages = false;
    }
    drop_unused_frames();
    ++figures_.passes;
    return given_up;
}

std::vector<PageSharing::Subject*> PageSharing::idle_ones_first() {
    std::lock_guard lock{mutex_};
    std::vector<std::pair<std::chrono::nanoseconds, Subject*>> by_work;
    for (Subject& subject : subjects_) {
        auto ran = subject.tenant->ran();
        by_work.emplace_back(ran - std::exchange(subject.ran_before, ran), &subject);
    }
    std::stable_sort(by_work.begin(), by_work.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Subject*> subjects;
    for (const auto& [work, subject] : by_work) subjects.push_back(subject);
    return subjects;
}

// Between pieces of work its tenant may have been removed. (Should another one have taken its place in
// memory, what is done to that is right, too: nothing is believed that a hash says.)
bool PageSharing::is_here(const Subject* subject) const {
    return std::any_of(subjects_.begin(), subjects_.end(), [=](const Subject& it) { return &it == subject; });
}

bool PageSharing::hash_pages(Subject& subject, const Pace& pace, std::vector<Candidate>& candidates) {
    std::vector<MemoryRegion> regions;
    {
        std::lock_guard lock{mutex_};
        if (!is_here(&subject)) return true;
        auto its_own = subject.tenant->guest_memory().regions();
        regions.assign(its_own.begin(), its_own.end());
    }
    for (const MemoryRegion& region : regions) {
        std::uint64_t end = region.start.page() + (region.size >> 12);
        for (std::uint64_t pfn = region.start.page(); pfn < end; pfn += pages_at_once) {
            std::uint64_t hashed = 0;
            {
                std::lock_guard lock{mutex_};
                if (!is_here(&subject)) return true;
                hashed = hash_range(subject, pfn, std::min(pfn + pages_at_once, end), candidates);
            }
            if (hashed != 0 && !pace(hashed)) return false;
        }
    }
    return true;
}

std::uint64_t PageSharing::hash_range(Subject& subject, std::uint64_t pfn, std::uint64_t end,
                                      std::vector<Candidate>& candidates) {
    GuestMemory& memory = subject.tenant->guest_memory();
    std::uint64_t hashed = 0;
    for (; pfn < end; ++pfn) {
        const std::byte* page = memory.own_page(pfn);
        if (page == nullptr) {
            PmapEntry entry = memory.entry(pfn);
            if (!entry.is_shared() && !entry.is_out()) memory.disk_origins().forget(pfn);
            continue;
        }
        std::uint64_t hash = page_hash(page);
        memory.disk_origins().look(pfn, hash);
        using Finding = PageHistory::Finding;
        Finding finding = subject.history.look(pfn, hash, memory.was_used(pfn, UseWatcher::Sharing));
        subject.ages |= finding == Finding::Aging;
        if (finding != Finding::Changed || hash == zero_hash_)
            candidates.push_back({hash, pfn, &subject, finding == Finding::BecameCold});
        ++hashed;
    }
    figures_.hashed += hashed;
    return hashed;
}

// Those that are zero, like a frame that is shared already, or like each other, while there may be more of
// those frames; none of which is cold; and those that are.
void PageSharing::keep_equal_and_cold_ones(std::vector<Candidate>& candidates) const {
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.hash < b.hash; });
    std::vector<Candidate> kept;
    std::lock_guard lock{mutex_};
    std::uint64_t frames = frames_.size();  // with those that this pass may add
    for (auto begin = candidates.begin(); begin != candidates.end();) {
        auto end = std::find_if(begin, candidates.end(),
                                [&](const Candidate& it) { return it.hash != begin->hash; });
        bool is_zero = begin->hash == zero_hash_;
        bool has_frame = frames_.contains(begin->hash);
        bool gets_one = equal_pages_ == EqualPages::Share && !is_zero && !has_frame && end - begin > 1 &&
                        frames < pool_->limit() / 2;
        frames += gets_one ? 1 : 0;
        bool all = is_zero || has_frame || gets_one;
        std::for_each(begin, end, [&](Candidate& it) {
            it.cold &= !all;
            if (all || it.cold) kept.push_back(it);
        });
        begin = end;
    }
    candidates = std::move(kept);
}

std::uint64_t PageSharing::share_pages(Subject& subject, std::span<const Candidate> candidates) {
    std::lock_guard lock{mutex_};
    if (!is_here(&subject)) return 0;
    GuestMemory& memory = subject.tenant->guest_memory();
    bool wanted = !candidates.empty() || subject.ages || memory.has_left_shared_frames();
    if (!wanted || !subject.tenant->hold()) return 0;
    subject.was_held = true;
    memory.leave_shared_frames();
    std::uint64_t given_up = 0;
    for (const Candidate& candidate : candidates) given_up += share_page(memory, candidate) ? 1 : 0;
    subject.tenant->release();
    return given_up;
}

bool PageSharing::share_page(GuestMemory& memory, const Candidate& candidate) {
    if (candidate.cold) return compress(memory, candidate);
    if (candidate.hash == zero_hash_) {
        bool done = memory.become_zero(candidate.pfn);
        figures_.zeroed += done ? 1 : 0;
        return done;
    }
    if (auto found = frames_.find(candidate.hash); found != frames_.end()) {
        bool done = memory.share(candidate.pfn, found->second);
        figures_.shared += done ? 1 : 0;
        return done;
    }
    const std::byte* page = memory.own_page(candidate.pfn);
    if (page == nullptr || page_hash(page) != candidate.hash || !memory.become_shared(candidate.pfn))
        return false;
    MachineFrame frame = memory.entry(candidate.pfn).frame();
    pool_->join(frame);
    frames_.emplace(candidate.hash, frame);
    return false;
}

// What has been used since it was looked at is not cold.
bool PageSharing::compress(GuestMemory& memory, const Candidate& candidate) {
    if (memory.entry(candidate.pfn).was_used(UseWatcher::Sharing)) return false;
    bool done = memory.become_compressed(candidate.pfn);
    figures_.compressed += done ? 1 : 0;
    return done;
}

void PageSharing::drop_unused_frames() {
    pool_->images().drop_unused();
    std::erase_if(frames_, [this](const auto& entry) { return pool_->leave_if_alone(entry.second); });
}

}  // namespace undercroft
