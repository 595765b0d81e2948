// SPDX-License-Identifier: Apache-2.0
// MappedPages: a guest process with the books of what is mapped in it: the TLB that direct execution has.
//
// One for each host thread that executes guest code directly, made when it is first wanted. It holds pages of
// one address space of one vCPU at a time.

#pragma once

#include "base/result.hpp"
#include "direct/guest_process.hpp"
#include "direct/one_processor.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace undercroft::direct {

struct MappedPage {
    std::uint64_t pfn = 0;
    std::uint64_t offset = 0;  // in the file of frames, or of patched pages
    bool patched = false;
    bool writable = false;
    bool executable = false;

    bool operator==(const MappedPage&) const = default;
};

class MappedPages {
public:
    // The caller's thread's, for frames of this file; null: the host has no such process to give.
    static MappedPages* of_thread(int frames_file);
    static MappedPages* present_of_thread();  // null: it has made none
    // It is gone: its process is lost. The next one is another.
    static void forget_of_thread();
    explicit MappedPages(std::unique_ptr<GuestProcess> process)
        : process_{std::move(process)}, processor_{process_->pid()} {}

    GuestProcess& process() { return *process_; }
    OneProcessor& processor() { return processor_; }
    // Whose pages they are. Null: nobody's.
    const void* owner() const { return owner_; }
    void begin(const void* owner);  // with none

    const MappedPage* find(std::uint64_t page) const {
        auto found = pages_.find(page);
        return found == pages_.end() ? nullptr : &found->second;
    }
    std::size_t size() const { return pages_.size(); }

    // Noted, and made by apply(). `page`: its address.
    void map(std::uint64_t page, const MappedPage& as);
    void unmap(std::uint64_t start, std::uint64_t length);
    // condition(page, MappedPage)
    template <class Condition>
    void unmap_if(Condition condition) {
        for (auto it = pages_.begin(); it != pages_.end();) {
            bool unmaps = condition(it->first, it->second);
            if (unmaps) changes_.push_back({it->first, {}, true});
            it = unmaps ? pages_.erase(it) : std::next(it);
        }
    }
    // A page for code with other bytes, until begin(); none: there are no more.
    std::optional<std::size_t> take_patched_page() {
        if (patched_ == GuestProcess::patched_pages) return std::nullopt;
        return patched_++;
    }

    // Has what may be executed at these offsets of a page of code stop the process, as long as the page is
    // mapped. False: there are more than a processor has breakpoints for.
    [[nodiscard]] bool watch(std::uint64_t page, std::span<const std::uint16_t> offsets);

    bool has_changes() const { return !changes_.empty(); }
    // False: there is too much for the host. Nothing is mapped then.
    bool apply();

private:
    void forget_watched();

    struct Change {
        std::uint64_t page;
        MappedPage as;
        bool unmaps;

        bool goes_on_from(const Change& last) const;  // as one piece
    };

    // Linux: 65530 mappings (vm.max_map_count).
    static constexpr std::size_t most_pages = 50'000;

    std::unique_ptr<GuestProcess> process_;
    OneProcessor processor_;
    const void* owner_ = nullptr;
    std::unordered_map<std::uint64_t, MappedPage> pages_;
    std::vector<Change> changes_;
    bool process_has_pages_ = false;  // whatever the books say, which are ahead of it
    std::size_t patched_ = 0;
    std::vector<std::uint64_t> watched_;  // addresses
    bool watches_others_ = false;         // than the process has breakpoints at
};

}  // namespace undercroft::direct
