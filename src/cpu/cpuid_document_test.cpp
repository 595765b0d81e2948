// SPDX-License-Identifier: Apache-2.0
// CPUID shows what docs/machine.md says, bit by bit and leaf by leaf, and nothing else: the test reads the
// document's table, so neither can change without the other.
//
// Rows with a register (`1.EDX`) list features by name, after `host:` those that the host must have, after
// `AMD` those of that vendor. Other rows and the sentences around the table name leaves with answers of their
// own.
#include "cpu/test_machine.hpp"

#include <cpuid.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

namespace undercroft::test {
namespace {

using Register = std::uint32_t CpuidResult::*;

struct Place {
    std::uint32_t leaf;
    Register reg;
    bool operator<(const Place& other) const {
        return leaf != other.leaf ? leaf < other.leaf : rank() < other.rank();
    }
    int rank() const {
        return reg == &CpuidResult::eax ? 0 : reg == &CpuidResult::ebx ? 1 : reg == &CpuidResult::ecx ? 2 : 3;
    }
};

// The manuals' bits by the names that the document uses.
const std::map<std::string, std::map<std::string, unsigned>> known_bits{
    {"1.EDX",
     {{"FPU", 0},
      {"DE", 2},
      {"PSE", 3},
      {"TSC", 4},
      {"MSR", 5},
      {"PAE", 6},
      {"CX8", 8},
      {"APIC", 9},
      {"SEP", 11},
      {"PGE", 13},
      {"CMOV", 15},
      {"PAT", 16},
      {"PSE36", 17},
      {"CLFLUSH", 19},
      {"MMX", 23},
      {"FXSR", 24},
      {"SSE", 25},
      {"SSE2", 26},
      {"HTT", 28}}},
    {"1.ECX",
     {{"SSE3", 0},
      {"PCLMULQDQ", 1},
      {"SSSE3", 9},
      {"FMA", 12},
      {"CX16", 13},
      {"SSE4.1", 19},
      {"SSE4.2", 20},
      {"PCID", 17},
      {"X2APIC", 21},
      {"MOVBE", 22},
      {"POPCNT", 23},
      {"TSC_DEADLINE", 24},
      {"AES", 25},
      {"XSAVE", 26},
      {"OSXSAVE", 27},
      {"AVX", 28},
      {"F16C", 29},
      {"RDRAND", 30},
      {"HYPERVISOR", 31}}},
    {"6.EAX", {{"ARAT", 2}}},
    {"7.0.EBX",
     {{"FSGSBASE", 0},
      {"BMI1", 3},
      {"AVX2", 5},
      {"FDP_EXCPTN_ONLY", 6},
      {"SMEP", 7},
      {"INVPCID", 10},
      {"BMI2", 8},
      {"ERMS", 9},
      {"ZERO_FCS_FDS", 13},
      {"RDSEED", 18},
      {"ADX", 19},
      {"SMAP", 20},
      {"CLFLUSHOPT", 23},
      {"CLWB", 24},
      {"SHA", 29}}},
    {"7.0.ECX", {{"UMIP", 2}, {"VAES", 9}, {"VPCLMULQDQ", 10}, {"RDPID", 22}}},
    {"7.0.EDX", {{"FSRM", 4}, {"ARCH_CAPABILITIES", 29}}},
    {"0x40000101.EAX", {{"software-managed TLB", 0}}},
    {"0x40000001.EAX",
     {{"NOP_IO_DELAY", 1},
      {"CLOCKSOURCE2", 3},
      {"STEAL_TIME", 5},
      {"PV_TLB_FLUSH", 9},
      {"CLOCKSOURCE_STABLE", 24}}},
    {"0x80000001.EDX",
     {{"SYSCALL", 11}, {"NX", 20}, {"MMXEXT", 22}, {"PAGE1GB", 26}, {"RDTSCP", 27}, {"LM", 29}}},
    {"0x80000001.ECX", {{"LAHF_LM", 0}, {"CMP_LEGACY", 1}, {"ABM", 5}, {"PREFETCHW", 8}, {"TOPOEXT", 22}}},
    {"0x80000007.EDX", {{"invariant TSC", 8}}},
};

std::uint32_t bit_of(const std::string& row, const std::string& name) {
    auto of_row = known_bits.find(row);
    if (of_row == known_bits.end() || of_row->second.count(name) == 0) {
        ADD_FAILURE() << "the document names '" << name << "' in " << row << ", the test does not know it";
        return 0;
    }
    return 1u << of_row->second.at(name);
}

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> parts;
    std::istringstream stream{text};
    for (std::string part; std::getline(stream, part, separator);) {
        std::size_t begin = part.find_first_not_of(" `");
        std::size_t end = part.find_last_not_of(" `");
        if (begin != std::string::npos) parts.push_back(part.substr(begin, end - begin + 1));
    }
    return parts;
}

// The rows of the table | CPUID | features |.
std::vector<std::pair<std::string, std::string>> rows() {
    std::ifstream file{MACHINE_DOCUMENT};
    EXPECT_TRUE(file.good()) << MACHINE_DOCUMENT;
    std::vector<std::pair<std::string, std::string>> found;
    bool inside = false;
    for (std::string line; std::getline(file, line);) {
        std::vector<std::string> cells = split(line, '|');
        if (cells.size() == 2 && cells[0] == "CPUID") inside = true;
        if (inside && cells.size() < 1) break;
        if (inside && cells.size() == 2 && cells[0] != "CPUID" && cells[0][0] != '-')
            found.emplace_back(cells[0], cells[1]);
    }
    return found;
}

// The register that a row is about; none if it is about whole leaves.
std::optional<Place> place_of(const std::string& row) {
    static const std::map<std::string, Register> registers{{"EAX", &CpuidResult::eax},
                                                           {"EBX", &CpuidResult::ebx},
                                                           {"ECX", &CpuidResult::ecx},
                                                           {"EDX", &CpuidResult::edx}};
    std::size_t dot = row.rfind('.');
    if (dot == std::string::npos || row == "0x40000010.EAX") return std::nullopt;
    return Place{static_cast<std::uint32_t>(std::stoul(row, nullptr, 0)), registers.at(row.substr(dot + 1))};
}

class Document {
public:
    Document(CpuidTable::Host host, bool is_amd) : host_{host}, is_amd_{is_amd} {
        for (const auto& [row, features] : rows()) {
            for (const std::string& leaf : split(row, ','))
                leaves_.insert(static_cast<std::uint32_t>(std::stoul(leaf, nullptr, 0)));
            if (auto place = place_of(row)) expected_[*place] = features_of(row, *place, features);
        }
        // "The host's vendor, family, model, stepping, brand string and caches".
        for (std::uint32_t leaf :
             {0u, 1u, 0x80000000u, 0x80000002u, 0x80000003u, 0x80000004u, 0x80000005u, 0x80000006u})
            leaves_.insert(leaf);
        if (!is_amd_) leaves_.insert({2, 4});
    }

