// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/mapped_pages.hpp"

#include "base/log.hpp"

#include <algorithm>

namespace undercroft::direct {
namespace {

constexpr std::uint64_t page_size = 4096;

struct OfThread {
    int file = -1;
    std::unique_ptr<MappedPages> pages;
};

thread_local OfThread mine;

}  // namespace

MappedPages* MappedPages::present_of_thread() { return mine.pages.get(); }

MappedPages* MappedPages::of_thread(int frames_file) {
    if (mine.file != frames_file) {
        mine.pages.reset();
        mine.file = frames_file;
        auto process = GuestProcess::create(frames_file);
        if (process)
            mine.pages = std::make_unique<MappedPages>(*std::move(process));
        else
            log(LogLevel::Info, "no direct execution: {}", process.error().message);
    }
    return mine.pages.get();
}

void MappedPages::forget_of_thread() { mine = {}; }

void MappedPages::begin(const void* owner) {
    owner_ = owner;
    changes_.clear();
    if (process_has_pages_) process_->unmap_all();
    process_has_pages_ = false;
    pages_.clear();
    patched_ = 0;
    watches_others_ = watches_others_ || !watched_.empty();
    watched_.clear();
}

bool MappedPages::watch(std::uint64_t page, std::span<const std::uint16_t> offsets) {
    forget_watched();
    if (watched_.size() + offsets.size() > GuestProcess::breakpoints) return false;
    for (std::uint16_t offset : offsets) watched_.push_back(page + offset);
    watches_others_ = watches_others_ || !offsets.empty();
    return true;
}

// What is on pages that are not mapped for execution any more.
void MappedPages::forget_watched() {
    auto is_gone = [this](std::uint64_t address) {
        const MappedPage* page = find(address & ~(page_size - 1));
        return page == nullptr || !page->executable;
    };
    if (std::erase_if(watched_, is_gone) != 0) watches_others_ = true;
}

void MappedPages::map(std::uint64_t page, const MappedPage& as) {
    pages_[page] = as;
    changes_.push_back({page, as, false});
}

void MappedPages::unmap(std::uint64_t start, std::uint64_t length) {
    if (length / page_size > pages_.size()) {
        for (auto it = pages_.begin(); it != pages_.end();) {
            bool within = it->first - start < length;
            if (within) changes_.push_back({it->first, {}, true});
            it = within ? pages_.erase(it) : std::next(it);
        }
        return;
    }
    for (std::uint64_t page = start; page != start + length; page += page_size)
        if (pages_.erase(page) != 0) changes_.push_back({page, {}, true});
}

// Of several changes of one page the last one counts; neighbours that lie side by side in the file are one
// mapping.
bool MappedPages::apply() {
    if (pages_.size() > most_pages) {
        begin(owner_);
        return false;
    }
    std::stable_sort(changes_.begin(), changes_.end(),
                     [](const Change& a, const Change& b) { return a.page < b.page; });
    bool done = true;
    process_has_pages_ = process_has_pages_ || !changes_.empty();
    for (std::size_t n = 0; done && n < changes_.size();) {
        const Change* last = nullptr;
        std::size_t count = 0;
        const Change* first = nullptr;
        std::size_t next = n;
        while (next < changes_.size()) {
            std::size_t end = next + 1;
            while (end < changes_.size() && changes_[end].page == changes_[next].page) ++end;
            const Change& change = changes_[end - 1];
            bool goes_on =
                last == nullptr || (change.page == last->page + page_size && change.unmaps == last->unmaps &&
                                    (change.unmaps || (change.as.offset == last->as.offset + page_size &&
                                                       change.as.writable == last->as.writable &&
                                                       change.as.patched == last->as.patched &&
                                                       change.as.executable == last->as.executable)));
            if (!goes_on) break;
            if (first == nullptr) first = &change;
            last = &change;
            ++count;
            next = end;
        }
        std::uint64_t length = count * page_size;
        done = first->unmaps ? process_->unmap(first->page, length)
                             : process_->map({.start = first->page,
                                              .length = length,
                                              .offset = first->as.offset,
                                              .patched = first->as.patched,
                                              .writable = first->as.writable,
                                              .executable = first->as.executable});
        n = next;
    }
    changes_.clear();
    done = done && process_->apply();
    if (done && watches_others_) {
        done = process_->set_breakpoints(watched_);
        watches_others_ = !done;
    }
    if (!done) begin(owner_);
    return done;
}

}  // namespace undercroft::direct
