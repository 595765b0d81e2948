// SPDX-License-Identifier: Apache-2.0
// An interpreter that calls a function for each instruction of its program, through a table.

#include "bench.h"

struct Machine {
    uint64_t accumulator, counter, memory[16];
    const uint8_t* next;
    uint64_t executed;
};

static uint8_t operand(struct Machine* machine) { return *machine->next++ & 15; }
static void load(struct Machine* machine) { machine->accumulator = machine->memory[operand(machine)]; }
static void store(struct Machine* machine) { machine->memory[operand(machine)] = machine->accumulator; }
static void add(struct Machine* machine) { machine->accumulator += machine->memory[operand(machine)]; }
static void exclusive_or(struct Machine* machine) {
    machine->accumulator ^= machine->memory[operand(machine)];
}
static void shift(struct Machine* machine) { machine->accumulator <<= operand(machine); }
static void multiply(struct Machine* machine) {
    machine->accumulator *= machine->memory[operand(machine)] | 1;
}
static void increment(struct Machine* machine) { machine->memory[operand(machine)]++; }
static void rotate(struct Machine* machine) {
    const int count = operand(machine) + 1;
    machine->accumulator = machine->accumulator >> count | machine->accumulator << (64 - count);
}

static void (*const operations[8])(struct Machine*) = {load,  store,    add,       exclusive_or,
                                                       shift, multiply, increment, rotate};

enum { length = 1000, repetitions = 100 };

static uint8_t program[2 * length];

static uint64_t interpret(void) {
    struct Machine machine = {.counter = repetitions};
    for (uint64_t i = 0; i < 16; i++) machine.memory[i] = i * 0x9e3779b97f4a7c15u;
    while (machine.counter-- > 0) {
        machine.next = program;
        for (int i = 0; i < length; i++) {
            void (*const operation)(struct Machine*) = operations[*machine.next++ & 7];
            operation(&machine);
        }
    }
    return machine.accumulator ^ machine.memory[7];
}

int main(void) {
    uint64_t state = 3;
    for (int i = 0; i < 2 * length; i++) program[i] = (uint8_t)(next_random(&state) >> 40);
    bench("interpreter", "ns", (double)length * repetitions, interpret);
}
