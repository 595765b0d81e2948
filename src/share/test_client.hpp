// SPDX-License-Identifier: Apache-2.0
// A guest for tests: makes FUSE requests to a FolderServer and takes its answers apart.

#pragma once

#include "share/folder_server.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace undercroft::test {

class Client {
public:
    explicit Client(FolderServer& server) : server_{server} {}

    struct Answer {
        int error = 0;  // positive
        std::string bytes;

        template <class T>
        T as(std::size_t at = 0) const {
            T value{};
            EXPECT_LE(at + sizeof value, bytes.size());
            if (at + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof value);
            return value;
        }
    };

    template <class T>
    static std::string raw(const T& value) {
        return {reinterpret_cast<const char*>(&value), sizeof value};
    }
    static std::string name(std::string_view text) { return std::string{text} + '\0'; }

    Answer ask(std::uint32_t opcode, std::uint64_t node, std::string body, std::size_t room = 1u << 16) {
        fuse_in_header header{};
        header.len = static_cast<std::uint32_t>(sizeof header + body.size());
        header.opcode = opcode;
        header.unique = ++unique_;
        header.nodeid = node;
        header.uid = user;
        header.gid = group;
        std::string request = raw(header) + body;
        Halves request_halves = halves(request);
        Halves answer_halves = halves(std::string(sizeof(fuse_out_header) + room, '\xee'));
        Buffers in = request_halves.buffers();
        Buffers out = answer_halves.buffers();
        std::uint32_t length = server_.serve(in, out);
        std::string answer = answer_halves.first + answer_halves.second;
        if (length == 0) return {};
        fuse_out_header head{};
        std::memcpy(&head, answer.data(), sizeof head);
        EXPECT_EQ(head.unique, unique_);
        EXPECT_EQ(head.len, length);
        EXPECT_LE(length, answer.size());
        EXPECT_LE(head.error, 0);
        return {.error = -head.error, .bytes = answer.substr(sizeof head, length - sizeof head)};
    }

    int look_up(std::uint64_t parent, std::string_view file, std::uint64_t& node) {
        Answer answer = ask(FUSE_LOOKUP, parent, name(file));
        node = answer.error == 0 ? answer.as<fuse_entry_out>().nodeid : 0;
        return answer.error;
    }
    // The node of root/a/b…, which has to be there.
    std::uint64_t find(std::initializer_list<std::string_view> path) {
        std::uint64_t node = FUSE_ROOT_ID;
        for (std::string_view step : path) {
            EXPECT_EQ(look_up(node, step, node), 0) << step;
            EXPECT_NE(node, 0u) << step;
        }
        return node;
    }
    Answer open(std::uint64_t node, std::uint32_t flags) {
        return ask(FUSE_OPEN, node, raw(fuse_open_in{.flags = flags, .open_flags = 0}));
    }
    Answer create(std::uint64_t parent, std::string_view file, std::uint32_t flags,
                  std::uint32_t mode = 0644) {
        return ask(
            FUSE_CREATE, parent,
            raw(fuse_create_in{.flags = flags, .mode = mode, .umask = 0, .open_flags = 0}) + name(file));
    }
    Answer read(std::uint64_t handle, std::uint64_t offset, std::uint32_t size, std::size_t room = 1u << 16) {
        fuse_read_in in{};
        in.fh = handle;
        in.offset = offset;
        in.size = size;
        return ask(FUSE_READ, 0, raw(in), room);
    }
    Answer write(std::uint64_t handle, std::uint64_t offset, std::string_view bytes,
                 std::uint32_t flags = 0) {
        fuse_write_in in{};
        in.fh = handle;
        in.offset = offset;
        in.size = static_cast<std::uint32_t>(bytes.size());
        in.flags = flags;
        return ask(FUSE_WRITE, 0, raw(in) + std::string{bytes});
    }
    int rename(std::uint64_t from, std::string_view name_from, std::uint64_t to, std::string_view name_to,
               std::uint32_t flags = 0) {
        return ask(FUSE_RENAME2, from,
                   raw(fuse_rename2_in{.newdir = to, .flags = flags, .padding = 0}) + name(name_from) +
                       name(name_to))
            .error;
    }
    Answer set(std::uint64_t node, const fuse_setattr_in& in) { return ask(FUSE_SETATTR, node, raw(in)); }

    std::uint32_t user = 0;
    std::uint32_t group = 0;

private:
    // As two pieces of memory that do not touch: the second half lies elsewhere.
    struct Halves {
        std::string first, second;
        Buffers buffers() {
            Buffers both;
            for (std::string* half : {&first, &second})
                both.add(reinterpret_cast<std::byte*>(half->data()), half->size());
            return both;
        }
    };
    static Halves halves(const std::string& bytes) {
        return {bytes.substr(0, bytes.size() / 2), bytes.substr(bytes.size() / 2)};
    }

    FolderServer& server_;
    std::uint64_t unique_ = 0;
};

}  // namespace undercroft::test
