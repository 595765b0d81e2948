// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target on stored inputs, without libFuzzer: replay FILE…
//
// A file that ends in .hex holds one input per line, in hexadecimal; any other file is one input as it is.
#include "input.hpp"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

int digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

std::vector<std::uint8_t> from_hex(const std::string& line) {
    std::vector<std::uint8_t> bytes;
    for (std::size_t at = 0; at + 1 < line.size(); at += 2)
        bytes.push_back(static_cast<std::uint8_t>(digit(line[at]) << 4 | digit(line[at + 1])));
    return bytes;
}

void run(const std::vector<std::uint8_t>& bytes) { LLVMFuzzerTestOneInput(bytes.data(), bytes.size()); }

}  // namespace

int main(int count, char** names) {
    unsigned inputs = 0;
    for (int n = 1; n < count; ++n) {
        std::string name = names[n];
        std::ifstream file{name, std::ios::binary};
        if (!file) {
            std::fprintf(stderr, "replay: cannot read %s\n", names[n]);
            return 2;
        }
        if (name.size() > 4 && name.compare(name.size() - 4, 4, ".hex") == 0) {
            for (std::string line; std::getline(file, line); ++inputs) {
                std::fprintf(stderr, "%s:%u\r", names[n], inputs + 1);  // the last word, should it crash
                run(from_hex(line));
            }
        } else {
            run({std::istreambuf_iterator<char>{file}, {}});
            ++inputs;
        }
    }
    std::fprintf(stderr, "\n");
    std::printf("%u inputs\n", inputs);
    return inputs != 0 ? 0 : 1;
}
