// SPDX-License-Identifier: Apache-2.0
// Opens what a user names as a disk: raw or qcow2, with the images that it stands on, or with an overlay.
//
// The format is what the user says, else qcow2 for files whose name ends in '.qcow2', else raw: never what
// the first bytes look like, since a guest with a raw disk can write any bytes there. (A raw file with a
// qcow2 header is refused unless the user says that it is raw.)

#pragma once

#include "disk/host_file.hpp"

#include <optional>

namespace undercroft {

enum class DiskFormat : std::uint8_t { Raw, Qcow2 };

struct DiskChoice {
    std::string path;
    DiskAccess access = DiskAccess::ReadWrite;
    std::optional<DiskFormat> format = std::nullopt;  // as the user says it

    // The disk at `path` is only read, by any number of machines; what the guest writes goes to a qcow2 image
    // on it, which is made if it does not exist, or to a file that nobody sees and that ends with the
    // machine.
    struct Overlay {
        std::string path;  // empty: nobody sees it
    };
    std::optional<Overlay> overlay = std::nullopt;
};

// `images`: where the files that it only reads are noted, so that others of the process may share what they
// read. Errors: "disk 'PATH': reason".
Result<std::unique_ptr<Disk>> open_disk(const DiskChoice& choice, Images* images = nullptr);

}  // namespace undercroft
