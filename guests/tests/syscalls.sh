#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The border between program and kernel.
syscalls
