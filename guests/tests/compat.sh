#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# 32-bit system calls and code in a 64-bit process.
compat
