// SPDX-License-Identifier: Apache-2.0
// The tables' links and sums, and iasl's opinion of each: it disassembles them, and compiles its own
// disassembly back to the same bytes without a warning.
#include "boot/acpi.hpp"

#include "base/fd.hpp"
#include "boot/acpi_tables.hpp"
#include "boot/buffer.hpp"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <string>

namespace undercroft::boot {
namespace {

using Bytes = std::vector<std::byte>;

constexpr GuestPhysical base{0xe0000};

AcpiConfig config(unsigned cpus = 2, unsigned slots = 8) {
    AcpiConfig made;
    made.cpu_count = cpus;
    made.local_apic = GuestPhysical{0xfee00000};
    made.io_apic = GuestPhysical{0xfec00000};
    made.io_apic_id = 9;
    made.sleep_control_port = 0x600;
    made.sleep_status_port = 0x601;
    made.reset_port = 0x602;
    made.reset_value = 0x42;
    made.rtc_port = 0x70;
    made.power_button = {3, aml::Trigger::Edge};
    made.serial = {{0x3f8, {4, aml::Trigger::Edge}}};
    for (unsigned i = 0; i < slots; ++i)
        made.virtio.push_back(
            {GuestPhysical{0xd0000000 + i * 0x1000ull}, 0x1000, {5 + i, aml::Trigger::Level}});
    return made;
}

unsigned sum(ByteSpan bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), 0u,
                           [](unsigned s, std::byte byte) { return s + std::to_integer<unsigned>(byte); }) &
           0xff;
}

Bytes table_at(const Bytes& all, std::uint64_t address) {
    const std::size_t offset = address - base.value();
    const auto length = load_at<std::uint32_t>(all, offset + offsetof(AcpiHeader, length));
    CHECK(lies_within(offset, length, all.size()));
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(offset);
    return {begin, begin + static_cast<std::ptrdiff_t>(length)};
}

std::string signature(const Bytes& table) { return {reinterpret_cast<const char*>(table.data()), 4}; }

// Follows the links as a kernel does.
std::map<std::string, Bytes> tables_of(const Bytes& all) {
    const Bytes xsdt = table_at(all, load_at<AcpiRsdp>(all, 0).xsdt_address);
    std::map<std::string, Bytes> tables{{signature(xsdt), xsdt}};
    for (std::size_t at = sizeof(AcpiHeader); at < xsdt.size(); at += 8) {
        const Bytes table = table_at(all, load_at<std::uint64_t>(xsdt, at));
        tables[signature(table)] = table;
    }
    const Bytes dsdt = table_at(all, load_at<AcpiFadt>(tables.at("FACP"), 0).x_dsdt);
    tables[signature(dsdt)] = dsdt;
    return tables;
}

TEST(Acpi, LinksLeadToTablesWhoseSumsAreZero) {
    const Bytes all = make_acpi_tables(config(), base);
    const auto rsdp = load_at<AcpiRsdp>(all, 0);
    EXPECT_EQ(std::memcmp(rsdp.signature.data(), "RSD PTR ", 8), 0);
    EXPECT_EQ(sum(ByteSpan{all}.first(20)), 0u);
    EXPECT_EQ(sum(ByteSpan{all}.first(36)), 0u);
    const auto tables = tables_of(all);
    ASSERT_EQ(tables.size(), 4u);
    for (const char* wanted : {"XSDT", "FACP", "APIC", "DSDT"})
        ASSERT_TRUE(tables.contains(wanted)) << wanted;
    for (const auto& [name, table] : tables) EXPECT_EQ(sum(table), 0u) << name;
}

TEST(Acpi, FadtIsHardwareReduced) {
    const auto tables = tables_of(make_acpi_tables(config(), base));
    const auto fadt = load_at<AcpiFadt>(tables.at("FACP"), 0);
    EXPECT_EQ(fadt.header.revision, 6);
    EXPECT_EQ(fadt.flags & (1u << 20 | 1u << 10), 1u << 20 | 1u << 10);
    EXPECT_EQ(fadt.iapc_boot_arch, 1u << 2);  // no VGA; the RTC is there, the 8042 is not
    EXPECT_EQ(std::uint64_t{fadt.reset_reg.address}, 0x602u);
    EXPECT_EQ(fadt.reset_value, 0x42);
    EXPECT_EQ(std::uint64_t{fadt.sleep_control_reg.address}, 0x600u);
    EXPECT_EQ(std::uint64_t{fadt.sleep_status_reg.address}, 0x601u);
    EXPECT_EQ(static_cast<int>(fadt.sleep_control_reg.space), 1);

    AcpiConfig without_rtc = config();
    without_rtc.rtc_port.reset();
    const auto other = tables_of(make_acpi_tables(without_rtc, base));
    EXPECT_EQ(load_at<AcpiFadt>(other.at("FACP"), 0).iapc_boot_arch, 1u << 2 | 1u << 5);
}

