// SPDX-License-Identifier: Apache-2.0
#include "engine/direct/mapped_pages.hpp"

#include "base/log.hpp"
#include "x86/paging.hpp"

#include <algorithm>

namespace undercroft::direct {
namespace {

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

bool MappedPages::Change::goes_on_from(const Change& last) const {
    if (page != last.page + page_size || unmaps != last.unmaps) return false;
    return unmaps || (as.offset == last.as.offset + page_size && as.patched == last.as.patched &&
                      as.writable == last.as.writable && as.executable == last.as.executable);
}

void MappedPages::map(std::uint64_t page, const MappedPage& as) {
    pages_[page] = as;
    changes_.push_back({page, as, false});
}

void MappedPages::unmap(std::uint64_t start, std::uint64_t length) {
    if (length / page_size > pages_.size()) {
        unmap_if([=](std::uint64_t page, const MappedPage&) { return page - start < length; });
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
    process_has_pages_ = process_has_pages_ || !changes_.empty();
    std::vector<Change> wanted;
    for (const Change& change : changes_) {
        if (!wanted.empty() && wanted.back().page == change.page) wanted.pop_back();
        wanted.push_back(change);
    }
    bool done = true;
    for (std::size_t n = 0; done && n < wanted.size();) {
        const Change& first = wanted[n];
        std::size_t end = n + 1;
        while (end < wanted.size() && wanted[end].goes_on_from(wanted[end - 1])) ++end;
        std::uint64_t length = (end - n) * page_size;
        done = first.unmaps ? process_->unmap(first.page, length)
                            : process_->map({.start = first.page,
                                             .length = length,
                                             .offset = first.as.offset,
                                             .patched = first.as.patched,
                                             .writable = first.as.writable,
                                             .executable = first.as.executable});
        n = end;
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
