// SPDX-License-Identifier: Apache-2.0
// A heap of tasks with the smallest key on top, from which any task can be taken. No allocation after
// reserve().

#pragma once

#include "schedule/task.hpp"

#include <cstddef>
#include <utility>
#include <vector>

namespace undercroft {

// `Key` and `Index` are members of Task: what counts, and where the task is in the heap (Task::nowhere: not
// in it).
template <auto Key, auto Index>
class TaskHeap {
public:
    void reserve(std::size_t tasks) { heap_.reserve(tasks); }
    bool empty() const { return heap_.empty(); }
    Task& top() const { return *heap_.front(); }
    static bool holds(const Task& task) { return task.*Index != Task::nowhere; }

    void insert(Task& task) {
        task.*Index = heap_.size();
        heap_.push_back(&task);
        up(heap_.size() - 1);
    }
    void remove(Task& task) {
        std::size_t at = std::exchange(task.*Index, Task::nowhere);
        Task* last = heap_.back();
        heap_.pop_back();
        if (last == &task) return;
        put(at, *last);
        up(at);
        down(last->*Index);
    }

private:
    void put(std::size_t at, Task& task) {
        heap_[at] = &task;
        task.*Index = at;
    }
    void exchange(std::size_t a, std::size_t b) {
        Task* first = heap_[a];
        put(a, *heap_[b]);
        put(b, *first);
    }
    void up(std::size_t at) {
        while (at != 0 && heap_[at]->*Key < heap_[(at - 1) / 2]->*Key) {
            exchange(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }
    void down(std::size_t at) {
        for (;;) {
            std::size_t least = at;
            for (std::size_t child : {2 * at + 1, 2 * at + 2}) {
                if (child < heap_.size() && heap_[child]->*Key < heap_[least]->*Key) least = child;
            }
            if (least == at) return;
            exchange(at, least);
            at = least;
        }
    }

    std::vector<Task*> heap_;
};

}  // namespace undercroft