TEST(Acpi, MadtListsProcessorsAndTheIoApic) {
    const auto tables = tables_of(make_acpi_tables(config(3), base));
    const Bytes& madt = tables.at("APIC");
    ASSERT_EQ(madt.size(), sizeof(AcpiMadt) + 3 * sizeof(AcpiMadtLocalApic) + sizeof(AcpiMadtIoApic));
    EXPECT_EQ(load_at<AcpiMadt>(madt, 0).local_apic_address, 0xfee00000u);
    EXPECT_EQ(load_at<AcpiMadt>(madt, 0).flags, 0u);
    const auto last = load_at<AcpiMadtLocalApic>(madt, sizeof(AcpiMadt) + 2 * sizeof(AcpiMadtLocalApic));
    EXPECT_EQ(last.apic_id, 2);
    EXPECT_EQ(last.processor_uid, 2);
    const auto io_apic = load_at<AcpiMadtIoApic>(madt, sizeof(AcpiMadt) + 3 * sizeof(AcpiMadtLocalApic));
    EXPECT_EQ(io_apic.io_apic_id, 9);
    EXPECT_EQ(std::uint32_t{io_apic.address}, 0xfec00000u);
}

struct CommandResult {
    int status;
    std::string output;
};

CommandResult run(const std::string& command) {
    CommandResult result;
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    CHECK(pipe != nullptr);
    for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe))
        result.output.push_back(static_cast<char>(c));
    result.status = ::pclose(pipe);
    return result;
}

class Iasl : public testing::Test {
protected:
    void SetUp() override {
        if (run("iasl -v").status != 0) GTEST_SKIP() << "iasl (acpica-tools) is not installed";
        std::string path = (std::filesystem::temp_directory_path() / "undercroft-acpi-XXXXXX").string();
        ASSERT_NE(::mkdtemp(path.data()), nullptr);
        folder_ = path;
    }
    void TearDown() override {
        if (!folder_.empty()) std::filesystem::remove_all(folder_);
    }

    // Disassembles the table, compiles the result back and compares. Returns the disassembly.
    std::string check(const std::string& name, const Bytes& table) {
        const std::string stem = folder_ / name;
        std::ofstream{stem + ".aml", std::ios::binary}.write(reinterpret_cast<const char*>(table.data()),
                                                             static_cast<std::streamsize>(table.size()));
        const CommandResult apart = run(fmt::format("iasl -d '{}.aml'", stem));
        EXPECT_EQ(apart.status, 0) << apart.output;
        EXPECT_EQ(apart.output.find("Error"), std::string::npos) << apart.output;
        const CommandResult together = run(fmt::format("iasl -oa -p '{0}-again' '{0}.dsl'", stem));
        EXPECT_EQ(together.status, 0) << together.output;
        EXPECT_NE(together.output.find("0 Errors, 0 Warnings"), std::string::npos) << together.output;
        compare(table, stem + "-again.aml");
        std::ifstream source{stem + ".dsl"};
        return {std::istreambuf_iterator<char>{source}, {}};
    }

private:
    // Equal but for what names the compiler, and the sum.
    static void compare(Bytes table, const std::string& path) {
        auto again = read_file(path);
        ASSERT_TRUE(again) << again.error().message;
        for (Bytes* bytes : {&table, &*again}) {
            (*bytes)[offsetof(AcpiHeader, checksum)] = std::byte{0};
            std::fill_n(bytes->begin() + offsetof(AcpiHeader, creator_id), 8, std::byte{0});
        }
        EXPECT_TRUE(table == *again);
    }

    std::filesystem::path folder_;
};

TEST_F(Iasl, EveryTableComesBackAsItWas) {
    for (const auto& [name, table] : tables_of(make_acpi_tables(config(), base))) check(name, table);
}

TEST_F(Iasl, LargeAndEmptyBoards) {
    for (const auto& [cpus, slots] : {std::pair{1u, 0u}, {64u, 32u}, {255u, 200u}}) {
        const auto tables = tables_of(make_acpi_tables(config(cpus, slots), base));
        check("DSDT", tables.at("DSDT"));
        check("APIC", tables.at("APIC"));
    }
}

TEST_F(Iasl, DsdtNamesTheDevices) {
    const std::string source = check("DSDT", tables_of(make_acpi_tables(config(), base)).at("DSDT"));
    for (const char* wanted :
         {"Name (\\_S5, Package", "EisaId (\"PNP0501\")", "\"LNRO0005\"", "\"ACPI0007\"",
          "EisaId (\"PNP0B00\")", "Device (COM1)", "Device (VR07)", "0xD0007000", "EisaId (\"PNP0C0C\")",
          "\"ACPI0013\"", "Method (_EVT, 1, Serialized)", "Notify (\\_SB.PWRB, 0x80)",
          "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive",
          "Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive"})
        EXPECT_NE(source.find(wanted), std::string::npos) << wanted;
}

}  // namespace
}  // namespace undercroft::boot
