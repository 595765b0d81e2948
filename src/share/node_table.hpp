// SPDX-License-Identifier: Apache-2.0
// NodeTable: the files of a shared folder that the guest knows, by the numbers it knows them by.
//
// A node is a file of the host, whatever it is called; it lives until the guest has forgotten it as often as
// it was told of it. It is reached through a descriptor that was opened with O_PATH, by one name in its
// parent's: no path is ever resolved, so no symbolic link and no '..' is followed. Descriptors are few: those
// that were not used for the longest time are closed, and opened again by the names that lead from the
// shared folder to the node, if they still lead to the same file.

#pragma once

#include "base/fd.hpp"

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace undercroft {

struct Node {
    using Identity = std::pair<dev_t, ino_t>;

    std::uint64_t id = 0;
    Identity identity;
    std::uint64_t lookups = 0;   // what the guest has to forget
    std::uint64_t children = 0;  // nodes whose parent it is
    Node* parent = nullptr;      // where it was found last; null: it is the shared folder
    std::string name;
    Fd fd;                // O_PATH, or closed
    bool pinned = false;  // no name may lead to it any more
    std::list<Node*>::iterator used;

    // What the file was when the guest's cache began to hold its contents.
    timespec cached_time{};
    off_t cached_size = -1;
};

class NodeTable {
public:
    static constexpr std::uint64_t root_id = 1;
    static constexpr std::size_t most_nodes = std::size_t{1} << 20;

    // `root` is the shared folder; about so many descriptors are kept open.
    NodeTable(Fd root, const struct stat& status, std::size_t most_open);

    Node& root() { return *root_; }
    Node* find(std::uint64_t id);  // or null
    Node* find(const struct stat& status);

    // The node of a file that was found in `parent`, with one lookup more. Null: there are too many.
    Node* look_up(Node& parent, std::string_view name, const struct stat& status, Fd fd);
    void forget(Node& node, std::uint64_t lookups);
    // As after a start: the guest knows of nothing.
    void clear();

    // Its descriptor, good until trim(); or an error's negative number.
    int open(Node& node);
    // A name of it goes: its descriptor stays open from here on, if possible.
    void pin(Node& node);
    void move(Node& node, Node& parent, std::string_view name);
    // Closes what is too much. No descriptor may be in use.
    void trim();

    std::size_t size() const { return nodes_.size(); }
    std::size_t open_descriptors() const { return open_.size() + pinned_; }

private:
    static constexpr std::size_t deepest = 4096;  // directories in each other

    void keep(Node& node, Fd fd);
    void drop_if_unused(Node* node);

    std::size_t most_open_;
    std::uint64_t next_id_ = root_id + 1;
    std::unordered_map<std::uint64_t, std::unique_ptr<Node>> nodes_;  // without the root
    std::map<Node::Identity, Node*> by_identity_;
    std::list<Node*> open_;  // those with a descriptor that may be closed; the last used first
    std::size_t pinned_ = 0;
    std::unique_ptr<Node> root_ = std::make_unique<Node>();
};

}  // namespace undercroft
