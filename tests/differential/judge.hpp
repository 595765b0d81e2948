// SPDX-License-Identifier: Apache-2.0
// Looks at each instruction before the single-step executor runs it: may the bare processor run it, which
// flags are undefined by then, what of memory is not to be compared. And counts forms.

#pragma once

#include "forms.hpp"
#include "guest.hpp"

#include <vector>

namespace undercroft::differential {

class Judge {
public:
    explicit Judge(const Forms& forms, std::uint64_t* counts) : forms_{forms}, counts_{counts} {}

    void begin(Sequence& sequence);
    bool allows(Guest& guest);
    // Flags that no manual defines at the end.
    std::uint32_t undefined_flags() const { return undefined_ | undefined_before_; }
    // May it end otherwise when it is executed directly? (docs/direct.md, known deviations)
    bool deviates_directly() const;

private:
    void follow_directly(const Decoded& instruction, const Vcpu& vcpu);
    bool reads_undefined(const Decoded& instruction) const;
    void follow_flags(const Decoded& instruction);
    bool reads_ignored(const Decoded& instruction, Guest& guest) const;
    bool is_ignored(std::uint64_t address, std::uint64_t length) const;
    bool allows_xsave(const Decoded& instruction, Guest& guest);
    bool ignore(std::uint64_t start, std::uint64_t length);
    bool ignore_pointers(const Decoded& instruction, Guest& guest);

    const Forms& forms_;
    std::uint64_t* counts_;  // of executions, by form
    Sequence* sequence_ = nullptr;
    bool copies_frames_ = false;  // ENTER: not restartable, as it may copy what it has stored
    bool reads_code_ = false;
    bool writes_code_ = false;
    std::uint32_t undefined_ = 0;
    std::uint32_t undefined_before_ = 0;  // the last instruction, which may have faulted
};

}  // namespace undercroft::differential
