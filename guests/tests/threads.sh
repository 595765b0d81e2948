#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Futexes, thread-local storage, atomic operations.
threads
