#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Code that writes code.
jit
