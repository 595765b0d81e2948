// SPDX-License-Identifier: Apache-2.0
// Attributes: a host file's status as the guest sees it.
//
// Owners. If this process is root's, numbers are the same on both sides, and what a guest's user makes is
// that user's. If not, this process's user is the guest's root, in both directions, and all other numbers are
// the same; what the guest makes is this process's user's, and giving it to others fails as it does for him.

#pragma once

#include <linux/fuse.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace undercroft {

class Attributes {
public:
    Attributes();
    Attributes(uid_t user, gid_t group) : user_{user}, group_{group} {}

    fuse_attr of(const struct stat& status);
    // A file's number is the host's, with one for its file system, lest those of two be the same.
    std::uint64_t number(dev_t device, ino_t inode);

    bool keeps_owners() const { return user_ == 0; }
    // What the guest calls so on the host.
    uid_t host_user(std::uint32_t user) const { return user == 0 ? user_ : user; }
    gid_t host_group(std::uint32_t group) const { return group == 0 ? group_ : group; }

private:
    uid_t user_;
    gid_t group_;
    std::vector<dev_t> devices_;  // those met so far
};

}  // namespace undercroft
