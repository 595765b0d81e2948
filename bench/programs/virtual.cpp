// SPDX-License-Identifier: Apache-2.0
// C++ virtual calls over objects of five classes in an order that looks random.

#include "bench.h"

#include <array>
#include <memory>

namespace {

class Shape {
public:
    virtual ~Shape() = default;
    virtual std::uint64_t area(std::uint64_t scale) const = 0;
};

template <unsigned Factor>
class Polygon final : public Shape {
public:
    explicit Polygon(std::uint64_t side) : side_{side} {}
    std::uint64_t area(std::uint64_t scale) const override { return side_ * Factor + scale; }

private:
    std::uint64_t side_;
};

constexpr unsigned count = 1000, repetitions = 100;
std::array<std::unique_ptr<Shape>, count> shapes;

std::unique_ptr<Shape> make_shape(std::uint64_t number) {
    switch (number % 5) {
        case 0: return std::make_unique<Polygon<3>>(number);
        case 1: return std::make_unique<Polygon<4>>(number);
        case 2: return std::make_unique<Polygon<5>>(number);
        case 3: return std::make_unique<Polygon<6>>(number);
        default: return std::make_unique<Polygon<7>>(number);
    }
}

std::uint64_t add_areas() {
    std::uint64_t sum = 0;
    for (unsigned i = 0; i < repetitions; i++) {
        for (const auto& shape : shapes) sum += shape->area(i);
    }
    return sum;
}

}  // namespace

int main() {
    std::uint64_t state = 5;
    for (auto& shape : shapes) shape = make_shape(next_random(&state) >> 40);
    bench("virtual", "ns", double{count} * repetitions, add_areas);
}
