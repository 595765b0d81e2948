// SPDX-License-Identifier: Apache-2.0
// A builder of ACPI Machine Language: the byte code of a DSDT.
//
// Each function returns the encoding of one term; terms nest by passing one to another:
//
//   aml::scope("\\_SB_", {aml::device("COM1", {aml::name("_HID", aml::eisa_id("PNP0501"))})})
//
// Source: ACPI 6.4 chapter 20 (AML), section 6.4 (resource descriptors), section 19.3.4 (EISA IDs). Only what
// our boards need.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace undercroft::boot::aml {

using Code = std::vector<std::uint8_t>;

enum class Trigger : std::uint8_t { Level, Edge };  // always active high, exclusive

Code join(std::initializer_list<Code> terms);
Code join(const std::vector<Code>& terms);

// Data.
Code integer(std::uint64_t value);
Code string(std::string_view text);
Code eisa_id(std::string_view id);  // three capitals and four hexadecimal digits: "PNP0501"
Code buffer(const Code& bytes);
Code package(const std::vector<Code>& elements);

// Named objects. A path is "NAME", "NAME.NAME" or either with a leading '\'; names shorter than four
// characters are padded with '_'.
Code name(std::string_view path, const Code& value);
Code scope(std::string_view path, const std::vector<Code>& terms);
Code device(std::string_view path, const std::vector<Code>& terms);
Code method(std::string_view path, unsigned arguments, const std::vector<Code>& terms);  // serialized

// Statements.
Code notify(std::string_view object, std::uint64_t value);

// Resource descriptors, and the buffer that a _CRS object wraps them in.
Code io_ports(std::uint16_t base, std::uint8_t length);
Code memory_window(std::uint32_t base, std::uint32_t length);
Code interrupt(std::uint32_t gsi, Trigger trigger);
Code resources(const std::vector<Code>& descriptors);

}  // namespace undercroft::boot::aml
