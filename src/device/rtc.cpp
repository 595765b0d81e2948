// SPDX-License-Identifier: Apache-2.0
#include "rtc.hpp"

#include <chrono>

namespace undercroft {

enum class Rtc::Register : std::uint8_t {
    Seconds = 0x00,
    Minutes = 0x02,
    Hours = 0x04,
    DayOfWeek = 0x06,
    DayOfMonth = 0x07,
    Month = 0x08,
    Year = 0x09,
    A = 0x0a,
    B = 0x0b,
    C = 0x0c,
    D = 0x0d,
    Century = 0x32,
};

namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;
constexpr std::uint64_t update_warning_ns = 244'000;

constexpr std::uint8_t divider_and_rate = 0x26;  // register A: 32.768 kHz, 1024 Hz
constexpr std::uint8_t uip = 0x80;
constexpr std::uint8_t set = 0x80;  // register B
constexpr std::uint8_t binary = 0x04;
constexpr std::uint8_t hours24 = 0x02;
constexpr std::uint8_t valid = 0x80;  // register D: the battery is good
constexpr std::uint8_t pm = 0x80;     // in the hours, if there are twelve

}  // namespace

std::uint8_t& Rtc::at(Register which) { return state_.bytes[static_cast<std::uint8_t>(which)]; }

void Rtc::reset() {
    state_ = {};
    at(Register::A) = divider_and_rate;
    at(Register::B) = hours24;
}

bool Rtc::setting() const { return (state_.bytes[static_cast<std::uint8_t>(Register::B)] & set) != 0; }
bool Rtc::updating() const {
    return !setting() && clock_.wall_ns() % second_ns >= second_ns - update_warning_ns;
}

std::uint8_t Rtc::encode(unsigned value) const {
    bool is_binary = (state_.bytes[static_cast<std::uint8_t>(Register::B)] & binary) != 0;
    return static_cast<std::uint8_t>(is_binary ? value : value / 10 << 4 | value % 10);
}

// Whatever the guest wrote becomes some number up to 255.
unsigned Rtc::decode(std::uint8_t value) const {
    bool is_binary = (state_.bytes[static_cast<std::uint8_t>(Register::B)] & binary) != 0;
    return is_binary ? value : (value >> 4) * 10u + (value & 0xfu);
}

void Rtc::load_time() {
    using namespace std::chrono;
    sys_seconds now{seconds{static_cast<std::int64_t>(clock_.wall_ns() / second_ns) + state_.offset_s}};
    auto midnight = floor<days>(now);
    year_month_day date{midnight};
    hh_mm_ss time{now - midnight};
    auto hour = static_cast<unsigned>(time.hours().count());
    auto year = static_cast<unsigned>(static_cast<int>(date.year()));

    at(Register::Seconds) = encode(static_cast<unsigned>(time.seconds().count()));
    at(Register::Minutes) = encode(static_cast<unsigned>(time.minutes().count()));
    if ((at(Register::B) & hours24) != 0) {
        at(Register::Hours) = encode(hour);
    } else {
        unsigned twelve = hour % 12 == 0 ? 12 : hour % 12;
        at(Register::Hours) = static_cast<std::uint8_t>(encode(twelve) | (hour >= 12 ? pm : 0));
    }
    at(Register::DayOfWeek) = encode(weekday{midnight}.c_encoding() + 1);
    at(Register::DayOfMonth) = encode(static_cast<unsigned>(date.day()));
    at(Register::Month) = encode(static_cast<unsigned>(date.month()));
    at(Register::Year) = encode(year % 100);
    at(Register::Century) = encode(year / 100 % 100);
}

void Rtc::store_time() {
    using namespace std::chrono;
    unsigned hour = decode(at(Register::Hours));
    if ((at(Register::B) & hours24) == 0) {
        hour = decode(at(Register::Hours) & 0x7f) % 12 + ((at(Register::Hours) & pm) != 0 ? 12 : 0);
    }
    auto year_number = decode(at(Register::Century)) % 100 * 100 + decode(at(Register::Year)) % 100;
    // Counted on from the first of January, so that no date that a guest can write is invalid.
    year_month_day month_start{year{static_cast<int>(year_number)} / January / 1};
    month_start += months{static_cast<int>(decode(at(Register::Month))) - 1};
    sys_seconds wanted = sys_days{month_start} +
                         days{static_cast<int>(decode(at(Register::DayOfMonth))) - 1} + hours{hour} +
                         minutes{decode(at(Register::Minutes))} + seconds{decode(at(Register::Seconds))};
    state_.offset_s =
        wanted.time_since_epoch().count() - static_cast<std::int64_t>(clock_.wall_ns() / second_ns);
}

std::uint8_t Rtc::read_byte(std::uint64_t offset) {
    return offset == 0 ? std::uint8_t{0xff} : read_register(state_.index);  // the index is write only
}

void Rtc::write_byte(std::uint64_t offset, std::uint8_t value) {
    if (offset == 0) {
        state_.index = value & 0x7f;  // bit 7 was the NMI mask
    } else {
        write_register(state_.index, value);
    }
}

std::uint8_t Rtc::read_register(std::uint8_t index) {
    if (!setting()) load_time();
    switch (Register{index}) {
        case Register::A: return static_cast<std::uint8_t>(at(Register::A) | (updating() ? uip : 0));
        case Register::C: return 0;
        case Register::D: return valid;
        default: return state_.bytes[index];
    }
}

void Rtc::write_register(std::uint8_t index, std::uint8_t value) {
    switch (Register{index}) {
        case Register::Seconds:
        case Register::Minutes:
        case Register::Hours:
        case Register::DayOfWeek:
        case Register::DayOfMonth:
        case Register::Month:
        case Register::Year:
        case Register::Century:
            if (!setting()) load_time();
            state_.bytes[index] = value;
            if (!setting()) store_time();
            break;
        case Register::A: at(Register::A) = value & 0x7f; break;
        case Register::B: {
            bool was_setting = setting();
            if (!was_setting) load_time();
            if (was_setting && (value & set) == 0) store_time();
            at(Register::B) = value;
            break;
        }
        case Register::C:
        case Register::D: break;
        default: state_.bytes[index] = value; break;
    }
}

}  // namespace undercroft
