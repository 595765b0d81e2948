// SPDX-License-Identifier: Apache-2.0
#include "share/node_table.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace undercroft {
namespace {

Node::Identity identity_of(const struct stat& status) { return {status.st_dev, status.st_ino}; }

}  // namespace

NodeTable::NodeTable(Fd root, const struct stat& status, std::size_t most_open) : most_open_{most_open} {
    root_->id = root_id;
    root_->identity = identity_of(status);
    root_->fd = std::move(root);
    root_->pinned = true;
    by_identity_[root_->identity] = root_.get();
}

Node* NodeTable::find(std::uint64_t id) {
    if (id == root_id) return root_.get();
    auto found = nodes_.find(id);
    return found == nodes_.end() ? nullptr : found->second.get();
}

Node* NodeTable::find(const struct stat& status) {
    auto found = by_identity_.find(identity_of(status));
    return found == by_identity_.end() ? nullptr : found->second;
}

Node* NodeTable::look_up(Node& parent, std::string_view name, const struct stat& status, Fd fd) {
    if (Node* known = find(status); known != nullptr) {
        if (known == root_.get()) return nullptr;  // the folder is mounted into itself
        ++known->lookups;
        move(*known, parent, name);
        if (!known->fd) keep(*known, std::move(fd));
        return known;
    }
    if (nodes_.size() >= most_nodes) return nullptr;
    auto node = std::make_unique<Node>();
    node->id = next_id_++;
    node->identity = identity_of(status);
    node->lookups = 1;
    node->parent = &parent;
    ++parent.children;
    node->name = name;
    keep(*node, std::move(fd));
    Node* added = node.get();
    by_identity_[added->identity] = added;
    nodes_[added->id] = std::move(node);
    return added;
}

void NodeTable::forget(Node& node, std::uint64_t lookups) {
    node.lookups -= std::min(node.lookups, lookups);
    drop_if_unused(&node);
}

// A node that nobody knows goes when no node needs it any more to be reached, and so may its parent.
void NodeTable::drop_if_unused(Node* node) {
    while (node != root_.get() && node->lookups == 0 && node->children == 0) {
        Node* parent = node->parent;
        if (node->pinned) {
            --pinned_;
        } else if (node->fd) {
            open_.erase(node->used);
        }
        by_identity_.erase(node->identity);
        nodes_.erase(node->id);
        --parent->children;
        node = parent;
    }
}

void NodeTable::clear() {
    nodes_.clear();
    open_.clear();
    pinned_ = 0;
    by_identity_.clear();
    by_identity_[root_->identity] = root_.get();
    root_->children = 0;
}

int NodeTable::open(Node& node) {
    if (node.fd) {
        if (!node.pinned) open_.splice(open_.begin(), open_, node.used);
        return node.fd.get();
    }
    std::vector<Node*> way;  // from the node up to one that is open
    Node* from = &node;
    for (; !from->fd; from = from->parent) {
        if (way.size() == deepest) return -ELOOP;  // or the host has moved them into each other
        way.push_back(from);
    }
    Fd fd;
    int parent = from->fd.get();
    for (auto step = way.rbegin(); step != way.rend(); ++step) {
        Fd next{::openat(parent, (*step)->name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
        struct stat status {};
        if (!next) return errno == ENOENT ? -ESTALE : -errno;
        if (::fstat(next.get(), &status) != 0) return -errno;
        if (identity_of(status) != (*step)->identity) return -ESTALE;
        fd = std::move(next);
        parent = fd.get();
    }
    keep(node, std::move(fd));
    return node.fd.get();
}

void NodeTable::keep(Node& node, Fd fd) {
    node.fd = std::move(fd);
    node.used = open_.insert(open_.begin(), &node);
}

void NodeTable::pin(Node& node) {
    if (node.pinned || pinned_ >= most_open_ || open(node) < 0) return;
    open_.erase(node.used);
    node.pinned = true;
    ++pinned_;
}

void NodeTable::move(Node& node, Node& parent, std::string_view name) {
    if (&node == root_.get()) return;
    node.name = name;
    Node* before = std::exchange(node.parent, &parent);
    ++parent.children;
    --before->children;
    drop_if_unused(before);
}

void NodeTable::trim() {
    while (open_.size() > most_open_) {
        open_.back()->fd.reset();
        open_.pop_back();
    }
}

}  // namespace undercroft
