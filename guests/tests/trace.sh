#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Single steps, breakpoints, watchpoints.
trace
