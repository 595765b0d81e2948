// SPDX-License-Identifier: Apache-2.0
// What ctest asks for by environment variables: UNDERCROFT_FLAVOUR (cloud, amd64), UNDERCROFT_ENGINE
// (translate, step), UNDERCROFT_MEMORY (256M), UNDERCROFT_CPUS (1), UNDERCROFT_BOOTS (1). And the guests that
// guests/README.md describes.

#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace undercroft {

inline std::string setting(const char* name, const char* otherwise) {
    const char* value = std::getenv(name);
    return value != nullptr ? value : otherwise;
}

enum class Image { Plain, Tests, Stress };

inline std::string kernel_path() {
    return std::string{GUESTS_CACHE} + "/" + setting("UNDERCROFT_FLAVOUR", "cloud") + "/vmlinuz";
}
inline std::string initrd_path(Image image) {
    return std::string{GUESTS_CACHE} + "/initramfs-" + setting("UNDERCROFT_FLAVOUR", "cloud") +
           (image == Image::Tests    ? "-tests.cpio"
            : image == Image::Stress ? "-stress.cpio"
                                     : ".cpio");
}

// Arguments of a run whose init runs `script` (a word of guests/README.md), with `more` on the command line.
inline std::vector<std::string> run_script(const std::string& script, Image image = Image::Plain,
                                           const std::string& more = "") {
    return {"run",
            "--kernel",
            kernel_path(),
            "--initrd",
            initrd_path(image),
            "--append",
            "undercroft.script=" + script + " " + more,
            "--memory",
            setting("UNDERCROFT_MEMORY", "256M"),
            "--engine",
            setting("UNDERCROFT_ENGINE", "translate"),
            "--cpus",
            setting("UNDERCROFT_CPUS", "1")};
}

// The other engines are an order of magnitude slower, or more; and so are programs with sanitizers.
inline double patience(double seconds) {
    seconds *= TEST_PATIENCE;
    return setting("UNDERCROFT_ENGINE", "translate") != "translate" ? seconds * 10 : seconds;
}

// Skips a test whose guest has not been fetched or made (./test does both first).
#define NEED_GUEST(image)                                               \
    for (const std::string& path : {kernel_path(), initrd_path(image)}) \
        if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is missing: ./test makes it first"

}  // namespace undercroft