    const std::map<Place, std::uint32_t>& expected() const { return expected_; }
    bool names(std::uint32_t leaf) const { return leaves_.count(leaf) != 0; }

private:
    std::uint32_t features_of(const std::string& row, const Place& place, const std::string& text) {
        std::uint32_t bits = 0;
        for (std::string group : split(text, ';')) {
            bool needs_host = false;
            bool of_vendor = true;
            if (std::size_t colon = group.find(':'); colon != std::string::npos) {
                std::string condition = group.substr(0, colon);
                needs_host = condition.find("host") != std::string::npos;
                of_vendor = condition.find("AMD") == std::string::npos || is_amd_;
                group = group.substr(colon + 1);
            }
            if (of_vendor) bits |= group_of(row, place, group, needs_host);
        }
        return bits;
    }
    std::uint32_t group_of(const std::string& row, const Place& place, const std::string& names,
                           bool needs_host) {
        std::uint32_t bits = 0;
        for (std::string name : split(names, ',')) {
            name = name.substr(0, name.find(" ("));
            if (name == "and the low word of 1.EDX again")
                bits |= expected_.at({1, &CpuidResult::edx}) & 0x0183f3ff;
            else
                bits |= bit_of(row, name) & (needs_host ? host_(place.leaf, 0).*place.reg : ~0u);
        }
        return bits;
    }

    CpuidTable::Host host_;
    bool is_amd_;
    std::map<Place, std::uint32_t> expected_;
    std::set<std::uint32_t> leaves_;
};

class CpuidDocument : public CpuTest {
public:
    CpuidResult ask(std::uint32_t leaf, std::uint32_t subleaf) const {
        return vcpu.cpuid->query(vcpu, leaf, subleaf);
    }

    void compare(CpuidTable::Host host) {
        CpuidTable table{host, 2'000'000, 1};
        vcpu.cpuid = &table;
        vcpu.paging.cr4 |= CR4::OSXSAVE;
        Document document{host, table.is_amd()};
        EXPECT_GE(document.expected().size(), 10u);
        for (const auto& [place, bits] : document.expected())
            EXPECT_EQ(ask(place.leaf, 0).*place.reg, bits)
                << std::hex << place.leaf << " register " << place.rank();
        for (std::uint32_t base : {0u, 0x40000000u, 0x40000100u, 0x80000000u}) {
            for (std::uint32_t leaf = base; leaf <= std::max(ask(base, 0).eax, base + 0x30); ++leaf) {
                // Beyond the highest leaf Intel's processors repeat it.
                if (leaf > ask(base, 0).eax && !table.is_amd()) break;
                for (std::uint32_t subleaf = 0; subleaf < 4; ++subleaf) {
                    CpuidResult r = ask(leaf, subleaf);
                    bool empty = (r.eax | r.ebx | r.ecx | r.edx) == 0;
                    EXPECT_TRUE(empty || document.names(leaf)) << "not in the document: " << std::hex << leaf;
                }
            }
        }
    }
};

CpuidResult this_host(std::uint32_t leaf, std::uint32_t subleaf) {
    CpuidResult r;
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}
// Nothing but what every x86-64 processor of the vendor's has.
CpuidResult bare_host(std::uint32_t leaf, std::uint32_t subleaf) {
    if (leaf == 0 || leaf == 0x80000000) return amd_host(leaf, subleaf);
    return {};
}

TEST_F(CpuidDocument, OfAnAmdThatHasAll) { compare(amd_host); }
TEST_F(CpuidDocument, OfAnIntelThatHasAll) { compare(intel_host); }
TEST_F(CpuidDocument, OfAnAmdThatHasNothing) { compare(bare_host); }
TEST_F(CpuidDocument, OfThisHost) { compare(this_host); }

}  // namespace
}  // namespace undercroft::test
