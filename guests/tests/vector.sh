#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Floating point and vector instructions; the host compares the VECTOR lines with its own.
vector
echo "RESULT vector.ran PASS"
